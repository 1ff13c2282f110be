//! From a next hop to gateways and links.

use super::Tracker;
use super::prefixes::Known;
use bgp_rib::{Hop, Resolution};
use bgp_wire::Prefix;
use kernel::RouteKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

impl Tracker {
    /// How the kernel would send to this address, our own routes left out of account but for the static ones.
    pub fn resolve(&self, next_hop: IpAddr) -> Resolution {
        let host = Prefix::host(next_hop);
        let gateway =
            self.statics.iter().find(|(prefix, _)| prefix.covers(host)).map(|(_, gateway)| *gateway);
        self.resolve_plain(gateway.unwrap_or(next_hop))
    }

    fn resolve_plain(&self, next_hop: IpAddr) -> Resolution {
        // Ourselves: what is sent there never leaves.
        if self.addresses.iter().any(|(_, net)| net.addr == next_hop) {
            return Resolution::Unreachable;
        }
        for (_, routes) in self.routes.matching(next_hop) {
            for route in routes {
                if route.kind != RouteKind::Unicast {
                    return Resolution::Unreachable;
                }
                let hops = self.hops(route, next_hop);
                if !hops.is_empty() {
                    return Resolution::Via { metric: route.metric, hops: hops.into() };
                }
            }
        }
        Resolution::Unreachable
    }

    /// The hops of a route that work, towards `next_hop`.
    fn hops(&self, route: &Known, next_hop: IpAddr) -> Vec<Hop> {
        let usable = route.hops.iter().filter_map(|hop| {
            let link = hop.link.filter(|link| self.is_usable(*link))?;
            Some(match hop.gateway {
                Some(gateway) => Hop { gateway: Some(gateway), link, onlink: hop.onlink },
                None => Hop { gateway: Some(next_hop), link, onlink: false },
            })
        });
        let mut hops: Vec<Hop> = usable.collect();
        hops.sort_unstable();
        hops.dedup();
        hops
    }
}

/// First and last address of a prefix.
pub(super) fn span(prefix: Prefix) -> (IpAddr, IpAddr) {
    match prefix {
        Prefix::V4(prefix) => {
            let first = u32::from(prefix.addr());
            let last = first | u32::MAX.checked_shr(prefix.len().into()).unwrap_or(0);
            (prefix.addr().into(), Ipv4Addr::from(last).into())
        }
        Prefix::V6(prefix) => {
            let first = u128::from(prefix.addr());
            let last = first | u128::MAX.checked_shr(prefix.len().into()).unwrap_or(0);
            (prefix.addr().into(), Ipv6Addr::from(last).into())
        }
    }
}
