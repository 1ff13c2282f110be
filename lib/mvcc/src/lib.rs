//! A revisioned key-value store: transactions, watches, compaction, leases.
//!
//! Pure: no runtime, socket, file, clock or environment. `types` is etcd v3's vocabulary as data.

mod types;
pub use types::*;
