//! The memory backend: `lib/mvcc` behind the trait, for tests and simulations.
//!
//! Time is tokio's, so that a test with paused time controls the leases.

mod disturbed;

pub use disturbed::{Asked, Disturbed, Fate};

use crate::{Datastore, StoreError};
use futures::future::{self, BoxFuture, FutureExt};
use futures::stream::{self, BoxStream, StreamExt};
use mvcc::{
    RangeRequest, RangeResponse, Revision, Store, Txn, TxnResponse, WatchRequest, WatchResponse, Watcher,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio::time::Instant;

/// How many events one message of a watch carries at most, whole revisions apart.
const BATCH: usize = 1000;

/// A store in memory; clones share it.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Mutex<Store>,
    /// The newest revision, for watchers to wait on; a compaction and a new lease wake them too.
    changed: watch::Sender<Revision>,
    origin: Instant,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store with etcd's limits.
    pub fn new() -> Self {
        Self::with(Store::new())
    }

    /// A store that goes on from what `store` holds; its leases' time starts now.
    pub fn with(store: Store) -> Self {
        let (changed, _) = watch::channel(store.revision());
        Self { shared: Arc::new(Shared { store: Mutex::new(store), changed, origin: Instant::now() }) }
    }

    /// Forgets the history before `revision`.
    pub fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        self.shared.change(|store| store.compact(revision).map(drop)).map_err(StoreError::from)
    }

    /// Runs `look` on the store itself, for what the trait does not offer.
    pub fn inspect<T>(&self, look: impl FnOnce(&Store) -> T) -> T {
        look(&self.shared.current())
    }
}

impl Shared {
    /// The store after leases that ran out have gone.
    fn current(&self) -> MutexGuard<'_, Store> {
        // a panic elsewhere cannot leave the store half changed: its requests happen as a whole
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        if !store.expire_leases(self.origin.elapsed()).is_empty() {
            self.changed.send_replace(store.revision());
        }
        store
    }

    fn change<T>(&self, work: impl FnOnce(&mut Store) -> T) -> T {
        let mut store = self.current();
        let result = work(&mut store);
        self.changed.send_replace(store.revision());
        result
    }

    /// Waits until something may have changed, be it that a lease runs out.
    async fn wait(&self, news: &mut watch::Receiver<Revision>) {
        let expiry = self.current().next_expiry();
        let due = async {
            match expiry {
                Some(at) => tokio::time::sleep_until(self.origin + at).await,
                None => future::pending().await,
            }
        };
        tokio::select! {
            // the sender lives in `self`
            _ = news.changed() => {}
            () = due => {}
        }
    }

    /// The next message of a watch; waits for it.
    async fn next(
        &self,
        watcher: &mut Watcher,
        news: &mut watch::Receiver<Revision>,
    ) -> Result<WatchResponse, StoreError> {
        loop {
            news.mark_unchanged();
            if let Some(response) = self.current().poll(watcher, BATCH)? {
                return Ok(response);
            }
            self.wait(news).await;
        }
    }
}

impl Datastore for MemoryStore {
    fn range(&self, request: RangeRequest) -> BoxFuture<'_, Result<RangeResponse, StoreError>> {
        async move { Ok(self.shared.current().range(&request)?) }.boxed()
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnResponse, StoreError>> {
        async move { Ok(self.shared.change(|store| store.txn(&txn))?) }.boxed()
    }

    fn watch(
        &self,
        request: WatchRequest,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<WatchResponse, StoreError>>, StoreError>> {
        async move {
            let shared = Arc::clone(&self.shared);
            let news = shared.changed.subscribe();
            let watcher = shared.current().watch(request);
            let stream = stream::unfold(Some((shared, watcher, news)), |state| async move {
                let (shared, mut watcher, mut news) = state?;
                match shared.next(&mut watcher, &mut news).await {
                    Ok(response) => Some((Ok(response), Some((shared, watcher, news)))),
                    Err(error) => Some((Err(error), None)),
                }
            });
            Ok(stream.boxed())
        }
        .boxed()
    }

    fn lease_grant(&self, ttl: i64) -> BoxFuture<'_, Result<i64, StoreError>> {
        async move {
            let now = self.shared.origin.elapsed();
            let (id, _) = self.shared.change(|store| store.lease_grant(0, ttl, now))?;
            Ok(id)
        }
        .boxed()
    }
}
