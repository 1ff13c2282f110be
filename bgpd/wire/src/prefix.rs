//! Prefixes without host bits, small enough to lie in tables by the million.

use crate::family::Family;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv4 prefix; host bits are zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ipv4Prefix {
    addr: u32,
    len: u8,
}

/// An IPv6 prefix; host bits are zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ipv6Prefix {
    addr: [u8; 16],
    len: u8,
}

/// A prefix of either family.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Prefix {
    /// IPv4.
    V4(Ipv4Prefix),
    /// IPv6.
    V6(Ipv6Prefix),
}

/// A prefix as it stands in a message: with a path identifier where ADD-PATH is in force (RFC 7911), else 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nlri {
    /// Path identifier; 0 without ADD-PATH.
    pub path_id: u32,
    /// The prefix.
    pub prefix: Prefix,
}

impl Ipv4Prefix {
    /// Masks host bits; a length over 32 is taken for 32, so what reads messages checks it before.
    #[inline]
    pub fn from_bits(addr: u32, len: u8) -> Self {
        let len = len.min(32);
        Self { addr: addr & mask32(len), len }
    }

    /// Masks host bits; `None` when `len` is over 32.
    pub fn new(addr: Ipv4Addr, len: u8) -> Option<Self> {
        (len <= 32).then(|| Self { addr: u32::from(addr) & mask32(len), len })
    }

    /// Network address.
    #[inline]
    pub fn addr(self) -> Ipv4Addr {
        Ipv4Addr::from(self.addr)
    }

    /// Prefix length in bits.
    #[inline]
    pub fn len(self) -> u8 {
        self.len
    }

    /// Whether it is the default route.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }
}

impl Ipv6Prefix {
    /// Masks host bits; a length over 128 is taken for 128, so what reads messages checks it before.
    #[inline]
    pub fn from_bits(addr: u128, len: u8) -> Self {
        let len = len.min(128);
        Self { addr: (addr & mask128(len)).to_be_bytes(), len }
    }

    /// Masks host bits; `None` when `len` is over 128.
    pub fn new(addr: Ipv6Addr, len: u8) -> Option<Self> {
        (len <= 128).then(|| Self { addr: (u128::from(addr) & mask128(len)).to_be_bytes(), len })
    }

    /// Network address.
    #[inline]
    pub fn addr(self) -> Ipv6Addr {
        Ipv6Addr::from(self.addr)
    }

    /// Prefix length in bits.
    #[inline]
    pub fn len(self) -> u8 {
        self.len
    }

    /// Whether it is the default route.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }
}

impl Prefix {
    /// Masks host bits; `None` when `len` is too long for the family.
    pub fn new(addr: IpAddr, len: u8) -> Option<Self> {
        match addr {
            IpAddr::V4(addr) => Ipv4Prefix::new(addr, len).map(Prefix::V4),
            IpAddr::V6(addr) => Ipv6Prefix::new(addr, len).map(Prefix::V6),
        }
    }

    /// One address: a /32 or /128.
    pub fn host(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(addr) => Prefix::V4(Ipv4Prefix::from_bits(addr.into(), 32)),
            IpAddr::V6(addr) => Prefix::V6(Ipv6Prefix::from_bits(addr.into(), 128)),
        }
    }

    /// Network address.
    pub fn addr(self) -> IpAddr {
        match self {
            Prefix::V4(p) => IpAddr::V4(p.addr()),
            Prefix::V6(p) => IpAddr::V6(p.addr()),
        }
    }

    /// Prefix length in bits.
    #[inline]
    pub fn len(self) -> u8 {
        match self {
            Prefix::V4(p) => p.len,
            Prefix::V6(p) => p.len,
        }
    }

    /// Whether it is a default route.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Its family.
    pub fn family(self) -> Family {
        match self {
            Prefix::V4(_) => Family::Ipv4Unicast,
            Prefix::V6(_) => Family::Ipv6Unicast,
        }
    }

    /// Whether `other` is this prefix or lies inside it.
    pub fn covers(self, other: Prefix) -> bool {
        match (self, other) {
            (Prefix::V4(a), Prefix::V4(b)) => a.len <= b.len && b.addr & mask32(a.len) == a.addr,
            (Prefix::V6(a), Prefix::V6(b)) => {
                a.len <= b.len && u128::from_be_bytes(b.addr) & mask128(a.len) == u128::from_be_bytes(a.addr)
            }
            _ => false,
        }
    }
}

fn mask32(len: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0)
}

fn mask128(len: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0)
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr(), self.len())
    }
}

macro_rules! debug_as_text {
    ($($t:ty),*) => {$(
        impl fmt::Debug for $t {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}/{}", self.addr(), self.len())
            }
        }
    )*};
}
debug_as_text!(Ipv4Prefix, Ipv6Prefix, Prefix);
