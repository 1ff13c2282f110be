//! What of the agent's configuration the dataplane acts on.

use felix_render::wish::Wish;
use std::net::{Ipv4Addr, Ipv6Addr};

/// rtnetlink's protocol number of our routes.
pub const PROTOCOL: u8 = 80;

/// Fields are called after those of FelixConfiguration (`resources.md` §3.2 of the contract).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `nftablesMode` and `iptablesBackend`
    pub backend: Wish,
    /// What decides about the ruleset, prefixes of workload interfaces and address families among it.
    pub rules: felix_render::Settings,
    /// `deviceRouteProtocol`: of routes to local workloads. [`PROTOCOL`] where it is not set (Calico: 3, boot); one that is
    /// neither that nor boot is the protocol of all our routes.
    pub device_route_protocol: u8,
    /// `deviceRouteSourceAddress`: preferred source of routes to local workloads.
    pub device_route_source: Option<Ipv4Addr>,
    /// `deviceRouteSourceAddressIPv6`
    pub device_route_source_v6: Option<Ipv6Addr>,
    /// `ipv4NormalRoutePriority`: metric of routes to local workloads.
    pub route_metric: u32,
    /// `ipv6NormalRoutePriority`
    pub route_metric_v6: u32,
    /// `removeExternalRoutes`: whether routes others put on workload interfaces go.
    pub remove_external_routes: bool,
    /// `routeSyncDisabled`, the other way round.
    pub route_sync: bool,
    /// `ipForwarding`: whether the host is made to forward.
    pub ip_forwarding: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            backend: Wish::default(),
            rules: felix_render::Settings::default(),
            device_route_protocol: PROTOCOL,
            device_route_source: None,
            device_route_source_v6: None,
            route_metric: 1024,
            route_metric_v6: 1024,
            remove_external_routes: true,
            route_sync: true,
            ip_forwarding: true,
        }
    }
}

impl Settings {
    /// Whether a link of this name is a workload's.
    pub fn is_workload(&self, link: &str) -> bool {
        self.rules.interface_prefixes.iter().any(|prefix| link.starts_with(prefix.as_str()))
    }

    /// Protocol of routes that lead to no local workload.
    pub fn cluster_route_protocol(&self) -> u8 {
        if self.device_route_protocol == BOOT { PROTOCOL } else { self.device_route_protocol }
    }
}

/// rtnetlink's protocol of routes that are made by hand, and by the CNI plugin.
pub const BOOT: u8 = 3;
