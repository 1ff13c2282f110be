//! Items by name: whatever has labels and addresses. A cluster has very many of them, so each is kept as small as can
//! be: its name once, and a table of numbers that finds it.

use crate::label_index::ItemId;
use crate::sets::Contents;
use crate::slab::Slab;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::collections::BTreeMap;
use std::hash::BuildHasher;

/// Items and their contents.
#[derive(Debug, Default)]
pub(crate) struct Items {
    items: Slab<Item>,
    by_name: HashTable<ItemId>,
    /// How many have a name that begins so.
    beginning: BTreeMap<Option<u8>, usize>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Item {
    name: Box<str>,
    contents: Contents,
}

impl Items {
    /// The item of this name.
    pub(crate) fn find(&self, name: &str) -> Option<ItemId> {
        let is = |id: &ItemId| self.items.get(*id).is_some_and(|item| *item.name == *name);
        self.by_name.find(self.hasher.hash_one(name), is).copied()
    }

    /// The item of this name, new and empty if there was none.
    pub(crate) fn find_or_add(&mut self, name: &str) -> ItemId {
        if let Some(found) = self.find(name) {
            return found;
        }
        let id = self.items.add(Item { name: name.into(), contents: Contents::default() });
        let (items, hasher) = (&self.items, &self.hasher);
        let hash = |id: &ItemId| items.get(*id).map_or(0, |item| hasher.hash_one(&*item.name));
        self.by_name.insert_unique(hasher.hash_one(name), id, hash);
        *self.beginning.entry(name.bytes().next()).or_default() += 1;
        id
    }

    /// What it has to offer.
    pub(crate) fn contents(&self, id: ItemId) -> Option<&Contents> {
        self.items.get(id).map(|item| &item.contents)
    }

    /// It has this to offer now; what it had before.
    pub(crate) fn set_contents(&mut self, id: ItemId, contents: Contents) -> Option<Contents> {
        let item = self.items.get_mut(id)?;
        Some(std::mem::replace(&mut item.contents, contents))
    }

    /// Forgets an item.
    pub(crate) fn remove(&mut self, id: ItemId) {
        let Some(item) = self.items.remove(id) else { return };
        if let Some(count) = self.beginning.get_mut(&item.name.bytes().next()) {
            *count = count.saturating_sub(1);
        }
        if let Ok(entry) = self.by_name.find_entry(self.hasher.hash_one(&*item.name), |other| *other == id) {
            entry.remove();
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// How many have a name that begins with this.
    pub(crate) fn beginning(&self, first: u8) -> usize {
        self.beginning.get(&Some(first)).copied().unwrap_or_default()
    }
}
