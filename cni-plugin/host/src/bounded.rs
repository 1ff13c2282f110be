//! Nothing is waited for without an end.

use cni_protocol::{CniError, StoreTrouble};
use datastore::StoreError;
use ipam::IpamError;
use std::future::Future;
use std::time::Duration;

/// One request to the datastore, its connection included.
pub(crate) const STORE: Duration = Duration::from_secs(15);
/// Assigning or releasing addresses, once the host's lock is held (`ipam.md` §9 of the contract).
pub(crate) const IPAM: Duration = Duration::from_secs(90);
/// Work inside a network namespace (`cni.md` §8 of the contract).
pub(crate) const KERNEL: Duration = Duration::from_secs(20);
/// Another IPAM plugin.
pub(crate) const PLUGIN: Duration = Duration::from_secs(60);
/// One undo of a failed ADD.
pub(crate) const UNDO: Duration = Duration::from_secs(15);

/// Waits for the datastore as long as [`STORE`].
///
/// # Errors
/// Those of `work`, and one that says that it is away.
pub(crate) async fn by_store<T>(
    what: &str,
    work: impl Future<Output = Result<T, CniError>>,
) -> Result<T, CniError> {
    match tokio::time::timeout(STORE, work).await {
        Ok(result) => result,
        Err(_) => Err(took_too_long(STORE, what).with_store(StoreTrouble::Away)),
    }
}

/// A failure of the datastore, in `words`.
pub(crate) fn store_failed(error: &StoreError, words: impl std::fmt::Display) -> CniError {
    let away = matches!(error, StoreError::Unavailable(_));
    CniError::internal(words).with_store(if away { StoreTrouble::Away } else { StoreTrouble::None })
}

/// A failure of the address manager, in `words`.
pub(crate) fn ipam_failed(error: &IpamError, words: impl std::fmt::Display) -> CniError {
    match error {
        IpamError::Store(error) => store_failed(error, words),
        IpamError::Plan(_) => CniError::internal(words),
    }
}

fn took_too_long(limit: Duration, what: &str) -> CniError {
    CniError::internal(format!("{what} took longer than {} s", limit.as_secs()))
}

/// Waits for `work` as long as `limit`.
///
/// # Errors
/// Those of `work`, and one that says what took too long.
pub(crate) async fn within<T>(
    limit: Duration,
    what: &str,
    work: impl Future<Output = Result<T, CniError>>,
) -> Result<T, CniError> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(took_too_long(limit, what)),
    }
}
