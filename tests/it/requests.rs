//! How often a plugin asks etcd: the price of an ADD on a busy store, by the server's own count.

use anyhow::Result;
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::node::{Container, NAME, Node};
use ocicat_tests::sandbox;
use serde_json::json;

/// Requests of one ADD whose block is owned and whose profile is there.
const MOST: u64 = 5;

/// Of these, transactions that write.
const WRITES: i64 = 2;

/// Requests that `verb` makes, and how many revisions it adds.
fn cost(node: &Node, verb: &str, container: &Container, v6: bool) -> Result<(u64, i64)> {
    let mut configuration = node.configuration();
    configuration["ipam"] =
        json!({"type": "calico-ipam", "assign_ipv4": "true", "assign_ipv6": v6.to_string()});
    let store = &node.server().client;
    let revision = store.revision()?;
    let before: u64 = store.handled()?.values().sum();
    node.call(verb, container).configuration(&configuration).run()?.expect_ok(verb)?;
    let after: u64 = store.handled()?.values().sum();
    Ok((after - before, store.revision()? - revision))
}

#[test]
fn an_add_takes_five_requests_and_two_writes_in_one_family_or_both() {
    sandbox::within(NAME, programs(Build::Plain).unwrap(), || {
        let node = Node::start()?;
        node.add(&Container::start("resident")?)?;
        for v6 in [false, true] {
            let container = Container::start("pod")?;
            let (requests, writes) = cost(&node, "ADD", &container, v6)?;
            assert!(requests <= MOST, "ADD (IPv6: {v6}) made {requests} requests");
            assert!(writes <= WRITES, "ADD (IPv6: {v6}) wrote {writes} times");
            let (requests, writes) = cost(&node, "DEL", &container, v6)?;
            assert!(requests <= MOST + 1, "DEL (IPv6: {v6}) made {requests} requests");
            assert!(writes <= WRITES, "DEL (IPv6: {v6}) wrote {writes} times");
        }
        Ok(())
    })
    .unwrap();
}
