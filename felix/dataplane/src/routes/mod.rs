//! Routes and permanent neighbours: what is wanted, whose routes are ours, and batches for the kernel.
//!
//! * [`wanted`]: endpoints, blocks and links in, one route a destination out.
//! * [`owned`]: which routes of the main table are ours.
//! * [`table`]: wanted against there, with what the kernel refuses.
//! * [`neighbours`]: hardware addresses of workloads.

pub mod neighbours;
pub mod owned;
pub mod table;
pub mod wanted;

use kernel::{NextHop, Route, RouteKind, Scope};
use model::net::{Cidr, Family};
use std::net::IpAddr;

/// The main table.
pub const MAIN: u32 = 254;
/// What the kernel makes of an IPv6 route without a metric.
const V6_METRIC: u32 = 1024;

/// What a route of the main table is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Where it leads.
    pub dst: Cidr,
    /// Its metric, as the kernel shows it.
    pub metric: u32,
}

impl Key {
    /// Of a destination and a metric; 0 is what the family makes of it.
    pub fn new(dst: Cidr, metric: u32) -> Self {
        let metric = if metric == 0 && dst.family() == Family::V6 { V6_METRIC } else { metric };
        Self { dst, metric }
    }
}

/// What a route does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// Kind.
    pub kind: RouteKind,
    /// Next hops.
    pub hops: Vec<NextHop>,
    /// rtnetlink's protocol.
    pub protocol: u8,
    /// Preferred source.
    pub source: Option<IpAddr>,
}

impl Target {
    /// The link it leads through, where it is one.
    pub fn link(&self) -> Option<u32> {
        match self.hops.as_slice() {
            [hop] => hop.link,
            _ => None,
        }
    }
}

/// Key and target of a route of the main table.
pub fn from_kernel(route: &Route) -> Option<(Key, Target)> {
    if route.table != MAIN {
        return None;
    }
    let key = Key::new(Cidr::new(route.dst.addr, route.dst.prefix)?, route.metric.unwrap_or(0));
    let (hops, source) = (route.next_hops.clone(), route.source);
    Some((key, Target { kind: route.kind, hops, protocol: route.protocol, source }))
}

/// The kernel's form.
pub fn to_kernel(key: &Key, target: &Target) -> Route {
    let on_link = !target.hops.is_empty() && target.hops.iter().all(|hop| hop.gateway.is_none());
    Route {
        dst: kernel::IpNet { addr: key.dst.addr(), prefix: key.dst.prefix() },
        kind: target.kind,
        next_hops: target.hops.clone(),
        // IPv4 wants to be told how far a destination without a gateway is; IPv6 has one scope
        scope: if on_link && key.dst.family() == Family::V4 { Scope::Link } else { Scope::Universe },
        protocol: target.protocol,
        metric: Some(key.metric),
        table: MAIN,
        source: target.source,
    }
}

/// Whether it leads to one address only.
pub fn is_host(dst: &Cidr) -> bool {
    dst.prefix() == dst.family().bits()
}

#[cfg(test)]
mod tests;
