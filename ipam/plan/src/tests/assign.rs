//! Automatic assignment: `ipam.md` §4 and §5 of the contract.

use super::{World, cidr, text};
use crate::request::{AutoAssignOutcome, AutoAssignRequest};
use crate::{PlanError, block};
use model::ipam::{AllocationBlock, Attribute};
use serde_json::{Value, json};

fn many(node: &str, handle: &str, count: usize) -> AutoAssignRequest {
    AutoAssignRequest { handle: Some(handle.into()), ..AutoAssignRequest::for_workload(node, count, 0) }
}

fn addresses(outcome: &AutoAssignOutcome) -> Vec<String> {
    outcome.v4.assigned.iter().chain(&outcome.v6.assigned).map(ToString::to_string).collect()
}

#[test]
fn a_first_address_makes_block_affinity_and_handle() {
    let mut world = World::bare();
    world.pool("one", json!({"cidr": "10.80.0.0/30", "blockSize": 30}));
    let request = AutoAssignRequest {
        attributes: [("node".into(), "node-1".into())].into(),
        ..many("node-1", "net.c1", 1)
    };
    assert_eq!(addresses(&world.auto(request).unwrap()), ["10.80.0.0/30"]);
    let key = model::Key::parse("/calico/ipam/v2/assignment/ipv4/block/10.80.0.0-30").unwrap();
    let stored = world.get(&key).unwrap();
    let number = u64::try_from(world.now.as_nanosecond()).unwrap();
    assert_eq!(
        stored,
        json!({"cidr": "10.80.0.0/30", "affinity": "host:node-1", "affinity_claim_time": "2026-11-21T03:13:00Z",
            "allocations": [0, null, null, null], "unallocated": [1, 2, 3],
            "attributes": [{"handle_id": "net.c1", "secondary": {"node": "node-1"}}],
            "sequenceNumber": number + 1, "sequenceNumberForAllocation": {"0": number}, "deleted": false})
    );
    assert_eq!(world.affinity("node-1", "10.80.0.0/30").unwrap(), "confirmed");
    assert_eq!(world.handle("net.c1").unwrap(), json!({"10.80.0.0/30": 1}));
}

#[test]
fn several_addresses_over_several_blocks_count_what_was_got() {
    let mut world = World::small();
    let outcome = world.auto(many("node-1", "h", 6)).unwrap();
    assert_eq!(outcome.v4.assigned.len(), 6);
    let mut counts: Vec<i64> = world
        .handle("h")
        .unwrap()
        .as_object()
        .unwrap()
        .values()
        .map(|count| count.as_i64().unwrap())
        .collect();
    counts.sort_unstable();
    assert_eq!(counts, [2, 4]);
    assert_eq!(world.writes(), ["claim"]);
}

#[test]
fn less_than_asked_for_is_nothing_unless_it_is_welcome() {
    let mut world = World::small();
    let error = world.auto(many("node-1", "h", 9)).unwrap_err();
    let PlanError::Short(short) = &error else { panic!("{error}") };
    assert_eq!((short.assigned, short.requested), (8, 9));
    assert_eq!(
        error.to_string(),
        "Assigned 8 out of 9 requested IPv4 addresses; No IPs available in pools: [10.80.0.0/29]"
    );
    assert!(world.keys().is_empty());
    let outcome = world.auto(AutoAssignRequest { accept_fewer: true, ..many("node-1", "h", 9) }).unwrap();
    assert_eq!(outcome.v4.assigned.len(), 8);
    assert_eq!(outcome.v4.shortfall().unwrap().to_string(), error.to_string());
    assert_eq!(outcome.v6.shortfall(), None);
}

