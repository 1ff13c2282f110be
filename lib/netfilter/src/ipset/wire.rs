//! Numbers of ip_set's protocol, and its attributes of addresses.

use crate::wire::{Attributes, Writer};
use std::net::IpAddr;

/// Version of the protocol; the kernel of Linux 4.20 is the first that speaks it.
pub const PROTOCOL: u8 = 7;
/// `NFNL_SUBSYS_IPSET`
pub const SUBSYSTEM: u16 = 6;

/// `IPSET_CMD_*`
pub mod command {
    pub const PROTOCOL: u16 = 1;
    pub const CREATE: u16 = 2;
    pub const DESTROY: u16 = 3;
    pub const FLUSH: u16 = 4;
    pub const RENAME: u16 = 5;
    pub const SWAP: u16 = 6;
    pub const LIST: u16 = 7;
    pub const ADD: u16 = 9;
    pub const DELETE: u16 = 10;
    pub const TYPE: u16 = 13;
}

/// `IPSET_ATTR_*` of a message.
pub const VERSION: u16 = 1;
pub const SET_NAME: u16 = 2;
pub const TYPE_NAME: u16 = 3;
/// The other name of a renaming or swap.
pub const SECOND_NAME: u16 = 3;
pub const REVISION: u16 = 4;
pub const FAMILY: u16 = 5;
pub const FLAGS: u16 = 6;
pub const DATA: u16 = 7;
/// Several [`DATA`] of one set.
pub const MEMBERS: u16 = 8;
pub const LINE: u16 = 9;
/// The lowest version, or the lowest revision of a type.
pub const LOWEST: u16 = 10;

/// `IPSET_ATTR_*` inside [`DATA`].
pub const IP: u16 = 1;
pub const LENGTH: u16 = 3;
pub const PORT: u16 = 4;
pub const TRANSPORT: u16 = 7;
pub const MAX: u16 = 19;
pub const SECOND_IP: u16 = 20;
pub const SECOND_LENGTH: u16 = 21;
/// `IPSET_ATTR_REFERENCES` of a set's header.
pub const REFERENCES: u16 = 25;

/// `IPSET_FLAG_LIST_HEADER`: a list without members.
pub const HEADERS_ONLY: u32 = 1 << 2;

/// `IPSET_ATTR_IPADDR_*`
const V4: u16 = 1;
const V6: u16 = 2;

/// ip_set wants `NLA_F_NET_BYTEORDER` on every number of more than a byte, and on addresses.
const NETWORK_ORDER: u16 = 0x4000;

pub fn be16(w: &mut Writer, kind: u16, value: u16) {
    w.be16(kind | NETWORK_ORDER, value);
}

pub fn be32(w: &mut Writer, kind: u16, value: u32) {
    w.be32(kind | NETWORK_ORDER, value);
}

pub fn address(w: &mut Writer, kind: u16, address: IpAddr) {
    w.nested(kind, |w| match address {
        IpAddr::V4(address) => w.attribute(V4 | NETWORK_ORDER, &address.octets()),
        IpAddr::V6(address) => w.attribute(V6 | NETWORK_ORDER, &address.octets()),
    });
}

pub fn read_address(attributes: Attributes<'_>, kind: u16) -> Option<IpAddr> {
    let inside = attributes.nested(kind)?;
    if let Some(bytes) = inside.get(V4) {
        return Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?));
    }
    Some(IpAddr::from(<[u8; 16]>::try_from(inside.get(V6)?).ok()?))
}
