//! A given address: `ipam.md` §6 of the contract.

use super::{World, cidr, host, text};
use crate::request::{AssignIpRequest, Assigned};
use crate::{PlanError, assign_ip};
use model::v3::PoolUse;
use serde_json::json;

fn request(node: &str, handle: &str, address: &str) -> AssignIpRequest {
    AssignIpRequest {
        address: address.parse().unwrap(),
        owner: host(node),
        handle: Some(handle.to_owned()),
        attributes: [("node".to_owned(), node.to_owned())].into(),
        intended_use: Some(PoolUse::Workload),
        max_per_handle: 0,
        host_reserved: None,
    }
}

fn assign(world: &mut World, node: &str, handle: &str, address: &str) -> Result<Assigned, PlanError> {
    world.run(assign_ip(request(node, handle, address)))
}

#[test]
fn an_absent_block_is_claimed() {
    let mut world = World::small();
    let assigned = assign(&mut world, "node-1", "s1", "10.80.0.5").unwrap();
    assert_eq!(assigned.block, cidr("10.80.0.4/30"));
    assert_eq!((world.reads(), world.writes()), (2, vec!["claim-ip"]));
    let block = world.block("10.80.0.4/30").unwrap();
    assert_eq!(block.unallocated, [0, 2, 3]);
    assert_eq!(block.affinity.as_deref(), Some("host:node-1"));
    assert_eq!(world.affinity("node-1", "10.80.0.4/30").unwrap(), "confirmed");
    assert_eq!(world.handle("s1").unwrap(), json!({"10.80.0.4/30": 1}));
}

#[test]
fn anybodys_block_will_do_unless_affinity_is_strict() {
    let mut world = World::small();
    assign(&mut world, "node-1", "s1", "10.80.0.5").unwrap();
    assign(&mut world, "node-2", "s2", "10.80.0.6").unwrap();
    assert_eq!(world.writes(), ["assign-ip"]);
    world.configure(json!({"strict_affinity": true, "auto_allocate_blocks": true}));
    assert_eq!(text(assign(&mut world, "node-2", "s3", "10.80.0.7")), "Block host affinity does not match");
    assert!(assign(&mut world, "node-1", "s3", "10.80.0.7").is_ok());
    let mut orphan = world.block("10.80.0.4/30").unwrap();
    orphan.affinity = None;
    world.put_block(&orphan);
    assert_eq!(
        text(assign(&mut world, "node-1", "s4", "10.80.0.4")),
        "Attempt to assign from block 10.80.0.4/30 with no affinity"
    );
}

#[test]
fn a_taken_or_cooling_address_is_refused() {
    let mut world = World::small();
    world.configure(json!({"auto_allocate_blocks": true, "ipCooldownSeconds": 30}));
    assign(&mut world, "node-1", "s1", "10.80.0.5").unwrap();
    let refusal = "resource already exists: 10.80.0.5 with error: Address already assigned in block";
    assert_eq!(text(assign(&mut world, "node-1", "s1", "10.80.0.5")), refusal);
    world.del("s1");
    assert_eq!(text(assign(&mut world, "node-1", "s2", "10.80.0.5")), refusal);
    assert_eq!(world.handle("s2"), None);
    world.pass(31);
    assert!(assign(&mut world, "node-1", "s2", "10.80.0.5").is_ok());
}

#[test]
fn reservations_and_selectors_do_not_bind_who_names_an_address() {
    let mut world = World::bare();
    world.pool(
        "p",
        json!({"cidr": "10.80.0.0/29", "blockSize": 30, "nodeSelector": "rack == 'r9'",
        "namespaceSelector": "x == 'y'", "assignmentMode": "Manual"}),
    );
    world.reserve(&["10.80.0.0/29"]);
    assert!(assign(&mut world, "node-1", "s1", "10.80.0.5").is_ok());
}

#[test]
fn pools() {
    let mut world = World::bare();
    world.pool("tun", json!({"cidr": "10.82.0.0/24", "allowedUses": ["Tunnel"]}));
    world.pool("off", json!({"cidr": "10.83.0.0/24", "disabled": true}));
    for address in ["10.99.0.1", "10.83.0.1", "fd00::1"] {
        let error = text(assign(&mut world, "node-1", "s", address));
        assert_eq!(error, "The provided IP address is not in a configured pool\n");
    }
    assert_eq!(
        text(assign(&mut world, "node-1", "s", "10.82.0.5")),
        "IP address 10.82.0.5 is in IP pool \"tun\", which is not allowed for use \"Workload\" (allowedUses: [Tunnel])"
    );
    let any = AssignIpRequest { intended_use: None, ..request("node-1", "s", "10.82.0.5") };
    assert!(world.run(assign_ip(any)).is_ok());
}

#[test]
fn a_limit_a_handle_makes_repetition_harmless() {
    let mut world = World::small();
    let once = |address| AssignIpRequest { max_per_handle: 1, ..request("node-1", "vm", address) };
    world.run(assign_ip(once("10.80.0.5"))).unwrap();
    world.run(assign_ip(once("10.80.0.5"))).unwrap();
    assert!(world.writes().is_empty());
    assert_eq!(world.handle("vm").unwrap(), json!({"10.80.0.4/30": 1}));
    let error = text(world.run(assign_ip(once("10.80.0.1"))));
    assert_eq!(error, "handle vm already has 1 addresses, as many as it may have");
}

#[test]
fn of_two_who_want_the_same_address_one_gets_it() {
    let mut world = World::small();
    world.interference.push(Box::new(|world| {
        assign(world, "node-2", "faster", "10.80.0.5").unwrap();
    }));
    let error = text(assign(&mut world, "node-1", "slower", "10.80.0.5"));
    assert!(error.contains("already assigned"), "{error}");
    assert_eq!((world.handle("slower"), world.affinity("node-1", "10.80.0.4/30")), (None, None));
    world.interference.push(Box::new(|world| {
        assign(world, "node-2", "other", "10.80.0.6").unwrap();
    }));
    assert!(
        assign(&mut world, "node-1", "third", "10.80.0.7").is_ok(),
        "another address of the block does not matter"
    );
}
