//! Giving back: `ipam.md` §7 of the contract.

use super::{World, cidr, text};
use crate::request::{AutoAssignRequest, Release};
use crate::{ips_by_handle, release_by_handles, release_ips};
use model::key::Key;
use serde_json::json;
use std::net::IpAddr;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A pool of one block of four, all of it assigned: a, b, c, c.
fn full() -> World {
    let mut world = World::bare();
    world.pool("one", json!({"cidr": "10.80.0.0/30", "blockSize": 30}));
    world.add("node-1", "a").unwrap();
    world.add("node-1", "b").unwrap();
    let two =
        AutoAssignRequest { handle: Some("c".into()), ..AutoAssignRequest::for_workload("node-1", 2, 0) };
    world.auto(two).unwrap();
    world
}

const BLOCK: &str = "10.80.0.0/30";

#[test]
fn by_handle() {
    let mut world = full();
    assert_eq!(world.del("c"), Some(2));
    assert_eq!(world.block(BLOCK).unwrap().unallocated, [2, 3]);
    assert_eq!(world.handle("c"), None);
    assert_eq!(world.del("c"), None, "once gone, there is nothing to do");
    assert!(world.writes().is_empty());
    assert_eq!(
        world.run(release_by_handles(vec!["nobody".into(), "a".into(), "b".into()])).unwrap().unwrap().len(),
        2
    );
    assert_eq!(world.block(BLOCK).unwrap().unallocated, [2, 3, 0, 1]);
    assert_eq!(world.affinity("node-1", BLOCK).unwrap(), "confirmed", "an empty block stays with its owner");
}

#[test]
fn by_address() {
    let mut world = full();
    let outcome = world
        .run(release_ips(vec![
            Release::unconditional(ip("10.80.0.2")),
            Release::unconditional(ip("10.80.0.0")),
            Release::unconditional(ip("10.80.0.0")),
            Release::unconditional(ip("10.99.0.1")),
        ]))
        .unwrap();
    assert_eq!(outcome.released.len(), 2);
    assert_eq!(outcome.unallocated, [ip("10.99.0.1")]);
    assert_eq!(world.writes(), ["release"]);
    assert_eq!(world.handle("a"), None);
    assert_eq!(world.handle("c").unwrap(), json!({BLOCK: 1}), "the other address of c is still counted");
    let again = world.run(release_ips(vec![Release::unconditional(ip("10.80.0.0"))])).unwrap();
    assert_eq!(again.unallocated, [ip("10.80.0.0")]);
    assert!(world.writes().is_empty());
}

#[test]
fn one_wrong_belief_saves_the_whole_block() {
    let mut world = full();
    let believe = |handle: Option<&str>, sequence_number: Option<u64>| {
        vec![
            Release::unconditional(ip("10.80.0.0")),
            Release { address: ip("10.80.0.1"), handle: handle.map(str::to_owned), sequence_number },
        ]
    };
    let before = world.block(BLOCK).unwrap();
    let number = before.sequence_for[&1];
    let outcome = world.run(release_ips(believe(Some("a"), None))).unwrap();
    assert_eq!(
        outcome.failed[0].1.to_string(),
        "the given handle (a) does not match (b) when attempting to release IP"
    );
    let outcome = world.run(release_ips(believe(Some("b"), Some(number + 1)))).unwrap();
    assert_eq!(
        outcome.failed[0].1.to_string(),
        format!(
            "the given sequence number ({}) does not match ({number}) when attempting to release IP",
            number + 1
        )
    );
    assert!(outcome.released.is_empty());
    assert_eq!(world.block(BLOCK).unwrap(), before);
    let outcome = world.run(release_ips(believe(Some("b"), Some(number)))).unwrap();
    assert_eq!((outcome.released.len(), outcome.failed.len()), (2, 0));
}

#[test]
fn an_address_given_to_somebody_else_meanwhile_is_safe() {
    let mut world = full();
    let number = world.block(BLOCK).unwrap().sequence_for[&0];
    let believed =
        Release { address: ip("10.80.0.0"), handle: Some("a".into()), sequence_number: Some(number) };
    world.interference.push(Box::new(|world| {
        world.del("a");
        world.add("node-1", "new").unwrap();
    }));
    let outcome = world.run(release_ips(vec![believed])).unwrap();
    assert_eq!(outcome.released.len(), 0);
    assert_eq!(outcome.failed.len(), 1);
    assert!(world.handle("new").is_some());
}

