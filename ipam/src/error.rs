//! Why an operation failed.

use datastore::StoreError;
use ipam_plan::PlanError;

/// Why an operation of the address manager failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IpamError {
    /// The address manager refused; nothing was written unless the operation says otherwise.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The store could not be asked. When it became unreachable during a write, the write may have happened: release
    /// what the request's handle may have got.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl IpamError {
    /// The refusal, if it is one.
    pub fn refusal(&self) -> Option<&PlanError> {
        match self {
            IpamError::Plan(refusal) => Some(refusal),
            IpamError::Store(_) => None,
        }
    }
}
