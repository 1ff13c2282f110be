//! Operations on a block against a model that knows nothing of attributes and indexes.

use super::cidr;
use crate::block;
use crate::reservations::Reservations;
use jiff::{SignedDuration, Timestamp};
use model::ipam::{AllocationBlock, Attribute};
use proptest::prelude::*;
use std::collections::VecDeque;

fn start() -> Timestamp {
    "2026-11-21T00:00:00Z".parse().unwrap()
}

fn attribute(handle: &str, note: &str) -> Attribute {
    let secondary = [("timestamp".to_owned(), note.to_owned())].into();
    Attribute { handle: Some(handle.to_owned()), secondary, ..Attribute::default() }
}

fn fresh(text: &str) -> AllocationBlock {
    AllocationBlock::new(cidr(text), None, None, 100).unwrap()
}

#[test]
fn addresses_of_one_call_share_an_entry_and_those_of_another_have_their_own() {
    let mut b = fresh("10.0.0.0/30");
    let none = Reservations::default();
    assert_eq!(block::assign_next(&mut b, 2, &attribute("h", "1"), &none), [0, 1]);
    assert_eq!(block::assign_next(&mut b, 1, &attribute("h", "2"), &none), [2]);
    assert_eq!(
        block::assign_next(&mut b, 1, &attribute("h", "1"), &none),
        [3],
        "an equal entry is used again"
    );
    assert_eq!(b.allocations, [Some(0), Some(0), Some(1), Some(0)]);
    assert_eq!(b.attributes.len(), 2);
    assert_eq!(b.sequence_number, 103, "one a write");
    assert_eq!(
        b.sequence_for.values().copied().collect::<Vec<_>>(),
        [100, 100, 101, 102],
        "the number before it"
    );
    assert!(block::assign_next(&mut b, 1, &attribute("h", "1"), &none).is_empty());
    assert_eq!(b.sequence_number, 103, "nothing done, nothing counted");
}

#[test]
fn entries_of_a_migration_or_of_a_released_address_are_not_shared() {
    let mut b = fresh("10.0.0.0/30");
    let mut moving = attribute("vm", "1");
    moving.alternate.insert("node".into(), "b".into());
    b.attributes.push(moving);
    b.allocations[3] = Some(0);
    b.unallocated.pop();
    block::assign_next(&mut b, 1, &attribute("vm", "1"), &Reservations::default());
    assert_eq!(b.allocations, [Some(1), None, None, Some(0)]);
}

#[test]
fn reserved_addresses_keep_their_place_in_the_queue() {
    let mut b = fresh("10.0.0.0/29");
    let reserved: Reservations = [cidr("10.0.0.0/31"), cidr("10.0.0.5/32")].into_iter().collect();
    assert_eq!(block::assign_next(&mut b, 9, &attribute("h", ""), &reserved), [2, 3, 4, 6, 7]);
    assert_eq!(b.unallocated, [0, 1, 5]);
    assert!(!block::has_free(&b, &reserved));
    assert!(block::assign_at(&mut b, 1, &attribute("h", "")), "who names an address gets it");
    assert!(!block::assign_at(&mut b, 1, &attribute("h", "")));
    assert!(!block::assign_at(&mut b, 99, &attribute("h", "")));
}

#[test]
fn a_released_address_waits_and_then_joins_the_end() {
    let mut b = fresh("10.0.0.0/30");
    let none = Reservations::default();
    block::assign_next(&mut b, 1, &attribute("a", ""), &none);
    block::assign_next(&mut b, 1, &attribute("b", ""), &none);
    let before = b.sequence_number;
    block::release(&mut b, &[0], true, start(), 30);
    assert_eq!(
        b.allocations,
        [Some(1), Some(0), None, None],
        "its entry moved up, the waiting one came after"
    );
    assert_eq!(b.attributes[1], Attribute { released_at: Some(start()), ..Attribute::default() });
    assert_eq!(b.sequence_for[&0], before, "an old number does not release it again");
    assert_eq!(b.sequence_number, before + 1);
    assert_eq!(b.unallocated, [2, 3]);
    assert!(!block::assign_at(&mut b, 0, &attribute("c", "")), "it cannot be named either");

    let later = start() + SignedDuration::from_secs(30);
    block::free_cooled(&mut b, later, 30);
    assert_eq!(b.unallocated, [2, 3], "the whole time has to pass");
    block::free_cooled(&mut b, later + SignedDuration::from_nanos(1), 30);
    assert_eq!(b.unallocated, [2, 3, 0]);
    assert_eq!(b.sequence_for.len(), 1);
    assert_eq!(b.attributes.len(), 1);
    assert_eq!(b.sequence_number, before + 1, "cooling down is no write");
}

#[test]
fn without_a_wait_addresses_are_free_at_once_in_ascending_order() {
    let mut b = fresh("10.0.0.0/30");
    block::assign_next(&mut b, 4, &attribute("a", ""), &Reservations::default());
    block::release(&mut b, &[3, 1], false, start(), 0);
    assert_eq!(b.unallocated, [1, 3]);
    block::release(&mut b, &[0, 2], false, start(), 0);
    assert_eq!(b.unallocated, [1, 3, 0, 2]);
    assert!(b.attributes.is_empty() && b.sequence_for.is_empty());
    assert!(block::is_empty(&b));
}

