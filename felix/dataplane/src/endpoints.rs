//! The node's endpoints and their status (`felix.md` §16 of the contract).

use felix_calc::endpoint::{Endpoint, EndpointKey, Host, HostInterface, Workload};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Whether an endpoint works, as status keys and files tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Its interface works and everything about it is in the kernel.
    Up,
    /// Its interface does not work, or something about it is not in the kernel yet.
    Down,
    /// There is no interface it could be about.
    Error,
}

/// Whose packets pass something that the kernel refuses.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Everybody's.
    pub all: bool,
    /// These.
    pub endpoints: BTreeSet<EndpointKey>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Endpoints {
    endpoints: BTreeMap<EndpointKey, Arc<Endpoint>>,
    by_interface: BTreeMap<Arc<str>, BTreeSet<EndpointKey>>,
    statuses: BTreeMap<EndpointKey, Status>,
    /// Endpoints to look at again.
    dirty: BTreeSet<EndpointKey>,
    /// Whose packets pass something that the kernel refuses.
    refused: Refused,
    /// What was not told yet.
    untold: BTreeMap<EndpointKey, Option<Status>>,
}

impl Endpoints {
    /// An endpoint came, changed or (`None`) went; what it was before.
    pub fn set(&mut self, key: &EndpointKey, endpoint: Option<&Arc<Endpoint>>) -> Option<Arc<Endpoint>> {
        let before = match endpoint {
            Some(endpoint) => self.endpoints.insert(key.clone(), endpoint.clone()),
            None => self.endpoints.remove(key),
        };
        if let Some(workload) = before.as_deref().and_then(as_workload)
            && let Some(keys) = self.by_interface.get_mut(&workload.interface)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.by_interface.remove(&workload.interface);
            }
        }
        if let Some(workload) = endpoint.map(|endpoint| &**endpoint).and_then(as_workload) {
            self.by_interface.entry(workload.interface.clone()).or_default().insert(key.clone());
        }
        self.dirty.insert(key.clone());
        before
    }

    /// Whether it is this very endpoint already; it is looked at again after the next apply.
    pub fn is_known(&mut self, key: &EndpointKey, endpoint: Option<&Arc<Endpoint>>) -> bool {
        let known = match (self.endpoints.get(key), endpoint) {
            (Some(known), Some(endpoint)) => Arc::ptr_eq(known, endpoint),
            _ => false,
        };
        if known {
            self.dirty.insert(key.clone());
        }
        known
    }

    /// Something about an interface changed. Host endpoints may be about any.
    pub fn interface_changed(&mut self, name: &str, is_workload: bool) {
        if is_workload {
            self.dirty.extend(self.by_interface.get(name).into_iter().flatten().cloned());
        } else {
            let hosts = self.endpoints.keys().filter(|key| matches!(key, EndpointKey::Host(_)));
            self.dirty.extend(hosts.cloned());
        }
    }

    /// All are looked at again.
    pub fn all_dirty(&mut self) {
        self.dirty.extend(self.endpoints.keys().cloned());
    }

    /// The kernel refuses something that concerns these. Nobody else is looked at for it.
    pub fn set_refused(&mut self, refused: Refused) {
        if refused.all != self.refused.all {
            self.all_dirty();
        }
        self.dirty.extend(refused.endpoints.symmetric_difference(&self.refused.endpoints).cloned());
        self.refused = refused;
    }

    /// The workloads behind an interface.
    pub fn workloads_of(&self, interface: &str) -> impl Iterator<Item = &Workload> {
        let keys = self.by_interface.get(interface).into_iter().flatten();
        keys.filter_map(|key| self.endpoints.get(key)).filter_map(|endpoint| as_workload(endpoint))
    }

    /// All workloads.
    pub fn workloads(&self) -> impl Iterator<Item = (&EndpointKey, &Workload)> {
        self.endpoints.iter().filter_map(|(key, endpoint)| Some((key, as_workload(endpoint)?)))
    }

    /// Looks again at those about which something changed; one that is down is looked at every time.
    pub fn check(&mut self, status: impl Fn(&EndpointKey, &Endpoint) -> Status) {
        for key in std::mem::take(&mut self.dirty) {
            let refused = self.refused.all || self.refused.endpoints.contains(&key);
            let now = self.endpoints.get(&key).map(|endpoint| match status(&key, endpoint) {
                Status::Up if refused => Status::Down,
                status => status,
            });
            let before = match now {
                Some(now) => self.statuses.insert(key.clone(), now),
                None => self.statuses.remove(&key),
            };
            if now == Some(Status::Down) {
                self.dirty.insert(key.clone());
            }
            if now != before {
                self.untold.insert(key, now);
            }
        }
    }

    /// Statuses that changed since it was asked last; `None` for an endpoint that is gone.
    pub fn take(&mut self) -> Vec<(EndpointKey, Option<Status>)> {
        std::mem::take(&mut self.untold).into_iter().collect()
    }

    /// Those that are not up, and what they are.
    pub fn not_up(&self) -> impl Iterator<Item = (&EndpointKey, Status)> {
        self.statuses.iter().map(|(key, status)| (key, *status)).filter(|(_, status)| *status != Status::Up)
    }

    /// The status it had when it was looked at last; `None` for one that is not there.
    pub fn status(&self, key: &EndpointKey) -> Option<Status> {
        self.statuses.get(key).copied()
    }

    /// How many have each status.
    pub fn count(&self, status: Status) -> usize {
        self.statuses.values().filter(|known| **known == status).count()
    }
}

/// A workload, where it is one.
pub fn as_workload(endpoint: &Endpoint) -> Option<&Workload> {
    match endpoint {
        Endpoint::Workload(workload) => Some(workload),
        Endpoint::Host(_) => None,
    }
}

/// The status of a host endpoint: `interfaces` are those it is about, each with whether it works.
pub fn of_host(host: &Host, interfaces: impl Iterator<Item = bool>) -> Status {
    if host.interface == HostInterface::All {
        return Status::Up;
    }
    interfaces.fold(Status::Error, |worst, up| match (worst, up) {
        (Status::Down, _) | (_, false) => Status::Down,
        _ => Status::Up,
    })
}

#[cfg(test)]
mod tests;
