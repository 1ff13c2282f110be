//! Following the store: the I/O around a [`Syncer`].
//!
//! Lists what has to be listed, keeps a watch a root open, and answers compaction, broken streams and replaced stores
//! with a new list or a new watch. It never gives up and never fails: a store that is away only means that nothing
//! comes, while consumers keep the last consistent state.
//!
//! Roots can be followed each for itself ([`Follow::new`]) or together ([`Follow::together`]): lists of one revision, then
//! one watch. The first asks the store for nothing else; with the second what consumers know is the state of one revision.
//!
//! With a [snapshot](Follow::with_snapshot) it begins with what the store last held where that does not answer.

use crate::pages::Pages;
use crate::snapshot::{Snapshot, SnapshotPlace, SnapshotStatus};
use crate::{Datastore, Link, StoreError};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, BoxStream, SelectAll, StreamExt};
use mvcc::{Event, KeyRange, RangeRequest, RangeResponse, Revision, WatchRequest, WatchResponse};
use std::sync::Arc;
use std::time::Duration;
use syncer::{Next, NextTogether, Output, Page, RootId, Status, Syncer};
use tokio::time::{Instant, sleep_until, timeout_at};

/// Pauses between attempts, doubling from the first to the longest, unless the caller says otherwise.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What a watch covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watched {
    /// One root.
    Root(RootId),
    /// Everything from the first root to the last.
    All,
}

/// A watch's message, or `None` when its stream ended.
type Message = (Watched, Option<Result<WatchResponse, StoreError>>);

/// What has to be asked for before the next message can come.
enum Ask {
    List(RootId, RangeRequest),
    Watch(Watched, KeyRange, Revision),
}

/// A list of a root, and the request for its next page.
struct Listing {
    root: RootId,
    pages: Pages,
    request: BoxFuture<'static, Result<RangeResponse, StoreError>>,
}

/// A consistent stream of what changes under some roots.
pub struct Follow {
    store: Arc<dyn Datastore>,
    syncer: Syncer,
    watches: SelectAll<BoxStream<'static, Message>>,
    /// Where one watch covers all roots: its range.
    hull: Option<KeyRange>,
    /// Watches that are open.
    open: Vec<Watched>,
    /// The revision at which the rest of the roots is listed; 0 for the newest.
    listed_at: Revision,
    /// The list under way; its request goes on while nobody waits for it.
    listing: Option<Listing>,
    /// Consumers were told part of a list, and not yet the rest.
    half: bool,
    /// Roots are being listed.
    resyncing: bool,
    /// Times that this began.
    resyncs: u64,
    /// Writes of this process that the stream has not reached yet.
    awaited: Vec<(Bytes, Revision)>,
    /// First and longest pause, and the next one.
    pauses: (Duration, Duration),
    pause: Duration,
    /// When the store may be asked again; kept while nobody waits.
    not_before: Option<Instant>,
    snapshot: Option<Snapshot>,
}

impl std::fmt::Debug for Follow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follow")
            .field("syncer", &self.syncer)
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}

impl Follow {
    /// Follows these ranges, which must not overlap. Nothing is sent before [`Follow::next`].
    pub fn new(store: Arc<dyn Datastore>, roots: impl IntoIterator<Item = KeyRange>) -> Self {
        Self::of(store, roots, None)
    }

    /// The same with one watch over all there is between them, so that consumers see what is written in the order in which
    /// it is written. Where the store does not let its user see what lies between, each root is watched for itself.
    pub fn together(store: Arc<dyn Datastore>, roots: impl IntoIterator<Item = KeyRange>) -> Self {
        let roots: Vec<KeyRange> = roots.into_iter().collect();
        let hull = hull(&roots);
        Self::of(store, roots, hull)
    }

