//! Endpoints and network sets: from stored values to items of the graph (`datamodel.md` §8, `resources.md` §1.6–§1.8
//! of the contract).

use super::object::{Object, Refusal, Text, text};
use crate::endpoint::{
    Endpoint, EndpointKey, FloatingAddress, Host, HostInterface, Limit, Workload, WorkloadId,
};
use crate::graph::Graph;
use crate::selectors::{NAMESPACE, NAMESPACE_PREFIX, ORCHESTRATOR, SERVICE_ACCOUNT, SERVICE_ACCOUNT_PREFIX};
use crate::sets::{ContentPort, Contents};
use model::Kind;
use model::net::{Cidr, family_of, parse_parts};
use model::v3::{HostEndpointSpec, Protocol};
use serde::Deserialize;
use std::net::IpAddr;

/// Of a workload's endpoint what matters to policy and routes. Read by its own borrowing type and not as
/// [`model::v3::WorkloadEndpointSpec`]: these are as many as all pods of the cluster, everything else is few.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec<'a> {
    #[serde(borrow)]
    node: Option<Text<'a>>,
    #[serde(borrow)]
    orchestrator: Option<Text<'a>>,
    #[serde(borrow)]
    workload: Option<Text<'a>>,
    #[serde(borrow, rename = "containerID")]
    container_id: Option<Text<'a>>,
    #[serde(borrow)]
    pod: Option<Text<'a>>,
    #[serde(borrow)]
    endpoint: Option<Text<'a>>,
    #[serde(borrow)]
    service_account_name: Option<Text<'a>>,
    #[serde(borrow)]
    ip_networks: Vec<Text<'a>>,
    #[serde(borrow, rename = "ipNATs")]
    ip_nats: Vec<Nat<'a>>,
    #[serde(borrow)]
    profiles: Vec<Text<'a>>,
    #[serde(borrow)]
    interface_name: Option<Text<'a>>,
    #[serde(borrow)]
    mac: Option<Text<'a>>,
    #[serde(borrow)]
    ports: Vec<NamedPort<'a>>,
    #[serde(borrow)]
    allow_spoofed_source_prefixes: Vec<Text<'a>>,
    qos_controls: Option<Box<Limits>>,
}

/// What the ruleset does to a workload's packets; 0 for no limit.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Limits {
    ingress_packet_rate: i64,
    ingress_packet_burst: i64,
    ingress_max_connections: i64,
    egress_packet_rate: i64,
    egress_packet_burst: i64,
    egress_max_connections: i64,
    dscp: Option<Dscp>,
}

/// A DSCP value as it is stored.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Dscp {
    Number(i64),
    Name(String),
}

impl Dscp {
    /// `None` for one that is neither a number from 0 to 63 nor a known name; upstream's validation refuses those.
    fn value(&self) -> Option<u8> {
        match self {
            Dscp::Number(number) => u8::try_from(*number).ok().filter(|number| *number < 64),
            Dscp::Name(name) => dscp(name),
        }
    }
}

/// The value a name stands for: class selectors (RFC 2474), assured forwarding (RFC 2597), and EF, VA, LE (RFC 3246, 5865,
/// 8622); in digits also the number itself.
fn dscp(name: &str) -> Option<u8> {
    let digit = |byte: Option<&u8>, most: u8| {
        byte.and_then(|byte| byte.checked_sub(b'0')).filter(|digit| *digit <= most)
    };
    match (name, name.as_bytes()) {
        ("DF", _) => Some(0),
        ("LE", _) => Some(1),
        ("VA", _) => Some(44),
        ("EF", _) => Some(46),
        (_, [b'C', b'S', class]) => Some(8 * digit(Some(class), 7)?),
        (_, [b'A', b'F', class, drop]) => {
            let (class, drop) = (digit(Some(class), 4)?, digit(Some(drop), 3)?);
            (class > 0 && drop > 0).then_some(8 * class + 2 * drop)
        }
        (number, _) => number.parse().ok().filter(|number| *number < 64),
    }
}

