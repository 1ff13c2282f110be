//! The `Datastore` trait and its backends: memory (on `lib/mvcc`) and etcd v3.

mod api;
mod bootstrap;
mod client;
pub mod codec;
mod config;
mod error;
pub mod etcd;
mod guard;
pub mod memory;
mod prepare;
mod rules;

pub use api::*;
pub use bootstrap::{Bootstrap, CLUSTER_INFORMATION};
pub use client::{Client, DeleteOptions, ListOptions, ResourceList};
pub use config::{ConnectConfig, ConnectError, DEFAULT_TIMEOUT, connect};
pub use error::{ClientError, identity, identity_of, parse_revision};
pub use prepare::{Prepared, prepare_create, prepare_update};
pub use rules::{DEFAULT_ALLOW_PROFILE, endpoint_name, tier_of};
