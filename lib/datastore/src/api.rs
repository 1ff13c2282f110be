//! The trait every backend implements.

use crate::Link;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use mvcc::{RangeRequest, RangeResponse, Txn, TxnResponse, WatchRequest, WatchResponse};

/// Why a request to the store failed.
///
/// What a transaction's conditions refuse is not an error: it is `TxnResponse::succeeded == false`.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// No endpoint answered in time. A write may or may not have happened.
    #[error("datastore unavailable: {0}")]
    Unavailable(String),
    /// Wrong or missing credentials.
    #[error("connection is unauthorized: {0}")]
    Unauthorized(String),
    /// The revision asked for has been compacted away.
    #[error("required revision has been compacted")]
    Compacted {
        /// Oldest revision that can still be read; 0 where the server does not say.
        revision: i64,
    },
    /// More operations than the server takes in one transaction.
    #[error("etcdserver: too many operations in txn request")]
    TooManyOps,
    /// Anything else the server said; final, not worth a retry.
    #[error("{0}")]
    Server(String),
}

impl From<mvcc::Error> for StoreError {
    fn from(error: mvcc::Error) -> Self {
        match error {
            mvcc::Error::Compacted { oldest } => StoreError::Compacted { revision: oldest },
            mvcc::Error::TooManyOps => StoreError::TooManyOps,
            other => StoreError::Server(other.to_string()),
        }
    }
}

/// A revisioned key-value store with transactions and watches.
///
/// Cancel-safe only in the sense that a dropped write may still happen, as with `Unavailable`.
pub trait Datastore: Send + Sync + 'static {
    /// Reads one range. Large ranges are paged at one revision by the backend.
    fn range(&self, request: RangeRequest) -> BoxFuture<'_, Result<RangeResponse, StoreError>>;

    /// Runs one transaction; `Txn::reads` gives several reads at one revision in one request.
    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnResponse, StoreError>>;

    /// Follows a range from a revision. The stream ends after the first error; a compacted start is
    /// `StoreError::Compacted`. Reconnects are the backend's business: no event is lost or doubled.
    fn watch(
        &self,
        request: WatchRequest,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<WatchResponse, StoreError>>, StoreError>>;

    /// Grants a lease of `ttl` seconds and returns its id.
    fn lease_grant(&self, ttl: i64) -> BoxFuture<'_, Result<i64, StoreError>>;

    /// Whether it answers; `None` of one that cannot be away.
    fn link(&self) -> Option<Link> {
        None
    }
}
