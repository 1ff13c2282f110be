//! Address management of an agent's calls together: one [`Shared`] for each datastore and node.

use super::Agent;
use super::record::{Key, State};
use cni_protocol::Request;
use datastore::Datastore;
use ipam::Shared;
use mvcc::Revision;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Those that are kept; a node has one cluster, or two while it moves.
const KEPT: usize = 4;

/// All of them.
#[derive(Default)]
pub(super) struct Warm(Mutex<Vec<Entry>>);

struct Entry {
    store: Arc<dyn Datastore>,
    node: String,
    shared: Shared,
    /// The revision of the ClusterInformation that said the datastore is ready.
    ready: Revision,
}

impl Entry {
    fn is(&self, store: &Arc<dyn Datastore>, node: &str) -> bool {
        std::ptr::addr_eq(Arc::as_ptr(&self.store), Arc::as_ptr(store)) && self.node == node
    }
}

impl Warm {
    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Agent {
    /// The addresses of a node in a datastore, once a call has found it ready, and when that was written.
    pub(crate) fn shared(&self, store: &Arc<dyn Datastore>, node: &str) -> Option<(Shared, Revision)> {
        let entries = self.0.warm.entries();
        entries.iter().find(|entry| entry.is(store, node)).map(|entry| (entry.shared.clone(), entry.ready))
    }

    /// A call has found a datastore ready.
    pub(crate) fn seen_ready(&self, store: &Arc<dyn Datastore>, node: &str, ready: Revision) {
        let mut entries = self.0.warm.entries();
        if let Some(entry) = entries.iter_mut().find(|entry| entry.is(store, node)) {
            entry.ready = ready;
            return;
        }
        if entries.len() >= KEPT {
            entries.remove(0);
        }
        let shared = Shared::new(Arc::clone(store), node);
        entries.push(Entry { store: Arc::clone(store), node: node.to_owned(), shared, ready });
    }

    /// Whether there is anything of the attachment that a request is about, but for a link that is to be deleted.
    pub(crate) fn has(&self, request: &Request) -> bool {
        self.records().get(&Key::of(request)).is_some_and(|record| record.state != State::Released)
    }
}
