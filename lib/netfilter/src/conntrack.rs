//! Tracked connections of an address: ctnetlink's dump with a filter, and removal by the original tuple
//! (`linux/netfilter/nfnetlink_conntrack.h`).

use crate::wire::{ACK, Attributes, DUMP, REQUEST, Reply, Writer};
use std::net::IpAddr;

/// `NFNL_SUBSYS_CTNETLINK`
const SUBSYSTEM: u16 = 1;
/// `IPCTNL_MSG_CT_*`
const NEW: u16 = 0;
const GET: u16 = 1;
const DELETE: u16 = 2;
const GET_STATS: u16 = 5;
/// `CTA_STATS_GLOBAL_ENTRIES`
const ENTRIES: u16 = 1;
/// `CTA_*`
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const ID: u16 = 12;
const ZONE: u16 = 18;
const FILTER: u16 = 25;
/// `CTA_FILTER_*_FLAGS`
const FILTER_ORIGINAL: u16 = 1;
const FILTER_REPLY: u16 = 2;
/// `CTA_FILTER_FLAG(CTA_IP_SRC)`
const BY_SOURCE: u32 = 1;
/// `CTA_TUPLE_IP`
const TUPLE_IP: u16 = 1;
/// `CTA_IP_*`
const V4_SOURCE: u16 = 1;
const V6_SOURCE: u16 = 3;

/// Which direction's source address is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The one that opened the connection sends.
    Original,
    /// The other one sends.
    Reply,
}

/// A tracked connection: as much of it as tells it from all others, and the addresses that send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Source of the direction that opened it.
    pub source: IpAddr,
    /// Source of the other direction.
    pub reply_source: IpAddr,
    /// The tuple of the first direction, as the kernel wrote it.
    tuple: Vec<u8>,
    /// The kernel's number of it, and its zone.
    id: Option<Vec<u8>>,
    zone: Option<Vec<u8>>,
}

/// Asks for the connections in one direction of which `source` sends. A kernel before Linux 5.8 does not know the filter
/// and lists all: look at what comes.
pub fn list(source: IpAddr, direction: Direction, sequence: u32) -> Vec<u8> {
    let (tuple, filter) = match direction {
        Direction::Original => (TUPLE_ORIGINAL, FILTER_ORIGINAL),
        Direction::Reply => (TUPLE_REPLY, FILTER_REPLY),
    };
    let mut w = Writer::new();
    w.message(SUBSYSTEM << 8 | GET, REQUEST | DUMP, sequence, family(source), 0, |w| {
        w.nested(tuple, |w| w.nested(TUPLE_IP, |w| address(w, source)));
        w.nested(FILTER, |w| w.ne32(filter, BY_SOURCE));
    });
    w.into_bytes()
}

/// Asks for all connections, of every address family.
pub fn list_all(sequence: u32) -> Vec<u8> {
    let mut w = Writer::new();
    w.message(SUBSYSTEM << 8 | GET, REQUEST | DUMP, sequence, 0, 0, |_| {});
    w.into_bytes()
}

/// Asks how many connections there are.
pub fn count(sequence: u32) -> Vec<u8> {
    let mut w = Writer::new();
    w.message(SUBSYSTEM << 8 | GET_STATS, REQUEST | ACK, sequence, 0, 0, |_| {});
    w.into_bytes()
}

/// The number of connections that a message tells; `None` for a message of another kind.
pub fn read_count(reply: &Reply<'_>) -> Option<u32> {
    let Reply::Data { kind, attributes, .. } = reply else { return None };
    if *kind != SUBSYSTEM << 8 | GET_STATS {
        return None;
    }
    let entries = Attributes::new(attributes).get(ENTRIES)?;
    Some(u32::from_be_bytes(entries.try_into().ok()?))
}

/// Asks for these to be forgotten, in one datagram; each is acknowledged, the sequence numbers count up from `sequence`.
pub fn delete<'a>(connections: impl IntoIterator<Item = &'a Connection>, sequence: u32) -> Vec<u8> {
    let mut w = Writer::new();
    let mut sequence = sequence;
    for connection in connections {
        let kind = SUBSYSTEM << 8 | DELETE;
        w.message(kind, REQUEST | ACK, sequence, family(connection.source), 0, |w| {
            w.nested(TUPLE_ORIGINAL, |w| w.raw(&connection.tuple));
            if let Some(id) = &connection.id {
                w.attribute(ID, id);
            }
            if let Some(zone) = &connection.zone {
                w.attribute(ZONE, zone);
            }
        });
        sequence = sequence.wrapping_add(1);
    }
    w.into_bytes()
}

/// The connection of a message; `None` for one of another subsystem or kind.
pub fn read(reply: &Reply<'_>) -> Option<Connection> {
    let Reply::Data { kind, attributes, .. } = reply else { return None };
    if *kind != SUBSYSTEM << 8 | NEW {
        return None;
    }
    let a = Attributes::new(attributes);
    let tuple = a.get(TUPLE_ORIGINAL)?;
    Some(Connection {
        source: source(Attributes::new(tuple))?,
        reply_source: source(a.nested(TUPLE_REPLY)?)?,
        tuple: tuple.to_vec(),
        id: a.get(ID).map(<[u8]>::to_vec),
        zone: a.get(ZONE).map(<[u8]>::to_vec),
    })
}

/// `AF_INET` or `AF_INET6`
fn family(of: IpAddr) -> u8 {
    if of.is_ipv4() { 2 } else { 10 }
}

fn address(w: &mut Writer, source: IpAddr) {
    match source {
        IpAddr::V4(source) => w.attribute(V4_SOURCE, &source.octets()),
        IpAddr::V6(source) => w.attribute(V6_SOURCE, &source.octets()),
    }
}

fn source(tuple: Attributes<'_>) -> Option<IpAddr> {
    let ip = tuple.nested(TUPLE_IP)?;
    if let Some(bytes) = ip.get(V4_SOURCE) {
        return Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?));
    }
    Some(IpAddr::from(<[u8; 16]>::try_from(ip.get(V6_SOURCE)?).ok()?))
}

#[cfg(test)]
mod tests;
