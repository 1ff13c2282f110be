//! Canonical IP prefixes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Address length in bits: 32 or 128.
    pub fn bits(self) -> u8 {
        match self {
            Family::V4 => 32,
            Family::V6 => 128,
        }
    }

    /// For people: IPv4 or IPv6.
    pub fn name(self) -> &'static str {
        match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        }
    }

    /// 4 or 6, as in keys and texts.
    pub fn number(self) -> u8 {
        match self {
            Family::V4 => 4,
            Family::V6 => 6,
        }
    }
}

/// An IP prefix with host bits cleared: the form in which Calico writes pools, blocks and keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    addr: IpAddr,
    prefix: u8,
}

/// A text that is no CIDR.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid CIDR address: {0}")]
pub struct CidrError(pub String);

impl Cidr {
    /// The prefix of length `prefix` around `addr`; `None` when `prefix` exceeds the family's bits.
    pub fn new(addr: IpAddr, prefix: u8) -> Option<Self> {
        let bits = family_of(addr).bits();
        if prefix > bits {
            return None;
        }
        let shift = u32::from(bits - prefix);
        let number = to_number(addr).checked_shr(shift).unwrap_or(0).checked_shl(shift).unwrap_or(0);
        Some(Self { addr: from_number(family_of(addr), number), prefix })
    }

    /// The /32 or /128 of one address.
    pub fn host(addr: IpAddr) -> Self {
        Self { addr, prefix: family_of(addr).bits() }
    }

    /// Parses `address/length`, clearing host bits.
    pub fn parse_masked(text: &str) -> Result<Self, CidrError> {
        let (_, cidr) = parse_parts(text)?;
        Ok(cidr)
    }

    /// First address.
    pub fn addr(&self) -> IpAddr {
        self.addr
    }

    /// Prefix length in bits.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Address family.
    pub fn family(&self) -> Family {
        family_of(self.addr)
    }

    /// Whether `addr` lies inside.
    pub fn contains(&self, addr: IpAddr) -> bool {
        Cidr::new(addr, self.prefix).is_some_and(|c| c == *self)
    }

    /// Whether all of `other` lies inside.
    pub fn covers(&self, other: &Cidr) -> bool {
        other.prefix >= self.prefix && self.contains(other.addr)
    }

    /// Whether the two share an address.
    pub fn overlaps(&self, other: &Cidr) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// Number of addresses; saturates at `u128::MAX` for `::/0`.
    pub fn size(&self) -> u128 {
        1u128.checked_shl(u32::from(self.family().bits() - self.prefix)).unwrap_or(u128::MAX)
    }

    /// The address `offset` places after the first; `None` past the end.
    pub fn nth(&self, offset: u128) -> Option<IpAddr> {
        if offset >= self.size() {
            return None;
        }
        Some(from_number(self.family(), to_number(self.addr).checked_add(offset)?))
    }

    /// How many places after the first `addr` stands; `None` outside.
    pub fn offset_of(&self, addr: IpAddr) -> Option<u128> {
        self.contains(addr).then(|| to_number(addr) - to_number(self.addr))
    }

    /// The prefix of length `prefix` that holds this one; `None` when `prefix` is longer than this.
    pub fn widen(&self, prefix: u8) -> Option<Cidr> {
        if prefix > self.prefix { None } else { Cidr::new(self.addr, prefix) }
    }

    /// The form used in keys and names: `/` replaced by `-`.
    pub fn dashed(&self) -> String {
        format!("{}-{}", self.addr, self.prefix)
    }

    /// Reads the form used in keys.
    pub fn from_dashed(text: &str) -> Result<Self, CidrError> {
        match text.rsplit_once('-') {
            Some((addr, prefix)) => Cidr::parse_masked(&format!("{addr}/{prefix}")),
            None => Err(CidrError(text.to_owned())),
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    /// Strict: host bits must be zero.
    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (addr, cidr) = parse_parts(text)?;
        if addr == cidr.addr { Ok(cidr) } else { Err(CidrError(text.to_owned())) }
    }
}

/// Parses `address/length` into the address as written and the masked prefix.
pub fn parse_parts(text: &str) -> Result<(IpAddr, Cidr), CidrError> {
    let error = || CidrError(text.to_owned());
    let (addr, prefix) = text.split_once('/').ok_or_else(error)?;
    let addr: IpAddr = addr.parse().map_err(|_| error())?;
    if prefix.is_empty() || prefix.len() > 3 || !prefix.bytes().all(|b| b.is_ascii_digit()) {
        return Err(error());
    }
    let prefix: u8 = prefix.parse().map_err(|_| error())?;
    Ok((addr, Cidr::new(addr, prefix).ok_or_else(error)?))
}

/// Family of an address.
pub fn family_of(addr: IpAddr) -> Family {
    match addr {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    }
}

/// The address as a number, for arithmetic over ranges.
pub fn to_number(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// The address of a number; bits beyond the family are cut off.
pub fn from_number(family: Family, number: u128) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::from(u32::try_from(number & 0xffff_ffff).unwrap_or(u32::MAX))),
        Family::V6 => IpAddr::V6(Ipv6Addr::from(number)),
    }
}

#[cfg(test)]
mod tests;
