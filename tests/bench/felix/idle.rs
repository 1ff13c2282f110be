//! What the agent costs while nothing happens.

use super::PATIENCE;
use super::agent::Agent;
use super::host::Host;
use super::report::Figures;
use super::state::State;
use super::store::Store;
use anyhow::Result;
use std::thread;
use std::time::Duration;

const STATE: State =
    State { locals: 250, remotes: 50, policies: 1000, on_endpoint: 0, blocks: 5000, nets: 0 };

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
    thread::sleep(SETTLE);
    let cpu = agent.cpu()?;
    thread::sleep(WATCHED);
    let spent = (agent.cpu()? - cpu) / WATCHED.as_secs_f64();
    figures.push(("resident MB".to_owned(), agent.memory("VmRSS")?));
    figures.push(("peak MB".to_owned(), agent.memory("VmHWM")?));
    figures.push(("cpu %".to_owned(), spent * 100.0));
    figures.push(("processes started".to_owned(), f64::from(u8::from(agent.had_children()?))));
    figures.push(("start s".to_owned(), took.as_secs_f64()));
    Ok(())
}
