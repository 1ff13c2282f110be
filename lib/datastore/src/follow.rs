//! Following the store: the I/O around a [`Syncer`].
//!
//! Lists what has to be listed, keeps a watch a root open, and answers compaction, broken streams and replaced stores
//! with a new list or a new watch. It never gives up and never fails: a store that is away only means that nothing
//! comes, while consumers keep the last consistent state.

use crate::{Datastore, StoreError};
use futures::stream::{self, BoxStream, SelectAll, StreamExt};
use mvcc::{Event, KeyRange, RangeRequest, WatchRequest, WatchResponse};
use std::sync::Arc;
use std::time::Duration;
use syncer::{Next, Output, RootId, Syncer};

/// Pauses between attempts, doubling from the first to the longest, unless the caller says otherwise.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// A watch's message, or `None` when its stream ended.
type Message = (RootId, Option<Result<WatchResponse, StoreError>>);

/// A consistent stream of what changes under some roots.
pub struct Follow {
    store: Arc<dyn Datastore>,
    syncer: Syncer,
    watches: SelectAll<BoxStream<'static, Message>>,
    /// Roots whose watch is open.
    open: Vec<RootId>,
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
        self.syncer.wrote(events)
    }

    /// The next changes; waits for them. Nothing is lost when the returned future is dropped.
    pub async fn next(&mut self) -> Output {
        loop {
            match self.step().await {
                Ok(output) => {
                    self.pause = self.pauses.0;
                    if output != Output::default() {
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

    /// One list, one opened watch, or one message.
    async fn step(&mut self) -> Result<Output, StoreError> {
        let waiting = self.syncer.roots().find(|(root, _)| !self.open.contains(root));
        if let Some((root, range)) = waiting {
            let range = range.clone();
            return match self.syncer.next(root) {
                Some(Next::Watch { from }) => {
                    let messages = self.store.watch(WatchRequest::new(range, from)).await?;
                    let messages = messages.map(move |message| (root, Some(message)));
                    self.watches.push(messages.chain(stream::once(async move { (root, None) })).boxed());
                    self.open.push(root);
                    Ok(Output::default())
                }
                _ => self.list(root, range).await,
            };
        }
        match self.watches.next().await {
            Some((root, Some(Ok(message)))) => Ok(self.syncer.watched(root, message)),
            Some((root, Some(Err(StoreError::Compacted { .. })))) => {
                self.syncer.lost(root);
                Ok(Output::default())
            }
            Some((_, Some(Err(error)))) => Err(error),
            Some((root, None)) => {
                self.open.retain(|open| *open != root);
                Ok(Output::default())
            }
            // no roots: nothing will ever come
            None => futures::future::pending().await,
        }
    }

    async fn list(&mut self, root: RootId, range: KeyRange) -> Result<Output, StoreError> {
        let answer = self.store.range(RangeRequest::new(range)).await?;
        match self.syncer.listed(root, answer.revision, answer.kvs) {
            Ok(output) => Ok(output),
            Err(stale) => {
                // the store answers with its newest state, so it is not the one it was
                tracing::warn!(%stale, "the datastore was replaced or restored, listing everything again");
                self.syncer.store_replaced();
                self.watches = SelectAll::new();
                self.open.clear();
                Ok(Output::default())
            }
        }
    }
}
