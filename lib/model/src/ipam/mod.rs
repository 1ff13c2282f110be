//! What the address manager stores: blocks, affinities, handles and its settings, as JSON.
//!
//! These are the stored forms and nothing else: what may be done with them is decided in `ipam/plan`.
//! Fields we do not know survive a read and a write (`rest`); fields that only old releases wrote are read, where
//! they still mean something, and not written again. Source: `datamodel.md` §4 of the contract.

mod affinity;
mod block;
mod config;
mod handle;
mod time;

pub use affinity::{AffinityState, BlockAffinity};
pub use block::{AllocationBlock, Attribute};
pub use config::{IpamConfig, VmAddressPersistence};
pub use handle::Handle;
pub use time::{go_time_text, rfc3339_seconds};

use crate::key::Key;
use crate::resource::StoredError;
use serde::Serialize;

/// Reads a stored value of which zero bytes, as old releases wrote them, mean the default.
fn read_or_default<T: serde::de::DeserializeOwned + Default>(
    key: &Key,
    value: &[u8],
) -> Result<T, StoredError> {
    if value.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(value).map_err(|e| unreadable(key, &e))
}

fn unreadable(key: &Key, error: &serde_json::Error) -> StoredError {
    StoredError { key: key.path(), reason: error.to_string() }
}

/// The bytes to store; these types hold nothing JSON cannot say, so an empty answer never happens.
fn to_bytes(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

#[cfg(test)]
mod tests;
