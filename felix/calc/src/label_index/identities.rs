//! Kinds of items: what they are, what they inherit, and which selectors match them.

use super::{ItemId, Label, LabelIndex, OnChange, SelectorId};
use crate::slab::{count, index};
use foldhash::fast::RandomState;
use selector::Labels;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

pub(super) type IdentityId = u32;

#[derive(Debug)]
pub(super) struct Identity {
    /// Own labels, in order of keys.
    pub(super) labels: Box<[Label]>,
    /// Parents, in the order they count.
    pub(super) parents: Box<[Arc<str>]>,
    /// Own and inherited labels, in order of keys, each with its place in the posting list of that pair.
    pub(super) resolved: Vec<(Label, u32)>,
    pub(super) items: Vec<ItemId>,
    /// Those that match, in order.
    pub(super) selectors: Vec<SelectorId>,
}

impl Labels for Identity {
    fn get(&self, key: &str) -> Option<&str> {
        let at = self.resolved.binary_search_by(|((label, _), _)| (**label).cmp(key)).ok()?;
        self.resolved.get(at).map(|((_, value), _)| &**value)
    }
}

impl Identity {
    pub(super) fn is(&self, labels: &[(&str, &str)], parents: &[&str]) -> bool {
        let own = self.labels.iter().map(|(key, value)| (&**key, &**value));
        own.eq(labels.iter().copied()) && self.parents.iter().map(|name| &**name).eq(parents.iter().copied())
    }

    pub(super) fn hash(&self, hasher: &RandomState) -> u64 {
        let labels = self.labels.iter().map(|(key, value)| (&**key, &**value));
        hash(hasher, labels, self.parents.iter().map(|name| &**name))
    }
}

pub(super) fn hash<'a>(
    hasher: &RandomState,
    labels: impl Iterator<Item = (&'a str, &'a str)>,
    parents: impl Iterator<Item = &'a str>,
) -> u64 {
    let mut state = hasher.build_hasher();
    labels.for_each(|label| label.hash(&mut state));
    // not even an empty list of labels looks like one of parents
    state.write_u8(0);
    parents.for_each(|name| name.hash(&mut state));
    state.finish()
}

/// In order of keys; of several values the last.
pub(crate) fn sort_labels(labels: &mut Vec<(&str, &str)>) {
    // the sort is stable: from behind, the first of a key is the last that was given
    labels.reverse();
    labels.sort_by(|a, b| a.0.cmp(b.0));
    labels.dedup_by(|later, earlier| later.0 == earlier.0);
}

impl LabelIndex {
    pub(super) fn add_identity(
        &mut self,
        hash: u64,
        labels: &[(&str, &str)],
        parents: &[&str],
    ) -> IdentityId {
        let labels = labels.iter().map(|(key, value)| self.label(key, value)).collect();
        let parents: Box<[Arc<str>]> = parents.iter().map(|name| self.parent(name)).collect();
        let names = parents.clone();
        let id = self.identities.add(Identity {
            labels,
            parents,
            resolved: Vec::new(),
            items: Vec::new(),
            selectors: Vec::new(),
        });
        for name in names {
            self.parents.entry(name).or_default().identities.insert(id);
        }
        let (identities, hasher) = (&self.identities, &self.hasher);
        self.by_key
            .insert_unique(hash, id, |id| identities.get(*id).map_or(0, |identity| identity.hash(hasher)));
        self.resolve_again(id, &mut |_, _, _| {});
        id
    }

    /// A label as others have it already, so that equal texts are kept once.
    fn label(&self, key: &str, value: &str) -> Label {
        match self.labels.get_key_value(key) {
            Some((key, of)) => {
                let value =
                    of.values.get_key_value(value).map_or_else(|| value.into(), |(value, _)| value.clone());
                (key.clone(), value)
            }
            None => (key.into(), value.into()),
        }
    }

    fn parent(&self, name: &str) -> Arc<str> {
        self.parents.get_key_value(name).map_or_else(|| name.into(), |(name, _)| name.clone())
    }

