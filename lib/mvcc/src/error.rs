//! Why the store refuses a request; texts are etcd's, so that both backends read alike.

use crate::Revision;

/// A refused request. The store is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The revision is older than the last compaction.
    #[error("etcdserver: mvcc: required revision has been compacted")]
    Compacted {
        /// Oldest revision that can still be read.
        oldest: Revision,
    },
    /// The revision has not happened yet.
    #[error("etcdserver: mvcc: required revision is a future revision")]
    FutureRevision {
        /// The store's newest revision.
        newest: Revision,
    },
    /// A transaction would change one key twice.
    #[error("etcdserver: duplicate key given in txn request")]
    DuplicateKey,
    /// More operations or comparisons than [`Limits::max_txn_ops`](crate::Limits::max_txn_ops).
    #[error("etcdserver: too many operations in txn request")]
    TooManyOps,
    /// A request without a key.
    #[error("etcdserver: key is not provided")]
    EmptyKey,
    /// `ignore_value` together with a value.
    #[error("etcdserver: value is provided")]
    ValueProvided,
    /// `ignore_lease` together with a lease.
    #[error("etcdserver: lease is provided")]
    LeaseProvided,
    /// `ignore_value` or `ignore_lease` for a key that does not exist.
    #[error("etcdserver: key not found")]
    KeyNotFound,
    /// No such lease, or it has run out.
    #[error("etcdserver: requested lease not found")]
    LeaseNotFound,
    /// The lease id asked for is taken.
    #[error("etcdserver: lease already exists")]
    LeaseExists,
    /// A time to live beyond etcd's 9 000 000 000 s.
    #[error("etcdserver: too large lease TTL")]
    LeaseTtlTooLarge,
}
