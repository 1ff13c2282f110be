//! The tables of one in-memory namespace, and who is told of their changes.

use super::sysctls::Sysctls;
use crate::addr::IpNet;
use crate::api::{Address, EventGroups, KernelError, KernelEvent, Link, Neighbour, Route, Scope};
use crate::netns::Netns;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A link with what is not shown of it.
#[derive(Debug, Clone)]
pub(super) struct MemoryLink {
    pub(super) shown: Link,
    /// The other end of a veth pair: namespace and index.
    pub(super) peer: Option<(u64, u32)>,
    /// The group it is in, 0 at first.
    pub(super) group: u32,
}

/// One namespace.
pub(super) struct Namespace {
    pub(super) path: String,
    pub(super) netns: Netns,
    pub(super) links: BTreeMap<u32, MemoryLink>,
    pub(super) addresses: Vec<Address>,
    pub(super) routes: Vec<Route>,
    pub(super) neighbours: Vec<Neighbour>,
    pub(super) sysctls: Sysctls,
    next_index: u32,
    /// Who follows what, by the number of the handle.
    followers: Vec<(EventGroups, u64, UnboundedSender<KernelEvent>)>,
    /// The handle whose operation is carried out.
    pub(super) author: Option<u64>,
}

impl Namespace {
    /// With `lo`, down, as a fresh one has it.
    pub(super) fn new(path: &str, netns: Netns) -> Self {
        let mut namespace = Self {
            path: path.to_string(),
            netns,
            links: BTreeMap::new(),
            addresses: Vec::new(),
            routes: Vec::new(),
            neighbours: Vec::new(),
            sysctls: Sysctls::new(),
            next_index: 1,
            followers: Vec::new(),
            author: None,
        };
        let lo = Link {
            index: namespace.take_index(),
            name: "lo".to_string(),
            alias: None,
            mac: Some(crate::addr::Mac([0; 6])),
            mtu: 65536,
            up: false,
            carrier: false,
            kind: String::new(),
            peer: None,
        };
        namespace.add_link(MemoryLink { shown: lo, peer: None, group: 0 });
        namespace
    }

    pub(super) fn take_index(&mut self) -> u32 {
        let index = self.next_index;
        self.next_index += 1;
        index
    }

    pub(super) fn add_link(&mut self, link: MemoryLink) {
        self.sysctls.add_link(&link.shown.name);
        self.tell(KernelEvent::Link(link.shown.clone()));
        self.links.insert(link.shown.index, link);
    }

    pub(super) fn has_name(&self, name: &str) -> bool {
        self.links.values().any(|link| link.shown.name == name)
    }

    /// Removes a link with everything that hangs on it; returns its other end.
    pub(super) fn remove_link(&mut self, index: u32) -> Option<(u64, u32)> {
        let link = self.links.remove(&index)?;
        self.flush(index, true);
        self.sysctls.remove_link(&link.shown.name);
        self.tell(KernelEvent::LinkGone(link.shown));
        link.peer
    }

    /// Sets flags; a link that loses `up` loses its routes and its IPv6 addresses.
    pub(super) fn set_state(&mut self, index: u32, up: bool, carrier: bool) {
        let Some(link) = self.links.get_mut(&index) else { return };
        let before = (link.shown.up, link.shown.carrier);
        if before == (up, carrier) {
            return;
        }
        link.shown.up = up;
        link.shown.carrier = carrier;
        let shown = link.shown.clone();
        self.tell(KernelEvent::Link(shown));
        if before.0 && !up {
            self.flush(index, false);
        }
        self.autoconfigure(index);
    }

    /// Gives a link that is up and has carrier its IPv6 link-local address, where IPv6 is on.
    fn autoconfigure(&mut self, index: u32) {
        let Some(link) = self.links.get(&index).map(|link| &link.shown) else { return };
        if !link.up || !link.carrier || link.kind.is_empty() || self.sysctls.ipv6_disabled(&link.name) {
            return;
        }
        let Some(mac) = link.mac else { return };
        let local = |address: &Address| {
            address.link == index && matches!(address.net.addr, IpAddr::V6(ip) if ip.is_unicast_link_local())
        };
        if !self.addresses.iter().any(local) {
            let net = IpNet { addr: IpAddr::V6(mac.link_local()), prefix: 64 };
            self.add_address(Address { link: index, net, scope: Scope::Link, tentative: false });
        }
    }

    pub(super) fn add_address(&mut self, address: Address) {
        self.tell(KernelEvent::Address(address.clone()));
        self.addresses.push(address);
    }

    /// Drops what needs the link up; with `gone`, also what only needs it to exist.
    fn flush(&mut self, index: u32, gone: bool) {
        let uses = |route: &Route| route.next_hops.iter().any(|hop| hop.link == Some(index));
        for route in self.routes.extract_if(.., |route| uses(route)).collect::<Vec<_>>() {
            // Linux sends no event for IPv4 routes that go with their link; callers cannot rely on one.
            if route.dst.addr.is_ipv6() {
                self.tell(KernelEvent::RouteGone(route));
            }
        }
        let doomed = |address: &mut Address| address.link == index && (gone || address.net.addr.is_ipv6());
        for address in self.addresses.extract_if(.., doomed).collect::<Vec<_>>() {
            self.tell(KernelEvent::AddressGone(address));
        }
        let doomed = |entry: &mut Neighbour| entry.link == index;
        for entry in self.neighbours.extract_if(.., doomed).collect::<Vec<_>>() {
            self.tell(KernelEvent::NeighbourGone(entry));
        }
    }

    pub(super) fn set_sysctl(&mut self, key: &str, value: &str) -> Result<(), KernelError> {
        self.sysctls.write(key, value)?;
        if key.ends_with("/disable_ipv6") {
            let off: Vec<(u32, bool)> = self
                .links
                .values()
                .map(|link| (link.shown.index, self.sysctls.ipv6_disabled(&link.shown.name)))
                .collect();
            for (index, off) in off {
                if off {
                    self.routes.retain(|r| {
                        r.dst.addr.is_ipv4() || r.next_hops.iter().all(|hop| hop.link != Some(index))
                    });
                    self.addresses.retain(|a| a.net.addr.is_ipv4() || a.link != index);
                } else {
                    self.autoconfigure(index);
                }
            }
        }
        Ok(())
    }

    pub(super) fn subscribe(&mut self, groups: EventGroups, handle: u64) -> UnboundedReceiver<KernelEvent> {
        let (sender, receiver) = unbounded();
        self.followers.push((groups, handle, sender));
        receiver
    }

    pub(super) fn tell(&mut self, event: KernelEvent) {
        use KernelEvent::{
            Address, AddressGone, Link, LinkGone, Neighbour, NeighbourGone, Overrun, Route, RouteGone,
        };
        let author = self.author;
        self.followers.retain(|(groups, handle, follower)| {
            let wanted = match event {
                Link(_) | LinkGone(_) => groups.links,
                Address(_) | AddressGone(_) => groups.addresses,
                Route(_) | RouteGone(_) => groups.routes && !(groups.others_only && author == Some(*handle)),
                Neighbour(_) | NeighbourGone(_) => groups.neighbours,
                Overrun => true,
            };
            !wanted || follower.unbounded_send(event.clone()).is_ok()
        });
    }
}
