//! Operations and queries as rtnetlink messages.

use super::{Message, framed};
use crate::addr::{IpNet, Mac};
use crate::api::{
    KernelError, LinkRef, Neighbour, NextHop, Op, Route, RouteFilter, RouteKind, Scope, VethPair,
};
use netlink_packet_core::{DefaultNla, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoNetkit, InfoVeth, LinkAttribute, LinkExtentMask, LinkFlags, LinkMessage, NetkitMode,
    NetkitPolicy,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteNextHop, RouteNextHopFlags, RouteScope,
    RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{LinkBridge, LinkMessageBuilder, LinkNetkit, LinkUnspec, LinkVeth};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

/// Longest interface name in bytes (IFNAMSIZ − 1).
const NAME_MAX: usize = 15;
/// Longest alias in bytes (IFALIASZ − 1).
const ALIAS_MAX: usize = 255;
/// `IFLA_IFALIAS`; written by hand because the kernel counts a terminating zero as part of the alias.
const IFLA_IFALIAS: u16 = 20;
/// `RTN_BLACKHOLE` and `RTN_UNREACHABLE` of rtnetlink(7), and `RTN_UNICAST`.
const UNICAST: u8 = 1;
const BLACKHOLE: u8 = 6;
const UNREACHABLE: u8 = 7;

/// The message for one operation, asking for an acknowledgement.
pub(super) fn operation(op: &Op) -> Result<Message, KernelError> {
    let invalid = |reason: String| KernelError::Invalid { what: op.to_string(), reason };
    let (message, flags) = match op {
        Op::AddVeth(pair) => {
            (RouteNetlinkMessage::NewLink(veth(pair).map_err(invalid)?), NLM_F_CREATE | NLM_F_EXCL)
        }
        Op::AddNetkit(pair) => {
            (RouteNetlinkMessage::NewLink(netkit(pair).map_err(invalid)?), NLM_F_CREATE | NLM_F_EXCL)
        }
        Op::AddBridge(name) => {
            check_name(name).map_err(invalid)?;
            (RouteNetlinkMessage::NewLink(LinkBridge::new(name).build()), NLM_F_CREATE | NLM_F_EXCL)
        }
        Op::SetMaster { link, master } => {
            let message = by_ref(link).map_err(invalid)?.controller(*master);
            (RouteNetlinkMessage::SetLink(message.build()), 0)
        }
        Op::DelLink(link) => (RouteNetlinkMessage::DelLink(by_ref(link).map_err(invalid)?.build()), 0),
        Op::PutAside { link, name, group } => {
            check_name(name).map_err(invalid)?;
            let message = by_ref(&LinkRef::Index(*link)).map_err(invalid)?.name(name);
            let group = LinkAttribute::Group(*group);
            (RouteNetlinkMessage::SetLink(message.append_extra_attribute(group).build()), 0)
        }
        Op::DelGroup(group) => {
            let mut message = LinkMessage::default();
            message.attributes = vec![LinkAttribute::Group(*group)];
            (RouteNetlinkMessage::DelLink(message), 0)
        }
        Op::SetLink { link, up, mac, mtu, alias } => {
            let mut message = by_ref(link).map_err(invalid)?;
            message = match up {
                Some(true) => message.up(),
                Some(false) => message.down(),
                None => message,
            };
            if let Some(mac) = mac {
                message = message.address(mac.0.to_vec());
            }
            if let Some(mtu) = mtu {
                message = message.mtu(*mtu);
            }
            if let Some(alias) = alias {
                if alias.len() > ALIAS_MAX {
                    return Err(invalid(format!("an alias has at most {ALIAS_MAX} bytes")));
                }
                let alias = DefaultNla::new(IFLA_IFALIAS, alias.clone().into_bytes());
                message = message.append_extra_attribute(LinkAttribute::Other(alias));
            }
            (RouteNetlinkMessage::SetLink(message.build()), 0)
        }
        Op::AddAddress { link, net, nodad } => (
            RouteNetlinkMessage::NewAddress(address(*link, *net, *nodad).map_err(invalid)?),
            NLM_F_CREATE | NLM_F_EXCL,
        ),
        Op::DelAddress { link, net } => {
            (RouteNetlinkMessage::DelAddress(address(*link, *net, false).map_err(invalid)?), 0)
        }
        Op::AddRoute(route) => {
            (RouteNetlinkMessage::NewRoute(self::route(route).map_err(invalid)?), NLM_F_CREATE | NLM_F_EXCL)
        }
        Op::ReplaceRoute(route) => (
            RouteNetlinkMessage::NewRoute(self::route(route).map_err(invalid)?),
            NLM_F_CREATE | NLM_F_REPLACE,
        ),
        Op::DelRoute(route) => (RouteNetlinkMessage::DelRoute(self::route(route).map_err(invalid)?), 0),
        Op::SetNeighbour(entry) => {
            (RouteNetlinkMessage::NewNeighbour(neighbour(entry)), NLM_F_CREATE | NLM_F_REPLACE)
        }
        Op::DelNeighbour(entry) => (RouteNetlinkMessage::DelNeighbour(neighbour(entry)), 0),
    };
    Ok(framed(message, NLM_F_REQUEST | NLM_F_ACK | flags))
}

/// Asks for one link.
pub(super) fn get_link(name: &str) -> Result<RouteNetlinkMessage, KernelError> {
    check_name(name)
        .map_err(|reason| KernelError::Invalid { what: format!("look up link {name}"), reason })?;
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(name.to_string()),
        // Statistics are most of an answer, and nobody reads them.
        LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]),
    ];
    Ok(RouteNetlinkMessage::GetLink(message))
}

