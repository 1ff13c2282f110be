//! The result of ADD: one form inside, every version's form outside (`cni.md` §7 of the contract).
//!
//! Key order, the place of an empty `dns` and what older versions leave out follow the library Calico is built
//! with: version 1.0.0 sorts the keys of interfaces and addresses and drops an empty `dns`; 0.3.0 to 0.4.0 name
//! the family of each address and know no MTU; 0.1.0 and 0.2.0 have one address a family and no interfaces.

mod read;
mod write;

use model::net::{Family, family_of, parse_parts};
use std::fmt;
use std::net::IpAddr;

pub use read::ResultError;

/// What an ADD brought about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CniResult {
    /// Interfaces made.
    pub interfaces: Vec<Interface>,
    /// Addresses given.
    pub ips: Vec<IpConfig>,
    /// Routes.
    pub routes: Vec<RouteEntry>,
    /// Resolver settings.
    pub dns: Dns,
}

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interface {
    /// Name.
    pub name: String,
    /// Hardware address; empty for none.
    pub mac: String,
    /// MTU in bytes; 0 leaves it out.
    pub mtu: u32,
    /// Path of the network namespace; empty on the host.
    pub sandbox: String,
}

/// An address and the interface it lies on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpConfig {
    /// Index into the interfaces.
    pub interface: Option<i64>,
    /// Address and prefix length.
    pub address: Prefixed,
    /// Gateway.
    pub gateway: Option<IpAddr>,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteEntry {
    /// Destination, host bits as given.
    pub dst: Prefixed,
    /// Gateway.
    pub gw: Option<IpAddr>,
}

/// Resolver settings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dns {
    /// Addresses of name servers.
    pub nameservers: Vec<String>,
    /// Local domain; empty for none.
    pub domain: String,
    /// Search domains.
    pub search: Vec<String>,
    /// Options.
    pub options: Vec<String>,
}

impl Dns {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.nameservers.is_empty()
            && self.domain.is_empty()
            && self.search.is_empty()
            && self.options.is_empty()
    }
}

/// An address with a prefix length, host bits kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefixed {
    /// The address.
    pub addr: IpAddr,
    /// Length of the prefix in bits.
    pub prefix: u8,
}

impl Prefixed {
    /// The /32 or /128 of an address.
    pub fn host(addr: IpAddr) -> Self {
        Self { addr, prefix: family_of(addr).bits() }
    }

    /// Reads `address/length`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (addr, cidr) = parse_parts(text).ok()?;
        Some(Self { addr, prefix: cidr.prefix() })
    }

    /// Its family.
    pub fn family(&self) -> Family {
        family_of(self.addr)
    }
}

impl fmt::Display for Prefixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.prefix)
    }
}

#[cfg(test)]
mod tests;
