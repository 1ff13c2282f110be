//! Blocks that are known: what is given is what the operations that look would have given, whoever writes in between.

use super::{World, cidr};
use crate::make_room;
use crate::request::AutoAssignRequest;
use crate::warm::{Along, Part, Took, Warm, learn};
use model::Kind;
use model::key::Key;
use mvcc::{Compare, Op, PutRequest};
use proptest::prelude::*;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

fn request(handle: &str) -> AutoAssignRequest {
    AutoAssignRequest { handle: Some(handle.to_owned()), ..AutoAssignRequest::for_workload("node-1", 1, 0) }
}

/// A node with a block, and what is known of it.
fn known() -> (World, Warm) {
    let mut world = World::small();
    world.add("node-1", "first").unwrap();
    let mut warm = Warm::new("node-1");
    relearn(&mut world, &mut warm);
    (world, warm)
}

fn relearn(world: &mut World, warm: &mut Warm) {
    let known = world.run(learn("node-1".to_owned())).unwrap();
    warm.learned(known);
}

fn write(world: &mut World, warm: &mut Warm, parts: &[Part]) -> Took {
    let proposal = warm.propose(parts, world.now).unwrap();
    let size = proposal.txn.compare.len().max(proposal.txn.success.len()).max(proposal.txn.failure.len());
    assert!(size < 128, "{size} operations in one transaction");
    let answer = world.store.txn(&proposal.txn).unwrap();
    warm.took(parts, proposal, &answer)
}

fn addresses(part: &Part) -> Vec<String> {
    part.addresses().iter().map(|assigned| assigned.address.to_string()).collect()
}

#[test]
fn several_calls_are_one_write_of_a_block() {
    let (mut world, mut warm) = known();
    let parts: Vec<Part> = ["a", "b"].iter().map(|handle| warm.give(&request(handle)).unwrap()).collect();
    assert_eq!(parts.iter().flat_map(addresses).collect::<Vec<_>>(), ["10.80.0.5", "10.80.0.6"]);
    let before = world.block("10.80.0.4/30").unwrap().sequence_number;
    assert_eq!(write(&mut world, &mut warm, &parts), Took::All);
    let block = world.block("10.80.0.4/30").unwrap();
    assert_eq!(block.unallocated, [3]);
    assert!(block.sequence_number > before);
    assert_eq!(world.handle("a"), Some(json!({"10.80.0.4/30": 1})));
    // what is written is known: nothing is read, and the next one follows
    let third = warm.give(&request("c")).unwrap();
    let gone = warm.release("a").unwrap();
    assert_eq!(write(&mut world, &mut warm, &[third, gone]), Took::All);
    assert_eq!(world.handle("a"), None);
    assert_eq!(world.block("10.80.0.4/30").unwrap().unallocated, [1]);
    // the same as the operations that look leave behind
    assert_eq!(world.del("c"), Some(1));
    assert_eq!(world.del("b"), Some(1));
    assert_eq!(world.del("first"), Some(1));
}

#[test]
fn what_is_not_plain_is_left_to_those_who_look() {
    let (mut world, mut warm) = known();
    assert!(Warm::new("node-1").give(&request("a")).is_none(), "nothing is known");
    assert!(warm.give(&AutoAssignRequest { v6: 1, ..request("a") }).is_none(), "no block of that family");
    assert!(warm.give(&AutoAssignRequest { max_per_handle: 1, ..request("a") }).is_none());
    assert!(warm.give(&AutoAssignRequest { v4_pools: vec![cidr("10.99.0.0/24")], ..request("a") }).is_none());
    assert!(warm.give(&AutoAssignRequest { v4: 4, ..request("a") }).is_none(), "more than the block has");
    assert!(warm.release("first").is_none(), "given by somebody who looked");
    let parts: Vec<Part> =
        ["a", "b", "c"].iter().map(|handle| warm.give(&request(handle)).unwrap()).collect();
    assert!(warm.give(&request("d")).is_none(), "all are spoken for");
    warm.give_up(parts.last().unwrap());
    assert!(warm.give(&request("d")).is_some());
    world.pass(1);
}

#[test]
fn whose_conditions_do_not_hold_is_named_and_the_others_go_on() {
    let (mut world, mut warm) = known();
    world.put(&Key::Handle("b".to_owned()), json!({"block": {}}));
    let along = Along {
        compare: vec![Compare::exists("/not/there")],
        success: vec![Op::Put(PutRequest::new("/never", "1"))],
    };
    let parts = [
        warm.give(&request("a")).unwrap(),
        warm.give(&request("b")).unwrap(),
        warm.give(&request("c")).unwrap().with(along),
    ];
    let before = world.keys();
    assert_eq!(write(&mut world, &mut warm, &parts), Took::Refused(BTreeSet::from([1, 2])));
    assert_eq!(world.keys(), before, "nothing of it is written");
    for refused in &parts[1..] {
        warm.give_up(refused);
    }
    assert_eq!(write(&mut world, &mut warm, &parts[..1]), Took::All);
    assert_eq!(addresses(&warm.give(&request("d")).unwrap()), ["10.80.0.6"], "what was given up is free");
}

