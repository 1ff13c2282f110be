//! BGP settings, neighbours and filters. Source: `resources.md` §1.15–§1.17 of the contract.

use super::{is_false, is_zero};
use crate::schema::scalar::parse_duration;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// BGPConfiguration. What is absent has the defaults of the contract's table, which readers apply: on a node's object
/// it means the cluster's value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BGPConfigurationSpec {
    /// Log level, in any case.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub log_severity_screen: String,
    /// Whether all nodes peer with each other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_to_node_mesh_enabled: Option<bool>,
    /// AS number of nodes that have no own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_number: Option<u32>,
    /// Advertised addresses of services.
    #[serde(rename = "serviceLoadBalancerIPs", skip_serializing_if = "Vec::is_empty")]
    pub service_load_balancer_ips: Vec<ServiceCidr>,
    /// Advertised addresses of services.
    #[serde(rename = "serviceExternalIPs", skip_serializing_if = "Vec::is_empty")]
    pub service_external_ips: Vec<ServiceCidr>,
    /// Advertised addresses of services.
    #[serde(rename = "serviceClusterIPs", skip_serializing_if = "Vec::is_empty")]
    pub service_cluster_ips: Vec<ServiceCidr>,
    /// `Enabled` or `Disabled`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_load_balancer_aggregation: String,
    /// Names for communities.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub communities: Vec<NamedCommunity>,
    /// Communities by prefix.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prefix_advertisements: Vec<PrefixAdvertisement>,
    /// TCP port; 0 where none is given.
    #[serde(skip_serializing_if = "is_zero")]
    pub listen_port: u16,
    /// Password of the mesh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_mesh_password: Option<BgpPassword>,
    /// Restart time announced in the mesh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_mesh_max_restart_time: Option<GoDuration>,
    /// `None` or `NodeIP`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub bind_mode: String,
    /// Interfaces whose addresses are not routes of ours, as patterns.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignored_interfaces: Vec<String>,
    /// Address local workloads peer with.
    #[serde(rename = "localWorkloadPeeringIPV4", skip_serializing_if = "String::is_empty")]
    pub local_workload_peering_ip_v4: String,
    /// Address local workloads peer with.
    #[serde(rename = "localWorkloadPeeringIPV6", skip_serializing_if = "String::is_empty")]
    pub local_workload_peering_ip_v6: String,
    /// Which routes of pools without VXLAN the BGP part programs.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub program_cluster_routes: String,
    /// Metric of routes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv4_normal_route_priority: Option<u32>,
    /// Metric of routes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6_normal_route_priority: Option<u32>,
}

/// A prefix of service addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceCidr {
    /// The prefix.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cidr: String,
}

/// A name for a community.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NamedCommunity {
    /// The name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `aa:nn` or `aa:nn:mm`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value: String,
}

/// Communities of a prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PrefixAdvertisement {
    /// The prefix.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cidr: String,
    /// Communities, or names of such.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub communities: Vec<String>,
}

/// A password kept in a Kubernetes secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BgpPassword {
    /// Where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKeyRef>,
}

/// A key of a Kubernetes secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SecretKeyRef {
    /// The secret.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The key in it.
    pub key: String,
    /// Whether it may be missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// A duration in Go's text form, such as `1m30s`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GoDuration(pub String);

impl GoDuration {
    /// The duration; `None` when it is negative or cannot be read.
    pub fn get(&self) -> Option<Duration> {
        parse_duration(&self.0)
            .and_then(|nanoseconds| u64::try_from(nanoseconds).ok())
            .map(Duration::from_nanos)
    }
}

/// BGPPeer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BGPPeerSpec {
    /// The one node that peers.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// The nodes that peer; with `node` empty too, all do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node_selector: String,
    /// The neighbour: address with an optional port.
    #[serde(rename = "peerIP", skip_serializing_if = "String::is_empty")]
    pub peer_ip: String,
    /// The neighbour's AS number; 0 where none is given.
    #[serde(skip_serializing_if = "is_zero")]
    pub as_number: u32,
    /// Our AS number towards it.
    #[serde(rename = "localASNumber", skip_serializing_if = "Option::is_none")]
    pub local_as_number: Option<u32>,
    /// Nodes that are neighbours.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub peer_selector: String,
    /// Deprecated form of `nextHopMode: Keep`.
    #[serde(skip_serializing_if = "is_false")]
    pub keep_original_next_hop: bool,
    /// `Auto`, `Self` or `Keep`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub next_hop_mode: String,
    /// Password of the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<BgpPassword>,
    /// `UseNodeIP` (the default) or `None`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source_address: String,
    /// Restart time we announce.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_restart_time: Option<GoDuration>,
    /// Time between keepalives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keepalive_time: Option<GoDuration>,
    /// How often our AS number may be in a path.
    #[serde(rename = "numAllowedLocalASNumbers", skip_serializing_if = "Option::is_none")]
    pub num_allowed_local_as_numbers: Option<i32>,
    /// Most hops to the neighbour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_security: Option<u8>,
    /// Gateway to the neighbour.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reachable_by: String,
    /// Names of filters, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<String>,
    /// Local workloads that are neighbours.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub local_workload_selector: String,
    /// `Auto` (the default) or `Manual`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reverse_peering: String,
}

/// BGPFilter: rules in order, the first match decides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BGPFilterSpec {
    /// IPv4 routes we send.
    #[serde(rename = "exportV4", skip_serializing_if = "Vec::is_empty")]
    pub export_v4: Vec<BgpFilterRule>,
    /// IPv4 routes we receive.
    #[serde(rename = "importV4", skip_serializing_if = "Vec::is_empty")]
    pub import_v4: Vec<BgpFilterRule>,
    /// IPv6 routes we send.
    #[serde(rename = "exportV6", skip_serializing_if = "Vec::is_empty")]
    pub export_v6: Vec<BgpFilterRule>,
    /// IPv6 routes we receive.
    #[serde(rename = "importV6", skip_serializing_if = "Vec::is_empty")]
    pub import_v6: Vec<BgpFilterRule>,
}

/// One rule: all of its matches have to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BgpFilterRule {
    /// Prefix the operator compares with.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cidr: String,
    /// Bounds of the route's prefix length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix_length: Option<PrefixLength>,
    /// `RemotePeers`: routes learned over BGP only.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Pattern of the route's interface.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub interface: String,
    /// `Equal`, `NotEqual`, `In` or `NotIn`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub match_operator: String,
    /// `eBGP` or `iBGP`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub peer_type: String,
    /// Communities of the route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub communities: Option<CommunityMatch>,
    /// How the AS path begins.
    #[serde(rename = "asPathPrefix", skip_serializing_if = "Vec::is_empty")]
    pub as_path_prefix: Vec<u32>,
    /// Metric of the route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// `Accept` or `Reject`.
    pub action: String,
    /// What is done to an accepted route, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<BgpOperation>,
}

/// Bounds of a prefix length; absent ones are the prefix's own length and the family's bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PrefixLength {
    /// Shortest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<u8>,
    /// Longest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u8>,
}

/// A match on communities.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CommunityMatch {
    /// The one community.
    pub values: Vec<String>,
}

/// Something done to an accepted route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BgpOperation {
    /// Adds a community.
    #[serde(rename = "addCommunity")]
    AddCommunity {
        /// The community.
        value: String,
    },
    /// Puts AS numbers before the path.
    #[serde(rename = "prependASPath")]
    PrependAsPath {
        /// The AS numbers, first one first.
        prefix: Vec<u32>,
    },
    /// Sets the metric.
    #[serde(rename = "setPriority")]
    SetPriority {
        /// The metric.
        value: u32,
    },
}
