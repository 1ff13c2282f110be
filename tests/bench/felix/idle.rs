//! What the agent costs while nothing happens.

use super::PATIENCE;
use super::agent::Agent;
use super::host::Host;
use super::state::State;
use super::store::Store;
use crate::report::Figures;
use crate::usage;
use anyhow::Result;
use std::thread;
use std::time::Duration;

const STATE: State =
    State { locals: 250, remotes: 50, policies: 1000, on_endpoint: 0, blocks: 5000, rack: 0, nets: 0 };

/// What an agent does on its own when it has come up shall be over.
const SETTLE: Duration = Duration::from_secs(5);

const WATCHED: Duration = Duration::from_secs(60);

/// The row.
///
/// # Errors
/// The agent does not come up.
pub fn run(figures: &mut Figures) -> Result<()> {
    let host = Host::build("node", 1, STATE.locals)?;
    let store = Store::start(host.store_address(), STATE)?;
    let mut agent = Agent::start(&host, &store.url())?;
    let took = agent.ready(PATIENCE)?;
    let cpu = watch(&[agent.pid()])?;
    figures.push(("resident MB".to_owned(), agent.memory("VmRSS")?));
    figures.push(("peak MB".to_owned(), agent.memory("VmHWM")?));
    figures.push(("cpu %".to_owned(), cpu));
    figures.push(("processes started".to_owned(), f64::from(u8::from(agent.had_children()?))));
    figures.push(("start s".to_owned(), took.as_secs_f64()));
    Ok(())
}

/// Watches these processes for a while in which nothing happens; the processor time they take, in percent of a core.
///
/// # Errors
/// One ends.
pub fn watch(pids: &[u32]) -> Result<f64> {
    thread::sleep(SETTLE);
    let before = usage::cpu(pids)?;
    thread::sleep(WATCHED);
    Ok((usage::cpu(pids)? - before) / WATCHED.as_secs_f64() * 100.0)
}
