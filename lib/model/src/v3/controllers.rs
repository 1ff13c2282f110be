//! The controllers beside Kubernetes, and reports of nodes. Source: `resources.md` §0.2, §1.20 and `datamodel.md` §3 of
//! the contract.

use super::bgp::GoDuration;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// What may be switched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Switch {
    /// On.
    #[default]
    Enabled,
    /// Off; also what an unknown word is taken for.
    #[serde(other)]
    Disabled,
}

/// KubeControllersConfiguration `default`; what is missing has the meaning it has at run time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KubeControllersConfigurationSpec {
    /// Least severity that is logged.
    pub log_severity_screen: String,
    /// Whether health is reported.
    pub health_checks: Switch,
    /// Between two compactions of etcd; 0 for none.
    pub etcd_v3_compaction_period: GoDuration,
    /// Port of the metrics; 0 for none.
    pub prometheus_metrics_port: u16,
    /// The controllers; one that is absent does not run.
    pub controllers: Controllers,
    /// Port for profiles, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub debug_profile_port: Option<u16>,
}

impl Default for KubeControllersConfigurationSpec {
    fn default() -> Self {
        Self {
            log_severity_screen: "Info".to_owned(),
            health_checks: Switch::Enabled,
            etcd_v3_compaction_period: minutes(10),
            prometheus_metrics_port: 9094,
            controllers: Controllers::default(),
            debug_profile_port: None,
        }
    }
}

fn minutes(count: u64) -> GoDuration {
    GoDuration(format!("{count}m0s"))
}

/// Which controllers run, and how.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Controllers {
    /// Nodes: their host endpoints, labels, and the addresses that got lost with them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeController>,
    /// Kubernetes' policies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PeriodicController>,
    /// Workload endpoints' pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload_endpoint: Option<PeriodicController>,
    /// Service accounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<PeriodicController>,
    /// Namespaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<PeriodicController>,
    /// Addresses of services.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<LoadBalancerController>,
    /// Names of policies that older releases wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migration: Option<MigrationController>,
}

/// A controller that looks at everything now and then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PeriodicController {
    /// Between two looks.
    pub reconciler_period: GoDuration,
}

impl Default for PeriodicController {
    fn default() -> Self {
        Self { reconciler_period: minutes(5) }
    }
}

/// The controller of nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeController {
    /// Between two looks.
    pub reconciler_period: GoDuration,
    /// Whether nodes get the labels of Kubernetes' nodes.
    pub sync_labels: Switch,
    /// Host endpoints that are made for nodes.
    pub host_endpoint: AutoHostEndpoints,
    /// How long an address that nobody seems to use is left alone; 0: for ever.
    pub leak_grace_period: GoDuration,
}

impl Default for NodeController {
    fn default() -> Self {
        Self {
            reconciler_period: minutes(5),
            sync_labels: Switch::Enabled,
            host_endpoint: AutoHostEndpoints::default(),
            leak_grace_period: minutes(15),
        }
    }
}

impl NodeController {
    /// The grace period; none where leaks are not looked for.
    pub fn leak_grace(&self) -> Option<Duration> {
        self.leak_grace_period.get().filter(|period| !period.is_zero())
    }
}

/// Host endpoints that are made for nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AutoHostEndpoints {
    /// Whether they are.
    pub auto_create: Switch,
    /// Whether there is one for all links of a node.
    pub create_default_host_endpoint: Switch,
    /// Others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub templates: Vec<HostEndpointTemplate>,
}

impl Default for AutoHostEndpoints {
    fn default() -> Self {
        Self {
            auto_create: Switch::Disabled,
            create_default_host_endpoint: Switch::Enabled,
            templates: Vec::new(),
        }
    }
}

/// Host endpoints of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HostEndpointTemplate {
    /// What their names have in common.
    pub generate_name: String,
    /// Which addresses of the node they have.
    #[serde(rename = "interfaceCIDRs", skip_serializing_if = "Vec::is_empty")]
    pub interface_cidrs: Vec<String>,
    /// Which links they are for, as a regular expression.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub interface_pattern: String,
    /// Their labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Their annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Which nodes have them; all when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node_selector: String,
}

/// The controller of services' addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancerController {
    /// Which services get one.
    #[serde(rename = "assignIPs")]
    pub assign_ips: AssignIps,
}

/// Which services get an address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AssignIps {
    /// Every service that may have one.
    #[default]
    AllServices,
    /// Those that ask; also what an unknown word is taken for.
    #[serde(other)]
    RequestedServicesOnly,
}

/// The controller of names that older releases wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MigrationController {
    /// Whether policies get the names of this release.
    pub policy_name_migrator: Switch,
}

/// CalicoNodeStatus: a report that a node is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CalicoNodeStatusSpec {
    /// The node.
    pub node: String,
    /// What it is asked about.
    pub classes: Vec<NodeStatusClass>,
    /// Seconds between two reports; 0 for one only.
    pub update_period_seconds: u32,
}

/// What a node reports about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum NodeStatusClass {
    /// The BGP daemon.
    Agent,
    /// Its sessions.
    BGP,
    /// Its routes.
    Routes,
    /// Something this version does not know.
    #[serde(other)]
    Unknown,
}

/// What a node reported.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CalicoNodeStatusStatus {
    /// When; none before the first report.
    pub last_updated: Option<String>,
    /// The BGP daemon.
    pub agent: AgentStatus,
    /// Its sessions.
    pub bgp: BgpStatus,
    /// Its routes.
    pub routes: RoutesStatus,
}

/// The BGP daemon, family by family.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentStatus {
    /// IPv4.
    pub bird_v4: DaemonStatus,
    /// IPv6.
    pub bird_v6: DaemonStatus,
}

/// A BGP daemon. Times are texts as the daemon gives them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DaemonStatus {
    /// `Ready` or `NotReady`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// Its version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Its BGP identifier.
    #[serde(rename = "routerID", skip_serializing_if = "String::is_empty")]
    pub router_id: String,
    /// When it started.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last_boot_time: String,
    /// When it last read its configuration.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last_reconfiguration_time: String,
}

/// Sessions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BgpStatus {
    /// Of IPv4, established.
    pub number_established_v4: i64,
    /// Of IPv4, not established.
    pub number_not_established_v4: i64,
    /// Of IPv6, established.
    pub number_established_v6: i64,
    /// Of IPv6, not established.
    pub number_not_established_v6: i64,
    /// Of IPv4, one by one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peers_v4: Vec<PeerStatus>,
    /// Of IPv6, one by one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peers_v6: Vec<PeerStatus>,
}

/// A session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PeerStatus {
    /// The neighbour's address.
    #[serde(rename = "peerIP", skip_serializing_if = "String::is_empty")]
    pub peer_ip: String,
    /// `NodeMesh`, `NodePeer` or `GlobalPeer`.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Its state, named as in RFC 4271 §8.2.2.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// Since when.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub since: String,
}

/// Routes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RoutesStatus {
    /// Of IPv4.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes_v4: Vec<RouteStatus>,
    /// Of IPv6.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes_v6: Vec<RouteStatus>,
}

/// A route.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteStatus {
    /// `FIB` or `RIB`.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Where it leads.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub destination: String,
    /// Through whom.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gateway: String,
    /// Out of which link.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub interface: String,
    /// Who told.
    pub learned_from: RouteSource,
}

/// Who told about a route.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteSource {
    /// `Kernel`, `Static`, `Direct`, `NodeMesh` or `BGPPeer`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source_type: String,
    /// The neighbour's address, where there is one.
    #[serde(rename = "peerIP", skip_serializing_if = "String::is_empty")]
    pub peer_ip: String,
}
