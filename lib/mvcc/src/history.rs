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
#[derive(Debug, Default)]
pub(crate) struct History {
    entries: Vec<Entry>,
}

impl History {
    /// The newest entry, if the key exists now.
    pub(crate) fn live(&self) -> Option<&Entry> {
        self.entries.last().filter(|entry| !entry.deleted())
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
        self.entries.push(Entry { modified: revision, created, version, lease, value });
    }

    /// Appends a deletion.
    pub(crate) fn delete(&mut self, revision: Revision) {
        self.entries.push(Entry {
            modified: revision,
            created: 0,
            version: 0,
            lease: 0,
            value: Bytes::new(),
        });
    }

    /// Forgets what no reader at or after `revision` can see. A deletion at exactly `revision` stays, because a
    /// watch may still start there. True when nothing is left.
    pub(crate) fn compact(&mut self, revision: Revision) -> bool {
        let seen = self.upto(revision);
        let keep = match seen.last() {
            Some(entry) if entry.deleted() && entry.modified < revision => seen.len(),
            _ => seen.len().saturating_sub(1),
        };
        self.entries.drain(..keep);
        if self.entries.capacity() > 4 && self.entries.len() * 4 < self.entries.capacity() {
            self.entries.shrink_to_fit();
        }
        self.entries.is_empty()
    }

    fn upto(&self, revision: Revision) -> &[Entry] {
        let len = self.entries.partition_point(|entry| entry.modified <= revision);
        self.entries.get(..len).unwrap_or_default()
    }
}
