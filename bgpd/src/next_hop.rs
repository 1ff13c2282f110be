//! What the kernel knows besides our routes: the way to each next hop, and the routes of others that are ours to tell.
//!
//! A [`Tracker`] mirrors links, addresses and the main table's foreign routes, first from a whole look
//! ([`Tracker::replace`]), then event by event. Two things come of it: the resolution of each next hop that was asked
//! for, through whatever route of others is the longest match, the default route too; and the node's own routes, which
//! are learnt as Calico's BIRD learns them (`bgp.md` §3 of the contract, protocols kernel and direct).
//!
//! Our own routes ([`crate::fib::PROTOCOL`]) are neither: resolving a next hop through a route that has a next hop itself
//! to be resolved ends in circles that hold themselves up. Calico's BIRD refuses the same.
//!
//! The kernel is silent about some of what it does (IPv4 routes go with their link or address without an event), and
//! events can be lost. [`Tracker::is_stale`] then asks for another whole look, whose outcome is told as a difference.

mod local;
mod prefixes;
mod resolve;
#[cfg(test)]
mod tests;

pub use bgp_rib::{Local, Resolution, Source};

use crate::fib::{MAIN, PROTOCOL};
use bgp_wire::Prefix;
use kernel::{Address, IpNet, KernelEvent, Link, Route};
use prefixes::Prefixes;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Where routes that are told here come from.
pub(crate) const SOURCES: [Source; 2] = [Source::Kernel, Source::Direct];

/// A look at the kernel.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// All links.
    pub links: Vec<Link>,
    /// All addresses.
    pub addresses: Vec<Address>,
    /// All routes of the main table, ours too.
    pub routes: Vec<Route>,
}

/// What came of looks and events since the last time it was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Next hops whose resolution is another now.
    pub next_hops: Vec<(IpAddr, Resolution)>,
    /// The node's own routes that are new, changed, or gone.
    pub local: Vec<(Prefix, Option<Local>)>,
    /// Links came, went or have another state: names may mean other numbers.
    pub links: bool,
}

impl Changes {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.next_hops.is_empty() && self.local.is_empty() && !self.links
    }
}

/// A link as far as routes need it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct KnownLink {
    name: Arc<str>,
    usable: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Tracker {
    links: BTreeMap<u32, KnownLink>,
    addresses: BTreeSet<(u32, IpNet)>,
    routes: Prefixes,
    /// Next hops asked for, with what was told of them.
    wanted: BTreeMap<IpAddr, Resolution>,
    /// Own routes, as they were told.
    told: BTreeMap<Prefix, Local>,
    /// Routes to neighbours by a gateway (`reachableBy`): our own, and yet next hops are reached by them.
    statics: BTreeMap<Prefix, IpAddr>,
    /// Interfaces whose networks are not told (`bgp.md` §2: direct interfaces).
    ignored: Vec<String>,
    /// What has to be looked at again before [`Tracker::changes`] can answer.
    touched: BTreeSet<Prefix>,
    /// Links are others than when [`Tracker::changes`] answered last.
    relinked: bool,
    stale: bool,
}

impl Tracker {
    /// Knows nothing, and asks for a look.
    pub fn new() -> Self {
        Self { stale: true, ..Self::default() }
    }

    /// Patterns of interfaces whose connected networks are not told, in addition to none: `cali*` and the like have to be
    /// among them.
    pub fn ignore(&mut self, patterns: Vec<String>) {
        if patterns != self.ignored {
            self.ignored = patterns;
            self.touch_addresses(|_, _| true);
        }
    }

    /// Sets the routes to neighbours by a gateway.
    pub fn set_static(&mut self, statics: BTreeMap<Prefix, IpAddr>) {
        self.touched.extend(statics.keys().chain(self.statics.keys()));
        self.statics = statics;
    }

    /// Whether a whole look is needed.
    pub fn is_stale(&self) -> bool {
        self.stale
    }

    /// Takes a whole look.
    pub fn replace(&mut self, look: Look) {
        self.stale = false;
        let links: BTreeMap<u32, KnownLink> = look.links.iter().map(known).collect();
        let addresses: BTreeSet<(u32, IpNet)> =
            look.addresses.iter().filter(|a| !a.tentative).map(|a| (a.link, a.net)).collect();
        let mut routes = Prefixes::default();
        for route in look.routes.iter().filter(|route| foreign(route)) {
            routes.insert(route);
        }
        self.touched.extend(routes.differing(&self.routes));
        if links != self.links {
            self.touched.extend(routes.all().chain(self.routes.all()));
        }
        let moved: Vec<(u32, IpNet)> = addresses.symmetric_difference(&self.addresses).copied().collect();
        let relinked = links != self.links;
        self.relinked |= relinked;
        (self.links, self.routes) = (links, routes);
        let before = std::mem::replace(&mut self.addresses, addresses);
        for (_, net) in moved {
            self.touched.extend(networks(net));
        }
        if relinked {
            self.touched.extend(before.iter().chain(&self.addresses).flat_map(|(_, net)| networks(*net)));
        }
    }

