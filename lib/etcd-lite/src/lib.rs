//! An etcd of one: etcd v3's gRPC services and durable storage round the revisioned store of `lib/mvcc`.
//!
//! * [`Server`] opens a data directory and answers: over sockets with [`Server::serve`], in the same process with
//!   [`Server::client`]. It is what `ocicat datastore` runs, and what an agent that brings its own store embeds.
//! * `engine` is the store and what belongs to it; it has one owner at a time. `jobs` are the way there: a batch of them is one
//!   durable commit, answers follow the commit. `disk` is that commit: first into the `log` (`medium` is its file), then, many together, into one
//!   redb file; `load` reads it, `rows` are its bytes.
//! * `hub` and `outbox` are watches: events are computed and encoded once for all that see the same; `waking` tells the streams.
//! * `kv`, `watch`, `lease`, `maintenance`, `cluster`, `auth` are etcd's services, `gateway` its plain HTTP, `metrics` what that tells
//!   operators, `dispatch`
//!   the way to them, `authority` what old clients of etcd need before that, `gather` what makes few writes of many.
//! * [`backup`] is a store in one file, which a snapshot is too. [`transfer`] copies between any two etcds.

mod auth;
mod authority;
pub mod backup;
mod cluster;
mod convert;
mod disk;
mod dispatch;
mod engine;
mod gateway;
mod gather;
mod hub;
mod jobs;
mod kv;
mod lease;
mod load;
mod log;
mod maintenance;
mod medium;
mod metrics;
mod outbox;
mod refusal;
mod rows;
mod server;
pub mod transfer;
mod waking;
mod watch;

pub use auth::Users;
pub use disk::DiskError;
pub use server::{DirectoryLock, Options, Server, ServerError, Tls};

#[cfg(test)]
mod tests;
