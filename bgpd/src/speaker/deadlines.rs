//! The next moment somebody needs to be woken, among thousands, without a change of order for every message.

use bgp_session::Time;
use std::collections::{BTreeMap, BTreeSet};

/// When each `K` is to be woken. A wake that has moved to later costs nothing until its old moment comes: most do,
/// since every message puts a hold timer off.
#[derive(Debug)]
pub(super) struct Deadlines<K> {
    order: BTreeSet<(Time, K)>,
    of: BTreeMap<K, Time>,
}

impl<K: Ord + Copy> Default for Deadlines<K> {
    fn default() -> Self {
        Deadlines { order: BTreeSet::new(), of: BTreeMap::new() }
    }
}

impl<K: Ord + Copy> Deadlines<K> {
    /// `key` wants to be woken at `time` and not later.
    pub fn set(&mut self, key: K, time: Option<Time>) {
        let Some(time) = time else { return };
        if self.of.get(&key).is_none_or(|known| time < *known) {
            self.forget(key);
            self.of.insert(key, time);
            self.order.insert((time, key));
        }
    }

    /// Never wakes `key` again.
    pub fn forget(&mut self, key: K) {
        if let Some(time) = self.of.remove(&key) {
            self.order.remove(&(time, key));
        }
    }

    /// The next moment; it may turn out that nobody needs it any more.
    pub fn next(&self) -> Option<Time> {
        self.order.first().map(|(time, _)| *time)
    }

    /// Somebody whose moment has come; to be `set` again afterwards.
    pub fn pop(&mut self, now: Time) -> Option<K> {
        let (_, key) = *self.order.first().filter(|(time, _)| *time <= now)?;
        self.forget(key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn at(seconds: u64) -> Time {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_earlier_moment_counts_and_a_later_one_waits_for_its_turn() {
        let mut deadlines = Deadlines::default();
        deadlines.set('a', Some(at(10)));
        deadlines.set('a', Some(at(5)));
        deadlines.set('a', Some(at(20)));
        assert_eq!(deadlines.next(), Some(at(5)));
        assert_eq!(deadlines.pop(at(4)), None);
        assert_eq!(deadlines.pop(at(5)), Some('a'));
        assert_eq!((deadlines.pop(at(100)), deadlines.next()), (None, None), "until it is set again");
    }

    proptest! {
        /// Whoever sets again what it wants after each wake is never woken late.
        #[test]
        fn nobody_is_woken_late(wishes in proptest::collection::vec((0u8..5, 1u64..100), 1..100)) {
            let mut deadlines = Deadlines::default();
            let mut wanted: BTreeMap<u8, Time> = BTreeMap::new();
            let mut now = at(0);
            for (who, wish) in wishes {
                wanted.insert(who, now + at(wish));
                deadlines.set(who, wanted.get(&who).copied());
                now += at(3);
                let mut woken = Vec::new();
                while let Some(who) = deadlines.pop(now) {
                    let due = wanted[&who] <= now;
                    if due {
                        wanted.remove(&who);
                        woken.push(who);
                    }
                    deadlines.set(who, wanted.get(&who).copied());
                }
                prop_assert!(wanted.values().all(|time| *time > now), "{wanted:?} at {now:?}");
            }
        }
    }
}
