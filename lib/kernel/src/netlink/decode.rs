//! rtnetlink messages as links, addresses, routes, neighbours and errors.

use crate::addr::{IpNet, Mac};
use crate::api::{Address, Link, Neighbour, NextHop, Route, RouteKind, Scope};
use netlink_packet_core::{ErrorMessage, NLM_F_ACK_TLVS, NlasIterator};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteNextHop, RouteNextHopFlags, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Length of the request's header, which an error message repeats before its attributes.
const HEADER: usize = 16;
/// `NLMSGERR_ATTR_MSG`: the kernel's own words.
const ATTR_MSG: u16 = 1;

/// The errno of an answer and the kernel's explanation; `None` for an acknowledgement.
pub(super) fn refusal(error: &ErrorMessage, flags: u16) -> Option<(i32, Option<String>)> {
    let errno = error.code?.get().saturating_neg();
    let detail = if flags & NLM_F_ACK_TLVS != 0 { explanation(&error.header) } else { None };
    Some((errno, detail))
}

fn explanation(echo: &[u8]) -> Option<String> {
    NlasIterator::new(echo.get(HEADER..)?).flatten().find(|attribute| attribute.kind() == ATTR_MSG).and_then(
        |found| {
            let text = found.value().split(|byte| *byte == 0).next()?;
            String::from_utf8(text.to_vec()).ok().filter(|text| !text.is_empty())
        },
    )
}

pub(super) fn new_link(message: &RouteNetlinkMessage) -> Option<Link> {
    match message {
        RouteNetlinkMessage::NewLink(message) => link(message),
        _ => None,
    }
}

pub(super) fn new_address(message: &RouteNetlinkMessage) -> Option<Address> {
    match message {
        RouteNetlinkMessage::NewAddress(message) => address(message),
        _ => None,
    }
}

pub(super) fn new_route(message: &RouteNetlinkMessage) -> Option<Route> {
    match message {
        RouteNetlinkMessage::NewRoute(message) => route(message),
        _ => None,
    }
}

pub(super) fn new_neighbour(message: &RouteNetlinkMessage) -> Option<Neighbour> {
    match message {
        RouteNetlinkMessage::NewNeighbour(message) => neighbour(message),
        _ => None,
    }
}

/// A link; `None` for what bridges say about their ports in the same message type.
pub(super) fn link(message: &LinkMessage) -> Option<Link> {
    if message.header.interface_family != AddressFamily::Unspec {
        return None;
    }
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        alias: None,
        mac: None,
        mtu: 0,
        up: message.header.flags.contains(LinkFlags::Up),
        carrier: message.header.flags.contains(LinkFlags::LowerUp),
        kind: String::new(),
        peer: None,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name.clone(),
            LinkAttribute::IfAlias(alias) if !alias.is_empty() => link.alias = Some(alias.clone()),
            LinkAttribute::Address(bytes) => link.mac = mac(bytes),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Link(peer) if *peer != 0 => link.peer = Some(*peer),
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    if let LinkInfo::Kind(kind) = info {
                        link.kind = kind.to_string();
                    }
                }
            }
            _ => {}
        }
    }
    Some(link)
}

pub(super) fn address(message: &AddressMessage) -> Option<Address> {
    let (mut local, mut peer) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(addr) => local = Some(*addr),
            AddressAttribute::Address(addr) => peer = Some(*addr),
            _ => {}
        }
    }
    // On a point-to-point link the plain attribute is the other side's address.
    let addr = local.or(peer)?;
    Some(Address {
        link: message.header.index,
        net: IpNet { addr, prefix: message.header.prefix_len },
        scope: scope(u8::from(message.header.scope)),
        tentative: message.header.flags.contains(AddressHeaderFlags::Tentative),
    })
}

pub(super) fn route(message: &RouteMessage) -> Option<Route> {
    let header = &message.header;
    if header.flags.contains(RouteFlags::Cloned) {
        return None;
    }
    let any = match header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let kind = match u8::from(header.kind) {
        1 => RouteKind::Unicast,
        6 => RouteKind::Blackhole,
        7 => RouteKind::Unreachable,
        other => RouteKind::Other(other),
    };
    let mut route = Route {
        dst: IpNet { addr: any, prefix: header.destination_prefix_length },
        kind,
        next_hops: Vec::new(),
        scope: scope(u8::from(header.scope)),
        protocol: u8::from(header.protocol),
        metric: None,
        table: u32::from(header.table),
        source: None,
    };
    let onlink = header.flags.contains(RouteFlags::Onlink);
    let mut single = NextHop { gateway: None, link: None, onlink, weight: 1 };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(dst) => route.dst.addr = ip(dst)?,
            RouteAttribute::Table(table) => route.table = *table,
            RouteAttribute::Priority(metric) => route.metric = Some(*metric),
            RouteAttribute::PrefSource(source) => route.source = ip(source),
            RouteAttribute::MultiPath(hops) => route.next_hops = hops.iter().map(next_hop).collect(),
            RouteAttribute::Oif(link) => single.link = Some(*link),
            other => single.gateway = single.gateway.or(gateway(other)),
        }
    }
    // IPv6 shows routes that forward nowhere as if they went to `lo`.
    let forwards = matches!(route.kind, RouteKind::Unicast | RouteKind::Other(_));
    if route.next_hops.is_empty() && (single.gateway.is_some() || (forwards && single.link.is_some())) {
        route.next_hops.push(single);
    }
    Some(route)
}

/// A neighbour; `None` for the kernel's own entries (state NOARP) and for those of bridges.
pub(super) fn neighbour(message: &NeighbourMessage) -> Option<Neighbour> {
    let header = &message.header;
    if header.state == NeighbourState::Noarp {
        return None;
    }
    let mut addr = None;
    let mut hardware = None;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => addr = Some(IpAddr::V4(*ip)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => addr = Some(IpAddr::V6(*ip)),
            NeighbourAttribute::LinkLayerAddress(bytes) => hardware = mac(bytes),
            _ => {}
        }
    }
    let proxy = header.flags.contains(NeighbourFlags::Proxy);
    Some(Neighbour {
        link: header.ifindex,
        addr: addr?,
        mac: hardware,
        permanent: !proxy && header.state == NeighbourState::Permanent,
        proxy,
    })
}

fn next_hop(message: &RouteNextHop) -> NextHop {
    NextHop {
        gateway: message.attributes.iter().find_map(gateway),
        link: Some(message.interface_index).filter(|index| *index != 0),
        onlink: message.flags.contains(RouteNextHopFlags::Onlink),
        weight: u16::from(message.hops) + 1,
    }
}

fn gateway(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(gateway) => ip(gateway),
        RouteAttribute::Via(RouteVia::Inet(via)) => Some(IpAddr::V4(*via)),
        RouteAttribute::Via(RouteVia::Inet6(via)) => Some(IpAddr::V6(*via)),
        _ => None,
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}

fn mac(bytes: &[u8]) -> Option<Mac> {
    bytes.try_into().ok().map(Mac)
}

fn scope(number: u8) -> Scope {
    match number {
        0 => Scope::Universe,
        253 => Scope::Link,
        254 => Scope::Host,
        other => Scope::Other(other),
    }
}
