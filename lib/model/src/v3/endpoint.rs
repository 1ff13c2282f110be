//! Endpoints: interfaces of workloads and of hosts. Source: `resources.md` §1.7, §1.8 of the contract.

use super::{Protocol, is_zero};
use crate::net::{Cidr, parse_parts};
use serde::{Deserialize, Serialize};

/// WorkloadEndpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadEndpointSpec {
    /// `k8s`, `cni`, `libnetwork` or another.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub orchestrator: String,
    /// The workload's name for other orchestrators.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub workload: String,
    /// Node it runs on.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// CNI container ID.
    #[serde(rename = "containerID", skip_serializing_if = "String::is_empty")]
    pub container_id: String,
    /// Pod name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pod: String,
    /// Interface name inside the workload.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub endpoint: String,
    /// Service account of the pod.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_account_name: String,
    /// Its addresses as single-address CIDRs; see [`WorkloadEndpointSpec::nets`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ip_networks: Vec<String>,
    /// Floating addresses.
    #[serde(rename = "ipNATs", skip_serializing_if = "Vec::is_empty")]
    pub ip_nats: Vec<IpNat>,
    /// Gateway inside the workload.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ipv4_gateway: String,
    /// Gateway inside the workload.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ipv6_gateway: String,
    /// Profiles in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<String>,
    /// Interface name on the host.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub interface_name: String,
    /// MAC address inside the workload.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// Named ports and host ports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<EndpointPort>,
    /// Foreign source addresses the workload may use.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow_spoofed_source_prefixes: Vec<String>,
    /// Limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qos_controls: Option<QosControls>,
}

impl WorkloadEndpointSpec {
    /// Its addresses; a bare address counts as itself, what cannot be read is skipped.
    pub fn nets(&self) -> impl Iterator<Item = Cidr> {
        self.ip_networks.iter().filter_map(|text| match parse_parts(text) {
            Ok((_, net)) => Some(net),
            Err(_) => text.parse().ok().map(Cidr::host),
        })
    }
}

/// A floating address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IpNat {
    /// Address of the workload.
    #[serde(rename = "internalIP")]
    pub internal_ip: String,
    /// Address others use.
    #[serde(rename = "externalIP")]
    pub external_ip: String,
}

/// A named port or a host port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointPort {
    /// Its name; may be empty for host ports.
    pub name: String,
    /// Its protocol.
    pub protocol: Protocol,
    /// Port inside the workload.
    pub port: u16,
    /// Port on the host; 0 for none.
    pub host_port: u16,
    /// Address on the host; empty for all.
    #[serde(rename = "hostIP")]
    pub host_ip: String,
}

macro_rules! qos {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        /// Limits of a workload; 0 for none.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct QosControls {
            $($(#[$doc])* #[serde(skip_serializing_if = "is_zero")] pub $field: i64,)*
            /// DSCP mark of what leaves the workload, a name or a number.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub dscp: Option<serde_json::Value>,
        }
    };
}

qos! {
    /// bit/s
    ingress_bandwidth,
    /// bit/s
    egress_bandwidth,
    /// bits
    ingress_burst,
    /// bits
    egress_burst,
    /// bit/s
    ingress_peakrate,
    /// bit/s
    egress_peakrate,
    /// bytes
    ingress_minburst,
    /// bytes
    egress_minburst,
    /// packets/s
    ingress_packet_rate,
    /// packets/s
    egress_packet_rate,
    /// packets
    ingress_packet_burst,
    /// packets
    egress_packet_burst,
    /// connections
    ingress_max_connections,
    /// connections
    egress_max_connections,
}

/// HostEndpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HostEndpointSpec {
    /// Node it is on.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// Interface, or `*` for all.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub interface_name: String,
    /// Addresses that identify the interface when it has no name.
    #[serde(rename = "expectedIPs", skip_serializing_if = "Vec::is_empty")]
    pub expected_ips: Vec<String>,
    /// Profiles in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<String>,
    /// Named ports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<HostPort>,
}

/// A named port of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostPort {
    /// Its name.
    pub name: String,
    /// Its protocol.
    pub protocol: Protocol,
    /// Its number.
    pub port: u16,
}
