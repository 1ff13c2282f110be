//! How plans and their transactions behave, whatever they are about.

use super::{World, text};
use crate::request::AutoAssignRequest;
use crate::{MAX_CONFLICTS, Step, auto_assign};
use model::key::Key;
use serde_json::json;

#[test]
fn an_address_from_an_own_block_takes_two_reads_and_one_write() {
    let mut world = World::small();
    world.add("node-1", "a").unwrap();
    world.add("node-1", "b").unwrap();
    assert_eq!((world.reads(), world.writes()), (2, vec!["assign"]));
}

#[test]
fn two_families_take_no_more() {
    let mut world = World::small();
    world.pool("six", json!({"cidr": "fd00:80::/64"}));
    let both = |handle: &str| AutoAssignRequest {
        handle: Some(handle.into()),
        ..AutoAssignRequest::for_workload("node-1", 1, 1)
    };
    world.auto(both("a")).unwrap();
    assert_eq!(world.writes(), ["claim"], "two blocks, two affinities and the handle at once");
    world.auto(both("b")).unwrap();
    assert_eq!((world.reads(), world.writes()), (2, vec!["assign"]));
    assert_eq!(world.handle("b").unwrap().as_object().unwrap().len(), 2);
}

#[test]
fn releasing_a_handle_takes_two_reads_and_one_write() {
    let mut world = World::small();
    world.pool("six", json!({"cidr": "fd00:80::/64"}));
    let request =
        AutoAssignRequest { handle: Some("a".into()), ..AutoAssignRequest::for_workload("node-1", 1, 1) };
    world.auto(request).unwrap();
    assert_eq!(world.del("a"), Some(2));
    assert_eq!((world.reads(), world.writes()), (2, vec!["release-handle"]));
}

#[test]
fn a_lost_race_costs_one_request_while_own_blocks_last() {
    let mut world = World::small();
    world.add("node-1", "a").unwrap();
    world.interference.push(Box::new(|world| drop(world.add("node-1", "faster"))));
    let got = world.add("node-1", "b").unwrap();
    assert!(got.contains(".2/") || got.contains(".6/"), "{got}: the next address");
    assert_eq!(world.handle("faster").is_some(), world.handle("b").is_some());
}

#[test]
fn who_loses_every_race_gives_up_after_a_hundred() {
    let mut world = World::small();
    let first = world.add("node-1", "a").unwrap();
    let block = if first.starts_with("10.80.0.0/") { "10.80.0.0/30" } else { "10.80.0.4/30" };
    for _ in 0..200 {
        world.interference.push(Box::new(move |world| {
            let again = world.block(block).unwrap();
            world.put_block(&again);
        }));
    }
    let before = world.block(block);
    let error = text(world.add("node-1", "b"));
    assert_eq!(error, "Max retries hit - excessive concurrent IPAM requests");
    assert_eq!(world.writes().len(), MAX_CONFLICTS as usize);
    assert_eq!(world.block(block), before);
    assert_eq!(world.handle("b"), None);
}

#[test]
fn a_plan_that_is_dropped_has_written_all_or_nothing() {
    let mut world = World::small();
    for steps in 1..5 {
        let request =
            AutoAssignRequest { handle: Some("x".into()), ..AutoAssignRequest::for_workload("node-1", 1, 0) };
        let before = world.keys();
        let mut wrote = false;
        let mut step = auto_assign(request).begin(world.now);
        for _ in 0..steps {
            let Step::Ask(ask, waiting) = step else { break };
            wrote |= ask.purpose != crate::Purpose::Read;
            let answer = world.store.txn(&ask.txn).unwrap();
            step = waiting.answer(answer, world.now);
        }
        assert_eq!(world.keys() != before, wrote && before.is_empty());
        if wrote {
            let kinds = |part: &str| world.keys().iter().filter(|key| key.contains(part)).count();
            assert_eq!((kinds("/assignment/"), kinds("/handle/"), kinds("/host/")), (1, 1, 1));
        }
    }
}

#[test]
fn a_request_too_large_for_one_transaction_is_split_and_still_all_or_nothing() {
    let mut world = World::bare();
    world.pool("ones", json!({"cidr": "10.80.0.0/24", "blockSize": 32}));
    let many = |count, handle: &str| AutoAssignRequest {
        handle: Some(handle.into()),
        max_blocks: 1000,
        ..AutoAssignRequest::for_workload("node-1", count, 0)
    };
    let outcome = world.auto(many(200, "a")).unwrap();
    assert_eq!(outcome.v4.assigned.len(), 200);
    assert!(world.writes().len() > 3);
    assert_eq!(world.handle("a").unwrap().as_object().unwrap().len(), 200);

    let error = text(world.auto(many(100, "b")));
    assert!(
        error.starts_with("Assigned 56 out of 100 requested IPv4 addresses; No IPs available"),
        "{error}"
    );
    assert_eq!(world.handle("b"), None, "what was written before the pool ran out was given back");
    assert_eq!(world.del("a"), Some(200));
    assert!(!world.keys().iter().any(|key| key.contains("/handle/")));
}

#[test]
fn a_value_that_cannot_be_read_stops_the_operation_and_is_named() {
    let mut world = World::small();
    world.add("node-1", "a").unwrap();
    let key = world.keys().into_iter().find(|key| key.contains("/assignment/")).unwrap();
    world.put_bytes(&Key::parse(&key).unwrap(), b"{".to_vec());
    let error = text(world.add("node-1", "b"));
    assert!(error.starts_with(&format!("stored value of {key} cannot be read: ")), "{error}");
    assert!(world.writes().is_empty());
    world.put_bytes(&Key::IpamConfig, b"7".to_vec());
    assert!(text(world.add("node-1", "b")).contains("/calico/ipam/v2/config"));
}
