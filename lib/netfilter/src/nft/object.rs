//! Tables, chains, rules, sets and elements as values.

use super::data::Data;
use super::expression::Expression;
use super::types::DataType;

/// Address family of a table (`NFPROTO_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4 and IPv6 in one.
    Inet = 1,
    /// IPv4.
    Ipv4 = 2,
    /// ARP.
    Arp = 3,
    /// Ingress and egress of links.
    Netdev = 5,
    /// Bridges.
    Bridge = 7,
    /// IPv6.
    Ipv6 = 10,
}

impl Family {
    /// The kernel's number.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// By the kernel's number.
    pub fn from_number(number: u8) -> Option<Self> {
        [Family::Inet, Family::Ipv4, Family::Arp, Family::Netdev, Family::Bridge, Family::Ipv6]
            .into_iter()
            .find(|family| family.number() == number)
    }
}

/// Which table: family and name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableRef {
    /// Family.
    pub family: Family,
    /// Name, unique in the family.
    pub name: String,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Which.
    pub table: TableRef,
    /// `NFT_TABLE_F_*`: 1 dormant.
    pub flags: u32,
    /// Shown by `nft list`.
    pub comment: Option<String>,
}

/// Where a base chain is hooked in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Hook {
    /// `NF_INET_*`: 0 prerouting, 1 input, 2 forward, 3 output, 4 postrouting; `NF_ARP_*`: 0 in, 1 out.
    pub number: u32,
    /// Lower comes first: raw −300, mangle −150, dstnat −100, filter 0, srcnat 100.
    pub priority: i32,
    /// `filter`, `nat` or `route`.
    pub kind: ChainKind,
    /// What happens at the end.
    pub policy: Policy,
}

/// Kind of a base chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChainKind {
    /// Any family, any hook.
    Filter,
    /// Translation: asked for a connection's first packet.
    Nat,
    /// Routes again where a packet changed.
    Route,
}

impl ChainKind {
    /// The kernel's name.
    pub fn name(self) -> &'static str {
        match self {
            ChainKind::Filter => "filter",
            ChainKind::Nat => "nat",
            ChainKind::Route => "route",
        }
    }
}

/// What happens at the end of a base chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Policy {
    /// The packet is dropped.
    Drop,
    /// The packet goes on.
    Accept,
}

/// A chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Its table.
    pub table: TableRef,
    /// Name, at most 255 bytes.
    pub name: String,
    /// Given by the kernel.
    pub handle: Option<u64>,
    /// Where it is hooked in; `None` for one that others jump to.
    pub hook: Option<Hook>,
    /// Shown by `nft list`.
    pub comment: Option<String>,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its table.
    pub table: TableRef,
    /// Its chain.
    pub chain: String,
    /// Given by the kernel.
    pub handle: Option<u64>,
    /// In order.
    pub expressions: Vec<Expression>,
    /// Shown by `nft list`; at most [`super::COMMENT_MAX`] bytes.
    pub comment: Option<String>,
}

/// What a set maps its keys to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MapData {
    /// Verdicts.
    Verdict,
    /// Values of these types put together.
    Values(Vec<DataType>),
}

/// A set or map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Its table.
    pub table: TableRef,
    /// Name, at most 255 bytes.
    pub name: String,
    /// Given by the kernel.
    pub handle: Option<u64>,
    /// Types of the key; several are a concatenation.
    pub key: Vec<DataType>,
    /// `None` for a set.
    pub data: Option<MapData>,
    /// Elements may be ranges.
    pub interval: bool,
    /// Rules may add elements.
    pub dynamic: bool,
    /// Elements may have a timeout.
    pub timeout: bool,
    /// Each element counts what matched it.
    pub counter: bool,
    /// Most elements; none is the kernel's choice.
    pub size: Option<u32>,
    /// Shown by `nft list`.
    pub comment: Option<String>,
}

/// An element of a set or map.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Element {
    /// The key, or the lower end of a range; fields of a concatenation are padded to four bytes each.
    pub key: Vec<u8>,
    /// In a set of intervals over one field: this is the first key that lies behind a range (which ends just before it).
    pub interval_end: bool,
    /// In a set of intervals over a concatenation: the upper end, included.
    pub key_end: Option<Vec<u8>>,
    /// What a map gives.
    pub data: Option<Data>,
    /// Milliseconds it lives.
    pub timeout: Option<u64>,
    /// Shown by `nft list`.
    pub comment: Option<String>,
    /// Packets and bytes, where elements count.
    pub counter: Option<(u64, u64)>,
}

impl Element {
    /// A plain key.
    pub fn key(key: impl Into<Vec<u8>>) -> Self {
        Element {
            key: key.into(),
            interval_end: false,
            key_end: None,
            data: None,
            timeout: None,
            comment: None,
            counter: None,
        }
    }

    /// A key and what it maps to.
    pub fn entry(key: impl Into<Vec<u8>>, data: Data) -> Self {
        Element { data: Some(data), ..Element::key(key) }
    }
}
