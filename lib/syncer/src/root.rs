//! What is known of one root: a revision for each key.

use crate::{Change, Page};
use bytes::{Bytes, BytesMut};
use mvcc::{Event, EventKind, KeyRange, KeyValue, Revision, prefix_end};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Bound;

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
    /// What all keys of the range begin with; left out in `keys`, which are many.
    prefix: Bytes,
    /// Everything up to this revision has been seen.
    pub(crate) floor: Revision,
    /// Has been listed at least once.
    pub(crate) listed: bool,
    /// Has to be listed (again).
    pub(crate) wants_list: bool,
    /// The newest revision of which a page has been seen, be it that its list was given up.
    pub(crate) paged: Revision,
    /// Up to which key, included, the list under way has come.
    cursor: Option<Box<[u8]>>,
    /// Live keys, and deletions above `floor`: below it, an unknown key is a deleted one.
    keys: BTreeMap<Box<[u8]>, Known>,
    /// Deletions in `keys`, and some that are none any more: what has to be looked at when `floor` rises.
    gone: BTreeSet<(Revision, Box<[u8]>)>,
}

impl Root {
    pub(crate) fn new(range: KeyRange) -> Self {
        let is_prefix = range.end.as_ref() == Some(&prefix_end(&range.key));
        let prefix = if is_prefix { range.key.clone() } else { Bytes::new() };
        Self {
            range,
            prefix,
            floor: 0,
            listed: false,
            wants_list: true,
            paged: 0,
            cursor: None,
            keys: BTreeMap::new(),
            gone: BTreeSet::new(),
        }
    }

    /// Number of live keys.
    pub(crate) fn len(&self) -> usize {
        self.keys.values().filter(|known| matches!(known, Known::Live(_))).count()
    }

