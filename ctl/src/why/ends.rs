//! Who is meant by the words of a question.

use super::stored::Stored;
use felix_calc::endpoint::EndpointKey;
use model::Kind;
use model::net::{Family, family_of};
use model::v3::{HostEndpointSpec, WorkloadEndpointSpec};
use serde_json::Value;
use std::net::IpAddr;

/// The shortest beginning of a container ID that counts as its name.
const SHORTEST_ID: usize = 4;

/// One end of a packet's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// An endpoint that policy is about.
    Endpoint {
        /// Which.
        key: EndpointKey,
        /// The node it is on.
        node: String,
        /// Its addresses.
        addresses: Vec<IpAddr>,
    },
    /// Anywhere else: no policy of ours is about it.
    Address {
        /// Where.
        address: IpAddr,
        /// The node whose address it is.
        node: Option<String>,
    },
}

impl End {
    /// What people call it.
    pub(super) fn title(&self) -> String {
        match self {
            End::Endpoint { key: EndpointKey::Workload(namespace, name), .. } => {
                format!("WorkloadEndpoint {namespace}/{name}")
            }
            End::Endpoint { key: EndpointKey::Host(name), .. } => format!("HostEndpoint {name}"),
            End::Address { address, node: Some(node) } => format!("{address}, node {node}"),
            End::Address { address, node: None } => format!("{address}, outside"),
        }
    }

    /// The node it is on or is.
    pub(super) fn node(&self) -> Option<&str> {
        match self {
            End::Endpoint { node, .. } => Some(node),
            End::Address { node, .. } => node.as_deref(),
        }
    }

    /// Whether it is a workload.
    pub(super) fn is_workload(&self) -> bool {
        matches!(self, End::Endpoint { key: EndpointKey::Workload(..), .. })
    }

    fn addresses(&self) -> Vec<IpAddr> {
        match self {
            End::Endpoint { addresses, .. } => addresses.clone(),
            End::Address { address, .. } => vec![*address],
        }
    }
}

/// Who is meant by a text.
///
/// # Errors
/// Nobody, or several.
pub(super) fn find(stored: &Stored, text: &str) -> Result<End, String> {
    let mut found = workloads(stored, text);
    if found.is_empty() {
        found = hosts(stored, text);
    }
    match (found.len(), text.parse::<IpAddr>()) {
        (1, _) => found.pop().ok_or_else(String::new),
        (0, Ok(address)) => Ok(End::Address { address, node: node_of(stored, address) }),
        (0, Err(_)) => Err(format!(
            "{text:?} is no WorkloadEndpoint (by its name, pod, container ID, interface or address), no HostEndpoint and no \
             address; `ocicat get wep -A -o wide` lists them"
        )),
        _ => {
            let titles: Vec<String> = found.iter().map(End::title).collect();
            Err(format!("{text:?} may be any of: {}; name one of them", titles.join(", ")))
        }
    }
}

fn workloads(stored: &Stored, text: &str) -> Vec<End> {
    let last = text.rsplit('/').next().unwrap_or(text);
    let mut all = Vec::new();
    for (namespace, name, value) in stored.with(Kind::WorkloadEndpoint, last) {
        let Some(spec) = spec::<WorkloadEndpointSpec>(&value) else { continue };
        let addresses: Vec<IpAddr> = spec.ip_networks.iter().filter_map(|net| address(net)).collect();
        let names = [&name, &spec.pod, &spec.workload];
        let is_named = names
            .iter()
            .any(|one| !one.is_empty() && (**one == text || format!("{namespace}/{one}") == text));
        let is_container = text.len() >= SHORTEST_ID && spec.container_id.starts_with(text);
        let has_address = text.parse().is_ok_and(|address| addresses.contains(&address));
        if is_named || is_container || has_address || spec.interface_name == text {
            let key = EndpointKey::Workload(namespace, name);
            all.push(End::Endpoint { key, node: spec.node, addresses });
        }
    }
    all
}

fn hosts(stored: &Stored, text: &str) -> Vec<End> {
    let mut all = Vec::new();
    for (_, name, value) in stored.with(Kind::HostEndpoint, text) {
        let Some(spec) = spec::<HostEndpointSpec>(&value) else { continue };
        let mut addresses: Vec<IpAddr> = spec.expected_ips.iter().filter_map(|ip| ip.parse().ok()).collect();
        if addresses.is_empty() {
            addresses = stored.get(Kind::Node, "", &spec.node).iter().flat_map(node_addresses).collect();
        }
        let has_address = text.parse().is_ok_and(|address| addresses.contains(&address));
        if name == text || has_address {
            all.push(End::Endpoint { key: EndpointKey::Host(name), node: spec.node, addresses });
        }
    }
    all
}

/// The node whose address this is.
fn node_of(stored: &Stored, address: IpAddr) -> Option<String> {
    let text = address.to_string();
    let mut nodes = stored.with(Kind::Node, &text);
    nodes.find(|(_, _, value)| node_addresses(value).contains(&address)).map(|(_, name, _)| name)
}

/// Addresses of a Node: those BGP uses, and its others.
fn node_addresses(value: &Value) -> Vec<IpAddr> {
    let texts = ["/spec/bgp/ipv4Address", "/spec/bgp/ipv6Address"].map(|at| value.pointer(at));
    let others = value.pointer("/spec/addresses").and_then(Value::as_array);
    let others = others.into_iter().flatten().map(|one| one.get("address"));
    texts.into_iter().chain(others).flatten().filter_map(|text| address(text.as_str()?)).collect()
}

fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| text.split_once('/')?.0.parse().ok())
}

fn spec<T: serde::de::DeserializeOwned>(value: &Value) -> Option<T> {
    T::deserialize(value.get("spec")?).ok()
}

/// An address of each end, both of one family: IPv4 unless told otherwise.
///
/// # Errors
/// The ends have no family in common.
pub(super) fn addresses(from: &End, to: &End, ipv6: bool) -> Result<(IpAddr, IpAddr), String> {
    let order = if ipv6 { [Family::V6, Family::V4] } else { [Family::V4, Family::V6] };
    let of = |end: &End, family| end.addresses().into_iter().find(|address| family_of(*address) == family);
    let pair = |family| Some((of(from, family)?, of(to, family)?));
    order.into_iter().find_map(pair).ok_or_else(|| {
        let list = |end: &End| {
            let texts: Vec<String> = end.addresses().iter().map(IpAddr::to_string).collect();
            if texts.is_empty() { "no address".to_owned() } else { texts.join(", ") }
        };
        format!(
            "no packet goes from {} ({}) to {} ({}): they have no address family in common",
            from.title(),
            list(from),
            to.title(),
            list(to)
        )
    })
}
