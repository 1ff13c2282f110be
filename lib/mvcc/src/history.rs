//! The revisions of one key, oldest first.

use crate::{KeyValue, Revision};
use bytes::Bytes;

/// One write of a key; `version` 0 marks a deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) modified: Revision,
    pub(crate) created: Revision,
    pub(crate) version: i64,
    pub(crate) lease: i64,
    pub(crate) value: Bytes,
}

impl Entry {
    pub(crate) fn deleted(&self) -> bool {
        self.version == 0
    }

    pub(crate) fn to_kv(&self, key: &Bytes) -> KeyValue {
        KeyValue {
            key: key.clone(),
            value: self.value.clone(),
            create_revision: self.created,
            mod_revision: self.modified,
            version: self.version,
            lease: self.lease,
        }
    }
}

/// All entries of a key that a reader may still ask for, in strictly ascending order of `modified`.
///
/// Most keys have one entry between two compactions: it lies in the index itself.
#[derive(Debug, Default)]
pub(crate) enum History {
    #[default]
    Empty,
    One(Entry),
    Many(Vec<Entry>),
}

impl History {
    fn entries(&self) -> &[Entry] {
        match self {
            History::Empty => &[],
            History::One(entry) => std::slice::from_ref(entry),
            History::Many(entries) => entries,
        }
    }

    /// Appends an entry, which is newer than all others.
    pub(crate) fn push(&mut self, entry: Entry) {
        *self = match std::mem::take(self) {
            History::Empty => History::One(entry),
            History::One(first) => History::Many(vec![first, entry]),
            History::Many(mut entries) => {
                entries.push(entry);
                History::Many(entries)
            }
        };
    }

    /// The newest entry, if the key exists now.
    pub(crate) fn live(&self) -> Option<&Entry> {
        self.entries().last().filter(|entry| !entry.deleted())
    }

    /// The revision of the newest entry, 0 when there is none.
    pub(crate) fn newest(&self) -> Revision {
        self.entries().last().map_or(0, |entry| entry.modified)
    }

    /// The entry a reader at `revision` sees, if the key existed then.
    pub(crate) fn at(&self, revision: Revision) -> Option<&Entry> {
        self.upto(revision).last().filter(|entry| !entry.deleted())
    }

    /// The entry made at exactly `revision`, and the one it replaced if that was no deletion.
    pub(crate) fn change(&self, revision: Revision) -> Option<(&Entry, Option<&Entry>)> {
        let (entry, before) = self.upto(revision).split_last()?;
        let before = before.last().filter(|entry| !entry.deleted());
        (entry.modified == revision).then_some((entry, before))
    }

    /// Appends a write; counters follow from what is there.
    pub(crate) fn put(&mut self, revision: Revision, value: Bytes, lease: i64) {
        let (created, version) =
            self.live().map_or((revision, 1), |entry| (entry.created, entry.version + 1));
        self.push(Entry { modified: revision, created, version, lease, value });
    }

    /// Appends a deletion.
    pub(crate) fn delete(&mut self, revision: Revision) {
        self.push(Entry { modified: revision, created: 0, version: 0, lease: 0, value: Bytes::new() });
    }

    /// Forgets what no reader at or after `revision` can see, and tells revision and size of what went. A deletion at exactly
    /// `revision` stays, because a watch may still start there.
    pub(crate) fn compact(&mut self, revision: Revision, mut gone: impl FnMut(Revision, usize)) {
        let seen = self.upto(revision);
        let cut = match seen.last() {
            Some(entry) if entry.deleted() && entry.modified < revision => seen.len(),
            _ => seen.len().saturating_sub(1),
        };
        if cut == 0 {
            return;
        }
        seen.iter().take(cut).for_each(|entry| gone(entry.modified, entry.value.len()));
        let mut kept = match std::mem::take(self) {
            History::Many(entries) => entries.into_iter().skip(cut).collect::<Vec<_>>(),
            History::Empty | History::One(_) => Vec::new(),
        };
        *self = match kept.len() {
            0 => History::Empty,
            1 => kept.pop().map_or(History::Empty, History::One),
            _ => History::Many(kept),
        };
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries().is_empty()
    }

    fn upto(&self, revision: Revision) -> &[Entry] {
        let entries = self.entries();
        let len = entries.partition_point(|entry| entry.modified <= revision);
        entries.get(..len).unwrap_or_default()
    }
}
