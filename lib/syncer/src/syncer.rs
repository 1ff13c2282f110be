//! Several roots as one stream.

use crate::root::Root;
use bytes::Bytes;
use mvcc::{Event, KeyRange, KeyValue, Revision, WatchResponse};

/// Which root; in the order in which they were given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RootId(pub usize);

/// A change for consumers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The key is new or has another value.
    Put(KeyValue),
    /// The key is gone.
    Delete {
        /// Which.
        key: Bytes,
        /// When, or when it was found missing.
        revision: Revision,
    },
}

/// What the I/O around has to do for a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// List it, then ask again.
    List,
    /// Watch it from this revision on.
    Watch {
        /// First revision to report.
        from: Revision,
    },
}

/// The same where one watch covers all roots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextTogether {
    /// List this root, then ask again.
    List(RootId),
    /// Watch everything from this revision on.
    Watch {
        /// First revision to report.
        from: Revision,
    },
}

/// How far the stream is. Source: `datamodel.md` §7 of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Nothing was listed yet.
    WaitForDatastore,
    /// Some roots were listed, not all.
    ResyncInProgress,
    /// What consumers have seen is a state of the store, root by root.
    InSync,
}

/// A piece of a list. The pieces of one list are of one revision, in the order of their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The list's revision.
    pub revision: Revision,
    /// Pairs, in the order of their keys.
    pub kvs: Vec<KeyValue>,
    /// A list begins with it; one that was under way is given up.
    pub first: bool,
    /// The list ends with it.
    pub last: bool,
}

/// What one input amounts to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Output {
    /// Changes, to be taken together.
    pub changes: Vec<Change>,
    /// The list these come from goes on: what consumers know now is partly of before and partly of after. They take the
    /// changes in, and act when an output says no more.
    pub more: bool,
    /// These changes made it whole: every root has now been listed. Said once.
    pub became_in_sync: bool,
}

/// A list from before what is known already. Either it was read from a member that lags, and another try helps, or the
/// store was replaced by an older one: see [`Syncer::store_replaced`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StaleList {
    /// The list's revision.
    pub listed: Revision,
    /// What was seen before.
    pub known: Revision,
}

impl std::fmt::Display for StaleList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the list is of revision {}, but {} has been seen", self.listed, self.known)
    }
}

impl std::error::Error for StaleList {}

/// See the crate's documentation.
#[derive(Debug)]
pub struct Syncer {
    roots: Vec<Root>,
    in_sync: bool,
}

impl Syncer {
    /// Follows these ranges; they must not overlap.
    pub fn new(roots: impl IntoIterator<Item = KeyRange>) -> Self {
        Self { roots: roots.into_iter().map(Root::new).collect(), in_sync: false }
    }

    /// All roots with their ranges.
    pub fn roots(&self) -> impl Iterator<Item = (RootId, &KeyRange)> {
        self.roots.iter().enumerate().map(|(index, root)| (RootId(index), &root.range))
    }

    /// A root's range; `None` for a root that is none.
    pub fn range(&self, root: RootId) -> Option<&KeyRange> {
        self.roots.get(root.0).map(|root| &root.range)
    }

    /// What to do for a root; `None` for a root that is none.
    pub fn next(&self, root: RootId) -> Option<Next> {
        let root = self.roots.get(root.0)?;
        Some(if root.wants_list { Next::List } else { Next::Watch { from: root.floor + 1 } })
    }

    /// What to do for all roots where one watch covers them: list them one after another, best at one revision, then watch
    /// everything between them; see [`Syncer::watched_together`].
    pub fn next_together(&self) -> NextTogether {
        match self.roots.iter().position(|root| root.wants_list) {
            Some(index) => NextTogether::List(RootId(index)),
            None => NextTogether::Watch { from: self.revision() + 1 },
        }
    }

    /// Consumers were told everything that was written up to this revision: the least that is true of every root, 0
    /// before all were listed. Of a root they may know more; where all roots were listed at one revision and one watch
    /// covers them ([`Syncer::watched_together`]), what they know is the store's state of just this revision.
    pub fn revision(&self) -> Revision {
        self.roots.iter().map(|root| root.floor).min().unwrap_or_default()
    }

