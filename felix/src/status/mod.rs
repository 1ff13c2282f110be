//! What is told about endpoints and the agent: files on the node, keys in the datastore.
//!
//! The loop tells a [`Board`] what it hears; files are written at once, keys by a task of their own ([`reporter`]), so
//! that a datastore that is slow or away delays nothing.
//! Source: `felix.md` §16, `datamodel.md` §5 of the contract.

mod files;
mod keys;
mod reporter;

use datastore::Datastore;
use felix_calc::Changes;
use felix_calc::endpoint::{Endpoint, EndpointKey};
use felix_config::settings;
use felix_dataplane::Status;
use files::Files;
pub use keys::status_prefix;
pub(crate) use keys::{title, word};
use reporter::Told;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::watch;

/// See the module.
#[derive(Debug)]
pub(crate) struct Board {
    node: String,
    settings: settings::Status,
    endpoints: BTreeMap<EndpointKey, Arc<Endpoint>>,
    statuses: BTreeMap<EndpointKey, Status>,
    /// BGPPeers that are about local workloads.
    peers: BTreeMap<EndpointKey, Arc<str>>,
    /// Endpoints whose file may be wrong.
    dirty: BTreeSet<EndpointKey>,
    files: Files,
    told: watch::Sender<Told>,
}

impl Board {
    /// Starts the task that writes keys; it ends with the board. Within a tokio runtime.
    pub(crate) fn new(node: &str, settings: &settings::Status, store: Arc<dyn Datastore>) -> Self {
        let (told, heard) = watch::channel(Told::default());
        tokio::spawn(reporter::run(store, node.to_owned(), heard));
        Self {
            node: node.to_owned(),
            settings: settings.clone(),
            endpoints: BTreeMap::new(),
            statuses: BTreeMap::new(),
            peers: BTreeMap::new(),
            dirty: BTreeSet::new(),
            files: Files::default(),
            told,
        }
    }

    pub(crate) fn set_settings(&mut self, settings: &settings::Status) {
        if self.settings != *settings {
            self.settings = settings.clone();
            self.tell();
        }
        self.files.set_directory(settings.path.as_deref());
    }

    pub(crate) fn on_changes(&mut self, changes: &Changes) {
        for (key, endpoint) in &changes.endpoints {
            let before = match endpoint {
                Some(local) => self.endpoints.insert(key.clone(), local.endpoint.clone()),
                None => self.endpoints.remove(key),
            };
            let same = |before: &Arc<Endpoint>| {
                endpoint.as_ref().is_some_and(|local| Arc::ptr_eq(&local.endpoint, before))
            };
            // a change of policy alone is none of the endpoint
            if !before.as_ref().is_some_and(same) {
                self.dirty.insert(key.clone());
            }
        }
        for (key, peer) in &changes.bgp_peers {
            match peer {
                Some(peer) => drop(self.peers.insert(key.clone(), peer.clone())),
                None => drop(self.peers.remove(key)),
            }
            self.dirty.insert(key.clone());
        }
    }

    /// What the dataplane says, and that everything known is in the kernel or on its way there.
    pub(crate) fn on_statuses(&mut self, statuses: Vec<(EndpointKey, Option<Status>)>) {
        if statuses.is_empty() && self.dirty.is_empty() && self.told.borrow().began {
            return;
        }
        for (key, status) in statuses {
            let before = match status {
                Some(status) => self.statuses.insert(key.clone(), status),
                None => self.statuses.remove(&key),
            };
            if before != status {
                let name = keys::title(&key);
                match status {
                    Some(status) => tracing::info!(endpoint = name, status = keys::word(status), "endpoint"),
                    None => tracing::info!(endpoint = name, "endpoint is gone"),
                }
            }
            self.dirty.insert(key);
        }
        let mut files: BTreeMap<String, Option<String>> = BTreeMap::new();
        for key in std::mem::take(&mut self.dirty) {
            let is_up = self.statuses.get(&key) == Some(&Status::Up);
            let peer = self.peers.get(&key).map(|peer| &**peer);
            let endpoint = self.endpoints.get(&key).filter(|_| is_up);
            let file = endpoint.and_then(|endpoint| files::of(endpoint, peer));
            self.files.set(&key, file, &mut files);
        }
        self.files.write(files);
        self.tell();
    }

    fn tell(&self) {
        let words = self.statuses.iter().filter_map(|(key, status)| {
            let path =
                keys::path(self.settings.region.as_deref(), &self.node, key, self.endpoints.get(key)?)?;
            Some((path, keys::value(*status)))
        });
        let endpoints = if self.settings.endpoints { words.collect() } else { BTreeMap::new() };
        let settings = self.settings.clone();
        self.told.send_replace(Told { began: true, settings: Some(settings), endpoints });
    }
}
