//! What a follower knows, on disk: so that it can start where the store does not answer.
//!
//! ```text
//!  what was told ─► record: changes since the last write ─► merged with the last file ─► renamed into place
//!  at a start, and no answer yet ─► take: the file, if it is whole and ours ─► pages for the Syncer, as if listed
//! ```
//!
//! The file ([`format`]) holds the pairs of a follower's ranges as they were at one revision. It is used where the store has
//! not answered for [`PATIENCE`] after a start, never after an answer. From then on consumers hold an old state of the
//! store; with the first answer everything is listed, and told as its difference to the snapshot, whatever the store has
//! become meanwhile.

mod format;
mod record;
mod take;

use bytes::Bytes;
use format::Scope;
use mvcc::{Event, EventKind, KeyRange, Revision};
use record::Recorder;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use syncer::{Change, Output, RootId, StaleList, Syncer};
use take::Pages;
use tokio::time::Instant;

/// How long the store may be silent after a start before its snapshot is used.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where a follower keeps its snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotPlace {
    /// The file; its directory is made.
    pub path: PathBuf,
    /// Which datastore it is of: the file of another one is not used.
    pub source: String,
}

/// What consumers were told from a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// The store's revision of which it is.
    pub revision: Revision,
    /// When it was written.
    pub written: SystemTime,
}

impl std::fmt::Display for Taken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let written = jiff::Timestamp::try_from(self.written).unwrap_or_default();
        write!(f, "the snapshot of {written:.0}, revision {}", self.revision)
    }
}

/// How a follower's snapshot is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnapshotStatus {
    /// What consumers hold is this; `None` once the store has answered.
    pub in_use: Option<Taken>,
    /// Why there is none, or no newer one.
    pub trouble: Option<String>,
}

/// A follower's dealings with its snapshot.
#[derive(Debug)]
pub(crate) struct Snapshot {
    place: SnapshotPlace,
    scope: Scope,
    patience: Duration,
    stage: Stage,
    /// What this process wrote itself before the store has answered its follower; the newest of each key.
    own: BTreeMap<Bytes, Event>,
    trouble: Option<String>,
}

#[derive(Debug)]
enum Stage {
    /// Nobody has asked the store yet.
    New,
    /// The store is asked, and has until then to answer.
    Asking(Instant),
    /// There is no file that could be told: it takes the store.
    Without,
    /// What the file has is being told.
    Telling(Pages),
    /// It was told, and the store has not answered yet.
    Told(Pages),
    /// The store has answered. What it says is recorded, unless there is no thread for it.
    Follows(Option<Recorder>),
}

