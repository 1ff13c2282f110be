//! A release of addresses that begins with reading and does not write before it may: not before the container is cut off. What it
//! writes then takes the endpoint along, so that both are released at once, in one request.

use datastore::{Datastore, StoreError};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use mvcc::{Op, OpResponse, RangeRequest, RangeResponse, Txn, TxnResponse, WatchRequest, WatchResponse};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// What writes may do.
enum Way {
    /// Wait.
    Closed,
    /// Go on, with this done along with them.
    Open(Option<Txn>),
    /// Nothing.
    Shut,
}

/// A datastore whose writes wait. Clones share the gate.
#[derive(Clone)]
pub(super) struct Gated(Arc<Inner>);

struct Inner {
    store: Arc<dyn Datastore>,
    way: watch::Sender<Way>,
    done: AtomicBool,
}

impl Gated {
    /// A closed gate before `store`.
    pub(super) fn new(store: Arc<dyn Datastore>) -> Self {
        let way = watch::Sender::new(Way::Closed);
        Self(Arc::new(Inner { store, way, done: AtomicBool::new(false) }))
    }

    /// Lets writes go on; `along` is done in the same transaction as each, whatever comes of it.
    pub(super) fn open(&self, along: Option<Txn>) {
        self.0.way.send_replace(Way::Open(along));
    }

    /// Lets no write through.
    pub(super) fn shut(&self) {
        self.0.way.send_replace(Way::Shut);
    }

    /// Whether what was to be done along has succeeded.
    pub(super) fn did_along(&self) -> bool {
        self.0.done.load(Ordering::SeqCst)
    }

    /// Waits until it is known what writes may do: what is to be done along with them; `None` of a gate that is shut.
    pub(super) async fn opened(&self) -> Option<Option<Txn>> {
        let mut ways = self.0.way.subscribe();
        match ways.wait_for(|way| !matches!(way, Way::Closed)).await.as_deref() {
            Ok(Way::Open(along)) => Some(along.clone()),
            _ => None,
        }
    }

    /// What was to be done along was done, by another way.
    pub(super) fn done_along(&self) {
        self.0.done.store(true, Ordering::SeqCst);
    }

    async fn write(&self, mut txn: Txn) -> Result<TxnResponse, StoreError> {
        let Some(along) = self.opened().await else {
            return Err(StoreError::Server("nothing is released before the container is cut off".into()));
        };
        let more = along.is_some();
        txn.success.extend(along.map(|txn| Op::Txn(Box::new(txn))));
        let mut answer = self.0.store.txn(txn).await?;
        if more && answer.succeeded {
            let succeeded = matches!(answer.responses.pop(), Some(OpResponse::Txn(along)) if along.succeeded);
            self.0.done.fetch_or(succeeded, Ordering::SeqCst);
        }
        Ok(answer)
    }
}

impl Datastore for Gated {
    fn range(&self, request: RangeRequest) -> BoxFuture<'_, Result<RangeResponse, StoreError>> {
        self.0.store.range(request)
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnResponse, StoreError>> {
        let reads = txn.success.iter().chain(&txn.failure).all(|op| matches!(op, Op::Range(_)));
        if reads { self.0.store.txn(txn) } else { Box::pin(self.write(txn)) }
    }

    fn watch(
        &self,
        request: WatchRequest,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<WatchResponse, StoreError>>, StoreError>> {
        self.0.store.watch(request)
    }

    fn lease_grant(&self, ttl: i64) -> BoxFuture<'_, Result<i64, StoreError>> {
        self.0.store.lease_grant(ttl)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datastore::memory::MemoryStore;
    use futures::FutureExt;
    use mvcc::{DeleteRequest, PutRequest};

    fn put(key: &'static str) -> Txn {
        Txn { success: vec![Op::Put(PutRequest::new(key, "v"))], ..Txn::default() }
    }

    async fn keys(store: &MemoryStore) -> Vec<bytes::Bytes> {
        let all = store.range(RangeRequest::prefix("/")).await.unwrap();
        all.kvs.into_iter().map(|pair| pair.key).collect()
    }

    #[tokio::test]
    async fn writes_wait_and_take_something_along() {
        let store = MemoryStore::new();
        store.txn(put("/endpoint")).await.unwrap();
        let gated = Gated::new(Arc::new(store.clone()));
        assert!(gated.txn(Txn::reads(vec![RangeRequest::key("/endpoint")])).now_or_never().is_some());
        let mut writing = gated.txn(put("/block"));
        assert!(writing.as_mut().now_or_never().is_none());
        assert_eq!(keys(&store).await, ["/endpoint"]);
        let along = Txn { success: vec![Op::Delete(DeleteRequest::key("/endpoint"))], ..Txn::default() };
        gated.open(Some(along));
        let answer = writing.await.unwrap();
        assert_eq!(answer.responses.len(), 1, "what was not asked for is not answered");
        assert!(gated.did_along());
        assert_eq!(keys(&store).await, ["/block"]);
    }

    #[tokio::test]
    async fn what_cannot_be_done_along_does_not_hold_up_the_rest() {
        let store = MemoryStore::new();
        let gated = Gated::new(Arc::new(store.clone()));
        let never = mvcc::Compare::mod_revision("/endpoint", 77);
        gated.open(Some(Txn { compare: vec![never], ..put("/other") }));
        gated.txn(put("/block")).await.unwrap();
        assert!(!gated.did_along());
        assert_eq!(keys(&store).await, ["/block"]);
    }

    #[tokio::test]
    async fn nothing_passes_a_gate_that_is_shut() {
        let store = MemoryStore::new();
        let gated = Gated::new(Arc::new(store.clone()));
        let writing = gated.txn(put("/block"));
        gated.shut();
        assert!(writing.await.is_err());
        assert!(keys(&store).await.is_empty());
    }
}
