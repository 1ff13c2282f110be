//! What Calico's nodes leave behind when they die between two writes, and what old releases wrote.

use super::{World, cidr, host, text};
use crate::block;
use crate::request::AutoAssignRequest;
use model::ipam::{AllocationBlock, Attribute};
use model::key::Key;
use serde_json::json;

const BLOCK: &str = "10.80.0.0/30";

fn world() -> World {
    let mut world = World::bare();
    world.pool("p", json!({"cidr": "10.80.0.0/28", "blockSize": 30}));
    world
}

fn block_of(owner: &str) -> AllocationBlock {
    AllocationBlock::new(cidr(BLOCK), Some(&host(owner)), Some("2026-11-21T03:12:59Z".parse().unwrap()), 40)
        .unwrap()
}

#[test]
fn a_claim_cut_off_before_its_block_is_finished() {
    for state in ["pending", "pendingDeletion", "confirmed", ""] {
        let mut world = world();
        world.put_affinity("node-1", BLOCK, state);
        assert_eq!(world.add("node-1", "h").unwrap(), "10.80.0.0/30", "{state}");
        assert_eq!(world.affinity("node-1", BLOCK).unwrap(), "confirmed");
        assert_eq!((world.reads(), world.writes()), (2, vec!["claim"]));
    }
}

#[test]
fn a_claim_cut_off_after_its_block_and_a_release_cut_off_before_it_are_taken_back() {
    for state in ["pending", "pendingDeletion", "somethingNew"] {
        let mut world = world();
        world.put_affinity("node-1", BLOCK, state);
        world.put_block(&block_of("node-1"));
        assert_eq!(world.add("node-1", "h").unwrap(), "10.80.0.0/30", "{state}");
        assert_eq!(world.affinity("node-1", BLOCK).unwrap(), "confirmed");
        assert_eq!(world.writes(), ["resume"]);
        let block = world.block(BLOCK).unwrap();
        assert_eq!(block.sequence_number, 42, "once for the claim, once for the address, as Calico counts");
        assert_eq!(block.sequence_for[&0], 41);
    }
}

#[test]
fn an_affinity_without_a_state_is_used_as_it_is() {
    for value in [&b""[..], br#"{"state":"","deleted":false}"#] {
        let mut world = world();
        let key = Key::Affinity(host("node-1"), cidr(BLOCK));
        world.put_bytes(&key, value.to_vec());
        world.put_block(&block_of("node-1"));
        assert_eq!(world.add("node-1", "h").unwrap(), "10.80.0.0/30");
        assert_eq!(world.affinity("node-1", BLOCK).unwrap(), "", "nothing is written to it");
        assert_eq!(world.writes(), ["assign"]);
    }
}

#[test]
fn an_affinity_to_somebody_elses_block_goes() {
    for owner in [Some("node-2"), None] {
        let mut world = world();
        world.put_affinity("node-1", BLOCK, "confirmed");
        let mut block = block_of(owner.unwrap_or("x"));
        if owner.is_none() {
            block.affinity = None;
        }
        block::assign_at(&mut block, 0, &Attribute::default());
        world.put_block(&block);
        let got = world.add("node-1", "h").unwrap();
        assert!(!cidr(BLOCK).contains(got.split('/').next().unwrap().parse().unwrap()));
        assert_eq!(world.affinity("node-1", BLOCK), None);
        assert_eq!(world.block(BLOCK).unwrap(), block, "the block is not touched");
        assert_eq!(world.writes(), ["claim"], "in the same transaction");
    }
}

#[test]
fn repairs_are_made_even_if_the_request_fails() {
    let mut world = World::bare();
    world.pool("p", json!({"cidr": "10.80.0.0/30", "blockSize": 30}));
    world.configure(json!({"strict_affinity": true, "auto_allocate_blocks": true}));
    world.put_affinity("node-1", BLOCK, "confirmed");
    world.put_block(&block_of("node-2"));
    world.put_affinity("node-2", BLOCK, "confirmed");
    assert!(world.add("node-1", "h").is_err());
    assert_eq!(world.affinity("node-1", BLOCK), None);
    assert_eq!(world.writes(), ["repair"]);
    assert_eq!(world.handle("h"), None);
}

#[test]
fn a_block_that_lost_its_affinity_is_found_again() {
    let mut world = World::bare();
    world.pool("p", json!({"cidr": "10.80.0.0/30", "blockSize": 30}));
    world.put_block(&block_of("node-1"));
    assert_eq!(world.add("node-1", "h").unwrap(), "10.80.0.0/30");
    assert_eq!(world.affinity("node-1", BLOCK).unwrap(), "confirmed");
}

