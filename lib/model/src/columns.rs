//! The columns a table shows per kind: one row a column, in the order in which they stand in the table.
//!
//! Cells are read from the raw JSON, so that a table can be printed of whatever is stored.
//! Source: `calicoctl.md` §4 of the contract (headings, cell rules) and the recordings under `ctl/get`. Where
//! upstream's template checker panics (rules counted, classes, NATs, pod selector) the cell shows what is meant.

#[cfg(test)]
mod tests;

use crate::kind::Kind;
use crate::number::go_float;
use crate::resource::Resource;
use serde_json::Value;

/// What a cell shows for a number or flag that is not set and has no default.
const UNSET: &str = "<nil>";
/// Lists of networks are cut to so many characters.
const LIST_WIDTH: usize = 80;

/// What cells need to know besides the resource.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// AS number of nodes that have none of their own: the cluster's, or `unknown`.
    pub default_as_number: String,
}

/// In which tables a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// In the default table and in the wide one.
    Always,
    /// In the wide table only.
    Wide,
    /// Only when asked for by its heading.
    OnRequest,
}

/// One column.
#[derive(Debug)]
pub struct Column {
    /// Its heading.
    pub heading: &'static str,
    shown: Shown,
    /// The cell of a resource.
    pub cell: fn(&Resource, &Facts) -> String,
}

/// Which table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// The default one.
    Default,
    /// With more columns.
    Wide,
}

/// The columns of a table, with the namespace in front if asked for and the kind has one.
pub fn table(kind: Kind, width: Width, namespace: bool) -> Vec<&'static Column> {
    let in_table = |column: &&Column| match column.shown {
        Shown::Always => true,
        Shown::Wide => width == Width::Wide,
        Shown::OnRequest => false,
    };
    let namespace = (namespace && kind.namespaced()).then_some(&NAMESPACE);
    namespace.into_iter().chain(columns(kind).iter().filter(in_table)).collect()
}

/// The column of this heading, in any case.
pub fn by_heading(kind: Kind, heading: &str) -> Option<&'static Column> {
    all(kind).find(|column| column.heading.eq_ignore_ascii_case(heading))
}

/// Every column of a kind.
pub fn all(kind: Kind) -> impl Iterator<Item = &'static Column> {
    kind.namespaced().then_some(&NAMESPACE).into_iter().chain(columns(kind))
}

const fn column(heading: &'static str, shown: Shown, cell: fn(&Resource, &Facts) -> String) -> Column {
    Column { heading, shown, cell }
}

const fn always(heading: &'static str, cell: fn(&Resource, &Facts) -> String) -> Column {
    column(heading, Shown::Always, cell)
}

const fn wide(heading: &'static str, cell: fn(&Resource, &Facts) -> String) -> Column {
    column(heading, Shown::Wide, cell)
}

static NAMESPACE: Column = column("NAMESPACE", Shown::OnRequest, |r, _| r.namespace().to_owned());
const NAME: Column = always("NAME", |r, _| r.name().to_owned());
const NODE: Column = always("NODE", |r, _| text(r, "/node"));
const TIER: Column = always("TIER", |r, _| text(r, "/tier"));
const NETS: Column = wide("NETS", |r, _| truncated(r, "/nets"));
const ORDER: Column = wide("ORDER", |r, _| order(r));
const SELECTOR: Column = wide("SELECTOR", |r, _| text(r, "/selector"));

