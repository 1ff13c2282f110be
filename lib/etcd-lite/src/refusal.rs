//! Why a request is refused: etcd's codes and texts, because clients read them.

use tonic::{Code, Status};

/// A refused request. The store is unchanged.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Refusal {
    /// By the revisioned store.
    #[error(transparent)]
    Store(#[from] mvcc::Error),
    /// No space on the disk, or the quota is used up.
    #[error("etcdserver: mvcc: database space exceeded")]
    NoSpace,
    /// Larger than a request may be.
    #[error("etcdserver: request is too large")]
    TooLarge,
    /// An operation of a transaction that is none.
    #[error("etcdserver: key not found")]
    EmptyOperation,
    /// The disk does not take what it should: the request may not be relied on.
    #[error("etcdserver: storage failed: {0}")]
    Storage(String),
    /// The server is ending.
    #[error("etcdserver: server stopped")]
    Stopped,
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Status {
        use mvcc::Error;
        let code = match &refusal {
            Refusal::Store(error) => match error {
                Error::Compacted { .. } | Error::FutureRevision { .. } | Error::LeaseTtlTooLarge => {
                    Code::OutOfRange
                }
                Error::LeaseNotFound => Code::NotFound,
                Error::LeaseExists => Code::FailedPrecondition,
                Error::DuplicateKey
                | Error::TooManyOps
                | Error::EmptyKey
                | Error::ValueProvided
                | Error::LeaseProvided
                | Error::KeyNotFound => Code::InvalidArgument,
            },
            Refusal::NoSpace => Code::ResourceExhausted,
            Refusal::TooLarge | Refusal::EmptyOperation => Code::InvalidArgument,
            Refusal::Storage(_) | Refusal::Stopped => Code::Unavailable,
        };
        Status::new(code, refusal.to_string())
    }
}
