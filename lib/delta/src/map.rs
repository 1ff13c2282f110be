//! The map and its two pending sets.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeBounds;

/// What should be and what is, with the difference always at hand.
#[derive(Debug, Clone)]
pub struct DeltaMap<K, V> {
    /// Every key that is desired or actual.
    states: BTreeMap<K, State<V>>,
    /// Keys whose desired value is not the actual one.
    updates: BTreeSet<K>,
    /// Keys that are actual but not desired.
    deletions: BTreeSet<K>,
}

/// One key; equal values are kept once.
#[derive(Debug, Clone)]
enum State<V> {
    /// Desired and actual alike.
    Same(V),
    /// Desired only.
    Missing(V),
    /// Actual only.
    Surplus(V),
    /// Both, but not alike.
    Differs { desired: V, actual: V },
}

impl<V> State<V> {
    fn desired(&self) -> Option<&V> {
        match self {
            State::Same(value) | State::Missing(value) | State::Differs { desired: value, .. } => Some(value),
            State::Surplus(_) => None,
        }
    }

    fn actual(&self) -> Option<&V> {
        match self {
            State::Same(value) | State::Surplus(value) | State::Differs { actual: value, .. } => Some(value),
            State::Missing(_) => None,
        }
    }

    /// Desired and actual value; the former alone when they are alike.
    fn split(self) -> (Option<V>, Actual<V>) {
        match self {
            State::Same(value) => (Some(value), Actual::AsDesired),
            State::Missing(value) => (Some(value), Actual::Absent),
            State::Surplus(value) => (None, Actual::Is(value)),
            State::Differs { desired, actual } => (Some(desired), Actual::Is(actual)),
        }
    }
}

enum Actual<V> {
    AsDesired,
    Absent,
    Is(V),
}

/// A change to make: `actual` is `None` for a new object.
#[derive(Debug, PartialEq, Eq)]
pub struct PendingUpdate<'a, K, V> {
    /// Which object.
    pub key: &'a K,
    /// What it should be.
    pub desired: &'a V,
    /// What it is.
    pub actual: Option<&'a V>,
}

/// One object: what it should be and what it is.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry<'a, K, V> {
    /// Which object.
    pub key: &'a K,
    /// What it should be; `None` when it should not be.
    pub desired: Option<&'a V>,
    /// What it is; `None` when it is not.
    pub actual: Option<&'a V>,
}

impl<K, V> Default for DeltaMap<K, V> {
    fn default() -> Self {
        Self { states: BTreeMap::new(), updates: BTreeSet::new(), deletions: BTreeSet::new() }
    }
}

impl<K: Ord + Clone, V: PartialEq> DeltaMap<K, V> {
    /// Nothing desired, nothing actual.
    pub fn new() -> Self {
        Self::default()
    }

    /// The object should be so.
    pub fn set_desired(&mut self, key: K, value: V) {
        let state = match self.states.remove(&key).map(State::split) {
            None | Some((_, Actual::Absent)) => State::Missing(value),
            Some((_, Actual::Is(actual))) if actual == value => State::Same(value),
            Some((_, Actual::Is(actual))) => State::Differs { desired: value, actual },
            Some((Some(same), Actual::AsDesired)) if same != value => {
                State::Differs { desired: value, actual: same }
            }
            Some((_, Actual::AsDesired)) => State::Same(value),
        };
        self.store(key, Some(state));
    }

    /// The object should not be.
    pub fn remove_desired(&mut self, key: &K) {
        let Some((key, state)) = self.states.remove_entry(key) else { return };
        let state = match state.split() {
            (Some(same), Actual::AsDesired) => Some(State::Surplus(same)),
            (_, Actual::Is(actual)) => Some(State::Surplus(actual)),
            (_, Actual::Absent | Actual::AsDesired) => None,
        };
        self.store(key, state);
    }

    /// The object is so.
    pub fn set_actual(&mut self, key: K, value: V) {
        let desired = self.states.remove(&key).and_then(|state| state.split().0);
        let state = match desired {
            None => State::Surplus(value),
            Some(desired) if desired == value => State::Same(desired),
            Some(desired) => State::Differs { desired, actual: value },
        };
        self.store(key, Some(state));
    }