/// Packets that may come at once where nothing is said.
const PACKET_BURST: u32 = 5;

fn limit(rate: i64, burst: i64, connections: i64) -> Limit {
    let positive = |number: i64| u32::try_from(number).ok().filter(|number| *number > 0);
    Limit {
        packets: u64::try_from(rate)
            .ok()
            .filter(|rate| *rate > 0)
            .map(|rate| (rate, positive(burst).unwrap_or(PACKET_BURST))),
        connections: positive(connections),
    }
}

/// A network set; some have a hundred thousand of them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Nets<'a> {
    #[serde(borrow)]
    nets: Vec<Text<'a>>,
}

#[derive(Debug, Deserialize)]
struct Nat<'a> {
    #[serde(borrow, rename = "internalIP")]
    internal: Option<Text<'a>>,
    #[serde(borrow, rename = "externalIP")]
    external: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
struct NamedPort<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    protocol: Protocol,
    port: u16,
}

/// A workload's endpoint came or changed. Whether it counts: one without addresses is as good as absent.
pub(super) fn workload(
    graph: &mut Graph,
    node: &str,
    names: (&str, &str),
    item: &str,
    value: &[u8],
) -> Result<bool, Refusal> {
    let set = |mut read: Item<'_>| {
        graph.set_item(item, &mut read.labels, &read.parents, read.contents, read.local);
    };
    Ok(read_workload(node, names, value, set)?.is_some())
}

/// Whether the policies told for this node's endpoint are those of this value; one that cannot be read is not known.
pub(super) fn is_known(graph: &Graph, node: &str, names: (&str, &str), value: &[u8]) -> bool {
    let knows = |mut read: Item<'_>| {
        read.local.is_some_and(|(key, endpoint)| graph.knows(&key, &endpoint, &mut read.labels))
    };
    read_workload(node, names, value, knows).is_ok_and(|known| known == Some(true))
}

/// A workload's endpoint as the graph takes it.
struct Item<'a> {
    labels: Vec<(&'a str, &'a str)>,
    parents: Vec<&'a str>,
    contents: Contents,
    local: Option<(EndpointKey, Endpoint)>,
}