static NAME_ONLY: [Column; 1] = [NAME];
static POLICY: [Column; 4] = [NAME, TIER, ORDER, SELECTOR];
static NETWORK_SET: [Column; 2] = [NAME, NETS];
static BGP_CONFIGURATION: [Column; 4] = [
    NAME,
    always("LOGSEVERITY", |r, _| text(r, "/logSeverityScreen")),
    always("MESHENABLED", |r, _| flag(r, "/nodeToNodeMeshEnabled", "-")),
    always("ASNUMBER", |r, _| number(r, "/asNumber", "-")),
];
static BGP_FILTER: [Column; 5] = [
    NAME,
    always("NUMEXPORTV4", |r, _| count(r, "/exportV4")),
    always("NUMIMPORTV4", |r, _| count(r, "/importV4")),
    always("NUMEXPORTV6", |r, _| count(r, "/exportV6")),
    always("NUMIMPORTV6", |r, _| count(r, "/importV6")),
];
static BGP_PEER: [Column; 4] = [
    NAME,
    always("PEERIP", |r, _| text(r, "/peerIP")),
    always("NODE", |r, _| first_of([text(r, "/node"), text(r, "/nodeSelector"), "(global)".to_owned()])),
    always("ASN", |r, _| number(r, "/asNumber", "0")),
];
static NODE_STATUS: [Column; 3] = [NAME, NODE, wide("CLASSES", |r, _| list(r, "/classes"))];
static CLUSTER_INFORMATION: [Column; 5] = [
    NAME,
    always("CLUSTERGUID", |r, _| text(r, "/clusterGUID")),
    always("CLUSTERTYPE", |r, _| text(r, "/clusterType")),
    always("CALICOVERSION", |r, _| text(r, "/calicoVersion")),
    always("DATASTOREREADY", |r, _| flag(r, "/datastoreReady", UNSET)),
];
static HOST_ENDPOINT: [Column; 5] = [
    NAME,
    NODE,
    wide("INTERFACE", |r, _| text(r, "/interfaceName")),
    wide("IPS", |r, _| list(r, "/expectedIPs")),
    wide("PROFILES", |r, _| list(r, "/profiles")),
];
static IPAM_CONFIGURATION: [Column; 4] = [
    NAME,
    always("STRICTAFFINITY", |r, _| flag(r, "/strictAffinity", "false")),
    always("AUTOALLOCATEBLOCKS", |r, _| flag(r, "/autoAllocateBlocks", "false")),
    wide("MAXBLOCKSPERHOST", |r, _| number(r, "/maxBlocksPerHost", "0")),
];
static IP_POOL: [Column; 9] = [
    NAME,
    always("CIDR", |r, _| text(r, "/cidr")),
    wide("NAT", |r, _| flag(r, "/natOutgoing", "false")),
    wide("IPIPMODE", |r, _| first_of([text(r, "/ipipMode"), "Never".to_owned()])),
    wide("VXLANMODE", |r, _| first_of([text(r, "/vxlanMode"), "Never".to_owned()])),
    wide("DISABLED", |r, _| flag(r, "/disabled", "false")),
    wide("DISABLEBGPEXPORT", |r, _| flag(r, "/disableBGPExport", "false")),
    always("SELECTOR", |r, _| text(r, "/nodeSelector")),
    wide("ASSIGNMENTMODE", |r, _| text(r, "/assignmentMode")),
];
static IP_RESERVATION: [Column; 2] = [NAME, wide("CIDRS", |r, _| truncated(r, "/reservedCIDRs"))];
static HOST: [Column; 4] = [
    NAME,
    wide("ASN", as_number),
    wide("IPV4", |r, _| text(r, "/bgp/ipv4Address")),
    wide("IPV6", |r, _| text(r, "/bgp/ipv6Address")),
];
static PROFILE: [Column; 2] = [NAME, wide("LABELS", |r, _| pairs(r, "/labelsToApply"))];
static KUBERNETES_POLICY: [Column; 2] = [NAME, wide("PODSELECTOR", pod_selector)];
static TIERS: [Column; 2] = [NAME, always("ORDER", |r, _| order(r))];
static WORKLOAD_ENDPOINT: [Column; 8] = [
    wide("NAME", |r, _| r.name().to_owned()),
    always("WORKLOAD", |r, _| first_of([text(r, "/workload"), text(r, "/pod")])),
    NODE,
    always("NETWORKS", |r, _| list(r, "/ipNetworks")),
    always("INTERFACE", |r, _| text(r, "/interfaceName")),
    wide("PROFILES", |r, _| list(r, "/profiles")),
    wide("NATS", nats),
    column("ORCHESTRATOR", Shown::OnRequest, |r, _| text(r, "/orchestrator")),
];