impl Snapshot {
    pub(crate) fn new<'a>(place: SnapshotPlace, ranges: impl IntoIterator<Item = &'a KeyRange>) -> Self {
        let scope = Scope::new(&place.source, ranges);
        Self { place, scope, patience: PATIENCE, stage: Stage::New, own: BTreeMap::new(), trouble: None }
    }

    pub(crate) fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    pub(crate) fn status(&self) -> SnapshotStatus {
        let in_use = match &self.stage {
            Stage::Telling(pages) | Stage::Told(pages) => Some(pages.taken()),
            _ => None,
        };
        let of_recorder = match &self.stage {
            Stage::Follows(Some(recorder)) => recorder.trouble(),
            _ => None,
        };
        SnapshotStatus { in_use, trouble: of_recorder.or_else(|| self.trouble.clone()) }
    }

    /// When to look at the file, unless the store answers before.
    pub(crate) fn look_at(&mut self, now: Instant) -> Option<Instant> {
        if matches!(self.stage, Stage::New) {
            self.stage = Stage::Asking(now + self.patience);
        }
        match self.stage {
            Stage::Asking(until) => Some(until),
            _ => None,
        }
    }

    /// The store is silent: what there is in the file is told from now on.
    pub(crate) fn look(&mut self, syncer: &Syncer) {
        let path = self.place.path.display();
        match Pages::open(&self.place.path, &self.scope, syncer) {
            Ok(Some(pages)) => {
                let Taken { revision, written } = pages.taken();
                let age = written.elapsed().unwrap_or_default();
                tracing::warn!(%path, revision, ?age, "the datastore does not answer: its snapshot is used");
                self.stage = Stage::Telling(pages);
            }
            Ok(None) => {
                tracing::warn!(%path, "the datastore does not answer, and there is no snapshot of it");
                self.stage = Stage::Without;
            }
            Err(error) => {
                tracing::error!(%error, %path, "the snapshot of the datastore is not used");
                self.trouble = Some(format!("{path} is not used: {error}"));
                self.stage = Stage::Without;
            }
        }
    }

    /// The next page of what the file has; `None` where nothing is told from it.
    pub(crate) fn tell(&mut self, syncer: &mut Syncer) -> Option<Result<Output, StaleList>> {
        let Stage::Telling(pages) = &mut self.stage else { return None };
        match pages.next(syncer) {
            Ok(Some((root, page))) => Some(syncer.listed(root, page)),
            Ok(None) => {
                // the store is asked for all of it as soon as it answers
                let roots: Vec<RootId> = syncer.roots().map(|(root, _)| root).collect();
                roots.into_iter().for_each(|root| syncer.lost(root));
                if let Stage::Telling(pages) = std::mem::replace(&mut self.stage, Stage::New) {
                    self.stage = Stage::Told(pages);
                }
                None
            }
            Err(error) => {
                // it was whole a moment ago
                tracing::error!(%error, "the snapshot of the datastore cannot be read to its end");
                self.trouble = Some(format!("{}: {error}", self.place.path.display()));
                syncer.store_replaced();
                self.stage = Stage::Without;
                None
            }
        }
    }

    /// The store has answered with a list, for the first time: what is told before it. What the file said may be of another
    /// store, so that all that differs is told; but what this process wrote is of this one, and a list that was on its way
    /// meanwhile does not take it back.
    pub(crate) fn answered(&mut self, syncer: &mut Syncer) -> Option<Vec<Change>> {
        let base = match &self.stage {
            Stage::Follows(_) => return None,
            Stage::Told(pages) => Some(pages.file()),
            _ => None,
        };
        syncer.store_replaced();
        let own: Vec<Event> = std::mem::take(&mut self.own).into_values().collect();
        let recorder = base.transpose().and_then(|base| {
            let recorder = Recorder::start(&self.place.path, self.scope.clone(), base)?;
            // what a consumer never knew is not told to be gone, and may be in the file
            recorder.took(&own.iter().map(change).collect::<Vec<_>>(), None);
            Ok(recorder)
        });
        self.trouble = None;
        let recorder = recorder.inspect_err(|error| {
            let reason = format!("{}: {error}", self.place.path.display());
            tracing::error!(reason, "no snapshot of the datastore is kept");
            self.trouble = Some(reason);
        });
        self.stage = Stage::Follows(recorder.ok());
        Some(syncer.wrote(own).changes)
    }

    /// What this process wrote itself.
    pub(crate) fn wrote(&mut self, events: &[Event], syncer: &Syncer) {
        if matches!(self.stage, Stage::Follows(_)) {
            return;
        }
        for event in events {
            let is_newer = |known: &Event| known.kv.mod_revision < event.kv.mod_revision;
            let is_followed = syncer.roots().any(|(_, range)| range.contains(&event.kv.key));
            if is_followed && self.own.get(&event.kv.key).is_none_or(is_newer) {
                self.own.insert(event.kv.key.clone(), event.clone());
            }
        }
    }

    /// What is told to consumers, and whether that makes their state the store's of a revision.
    pub(crate) fn took(&self, output: &Output, complete: Option<Revision>) {
        if let Stage::Follows(Some(recorder)) = &self.stage {
            recorder.took(&output.changes, complete);
        }
    }

    /// Waits while there is more to write than may wait.
    pub(crate) async fn room(&self) {
        if let Stage::Follows(Some(recorder)) = &self.stage {
            recorder.room().await;
        }
    }
}

fn change(event: &Event) -> Change {
    match event.kind {
        EventKind::Put => Change::Put(event.kv.clone()),
        EventKind::Delete => Change::Delete { key: event.kv.key.clone(), revision: event.kv.mod_revision },
    }
}
