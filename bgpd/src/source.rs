//! The datastore side: Calico's resources followed, and the plan that follows from them.
//!
//! [`Source::next`] waits until something changed that matters and gives the plan that is true then; never before all
//! resources have been read once, so that a speaker does not begin with half a picture (`bgp.md` §1 of the contract,
//! sync gate). What cannot be read counts as absent and is among the plan's warnings.

use bgp_config::{NodePlan, RouterId, View, WorkloadStatus};
use datastore::{Datastore, Follow, SnapshotPlace, SnapshotStatus, codec};
use model::Key;
use model::ipam::BlockAffinity;
use mvcc::{KeyRange, KeyValue};
use std::collections::BTreeMap;
use std::sync::Arc;
use syncer::Change;

#[cfg(test)]
mod tests;

/// See the module.
#[derive(Debug)]
pub struct Source {
    follow: Follow,
    view: View,
    workloads: BTreeMap<String, WorkloadStatus>,
    in_sync: bool,
    /// The view holds part of a list, and not yet the rest: no state to act on.
    half: bool,
    last: Option<Arc<NodePlan>>,
}

impl Source {
    /// Follows what matters to `node`. Nothing is read before [`Source::next`].
    pub fn new(store: Arc<dyn Datastore>, node: &str, router_id: RouterId) -> Self {
        let roots = View::roots(node).into_iter().map(KeyRange::prefix);
        Self {
            follow: Follow::new(store, roots),
            view: View::new(node, router_id),
            workloads: BTreeMap::new(),
            in_sync: false,
            half: false,
            last: None,
        }
    }

    /// The same with what is read kept there, for a start at which the datastore does not answer.
    pub fn with_snapshot(self, place: Option<SnapshotPlace>) -> Self {
        let follow = match place {
            Some(place) => self.follow.with_snapshot(place),
            None => self.follow,
        };
        Self { follow, ..self }
    }

    /// How that is.
    pub fn snapshot(&self) -> SnapshotStatus {
        self.follow.snapshot()
    }

    /// Whether everything has been read once.
    pub fn is_in_sync(&self) -> bool {
        self.in_sync
    }

    /// The next plan that differs from the one before; waits for it. Nothing is lost when the returned future is
    /// dropped.
    pub async fn next(&mut self) -> Arc<NodePlan> {
        loop {
            let output = self.follow.next().await;
            for change in output.changes {
                self.take(change);
            }
            self.in_sync |= output.became_in_sync;
            self.half = output.more;
            if let Some(plan) = self.plan() {
                return plan;
            }
        }
    }

    /// The status files of all endpoints there are, by name. [`Source::plan`] tells what that changes.
    pub fn set_workloads(&mut self, all: BTreeMap<String, WorkloadStatus>) {
        for file in self.workloads.keys().filter(|file| !all.contains_key(*file)) {
            self.view.set_workload(file, None);
        }
        for (file, status) in &all {
            self.view.set_workload(file, Some(status.clone()));
        }
        self.workloads = all;
    }

    /// The plan, if it is another than last time.
    pub fn plan(&mut self) -> Option<Arc<NodePlan>> {
        if !self.in_sync || self.half {
            return None;
        }
        let plan = self.view.plan();
        if self.last.as_ref() == Some(&plan) {
            return None;
        }
        self.last = Some(Arc::clone(&plan));
        Some(plan)
    }

    fn take(&mut self, change: Change) {
        match change {
            Change::Put(pair) => self.put(&pair),
            Change::Delete { key, .. } => {
                if let Some(key) = parse(&key) {
                    self.view.remove(&key);
                }
            }
        }
    }

    fn put(&mut self, pair: &KeyValue) {
        let Some(key) = parse(&pair.key) else { return };
        match &key {
            Key::Resource { .. } => match codec::decode(pair) {
                Ok(resource) => self.view.set(&resource),
                Err(error) => self.view.unreadable(&key, &error.reason),
            },
            Key::Affinity(owner, block) => match BlockAffinity::decode(&key, &pair.value) {
                Ok(affinity) => self.view.set_affinity(owner, *block, &affinity.state),
                Err(error) => self.view.unreadable(&key, &error.reason),
            },
            _ => {}
        }
    }
}

/// Keys of kinds we do not know, and of other programs, are nothing to us.
fn parse(key: &[u8]) -> Option<Key> {
    Key::parse(std::str::from_utf8(key).ok()?)
}
