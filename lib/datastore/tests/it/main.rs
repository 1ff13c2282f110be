//! The backends against one behaviour suite, and etcd's own matters: TLS, users, failures.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

extern crate ocicat_datastore as datastore;

mod behaviour;
mod client;
mod codec;
mod differential;
mod directory;
mod discovery;
mod etcd;
mod failures;
mod follow;
mod golden;
mod memory;
mod races;
mod security;
mod snapshot;

use datastore::etcd::{EtcdOptions, EtcdStore};
use datastore::memory::MemoryStore;
use datastore::{Client, Datastore};
use mvcc::{Event, EventKind, KeyValue, Revision};
use std::sync::Arc;
use std::time::Duration;

/// A backend under test, with what it needs to live.
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) store: Arc<dyn Datastore>,
    compact: Box<dyn Fn(i64) + Send + Sync>,
}

impl Subject {
    pub(crate) fn client(&self) -> Client {
        Client::new(Arc::clone(&self.store))
    }

    /// Forgets the history before `revision`.
    pub(crate) fn compact(&self, revision: i64) {
        (self.compact)(revision);
    }
}

/// Both backends, empty.
pub(crate) fn subjects() -> Vec<Subject> {
    let memory = MemoryStore::new();
    let server = etcd::Etcd::start();
    let store = connect(&server);
    vec![
        Subject {
            name: "memory",
            store: Arc::new(memory.clone()),
            compact: Box::new(move |revision| memory.compact(revision).unwrap()),
        },
        Subject {
            name: "etcd",
            store: Arc::new(store),
            compact: Box::new(move |revision| {
                server.must(&["compaction", &revision.to_string()]);
            }),
        },
    ]
}

pub(crate) fn options(urls: &[String]) -> EtcdOptions {
    EtcdOptions { endpoints: urls.to_vec(), timeout: Duration::from_secs(10), ..EtcdOptions::default() }
}

pub(crate) fn connect(server: &etcd::Etcd) -> EtcdStore {
    EtcdStore::new(&options(&[server.url()])).unwrap()
}

/// A write of this process as it tells its follower of it.
pub(crate) fn own(kind: EventKind, key: &str, value: &str, revision: Revision) -> Event {
    let kv = KeyValue {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        create_revision: revision,
        mod_revision: revision,
        version: 1,
        lease: 0,
    };
    Event { kind, kv, prev: None }
}
