//! Packets, and made-up ones that are near what a cluster's rules are about.

use super::cluster::{Cluster, HOST_INTERFACES, OUTSIDERS};
use super::object::{identity, list, prefix, protocol, text, texts};
use super::rules::{PORTS, STRANGE_NETS};
use crate::random::Random;
use model::net::{Cidr, Family};
use serde_json::Value;
use std::net::IpAddr;

/// What policy looks at in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it goes to; of the same family.
    pub destination: IpAddr,
    /// Protocol number.
    pub protocol: u8,
    /// Source and destination port, of TCP, UDP and SCTP.
    pub ports: Option<(u16, u16)>,
    /// Type and code, of ICMP in IPv4 and ICMPv6 in IPv6.
    pub icmp: Option<(u8, u8)>,
}

impl Packet {
    /// Its family.
    pub fn family(&self) -> Family {
        model::net::family_of(self.source)
    }

    /// 4 or 6.
    pub fn version(&self) -> u8 {
        self.family().number()
    }
}

/// One end of a packet's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A workload of the node, by namespace and name of its endpoint.
    Workload(String, String),
    /// Beyond an interface of the host.
    Beyond(&'static str),
    /// A process of the host.
    Host,
}

/// A packet and where it comes from and goes to, seen from the node.
#[derive(Debug, Clone)]
pub struct Passage {
    /// Where it comes from.
    pub from: Place,
    /// Where it goes.
    pub to: Place,
    /// The packet.
    pub packet: Packet,
}

/// Places of a cluster's node with their addresses of one family.
fn places(cluster: &Cluster, family: Family) -> Vec<(Place, Vec<IpAddr>)> {
    let of_family = |addresses: Vec<IpAddr>| -> Vec<IpAddr> {
        addresses.into_iter().filter(|address| model::net::family_of(*address) == family).collect()
    };
    let parse = |texts: &[&str]| of_family(texts.iter().filter_map(|text| text.parse().ok()).collect());
    let mut all = Vec::new();
    for endpoint in cluster.local_workloads() {
        let (_, namespace, name) = identity(endpoint);
        let addresses = texts(&endpoint["spec"], "ipNetworks").filter_map(prefix).map(|net| net.addr());
        all.push((Place::Workload(namespace.to_owned(), name.to_owned()), of_family(addresses.collect())));
    }
    for (interface, addresses) in HOST_INTERFACES {
        all.push((Place::Host, parse(addresses)));
        let outsiders = OUTSIDERS.iter().filter(|(through, _)| *through == interface);
        all.push((
            Place::Beyond(interface),
            parse(&outsiders.map(|(_, address)| *address).collect::<Vec<_>>()),
        ));
    }
    all.retain(|(_, addresses)| !addresses.is_empty());
    all
}

/// A packet between two places of the node, to an address of the other, or to one that is translated on the way. `None`
/// where the node has no two places of a family.
pub fn passage(cluster: &Cluster, random: &mut Random) -> Option<Passage> {
    let family = if random.chance(60) { Family::V4 } else { Family::V6 };
    let places = places(cluster, family);
    let (from, sources) = random.pick(&places).clone();
    let mut source = *random.pick(&sources);
    if let Place::Workload(..) = from {
        let foreign = foreign_sources(cluster, &from, family, random);
        if !foreign.is_empty() && random.chance(15) {
            source = *random.pick(&foreign);
        } else if random.chance(5) {
            // the address of somebody else
            let (_, others) = random.pick(&places);
            source = *random.pick(others);
        }
    }
    let of_family = |(_, address): &(Place, IpAddr)| model::net::family_of(*address) == family;
    let floating: Vec<_> = floating(cluster).filter(of_family).collect();
    if !floating.is_empty() && random.chance(15) {
        let (to, external) = random.pick(&floating).clone();
        return Some(Passage { from, to, packet: packet(source, external, cluster, random) });
    }
    if random.chance(8)
        && let Some((to, packet)) = service(cluster, source, &places, random)
        && to != from
    {
        return Some(Passage { from, to, packet });
    }
    let others: Vec<_> = places
        .iter()
        .filter(|(place, _)| *place != from)
        .filter(|(place, _)| {
            !matches!((&from, place), (Place::Beyond(_), Place::Beyond(_))) || random.chance(40)
        })
        .collect();
    if others.is_empty() {
        return None;
    }
    let (to, destinations) = (*random.pick(&others)).clone();
    let packet = packet(source, *random.pick(&destinations), cluster, random);
    Some(Passage { from, to, packet })
}