    /// Takes an event; those of our own routes are passed over.
    pub fn event(&mut self, event: &KernelEvent) {
        match event {
            KernelEvent::Link(link) => self.link(link),
            KernelEvent::LinkGone(link) => self.link_gone(link.index),
            KernelEvent::Address(address) if !address.tentative => self.address(address),
            KernelEvent::AddressGone(address) => self.address_gone(address),
            KernelEvent::Route(route) if foreign(route) => {
                let changed = self.routes.insert(route);
                self.touched.extend(prefix_of(route).filter(|_| changed));
            }
            KernelEvent::RouteGone(route) if foreign(route) => {
                let changed = self.routes.remove(route);
                self.touched.extend(prefix_of(route).filter(|_| changed));
            }
            KernelEvent::Overrun => self.stale = true,
            _ => {}
        }
    }

    fn link(&mut self, link: &Link) {
        let (index, link) = known(link);
        let before = self.links.insert(index, link.clone());
        if before.as_ref() != Some(&link) {
            // Routes go without a word with a link that goes down.
            self.stale |= before.is_some_and(|before| before.usable) && !link.usable;
            self.relinked = true;
            self.touch_link(index);
        }
    }

    fn link_gone(&mut self, index: u32) {
        if self.links.remove(&index).is_some() {
            (self.stale, self.relinked) = (true, true);
            self.touch_link(index);
        }
    }

    fn address(&mut self, address: &Address) {
        if self.addresses.insert((address.link, address.net)) {
            self.touched.extend(networks(address.net));
        }
    }

    fn address_gone(&mut self, address: &Address) {
        if self.addresses.remove(&(address.link, address.net)) {
            // Routes go without a word with their source, or with the network of their gateway.
            self.stale = true;
            self.touched.extend(networks(address.net));
        }
    }

    /// The next hop is of interest from now on. Its resolution now; later ones come by [`Tracker::changes`].
    pub fn want(&mut self, next_hop: IpAddr) -> Resolution {
        let now = self.resolve(next_hop);
        self.wanted.insert(next_hop, now.clone());
        now
    }

    /// The next hop is of no interest any more.
    pub fn forget(&mut self, next_hop: IpAddr) {
        self.wanted.remove(&next_hop);
    }

    /// What changed since the last call.
    pub fn changes(&mut self) -> Changes {
        let mut changes = Changes { links: std::mem::take(&mut self.relinked), ..Changes::default() };
        let touched = std::mem::take(&mut self.touched);
        let mut next_hops: BTreeSet<IpAddr> = BTreeSet::new();
        for prefix in &touched {
            let (first, last) = resolve::span(*prefix);
            next_hops.extend(self.wanted.range(first..=last).map(|(next_hop, _)| *next_hop));
        }
        for next_hop in next_hops {
            let now = self.resolve(next_hop);
            if self.wanted.get(&next_hop) != Some(&now) {
                self.wanted.insert(next_hop, now.clone());
                changes.next_hops.push((next_hop, now));
            }
        }
        for prefix in touched {
            let now = self.local(prefix);
            if self.told.get(&prefix) != now.as_ref() {
                match &now {
                    Some(local) => self.told.insert(prefix, local.clone()),
                    None => self.told.remove(&prefix),
                };
                changes.local.push((prefix, now));
            }
        }
        changes
    }

    /// The name of a link.
    pub fn link_name(&self, index: u32) -> Option<&Arc<str>> {
        self.links.get(&index).map(|link| &link.name)
    }

    /// The index of a link.
    pub fn link_index(&self, name: &str) -> Option<u32> {
        self.links.iter().find(|(_, link)| &*link.name == name).map(|(index, _)| *index)
    }

    fn is_usable(&self, link: u32) -> bool {
        self.links.get(&link).is_some_and(|link| link.usable)
    }

    /// Everything that leads through a link has to be looked at again.
    fn touch_link(&mut self, index: u32) {
        self.touched.extend(self.routes.through(index));
        self.touch_addresses(|link, _| link == index);
    }

    fn touch_addresses(&mut self, which: impl Fn(u32, IpNet) -> bool) {
        let these = self.addresses.iter().filter(|(link, net)| which(*link, *net));
        self.touched.extend(these.flat_map(|(_, net)| networks(*net)));
    }
}

fn known(link: &Link) -> (u32, KnownLink) {
    (link.index, KnownLink { name: link.name.as_str().into(), usable: link.up && link.carrier })
}

/// Whether a route is of interest: of the main table, and not ours.
fn foreign(route: &Route) -> bool {
    route.table == MAIN && route.protocol != PROTOCOL
}

fn prefix_of(route: &Route) -> Option<Prefix> {
    Prefix::new(route.dst.addr, route.dst.prefix)
}

/// The network of an address, and the address alone: both change what is resolved and told.
fn networks(net: IpNet) -> impl Iterator<Item = Prefix> {
    let host = IpNet::host(net.addr);
    [Prefix::new(net.addr, net.prefix), Prefix::new(host.addr, host.prefix)].into_iter().flatten()
}
