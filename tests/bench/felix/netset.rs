//! A network set of 100,000 CIDRs of lengths /8 to /32, and one change beside it.

use super::PATIENCE;
use super::agent::Agent;
use super::host::Host;
use super::kernel::{Watch, generation, last_commit};
use super::state::{State, cidr, cidrs, network_set};
use super::store::Store;
use crate::report::{Figures, quantile};
use anyhow::{Context, Result};
use ocicat_tests::process::run as run_program;
use ocicat_tests::sandbox::add_netns;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// How many.
const CIDRS: usize = 100_000;

/// How often the whole set comes and goes, and the floor is taken beside it.
const RUNS: usize = 5;

/// Single changes.
const CHANGES: usize = 100;

/// The example of `lib/kernel` that hands finished elements to the kernel.
const FLOOR: &str = "OCICAT_SET_FLOOR";

/// Nothing is committed for so long when a change is through.
const QUIET: Duration = Duration::from_millis(400);

const STATE: State =
    State { locals: 200, remotes: 50, policies: 11, on_endpoint: 0, blocks: 0, rack: 0, nets: 1 };

/// The row. The network set is empty at first; the policy that names it is there.
///
/// # Errors
/// The agent does not come up, or a change does not reach the kernel.
pub fn run(figures: &mut Figures) -> Result<()> {
    let host = Host::build("node", 1, STATE.locals)?;
    let store = Store::start(host.store_address(), STATE)?;
    let mut agent = Agent::start(&host, &store.url())?;
    agent.ready(PATIENCE)?;
    thread::sleep(Duration::from_secs(1));
    let (full, empty) = (network_set("big", &cidrs(CIDRS)), network_set("big", &[]));
    let (mut whole, mut ratios, mut floors, mut etcd) = (vec![], vec![], vec![], vec![]);
    for _ in 0..RUNS {
        let floor = floor()?;
        let before = generation(&host)?;
        let begun = Instant::now();
        let acknowledged = store.client().put(&full)?.as_secs_f64();
        let took = last_commit(&host, before, begun, QUIET, PATIENCE)?.as_secs_f64();
        let before = generation(&host)?;
        let begun = Instant::now();
        store.client().put(&empty)?;
        last_commit(&host, before, begun, QUIET, PATIENCE)?;
        whole.push(took);
        etcd.push(acknowledged);
        floors.push(floor);
        // etcd has taken two megabytes before it tells anybody.
        ratios.push((took - acknowledged) / floor);
    }
    figures.push(("whole set s".to_owned(), quantile(&whole, 0.5)));
    figures.push(("of it etcd's acknowledgement s".to_owned(), quantile(&etcd, 0.5)));
    figures.push(("floor s".to_owned(), quantile(&floors, 0.5)));
    figures.push(("whole set ÷ floor".to_owned(), quantile(&ratios, 0.5)));
    figures.push(("peak MB".to_owned(), agent.memory("VmHWM")?));

    let before = generation(&host)?;
    let begun = Instant::now();
    store.client().put(&full)?;
    last_commit(&host, before, begun, QUIET, PATIENCE)?;
    let watch = Watch::start(&host)?;
    let (mut times, mut etcd) = (Vec::new(), Vec::new());
    for n in 0..CHANGES {
        let begun = Instant::now();
        let acknowledged = store.client().put(&network_set("small", &[cidr(CIDRS + n)]))?;
        let (took, _) = watch.settled(begun, Duration::from_millis(20), PATIENCE)?;
        // What is left when etcd has answered.
        times.push((took.as_secs_f64() - acknowledged.as_secs_f64()) * 1000.0);
        etcd.push(acknowledged.as_secs_f64() * 1000.0);
    }
    figures.push(("one change median ms".to_owned(), quantile(&times, 0.5)));
    figures.push(("one change p99 ms".to_owned(), quantile(&times, 0.99)));
    figures.push(("etcd's acknowledgement before it median ms".to_owned(), quantile(&etcd, 0.5)));
    Ok(())
}

/// Seconds that the kernel takes for as many elements of hash sets when nothing has to be decided.
fn floor() -> Result<f64> {
    let program = std::env::var_os(FLOOR)
        .with_context(|| format!("{FLOOR} names no program: run by `./dev bench felix`"))?;
    add_netns("set-floor")?;
    let mut command = Command::new("ip");
    command.args(["netns", "exec", "set-floor"]).arg(program).arg(CIDRS.to_string());
    let said = run_program(command, "", Duration::from_secs(60))?.expect_ok("set_floor")?;
    said.trim().parse().with_context(|| format!("set_floor said {said}"))
}
