//! From the start of the agent on a host without any of its rules until it says that everything is enforced.

use super::agent::Agent;
use super::host::Host;
use super::state::State;
use super::store::Store;
use super::verdict::Verdicts;
use super::{PATIENCE, state};
use crate::report::{Figures, quantile};
use anyhow::Result;
use std::time::Instant;

/// The small cluster.
pub const SMALL: State =
    State { locals: 200, remotes: 50, policies: 11, on_endpoint: 0, blocks: 0, rack: 0, nets: 0 };

/// Many policies.
pub const POLICIES: State = State { policies: 10_000, ..SMALL };

/// The large cluster.
pub const LARGE: State = State { remotes: 250_000, ..POLICIES };

/// Starts of each.
const RUNS: [(State, &str, usize); 2] =
    [(SMALL, "11 policies, 50 remote endpoints", 9), (LARGE, "10,000 policies, 250,000 remote endpoints", 3)];

/// The row.
///
/// # Errors
/// The agent does not come up, or says it has and does not enforce.
pub fn run(figures: &mut Figures) -> Result<()> {
    for (state, about, runs) in RUNS {
        let mut store = None;
        let (mut took, mut cpu, mut peak, mut rest) = (vec![], vec![], vec![], vec![]);
        for _ in 0..runs {
            let host = Host::build("fresh", 1, state.locals)?;
            let store = match &store {
                Some(store) => store,
                None => store.insert(Store::start(host.store_address(), state)?),
            };
            let mut agent = Agent::start(&host, &store.url())?;
            took.push(agent.ready(PATIENCE)?.as_secs_f64());
            cpu.push(agent.cpu()?);
            peak.push(agent.memory("VmHWM")?);
            rest.push(agent.memory("VmRSS")?);
            assert_enforced(&host, store)?;
        }
        for (name, samples) in [("s", &took), ("cpu s", &cpu), ("peak MB", &peak), ("after MB", &rest)] {
            figures.push((format!("{about} {name}"), quantile(samples, 0.5)));
        }
        figures.push((format!("{about} fastest s"), quantile(&took, 0.0)));
    }
    Ok(())
}

/// A probe passes or not as the probe policy says: readiness was not said in vain.
fn assert_enforced(host: &Host, store: &Store) -> Result<()> {
    let verdicts = Verdicts::start(host)?;
    for (action, allowed) in [("Allow", true), ("Deny", false)] {
        let begun = Instant::now();
        store.client().put(&state::probe_policy(action))?;
        verdicts.wait(begun, allowed, PATIENCE)?;
    }
    store.client().delete(&state::probe_policy("Deny").0)?;
    Ok(())
}
