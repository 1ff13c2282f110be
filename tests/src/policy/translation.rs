//! What the node makes of a packet's addresses, and which it lets a workload use (contract `felix.md` §5, nat).

use super::cluster::{HOST_INTERFACES, OUTSIDERS};
use super::matching::Coverage;
use super::object::{identity, list, prefix, text, texts};
use super::oracle::Oracle;
use super::packets::{Packet, Place};
use super::services;
use serde_json::Value;
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// How a packet looks where it arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its source.
    pub source: IpAddr,
    /// Where its source port lies, of protocols that have ports.
    pub ports: Option<RangeInclusive<u16>>,
}

impl Seen {
    /// As it is.
    pub fn unchanged(packet: &Packet) -> Self {
        Self { source: packet.source, ports: packet.ports.map(|(port, _)| port..=port) }
    }

    /// Another source, and any port or one of these.
    fn other(source: IpAddr, packet: &Packet, ports: Option<(u16, u16)>) -> Self {
        let (first, last) = ports.filter(|_| matches!(packet.protocol, 6 | 17)).unwrap_or((1, u16::MAX));
        Self { source, ports: packet.ports.map(|_| first..=last) }
    }

    /// Whether a packet that was heard looks so.
    pub fn is(&self, source: IpAddr, port: Option<u16>) -> bool {
        let fits = |ports: &RangeInclusive<u16>| port.is_some_and(|port| ports.contains(&port));
        self.source == source && self.ports.as_ref().is_none_or(fits)
    }
}

fn host_addresses() -> Vec<IpAddr> {
    HOST_INTERFACES
        .iter()
        .flat_map(|(_, addresses)| addresses.iter())
        .filter_map(|text| text.parse().ok())
        .collect()
}

impl Oracle {
    fn workloads(&self) -> impl Iterator<Item = &Value> {
        self.local_endpoints().filter(|endpoint| text(endpoint, "kind") == "WorkloadEndpoint")
    }

    fn is_set(&self, setting: &str, value: &str) -> bool {
        self.setting(setting).as_str() == Some(value)
    }

    /// Who has an address.
    pub fn place_of(&self, address: IpAddr) -> Option<Place> {
        if host_addresses().contains(&address) {
            return Some(Place::Host);
        }
        let has = |endpoint: &&Value| {
            texts(&endpoint["spec"], "ipNetworks").filter_map(prefix).any(|net| net.addr() == address)
        };
        if let Some(endpoint) = self.workloads().find(has) {
            let (_, namespace, name) = identity(endpoint);
            return Some(Place::Workload(namespace.to_owned(), name.to_owned()));
        }
        let outsider = OUTSIDERS.iter().find(|(_, text)| text.parse() == Ok(address));
        outsider.map(|(interface, _)| Place::Beyond(interface))
    }