/// Floating addresses of the node's workloads.
fn floating(cluster: &Cluster) -> impl Iterator<Item = (Place, IpAddr)> {
    cluster.local_workloads().flat_map(|endpoint| {
        let (_, namespace, name) = identity(endpoint);
        let place = Place::Workload(namespace.to_owned(), name.to_owned());
        let external = |nat: &Value| prefix(text(nat, "externalIP")).map(|net| net.addr());
        list(&endpoint["spec"], "ipNATs").filter_map(external).map(move |address| (place.clone(), address))
    })
}

/// Addresses a workload may ask to send from, beside its own.
fn foreign_sources(cluster: &Cluster, from: &Place, family: Family, random: &mut Random) -> Vec<IpAddr> {
    let is = |endpoint: &&Value| {
        let (_, namespace, name) = identity(endpoint);
        *from == Place::Workload(namespace.to_owned(), name.to_owned())
    };
    let endpoint = cluster.local_workloads().find(is).into_iter();
    let nets = endpoint
        .flat_map(|endpoint| texts(&endpoint["spec"], "allowSpoofedSourcePrefixes"))
        .filter_map(prefix)
        .filter(|net| net.family() == family);
    nets.map(|net| within(&net, random)).collect()
}

/// A packet to a service of a family, and where it goes.
fn service(
    cluster: &Cluster,
    source: IpAddr,
    places: &[(Place, Vec<IpAddr>)],
    random: &mut Random,
) -> Option<(Place, Packet)> {
    let mut all = super::services::all(cluster);
    all.retain(|service| service.target.0.is_ipv4() == source.is_ipv4());
    let service = (!all.is_empty()).then(|| *random.pick(&all))?;
    let own = places.iter().find(|(place, _)| *place == Place::Host).map(|(_, own)| *random.pick(own));
    let to = places.iter().find(|(_, addresses)| addresses.contains(&service.target.0))?.0.clone();
    let protocol = *random.pick(&[6, 17]);
    let ports = Some((20000 + u16::try_from(random.below(20000)).ok()?, service.port));
    Some((to, Packet { source, destination: service.address.or(own)?, protocol, ports, icmp: None }))
}

/// Whether a workload sends with an address that is not its own.
pub fn is_spoofed(cluster: &Cluster, passage: &Passage) -> bool {
    let Place::Workload(namespace, name) = &passage.from else { return false };
    let own =
        |endpoint: &&Value| identity(endpoint) == ("WorkloadEndpoint", namespace.as_str(), name.as_str());
    let owns = |endpoint: &Value| {
        let mut nets = texts(&endpoint["spec"], "ipNetworks").filter_map(prefix);
        nets.any(|net| net.contains(passage.packet.source))
    };
    !cluster.local_workloads().find(own).is_some_and(owns)
}

/// Any packet an endpoint might be asked about: addresses may be far from where anything is.
pub fn any_packet(cluster: &Cluster, own: Option<IpAddr>, random: &mut Random) -> Option<(Packet, bool)> {
    let family = own.map_or(if random.chance(60) { Family::V4 } else { Family::V6 }, model::net::family_of);
    let mut pool: Vec<IpAddr> = Vec::new();
    for resource in &cluster.resources {
        let spec = &resource["spec"];
        for field in ["ipNetworks", "expectedIPs", "nets"] {
            pool.extend(texts(spec, field).filter_map(prefix).map(|net| within(&net, random)));
        }
        for side in list(spec, "ingress")
            .chain(list(spec, "egress"))
            .flat_map(|rule| [&rule["source"], &rule["destination"]])
        {
            for field in ["nets", "notNets"] {
                pool.extend(texts(side, field).filter_map(prefix).map(|net| near(&net, random)));
            }
        }
    }
    pool.extend(STRANGE_NETS.iter().filter_map(|text| prefix(text)).map(|net| near(&net, random)));
    pool.retain(|address| model::net::family_of(*address) == family);
    let other = *random.pick(&pool);
    let own = own.unwrap_or(*random.pick(&pool));
    let outward = random.chance(50);
    let (source, destination) = if outward { (own, other) } else { (other, own) };
    Some((packet(source, destination, cluster, random), outward))
}