/// What `then` makes of a workload's endpoint; `None` for one without addresses.
fn read_workload<R>(
    node: &str,
    (namespace, name): (&str, &str),
    value: &[u8],
    then: impl FnOnce(Item<'_>) -> R,
) -> Result<Option<R>, Refusal> {
    let mut spare = Vec::new();
    let mut object: Object<'_, Spec<'_>> = Object::read(Kind::WorkloadEndpoint, value, &mut spare)?;
    let spec = object.take_spec();
    let read = Read::new(&spec)?;
    if read.addresses.is_empty() {
        return Ok(None);
    }
    let contents = Contents::of_workload(&read.addresses, &read.ports);
    let reserved = |key: &str| key.starts_with(NAMESPACE_PREFIX) || key.starts_with(SERVICE_ACCOUNT_PREFIX);
    let mut labels: Vec<(&str, &str)> = object.labels().filter(|(key, _)| !reserved(key)).collect();
    labels.push((NAMESPACE, namespace));
    labels.push((ORCHESTRATOR, text(&spec.orchestrator)));
    let account = text(&spec.service_account_name);
    if !account.is_empty() {
        labels.push((SERVICE_ACCOUNT, account));
    }
    let parents: Vec<&str> = spec.profiles.iter().map(Text::as_str).collect();
    let local = (text(&spec.node) == node).then(|| {
        let key = EndpointKey::Workload(namespace.to_owned(), name.to_owned());
        (key, Endpoint::Workload(read.workload(&spec, namespace)))
    });
    Ok(Some(then(Item { labels, parents, contents, local })))
}

/// What of a workload's endpoint can be wrong, read; also of another node's, so that all nodes judge alike.
struct Read {
    mac: Option<[u8; 6]>,
    addresses: Box<[IpAddr]>,
    floating: Box<[FloatingAddress]>,
    source_prefixes: Box<[Cidr]>,
    ports: Box<[ContentPort]>,
}

impl Read {
    fn new(spec: &Spec<'_>) -> Result<Self, Refusal> {
        for (field, value) in [("node", &spec.node), ("interfaceName", &spec.interface_name)] {
            if text(value).is_empty() {
                return Err(Refusal::field(field, "", "must be given"));
            }
        }
        let addresses: Box<[IpAddr]> =
            spec.ip_networks.iter().map(|net| single(net.as_str())).collect::<Result<_, _>>()?;
        let floating = spec.ip_nats.iter().map(|nat| floating(nat, &addresses)).collect::<Result<_, _>>()?;
        let prefix = |prefix: &Text<'_>| net("allowSpoofedSourcePrefixes", prefix.as_str());
        let ports = spec.ports.iter().map(|port| (text(&port.name), &port.protocol, port.port));
        Ok(Read {
            mac: mac(text(&spec.mac))?,
            floating,
            source_prefixes: spec
                .allow_spoofed_source_prefixes
                .iter()
                .map(prefix)
                .collect::<Result<_, _>>()?,
            ports: named_ports(ports)?,
            addresses,
        })
    }

    fn workload(self, spec: &Spec<'_>, namespace: &str) -> Workload {
        let orchestrator = text(&spec.orchestrator);
        let workload = match orchestrator {
            model::names::ORCHESTRATOR_K8S => text(&spec.pod),
            model::names::ORCHESTRATOR_CNI => text(&spec.container_id),
            model::names::ORCHESTRATOR_LIBNETWORK => orchestrator,
            _ => text(&spec.workload),
        };
        let limits = spec.qos_controls.as_deref();
        let ingress = limits
            .map(|of| limit(of.ingress_packet_rate, of.ingress_packet_burst, of.ingress_max_connections));
        let egress =
            limits.map(|of| limit(of.egress_packet_rate, of.egress_packet_burst, of.egress_max_connections));
        Workload {
            id: WorkloadId {
                orchestrator: orchestrator.to_owned(),
                workload: format!("{namespace}/{workload}"),
                endpoint: text(&spec.endpoint).to_owned(),
            },
            interface: text(&spec.interface_name).into(),
            mac: self.mac,
            addresses: self.addresses,
            floating: self.floating,
            source_prefixes: self.source_prefixes,
            ports: self.ports,
            profiles: spec.profiles.iter().map(|name| name.as_str().into()).collect(),
            ingress_limit: ingress.unwrap_or_default(),
            egress_limit: egress.unwrap_or_default(),
            dscp: limits.and_then(|of| of.dscp.as_ref()?.value()),
        }
    }
}

/// A host's endpoint came or changed.
pub(super) fn host(
    graph: &mut Graph,
    node: &str,
    name: &str,
    item: &str,
    value: &[u8],
) -> Result<(), Refusal> {
    let mut spare = Vec::new();
    let mut object: Object<'_, HostEndpointSpec> = Object::read(Kind::HostEndpoint, value, &mut spare)?;
    let spec = object.take_spec();
    if spec.node.is_empty() {
        return Err(Refusal::field("node", "", "must be given"));
    }
    let interface = match spec.interface_name.as_str() {
        "*" => HostInterface::All,
        "" if spec.expected_ips.is_empty() => {
            return Err(Refusal::field("interfaceName", "", "must be given where expectedIPs is not"));
        }
        "" => HostInterface::ByAddress,
        name => HostInterface::Named(name.into()),
    };
    // upstream leaves out the ones it cannot read
    let expected: Box<[IpAddr]> = spec.expected_ips.iter().filter_map(|text| text.parse().ok()).collect();
    let ports = named_ports(spec.ports.iter().map(|port| (port.name.as_str(), &port.protocol, port.port)))?;
    let contents = Contents::new(expected.iter().copied().map(Cidr::host), ports.iter().cloned());
    let parents: Vec<&str> = spec.profiles.iter().map(String::as_str).collect();
    let local = (spec.node == node).then(|| {
        let profiles = parents.iter().map(|name| (*name).into()).collect();
        (EndpointKey::Host(name.to_owned()), Endpoint::Host(Host { interface, expected, ports, profiles }))
    });
    graph.set_item(item, &mut object.labels().collect(), &parents, contents, local);
    Ok(())
}

/// A network set came or changed; `namespace` is empty for one of the cluster.
pub(super) fn network_set(
    graph: &mut Graph,
    kind: Kind,
    namespace: &str,
    item: &str,
    value: &[u8],
) -> Result<(), Refusal> {
    let mut spare = Vec::new();
    let mut object: Object<'_, Nets<'_>> = Object::read(kind, value, &mut spare)?;
    let spec = object.take_spec();
    let nets = spec.nets.iter().map(|text| net("nets", text.as_str())).collect::<Result<Vec<_>, _>>()?;
    let contents = Contents::new(nets, []);
    let mut labels: Vec<(&str, &str)> = object.labels().collect();
    // as if it were a workload of its namespace: the namespace's labels find it, too
    let profile = format!("kns.{namespace}");
    let mut parents = Vec::new();
    if !namespace.is_empty() {
        labels.push((NAMESPACE, namespace));
        parents.push(profile.as_str());
    }
    graph.set_item(item, &mut labels, &parents, contents, None);
    Ok(())
}

fn net(field: &str, text: &str) -> Result<Cidr, Refusal> {
    Cidr::parse_masked(text)
        .or_else(|_| text.parse().map(Cidr::host))
        .map_err(|_| Refusal::field(field, text, "is no network: write one such as 10.0.0.0/8"))
}

fn single(text: &str) -> Result<IpAddr, Refusal> {
    let address = match parse_parts(text) {
        Ok((address, net)) => (net.prefix() == net.family().bits()).then_some(address),
        Err(_) => text.parse().ok(),
    };
    address.ok_or_else(|| {
        Refusal::field("ipNetworks", text, "is no single address: write one such as 10.0.0.1/32")
    })
}

fn floating(nat: &Nat<'_>, own: &[IpAddr]) -> Result<FloatingAddress, Refusal> {
    let address = |field: &str, value: &Option<Text<'_>>| -> Result<IpAddr, Refusal> {
        let refuse = |_| Refusal::field(format_args!("ipNATs.{field}"), text(value), "is no address");
        text(value).parse().map_err(refuse)
    };
    let found = FloatingAddress {
        external: address("externalIP", &nat.external)?,
        internal: address("internalIP", &nat.internal)?,
    };
    if !own.contains(&found.internal) || family_of(found.external) != family_of(found.internal) {
        let wanted = "must be one of ipNetworks, of the same family as externalIP";
        return Err(Refusal::field("ipNATs.internalIP", text(&nat.internal), wanted));
    }
    Ok(found)
}

