//! The `Datastore` trait, its backends, and what every part of the program does with them.
//!
//! Three layers, each usable alone:
//!
//! * **Pairs.** [`Datastore`] is etcd's vocabulary (`lib/mvcc`) as an object-safe trait: ranges, transactions, watches,
//!   leases. Backends: [`memory::MemoryStore`] for tests and simulations, [`etcd::EtcdStore`] for clusters; both run one
//!   behaviour suite. [`directory::DirectoryStore`] shows files and is only read. [`connect`] makes the one that a [`ConnectConfig`] describes.
//! * **Resources.** [`Client`] creates, reads, updates and deletes `projectcalico.org/v3` resources with Calico's
//!   transactions, rules and errors. Its pieces are public, so that other parts can put several objects into one
//!   transaction: [`codec`] for the stored form, [`prepare_create`] and [`prepare_update`] for one write.
//! * **State.** [`Follow`] lists and watches some roots through `lib/syncer` and yields one consistent stream; with a [`SnapshotPlace`]
//!   also where the store does not answer.
//!
//! A check that looks at other objects (does the tier exist, do pools overlap) is a condition of the write's own
//! transaction: two writers cannot pass it together.

mod api;
mod authorities;
mod bootstrap;
mod client;
pub mod codec;
mod config;
pub mod directory;
mod error;
pub mod etcd;
mod follow;
mod guard;
mod link;
pub mod memory;
mod pages;
mod prepare;
mod rules;
mod snapshot;

pub use api::*;
pub use authorities::system_authorities;
pub use bootstrap::{Bootstrap, CLUSTER_INFORMATION};
pub use client::{Client, DeleteOptions, ListOptions, ResourceList};
pub use config::{ConnectConfig, ConnectError, DEFAULT_TIMEOUT, connect};
pub use error::{ClientError, identity, identity_of, parse_revision};
pub use follow::Follow;
pub use link::Link;
pub use prepare::{Prepared, prepare_create, prepare_update};
pub use rules::{DEFAULT_ALLOW_PROFILE, endpoint_name, tier_of};
pub use snapshot::{SnapshotPlace, SnapshotStatus, Taken};
