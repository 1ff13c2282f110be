//! Blocks claimed before they are needed: as many addresses free as are asked for, no block more, and nobody else's.

use super::{World, cidr};
use crate::make_room;
use crate::plan::Purpose;
use crate::request::AutoAssignRequest;
use crate::warm::{Warm, learn};
use model::ipam::AllocationBlock;
use model::key::{Key, Owner};
use serde_json::json;
use std::collections::BTreeSet;
use std::net::IpAddr;

fn wanted(v4: usize) -> AutoAssignRequest {
    AutoAssignRequest::for_workload("node-1", v4, 0)
}

fn room(world: &mut World, v4: usize) -> bool {
    world.run(make_room(wanted(v4), BTreeSet::new())).unwrap()
}

/// Blocks that there are.
fn blocks(world: &World) -> Vec<String> {
    world.keys().into_iter().filter(|key| key.contains("/assignment/")).collect()
}

fn request(handle: &str) -> AutoAssignRequest {
    AutoAssignRequest { handle: Some(handle.to_owned()), ..wanted(1) }
}

#[test]
fn what_is_there_is_enough_and_what_lacks_is_claimed_in_one_write() {
    let mut world = World::small();
    world.add("node-1", "first").unwrap();
    assert!(room(&mut world, 3));
    assert!(!world.asks.iter().any(|ask| matches!(ask, Purpose::Write(_))), "three of four are free");
    assert_eq!(blocks(&world).len(), 1);
    assert!(room(&mut world, 4));
    assert_eq!(world.asks.iter().filter(|ask| matches!(ask, Purpose::Write(_))).count(), 1);
    assert_eq!(blocks(&world).len(), 2);
    let claimed = world.block("10.80.0.0/30").unwrap();
    assert_eq!((claimed.unallocated.len(), claimed.affinity.as_deref()), (4, Some("host:node-1")));
    assert_eq!(world.affinity("node-1", "10.80.0.0/30").as_deref(), Some("confirmed"));
    assert!(room(&mut world, 7), "it counts");
    assert!(!room(&mut world, 8), "there is no third");
    // and it goes as any other does
    assert_eq!(world.del("first"), Some(1));
    world.run(crate::release_host_affinities("node-1".into(), true)).unwrap();
    assert!(blocks(&world).is_empty());
}

#[test]
fn what_is_spoken_for_does_not_count() {
    let mut world = World::small();
    world.add("node-1", "first").unwrap();
    let spoken_for: BTreeSet<IpAddr> =
        ["10.80.0.5", "10.80.0.6"].iter().map(|text| text.parse().unwrap()).collect();
    assert!(world.run(make_room(wanted(1), spoken_for.clone())).unwrap());
    assert_eq!(blocks(&world).len(), 1);
    assert!(world.run(make_room(wanted(2), spoken_for)).unwrap());
    assert_eq!(blocks(&world).len(), 2);
}

#[test]
fn limits_and_others_are_respected() {
    let mut world = World::small();
    world.configure(json!({"strict_affinity": true, "auto_allocate_blocks": true, "maxBlocksPerHost": 1}));
    world.add("node-1", "first").unwrap();
    assert!(!room(&mut world, 4), "one block a host");
    assert_eq!(blocks(&world).len(), 1);
    world.configure(json!({"strict_affinity": true, "auto_allocate_blocks": false}));
    assert!(!room(&mut world, 4), "none is claimed by itself");
    world.configure(json!({"strict_affinity": false, "auto_allocate_blocks": true}));
    // an empty block of somebody else's is taken when it is needed, not before
    world.add("node-2", "other").unwrap();
    assert_eq!(world.del("other"), Some(1));
    world.pass(3600);
    assert!(!room(&mut world, 4));
    assert_eq!(world.affinity("node-2", "10.80.0.0/30").as_deref(), Some("confirmed"));
}

#[test]
fn a_race_for_the_block_is_lost_by_one() {
    let mut world = World::bare();
    world.pool("p", json!({"cidr": "10.80.0.0/28", "blockSize": 30}));
    world.add("node-1", "first").unwrap();
    world.interference.push(Box::new(|world: &mut World| {
        world.add("node-2", "other").unwrap();
    }));
    assert!(room(&mut world, 4));
    let owners = blocks(&world).len();
    assert_eq!(owners, 3, "{:?}", world.keys());
}