#[test]
fn one_family_short_leaves_nothing_of_the_other() {
    let mut world = World::small();
    let both =
        AutoAssignRequest { handle: Some("h".into()), ..AutoAssignRequest::for_workload("node-1", 1, 1) };
    assert_eq!(text(world.auto(both.clone())), "cannot find a qualified ippool");
    world.pool("six", json!({"cidr": "fd00::/126", "blockSize": 126}));
    world.reserve(&["fd00::/126"]);
    let error = text(world.auto(both));
    assert_eq!(
        error,
        "Assigned 0 out of 1 requested IPv6 addresses; No IPs available in pools: [fd00::/126]"
    );
    assert!(world.keys().is_empty());
    assert_eq!(world.auto(AutoAssignRequest::for_workload("node-1", 0, 0)).unwrap().v4.assigned, []);
}

#[test]
fn other_blocks_are_borrowed_from_when_all_are_claimed() {
    let mut world = World::small();
    world.auto(many("node-2", "theirs", 1)).unwrap();
    world.auto(many("node-1", "ours", 4)).unwrap();
    let got = world.add("node-1", "borrowed").unwrap();
    assert_eq!(world.writes(), ["borrow"]);
    let theirs = world.handle("theirs").unwrap();
    let block = theirs.as_object().unwrap().keys().next().unwrap().clone();
    assert!(cidr(&block).contains(got.split('/').next().unwrap().parse().unwrap()));
    assert_eq!(world.block(&block).unwrap().affinity.as_deref(), Some("host:node-2"));
    assert_eq!(world.affinity("node-1", &block), None, "borrowing claims nothing");
}

#[test]
fn strict_affinity_does_not_borrow() {
    let mut world = World::small();
    world.configure(json!({"strict_affinity": true, "auto_allocate_blocks": true}));
    world.auto(many("node-2", "theirs", 1)).unwrap();
    world.auto(many("node-1", "ours", 4)).unwrap();
    assert_eq!(
        text(world.add("node-1", "h")),
        "Assigned 0 out of 1 requested IPv4 addresses; No more free affine blocks and strict affinity enabled"
    );
}

#[test]
fn block_limits() {
    let limit = |config: Value, of_request: u32| {
        let mut world = World::bare();
        world.pool("p", json!({"cidr": "10.80.0.0/25", "blockSize": 30}));
        world.configure(config);
        let mut got = 0;
        for index in 0..40 {
            let request =
                AutoAssignRequest { max_blocks: of_request, ..many("node-1", &format!("h{index}"), 4) };
            match world.auto(request) {
                Ok(_) => got += 1,
                Err(error) => {
                    assert_eq!(error.to_string(), "cannot allocate new block due to per host block limit");
                    break;
                }
            }
        }
        got
    };
    let cluster =
        |max: i64| json!({"strict_affinity": true, "auto_allocate_blocks": true, "maxBlocksPerHost": max});
    assert_eq!(limit(cluster(3), 0), 3);
    assert_eq!(limit(cluster(3), 2), 2);
    assert_eq!(limit(cluster(3), 5), 3);
    assert_eq!(limit(cluster(0), 5), 5);
    assert_eq!(limit(cluster(-1), 0), 20, "what is not set is twenty");
}

#[test]
fn at_the_limit_fewer_may_be_welcome() {
    let mut world = World::small();
    let request = AutoAssignRequest { max_blocks: 1, accept_fewer: true, ..many("node-1", "h", 6) };
    let outcome = world.auto(request.clone()).unwrap();
    assert_eq!(outcome.v4.assigned.len(), 4);
    assert_eq!(
        outcome.v4.messages,
        ["Need to allocate an IPAM block but could not - limit of 1 blocks reached for this node"]
    );
    assert!(matches!(world.auto(request), Err(PlanError::BlockLimit)), "none at all is an error");
}

#[test]
fn without_automatic_blocks_only_own_ones_are_used() {
    let mut world = World::small();
    world.configure(json!({"strict_affinity": true}));
    assert_eq!(text(world.add("node-1", "a")), "failed to find or claim a block");
    world.run(crate::claim_affinity(super::host("node-1"), cidr("10.80.0.4/30"))).unwrap();
    assert_eq!(world.add("node-1", "a").unwrap(), "10.80.0.4/30");
}