#[test]
fn an_empty_block_of_nobodys_is_claimed_and_one_in_use_lent_from() {
    let mut world = World::bare();
    world.pool("p", json!({"cidr": "10.80.0.0/30", "blockSize": 30}));
    world.put_bytes(&Key::Block(cidr(BLOCK)), Vec::new());
    world.add("node-1", "h").unwrap();
    assert_eq!(world.block(BLOCK).unwrap().affinity.as_deref(), Some("host:node-1"));

    let mut orphan = world.block(BLOCK).unwrap();
    orphan.affinity = None;
    orphan.affinity_claim_time = None;
    world.put_block(&orphan);
    world.delete(&Key::Affinity(host("node-1"), cidr(BLOCK)));
    world.pass(3600);
    world.add("node-2", "borrowed").unwrap();
    assert_eq!(world.block(BLOCK).unwrap().affinity, None);
    world.del("h");
    assert!(world.block(BLOCK).is_some());
    world.del("borrowed");
    assert_eq!(world.block(BLOCK), None, "it goes with its last address");
}

#[test]
fn an_owner_of_an_unknown_kind_keeps_its_block() {
    let mut world = World::bare();
    world.pool("p", json!({"cidr": "10.80.0.0/30", "blockSize": 30}));
    world.configure(json!({"strict_affinity": true, "auto_allocate_blocks": true}));
    let mut block = block_of("x");
    block.affinity = Some("spaceship:enterprise".into());
    block.affinity_claim_time = None;
    world.put_block(&block);
    assert!(world.add("node-1", "h").is_err());
    assert_eq!(world.block(BLOCK).unwrap(), block);
}

#[test]
fn a_handle_that_counts_too_much_goes_with_its_last_address() {
    let mut world = world();
    world.add("node-1", "h").unwrap();
    let block = world.handle("h").unwrap().as_object().unwrap().keys().next().unwrap().clone();
    let key = Key::Handle("h".into());
    world.put(&key, json!({"block": {block.clone(): 5, "10.80.0.12/30": 2, "10.99.0.0/30": 1, "junk": 1}}));
    assert_eq!(world.del("h"), Some(1));
    assert_eq!(world.handle("h"), None);
    // and an address more leaves it counting rightly enough to be released
    world.add("node-1", "g").unwrap();
    let key = Key::Handle("g".into());
    world.put(&key, json!({"block": {block.clone(): 5}}));
    world.add("node-1", "g").unwrap();
    assert_eq!(world.handle("g").unwrap(), json!({block: 6}));
    assert_eq!(world.del("g"), Some(2));
    assert_eq!(world.handle("g"), None);
}

#[test]
fn whoever_is_about_to_fill_an_overcounted_handle_loses_the_race() {
    // Calico counts the handle first, then writes the block: its ADD has done the one and not the other
    let mut world = world();
    world.add("node-1", "other").unwrap();
    let block = world.handle("other").unwrap().as_object().unwrap().keys().next().unwrap().clone();
    let before = world.block(&block).unwrap();
    world.put(&Key::Handle("h".into()), json!({"block": {block.clone(): 1}}));
    assert_eq!(world.del("h"), Some(0));
    let after = world.block(&block).unwrap();
    assert_eq!(after.sequence_number, before.sequence_number + 1, "its compare-and-swap of the block fails");
    assert_eq!(after.allocations, before.allocations);
}

#[test]
fn a_block_of_an_old_release_is_carried_on() {
    let mut world = World::bare();
    world.pool("p", json!({"cidr": "10.80.0.0/30", "blockSize": 30}));
    world.put_affinity("node-1", BLOCK, "confirmed");
    world.put(&Key::Handle("old".into()), json!({"block": {BLOCK: 1}}));
    let old = json!({"cidr": BLOCK, "hostAffinity": "node-1", "strictAffinity": false, "future": 1,
        "allocations": [0, null, null, null], "unallocated": [1, 2, 3], "attributes": [{"handle_id": "old"}]});
    world.put(&Key::Block(cidr(BLOCK)), old);
    assert_eq!(world.add("node-1", "new").unwrap(), "10.80.0.1/30");
    let stored = world.get(&Key::Block(cidr(BLOCK))).unwrap();
    assert_eq!(stored["affinity"], "host:node-1");
    assert_eq!((stored.get("hostAffinity"), stored.get("strictAffinity")), (None, None));
    assert_eq!(stored["future"], 1, "what we do not know stays");
    assert_eq!(
        (&stored["sequenceNumber"], &stored["sequenceNumberForAllocation"]),
        (&json!(1), &json!({"1": 0}))
    );
    assert_eq!(world.del("old"), Some(1));
}

#[test]
fn unreadable_neighbours_do_not_matter() {
    let mut world = world();
    world.put(&Key::IpamHost("node-1".into()), json!(true));
    world.put_bytes(&Key::resource(model::Kind::IPReservation, "", "bad"), b"{".to_vec());
    world.put_bytes(&Key::resource(model::Kind::IPPool, "", "bad"), b"[]".to_vec());
    let request =
        AutoAssignRequest { handle: Some("h".into()), ..AutoAssignRequest::for_workload("node-1", 1, 0) };
    assert_eq!(text(world.auto(request)), "no error");
}
