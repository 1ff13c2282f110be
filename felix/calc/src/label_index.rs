//! Which items a selector matches, kept up to date under changes of both.
//!
//! Items with the same labels and the same parents share an *identity*, and selectors are evaluated against identities
//! alone: a cluster has many endpoints and few kinds of them. A new identity is tested only against the selectors one
//! of whose [needs](selector::Need) it meets, a new selector only against identities that meet one of its needs; so a
//! change costs what it touches, however many selectors and items there are.
//!
//! Labels are inherited from parents (profiles): an item's own label goes before a parent's, an earlier parent's before
//! a later one's.

mod identities;

use crate::counts::Evaluations;
use crate::slab::{Slab, count, index};
use foldhash::{HashMap, HashSet, fast::RandomState};
use hashbrown::HashTable;
pub(crate) use identities::sort_labels;
use identities::{Identity, IdentityId, hash};
use selector::{Need, Selector};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An item, numbered by the caller; numbers should be dense.
pub type ItemId = u32;

/// A selector of the index.
pub type SelectorId = u32;

/// A label and its value.
pub type Label = (Arc<str>, Arc<str>);

/// An item has begun (`true`) or ceased to be matched by a selector.
pub type OnChange<'a> = &'a mut dyn FnMut(SelectorId, ItemId, bool);

/// The index.
#[derive(Debug, Default)]
pub struct LabelIndex {
    items: Vec<Option<Place>>,
    identities: Slab<Identity>,
    /// Finds an identity by what it is, without a copy of that.
    by_key: HashTable<IdentityId>,
    hasher: RandomState,
    parents: HashMap<Arc<str>, Parent>,
    selectors: Slab<Entry>,
    by_text: HashMap<Arc<str>, SelectorId>,
    labels: HashMap<Arc<str>, OfLabel>,
    /// Selectors that may match something without labels.
    needless: Vec<SelectorId>,
    evaluations: Evaluations,
}

/// Where an item is.
#[derive(Debug, Clone, Copy)]
struct Place {
    identity: IdentityId,
    /// In the identity's list.
    position: u32,
}

#[derive(Debug, Default)]
struct Parent {
    /// `None` for a parent that is named and not there.
    labels: Option<BTreeMap<Arc<str>, Arc<str>>>,
    identities: HashSet<IdentityId>,
}

#[derive(Debug)]
struct Entry {
    selector: Selector,
    text: Arc<str>,
    users: u32,
}

/// What is known of a label.
#[derive(Debug, Default)]
struct OfLabel {
    /// Selectors that need it with any value.
    selectors: Vec<SelectorId>,
    values: HashMap<Arc<str>, OfValue>,
}

/// What is known of a label with a value.
#[derive(Debug, Default)]
struct OfValue {
    selectors: Vec<SelectorId>,
    identities: Vec<IdentityId>,
}

impl LabelIndex {
    /// An empty index.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an item, or gives it other labels and parents. Where a key stands twice, the last one counts.
    pub fn set_item(
        &mut self,
        item: ItemId,
        labels: &mut Vec<(&str, &str)>,
        parents: &[&str],
        on_change: OnChange<'_>,
    ) {
        sort_labels(labels);
        let hash = hash(&self.hasher, labels.iter().copied(), parents.iter().copied());
        let is = |id: &IdentityId| self.identities.get(*id).is_some_and(|other| other.is(labels, parents));
        let identity = match self.by_key.find(hash, is) {
            Some(found) => *found,
            None => self.add_identity(hash, labels, parents),
        };
        let before = self.place(item).map(|place| place.identity);
        if before == Some(identity) {
            return;
        }
        self.leave(item);
        self.enter(item, identity);
        let none = Vec::new();
        let was = before.and_then(|id| self.identities.get(id)).map_or(&none, |old| &old.selectors);
        let is = self.identities.get(identity).map_or(&none, |new| &new.selectors);
        crate::sets::difference(was, is, |selector, begins| on_change(selector, item, begins));
        if let Some(before) = before {
            self.drop_if_empty(before);
        }
    }

