//! Which endpoint an interface of a workload has: of those that claim it the first.

use felix_calc::endpoint::{Endpoint, EndpointKey, LocalEndpoint, Workload};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Longest name of an interface (`IFNAMSIZ` without the terminating zero).
const INTERFACE_MAX: usize = 15;

/// All workloads of the node by their interfaces.
#[derive(Debug, Default)]
pub struct Claims {
    by_interface: BTreeMap<Arc<str>, BTreeMap<EndpointKey, Arc<LocalEndpoint>>>,
    interfaces: BTreeMap<EndpointKey, Arc<str>>,
}

impl Claims {
    /// Takes an endpoint in whose policies alone have changed, and says which interface it claims; `None` where more
    /// has changed, or where it is not known: then nothing is done.
    pub fn set_policies(&mut self, key: &EndpointKey, endpoint: &Arc<LocalEndpoint>) -> Option<Arc<str>> {
        let interface = self.interfaces.get(key)?.clone();
        let known = self.by_interface.get_mut(&interface)?.get_mut(key)?;
        if !Arc::ptr_eq(&known.endpoint, &endpoint.endpoint) && known.endpoint != endpoint.endpoint {
            return None;
        }
        *known = endpoint.clone();
        Some(interface)
    }

    /// The interfaces that may have another endpoint once this one is so.
    pub fn concerned(&self, key: &EndpointKey, endpoint: Option<&Arc<LocalEndpoint>>) -> BTreeSet<Arc<str>> {
        let before = self.interfaces.get(key).cloned();
        before.into_iter().chain(endpoint.and_then(|endpoint| interface_of(endpoint))).collect()
    }

    /// An endpoint came, changed or (`None`) went.
    pub fn set(&mut self, key: &EndpointKey, endpoint: Option<&Arc<LocalEndpoint>>) {
        if let Some(before) = self.interfaces.remove(key)
            && let Some(claims) = self.by_interface.get_mut(&before)
        {
            claims.remove(key);
            if claims.is_empty() {
                self.by_interface.remove(&before);
            }
        }
        if let Some(endpoint) = endpoint
            && let Some(interface) = interface_of(endpoint)
        {
            let claims = self.by_interface.entry(interface.clone()).or_default();
            claims.insert(key.clone(), endpoint.clone());
            self.interfaces.insert(key.clone(), interface);
        }
    }

    /// The endpoint that has an interface.
    pub fn winner(&self, interface: &str) -> Option<(EndpointKey, Arc<LocalEndpoint>)> {
        let (key, endpoint) = self.by_interface.get(interface)?.first_key_value()?;
        Some((key.clone(), endpoint.clone()))
    }

    /// All interfaces that somebody claims, in order.
    pub fn interfaces(&self) -> impl Iterator<Item = &Arc<str>> {
        self.by_interface.keys()
    }

    /// All endpoints that claim an interface of which this is true.
    pub fn having(&self, holds: impl Fn(&str) -> bool) -> impl Iterator<Item = &EndpointKey> {
        let claims = self.by_interface.iter().filter(move |(interface, _)| holds(interface));
        claims.flat_map(|(_, claims)| claims.keys())
    }
}

/// What a workload's endpoint is; `None` for one of the host.
pub fn workload(endpoint: &LocalEndpoint) -> Option<&Workload> {
    match &*endpoint.endpoint {
        Endpoint::Workload(workload) => Some(workload),
        Endpoint::Host(_) => None,
    }
}

/// `None` where no interface can be called so, or where rules cannot name it: they would take a `+` at the end for any rest.
fn interface_of(endpoint: &LocalEndpoint) -> Option<Arc<str>> {
    let interface = &workload(endpoint)?.interface;
    let legible = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b'"' | b'\'' | b'\\');
    let nameable = (1..=INTERFACE_MAX).contains(&interface.len())
        && interface.bytes().all(legible)
        && !interface.ends_with('+');
    nameable.then(|| interface.clone())
}