/// Asks for all links.
pub(super) fn list_links() -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.attributes = vec![LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])];
    RouteNetlinkMessage::GetLink(message)
}

/// Asks for the addresses of a family (4 or 6), of one link when given.
pub(super) fn list_addresses(family: u8, link: Option<u32>) -> RouteNetlinkMessage {
    let mut message = AddressMessage::default();
    message.header.family = family_number(family);
    message.header.index = link.unwrap_or(0);
    RouteNetlinkMessage::GetAddress(message)
}

/// Asks for the routes of a family (4 or 6) that the filter wants.
pub(super) fn list_routes(family: u8, filter: &RouteFilter) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family_number(family);
    if let Some(table) = filter.table {
        message.attributes.push(RouteAttribute::Table(table));
    }
    if let Some(protocol) = filter.protocol {
        message.header.protocol = protocol.into();
    }
    if let Some(link) = filter.link {
        message.attributes.push(RouteAttribute::Oif(link));
    }
    RouteNetlinkMessage::GetRoute(message)
}

/// Asks for neighbours, or for proxy entries, which the kernel keeps in another table.
pub(super) fn list_neighbours(link: Option<u32>, proxy: bool) -> RouteNetlinkMessage {
    let mut message = NeighbourMessage::default();
    if proxy {
        message.header.flags = NeighbourFlags::Proxy;
    }
    if let Some(link) = link {
        message.attributes.push(NeighbourAttribute::IfIndex(link));
    }
    RouteNetlinkMessage::GetNeighbour(message)
}

fn veth(pair: &VethPair) -> Result<LinkMessage, String> {
    let info = InfoData::Veth(InfoVeth::Peer(far_end(pair)?));
    let message = LinkVeth::new(&pair.name, &pair.peer_name).set_info_data(info).build();
    Ok(near_end(message, pair))
}

fn netkit(pair: &VethPair) -> Result<LinkMessage, String> {
    // The kernel's default is L3, without hardware addresses.
    let info = vec![
        InfoNetkit::Mode(NetkitMode::L2),
        InfoNetkit::Policy(NetkitPolicy::Pass),
        InfoNetkit::PeerPolicy(NetkitPolicy::Pass),
        InfoNetkit::Peer(far_end(pair)?),
    ];
    let message = LinkNetkit::new(&pair.name, &pair.peer_name, NetkitMode::L2);
    Ok(near_end(message.set_info_data(InfoData::Netkit(info)).build(), pair))
}

fn near_end(mut message: LinkMessage, pair: &VethPair) -> LinkMessage {
    if pair.up {
        message.header.flags |= LinkFlags::Up;
        message.header.change_mask |= LinkFlags::Up;
    }
    with_end(message, pair, pair.mac)
}

/// The far end of a pair, as it travels inside the message for the near one.
fn far_end(pair: &VethPair) -> Result<LinkMessage, String> {
    check_name(&pair.name)?;
    check_name(&pair.peer_name)?;
    let mut peer = LinkMessage::default();
    peer.attributes.push(LinkAttribute::IfName(pair.peer_name.clone()));
    peer = with_end(peer, pair, pair.peer_mac);
    if let Some(netns) = &pair.peer_netns {
        if netns.memory_number().is_some() {
            return Err("the far end's namespace is an in-memory one".to_string());
        }
        peer.attributes.push(LinkAttribute::NetNsFd(netns.as_fd().as_raw_fd()));
    }
    Ok(peer)
}