#[test]
fn empty_blocks_change_hands_after_a_minute() {
    let mut world = World::bare();
    world.pool("one", json!({"cidr": "10.80.0.0/30", "blockSize": 30}));
    world.configure(json!({"strict_affinity": true, "auto_allocate_blocks": true}));
    world.add("node-2", "b").unwrap();
    world.del("b");
    let before = world.block("10.80.0.0/30").unwrap();
    world.pass(59);
    assert!(text(world.add("node-1", "a")).contains("No more free affine blocks"));
    world.pass(1);
    assert_eq!(world.add("node-1", "a").unwrap(), "10.80.0.0/30");
    assert_eq!(world.writes(), ["steal"]);
    assert_eq!(world.affinity("node-2", "10.80.0.0/30"), None);
    assert_eq!(world.affinity("node-1", "10.80.0.0/30").unwrap(), "confirmed");
    let after = world.block("10.80.0.0/30").unwrap();
    assert_eq!((after.affinity.as_deref(), &after.unallocated[..]), (Some("host:node-1"), &[1, 2, 3][..]));
    assert!(after.sequence_number > before.sequence_number);
}

#[test]
fn a_block_of_unknown_age_is_old_and_one_with_a_cooling_address_not_empty() {
    let mut world = World::bare();
    world.pool("one", json!({"cidr": "10.80.0.0/30", "blockSize": 30}));
    let config = json!({"strict_affinity": true, "auto_allocate_blocks": true, "ipCooldownSeconds": 600});
    world.configure(config);
    world.add("node-2", "b").unwrap();
    world.del("b");
    world.pass(120);
    assert!(world.add("node-1", "a").is_err(), "an address of it cools down");
    world.pass(600);
    assert!(world.add("node-1", "a").is_ok());

    let owner = super::host("node-2");
    world.put_block(&AllocationBlock::new(cidr("10.80.0.0/30"), Some(&owner), None, 5).unwrap());
    assert!(world.add("node-1", "c").is_ok());
}

#[test]
fn a_race_for_a_block_is_won_once() {
    let mut world = World::small();
    world.interference.push(Box::new(|world| drop(world.add("node-1", "faster"))));
    let got = world.add("node-1", "slower").unwrap();
    assert!(got.ends_with(".1/30") || got.ends_with(".5/30"), "{got}: the second of the same block");
    assert_eq!(world.keys().iter().filter(|key| key.contains("/assignment/")).count(), 1);

    let mut world = World::small();
    world.interference.push(Box::new(|world| {
        let block = world.keys().len();
        assert_eq!(block, 0);
        for text in ["10.80.0.0/30", "10.80.0.4/30"] {
            let owner = super::host("node-2");
            world.put_block(&AllocationBlock::new(cidr(text), Some(&owner), Some(world.now), 5).unwrap());
            world.put_affinity("node-2", text, "confirmed");
        }
    }));
    world.add("node-1", "h").unwrap();
    assert_eq!(world.writes().last(), Some(&"borrow"), "with every block gone it borrows");
}

#[test]
fn reserved_addresses_and_blocks_are_passed_over() {
    let mut world = World::small();
    world.reserve(&["10.80.0.0/30", "10.80.0.4", "banana"]);
    assert_eq!(world.add("node-1", "a").unwrap(), "10.80.0.5/30");
    assert_eq!(world.add("node-1", "b").unwrap(), "10.80.0.6/30");
    assert_eq!(world.add("node-1", "c").unwrap(), "10.80.0.7/30");
    assert!(text(world.add("node-1", "d")).contains("No IPs available"));
    assert_eq!(world.block("10.80.0.0/30"), None);
    assert_eq!(world.block("10.80.0.4/30").unwrap().unallocated, [0]);
}

