//! One label of one remote endpoint changes in the large cluster.

use super::PATIENCE;
use super::agent::Agent;
use super::host::Host;
use super::kernel::{Touched, Watch};
use super::start::LARGE;
use super::state::Labels;
use super::store::Store;
use crate::report::{Figures, quantile};
use anyhow::Result;
use std::thread;
use std::time::{Duration, Instant};

/// Changes.
const CHANGES: usize = 200;

/// The row: the endpoint's role moves on, so that it leaves one set and joins another.
///
/// # Errors
/// The agent does not come up, or a change does not reach the kernel.
pub fn run(figures: &mut Figures) -> Result<()> {
    let host = Host::build("node", 1, LARGE.locals)?;
    let store = Store::start(host.store_address(), LARGE)?;
    let mut agent = Agent::start(&host, &store.url())?;
    agent.ready(PATIENCE)?;
    let watch = Watch::start(&host)?;
    // What an agent does on its own when it has come up shall be over.
    thread::sleep(Duration::from_secs(1));
    let (mut times, mut etcd, mut other) = (Vec::new(), Vec::new(), 0);
    let cpu = agent.cpu()?;
    for n in 0..CHANGES {
        let endpoint = LARGE.locals + n * 977;
        let begun = Instant::now();
        let acknowledged = store.client().put(&LARGE.endpoint(endpoint, Labels { turn: 1, unused: None }))?;
        let (time, touched) = watch.settled(begun, Duration::from_millis(20), PATIENCE)?;
        times.push(time.as_secs_f64() * 1000.0);
        etcd.push(acknowledged.as_secs_f64() * 1000.0);
        other += touched.iter().filter(|&&touched| touched != Touched::Elements).count();
    }
    let spent = agent.cpu()? - cpu;
    figures.push(("changes of the kernel that are no set elements".to_owned(), other as f64));
    figures.push(("write to kernel median ms".to_owned(), quantile(&times, 0.5)));
    figures.push(("write to kernel p99 ms".to_owned(), quantile(&times, 0.99)));
    figures.push(("etcd's acknowledgement median ms".to_owned(), quantile(&etcd, 0.5)));
    figures.push(("agent's cpu a change us".to_owned(), spent * 1e6 / CHANGES as f64));
    Ok(())
}