#[test]
fn emptiness_looks_past_a_windows_nodes_own_addresses_only() {
    let mut b = fresh("10.0.0.0/30");
    block::assign_at(&mut b, 0, &attribute("windows-reserved-ipam-handle", ""));
    assert!(block::is_empty(&b));
    block::assign_at(&mut b, 1, &Attribute::default());
    assert!(!block::is_empty(&b), "an address without a handle is used");
}

#[test]
fn handles_are_known_by_what_stands_before_a_line_end() {
    let mut b = fresh("10.0.0.0/30");
    block::assign_at(&mut b, 2, &attribute("net.c1\r\n", ""));
    assert_eq!(block::ordinals_of(&b, "net.c1"), [2]);
    assert_eq!(block::ordinals_of(&b, "net.c1\r\n"), [0usize; 0]);
}

#[derive(Debug, Clone)]
enum Deed {
    Assign(usize, u8),
    Name(usize, u8),
    Release(Vec<usize>),
    Wait(i64),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        (0..4usize, 0..3u8).prop_map(|(count, handle)| Deed::Assign(count, handle)),
        (0..9usize, 0..3u8).prop_map(|(ordinal, handle)| Deed::Name(ordinal, handle)),
        prop::collection::vec(0..8usize, 1..4).prop_map(Deed::Release),
        (0..40i64).prop_map(Deed::Wait),
    ];
    prop::collection::vec(deed, 1..40)
}

/// What one address is in the naive model.
#[derive(Debug, Clone, PartialEq)]
enum State {
    Free,
    Held(u8),
    Waiting(Timestamp),
}

proptest! {
    #[test]
    fn a_block_does_what_the_naive_model_does(deeds in deeds(), cooldown in prop_oneof![Just(0i64), 1..30i64]) {
        let reserved: Reservations = [cidr("10.0.0.3/32")].into_iter().collect();
        let mut b = fresh("10.0.0.0/29");
        let mut states = vec![State::Free; 8];
        let mut queue: VecDeque<usize> = (0..8).collect();
        let mut now = start();
        for deed in deeds {
            // a block is freed of what has cooled whenever it is read
            block::free_cooled(&mut b, now, cooldown);
            for (ordinal, state) in states.iter_mut().enumerate() {
                if matches!(state, State::Waiting(since) if *since + SignedDuration::from_secs(cooldown) < now) {
                    *state = State::Free;
                    queue.push_back(ordinal);
                }
            }
            match deed {
                Deed::Assign(count, handle) => {
                    let got = block::assign_next(&mut b, count, &attribute(&handle.to_string(), ""), &reserved);
                    let wanted: Vec<usize> = queue.iter().copied().filter(|o| *o != 3).take(count).collect();
                    prop_assert_eq!(&got, &wanted);
                    queue.retain(|ordinal| !wanted.contains(ordinal));
                    wanted.iter().for_each(|ordinal| states[*ordinal] = State::Held(handle));
                }
                Deed::Name(ordinal, handle) => {
                    let got = block::assign_at(&mut b, ordinal, &attribute(&handle.to_string(), ""));
                    prop_assert_eq!(got, states.get(ordinal) == Some(&State::Free));
                    if got {
                        queue.retain(|other| *other != ordinal);
                        states[ordinal] = State::Held(handle);
                    }
                }
                Deed::Release(ordinals) => {
                    let mut held: Vec<usize> = ordinals;
                    held.retain(|ordinal| matches!(states[*ordinal], State::Held(_)));
                    held.sort_unstable();
                    held.dedup();
                    block::release(&mut b, &held, true, now, cooldown);
                    for ordinal in held {
                        states[ordinal] = if cooldown == 0 { State::Free } else { State::Waiting(now) };
                        if cooldown == 0 {
                            queue.push_back(ordinal);
                        }
                    }
                }
                Deed::Wait(seconds) => now += SignedDuration::from_secs(seconds),
            }
            prop_assert_eq!(&b.unallocated, &queue.iter().copied().collect::<Vec<_>>());
            for (ordinal, state) in states.iter().enumerate() {
                let attribute = b.attribute(ordinal);
                let seen = match attribute {
                    None => State::Free,
                    Some(Attribute { released_at: Some(since), .. }) => State::Waiting(*since),
                    Some(a) => State::Held(a.handle.as_deref().unwrap().parse().unwrap()),
                };
                prop_assert_eq!(&seen, state);
                prop_assert_eq!(b.sequence_for.contains_key(&ordinal), attribute.is_some());
            }
            // stored and read again it is the same
            prop_assert_eq!(AllocationBlock::decode(&b.cidr, &b.encode()).unwrap(), b.clone());
            now += SignedDuration::from_secs(1);
        }
    }
}
