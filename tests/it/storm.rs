//! Allocators of several nodes at once on a real etcd, killed at any step: no address is held by two, and none is lost.
//!
//! The counterpart in virtual time, with far more histories, is the simulation in `ipam`.

use anyhow::{Context, Result};
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::node::{Container, NAME, Node, addresses, documents};
use ocicat_tests::process::Ending;
use ocicat_tests::random::{Random, seed};
use ocicat_tests::sandbox;
use serde_json::json;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::thread;

/// Nodes that share the pool.
const NODES: u64 = 3;

/// Allocators at once.
const ALLOCATORS: u64 = 6;

/// ADDs and DELs of each.
const OPERATIONS: u64 = 20;

/// Writes of `ipam` before and after which a process may die (`ipam/src/carry.rs`).
const DEATHS: [&str; 4] =
    ["ipam-claim-before", "ipam-claim-after", "ipam-assign-before", "ipam-assign-after"];

/// Who holds which address, by what the plugins answered. A container whose ADD died may hold one that nobody knows.
type Held = Mutex<BTreeMap<IpAddr, String>>;

#[test]
fn allocators_that_die_leave_nothing_and_share_nothing() {
    let seed = seed();
    sandbox::within(NAME, programs(Build::Failpoints).unwrap(), || {
        let node = Node::without_resources()?;
        let nodes: Vec<String> = (0..NODES).map(|n| format!("storm-{n}")).collect();
        // fewer addresses than the allocators would like: they borrow, fill up, and give back
        node.apply(&documents(&nodes, &[("small", "10.9.0.0/28", 30)]))?;
        let (held, deaths) = (Held::default(), Mutex::new(0));
        thread::scope(|scope| {
            let running: Vec<_> = (0..ALLOCATORS)
                .map(|allocator| {
                    let (node, held, deaths) = (&node, &held, &deaths);
                    scope.spawn(move || allocate(node, allocator, seed, held, deaths))
                })
                .collect();
            running.into_iter().try_for_each(|thread| thread.join().unwrap())
        })?;
        assert!(*deaths.lock().unwrap() > 3, "nobody died: the storm was none");
        let loose = node.loose()?;
        assert!(loose.is_empty(), "seed {seed}:\n{}", loose.join("\n"));
        assert_eq!(node.held()?, Vec::<String>::new(), "seed {seed}");
        Ok(())
    })
    .unwrap();
}

/// One allocator's life: three containers that come and go, at last all gone.
fn allocate(node: &Node, allocator: u64, seed: u64, held: &Held, deaths: &Mutex<u64>) -> Result<()> {
    let mut dice = Random::new(seed ^ (allocator << 32));
    let nodename = format!("storm-{}", allocator % NODES);
    let configuration = json!({"cniVersion": "1.0.0", "name": "net-a", "type": "calico", "log_level": "error",
        "nodename": nodename, "datastore_type": "etcdv3", "etcd_endpoints": node.server().url(),
        "ipam": {"type": "calico-ipam"}});
    let containers: Vec<Container> = (0..3)
        .map(|n| format!("storm{allocator}-{n}"))
        .map(|name| Container { id: name.clone(), netns: name })
        .collect();
    let call = |verb: &str, container: &Container| {
        node.call(verb, container).program("calico-ipam").configuration(&configuration)
    };
    for _ in 0..OPERATIONS {
        let container = containers.get(usize::try_from(dice.below(3))?).context("one of three")?;
        release(held, &container.id);
        if dice.below(2) == 0 {
            let del = call("DEL", container).env("OCICAT_FAILPOINT", death(&mut dice)?);
            count_death(del.run()?.ending, deaths);
            continue;
        }
        // ADD of what may be there already: the runtime would have run DEL first
        call("DEL", container).run()?.expect_ok("DEL")?;
        let add = call("ADD", container).env("OCICAT_FAILPOINT", death(&mut dice)?);
        let output = add.run()?;
        count_death(output.ending, deaths);
        if output.ok() {
            for address in addresses(&output.stdout)? {
                let other = held.lock().unwrap().insert(address, container.id.clone());
                assert_eq!(other, None, "seed {seed}: {address} of {} given again", container.id);
            }
        }
    }
    for container in &containers {
        release(held, &container.id);
        call("DEL", container).run()?.expect_ok("last DEL")?;
    }
    Ok(())
}

/// Where this execution dies, if it comes by; often nowhere.
fn death(dice: &mut Random) -> Result<&'static str> {
    match dice.below(2) {
        0 => Ok(""),
        _ => DEATHS.get(usize::try_from(dice.below(DEATHS.len() as u64))?).copied().context("a failpoint"),
    }
}

/// From here on somebody else may get the container's address.
fn release(held: &Held, id: &str) {
    held.lock().unwrap().retain(|_, holder| holder != id);
}

fn count_death(ending: Ending, deaths: &Mutex<u64>) {
    match ending {
        Ending::Signal(_) => *deaths.lock().unwrap() += 1,
        Ending::Exit(_) => {}
        Ending::Timeout => panic!("an allocator hangs"),
    }
}