/// What somebody else does, and its name.
type Change = (&'static str, fn(&mut World));

/// Each of these makes what is known old.
#[test]
fn a_change_of_anything_that_matters_is_noticed() {
    let changes: [Change; 6] = [
        ("settings", |world| world.configure(json!({"strictAffinity": true, "autoAllocateBlocks": true}))),
        ("a pool", |world| {
            world.pool("small", json!({"cidr": "10.80.0.0/29", "blockSize": 30, "disabled": true}))
        }),
        ("another pool", |world| world.pool("more", json!({"cidr": "10.81.0.0/29", "blockSize": 30}))),
        ("a reservation", |world| world.reserve(&["10.80.0.5/32"])),
        ("the block", |world| assert_eq!(world.del("first"), Some(1))),
        ("the affinity", |world| world.delete(&Key::Affinity(super::host("node-1"), cidr("10.80.0.4/30")))),
    ];
    for (what, change) in changes {
        let (mut world, mut warm) = known();
        let part = warm.give(&request("a")).unwrap();
        change(&mut world);
        assert_eq!(write(&mut world, &mut warm, std::slice::from_ref(&part)), Took::Outdated, "{what}");
        assert!(!warm.is_known());
        relearn(&mut world, &mut warm);
        let possible = matches!(what, "settings" | "another pool" | "the block");
        assert_eq!(warm.is_possible(&part) && warm.give(&request("b")).is_some(), possible, "{what}");
    }
}

#[test]
fn labels_of_the_node_matter_where_a_pool_selects_by_them() {
    let mut world = World::bare();
    world.pool("r1", json!({"cidr": "10.80.0.0/29", "blockSize": 30, "nodeSelector": "rack == 'r1'"}));
    world.add("node-1", "first").unwrap();
    let mut warm = Warm::new("node-1");
    relearn(&mut world, &mut warm);
    let part = warm.give(&request("a")).unwrap();
    world.node("node-1", "r2");
    assert_eq!(write(&mut world, &mut warm, &[part]), Took::Outdated);
    relearn(&mut world, &mut warm);
    assert!(warm.give(&request("a")).is_none());
    let (mut world, mut warm) = known();
    let part = warm.give(&request("a")).unwrap();
    world.node("node-1", "r2");
    assert_eq!(write(&mut world, &mut warm, &[part]), Took::All, "no pool asks for labels");
}

#[test]
fn a_released_address_cools_down() {
    let (mut world, mut warm) = known();
    world.configure(json!({"strictAffinity": false, "autoAllocateBlocks": true, "ipCooldownSeconds": 60}));
    relearn(&mut world, &mut warm);
    let part = warm.give(&request("a")).unwrap();
    assert_eq!(write(&mut world, &mut warm, &[part]), Took::All);
    let gone = warm.release("a").unwrap();
    assert_eq!(write(&mut world, &mut warm, &[gone]), Took::All);
    assert_eq!(world.block("10.80.0.4/30").unwrap().unallocated, [2, 3]);
    world.pass(61);
    let part = warm.give(&request("b")).unwrap();
    assert_eq!(write(&mut world, &mut warm, &[part]), Took::All);
    assert_eq!(world.block("10.80.0.4/30").unwrap().unallocated, [3, 1], "free again with the next write");
}

#[derive(Debug, Clone)]
enum Move {
    Give,
    Release(usize),
    Write,
    GiveUp,
    OtherAdd,
    OtherDel(usize),
    Relearn,
    Room(usize),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        4 => Just(Move::Give),
        3 => (0..8usize).prop_map(Move::Release),
        4 => Just(Move::Write),
        1 => Just(Move::GiveUp),
        1 => Just(Move::OtherAdd),
        1 => (0..8usize).prop_map(Move::OtherDel),
        1 => Just(Move::Relearn),
        1 => (0..8usize).prop_map(Move::Room),
    ];
    proptest::collection::vec(one, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever comes in between: no address has two owners, handles and blocks agree, and who was told an address has it.
    #[test]
    fn nobody_is_given_what_somebody_has(moves in moves()) {
        let mut world = World::bare();
        world.pool("p", json!({"cidr": "10.80.0.0/28", "blockSize": 29}));
        world.add("node-1", "first").unwrap();
        let mut warm = Warm::new("node-1");
        relearn(&mut world, &mut warm);
        let mut waiting: Vec<Part> = Vec::new();
        let mut held: BTreeMap<String, String> = BTreeMap::from([("first".to_owned(), "10.80.0.0".to_owned())]);
        held.clear();
        let mut others: Vec<String> = vec!["first".to_owned()];
        let mut number = 0;
        for step in moves {
            match step {
                Move::Give => {
                    number += 1;
                    waiting.extend(warm.give(&request(&format!("h{number}"))));
                }
                Move::Release(index) => {
                    let handle = held.keys().nth(index % held.len().max(1)).cloned();
                    if let Some(part) = handle.and_then(|handle| warm.release(&handle))
                        && !waiting.contains(&part)
                    {
                        waiting.push(part);
                    }
                }
                Move::Write => {
                    if !warm.is_known() {
                        relearn(&mut world, &mut warm);
                    }
                    let (possible, lost): (Vec<Part>, Vec<Part>) =
                        std::mem::take(&mut waiting).into_iter().partition(|part| warm.is_possible(part));
                    lost.iter().for_each(|part| warm.give_up(part));
                    if possible.is_empty() {
                        continue;
                    }
                    match write(&mut world, &mut warm, &possible) {
                        Took::All => for part in &possible {
                            let handle = part.handle().to_owned();
                            match held.remove(&handle) {
                                Some(_) => {}
                                None => drop(held.insert(handle, addresses(part).remove(0))),
                            }
                        },
                        Took::Refused(refused) => for (index, part) in possible.into_iter().enumerate() {
                            match refused.contains(&index) {
                                true => warm.give_up(&part),
                                false => waiting.push(part),
                            }
                        },
                        Took::Outdated => waiting = possible,
                    }
                }
                Move::GiveUp => {
                    if let Some(part) = waiting.pop() {
                        warm.give_up(&part);
                    }
                }
                Move::Room(requests) => {
                    let wanted = match requests {
                        0 => warm.runs_short(&request("next")),
                        _ => warm.lacks(&request("next"), requests),
                    };
                    if let Some(wanted) = wanted {
                        let made = world.run(make_room(wanted, warm.spoken_for())).unwrap();
                        relearn(&mut world, &mut warm);
                        let lacks = warm.lacks(&request("next"), requests);
                        prop_assert!(!made || lacks.is_none(), "{lacks:?}");
                    }
                }
                Move::OtherAdd => {
                    number += 1;
                    let handle = format!("o{number}");
                    if world.add("node-1", &handle).is_ok() {
                        others.push(handle);
                    }
                }
                Move::OtherDel(index) => {
                    // somebody else releases what was given here
                    let ours: Vec<String> = held.keys().cloned().chain(others.iter().cloned()).collect();
                    if let Some(handle) = ours.get(index % ours.len().max(1)) {
                        world.del(handle);
                        held.remove(handle);
                        others.retain(|other| other != handle);
                    }
                }
                Move::Relearn => relearn(&mut world, &mut warm),
            }
            let mut seen = BTreeMap::new();
            for text in ["10.80.0.0/29", "10.80.0.8/29"] {
                let Some(block) = world.block(text) else { continue };
                for ordinal in 0..block.size() {
                    let taken = block.allocations[ordinal].is_some();
                    prop_assert_eq!(taken, !block.unallocated.contains(&ordinal));
                    if let Some(handle) = block.attribute(ordinal).and_then(|found| found.handle.clone()) {
                        let address = block.cidr.nth(ordinal as u128).unwrap().to_string();
                        prop_assert!(seen.insert(handle.clone(), address).is_none(), "{} twice", handle);
                        let counted = world.handle(&handle).and_then(|counts| counts[text].as_i64());
                        prop_assert_eq!(counted, Some(1), "the handle of {}", handle);
                    }
                }
            }
            for (handle, address) in &held {
                prop_assert_eq!(seen.get(handle), Some(address), "who was told {}", handle);
            }
        }
    }
}

/// The largest transaction: forty calls with an endpoint each, of both families.
#[test]
fn forty_calls_fit_in_a_transaction() {
    let mut world = World::bare();
    world.pool("four", json!({"cidr": "10.80.0.0/24", "blockSize": 26}));
    world.pool("six", json!({"cidr": "fd00::/64", "blockSize": 122}));
    world.auto(AutoAssignRequest { v6: 1, ..request("first") }).unwrap();
    let mut warm = Warm::new("node-1");
    relearn(&mut world, &mut warm);
    let parts: Vec<Part> = (0..40)
        .map(|number| {
            let endpoint = Key::resource(Kind::WorkloadEndpoint, "shop", &format!("w{number}")).path();
            let along = Along {
                compare: vec![
                    Compare::exists(Key::resource(Kind::Node, "", "node-1").path()),
                    Compare::absent(endpoint.clone()),
                ],
                success: vec![Op::Put(PutRequest::new(endpoint, "{}"))],
            };
            let request = AutoAssignRequest { v6: 1, ..request(&format!("h{number}")) };
            warm.give(&request).unwrap().with(along)
        })
        .collect();
    assert_eq!(write(&mut world, &mut warm, &parts), Took::All);
    let releases: Vec<Part> = (0..40).map(|number| warm.release(&format!("h{number}")).unwrap()).collect();
    assert_eq!(write(&mut world, &mut warm, &releases), Took::All);
    let block = parts[0].addresses()[0].block.to_string();
    assert_eq!(world.block(&block).unwrap().unallocated.len(), 63);
}