    /// The revision of a live key.
    pub(crate) fn revision_of(&self, key: &[u8]) -> Option<Revision> {
        match self.keys.get(self.short(key))? {
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
                if self.delete(self.short(&kv.key).into(), revision) {
                    out.push(Change::Delete { key: kv.key, revision });
                }
            }
        }
    }

    /// Takes a page of a list, which speaks for all keys from the end of the page before up to its own last one.
    pub(crate) fn page(&mut self, page: Page, out: &mut Vec<Change>) {
        let Page { revision, kvs, first, last } = page;
        self.paged = self.paged.max(revision);
        let behind = if first { None } else { self.cursor.take() };
        if let Some(gone) = self.missing(behind, &kvs, last, revision) {
            for kv in kvs {
                match self.keys.get(self.short(&kv.key)) {
                    // unchanged, or already known to be newer than the list
                    Some(known) if known.revision() >= kv.mod_revision => {}
                    _ => self.put(kv, out),
                }
            }
            for key in gone {
                let full = self.long(&key);
                // remembered until the list is complete: an older event may still be on its way
                if self.delete(key, revision) {
                    out.push(Change::Delete { key: full, revision });
                }
            }
        }
        if last {
            self.cursor = None;
            self.reached(revision);
            self.listed = true;
            self.wants_list = false;
        }
    }

    /// Known keys that the page says are not there; moves the cursor to its end. `None` for a page that says nothing.
    fn missing(
        &mut self,
        behind: Option<Box<[u8]>>,
        kvs: &[KeyValue],
        last: bool,
        revision: Revision,
    ) -> Option<Vec<Box<[u8]>>> {
        let end: Option<Box<[u8]>> = kvs.last().map(|kv| self.short(&kv.key).into());
        if !last && end.is_none() {
            self.cursor = behind;
            return None;
        }
        let from = behind.map_or(Bound::Unbounded, Bound::Excluded);
        let through =
            if last { Bound::Unbounded } else { end.clone().map_or(Bound::Unbounded, Bound::Included) };
        self.cursor = end;
        // a page from before where the list has come to speaks for nothing but its own keys
        if let (Bound::Excluded(from), Bound::Included(through)) = (&from, &through)
            && from >= through
        {
            return Some(Vec::new());
        }
        let mut known =
            self.keys.range((from, through)).filter(|(_, known)| known.revision() <= revision).peekable();
        if known.peek().is_none() {
            return Some(Vec::new());
        }
        let there: HashSet<&[u8]> = kvs.iter().map(|kv| self.short(&kv.key)).collect();
        Some(known.filter(|(key, _)| !there.contains(&***key)).map(|(key, _)| key.clone()).collect())
    }

    /// Everything up to `revision` has been seen.
    pub(crate) fn reached(&mut self, revision: Revision) {
        if revision > self.floor {
            self.floor = revision;
            // not a walk over all keys: it is done for every message
            while self.gone.first().is_some_and(|(at, _)| *at <= revision)
                && let Some((at, key)) = self.gone.pop_first()
            {
                if self.keys.get(&key) == Some(&Known::Gone(at)) {
                    self.keys.remove(&key);
                }
            }
        }
    }

    /// The store is another one: revisions mean nothing any more, keys still do.
    pub(crate) fn forget_revisions(&mut self) {
        self.floor = 0;
        self.paged = 0;
        self.wants_list = true;
        self.cursor = None;
        self.gone.clear();
        self.keys.retain(|_, known| matches!(known, Known::Live(_)));
        self.keys.values_mut().for_each(|known| *known = Known::Live(0));
    }

    /// Up to where the key's history is known.
    fn horizon(&self, key: &[u8]) -> Revision {
        self.keys.get(self.short(key)).map_or(self.floor, |known| known.revision().max(self.floor))
    }

    /// The key is gone; whether it was there.
    fn delete(&mut self, key: Box<[u8]>, revision: Revision) -> bool {
        self.gone.insert((revision, key.clone()));
        matches!(self.keys.insert(key, Known::Gone(revision)), Some(Known::Live(_)))
    }

    fn put(&mut self, kv: KeyValue, out: &mut Vec<Change>) {
        self.keys.insert(self.short(&kv.key).into(), Known::Live(kv.mod_revision));
        out.push(Change::Put(kv));
    }

    fn short<'a>(&self, key: &'a [u8]) -> &'a [u8] {
        key.strip_prefix(&*self.prefix).unwrap_or(key)
    }

    fn long(&self, short: &[u8]) -> Bytes {
        let mut key = BytesMut::with_capacity(self.prefix.len() + short.len());
        key.extend_from_slice(&self.prefix);
        key.extend_from_slice(short);
        key.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deletions_are_remembered_up_to_the_floor_and_no_longer() {
        let mut root = Root::new(KeyRange::prefix("/a/"));
        let event = |kind, key: &str, mod_revision| {
            let (key, value) = (Bytes::from(key.to_owned()), Bytes::new());
            let kv = KeyValue { key, value, create_revision: 1, mod_revision, version: 1, lease: 0 };
            Event { kind, kv, prev: None }
        };
        let mut out = Vec::new();
        for (kind, key, revision) in [
            (EventKind::Put, "/a/x", 1),
            (EventKind::Put, "/a/y", 2),
            (EventKind::Delete, "/a/x", 3),
            (EventKind::Put, "/a/x", 4),
            (EventKind::Delete, "/a/x", 5),
            (EventKind::Delete, "/a/y", 7),
        ] {
            root.event(event(kind, key, revision), &mut out);
        }
        assert_eq!(out.len(), 6);
        root.reached(5);
        assert_eq!((root.keys.len(), root.gone.len()), (1, 1), "that of y alone");
        // late: from before the deletion that is known
        root.event(event(EventKind::Put, "/a/x", 4), &mut out);
        root.event(event(EventKind::Put, "/a/y", 6), &mut out);
        assert_eq!(out.len(), 6);
        root.reached(7);
        assert!(root.keys.is_empty() && root.gone.is_empty());
    }
}
