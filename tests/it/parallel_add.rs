//! Nothing is given twice: many ADDs at once, by processes that know nothing of each other.

use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::node::{Container, NAME, Node};
use ocicat_tests::sandbox;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::thread;

/// Workloads started together.
const TOGETHER: usize = 64;

#[test]
fn sixty_four_adds_at_once_get_sixty_four_addresses() {
    sandbox::within(NAME, programs(Build::Plain).unwrap(), || {
        let node = Node::start()?;
        let containers: Vec<Container> =
            (0..TOGETHER).map(|n| Container::start(&format!("pod{n:02}"))).collect::<Result<_, _>>()?;
        let given: Vec<IpAddr> = at_once(&containers, |container| node.add(container).unwrap()).concat();
        let distinct: BTreeSet<IpAddr> = given.iter().copied().collect();
        assert_eq!(distinct.iter().filter(|address| address.is_ipv4()).count(), TOGETHER, "{given:?}");
        assert_eq!(distinct.iter().filter(|address| address.is_ipv6()).count(), TOGETHER, "{given:?}");
        node.assert_whole("after the ADDs")?;
        at_once(&containers, |container| node.del(container).unwrap());
        node.assert_whole("after the DELs")?;
        assert_eq!(node.held()?, Vec::<String>::new());
        Ok(())
    })
    .unwrap();
}

#[test]
fn adds_and_dels_of_neighbours_do_not_disturb_each_other() {
    sandbox::within(NAME, programs(Build::Plain).unwrap(), || {
        let node = Node::start()?;
        let containers: Vec<Container> =
            (0..16).map(|n| Container::start(&format!("pod{n:02}"))).collect::<Result<_, _>>()?;
        at_once(&containers, |container| {
            for _ in 0..3 {
                node.add(container).unwrap();
                node.del(container).unwrap();
            }
        });
        node.assert_whole("after all came and went")?;
        assert_eq!(node.held()?, Vec::<String>::new());
        Ok(())
    })
    .unwrap();
}

/// Does it for every container on a thread of its own, all at once.
fn at_once<T: Send>(containers: &[Container], work: impl Fn(&Container) -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let running: Vec<_> = containers.iter().map(|container| scope.spawn(|| work(container))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}