fn columns(kind: Kind) -> &'static [Column] {
    match kind {
        Kind::BGPConfiguration => &BGP_CONFIGURATION,
        Kind::BGPFilter => &BGP_FILTER,
        Kind::BGPPeer => &BGP_PEER,
        Kind::CalicoNodeStatus => &NODE_STATUS,
        Kind::ClusterInformation => &CLUSTER_INFORMATION,
        Kind::GlobalNetworkPolicy
        | Kind::NetworkPolicy
        | Kind::StagedGlobalNetworkPolicy
        | Kind::StagedNetworkPolicy => &POLICY,
        Kind::GlobalNetworkSet | Kind::NetworkSet => &NETWORK_SET,
        Kind::HostEndpoint => &HOST_ENDPOINT,
        Kind::IPAMConfiguration => &IPAM_CONFIGURATION,
        Kind::IPPool => &IP_POOL,
        Kind::IPReservation => &IP_RESERVATION,
        Kind::Node => &HOST,
        Kind::Profile => &PROFILE,
        Kind::StagedKubernetesNetworkPolicy => &KUBERNETES_POLICY,
        Kind::Tier => &TIERS,
        Kind::WorkloadEndpoint => &WORKLOAD_ENDPOINT,
        Kind::BlockAffinity
        | Kind::FelixConfiguration
        | Kind::IPAMConfig
        | Kind::KubeControllersConfiguration
        | Kind::LiveMigration => &NAME_ONLY,
    }
}

fn field<'a>(resource: &'a Resource, pointer: &str) -> &'a Value {
    resource.spec().pointer(pointer).unwrap_or(&Value::Null)
}

fn text(resource: &Resource, pointer: &str) -> String {
    match field(resource, pointer) {
        Value::Null => String::new(),
        value => plain(value),
    }
}

fn flag(resource: &Resource, pointer: &str, unset: &str) -> String {
    field(resource, pointer).as_bool().map_or_else(|| unset.to_owned(), |value| value.to_string())
}

fn number(resource: &Resource, pointer: &str, unset: &str) -> String {
    match field(resource, pointer) {
        Value::Null => unset.to_owned(),
        value => plain(value),
    }
}

/// Orders of tiers and policies are floats.
fn order(resource: &Resource) -> String {
    field(resource, "/order").as_f64().map_or_else(|| UNSET.to_owned(), go_float)
}

fn count(resource: &Resource, pointer: &str) -> String {
    field(resource, pointer).as_array().map_or(0, Vec::len).to_string()
}

fn list(resource: &Resource, pointer: &str) -> String {
    let items = field(resource, pointer).as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().map(plain).collect::<Vec<_>>().join(",")
}

fn truncated(resource: &Resource, pointer: &str) -> String {
    const ELLIPSIS: &str = "...";
    let whole = list(resource, pointer);
    if whole.chars().count() <= LIST_WIDTH {
        return whole;
    }
    whole.chars().take(LIST_WIDTH - ELLIPSIS.len()).chain(ELLIPSIS.chars()).collect()
}

fn pairs(resource: &Resource, pointer: &str) -> String {
    let Some(map) = field(resource, pointer).as_object() else { return String::new() };
    let mut pairs: Vec<String> = map.iter().map(|(key, value)| format!("{key}={}", plain(value))).collect();
    pairs.sort_unstable();
    pairs.join(",")
}

fn as_number(node: &Resource, facts: &Facts) -> String {
    match field(node, "/bgp") {
        Value::Null => String::new(),
        bgp => match bgp.get("asNumber") {
            None | Some(Value::Null) => format!("({})", facts.default_as_number),
            Some(own) => plain(own),
        },
    }
}

/// As kubectl writes a label selector: `a=b,c in (d,e),!f`.
fn pod_selector(policy: &Resource, _: &Facts) -> String {
    let mut terms: Vec<String> = Vec::new();
    let labels = pairs(policy, "/podSelector/matchLabels");
    if !labels.is_empty() {
        terms.push(labels);
    }
    let expressions = field(policy, "/podSelector/matchExpressions").as_array().map(Vec::as_slice);
    for expression in expressions.unwrap_or_default() {
        let part = |name: &str| expression.get(name).map(plain).unwrap_or_default();
        let values =
            expression.get("values").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let values = values.iter().map(plain).collect::<Vec<_>>().join(",");
        let key = part("key");
        terms.push(match part("operator").as_str() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key,
        });
    }
    terms.join(",")
}

/// `<external>-><internal>`, the way a packet to the floating address goes.
fn nats(endpoint: &Resource, _: &Facts) -> String {
    let nats = field(endpoint, "/ipNATs").as_array().map(Vec::as_slice).unwrap_or_default();
    let side = |nat: &Value, name: &str| nat.get(name).map(plain).unwrap_or_default();
    let arrows = nats.iter().map(|nat| format!("{}->{}", side(nat, "externalIP"), side(nat, "internalIP")));
    arrows.collect::<Vec<_>>().join(",")
}

fn first_of<const N: usize>(texts: [String; N]) -> String {
    texts.into_iter().find(|text| !text.is_empty()).unwrap_or_default()
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}
