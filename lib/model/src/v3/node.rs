//! Hosts. Source: `datamodel.md` §3.2 of the contract.

use crate::net::{Cidr, parse_parts};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSpec {
    /// BGP identity; absent on nodes that do not speak BGP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bgp: Option<NodeBgp>,
    /// Address of the VXLAN device.
    #[serde(rename = "ipv4VXLANTunnelAddr", skip_serializing_if = "String::is_empty")]
    pub ipv4_vxlan_tunnel_addr: String,
    /// MAC address of the VXLAN device.
    #[serde(rename = "vxlanTunnelMACAddr", skip_serializing_if = "String::is_empty")]
    pub vxlan_tunnel_mac_addr: String,
    /// Address of the IPv6 VXLAN device.
    #[serde(rename = "ipv6VXLANTunnelAddr", skip_serializing_if = "String::is_empty")]
    pub ipv6_vxlan_tunnel_addr: String,
    /// MAC address of the IPv6 VXLAN device.
    #[serde(rename = "vxlanTunnelMACAddrV6", skip_serializing_if = "String::is_empty")]
    pub vxlan_tunnel_mac_addr_v6: String,
    /// The node's names in orchestrators.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub orch_refs: Vec<OrchRef>,
    /// WireGuard addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wireguard: Option<NodeWireguard>,
    /// Addresses by type.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<NodeAddress>,
    /// Interfaces for BGP peering by interface.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<NodeInterface>,
}

impl NodeSpec {
    /// The IPv4 address and subnet used for BGP and tunnels.
    pub fn ipv4(&self) -> Option<(IpAddr, Cidr)> {
        self.bgp.as_ref().and_then(|bgp| address_and_net(&bgp.ipv4_address))
    }

    /// The IPv6 address and subnet used for BGP and tunnels.
    pub fn ipv6(&self) -> Option<(IpAddr, Cidr)> {
        self.bgp.as_ref().and_then(|bgp| address_and_net(&bgp.ipv6_address))
    }
}

fn address_and_net(text: &str) -> Option<(IpAddr, Cidr)> {
    parse_parts(text).ok().or_else(|| text.parse().ok().map(|addr| (addr, Cidr::host(addr))))
}

/// BGP identity of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeBgp {
    /// AS number; absent means the cluster's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_number: Option<u32>,
    /// Address with the subnet's prefix length.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ipv4_address: String,
    /// Address with the subnet's prefix length.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ipv6_address: String,
    /// Address of the IP-in-IP device.
    #[serde(rename = "ipv4IPIPTunnelAddr", skip_serializing_if = "String::is_empty")]
    pub ipv4_ipip_tunnel_addr: String,
    /// Makes the node a route reflector of this cluster ID.
    #[serde(rename = "routeReflectorClusterID", skip_serializing_if = "String::is_empty")]
    pub route_reflector_cluster_id: String,
}

/// Name of a node in an orchestrator.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OrchRef {
    /// Name there.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node_name: String,
    /// The orchestrator.
    pub orchestrator: String,
}

/// WireGuard addresses of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeWireguard {
    /// Address of the IPv4 device.
    #[serde(rename = "interfaceIPv4Address", skip_serializing_if = "String::is_empty")]
    pub interface_ipv4_address: String,
    /// Address of the IPv6 device.
    #[serde(rename = "interfaceIPv6Address", skip_serializing_if = "String::is_empty")]
    pub interface_ipv6_address: String,
}

/// An address of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeAddress {
    /// Address or CIDR.
    pub address: String,
    /// `CalicoNodeIP`, `InternalIP` or `ExternalIP`.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub address_type: String,
}

/// An interface of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeInterface {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its addresses as CIDRs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
}

/// Status of a Node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    /// Public key of the IPv4 WireGuard device.
    #[serde(rename = "wireguardPublicKey", skip_serializing_if = "String::is_empty")]
    pub wireguard_public_key: String,
    /// Public key of the IPv6 WireGuard device.
    #[serde(rename = "wireguardPublicKeyV6", skip_serializing_if = "String::is_empty")]
    pub wireguard_public_key_v6: String,
    /// Prefixes Kubernetes gave the node.
    #[serde(rename = "podCIDRs", skip_serializing_if = "Vec::is_empty")]
    pub pod_cidrs: Vec<String>,
}
