//! The agent is killed and started again with everything in place: until a policy that was changed meanwhile is in force.

use super::PATIENCE;
use super::agent::Agent;
use super::host::Host;
use super::start::POLICIES;
use super::state::probe_policy;
use super::store::Store;
use super::verdict::Verdicts;
use crate::report::{Figures, quantile};
use anyhow::Result;
use std::time::Instant;

/// Restarts.
const RUNS: usize = 10;

/// The row.
///
/// # Errors
/// The agent does not come up again.
pub fn run(figures: &mut Figures) -> Result<()> {
    let host = Host::build("node", 1, POLICIES.locals)?;
    let store = Store::start(host.store_address(), POLICIES)?;
    let verdicts = Verdicts::start(&host)?;
    store.client().put(&probe_policy("Allow"))?;
    let mut agent = Agent::start(&host, &store.url())?;
    agent.ready(PATIENCE)?;
    let (mut followed, mut ready, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..RUNS {
        verdicts.wait(Instant::now(), run % 2 == 0, PATIENCE)?;
        agent.kill()?;
        store.client().put(&probe_policy(if run % 2 == 0 { "Deny" } else { "Allow" }))?;
        agent = Agent::start(&host, &store.url())?;
        followed.push(verdicts.wait(agent.started(), run % 2 == 1, PATIENCE)?.as_secs_f64());
        ready.push(agent.ready(PATIENCE)?.as_secs_f64());
        cpu.push(agent.cpu()?);
    }
    figures.push(("policy followed again s".to_owned(), quantile(&followed, 0.5)));
    figures.push(("policy followed again slowest s".to_owned(), quantile(&followed, 1.0)));
    figures.push(("ready s".to_owned(), quantile(&ready, 0.5)));
    figures.push(("cpu s".to_owned(), quantile(&cpu, 0.5)));
    figures.push(("peak MB".to_owned(), agent.memory("VmHWM")?));
    Ok(())
}