/// An address inside.
fn within(net: &Cidr, random: &mut Random) -> IpAddr {
    let offset = u128::from(random.number()) % net.size().max(1);
    net.nth(offset).unwrap_or(net.addr())
}

/// An address inside, at either end, or just outside.
fn near(net: &Cidr, random: &mut Random) -> IpAddr {
    let number = model::net::to_number(net.addr());
    let last = number.saturating_add(net.size().saturating_sub(1));
    let chosen = match random.below(5) {
        0 => number,
        1 => last,
        2 => number.saturating_sub(1),
        3 => last.saturating_add(1),
        _ => return within(net, random),
    };
    let limit = if net.family() == Family::V4 { u128::from(u32::MAX) } else { u128::MAX };
    model::net::from_number(net.family(), chosen.min(limit))
}

fn packet(source: IpAddr, destination: IpAddr, cluster: &Cluster, random: &mut Random) -> Packet {
    let v4 = source.is_ipv4();
    let icmp = if v4 { 1 } else { 58 };
    let mut protocol = *random.pick(&[6, 6, 6, 17, 17, 17, 132, 132, icmp, icmp, 47]);
    let mut pair = (port(cluster, random), port(cluster, random));
    // a named port means the one of the endpoint that has the address
    if random.chance(25)
        && let Some((of, number)) = named_port(cluster, source, random)
    {
        (protocol, pair.0) = (of, number);
    } else if random.chance(25)
        && let Some((of, number)) = named_port(cluster, destination, random)
    {
        (protocol, pair.1) = (of, number);
    }
    let ports = matches!(protocol, 6 | 17 | 132).then_some(pair);
    let types: &[u8] = if v4 { &[8, 8, 13, 3] } else { &[128, 128, 139, 1] };
    let icmp = (protocol == icmp).then(|| (*random.pick(types), *random.pick(&[0, 0, 1])));
    Packet { source, destination, protocol, ports, icmp }
}

/// Protocol and number of a named port of an endpoint with this address.
fn named_port(cluster: &Cluster, address: IpAddr, random: &mut Random) -> Option<(u8, u16)> {
    let has = |endpoint: &&Value| {
        let spec = &endpoint["spec"];
        let mut all = texts(spec, "ipNetworks").chain(texts(spec, "expectedIPs")).filter_map(prefix);
        all.any(|net| net.addr() == address)
    };
    let endpoint = cluster.resources.iter().find(has)?;
    let ports: Vec<&Value> = list(&endpoint["spec"], "ports").collect();
    let port = (!ports.is_empty()).then(|| *random.pick(&ports))?;
    Some((protocol(&port["protocol"])?, u16::try_from(port["port"].as_u64()?).ok()?))
}

/// A port that some rule or endpoint has, or one beside it.
fn port(cluster: &Cluster, random: &mut Random) -> u16 {
    let mut known: Vec<u16> = PORTS.to_vec();
    let named = cluster.resources.iter().flat_map(|resource| list(&resource["spec"], "ports"));
    known.extend(named.filter_map(|port| u16::try_from(Value::as_u64(&port["port"])?).ok()));
    let port = *random.pick(&known);
    match random.below(6) {
        0 => port.saturating_add(1),
        1 => port.saturating_sub(1).max(1),
        _ => port,
    }
}

/// A line a person can read.
pub fn describe(passage: &Passage) -> String {
    let place = |place: &Place| match place {
        Place::Workload(namespace, name) => format!("{namespace}/{name}"),
        Place::Beyond(interface) => format!("beyond {interface}"),
        Place::Host => "host".to_owned(),
    };
    let packet = &passage.packet;
    format!(
        "{} → {}: {} → {} protocol {} ports {:?} icmp {:?}",
        place(&passage.from),
        place(&passage.to),
        packet.source,
        packet.destination,
        packet.protocol,
        packet.ports,
        packet.icmp
    )
}

/// The interface name of a workload endpoint.
pub fn interface_of(endpoint: &Value) -> &str {
    text(&endpoint["spec"], "interfaceName")
}
