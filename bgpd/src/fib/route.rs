//! Our routes and the kernel's form of them.

use super::PROTOCOL;
use bgp_rib::Hop;
use bgp_wire::Prefix;
use kernel::{IpNet, NextHop, Route, RouteKind, Scope};
use std::sync::Arc;

/// The main table.
pub(crate) const MAIN: u32 = 254;

/// What the kernel makes of an IPv6 route without a metric.
const V6_METRIC: u32 = 1024;

/// What a route of the main table is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    prefix: Prefix,
    metric: u32,
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// Nowhere, silently: a block of ours, whose workloads have routes of their own.
    Blackhole,
    /// To these, in turn; made by [`Target::via`].
    Via(Arc<[Hop]>),
}

impl Key {
    /// Of a destination and a metric; 0 is what the family makes of it.
    pub(crate) fn new(prefix: Prefix, metric: u32) -> Self {
        let metric = if metric == 0 && matches!(prefix, Prefix::V6(_)) { V6_METRIC } else { metric };
        Self { prefix, metric }
    }

    /// The keys of a destination, whatever the metric.
    pub(crate) fn of(prefix: Prefix) -> std::ops::RangeInclusive<Key> {
        Self { prefix, metric: 0 }..=Self { prefix, metric: u32::MAX }
    }

    /// Its destination.
    pub fn prefix(&self) -> Prefix {
        self.prefix
    }

    /// Its metric.
    pub fn metric(&self) -> u32 {
        self.metric
    }
}

impl Target {
    /// To these hops: equal sets are equal targets, whatever the order they came in.
    pub fn via(hops: impl IntoIterator<Item = Hop>) -> Self {
        let mut hops: Vec<Hop> = hops.into_iter().collect();
        hops.sort_unstable();
        hops.dedup();
        Target::Via(hops.into())
    }
}

/// Key and target of a route of ours as the kernel shows it; `None` for one that is not ours.
pub(super) fn ours(route: &Route) -> Option<(Key, Target)> {
    if route.protocol != PROTOCOL || route.table != MAIN {
        return None;
    }
    let target = match route.kind {
        RouteKind::Blackhole => Target::Blackhole,
        RouteKind::Unicast => Target::via(
            route
                .next_hops
                .iter()
                .filter_map(|hop| Some(Hop { gateway: hop.gateway, link: hop.link?, onlink: hop.onlink })),
        ),
        RouteKind::Unreachable | RouteKind::Other(_) => return None,
    };
    let prefix = Prefix::new(route.dst.addr, route.dst.prefix)?;
    Some((Key::new(prefix, route.metric.unwrap_or(0)), target))
}

/// The kernel's form.
pub(super) fn to_kernel(key: &Key, target: &Target) -> Route {
    let (kind, hops) = match target {
        Target::Blackhole => (RouteKind::Blackhole, [].as_slice()),
        Target::Via(hops) => (RouteKind::Unicast, &**hops),
    };
    let on_link = !hops.is_empty() && hops.iter().all(|hop| hop.gateway.is_none());
    Route {
        dst: IpNet { addr: key.prefix.addr(), prefix: key.prefix.len() },
        kind,
        next_hops: hops
            .iter()
            .map(|hop| NextHop { gateway: hop.gateway, link: Some(hop.link), onlink: hop.onlink, weight: 1 })
            .collect(),
        // IPv4 wants to be told how far a destination without a gateway is; IPv6 has one scope.
        scope: if on_link && key.prefix.addr().is_ipv4() { Scope::Link } else { Scope::Universe },
        protocol: PROTOCOL,
        metric: Some(key.metric),
        table: MAIN,
        source: None,
    }
}