    /// Removes an item; one that is not there is nothing.
    pub fn remove_item(&mut self, item: ItemId, on_change: OnChange<'_>) {
        let Some(Place { identity, .. }) = self.place(item) else { return };
        self.leave(item);
        for selector in self.identities.get(identity).into_iter().flat_map(|identity| &identity.selectors) {
            on_change(*selector, item, false);
        }
        self.drop_if_empty(identity);
    }

    /// Gives a parent its labels, or takes it away with `None`.
    pub fn set_parent(
        &mut self,
        name: &str,
        labels: Option<&BTreeMap<String, String>>,
        on_change: OnChange<'_>,
    ) {
        let labels = labels.map(|labels| {
            labels.iter().map(|(key, value)| (Arc::from(key.as_str()), Arc::from(value.as_str()))).collect()
        });
        let parent = match self.parents.get_mut(name) {
            Some(parent) => parent,
            None if labels.is_none() => return,
            None => self.parents.entry(Arc::from(name)).or_default(),
        };
        if parent.labels == labels {
            return;
        }
        parent.labels = labels;
        let mut heirs: Vec<IdentityId> = parent.identities.iter().copied().collect();
        // the same state gives the same order of changes
        heirs.sort_unstable();
        self.drop_parent_if_unused(name);
        for identity in heirs {
            self.resolve_again(identity, on_change);
        }
    }

    /// Adds a selector, or one more user of it: selectors with the same canonical text are one. The flag says whether
    /// it is new; who wants its items asks for [`LabelIndex::items`].
    pub fn add_selector(&mut self, selector: &Selector) -> (SelectorId, bool) {
        let text = selector.to_string();
        if let Some(id) = self.by_text.get(text.as_str()).copied() {
            if let Some(entry) = self.selectors.get_mut(id) {
                entry.users += 1;
            }
            return (id, false);
        }
        let text: Arc<str> = text.into();
        let id = self.selectors.add(Entry { selector: selector.clone(), text: text.clone(), users: 1 });
        self.by_text.insert(text, id);
        match selector.needs() {
            None => self.needless.push(id),
            Some(needs) => needs.into_iter().for_each(|need| self.selectors_needing(need).push(id)),
        }
        let candidates = self.candidates(selector);
        let mut matched = 0;
        for identity in &candidates {
            if let Some(identity) = self.identities.get_mut(*identity)
                && selector.matches(identity)
            {
                matched += 1;
                if let Err(place) = identity.selectors.binary_search(&id) {
                    identity.selectors.insert(place, id);
                }
            }
        }
        self.evaluations.add(candidates.len(), matched);
        (id, true)
    }

    /// Takes one user of a selector away; with the last one it goes, silently. Whether it went.
    pub fn release_selector(&mut self, id: SelectorId) -> bool {
        let Some(entry) = self.selectors.get_mut(id) else { return false };
        entry.users -= 1;
        if entry.users > 0 {
            return false;
        }
        let selector = entry.selector.clone();
        let text = entry.text.clone();
        for identity in self.candidates(&selector) {
            if let Some(identity) = self.identities.get_mut(identity)
                && let Ok(place) = identity.selectors.binary_search(&id)
            {
                identity.selectors.remove(place);
            }
        }
        match selector.needs() {
            None => remove_from(&mut self.needless, id),
            Some(needs) => {
                for need in needs {
                    remove_from(self.selectors_needing(need.clone()), id);
                    self.drop_label_if_unused(&need);
                }
            }
        }
        self.by_text.remove(&text);
        self.selectors.remove(id);
        true
    }

    /// The selector of this number.
    pub fn selector(&self, id: SelectorId) -> Option<&Selector> {
        self.selectors.get(id).map(|entry| &entry.selector)
    }

