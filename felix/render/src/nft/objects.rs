//! The ruleset as it should be, and what of it was told.
//!
//! Owners put pieces; an object is there while a piece has it. So a piece that replaces another, or takes over a name
//! from another owner, leaves nothing behind, and what stays the same is not told.

use super::piece::Piece;
use super::ruleset::{Chain, SetShape, Update};
use delta::DeltaMap;
use netfilter::nft::{Element, Family};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;

type Name = (Family, Arc<str>);

/// Objects that are there while somebody wants them.
#[derive(Debug)]
struct Counted<K: Hash, V> {
    wanted: HashMap<K, u32>,
    delta: DeltaMap<K, V>,
}

impl<K: Hash, V> Default for Counted<K, V> {
    fn default() -> Self {
        Self { wanted: HashMap::new(), delta: DeltaMap::default() }
    }
}

impl<K: Ord + Hash + Clone, V: PartialEq> Counted<K, V> {
    fn add(&mut self, key: K, value: V) {
        *self.wanted.entry(key.clone()).or_default() += 1;
        if self.delta.get_desired(&key) != Some(&value) {
            self.delta.set_desired(key, value);
        }
    }

    fn drop(&mut self, key: &K) {
        match self.wanted.get_mut(key) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                self.wanted.remove(key);
                self.delta.remove_desired(key);
            }
        }
    }
}

/// All chains, and all sets but those of the calculation.
#[derive(Debug)]
pub struct Objects<O> {
    pieces: HashMap<O, Vec<(Family, Piece)>>,
    chains: Counted<Name, Arc<Chain>>,
    sets: Counted<Name, Arc<SetShape>>,
    elements: HashMap<Name, Counted<Vec<u8>, Element>>,
    /// Sets with elements that may have changed.
    touched: BTreeSet<Name>,
}

impl<O> Default for Objects<O> {
    fn default() -> Self {
        Objects {
            pieces: HashMap::new(),
            chains: Counted::default(),
            sets: Counted::default(),
            elements: HashMap::new(),
            touched: BTreeSet::new(),
        }
    }
}

impl<O: Eq + Hash> Objects<O> {
    /// What an owner wants now, in place of what it wanted before.
    pub fn put(&mut self, owner: O, pieces: Vec<(Family, Piece)>) {
        for (family, piece) in &pieces {
            for (name, chain) in &piece.chains {
                self.chains.add((*family, name.clone()), chain.clone());
            }
            for set in &piece.sets {
                let name = (*family, set.set.clone());
                self.sets.add(name.clone(), set.shape.clone());
                if set.elements.is_empty() {
                    continue;
                }
                let elements = self.elements.entry(name.clone()).or_default();
                set.elements.iter().for_each(|element| elements.add(key(element), element.clone()));
                self.touched.insert(name);
            }
        }
        let before = match pieces.is_empty() {
            true => self.pieces.remove(&owner),
            false => self.pieces.insert(owner, pieces),
        };
        before.into_iter().flatten().for_each(|(family, piece)| self.forget(family, &piece));
    }

    /// An owner wants nothing any more.
    pub fn remove(&mut self, owner: O) {
        self.put(owner, Vec::new());
    }

    fn forget(&mut self, family: Family, piece: &Piece) {
        for (name, _) in &piece.chains {
            self.chains.drop(&(family, name.clone()));
        }
        for set in &piece.sets {
            let name = (family, set.set.clone());
            self.sets.drop(&name);
            if let Some(elements) = self.elements.get_mut(&name) {
                set.elements.iter().for_each(|element| elements.drop(&key(element)));
                self.touched.insert(name);
            }
        }
    }

    /// Whether somebody wants a set of this name.
    pub fn has_set(&self, family: Family, name: &str) -> bool {
        self.sets.wanted.contains_key(&(family, name.into()))
    }

    /// What has changed since it was asked last.
    pub fn take(&mut self, updates: &mut Vec<Update>) {
        let mut new: BTreeSet<Name> = BTreeSet::new();
        let gone: Vec<Name> = self.sets.delta.pending_deletions().map(|(name, _)| name.clone()).collect();
        for name in gone {
            self.sets.delta.mark_deleted(&name);
            self.elements.remove(&name);
            self.touched.remove(&name);
            updates.push(Update::Set { family: name.0, name: name.1, shape: None });
        }
        let pending = self.sets.delta.pending_updates();
        let changed: Vec<(Name, Arc<SetShape>, bool)> = pending
            .map(|update| (update.key.clone(), update.desired.clone(), update.actual.is_some()))
            .collect();
        for (name, shape, was) in changed {
            self.sets.delta.mark_updated(&name);
            let (family, set) = name.clone();
            if was {
                updates.push(Update::Set { family, name: set.clone(), shape: None });
            }
            updates.push(Update::Set { family, name: set, shape: Some(shape) });
            self.touched.insert(name.clone());
            new.insert(name);
        }
        for name in std::mem::take(&mut self.touched) {
            let Some(elements) = self.elements.get_mut(&name) else { continue };
            let (added, removed) = changes(&mut elements.delta, new.contains(&name));
            if !added.is_empty() || !removed.is_empty() {
                updates.push(Update::Elements { family: name.0, set: name.1, added, removed });
            }
        }
        self.take_chains(updates);
    }

    fn take_chains(&mut self, updates: &mut Vec<Update>) {
        let delta = &mut self.chains.delta;
        let gone: Vec<Name> = delta.pending_deletions().map(|(name, _)| name.clone()).collect();
        for name in gone {
            delta.mark_deleted(&name);
            updates.push(Update::Chain { family: name.0, name: name.1, chain: None });
        }
        let changed: Vec<(Name, Arc<Chain>)> =
            delta.pending_updates().map(|update| (update.key.clone(), update.desired.clone())).collect();
        for (name, chain) in changed {
            delta.mark_updated(&name);
            updates.push(Update::Chain { family: name.0, name: name.1, chain: Some(chain) });
        }
    }
}

/// What tells elements of one set apart: both ends of a range may have the same bytes as a key.
fn key(element: &Element) -> Vec<u8> {
    let mut key = element.key.clone();
    key.extend(element.key_end.iter().flatten());
    key.push(u8::from(element.interval_end));
    key
}

/// Elements that come and go; all of them come to a set that is new.
fn changes(delta: &mut DeltaMap<Vec<u8>, Element>, new: bool) -> (Vec<Element>, Vec<Element>) {
    let gone: BTreeMap<Vec<u8>, Element> =
        delta.pending_deletions().map(|(key, element)| (key.clone(), element.clone())).collect();
    gone.keys().for_each(|key| delta.mark_deleted(key));
    let mut removed: Vec<Element> = gone.into_values().collect();
    let pending: Vec<(Vec<u8>, Element, Option<Element>)> = delta
        .pending_updates()
        .map(|update| (update.key.clone(), update.desired.clone(), update.actual.cloned()))
        .collect();
    pending.iter().for_each(|(key, ..)| delta.mark_updated(key));
    if new {
        return (delta.desired().map(|(_, element)| element.clone()).collect(), Vec::new());
    }
    let mut added = Vec::with_capacity(pending.len());
    for (_, element, before) in pending {
        removed.extend(before);
        added.push(element);
    }
    (added, removed)
}