/// Adds what either end of a pair may be given.
fn with_end(mut message: LinkMessage, pair: &VethPair, mac: Option<Mac>) -> LinkMessage {
    if let Some(mac) = mac {
        message.attributes.push(LinkAttribute::Address(mac.0.to_vec()));
    }
    if pair.mtu != 0 {
        message.attributes.push(LinkAttribute::Mtu(pair.mtu));
    }
    if pair.queues > 0 {
        message.attributes.push(LinkAttribute::NumTxQueues(pair.queues));
        message.attributes.push(LinkAttribute::NumRxQueues(pair.queues));
    }
    message
}

fn by_ref(link: &LinkRef) -> Result<LinkMessageBuilder<LinkUnspec>, String> {
    match link {
        LinkRef::Name(name) => check_name(name).map(|()| LinkUnspec::new_with_name(name)),
        LinkRef::Index(0) => Err("there is no link with index 0".to_string()),
        LinkRef::Index(index) => Ok(LinkUnspec::new_with_index(*index)),
    }
}

/// The kernel takes any bytes but `/`, `:` and white space, at most 15 of them, and neither `.` nor `..`.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > NAME_MAX {
        return Err(format!("an interface name has 1 to {NAME_MAX} bytes, {name:?} has {}", name.len()));
    }
    let bad = |c: char| c == '/' || c == ':' || c.is_ascii_whitespace() || c == '\0';
    if name == "." || name == ".." || name.contains(bad) {
        return Err(format!("{name:?} is no interface name"));
    }
    Ok(())
}

fn address(link: u32, net: IpNet, nodad: bool) -> Result<AddressMessage, String> {
    check_prefix(net)?;
    let mut message = AddressMessage::default();
    message.header.family = family_of(net.addr);
    message.header.prefix_len = net.prefix;
    message.header.index = link;
    message.attributes.push(AddressAttribute::Local(net.addr));
    message.attributes.push(AddressAttribute::Address(net.addr));
    if nodad && net.addr.is_ipv6() {
        message.header.flags = AddressHeaderFlags::Nodad;
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    Ok(message)
}

fn route(route: &Route) -> Result<RouteMessage, String> {
    check_prefix(route.dst)?;
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = family_of(route.dst.addr);
    header.destination_prefix_length = route.dst.prefix;
    header.protocol = route.protocol.into();
    header.scope = scope(route.scope);
    header.kind = kind(route.kind);
    // The byte in the header holds small tables; the attribute, which wins, holds all.
    header.table = u8::try_from(route.table).unwrap_or(0);
    message.attributes.push(RouteAttribute::Table(route.table));
    if route.dst.prefix > 0 {
        message.attributes.push(RouteAttribute::Destination(RouteAddress::from(route.dst.addr)));
    }
    if let Some(metric) = route.metric {
        message.attributes.push(RouteAttribute::Priority(metric));
    }
    if let Some(source) = route.source {
        message.attributes.push(RouteAttribute::PrefSource(RouteAddress::from(source)));
    }
    match route.next_hops.as_slice() {
        [] => {}
        [hop] => {
            message.attributes.extend(gateway(route.dst.addr, hop));
            if let Some(link) = hop.link {
                message.attributes.push(RouteAttribute::Oif(link));
            }
            if hop.onlink {
                message.header.flags = RouteFlags::Onlink;
            }
        }
        hops => {
            let hops: Result<Vec<RouteNextHop>, String> =
                hops.iter().map(|hop| next_hop(route.dst.addr, hop)).collect();
            message.attributes.push(RouteAttribute::MultiPath(hops?));
        }
    }
    Ok(message)
}

fn next_hop(dst: IpAddr, hop: &NextHop) -> Result<RouteNextHop, String> {
    let mut message = RouteNextHop::default();
    message.interface_index = hop.link.unwrap_or(0);
    message.hops = u8::try_from(hop.weight.max(1) - 1)
        .map_err(|_| format!("the weight of a next hop is 1 to 256, not {}", hop.weight))?;
    if hop.onlink {
        message.flags = RouteNextHopFlags::Onlink;
    }
    message.attributes.extend(gateway(dst, hop));
    Ok(message)
}

/// A gateway of the other family travels as `RTA_VIA` (RFC 5549 style).
fn gateway(dst: IpAddr, hop: &NextHop) -> Option<RouteAttribute> {
    Some(match (hop.gateway?, dst) {
        (IpAddr::V6(via), IpAddr::V4(_)) => RouteAttribute::Via(RouteVia::Inet6(via)),
        (IpAddr::V4(via), IpAddr::V6(_)) => RouteAttribute::Via(RouteVia::Inet(via)),
        (gateway, _) => RouteAttribute::Gateway(RouteAddress::from(gateway)),
    })
}

fn neighbour(entry: &Neighbour) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family_of(entry.addr);
    message.header.ifindex = entry.link;
    message.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::from(entry.addr)));
    if entry.proxy {
        message.header.flags = NeighbourFlags::Proxy;
    } else {
        message.header.state =
            if entry.permanent { NeighbourState::Permanent } else { NeighbourState::Reachable };
        if let Some(mac) = entry.mac {
            message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
        }
    }
    message
}