    pub(super) fn drop_if_empty(&mut self, id: IdentityId) {
        if self.identities.get(id).is_none_or(|identity| !identity.items.is_empty()) {
            return;
        }
        self.unpost(id);
        let Some(identity) = self.identities.remove(id) else { return };
        if let Ok(entry) = self.by_key.find_entry(identity.hash(&self.hasher), |other| *other == id) {
            entry.remove();
        }
        for name in &identity.parents {
            if let Some(parent) = self.parents.get_mut(name) {
                parent.identities.remove(&id);
            }
            self.drop_parent_if_unused(name);
        }
    }

    pub(super) fn drop_parent_if_unused(&mut self, name: &str) {
        if self
            .parents
            .get(name)
            .is_some_and(|parent| parent.labels.is_none() && parent.identities.is_empty())
        {
            self.parents.remove(name);
        }
    }

    /// Computes what an identity inherits and what matches it, anew.
    pub(super) fn resolve_again(&mut self, id: IdentityId, on_change: OnChange<'_>) {
        self.unpost(id);
        let Some(identity) = self.identities.get(id) else { return };
        let mut resolved: BTreeMap<Arc<str>, Arc<str>> = BTreeMap::new();
        let inherited =
            identity.parents.iter().filter_map(|name| self.parents.get(name)?.labels.as_ref()).flatten();
        let own = identity.labels.iter().map(|(key, value)| (key, value));
        for (key, value) in own.chain(inherited) {
            resolved.entry(key.clone()).or_insert_with(|| value.clone());
        }
        let resolved: Vec<(Label, u32)> = resolved.into_iter().map(|label| (label, 0)).collect();
        if let Some(identity) = self.identities.get_mut(id) {
            identity.resolved = resolved;
        }
        self.post(id);
        let (matching, tried) = self.matching(id);
        self.evaluations.add(tried, matching.len());
        let Some(identity) = self.identities.get_mut(id) else { return };
        let before = std::mem::replace(&mut identity.selectors, matching);
        for item in &identity.items {
            crate::sets::difference(&before, &identity.selectors, |selector, begins| {
                on_change(selector, *item, begins)
            });
        }
    }

    /// The selectors that match an identity, in order, and how many were tried.
    fn matching(&self, id: IdentityId) -> (Vec<SelectorId>, usize) {
        let Some(identity) = self.identities.get(id) else { return (Vec::new(), 0) };
        let mut candidates = self.needless.clone();
        for ((key, value), _) in &identity.resolved {
            let Some(label) = self.labels.get(key) else { continue };
            candidates.extend_from_slice(&label.selectors);
            if let Some(value) = label.values.get(value) {
                candidates.extend_from_slice(&value.selectors);
            }
        }
        candidates.sort_unstable();
        candidates.dedup();
        let tried = candidates.len();
        candidates.retain(|id| self.selector(*id).is_some_and(|selector| selector.matches(identity)));
        (candidates, tried)
    }

    /// Puts an identity into the posting lists of its labels.
    fn post(&mut self, id: IdentityId) {
        let Some(identity) = self.identities.get_mut(id) else { return };
        for ((key, value), place) in &mut identity.resolved {
            let label = self.labels.entry(key.clone()).or_default();
            let posting = &mut label.values.entry(value.clone()).or_default().identities;
            *place = count(posting.len());
            posting.push(id);
        }
    }

    /// Takes an identity out of the posting lists of its labels, and its labels with it.
    fn unpost(&mut self, id: IdentityId) {
        let Some(identity) = self.identities.get_mut(id) else { return };
        for ((key, value), place) in std::mem::take(&mut identity.resolved) {
            let Some(label) = self.labels.get_mut(&key) else { continue };
            let Some(of_value) = label.values.get_mut(&value) else { continue };
            let at = index(place);
            if at < of_value.identities.len() {
                of_value.identities.swap_remove(at);
            }
            if let Some(moved) = of_value.identities.get(at).and_then(|moved| self.identities.get_mut(*moved))
                && let Ok(slot) = moved.resolved.binary_search_by(|((label, _), _)| label.cmp(&key))
                && let Some((_, moved_place)) = moved.resolved.get_mut(slot)
            {
                *moved_place = place;
            }
            if of_value.is_unused() {
                label.values.remove(&value);
            }
            if label.selectors.is_empty() && label.values.is_empty() {
                self.labels.remove(&key);
            }
        }
    }
}
