//! Which items a selector matches, kept up to date under changes of both.
//!
//! Items with the same labels and the same parents share an *identity*, and selectors are evaluated against identities
//! alone: a cluster has many endpoints and few kinds of them. A new identity is tested only against the selectors one
//! of whose [needs](selector::Need) it meets, a new selector only against identities that meet one of its needs; so a
//! change costs what it touches, however many selectors and items there are.
//!
//! Labels are inherited from parents (profiles): an item's own label goes before a parent's, an earlier parent's before
//! a later one's.

use crate::slab::{Slab, count, index};
use foldhash::{HashMap, HashSet, fast::RandomState};
use hashbrown::HashTable;
use selector::{Labels, Need, Selector};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

/// An item, numbered by the caller; numbers should be dense.
pub type ItemId = u32;

/// A selector of the index.
pub type SelectorId = u32;

type IdentityId = u32;

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
}

/// Where an item is.
#[derive(Debug, Clone, Copy)]
struct Place {
    identity: IdentityId,
    /// In the identity's list.
    position: u32,
}

#[derive(Debug)]
struct Identity {
    /// Own labels, in order of keys.
    labels: Box<[Label]>,
    /// Parents, in the order they count.
    parents: Box<[Arc<str>]>,
    /// Own and inherited labels, in order of keys, each with its place in the posting list of that pair.
    resolved: Vec<(Label, u32)>,
    items: Vec<ItemId>,
    /// Those that match, in order.
    selectors: Vec<SelectorId>,
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

impl Labels for Identity {
    fn get(&self, key: &str) -> Option<&str> {
        let at = self.resolved.binary_search_by(|((label, _), _)| (**label).cmp(key)).ok()?;
        self.resolved.get(at).map(|((_, value), _)| &**value)
    }
}

impl Identity {
    fn is(&self, labels: &[(&str, &str)], parents: &[&str]) -> bool {
        let own = self.labels.iter().map(|(key, value)| (&**key, &**value));
        own.eq(labels.iter().copied()) && self.parents.iter().map(|name| &**name).eq(parents.iter().copied())
    }

    fn hash(&self, hasher: &RandomState) -> u64 {
        let labels = self.labels.iter().map(|(key, value)| (&**key, &**value));
        hash(hasher, labels, self.parents.iter().map(|name| &**name))
    }
}

fn hash<'a>(
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
fn sort_labels(labels: &mut Vec<(&str, &str)>) {
    // the sort is stable: from behind, the first of a key is the last that was given
    labels.reverse();
    labels.sort_by(|a, b| a.0.cmp(b.0));
    labels.dedup_by(|later, earlier| later.0 == earlier.0);
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
        difference(was, is, |selector, begins| on_change(selector, item, begins));
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
        for identity in self.candidates(selector) {
            if let Some(identity) = self.identities.get_mut(identity)
                && selector.matches(identity)
                && let Err(place) = identity.selectors.binary_search(&id)
            {
                identity.selectors.insert(place, id);
            }
        }
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

    fn add_identity(&mut self, hash: u64, labels: &[(&str, &str)], parents: &[&str]) -> IdentityId {
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

    fn drop_if_empty(&mut self, id: IdentityId) {
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

    fn drop_parent_if_unused(&mut self, name: &str) {
        if self
            .parents
            .get(name)
            .is_some_and(|parent| parent.labels.is_none() && parent.identities.is_empty())
        {
            self.parents.remove(name);
        }
    }

    /// Computes what an identity inherits and what matches it, anew.
    fn resolve_again(&mut self, id: IdentityId, on_change: OnChange<'_>) {
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
        let matching = self.matching(id);
        let Some(identity) = self.identities.get_mut(id) else { return };
        let before = std::mem::replace(&mut identity.selectors, matching);
        for item in &identity.items {
            difference(&before, &identity.selectors, |selector, begins| on_change(selector, *item, begins));
        }
    }

    /// The selectors that match an identity, in order.
    fn matching(&self, id: IdentityId) -> Vec<SelectorId> {
        let Some(identity) = self.identities.get(id) else { return Vec::new() };
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
        candidates.retain(|id| self.selector(*id).is_some_and(|selector| selector.matches(identity)));
        candidates
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

impl OfValue {
    fn is_unused(&self) -> bool {
        self.selectors.is_empty() && self.identities.is_empty()
    }
}

/// What stands in only one of two ordered lists.
fn difference(was: &[SelectorId], is: &[SelectorId], mut each: impl FnMut(SelectorId, bool)) {
    let (mut was, mut is) = (was.iter().copied().peekable(), is.iter().copied().peekable());
    loop {
        match (was.peek().copied(), is.peek().copied()) {
            (Some(old), Some(new)) if old == new => {
                was.next();
                is.next();
            }
            (Some(old), new) if new.is_none_or(|new| old < new) => {
                was.next();
                each(old, false);
            }
            (_, Some(new)) => {
                is.next();
                each(new, true);
            }
            (_, None) => return,
        }
    }
}

fn remove_from(list: &mut Vec<SelectorId>, id: SelectorId) {
    if let Some(at) = list.iter().position(|other| *other == id) {
        list.swap_remove(at);
    }
}

#[cfg(test)]
mod tests;
