//! Settings, lookups, utilization: `ipam.md` §2 and §13 of the contract.

use super::{World, cidr, host, text};
use crate::request::AutoAssignRequest;
use crate::{ORPHANS, blocks, claim_affinity, config, lookup, set_config, utilization};
use model::ipam::IpamConfig;
use model::key::Key;
use serde_json::json;

#[test]
fn settings_are_read_without_being_made() {
    let mut world = World::bare();
    assert_eq!(world.run(config()).unwrap(), IpamConfig::default());
    assert!(world.keys().is_empty());
    world.configure(json!({}));
    assert!(!world.run(config()).unwrap().auto_allocate_blocks);
}

#[test]
fn settings_must_agree_with_each_other() {
    let mut world = World::bare();
    let neither = IpamConfig { auto_allocate_blocks: false, ..IpamConfig::default() };
    assert_eq!(
        text(world.run(set_config(neither))),
        "Cannot disable 'StrictAffinity' and 'AutoAllocateBlocks' at the same time"
    );
    let limit = IpamConfig { max_blocks_per_host: 3, ..IpamConfig::default() };
    assert_eq!(
        text(world.run(set_config(limit.clone()))),
        "MaxBlocksPerHost requires StrictAffinity to be enabled"
    );
    assert!(world.keys().is_empty());
    let strict = IpamConfig { strict_affinity: true, ..limit };
    world.run(set_config(strict.clone())).unwrap();
    assert_eq!(world.run(config()).unwrap(), strict);
    let negative = IpamConfig { max_blocks_per_host: -1, ..IpamConfig::default() };
    assert!(world.run(set_config(negative)).is_ok(), "as upstream, no limit at all");
}

#[test]
fn who_has_an_address() {
    let mut world = World::small();
    let request = AutoAssignRequest {
        handle: Some("net.c1".into()),
        attributes: [("pod".into(), "web-0".into())].into(),
        ..AutoAssignRequest::for_workload("node-1", 1, 0)
    };
    let assigned = world.auto(request).unwrap().v4.assigned[0];
    let found = world.run(lookup(assigned.address)).unwrap().unwrap();
    assert_eq!((found.block, found.owner), (assigned.block, Some(host("node-1"))));
    assert_eq!((found.handle.as_deref(), found.attributes["pod"].as_str()), (Some("net.c1"), "web-0"));
    assert_eq!(found.sequence_number, Some(u64::try_from(world.now.as_nanosecond()).unwrap()));
    for free in ["10.80.0.2", "10.99.0.1", "fd00::1"] {
        assert_eq!(world.run(lookup(free.parse().unwrap())).unwrap(), None, "{free}");
    }
    world.delete(&Key::resource(model::Kind::IPPool, "", "small"));
    assert!(world.run(lookup(assigned.address)).unwrap().is_some(), "also without its pool");
}

#[test]
fn utilization_counts_reserved_addresses_once() {
    let mut world = World::bare();
    world.pool("eight", json!({"cidr": "10.80.0.0/29", "blockSize": 29}));
    world.reserve(&["10.80.0.0/31", "10.80.0.5/32", "10.80.0.4/31"]);
    for handle in ["a", "b"] {
        world.add("node-1", handle).unwrap();
    }
    let request = crate::AssignIpRequest {
        address: "10.80.0.1".parse().unwrap(),
        owner: host("node-1"),
        handle: None,
        attributes: Default::default(),
        intended_use: None,
        max_per_handle: 0,
        host_reserved: None,
    };
    world.run(crate::assign_ip(request)).unwrap();
    let report = world.run(utilization(Vec::new())).unwrap();
    let pool = &report[0];
    // 0, 1, 4, 5 reserved; 1, 2, 3 in use; 6, 7 neither
    assert_eq!((pool.capacity, pool.in_use, pool.reserved, pool.available), (8, 3, 4, 2));
    let block = &pool.blocks[0];
    assert_eq!((block.capacity, block.in_use, block.reserved, block.available), (8, 3, 4, 2));
}

#[test]
fn utilization_of_unclaimed_space_of_named_pools_and_of_orphans() {
    let mut world = World::bare();
    world.pool("a", json!({"cidr": "10.80.0.0/28", "blockSize": 30}));
    world.pool("b", json!({"cidr": "fd00::/64"}));
    world.pool("gone", json!({"cidr": "10.90.0.0/30", "blockSize": 30}));
    world.run(claim_affinity(host("node-1"), cidr("10.90.0.0/30"))).unwrap();
    world.delete(&Key::resource(model::Kind::IPPool, "", "gone"));
    world.add("node-1", "h").unwrap();
    let all = world.run(utilization(Vec::new())).unwrap();
    let told: Vec<_> =
        all.iter().map(|pool| (pool.name.as_str(), pool.capacity, pool.in_use, pool.available)).collect();
    assert_eq!(told, [("a", 16, 1, 15), ("b", 1 << 64, 0, 1 << 64), (ORPHANS, 0, 0, 0)]);
    assert_eq!(all[2].blocks[0].cidr, cidr("10.90.0.0/30"));
    assert_eq!(all[2].cidr, cidr("0.0.0.0/0"));
    let one = world.run(utilization(vec!["fd00::/64".into()])).unwrap();
    assert_eq!(one.len(), 1);
    assert_eq!(world.run(utilization(vec!["a".into(), "nosuch".into()])).unwrap()[0].name, "a");
}

#[test]
fn blocks_come_in_the_order_of_their_keys() {
    let mut world = World::bare();
    world.pool("p", json!({"cidr": "10.80.0.0/24", "blockSize": 28}));
    world.pool("six", json!({"cidr": "fd00::/120", "blockSize": 122}));
    for range in ["10.80.0.16/28", "10.80.0.128/28", "fd00::40/122"] {
        world.run(claim_affinity(host("node-1"), cidr(range))).unwrap();
    }
    let listed: Vec<String> =
        world.run(blocks()).unwrap().iter().map(|block| block.cidr.to_string()).collect();
    assert_eq!(listed, ["10.80.0.128/28", "10.80.0.16/28", "fd00::40/122"]);
}