#[test]
fn cooling_addresses_are_nobodys() {
    let mut world = full();
    world.configure(json!({"auto_allocate_blocks": true, "ipCooldownSeconds": 600}));
    world.run(release_ips(vec![Release::unconditional(ip("10.80.0.0"))])).unwrap();
    let block = world.block(BLOCK).unwrap();
    assert!(block.unallocated.is_empty());
    assert_eq!(block.sequence_for[&0], block.sequence_number - 1, "a renewed number");
    let again = world.run(release_ips(vec![Release::unconditional(ip("10.80.0.0"))])).unwrap();
    assert_eq!(again.unallocated, [ip("10.80.0.0")]);
    assert_eq!(text(world.run(crate::lookup(ip("10.80.0.0")))), "address 10.80.0.0 is in cooldown");
    let number = world.block(BLOCK).unwrap().sequence_for[&1];
    world.del("b");
    assert_eq!(world.block(BLOCK).unwrap().sequence_for[&1], number, "by handle the number stays");
}

#[test]
fn addresses_of_disabled_and_deleted_pools_can_be_given_back() {
    let mut world = full();
    world.pool("one", json!({"cidr": "10.80.0.0/30", "blockSize": 30, "disabled": true}));
    assert_eq!(
        world.run(release_ips(vec![Release::unconditional(ip("10.80.0.0"))])).unwrap().released.len(),
        1
    );
    world.delete(&Key::resource(model::Kind::IPPool, "", "one"));
    assert_eq!(
        world.run(release_ips(vec![Release::unconditional(ip("10.80.0.1"))])).unwrap().released.len(),
        1
    );
    assert_eq!(world.del("c"), Some(2));
}

#[test]
fn a_block_goes_back_when_its_pool_stopped_selecting_the_node() {
    let mut world = full();
    world.pool("one", json!({"cidr": "10.80.0.0/30", "blockSize": 30, "nodeSelector": "rack == 'r2'"}));
    world.del("a");
    assert!(world.block(BLOCK).is_some());
    world.del("b");
    world.interference.push(Box::new(|world| {
        let block = world.block(BLOCK).unwrap();
        world.put_block(&block);
    }));
    world.del("c");
    assert!(world.keys().is_empty(), "{:?}", world.keys());
}

#[test]
fn what_became_of_the_node_is_not_guessed() {
    let mut world = full();
    world.pool("one", json!({"cidr": "10.80.0.0/30", "blockSize": 30, "nodeSelector": "rack == 'r2'"}));
    world.delete(&Key::resource(model::Kind::Node, "", "node-1"));
    for handle in ["a", "b", "c"] {
        world.del(handle);
    }
    assert!(world.block(BLOCK).is_some(), "a node that does not exist may come back");

    world.node("node-1", "r1");
    world.add("node-2", "x").unwrap();
    world.pool("one", json!({"cidr": "10.80.0.0/30", "blockSize": 30, "nodeSelector": "rack =="}));
    assert_eq!(world.del("x"), Some(1));
    assert!(world.block(BLOCK).is_some(), "a selector that cannot be read selects as before");
}

#[test]
fn a_large_batch_is_cut_into_transactions_that_the_store_takes() {
    let mut world = World::bare();
    world.pool("big", json!({"cidr": "10.80.0.0/24", "blockSize": 24}));
    let mut releases = Vec::new();
    for index in 0..200 {
        world.add("node-1", &format!("h{index}")).unwrap();
        releases.push(Release::unconditional(cidr("10.80.0.0/24").nth(index).unwrap()));
    }
    let outcome = world.run(release_ips(releases)).unwrap();
    assert_eq!((outcome.released.len(), outcome.unallocated.len()), (200, 0));
    assert_eq!(world.keys().len(), 2, "block and affinity");
}

#[test]
fn addresses_of_a_handle() {
    let mut world = full();
    let held: Vec<String> =
        world.run(ips_by_handle("c".into())).unwrap().iter().map(|assigned| assigned.to_string()).collect();
    assert_eq!(held, ["10.80.0.2/30", "10.80.0.3/30"]);
    assert_eq!(
        text(world.run(ips_by_handle("x".into()))),
        "resource does not exist: IPAMHandleKey(id=x) with error: <nil>"
    );
}