    /// The object is not.
    pub fn remove_actual(&mut self, key: &K) {
        let Some((key, state)) = self.states.remove_entry(key) else { return };
        self.store(key, state.split().0.map(State::Missing));
    }

    /// Replaces all that is desired.
    pub fn replace_desired(&mut self, all: impl IntoIterator<Item = (K, V)>) {
        let mut gone: BTreeSet<K> = self.desired().map(|(key, _)| key.clone()).collect();
        for (key, value) in all {
            gone.remove(&key);
            self.set_desired(key, value);
        }
        gone.iter().for_each(|key| self.remove_desired(key));
    }

    /// Replaces all that is actual, from a dump.
    pub fn replace_actual(&mut self, all: impl IntoIterator<Item = (K, V)>) {
        let mut gone: BTreeSet<K> = self.actual().map(|(key, _)| key.clone()).collect();
        for (key, value) in all {
            gone.remove(&key);
            self.set_actual(key, value);
        }
        gone.iter().for_each(|key| self.remove_actual(key));
    }

    /// The update of `key` was carried out: what is desired is now actual.
    pub fn mark_updated(&mut self, key: &K) {
        if !self.updates.contains(key) {
            return;
        }
        let Some((key, state)) = self.states.remove_entry(key) else { return };
        self.store(key, state.split().0.map(State::Same));
    }

    /// The deletion of `key` was carried out.
    pub fn mark_deleted(&mut self, key: &K) {
        if self.deletions.remove(key) {
            self.states.remove(key);
        }
    }

    fn store(&mut self, key: K, state: Option<State<V>>) {
        set(&mut self.updates, &key, matches!(state, Some(State::Missing(_) | State::Differs { .. })));
        set(&mut self.deletions, &key, matches!(state, Some(State::Surplus(_))));
        if let Some(state) = state {
            self.states.insert(key, state);
        }
    }
}

impl<K: Ord, V> DeltaMap<K, V> {
    /// What has to be created or changed, in key order.
    pub fn pending_updates(&self) -> impl Iterator<Item = PendingUpdate<'_, K, V>> {
        self.updates.iter().filter_map(|key| {
            let state = self.states.get(key)?;
            Some(PendingUpdate { key, desired: state.desired()?, actual: state.actual() })
        })
    }

    /// What has to go, with what it is, in key order.
    pub fn pending_deletions(&self) -> impl Iterator<Item = (&K, &V)> {
        self.deletions.iter().filter_map(|key| Some((key, self.states.get(key)?.actual()?)))
    }

    /// Whether nothing has to change.
    pub fn is_in_sync(&self) -> bool {
        self.updates.is_empty() && self.deletions.is_empty()
    }

    /// How many changes are pending.
    pub fn pending_len(&self) -> usize {
        self.updates.len() + self.deletions.len()
    }

    /// What an object should be.
    pub fn get_desired(&self, key: &K) -> Option<&V> {
        self.states.get(key).and_then(State::desired)
    }

    /// What an object is.
    pub fn get_actual(&self, key: &K) -> Option<&V> {
        self.states.get(key).and_then(State::actual)
    }

    /// The objects of a range of keys, in key order.
    pub fn range(&self, keys: impl RangeBounds<K>) -> impl Iterator<Item = Entry<'_, K, V>> {
        self.states.range(keys).map(|(key, state)| Entry {
            key,
            desired: state.desired(),
            actual: state.actual(),
        })
    }

    /// All that is desired, in key order.
    pub fn desired(&self) -> impl Iterator<Item = (&K, &V)> {
        self.states.iter().filter_map(|(key, state)| Some((key, state.desired()?)))
    }

    /// All that is actual, in key order.
    pub fn actual(&self) -> impl Iterator<Item = (&K, &V)> {
        self.states.iter().filter_map(|(key, state)| Some((key, state.actual()?)))
    }
}

/// Puts the key into the set or out of it; clones it only where it is new.
fn set<K: Ord + Clone>(keys: &mut BTreeSet<K>, key: &K, member: bool) {
    if !member {
        keys.remove(key);
    } else if !keys.contains(key) {
        keys.insert(key.clone());
    }
}

#[cfg(test)]
mod tests;
