//! Following the store: the I/O around a [`Syncer`].
//!
//! Lists what has to be listed, keeps a watch a root open, and answers compaction, broken streams and replaced stores
//! with a new list or a new watch. It never gives up and never fails: a store that is away only means that nothing
//! comes, while consumers keep the last consistent state.

use crate::pages::Pages;
use crate::{Datastore, StoreError};
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, BoxStream, SelectAll, StreamExt};
use mvcc::{Event, KeyRange, RangeRequest, RangeResponse, WatchRequest, WatchResponse};
use std::sync::Arc;
use std::time::Duration;
use syncer::{Next, Output, Page, RootId, Syncer};

/// Pauses between attempts, doubling from the first to the longest, unless the caller says otherwise.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// A watch's message, or `None` when its stream ended.
type Message = (RootId, Option<Result<WatchResponse, StoreError>>);

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
    /// Roots whose watch is open.
    open: Vec<RootId>,
    /// The list under way; its request goes on while nobody waits for it.
    listing: Option<Listing>,
    /// Consumers were told part of a list, and not yet the rest.
    half: bool,
    /// First and longest pause, and the next one.
    pauses: (Duration, Duration),
    pause: Duration,
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
        Self {
            store,
            syncer: Syncer::new(roots),
            watches: SelectAll::new(),
            open: Vec::new(),
            listing: None,
            half: false,
            pauses: PAUSES,
            pause: PAUSES.0,
        }
    }

    /// The same with other pauses between attempts: the first, doubling up to the longest.
    pub fn with_pauses(mut self, first: Duration, longest: Duration) -> Self {
        self.pauses = (first, longest);
        self.pause = first;
        self
    }

    /// What is known: status, keys, revisions.
    pub fn syncer(&self) -> &Syncer {
        &self.syncer
    }

    /// Writes of this process, see [`Syncer::wrote`].
    pub fn wrote(&mut self, events: impl IntoIterator<Item = Event>) -> Output {
        Output { more: self.half, ..self.syncer.wrote(events) }
    }

    /// The next changes; waits for them. Nothing is lost when the returned future is dropped.
    pub async fn next(&mut self) -> Output {
        loop {
            match self.step().await {
                Ok(output) => {
                    self.pause = self.pauses.0;
                    if let Some(output) = output {
                        return output;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, pause = ?self.pause, "cannot follow the datastore, trying again");
                    let pause = self.pause;
                    self.pause = (pause * 2).min(self.pauses.1);
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// One page of a list, one opened watch, or one message; what there is to tell of it.
    async fn step(&mut self) -> Result<Option<Output>, StoreError> {
        if let Some(listing) = &mut self.listing {
            let answer = (&mut listing.request).await;
            return self.page(answer);
        }
        let waiting = self.syncer.roots().find(|(root, _)| !self.open.contains(root));
        if let Some((root, range)) = waiting {
            let range = range.clone();
            match self.syncer.next(root) {
                Some(Next::Watch { from }) => {
                    let messages = self.store.watch(WatchRequest::new(range, from)).await?;
                    let messages = messages.map(move |message| (root, Some(message)));
                    self.watches.push(messages.chain(stream::once(async move { (root, None) })).boxed());
                    self.open.push(root);
                }
                _ => self.ask(root, Pages::new(&RangeRequest::new(range))),
            }
            return Ok(None);
        }
        match self.watches.next().await {
            Some((root, Some(Ok(message)))) => {
                let output = self.syncer.watched(root, message);
                Ok((!output.changes.is_empty()).then_some(output))
            }
            Some((root, Some(Err(StoreError::Compacted { .. })))) => {
                self.syncer.lost(root);
                Ok(None)
            }
            Some((_, Some(Err(error)))) => Err(error),
            Some((root, None)) => {
                self.open.retain(|open| *open != root);
                Ok(None)
            }
            // no roots: nothing will ever come
            None => futures::future::pending().await,
        }
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
            Err(StoreError::Compacted { .. }) if !first => return Ok(None),
            Err(error) => return Err(error),
        };
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
                return Ok(None);
            }
        };
        if !last {
            self.ask(root, pages);
        }
        let tell = !output.changes.is_empty() || output.became_in_sync || (last && self.half);
        if tell {
            self.half = output.more;
        }
        Ok(tell.then_some(output))
    }
}
