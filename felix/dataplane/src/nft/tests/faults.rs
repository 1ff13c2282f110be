//! A fault at every operation: the driver ends where it would have ended, and in between packets are judged as before or as
//! after, never otherwise.

use super::model::{Wanted, actual, judgement, updates};
use super::{apply, random_model, settle};
use crate::nft::{NftDriver, Ours, Step};
use crate::testing::{Fault, Faulty, Space, as_root};
use kernel::Nftables;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// From one state to another with a fault at one operation; how many operations there were, and all judgements seen.
fn run(states: &[Wanted], at: usize, fault: Fault, batch: usize) -> (usize, BTreeSet<String>) {
    let space = Space::new();
    let (faulty, plan) = Faulty::new(space.nftables());
    let mut driver = NftDriver::open(Box::new(faulty), Ours::RULES).unwrap().split_at(batch);
    let mut now = Duration::ZERO;
    let [first, second] = states else { panic!("two states") };
    apply(&mut driver, &Wanted::default(), first, &mut now);
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let watch = {
        let (seen, mut nft): (_, Nftables) = (seen.clone(), space.nftables());
        move || {
            seen.lock().unwrap().insert(judgement(&actual(&mut nft)));
        }
    };
    {
        let mut plan = plan.lock().unwrap();
        plan.count = 0;
        plan.fault = Some((at, fault));
        plan.watch = Some(Box::new(watch));
    }
    driver.update(updates(first, second));
    settle(&mut driver, &mut now);
    assert!(driver.is_in_sync() && driver.refused().next().is_none(), "{fault:?} at {at}: {driver:?}");
    let is = judgement(&actual(&mut space.nftables()));
    assert_eq!(is, judgement(second), "{fault:?} at {at}");
    let count = plan.lock().unwrap().count;
    let seen = seen.lock().unwrap().clone();
    (count, seen)
}

fn states() -> Vec<Wanted> {
    [(21, 150), (22, 150)].into_iter().map(|(seed, changes)| random_model(seed, changes).wanted()).collect()
}

#[test]
fn every_operation_may_fail_once_and_no_packet_is_judged_by_half_a_change() {
    as_root(async {
        let states = states();
        let allowed: BTreeSet<String> = states.iter().map(judgement).collect();
        assert_eq!(allowed.len(), 2);
        // whole batches, and ones that are split wherever they may be
        for batch in [10_000, 6] {
            let (count, seen) = run(&states, usize::MAX, Fault::Lost, batch);
            assert!(seen.is_subset(&allowed));
            assert!(batch != 6 || count > 8, "{count} operations");
            for fault in [Fault::Lost, Fault::Unanswered, Fault::Stale] {
                for at in (0..count).step_by(if batch == 6 { 3 } else { 1 }) {
                    let (_, seen) = run(&states, at, fault, batch);
                    assert!(seen.is_subset(&allowed), "{fault:?} at {at} of {count}, batches of {batch}");
                }
            }
        }
    });
}

#[test]
fn each_change_of_a_batch_may_be_refused_once() {
    as_root(async {
        let states = states();
        let before = judgement(&states[0]);
        let dispatched =
            |judgement: &str| judgement.contains("unknown interface") || judgement.contains("Verdict(Drop)");
        for place in (0..60).step_by(3) {
            let (_, seen) = run(&states, 0, Fault::Refused(place), 10_000);
            for judgement in seen {
                assert!(!judgement.contains("no chain") && !judgement.contains("no set"), "{judgement}");
                assert!(dispatched(&judgement), "{judgement}");
            }
        }
        assert!(dispatched(&before));
    });
}

#[test]
fn the_first_look_may_fail() {
    as_root(async {
        let states = states();
        for at in 0..6 {
            let space = Space::new();
            apply(&mut super::open(&space), &Wanted::default(), &states[0], &mut Duration::ZERO.clone());
            let (faulty, plan) = Faulty::new(space.nftables());
            plan.lock().unwrap().fault = Some((at, Fault::Lost));
            let mut driver = NftDriver::open(Box::new(faulty), Ours::RULES).unwrap();
            apply(&mut driver, &Wanted::default(), &states[1], &mut Duration::ZERO.clone());
            assert_eq!(judgement(&actual(&mut space.nftables())), judgement(&states[1]), "{at}");
        }
    });
}

/// While batches fail and looks do not, the pauses grow all the same, and it is said once.
#[test]
fn batches_that_fail_again_and_again_are_tried_less_and_less_often() {
    as_root(async {
        let space = Space::new();
        let (faulty, plan) = Faulty::new(space.nftables());
        {
            let mut plan = plan.lock().unwrap();
            (plan.fault, plan.times, plan.commits_alone) = (Some((0, Fault::Lost)), usize::MAX, true);
        }
        let mut driver = NftDriver::open(Box::new(faulty), Ours::RULES).unwrap();
        driver.update(updates(&Wanted::default(), &states()[0]));
        let mut now = Duration::ZERO;
        let mut pauses = Vec::new();
        for _ in 0..200 {
            if driver.step(now) == Step::More {
                continue;
            }
            let next = driver.next_try().expect("another try").max(now + Duration::from_millis(1));
            pauses.push(next - now);
            now = next;
            if pauses.len() == 12 {
                break;
            }
        }
        assert!(pauses.len() == 12 && pauses.last() > pauses.first(), "{pauses:?}");
        assert!(pauses.last() >= Some(&Duration::from_secs(5)), "{pauses:?}");
        plan.lock().unwrap().fault = None;
        settle(&mut driver, &mut now);
        assert_eq!(judgement(&actual(&mut space.nftables())), judgement(&states()[0]));
    });
}
