//! Nodes that keep addresses of their blocks for themselves, and need a block before an address: `ipam.md` §5.5, §8.

use super::{World, cidr, text};
use crate::request::{AssignIpRequest, AutoAssignRequest, HostReserved};
use crate::{EnsureBlockRequest, EnsuredBlocks, PlanError, assign_ip, ensure_block};
use model::Kind;
use model::key::Key;
use model::net::Family;
use serde_json::{Value, json};

/// A pool of two blocks of eight, strict affinity, and an IPv6 pool of one block.
fn world() -> World {
    let mut world = World::bare();
    world.pool("four", json!({"cidr": "10.80.0.0/28", "blockSize": 29}));
    world.pool("six", json!({"cidr": "fd80::/126", "blockSize": 126}));
    world.configure(json!({"strict_affinity": true, "auto_allocate_blocks": true}));
    world
}

fn request(node: &str, handle: &str, count: usize) -> AutoAssignRequest {
    AutoAssignRequest {
        handle: Some(handle.into()),
        host_reserved: Some(HostReserved::windows()),
        ..AutoAssignRequest::for_workload(node, count, 0)
    }
}

fn ensure(world: &mut World, node: &str, v4: bool, v6: bool) -> Result<EnsuredBlocks, PlanError> {
    world.run(ensure_block(EnsureBlockRequest {
        host: node.to_owned(),
        host_reserved: HostReserved::windows(),
        v4,
        v6,
        v4_pools: Vec::new(),
        v6_pools: Vec::new(),
    }))
}

/// Offsets of a block's addresses in their order.
fn offsets(addresses: &[crate::Assigned]) -> Vec<u128> {
    addresses.iter().map(|a| a.block.offset_of(a.address).unwrap()).collect()
}

#[test]
fn the_first_three_and_the_last_address_are_the_hosts() {
    let mut world = world();
    let outcome = world.auto(request("node-1", "h", 4)).unwrap();
    assert_eq!(offsets(&outcome.v4.assigned), [3, 4, 5, 6]);
    let block = outcome.v4.assigned[0].block;
    let stored: Value = world.get(&Key::Block(block)).unwrap();
    assert_eq!(
        stored["attributes"][0],
        json!({"handle_id": "windows-reserved-ipam-handle", "secondary": {"note": "windows host rsvd"}})
    );
    assert_eq!(stored["allocations"], json!([0, 0, 0, 1, 1, 1, 1, 0]));
    assert_eq!(stored["unallocated"], json!([]));
    assert_eq!(world.handle("windows-reserved-ipam-handle"), None, "kept in the block only");
    assert_eq!(world.handle("h").unwrap(), json!({block.to_string(): 4}));
    // Released addresses come back, those of the host never do.
    world.del("h");
    assert_eq!(world.block(&block.to_string()).unwrap().unallocated, [3, 4, 5, 6]);
    let outcome = world.auto(request("node-1", "again", 4)).unwrap();
    assert_eq!(offsets(&outcome.v4.assigned), [3, 4, 5, 6]);
}

#[test]
fn a_block_with_nothing_but_the_hosts_addresses_is_empty() {
    let mut world = world();
    world.auto(request("node-1", "a", 5)).unwrap();
    world.del("a");
    world.pass(61);
    // Both blocks are node-1's and empty: another node takes one over, and keeps its own addresses of it.
    let outcome = world.auto(request("node-2", "b", 1)).unwrap();
    assert_eq!(world.writes(), ["steal"]);
    let block = world.block(&outcome.v4.assigned[0].block.to_string()).unwrap();
    assert_eq!(block.affinity.as_deref(), Some("host:node-2"));
    assert_eq!(block.unallocated, [4, 5, 6]);
    world.del("b");
    let freed = crate::release_host_affinities("node-2".into(), true);
    world.run(freed).unwrap();
    assert_eq!(world.block(&block.cidr.to_string()), None);
}