    /// The host's interface through which its packets to an address leave before their destination is translated;
    /// `None` where it is a workload's.
    pub(super) fn way_out(&self, address: IpAddr) -> Option<&'static str> {
        if self.floating(address).is_some() {
            return None;
        }
        // services are beyond the first interface
        match self.place_of(address) {
            Some(Place::Beyond(interface)) => Some(interface),
            Some(_) => None,
            None => Some(HOST_INTERFACES[0].0),
        }
    }

    /// The address behind a floating one.
    fn floating(&self, address: IpAddr) -> Option<IpAddr> {
        if !self.is_set("floatingIPs", "Enabled") {
            return None;
        }
        let of = |nat: &Value, field: &str| prefix(text(nat, field)).map(|net| net.addr());
        let mut nats = self.workloads().flat_map(|endpoint| list(&endpoint["spec"], "ipNATs"));
        nats.find(|nat| of(nat, "externalIP") == Some(address)).and_then(|nat| of(nat, "internalIP"))
    }

    /// A packet once its destination is translated: of a service, by another program, or a floating address.
    pub(super) fn to_target(&self, packet: &Packet, coverage: &mut Coverage) -> Packet {
        if let Some(translated) = services::translated(&self.services, packet, &host_addresses()) {
            coverage.event("service");
            return translated;
        }
        match self.floating(packet.destination) {
            Some(destination) => {
                coverage.event("floating address");
                Packet { destination, ..*packet }
            }
            None => *packet,
        }
    }

    /// Whether a workload may send from this source: its addresses, and with `workloadSourceSpoofing: Any` those it asks
    /// for.
    pub(super) fn may_send(&self, endpoint: &Value, packet: &Packet, coverage: &mut Coverage) -> bool {
        let spec = &endpoint["spec"];
        let owns = |field: &str| texts(spec, field).filter_map(prefix).any(|net| net.contains(packet.source));
        if owns("ipNetworks") {
            return true;
        }
        if !owns("allowSpoofedSourcePrefixes") {
            coverage.event("spoofed source");
            return false;
        }
        let granted = self.is_set("workloadSourceSpoofing", "Any");
        coverage.event(if granted { "foreign source granted" } else { "foreign source not granted" });
        granted
    }

    /// Whether a forwarded packet goes to a service that nobody translated.
    pub(super) fn loops(&self, destination: IpAddr) -> bool {
        let lists = ["serviceClusterIPs", "serviceExternalIPs", "serviceLoadBalancerIPs"];
        let is_service = self.all("BGPConfiguration").filter(|one| identity(one).2 == "default").any(|one| {
            let entries = lists.iter().flat_map(|field| list(&one["spec"], field));
            entries.filter_map(|entry| prefix(text(entry, "cidr"))).any(|net| net.contains(destination))
        });
        is_service && !self.is_set("serviceLoopPrevention", "Disabled")
    }

    /// How a packet that leaves the node by forwarding looks behind it.
    pub(super) fn sent_by_host(&self, packet: &Packet, to: &Place, coverage: &mut Coverage) -> Seen {
        if packet.source == packet.destination
            && let Some(external) = self.external(packet.source)
        {
            coverage.event("workload to itself by its floating address");
            return Seen::other(external, packet, None);
        }
        let Place::Beyond(interface) = to else { return Seen::unchanged(packet) };
        if !self.is_masqueraded(packet, interface, coverage) {
            return Seen::unchanged(packet);
        }
        coverage.event("outgoing NAT");
        let own =
            HOST_INTERFACES.iter().filter(|(name, _)| name == interface).flat_map(|(_, own)| own.iter());
        let mut own = own.filter_map(|text| text.parse::<IpAddr>().ok());
        let given = prefix(self.setting("natOutgoingAddress").as_str().unwrap_or_default());
        let given =
            given.map(|net| net.addr()).filter(|address| address.is_ipv4() == packet.source.is_ipv4());
        if given.is_some() {
            coverage.event("outgoing NAT to the given address");
        }
        let ports = self.setting("natPortRange");
        let ports = ports.as_str().and_then(|text| text.split_once(':'));
        let ports = ports.and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
        if ports.is_some() && matches!(packet.protocol, 6 | 17) {
            coverage.event("outgoing NAT to the given ports");
        }
        let source = given.or_else(|| own.find(|own| own.is_ipv4() == packet.source.is_ipv4()));
        Seen::other(source.unwrap_or(packet.source), packet, ports)
    }

    /// The floating address of an address.
    fn external(&self, internal: IpAddr) -> Option<IpAddr> {
        let nats = self.workloads().flat_map(|endpoint| list(&endpoint["spec"], "ipNATs"));
        let mut external = nats.filter_map(|nat| prefix(text(nat, "externalIP"))).map(|net| net.addr());
        external.find(|external| self.floating(*external) == Some(internal))
    }

    fn is_masqueraded(&self, packet: &Packet, interface: &str, coverage: &mut Coverage) -> bool {
        let within = |pool: &Value, address| {
            prefix(text(&pool["spec"], "cidr")).is_some_and(|net| net.contains(address))
        };
        let masquerades = |pool: &&Value| pool["spec"]["natOutgoing"].as_bool() == Some(true);
        if !self.all("IPPool").filter(masquerades).any(|pool| within(pool, packet.source)) {
            return false;
        }
        // pools that are for load balancers alone do not count
        let of_workloads = |pool: &&Value| texts(&pool["spec"], "allowedUses").ne(["LoadBalancer"]);
        let mut to = self.all("IPPool").filter(|pool| within(pool, packet.destination)).peekable();
        let to_pools = to.peek().is_some();
        if to.any(|pool| of_workloads(&pool)) {
            coverage.event("outgoing NAT spares a pool");
            return false;
        }
        if to_pools {
            coverage.event("outgoing NAT to a pool of load balancers");
        }
        let node = |node: &Value| {
            let own = ["ipv4Address", "ipv6Address"]
                .map(|field| text(&node["spec"]["bgp"], field).split('/').next());
            own.into_iter().flatten().any(|text| text.parse() == Ok(packet.destination))
        };
        if self.is_set("natOutgoingExclusions", "IPPoolsAndHostIPs") {
            let external = serde_json::json!({ "nets": self.setting("externalNodesList") });
            let mut external = texts(&external, "nets").filter_map(prefix);
            if self.all("Node").any(node) {
                coverage.event("outgoing NAT spares a node");
                return false;
            }
            if external.any(|net| net.contains(packet.destination)) {
                coverage.event("outgoing NAT spares an external node");
                return false;
            }
        }
        let filter = self.setting("iptablesNATOutgoingInterfaceFilter");
        if filter.as_str().is_some_and(|only| only != interface) {
            coverage.event("outgoing NAT of another interface");
            return false;
        }
        true
    }
}
