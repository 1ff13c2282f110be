//! What is known of one root: a revision for each key.

use crate::Change;
use bytes::Bytes;
use mvcc::{Event, EventKind, KeyRange, KeyValue, Revision};
use std::collections::BTreeMap;

/// The last that is known of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// It exists, written at this revision.
    Live(Revision),
    /// It was deleted at this revision.
    Gone(Revision),
}

impl Known {
    fn revision(self) -> Revision {
        match self {
            Known::Live(revision) | Known::Gone(revision) => revision,
        }
    }
}

/// One range of keys.
#[derive(Debug)]
pub(crate) struct Root {
    pub(crate) range: KeyRange,
    /// Everything up to this revision has been seen.
    pub(crate) floor: Revision,
    /// Has been listed at least once.
    pub(crate) listed: bool,
    /// Has to be listed (again).
    pub(crate) wants_list: bool,
    /// Live keys, and deletions above `floor`: below it, an unknown key is a deleted one.
    keys: BTreeMap<Bytes, Known>,
}

impl Root {
    pub(crate) fn new(range: KeyRange) -> Self {
        Self { range, floor: 0, listed: false, wants_list: true, keys: BTreeMap::new() }
    }

    /// Number of live keys.
    pub(crate) fn len(&self) -> usize {
        self.keys.values().filter(|known| matches!(known, Known::Live(_))).count()
    }

    /// The revision of a live key.
    pub(crate) fn revision_of(&self, key: &[u8]) -> Option<Revision> {
        match self.keys.get(key)? {
            Known::Live(revision) => Some(*revision),
            Known::Gone(_) => None,
        }
    }

    /// Takes one event, from wherever.
    pub(crate) fn event(&mut self, event: Event, out: &mut Vec<Change>) {
        let Event { kind, kv, .. } = event;
        let revision = kv.mod_revision;
        if revision <= self.horizon(&kv.key) {
            return;
        }
        match kind {
            EventKind::Put => self.put(kv, out),
            EventKind::Delete => {
                let before = self.keys.insert(kv.key.clone(), Known::Gone(revision));
                if matches!(before, Some(Known::Live(_))) {
                    out.push(Change::Delete { key: kv.key, revision });
                }
            }
        }
    }

    /// Takes a whole list.
    pub(crate) fn list(&mut self, revision: Revision, kvs: Vec<KeyValue>, out: &mut Vec<Change>) {
        let mut missing: BTreeMap<Bytes, Known> = std::mem::take(&mut self.keys);
        for kv in kvs {
            match missing.remove(&kv.key) {
                // unchanged, or already known to be newer than the list
                Some(known) if known.revision() >= kv.mod_revision => {
                    self.keys.insert(kv.key, known);
                }
                _ => self.put(kv, out),
            }
        }
        for (key, known) in missing {
            match known {
                known if known.revision() > revision => {
                    self.keys.insert(key, known);
                }
                Known::Live(_) => out.push(Change::Delete { key, revision }),
                Known::Gone(_) => {}
            }
        }
        self.reached(revision);
        self.listed = true;
        self.wants_list = false;
    }

    /// Everything up to `revision` has been seen.
    pub(crate) fn reached(&mut self, revision: Revision) {
        if revision > self.floor {
            self.floor = revision;
            self.keys.retain(|_, known| !matches!(known, Known::Gone(at) if *at <= revision));
        }
    }

    /// The store is another one: revisions mean nothing any more, keys still do.
    pub(crate) fn forget_revisions(&mut self) {
        self.floor = 0;
        self.wants_list = true;
        self.keys.retain(|_, known| matches!(known, Known::Live(_)));
        self.keys.values_mut().for_each(|known| *known = Known::Live(0));
    }

    /// Up to where the key's history is known.
    fn horizon(&self, key: &[u8]) -> Revision {
        self.keys.get(key).map_or(self.floor, |known| known.revision().max(self.floor))
    }

    fn put(&mut self, kv: KeyValue, out: &mut Vec<Change>) {
        self.keys.insert(kv.key.clone(), Known::Live(kv.mod_revision));
        out.push(Change::Put(kv));
    }
}