/// The named ports; those without a name are for the host's own use.
fn named_ports<'a>(
    ports: impl Iterator<Item = (&'a str, &'a Protocol, u16)>,
) -> Result<Box<[ContentPort]>, Refusal> {
    let mut named = Vec::new();
    for (name, protocol, port) in ports.filter(|(name, ..)| !name.is_empty()) {
        let number = protocol.number().filter(|_| protocol.has_ports() && port != 0).ok_or_else(|| {
            let value = format!("{protocol} {port}");
            Refusal::field(
                format_args!("ports.{name}"),
                &value,
                "is no port of TCP, UDP or SCTP from 1 to 65535",
            )
        })?;
        named.push(ContentPort { name: name.into(), protocol: number, port });
    }
    Ok(named.into())
}

fn mac(text: &str) -> Result<Option<[u8; 6]>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    let mut octets = [0; 6];
    let mut parts = text.split([':', '-']);
    let whole = octets.iter_mut().all(|octet| {
        let part = parts.next().filter(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()));
        part.and_then(|part| u8::from_str_radix(part, 16).ok()).map(|number| *octet = number).is_some()
    });
    if whole && parts.next().is_none() {
        return Ok(Some(octets));
    }
    Err(Refusal::field("mac", text, "is no MAC address: write one such as 0a:00:00:00:00:01"))
}
