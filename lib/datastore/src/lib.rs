//! The `Datastore` trait and its backends: memory (on `lib/mvcc`) and etcd v3.

mod api;
pub mod memory;

pub use api::*;