    fn of(
        store: Arc<dyn Datastore>,
        roots: impl IntoIterator<Item = KeyRange>,
        hull: Option<KeyRange>,
    ) -> Self {
        Self {
            hull,
            listed_at: 0,
            store,
            syncer: Syncer::new(roots),
            watches: SelectAll::new(),
            open: Vec::new(),
            listing: None,
            half: false,
            resyncing: false,
            resyncs: 0,
            awaited: Vec::new(),
            pauses: PAUSES,
            pause: PAUSES.0,
            not_before: None,
            snapshot: None,
        }
    }

    /// The same with other pauses between attempts: the first, doubling up to the longest.
    pub fn with_pauses(mut self, first: Duration, longest: Duration) -> Self {
        self.pauses = (first, longest);
        self.pause = first;
        self
    }

    /// The same with what it tells kept in a file, whole and of one revision, a few seconds late at most. Where the store
    /// does not answer soon after the start, the file is told in its place; what differs follows when the store answers.
    pub fn with_snapshot(mut self, place: SnapshotPlace) -> Self {
        self.snapshot = Some(Snapshot::new(place, self.syncer.roots().map(|(_, range)| range)));
        self
    }

    /// The same with another time that the store has for its first answer.
    pub fn with_patience(mut self, patience: Duration) -> Self {
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.set_patience(patience);
        }
        self
    }

    /// How its snapshot is; nothing where none is kept.
    pub fn snapshot(&self) -> SnapshotStatus {
        self.snapshot.as_ref().map(Snapshot::status).unwrap_or_default()
    }

    /// What is known: status, keys, revisions.
    pub fn syncer(&self) -> &Syncer {
        &self.syncer
    }

    /// Whether the store is being listed: what consumers know may be of before.
    pub fn is_resyncing(&self) -> bool {
        self.resyncing
    }

    /// Times that the store began to be listed: once at the start, and whenever a watch could not go on.
    pub fn resyncs(&self) -> u64 {
        self.resyncs
    }

    /// Whether the store answers.
    pub fn link(&self) -> Option<Link> {
        self.store.link()
    }

    /// Writes of this process, see [`Syncer::wrote`]. When the stream reaches them, [`Follow::next`] says so, even with
    /// nothing to tell.
    pub fn wrote(&mut self, events: impl IntoIterator<Item = Event>) -> Output {
        let events: Vec<Event> = events.into_iter().collect();
        let of = |event: &Event| (event.kv.key.clone(), event.kv.mod_revision);
        let syncer = &self.syncer;
        self.awaited.extend(events.iter().map(of).filter(|(key, at)| syncer.reached(key) < *at));
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.wrote(&events, &self.syncer);
        }
        let output = Output { more: self.half, ..self.syncer.wrote(events) };
        self.record(&output);
        output
    }

    /// Whether consumers were told all that was written up to `revision`: everywhere, where one watch covers all roots, and
    /// else in the root of `key`.
    pub fn has_reached(&self, key: &[u8], revision: Revision) -> bool {
        self.syncer.reached(key) >= revision
    }

    /// Whether the stream has reached a write of this process since it was asked last.
    fn reached(&mut self) -> bool {
        let before = self.awaited.len();
        let syncer = &self.syncer;
        self.awaited.retain(|(key, at)| syncer.reached(key) < *at);
        before != self.awaited.len()
    }

    /// The next changes; waits for them. Nothing is lost when the returned future is dropped.
    pub async fn next(&mut self) -> Output {
        loop {
            if let Some(snapshot) = &self.snapshot {
                snapshot.room().await;
            }
            let look_at = self.snapshot.as_mut().and_then(|snapshot| snapshot.look_at(Instant::now()));
            let step = match look_at {
                Some(at) => timeout_at(at, self.step()).await.ok(),
                None => Some(self.step().await),
            };
            match (step, &mut self.snapshot) {
                (Some(Ok(Some(output))), _) => {
                    self.record(&output);
                    return output;
                }
                (Some(Ok(None)), _) => {}
                (Some(Err(error)), _) => {
                    tracing::warn!(%error, pause = ?self.pause, "cannot follow the datastore, trying again");
                    self.not_before = Some(Instant::now() + self.pause);
                    self.pause = (self.pause * 2).min(self.pauses.1);
                }
                (None, Some(snapshot)) => snapshot.look(&self.syncer),
                (None, None) => {}
            }
        }
    }

    /// What consumers are told goes into the snapshot too.
    fn record(&self, output: &Output) {
        if let Some(snapshot) = &self.snapshot {
            let whole = !output.more && !self.half && self.syncer.status() == Status::InSync;
            snapshot.took(output, whole.then(|| self.syncer.revision()));
        }
    }

    /// The store answers: what it is asked next is asked at once.
    fn answers(&mut self) {
        self.pause = self.pauses.0;
    }

    /// One page of a list, one opened watch, or one message; what there is to tell of it.
    async fn step(&mut self) -> Result<Option<Output>, StoreError> {
        if let Some(told) = self.snapshot.as_mut().and_then(|snapshot| snapshot.tell(&mut self.syncer)) {
            // nothing else has been listed that it could be older than
            let output = told.ok().map(|output| self.half_or_whole(output));
            self.half = output.as_ref().is_some_and(|output| output.more);
            return Ok(output);
        }
        if let Some(at) = self.not_before {
            sleep_until(at).await;
            self.not_before = None;
        }
        if let Some(listing) = &mut self.listing {
            let answer = (&mut listing.request).await;
            return self.page(answer);
        }
        match self.wanted() {
            Some(Ask::List(root, request)) => {
                if !std::mem::replace(&mut self.resyncing, true) {
                    self.resyncs += 1;
                }
                self.ask(root, Pages::new(&request));
                return Ok(None);
            }
            Some(Ask::Watch(watched, range, from)) => {
                self.listed_at = 0;
                let request = WatchRequest { prev_kv: false, ..WatchRequest::new(range, from) };
                let messages = match self.store.watch(request).await {
                    Err(StoreError::Unauthorized(reason)) if watched == Watched::All => {
                        self.watch_each(&reason);
                        return Ok(None);
                    }
                    messages => messages?.map(move |message| (watched, Some(message))),
                };
                self.watches.push(messages.chain(stream::once(async move { (watched, None) })).boxed());
                self.open.push(watched);
                return Ok(None);
            }
            None => {}
        }
        match self.watches.next().await {
            Some((watched, Some(Ok(message)))) => {
                self.answers();
                let output = match watched {
                    Watched::Root(root) => self.syncer.watched(root, message),
                    Watched::All => self.syncer.watched_together(message),
                };
                let reached = !self.awaited.is_empty() && self.reached();
                Ok((reached || !output.changes.is_empty()).then_some(output))
            }
            Some((watched, Some(Err(StoreError::Compacted { .. })))) => {
                match watched {
                    Watched::Root(root) => self.syncer.lost(root),
                    Watched::All => self.syncer.lost_together(),
                }
                Ok(None)
            }
            Some((Watched::All, Some(Err(StoreError::Unauthorized(reason))))) => {
                self.watch_each(&reason);
                Ok(None)
            }
            Some((_, Some(Err(error)))) => Err(error),
            Some((watched, None)) => {
                self.open.retain(|open| *open != watched);
                Ok(None)
            }
            // no roots: nothing will ever come
            None => futures::future::pending().await,
        }
    }

    /// What has to be asked for next, if anything.
    fn wanted(&self) -> Option<Ask> {
        let list = |root, revision| {
            let request = RangeRequest::new(self.syncer.range(root)?.clone());
            Some(Ask::List(root, RangeRequest { revision, ..request }))
        };
        if let Some(hull) = &self.hull {
            return match self.syncer.next_together() {
                _ if self.open.contains(&Watched::All) => None,
                NextTogether::List(root) => list(root, self.listed_at),
                NextTogether::Watch { from } => Some(Ask::Watch(Watched::All, hull.clone(), from)),
            };
        }
        let closed = |(root, _): &(RootId, _)| !self.open.contains(&Watched::Root(*root));
        let (root, range) = self.syncer.roots().find(closed)?;
        match self.syncer.next(root)? {
            Next::List => list(root, 0),
            Next::Watch { from } => Some(Ask::Watch(Watched::Root(root), range.clone(), from)),
        }
    }

    /// One watch for all is not allowed.
    fn watch_each(&mut self, reason: &str) {
        tracing::info!(reason, "what lies between may not be watched: each range is watched for itself");
        self.hull = None;
    }

    /// Asks for the next page of a root's list.
    fn ask(&mut self, root: RootId, pages: Pages) {
        let (store, request) = (Arc::clone(&self.store), pages.next());
        let request = async move { store.range(request).await }.boxed();
        self.listing = Some(Listing { root, pages, request });
    }

    /// Takes a page of the list under way. A list that fails begins anew.
    fn page(&mut self, answer: Result<RangeResponse, StoreError>) -> Result<Option<Output>, StoreError> {
        let Some(Listing { root, mut pages, .. }) = self.listing.take() else { return Ok(None) };
        let first = pages.begins();
        let answer = match answer {
            Ok(answer) => answer,
            // the history its pages are read from is gone
            Err(StoreError::Compacted { .. }) if !first || self.listed_at != 0 => {
                self.listed_at = 0;
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        self.answers();
        // consumers hold a state of which nobody knows what it has to do with this store
        let syncer = &mut self.syncer;
        let again = self.snapshot.as_mut().and_then(|snapshot| snapshot.answered(syncer));
        let last = pages.took(&answer);
        let page = Page { revision: pages.revision(), kvs: answer.kvs, first, last };
        let output = match self.syncer.listed(root, page) {
            Ok(output) => output,
            Err(stale) => {
                // the store answers with its newest state, so it is not the one it was
                tracing::warn!(%stale, "the datastore was replaced or restored, listing everything again");
                self.syncer.store_replaced();
                self.watches = SelectAll::new();
                self.open.clear();
                self.listed_at = 0;
                // until everything is listed, no revision is known to be told
                self.half = true;
                return Ok(Some(Output { more: true, ..Output::default() }));
            }
        };
        let mut output = self.half_or_whole(output);
        let anew = again.is_some();
        output.changes.splice(0..0, again.unwrap_or_default());
        self.resyncing = output.more;
        if last {
            self.listed_at = pages.revision();
        } else {
            self.ask(root, pages);
        }
        let reached = last && self.reached();
        let tell =
            anew || reached || !output.changes.is_empty() || output.became_in_sync || (last && self.half);
        if tell {
            self.half = output.more;
        }
        Ok(tell.then_some(output))
    }

    /// What a list has brought is whole when no other root has to be listed: until then consumers know some roots as they
    /// are and some as they were.
    fn half_or_whole(&self, output: Output) -> Output {
        let wants_list = |(root, _)| self.syncer.next(root) == Some(Next::List);
        Output { more: output.more || self.syncer.roots().any(wants_list), ..output }
    }
}

/// The range from the beginning of the first to the end of the last; `None` where there is none.
fn hull(roots: &[KeyRange]) -> Option<KeyRange> {
    let end = |root: &KeyRange| root.end.clone().unwrap_or_else(|| [&root.key[..], &[0]].concat().into());
    // a single zero byte means "to the last key"
    let open = roots.iter().any(|root| root.end.as_deref() == Some(&[0]));
    let key = roots.iter().map(|root| root.key.clone()).min()?;
    let last = if open { bytes::Bytes::from_static(&[0]) } else { roots.iter().map(end).max()? };
    Some(KeyRange { key, end: Some(last) })
}