    /// Consumers were told everything that was written up to this revision of the root that holds `key`; where one watch
    /// covers all roots, of all of them. 0 for a key of no root.
    pub fn reached(&self, key: &[u8]) -> Revision {
        self.root_of(key).map_or(0, |root| root.floor)
    }

    /// The newest revision that was heard of, of any root.
    pub fn newest(&self) -> Revision {
        self.roots.iter().map(|root| root.floor.max(root.paged)).max().unwrap_or_default()
    }

    /// How far the stream is. Once in sync it stays so: what a later list brings comes as one difference.
    pub fn status(&self) -> Status {
        if self.in_sync {
            Status::InSync
        } else if self.roots.iter().any(|root| root.listed) {
            Status::ResyncInProgress
        } else {
            Status::WaitForDatastore
        }
    }

    /// How many keys exist, as far as is known.
    pub fn len(&self) -> usize {
        self.roots.iter().map(Root::len).sum()
    }

    /// Whether no key is known to exist.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The revision of a key that exists, as far as is known: what a compare-and-swap of it needs.
    pub fn revision_of(&self, key: &[u8]) -> Option<Revision> {
        self.root_of(key)?.revision_of(key)
    }

    /// The next page of a root's list.
    ///
    /// # Errors
    /// `StaleList`; nothing is changed then.
    pub fn listed(&mut self, root: RootId, page: Page) -> Result<Output, StaleList> {
        let mut changes = Vec::new();
        let more = !page.last;
        if let Some(root) = self.roots.get_mut(root.0) {
            let known = root.floor.max(root.paged);
            if page.revision < known {
                return Err(StaleList { listed: page.revision, known });
            }
            root.page(page, &mut changes);
        }
        let became_in_sync = !self.in_sync && self.roots.iter().all(|root| root.listed);
        self.in_sync |= became_in_sync;
        Ok(Output { changes, more, became_in_sync })
    }

    /// A message of the root's watch, which was opened where [`Syncer::next`] said, or before.
    pub fn watched(&mut self, root: RootId, message: WatchResponse) -> Output {
        let mut changes = Vec::new();
        if let Some(root) = self.roots.get_mut(root.0) {
            for event in message.events {
                root.event(event, &mut changes);
            }
            // before the first list nothing is known to be complete
            if root.listed {
                root.reached(message.revision);
            }
        }
        Output { changes, ..Output::default() }
    }

    /// A message of a watch that covers all roots, which was opened where [`Syncer::next_together`] said, or before. Keys
    /// of no root are passed over.
    pub fn watched_together(&mut self, message: WatchResponse) -> Output {
        let mut changes = Vec::new();
        for event in message.events {
            if let Some(root) = self.roots.iter_mut().find(|root| root.range.contains(&event.kv.key)) {
                root.event(event, &mut changes);
            }
        }
        for root in self.roots.iter_mut().filter(|root| root.listed) {
            root.reached(message.revision);
        }
        Output { changes, ..Output::default() }
    }

    /// Writes of this process, with the revision of their transaction in `kv.mod_revision`. They need not wait for the
    /// watch; when it reports them, or something older, nothing happens.
    pub fn wrote(&mut self, events: impl IntoIterator<Item = Event>) -> Output {
        let mut changes = Vec::new();
        for event in events {
            if let Some(root) = self.roots.iter_mut().find(|root| root.range.contains(&event.kv.key)) {
                root.event(event, &mut changes);
            }
        }
        Output { changes, ..Output::default() }
    }

    /// The root's watch cannot go on (compaction, or an error that is no matter of the connection): it has to be
    /// listed again.
    pub fn lost(&mut self, root: RootId) {
        if let Some(root) = self.roots.get_mut(root.0) {
            root.wants_list = true;
        }
    }

    /// The watch that covers all roots cannot go on.
    pub fn lost_together(&mut self) {
        self.roots.iter_mut().for_each(|root| root.wants_list = true);
    }

    /// The store was replaced or restored from a backup: its revisions do not follow on those known. Every root has to
    /// be listed; what differs will come out.
    pub fn store_replaced(&mut self) {
        self.roots.iter_mut().for_each(Root::forget_revisions);
    }

    fn root_of(&self, key: &[u8]) -> Option<&Root> {
        self.roots.iter().find(|root| root.range.contains(key))
    }
}

#[cfg(test)]
mod tests;
