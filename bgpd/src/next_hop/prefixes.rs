//! Routes by destination, with the longest match of an address.

use super::prefix_of;
use bgp_wire::{Family, PerFamily, Prefix};
use kernel::{NextHop, Route, RouteKind};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// What is kept of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) metric: u32,
    pub(super) protocol: u8,
    pub(super) kind: RouteKind,
    pub(super) hops: Vec<NextHop>,
}

/// Routes of both families.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    /// Those of a destination by rising metric; the kernel takes the first that works.
    routes: BTreeMap<Prefix, Vec<Known>>,
    /// How many destinations there are of each length: only these lengths are looked for.
    lengths: PerFamily<BTreeMap<u8, usize>>,
}

impl Prefixes {
    /// Adds a route or replaces the one of the same destination and metric. Returns whether anything changed.
    pub(super) fn insert(&mut self, route: &Route) -> bool {
        let Some(prefix) = prefix_of(route) else { return false };
        let known = Known {
            metric: route.metric.unwrap_or(0),
            protocol: route.protocol,
            kind: route.kind,
            hops: route.next_hops.clone(),
        };
        let routes = self.routes.entry(prefix).or_default();
        if routes.is_empty() {
            *self.lengths.get_mut(prefix.family()).entry(prefix.len()).or_default() += 1;
        }
        let place = routes.partition_point(|other| other.metric < known.metric);
        match routes.get_mut(place) {
            Some(same) if *same == known => return false,
            Some(other) if other.metric == known.metric => *other = known,
            _ => routes.insert(place, known),
        }
        true
    }

    /// Removes the route of this destination and metric. Returns whether it was there.
    pub(super) fn remove(&mut self, route: &Route) -> bool {
        let Some(prefix) = prefix_of(route) else { return false };
        let Some(routes) = self.routes.get_mut(&prefix) else { return false };
        let before = routes.len();
        routes.retain(|known| known.metric != route.metric.unwrap_or(0) || known.protocol != route.protocol);
        let removed = routes.len() < before;
        if routes.is_empty() {
            self.routes.remove(&prefix);
            let lengths = self.lengths.get_mut(prefix.family());
            if let Some(count) = lengths.get_mut(&prefix.len()) {
                *count -= 1;
                if *count == 0 {
                    lengths.remove(&prefix.len());
                }
            }
        }
        removed
    }

    /// The routes of exactly this destination.
    pub(super) fn exact(&self, prefix: Prefix) -> &[Known] {
        self.routes.get(&prefix).map_or(&[], Vec::as_slice)
    }

    /// The destinations an address lies in, the longest first, with their routes.
    pub(super) fn matching(&self, address: IpAddr) -> impl Iterator<Item = (Prefix, &[Known])> {
        let family = if address.is_ipv4() { Family::Ipv4Unicast } else { Family::Ipv6Unicast };
        self.lengths.get(family).keys().rev().filter_map(move |length| {
            let prefix = Prefix::new(address, *length)?;
            Some((prefix, self.routes.get(&prefix)?.as_slice()))
        })
    }

    /// All destinations.
    pub(super) fn all(&self) -> impl Iterator<Item = Prefix> {
        self.routes.keys().copied()
    }

    /// Destinations that are reached through a link.
    pub(super) fn through(&self, link: u32) -> Vec<Prefix> {
        let uses = |known: &Known| known.hops.iter().any(|hop| hop.link == Some(link));
        self.routes.iter().filter(|(_, routes)| routes.iter().any(uses)).map(|(prefix, _)| *prefix).collect()
    }

    /// Destinations whose routes are not the same in both.
    pub(super) fn differing(&self, other: &Prefixes) -> BTreeSet<Prefix> {
        self.all().chain(other.all()).filter(|prefix| self.exact(*prefix) != other.exact(*prefix)).collect()
    }
}
