//! What the whole agent of a node holds and does while nothing happens, and the parent that holds its sockets with it.
//!
//! The cluster has 5,000 other nodes with a block of addresses each and 1,000 policies. Its mesh is one of each rack: the
//! node has sessions with the 50 others of its rack, and by them come the routes to all 5,000 blocks. Its 250 workloads were
//! attached by the plugin, so that the agent has its records of them and blocks of its own.

use super::peers::Peers;
use super::workloads;
use crate::felix::PATIENCE;
use crate::felix::agent::Agent;
use crate::felix::host::Host;
use crate::felix::idle::watch;
use crate::felix::state::{self, State};
use crate::felix::store::Store;
use crate::report::Figures;
use crate::usage;
use anyhow::{Result, bail};

const STATE: State =
    State { locals: 0, remotes: 50, policies: 1000, on_endpoint: 0, blocks: 5000, rack: 50, nets: 0 };

const WORKLOADS: usize = 250;

/// The row.
///
/// # Errors
/// The agent does not come up, a session does not, or a workload cannot be attached.
pub fn run(figures: &mut Figures) -> Result<()> {
    let host = Host::build("node", 1, STATE.locals)?;
    let store = Store::start(host.store_address(), STATE)?;
    state::mesh_of_the_rack().iter().try_for_each(|pair| store.client().put(pair).map(drop))?;
    let peers = Peers::wire(&host, STATE)?;
    let mut agent = Agent::start_node(&host, &store.url(), &[("NO_DEFAULT_POOLS", "true")])?;
    // it is not ready without its sessions
    let peers = peers.speak()?;
    let took = agent.ready(PATIENCE)?;
    peers.heard(&host)?;
    workloads::attach(&host, &store.url(), WORKLOADS)?;
    let processes = usage::family(agent.pid())?;
    let [parent, working] = processes[..] else {
        bail!("{} processes: not a parent and its agent", processes.len());
    };
    let cpu = watch(&processes)?;
    figures.push(("resident MB".to_owned(), usage::memory(&[working], "VmRSS")?));
    figures.push(("peak MB".to_owned(), usage::memory(&[working], "VmHWM")?));
    figures.push(("parent: resident MB".to_owned(), usage::memory(&[parent], "VmRSS")?));
    figures.push(("both, shared once MB".to_owned(), usage::proportional(&processes)?));
    figures.push(("cpu %".to_owned(), cpu));
    figures.push(("start s".to_owned(), took.as_secs_f64()));
    peers.end()
}
