//! Whose routes are ours (`felix.md` §8 of the contract).

use crate::links::Links;
use crate::settings::{PROTOCOL, Settings};
use kernel::{Route, RouteKind};
use std::net::IpAddr;
use std::time::Duration;

/// The kernel's own routes, such as those of addresses.
const KERNEL: u8 = 2;
/// Routes of our own BGP speaker, which looks after them itself.
const BGPD: u8 = 81;
/// How long after an interface was seen first routes of others are left on it: the CNI plugin makes one before it writes
/// the endpoint.
const GRACE: Duration = Duration::from_secs(10);

/// Whether a route of the main table is ours to keep or to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// It is, by its protocol.
    Ours,
    /// It is, because it lies on a workload's interface; not before this time.
    OnWorkload(Duration),
    /// It is somebody else's.
    Theirs,
}

/// Whose a route is.
pub fn ownership(route: &Route, links: &Links, settings: &Settings) -> Ownership {
    let known = matches!(route.kind, RouteKind::Unicast | RouteKind::Blackhole | RouteKind::Unreachable);
    if !known || route.protocol == KERNEL || route.protocol == BGPD || is_link_scoped(route.dst.addr) {
        return Ownership::Theirs;
    }
    if route.protocol == PROTOCOL || route.protocol == settings.cluster_route_protocol() {
        return Ownership::Ours;
    }
    let own = route.protocol == settings.device_route_protocol;
    if !own && !settings.remove_external_routes {
        return Ownership::Theirs;
    }
    let mut workloads = route.next_hops.iter().map(|hop| {
        let link = links.get(hop.link?)?;
        settings.is_workload(&link.name).then_some(link.since)
    });
    // all hops lead to workloads
    match workloads.next() {
        Some(Some(since)) if workloads.all(|other| other.is_some()) => Ownership::OnWorkload(since + GRACE),
        _ => Ownership::Theirs,
    }
}

/// Link-local and multicast destinations are the kernel's on every interface.
fn is_link_scoped(dst: IpAddr) -> bool {
    match dst {
        IpAddr::V4(dst) => dst.is_multicast(),
        IpAddr::V6(dst) => dst.is_multicast() || dst.is_unicast_link_local(),
    }
}