    /// The selectors that match an item, in order.
    pub fn selectors_of(&self, item: ItemId) -> &[SelectorId] {
        let identity = self.place(item).and_then(|place| self.identities.get(place.identity));
        identity.map_or(&[], |identity| &identity.selectors)
    }

    /// The items a selector matches, in no particular order.
    pub fn items(&self, id: SelectorId) -> impl Iterator<Item = ItemId> {
        let candidates =
            self.selectors.get(id).map(|entry| self.candidates(&entry.selector)).unwrap_or_default();
        let matched = move |identity: &&Identity| identity.selectors.binary_search(&id).is_ok();
        candidates
            .into_iter()
            .filter_map(|identity| self.identities.get(identity))
            .filter(matched)
            .flat_map(|identity| identity.items.iter().copied())
    }

    /// Kinds of items: what selectors are evaluated against.
    pub fn identities(&self) -> usize {
        self.by_key.len()
    }

    /// How many selectors there are.
    pub fn selectors(&self) -> usize {
        self.by_text.len()
    }

    /// Of them those that need no label, and are tried with everything.
    pub fn broad_selectors(&self) -> usize {
        self.needless.len()
    }

    /// Times that selectors were tried.
    pub fn evaluations(&self) -> Evaluations {
        self.evaluations
    }

    fn place(&self, item: ItemId) -> Option<Place> {
        self.items.get(usize::try_from(item).ok()?).copied().flatten()
    }

    fn set_place(&mut self, item: ItemId, place: Option<Place>) {
        let Ok(at) = usize::try_from(item) else { return };
        if at >= self.items.len() {
            self.items.resize(at + 1, None);
        }
        if let Some(slot) = self.items.get_mut(at) {
            *slot = place;
        }
    }

    fn enter(&mut self, item: ItemId, id: IdentityId) {
        let Some(identity) = self.identities.get_mut(id) else { return };
        let position = count(identity.items.len());
        identity.items.push(item);
        self.set_place(item, Some(Place { identity: id, position }));
    }

    fn leave(&mut self, item: ItemId) {
        let Some(place) = self.place(item) else { return };
        self.set_place(item, None);
        let Some(identity) = self.identities.get_mut(place.identity) else { return };
        let at = index(place.position);
        if at < identity.items.len() {
            identity.items.swap_remove(at);
        }
        if let Some(moved) = identity.items.get(at).copied() {
            self.set_place(moved, Some(place));
        }
    }

    /// Identities that may match, each once.
    fn candidates(&self, selector: &Selector) -> Vec<IdentityId> {
        let Some(needs) = selector.needs() else { return self.identities.ids().collect() };
        let mut found = Vec::new();
        for need in &needs {
            let Some(label) = self.labels.get(&need.label[..]) else { continue };
            match &need.value {
                Some(value) => {
                    found.extend(label.values.get(&value[..]).into_iter().flat_map(|v| &v.identities))
                }
                None => found.extend(label.values.values().flat_map(|value| &value.identities)),
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    fn selectors_needing(&mut self, need: Need) -> &mut Vec<SelectorId> {
        let label = self.labels.entry(need.label.into()).or_default();
        match need.value {
            None => &mut label.selectors,
            Some(value) => &mut label.values.entry(value.into()).or_default().selectors,
        }
    }

    fn drop_label_if_unused(&mut self, need: &Need) {
        let Some(label) = self.labels.get_mut(&need.label[..]) else { return };
        if let Some(value) = &need.value
            && label.values.get(&value[..]).is_some_and(OfValue::is_unused)
        {
            label.values.remove(&value[..]);
        }
        if label.selectors.is_empty() && label.values.is_empty() {
            self.labels.remove(&need.label[..]);
        }
    }
}

impl OfValue {
    fn is_unused(&self) -> bool {
        self.selectors.is_empty() && self.identities.is_empty()
    }
}

fn remove_from(list: &mut Vec<SelectorId>, id: SelectorId) {
    if let Some(at) = list.iter().position(|other| *other == id) {
        list.swap_remove(at);
    }
}

#[cfg(test)]
mod tests;
