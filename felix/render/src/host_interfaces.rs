//! Which host endpoint an interface of the host has (`felix.md` §3.4 of the contract).

use crate::settings::Settings;
use felix_calc::endpoint::{Endpoint, EndpointKey, Host, HostInterface, LocalEndpoint};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// What stands for the interface of a host endpoint for all interfaces in names of chains.
pub const ALL: &str = "any-interface-at-all";

/// All host endpoints of the node, and its interfaces.
#[derive(Debug, Default)]
pub struct HostInterfaces {
    endpoints: BTreeMap<EndpointKey, Arc<LocalEndpoint>>,
    interfaces: BTreeMap<Arc<str>, Vec<IpAddr>>,
}

impl HostInterfaces {
    /// An endpoint came, changed or (`None`) went.
    pub fn set(&mut self, key: &EndpointKey, endpoint: Option<&Arc<LocalEndpoint>>) {
        match endpoint {
            Some(endpoint) => self.endpoints.insert(key.clone(), endpoint.clone()),
            None => self.endpoints.remove(key),
        };
    }

    /// An interface came, changed or (`None`) went; whether that is news.
    pub fn set_interface(&mut self, name: &str, addresses: Option<&[IpAddr]>) -> bool {
        let before = match addresses {
            Some(addresses) => self.interfaces.insert(name.into(), addresses.to_vec()),
            None => self.interfaces.remove(name),
        };
        before.as_deref() != addresses
    }

    /// Whether there is no host endpoint.
    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }

    /// The interfaces of the host, those of workloads apart, and their addresses.
    pub fn interfaces<'a>(
        &'a self,
        settings: &'a Settings,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a [IpAddr])> {
        let all = self.interfaces.iter().map(|(name, addresses)| (name, addresses.as_slice()));
        all.filter(|(name, _)| !settings.is_workload(name))
    }

    /// The endpoint of each interface, workloads' apart: of those that name it or have one of its addresses the first.
    pub fn resolved(&self, settings: &Settings) -> BTreeMap<Arc<str>, EndpointKey> {
        let matches = |host: &Host, name: &str, addresses: &[IpAddr]| match &host.interface {
            HostInterface::Named(of) => **of == *name,
            HostInterface::ByAddress => host.expected.iter().any(|address| addresses.contains(address)),
            HostInterface::All => false,
        };
        let find = |(name, addresses): (&Arc<str>, &[IpAddr])| {
            let mut endpoints = self.endpoints.iter();
            let found = endpoints
                .find(|(_, endpoint)| host(endpoint).is_some_and(|host| matches(host, name, addresses)));
            Some((name.clone(), found?.0.clone()))
        };
        self.interfaces(settings).filter_map(find).collect()
    }

    /// The same with the endpoints themselves.
    pub fn with_endpoints(&self, settings: &Settings) -> Vec<(Arc<str>, EndpointKey, Arc<LocalEndpoint>)> {
        let found = self.resolved(settings).into_iter();
        found.filter_map(|(name, key)| self.endpoints.get(&key).map(|of| (name, key, of.clone()))).collect()
    }

    /// The endpoints that have an interface of which this is true; [`ALL`] is asked about, too.
    pub fn having(&self, settings: &Settings, holds: impl Fn(&str) -> bool) -> BTreeSet<EndpointKey> {
        let own = self.resolved(settings).into_iter().filter(|(interface, _)| holds(interface));
        let all = self.for_all().filter(|_| holds(ALL)).map(|(key, _)| key.clone());
        own.map(|(_, key)| key).chain(all).collect()
    }

    /// The endpoint for all interfaces that have none of their own.
    pub fn for_all(&self) -> Option<(&EndpointKey, &Arc<LocalEndpoint>)> {
        let is_all = |endpoint: &LocalEndpoint| {
            host(endpoint).is_some_and(|host| host.interface == HostInterface::All)
        };
        self.endpoints.iter().find(|(_, endpoint)| is_all(endpoint))
    }
}

fn host(endpoint: &LocalEndpoint) -> Option<&Host> {
    match &*endpoint.endpoint {
        Endpoint::Host(host) => Some(host),
        Endpoint::Workload(_) => None,
    }
}