#[test]
fn a_block_whose_affinity_was_lost_is_the_owners_again_only_while_it_says_so() {
    let affinity = Key::Affinity(Owner::Host("node-1".to_owned()), cidr("10.80.0.0/30"));
    for released in [false, true] {
        let mut world = World::bare();
        world.pool("p", json!({"cidr": "10.80.0.0/30", "blockSize": 30}));
        world.add("node-1", "first").unwrap();
        world.delete(&affinity);
        if released {
            world.interference.push(Box::new(|world: &mut World| {
                let block = world.block("10.80.0.0/30").unwrap();
                world.put_block(&AllocationBlock { affinity: None, ..block });
            }));
        }
        assert_eq!(room(&mut world, 2), !released);
        let confirmed = (!released).then_some("confirmed");
        assert_eq!(world.affinity("node-1", "10.80.0.0/30").as_deref(), confirmed);
    }
}

fn known(world: &mut World) -> Warm {
    let mut warm = Warm::new("node-1");
    warm.learned(world.run(learn("node-1".to_owned())).unwrap());
    warm
}

#[test]
fn few_left_are_noticed_once_half_a_block_or_eight_are_gone() {
    let mut world = World::bare();
    world.pool("p", json!({"cidr": "10.80.0.0/24", "blockSize": 27}));
    world.add("node-1", "first").unwrap();
    let mut warm = known(&mut world);
    for number in 0..23 {
        assert!(warm.runs_short(&request("next")).is_none(), "{number} of 31");
        warm.give(&request(&format!("h{number}"))).unwrap();
    }
    assert!(warm.runs_short(&request("next")).is_none(), "eight are left");
    let part = warm.give(&request("h23")).unwrap();
    let wanted = warm.runs_short(&request("next")).unwrap();
    assert_eq!((wanted.v4, wanted.v6, wanted.handle), (8, 0, None));
    assert_eq!(warm.spoken_for().len(), 24);
    warm.give_up(&part);
    assert!(warm.runs_short(&request("next")).is_none());
    // a small block is not claimed while one without an address in use is there
    let mut world = World::small();
    world.add("node-1", "first").unwrap();
    let mut warm = known(&mut world);
    assert!(warm.runs_short(&request("next")).is_none(), "three of four");
    warm.give(&request("a")).unwrap();
    assert!(warm.runs_short(&request("next")).is_none());
    warm.give(&request("b")).unwrap();
    assert_eq!(warm.runs_short(&request("next")).map(|room| room.v4), Some(2));
    world.pool("one", json!({"cidr": "10.81.0.0/31", "blockSize": 32}));
    let ones = AutoAssignRequest { v4_pools: vec![cidr("10.81.0.0/31")], ..request("next") };
    world.run(crate::auto_assign(AutoAssignRequest { handle: Some("one".into()), ..ones.clone() })).unwrap();
    assert!(
        known(&mut world).runs_short(&ones).is_none(),
        "blocks of one address are claimed when they are needed"
    );
}

#[test]
fn what_many_lack_is_what_none_of_them_gets() {
    let mut world = World::small();
    world.add("node-1", "first").unwrap();
    let mut warm = known(&mut world);
    assert!(warm.lacks(&request("next"), 3).is_none());
    assert_eq!(warm.lacks(&request("next"), 4).map(|room| room.v4), Some(4));
    warm.give(&request("a")).unwrap();
    assert_eq!(warm.lacks(&request("next"), 3).map(|room| room.v4), Some(3));
    let both = AutoAssignRequest { v6: 1, ..request("next") };
    assert!(warm.lacks(&both, 1).is_none(), "there is no pool of that family: no matter of room");
    assert!(warm.lacks(&AutoAssignRequest { max_per_handle: 1, ..request("next") }, 9).is_none());
    assert!(Warm::new("node-1").lacks(&request("next"), 9).is_none(), "nothing is known");
}
