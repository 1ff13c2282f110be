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