#[test]
fn blocks_that_would_be_the_hosts_alone_do_not_qualify() {
    let kept = HostReserved::windows();
    assert_eq!(
        (kept.longest_prefix(32), HostReserved { first: 1, last: 0, ..kept }.longest_prefix(32)),
        (29, 31)
    );
    let mut world = world();
    world.pool("tiny", json!({"cidr": "10.90.0.0/28", "blockSize": 30}));
    let named = AutoAssignRequest { v4_pools: vec![cidr("10.90.0.0/28")], ..request("node-1", "h", 1) };
    let refusal = text(world.auto(named.clone()));
    assert_eq!(refusal, "the given pool (10.90.0.0/28) does not exist, or is not enabled");
    assert!(world.auto(AutoAssignRequest { host_reserved: None, ..named }).is_ok());
    world.delete(&Key::resource(Kind::IPPool, "", "four"));
    assert_eq!(text(world.auto(request("node-1", "h", 1))), "cannot find a qualified ippool");
}

#[test]
fn affinity_must_be_strict() {
    let mut world = world();
    world.configure(json!({"strict_affinity": false, "auto_allocate_blocks": true}));
    let refusal = "global strict affinity should not be false for Windows node";
    assert_eq!(text(world.auto(request("node-1", "h", 1))), refusal);
    assert_eq!(text(ensure(&mut world, "node-1", true, false)), refusal);
    let given = |address: &str| AssignIpRequest {
        address: address.parse().unwrap(),
        owner: super::host("node-1"),
        handle: None,
        attributes: Default::default(),
        intended_use: None,
        host_reserved: Some(HostReserved::windows()),
        max_per_handle: 0,
    };
    assert_eq!(text(world.run(assign_ip(given("10.80.0.4")))), refusal);
    assert!(world.keys().iter().all(|key| key == "/calico/ipam/v2/config"), "{:?}", world.keys());
    world.configure(json!({"strict_affinity": true, "auto_allocate_blocks": true}));
    world.run(assign_ip(given("10.80.0.4"))).unwrap();
    assert_eq!(world.block("10.80.0.0/29").unwrap().unallocated, [3, 5, 6]);
    let refusal = text(world.run(assign_ip(given("10.80.0.8"))));
    assert!(refusal.contains("Address already assigned in block"), "{refusal}");
}

#[test]
fn who_is_short_is_told_whose_addresses_are_missing() {
    let mut world = world();
    let refusal = text(world.auto(request("node-1", "h", 9)));
    assert_eq!(
        refusal,
        "Assigned 8 out of 9 requested IPv4 addresses; No more free affine blocks and strict affinity enabled; \
         HostReservedAttr: windows-reserved-ipam-handle"
    );
}

#[test]
fn a_block_is_ensured_once() {
    let mut world = world();
    let first = ensure(&mut world, "node-1", true, true).unwrap();
    assert_eq!(world.writes(), ["claim"], "both families in one transaction");
    let v4 = first.v4.unwrap();
    assert_eq!((v4.family(), v4.prefix()), (Family::V4, 29));
    assert_eq!(first.v6, Some(cidr("fd80::/126")));
    assert_eq!(world.block(&v4.to_string()).unwrap().unallocated, [3, 4, 5, 6]);
    assert_eq!(
        world.block("fd80::/126").unwrap().unallocated.len(),
        4,
        "only of IPv4 blocks something is kept"
    );
    assert_eq!(world.affinity("node-1", &v4.to_string()).unwrap(), "confirmed");
    assert_eq!(ensure(&mut world, "node-1", true, false).unwrap(), EnsuredBlocks { v4: Some(v4), v6: None });
    assert_eq!(world.writes(), Vec::<&str>::new());
    // A full block is none: the next one is claimed.
    world.auto(request("node-1", "h", 4)).unwrap();
    let second = ensure(&mut world, "node-1", true, false).unwrap().v4.unwrap();
    assert_ne!(second, v4);
    assert_eq!(text(ensure(&mut world, "node-2", true, false)), "No Free Blocks");
    assert_eq!(ensure(&mut world, "node-2", false, false).unwrap(), EnsuredBlocks::default());
}
