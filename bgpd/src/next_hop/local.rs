//! The node's own routes: those other programs put into the kernel, and the networks of its links.

use super::{KnownLink, Tracker, networks};
use bgp_rib::{Local, Source};
use bgp_wire::Prefix;
use kernel::RouteKind;
use std::net::IpAddr;

/// `RTPROT_REDIRECT` and `RTPROT_KERNEL`: what the kernel makes by itself is nobody's route.
const KERNELS_OWN: [u8; 2] = [1, 2];
/// `RTN_PROHIBIT`.
const PROHIBIT: u8 = 8;

impl Tracker {
    /// What there is to tell of a destination.
    pub(super) fn local(&self, prefix: Prefix) -> Option<Local> {
        if !may_be_told(prefix) {
            return None;
        }
        self.direct(prefix).or_else(|| self.alien(prefix))
    }

    fn direct(&self, prefix: Prefix) -> Option<Local> {
        let here = self.addresses.iter().filter(|(_, net)| networks(*net).next() == Some(prefix));
        let mut links = here.filter_map(|(link, _)| self.links.get(link));
        let told = |link: &&KnownLink| link.usable && !self.is_ignored(&link.name);
        let link = links.find(told)?;
        Some(Local { source: Source::Direct, metric: None, interface: Some(link.name.clone()) })
    }

    fn alien(&self, prefix: Prefix) -> Option<Local> {
        let told = |kind| {
            let nowhere = [RouteKind::Blackhole, RouteKind::Unreachable, RouteKind::Other(PROHIBIT)];
            kind == RouteKind::Unicast || nowhere.contains(&kind)
        };
        let mut routes = self.routes.exact(prefix).iter();
        let route = routes.find(|route| !KERNELS_OWN.contains(&route.protocol) && told(route.kind))?;
        let link = route.hops.iter().find_map(|hop| self.link_name(hop.link?));
        Some(Local {
            source: Source::Kernel,
            metric: Some(route.metric).filter(|metric| *metric > 0),
            interface: link.cloned(),
        })
    }

    fn is_ignored(&self, name: &str) -> bool {
        self.ignored.iter().any(|pattern| matches(pattern.as_bytes(), name.as_bytes()))
    }
}

/// Nothing that means something on one link or machine only.
fn may_be_told(prefix: Prefix) -> bool {
    match prefix.addr() {
        IpAddr::V4(addr) => {
            prefix.is_empty() || !(addr.is_loopback() || addr.is_link_local() || addr.is_multicast())
        }
        IpAddr::V6(addr) => {
            prefix.is_empty() || !(addr.is_loopback() || addr.is_unicast_link_local() || addr.is_multicast())
        }
    }
}

/// Whether a shell pattern of `*` and `?` matches a name.
pub(super) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            matches(rest, name) || name.split_first().is_some_and(|(_, name)| matches(pattern, name))
        }
        (Some((b'?', rest)), Some((_, name))) => matches(rest, name),
        (Some((a, rest)), Some((b, name))) => a == b && matches(rest, name),
        _ => false,
    }
}
