//! A revisioned key-value store: transactions, watches, compaction, leases.
//!
//! It is etcd v3's data model as a plain value: [`Store`] takes requests and gives answers, does nothing by itself
//! and knows no clock, so the same calls always give the same store. Three things are built on it: the memory
//! backend of `lib/datastore`, the simulator that tests address management, and the embedded datastore.
//!
//! * [`types`](crate::Txn) is the vocabulary: etcd's requests and answers as data, shared by every backend.
//! * [`Store`] is an index from key to the history of its revisions, plus a log of which keys each revision changed.
//!   A read at a revision is a binary search a key; a watch ([`Watcher`]) is a cursor over the log; compaction cuts
//!   both from the front and costs as much as was written since the last one.
//! * Leases live in virtual time: whoever owns the store passes `now` and calls [`Store::expire_leases`].
//!
//! * [`Record`]s are the store in pieces that can be kept elsewhere: the writes after a revision, and a store from them.
//!
//! Values are [`bytes::Bytes`]: answers share them with the index.

mod check;
mod error;
mod history;
mod lease;
mod read;
mod records;
mod store;
mod types;
mod watch;

pub use error::Error;
pub use lease::LeaseInfo;
pub use records::{Forgotten, LeaseRecord, Record};
pub use store::{Limits, Store};
pub use types::*;
pub use watch::Watcher;

#[cfg(test)]
mod tests;