fn scope(scope: Scope) -> RouteScope {
    RouteScope::from(match scope {
        Scope::Universe => 0,
        Scope::Link => 253,
        Scope::Host => 254,
        Scope::Other(number) => number,
    })
}

fn kind(kind: RouteKind) -> RouteType {
    RouteType::from(match kind {
        RouteKind::Unicast => UNICAST,
        RouteKind::Blackhole => BLACKHOLE,
        RouteKind::Unreachable => UNREACHABLE,
        RouteKind::Other(number) => number,
    })
}

fn check_prefix(net: IpNet) -> Result<(), String> {
    let most = if net.addr.is_ipv4() { 32 } else { 128 };
    if net.prefix > most { Err(format!("a prefix of {net} has at most {most} bits")) } else { Ok(()) }
}

fn family_of(addr: IpAddr) -> AddressFamily {
    family_number(if addr.is_ipv4() { 4 } else { 6 })
}

fn family_number(family: u8) -> AddressFamily {
    if family == 6 { AddressFamily::Inet6 } else { AddressFamily::Inet }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_core::Emitable;

    /// Netkit is in no kernel that tests run on: the message itself is looked at. Numbers are `if_link.h`'s.
    #[test]
    fn a_netkit_pair_carries_frames_and_lets_them_pass() {
        let pair = VethPair {
            name: "cali1".into(),
            mac: Some(Mac([0xee; 6])),
            peer_name: "eth0".into(),
            mtu: 1410,
            queues: 1,
            ..VethPair::default()
        };
        let message = netkit(&pair).unwrap();
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        let info = attribute(&bytes[16..], 18).expect("IFLA_LINKINFO");
        assert_eq!(attribute(info, 1).unwrap(), b"netkit\0");
        let data = attribute(info, 2).expect("IFLA_INFO_DATA");
        assert_eq!(attribute(data, 3).unwrap(), 0u32.to_ne_bytes(), "policy: pass");
        assert_eq!(attribute(data, 4).unwrap(), 0u32.to_ne_bytes(), "peer policy: pass");
        assert_eq!(attribute(data, 5).unwrap(), 0u32.to_ne_bytes(), "mode: L2");
        let peer = &attribute(data, 1).expect("IFLA_NETKIT_PEER_INFO")[16..];
        for (end, name) in [(&bytes[16..], &b"cali1\0"[..]), (peer, b"eth0\0")] {
            assert_eq!(attribute(end, 3).unwrap(), name);
            assert_eq!(attribute(end, 4).unwrap(), 1410u32.to_ne_bytes());
            assert_eq!(attribute(end, 31).unwrap(), 1u32.to_ne_bytes(), "transmit queues");
        }
        assert_eq!(attribute(&bytes[16..], 1).unwrap(), [0xee; 6]);
        assert_eq!(attribute(peer, 1), None);
        assert!(netkit(&VethPair { peer_name: String::new(), ..pair }).is_err());
    }

    /// The value of the attribute of this number, flags aside.
    fn attribute(mut bytes: &[u8], number: u16) -> Option<&[u8]> {
        while let [a, b, c, d, ..] = *bytes {
            let (length, kind) =
                (usize::from(u16::from_ne_bytes([a, b])), u16::from_ne_bytes([c, d]) & 0x3fff);
            if kind == number {
                return bytes.get(4..length);
            }
            bytes = bytes.get(length.next_multiple_of(4)..)?;
        }
        None
    }
}
