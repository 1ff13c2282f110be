//! What matters of a Node. Source: `bgp.md` §2 of the contract.

use crate::reading::{Absent, Reading, family, of_cidr};
use bgp_wire::{PerFamily, Prefix};
use model::Resource;
use model::net::Cidr;
use model::v3::{NodeBgp, NodeSpec};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// An address of a node, with the network it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NodeAddress {
    pub(crate) addr: IpAddr,
    /// Local subnet; the address alone where no mask is given.
    pub(crate) subnet: Prefix,
}

/// A node as its neighbours and itself see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeFacts {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) addresses: PerFamily<Option<NodeAddress>>,
    pub(crate) as_number: Option<u32>,
    /// Set on route reflectors.
    pub(crate) cluster_id: Option<Ipv4Addr>,
    /// Families in which it has a WireGuard device.
    pub(crate) wireguard: PerFamily<bool>,
}

impl NodeFacts {
    pub(crate) fn read(resource: &Resource, reading: &mut Reading) -> Result<Self, Absent> {
        let spec: NodeSpec = reading.spec(resource)?;
        let bgp = spec.bgp.unwrap_or_default();
        let wireguard = spec.wireguard.unwrap_or_default();
        Ok(NodeFacts {
            name: resource.name().to_owned(),
            labels: resource.labels().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            addresses: PerFamily {
                ipv4: address(reading, "spec.bgp.ipv4Address", &bgp.ipv4_address, true),
                ipv6: address(reading, "spec.bgp.ipv6Address", &bgp.ipv6_address, false),
            },
            as_number: as_number(reading, &bgp),
            cluster_id: cluster_id(reading, &bgp),
            wireguard: PerFamily {
                ipv4: !wireguard.interface_ipv4_address.is_empty(),
                ipv6: !wireguard.interface_ipv6_address.is_empty(),
            },
        })
    }

    /// The node's address in the family of `addr`.
    pub(crate) fn address_like(&self, addr: IpAddr) -> Option<IpAddr> {
        self.addresses.get(family(addr)).map(|own| own.addr)
    }
}

fn address(reading: &mut Reading, field: &str, text: &str, v4: bool) -> Option<NodeAddress> {
    if text.is_empty() {
        return None;
    }
    let parsed = model::net::parse_parts(text)
        .ok()
        .or_else(|| text.parse().ok().map(|addr| (addr, Cidr::host(addr))))
        .filter(|(addr, _)| addr.is_ipv4() == v4);
    match parsed.and_then(|(addr, net)| Some(NodeAddress { addr, subnet: of_cidr(net)? })) {
        Some(address) => Some(address),
        None => {
            let wanted = if v4 {
                "an IPv4 address such as 192.0.2.1/24"
            } else {
                "an IPv6 address such as 2001:db8::1/64"
            };
            reading.warn(field, text, format!("is not {wanted}; the node has no address of this family"));
            None
        }
    }
}

fn as_number(reading: &mut Reading, bgp: &NodeBgp) -> Option<u32> {
    if bgp.as_number == Some(0) {
        reading.warn("spec.bgp.asNumber", 0, "is no AS number (RFC 7607); the cluster's is used");
        return None;
    }
    bgp.as_number
}

fn cluster_id(reading: &mut Reading, bgp: &NodeBgp) -> Option<Ipv4Addr> {
    match bgp.route_reflector_cluster_id.as_str() {
        "" => None,
        text => text.parse().ok().or_else(|| {
            let reason = "is no cluster ID; the node is no route reflector: write it as 244.0.0.1";
            reading.warn("spec.bgp.routeReflectorClusterID", text, reason);
            None
        }),
    }
}

/// A router ID made of a node's name: the first four octets of its SHA-256, kept below class D.
pub(crate) fn hashed_router_id(node: &str) -> Ipv4Addr {
    let digest = Sha256::digest(node.as_bytes());
    let octets = digest.iter().copied().take(4).fold(0u32, |id, octet| id << 8 | u32::from(octet));
    let [first, b, c, d] = octets.to_be_bytes();
    Ipv4Addr::new(if first > 223 { first - 32 } else { first }, b, c, d)
}
