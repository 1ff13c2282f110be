//! Which sets there are, and what their members look like.

use std::fmt;
use std::net::IpAddr;

/// Of a set's members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// `family inet`
    V4,
    /// `family inet6`
    V6,
}

impl Family {
    /// `NFPROTO_IPV4` or `NFPROTO_IPV6`
    pub fn number(self) -> u8 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }

    /// By the kernel's number.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::V4, Self::V6].into_iter().find(|family| family.number() == number)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "inet",
            Self::V6 => "inet6",
        })
    }
}

/// What the members of a set are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SetKind {
    /// `hash:net`
    Net,
    /// `hash:ip`
    Ip,
    /// `hash:ip,port`
    IpPort,
    /// `hash:net,net`
    NetNet,
}

impl SetKind {
    /// All.
    pub const ALL: [Self; 4] = [Self::Net, Self::Ip, Self::IpPort, Self::NetNet];

    /// ip_set's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Net => "hash:net",
            Self::Ip => "hash:ip",
            Self::IpPort => "hash:ip,port",
            Self::NetNet => "hash:net,net",
        }
    }

    /// By ip_set's name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A member of a set, as the kernel holds it: sets of networks refuse `0.0.0.0/0` and `::/0`, which are two halves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Member {
    /// A network, or an address as a network of its full length.
    Net {
        /// First address.
        address: IpAddr,
        /// Length of the prefix in bits.
        length: u8,
    },
    /// An address and a port of a protocol.
    Port {
        /// The address.
        address: IpAddr,
        /// IANA's number of the protocol.
        protocol: u8,
        /// The port.
        port: u16,
    },
    /// Two networks.
    Pair {
        /// The first.
        from: (IpAddr, u8),
        /// The second.
        to: (IpAddr, u8),
    },
}

/// Length of a prefix that holds one address.
pub(super) fn whole(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// As `ipset` writes it, but that a protocol it has no name for is a number.
impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let net = |f: &mut fmt::Formatter<'_>, address: &IpAddr, length: u8| {
            if length == whole(*address) { write!(f, "{address}") } else { write!(f, "{address}/{length}") }
        };
        match self {
            Self::Net { address, length } => net(f, address, *length),
            Self::Port { address, protocol, port } => {
                let named = [(6, "tcp"), (17, "udp"), (132, "sctp"), (136, "udplite")];
                match named.iter().find(|(number, _)| number == protocol) {
                    Some((_, name)) => write!(f, "{address},{name}:{port}"),
                    None => write!(f, "{address},{protocol}:{port}"),
                }
            }
            Self::Pair { from, to } => {
                net(f, &from.0, from.1)?;
                f.write_str(",")?;
                net(f, &to.0, to.1)
            }
        }
    }
}

/// A set that is there, its members apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetHeader {
    /// Its name.
    pub name: String,
    /// `None` for one whose members we cannot read.
    pub kind: Option<SetKind>,
    /// `None` for one of no address family.
    pub family: Option<Family>,
    /// Most members; 0 where that is not limited.
    pub max: u32,
    /// How many rules and sets name it.
    pub references: u32,
}
