//! A memory store with somebody between it and who asks: for tests of lost races, refusals and lost answers.

use super::MemoryStore;
use crate::{Datastore, StoreError};
use futures::future::{BoxFuture, FutureExt};
use futures::stream::BoxStream;
use mvcc::{Op, RangeRequest, RangeResponse, Txn, TxnResponse, WatchRequest, WatchResponse};

/// What a request is, as far as who disturbs wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A range, or a transaction that only reads.
    Read,
    /// A transaction that may write.
    Write,
}

/// What becomes of a request.
#[derive(Debug, Clone)]
pub enum Fate {
    /// Carried out and answered.
    Answered,
    /// Not carried out; this is the answer.
    Refused(StoreError),
    /// Carried out; this is the answer.
    Lost(StoreError),
}

type Disturb = dyn Fn(Asked) -> BoxFuture<'static, Fate> + Send + Sync;

/// A store that asks somebody before every range and transaction. What they do until their future ends happens before
/// the request.
pub struct Disturbed {
    inner: MemoryStore,
    disturb: Box<Disturb>,
}

impl Disturbed {
    /// Stands before `inner`.
    pub fn new(
        inner: MemoryStore,
        disturb: impl Fn(Asked) -> BoxFuture<'static, Fate> + Send + Sync + 'static,
    ) -> Self {
        Self { inner, disturb: Box::new(disturb) }
    }

    /// The request is begun only when its fate is known: the memory store carries out what it is called for at once.
    async fn meet<'a, T>(
        &self,
        asked: Asked,
        request: impl FnOnce() -> BoxFuture<'a, Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match (self.disturb)(asked).await {
            Fate::Answered => request().await,
            Fate::Refused(error) => Err(error),
            Fate::Lost(error) => request().await.and(Err(error)),
        }
    }
}

impl Datastore for Disturbed {
    fn range(&self, request: RangeRequest) -> BoxFuture<'_, Result<RangeResponse, StoreError>> {
        self.meet(Asked::Read, move || self.inner.range(request)).boxed()
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnResponse, StoreError>> {
        let writes = txn.success.iter().chain(&txn.failure).any(|op| !matches!(op, Op::Range(_)));
        let asked = if writes { Asked::Write } else { Asked::Read };
        self.meet(asked, move || self.inner.txn(txn)).boxed()
    }

    fn watch(
        &self,
        request: WatchRequest,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<WatchResponse, StoreError>>, StoreError>> {
        self.inner.watch(request)
    }

    fn lease_grant(&self, ttl: i64) -> BoxFuture<'_, Result<i64, StoreError>> {
        self.inner.lease_grant(ttl)
    }
}