#[test]
fn a_block_reserved_by_several_entries_is_not_claimed_either() {
    let mut world = World::small();
    world.reserve(&["10.80.0.0/31", "10.80.0.2/31"]);
    assert_eq!(world.add("node-1", "a").unwrap(), "10.80.0.4/30");
    assert_eq!(world.block("10.80.0.0/30"), None);
}

#[test]
fn empty_blocks_in_pools_that_do_not_select_the_node_go_back() {
    let mut world = World::small();
    let first = world.add("node-1", "a").unwrap();
    world.pool("small", json!({"cidr": "10.80.0.0/29", "blockSize": 30, "nodeSelector": "rack == 'r2'"}));
    world.pool("other", json!({"cidr": "10.90.0.0/29", "blockSize": 30}));
    assert!(world.add("node-1", "b").unwrap().starts_with("10.90."));
    let block = cidr(&first).to_string();
    assert!(world.block(&block).is_some(), "it is in use");
    world.pool("small", json!({"cidr": "10.80.0.0/29", "blockSize": 30}));
    world.del("a");
    assert!(world.block(&block).is_some(), "its pool selected the node");
    world.pool("small", json!({"cidr": "10.80.0.0/29", "blockSize": 30, "nodeSelector": "rack == 'r2'"}));
    world.add("node-1", "c").unwrap();
    assert_eq!((world.block(&block), world.affinity("node-1", &block)), (None, None));
    assert_eq!((world.reads(), world.writes().len()), (2, 1), "in the same transaction");
}

#[test]
fn a_handle_with_as_many_addresses_as_it_may_have_gets_those() {
    let mut world = World::small();
    let request = AutoAssignRequest { max_per_handle: 1, ..many("node-1", "vm", 1) };
    let first = addresses(&world.auto(request.clone()).unwrap());
    let again = world.auto(request.clone()).unwrap();
    assert_eq!(addresses(&again), first);
    assert_eq!(again.v4.shortfall(), None);
    assert!(world.writes().is_empty());
    // counted, but not there: a count alone refuses nobody
    let key = model::Key::Handle("vm2".into());
    world.put(&key, json!({"block": {"10.80.0.0/30": 1}, "deleted": false}));
    let other = AutoAssignRequest { handle: Some("vm2".into()), ..request };
    assert_eq!(world.auto(other).unwrap().v4.assigned.len(), 1);
}

#[test]
fn many_own_blocks_are_read_in_pieces() {
    let mut world = World::bare();
    world.pool("p", json!({"cidr": "10.80.0.0/24", "blockSize": 31}));
    for index in 0..60 {
        let request = AutoAssignRequest { max_blocks: 100, ..many("node-1", &format!("h{index}"), 2) };
        world.auto(request).unwrap();
    }
    world.run(crate::release_by_handles(vec!["h59".into()])).unwrap();
    let request = AutoAssignRequest { max_blocks: 100, ..many("node-1", "again", 1) };
    world.auto(request).unwrap();
    assert_eq!(world.writes(), ["assign"], "the one free address is found however many blocks there are");
    assert!(world.reads() <= 5, "{}", world.reads());
}

#[test]
fn cooling_addresses_are_freed_by_whoever_comes_next() {
    let mut world = World::bare();
    world.pool("one", json!({"cidr": "10.80.0.0/31", "blockSize": 31}));
    world.configure(json!({"auto_allocate_blocks": true, "ipCooldownSeconds": 30}));
    world.auto(many("node-1", "a", 2)).unwrap();
    world.del("a");
    assert!(world.add("node-1", "b").is_err());
    world.pass(31);
    assert_eq!(world.add("node-1", "b").unwrap(), "10.80.0.0/31");
    let stored = world.block("10.80.0.0/31").unwrap();
    assert_eq!(stored.unallocated, [1], "and stored with the next write");
    let cooling = Attribute { released_at: Some(world.now), ..Attribute::default() };
    assert!(!stored.attributes.contains(&cooling));
    assert_eq!(block::ordinals_of(&stored, "b"), [0]);
}
