//! What each operation does to the tables, with Linux's errnos.

use super::State;
use super::tables::{MemoryLink, Namespace};
use crate::addr::{IpNet, Mac};
use crate::api::{
    Address, KernelError, KernelEvent, Link, LinkRef, Neighbour, NextHop, Op, Route, RouteKind, Scope,
    VethPair,
};
use crate::netns::Netns;
use nix::errno::Errno;
use std::net::IpAddr;

/// MTU of a veth when none is asked for.
const VETH_MTU: u32 = 1500;
/// Metric of an IPv6 route when none is asked for.
const V6_METRIC: u32 = 1024;

impl State {
    /// Carries out one operation, or lets a planned fault strike.
    pub(super) fn attempt(&mut self, netns: &Netns, author: u64, op: Op) -> Result<(), KernelError> {
        self.log.push((netns.path().to_string(), op.clone()));
        if let Some(error) = self.faults.strikes(&op) {
            return Err(error);
        }
        let number = netns.memory_number().filter(|number| self.namespaces.contains_key(number));
        let Some(number) = number else {
            let reason = "has vanished".to_string();
            return Err(KernelError::Namespace { path: netns.path().to_string(), reason });
        };
        self.set_author(number, Some(author));
        let done = self.carry_out(number, &op);
        self.set_author(number, None);
        done.map_err(|errno| KernelError::Refused { errno: errno as i32, what: op.to_string(), detail: None })
    }

    fn set_author(&mut self, number: u64, author: Option<u64>) {
        if let Some(namespace) = self.namespaces.get_mut(&number) {
            namespace.author = author;
        }
    }

    /// Destroys a namespace: its links go, and with them their other ends.
    pub(super) fn vanish(&mut self, path: &str) -> bool {
        let found =
            self.namespaces.iter().find(|(_, namespace)| namespace.path == path).map(|(number, _)| *number);
        let Some(mut namespace) = found.and_then(|number| self.namespaces.remove(&number)) else {
            return false;
        };
        let links: Vec<u32> = namespace.links.keys().copied().collect();
        for index in links {
            let peer = namespace.remove_link(index);
            self.remove_peer(peer);
        }
        true
    }

    fn carry_out(&mut self, number: u64, op: &Op) -> Result<(), Errno> {
        match op {
            Op::AddVeth(pair) => self.add_pair(number, pair, "veth"),
            Op::AddNetkit(pair) => self.add_pair(number, pair, "netkit"),
            Op::AddBridge(name) => self.namespace(number)?.add_bridge(name),
            Op::SetMaster { link, master } => self.namespace(number)?.set_master(link, *master),
            Op::DelLink(link) => {
                let namespace = self.namespace(number)?;
                let index = namespace.find(link)?;
                if namespace.links.get(&index).is_some_and(|link| link.shown.kind.is_empty()) {
                    return Err(Errno::EOPNOTSUPP);
                }
                let peer = namespace.remove_link(index);
                self.remove_peer(peer);
                Ok(())
            }
            Op::PutAside { link, name, group } => self.namespace(number)?.put_aside(*link, name, *group),
            Op::DelGroup(group) => {
                let namespace = self.namespace(number)?;
                let group = |link: &&MemoryLink| link.group == *group;
                let indexes: Vec<u32> =
                    namespace.links.values().filter(group).map(|link| link.shown.index).collect();
                if indexes.is_empty() {
                    return Err(Errno::ENODEV);
                }
                for index in indexes {
                    let peer = self.namespace(number)?.remove_link(index);
                    self.remove_peer(peer);
                }
                Ok(())
            }
            Op::SetLink { link, up, mac, mtu, alias } => {
                let namespace = self.namespace(number)?;
                let index = namespace.find(link)?;
                let link = namespace.links.get_mut(&index).ok_or(Errno::ENODEV)?;
                if let Some(mac) = mac {
                    if mac.0.first().is_some_and(|byte| byte & 1 == 1) || mac.0 == [0; 6] {
                        return Err(Errno::EADDRNOTAVAIL);
                    }
                    link.shown.mac = Some(*mac);
                }
                if let Some(mtu) = mtu {
                    if *mtu < 68 || *mtu > 65535 {
                        return Err(Errno::EINVAL);
                    }
                    link.shown.mtu = *mtu;
                }
                if let Some(alias) = alias {
                    link.shown.alias = Some(alias.clone()).filter(|alias| !alias.is_empty());
                }
                let shown = link.shown.clone();
                namespace.tell(KernelEvent::Link(shown));
                if let Some(up) = up {
                    self.switch(number, index, *up)?;
                }
                Ok(())
            }
            Op::AddAddress { link, net, .. } => self.namespace(number)?.new_address(*link, *net),
            Op::DelAddress { link, net } => self.namespace(number)?.delete_address(*link, *net),
            Op::AddRoute(route) => self.namespace(number)?.new_route(route, false),
            Op::ReplaceRoute(route) => self.namespace(number)?.new_route(route, true),
            Op::DelRoute(route) => self.namespace(number)?.delete_route(route),
            Op::SetNeighbour(entry) => self.namespace(number)?.new_neighbour(entry),
            Op::DelNeighbour(entry) => self.namespace(number)?.delete_neighbour(entry),
        }
    }

    fn namespace(&mut self, number: u64) -> Result<&mut Namespace, Errno> {
        self.namespaces.get_mut(&number).ok_or(Errno::ENODEV)
    }

    fn add_pair(&mut self, near: u64, pair: &VethPair, kind: &str) -> Result<(), Errno> {
        let far = match &pair.peer_netns {
            None => near,
            // The kernel's answer to a descriptor that is no namespace of its own.
            Some(netns) => netns.memory_number().ok_or(Errno::EINVAL)?,
        };
        for name in [&pair.name, &pair.peer_name] {
            crate::netlink::check_name(name).map_err(|_| Errno::ERANGE)?;
        }
        let taken =
            self.namespace(near)?.has_name(&pair.name) || self.namespace(far)?.has_name(&pair.peer_name);
        if taken || (near == far && pair.name == pair.peer_name) {
            return Err(Errno::EEXIST);
        }
        let far_index = self.namespace(far)?.take_index();
        let near_index = self.namespace(near)?.take_index();
        let end = |name: &str, index: u32, mac: Option<Mac>, peer: u32, number: u64| {
            // Unlike any other in this world, and locally administered.
            let [low, ..] = number.to_le_bytes();
            let [a, b, c, d] = index.to_be_bytes();
            Link {
                index,
                name: name.to_string(),
                alias: None,
                mac: Some(mac.unwrap_or(Mac([0x02, low, a, b, c, d]))),
                mtu: if pair.mtu == 0 { VETH_MTU } else { pair.mtu },
                up: false,
                carrier: false,
                kind: kind.to_string(),
                peer: Some(peer),
            }
        };
        let far_link = end(&pair.peer_name, far_index, pair.peer_mac, near_index, far);
        let near_link = end(&pair.name, near_index, pair.mac, far_index, near);
        let link = |shown, peer| MemoryLink { shown, peer: Some(peer), group: 0 };
        self.namespace(far)?.add_link(link(far_link, (near, near_index)));
        self.namespace(near)?.add_link(link(near_link, (far, far_index)));
        if pair.up { self.switch(near, near_index, true) } else { Ok(()) }
    }

    fn remove_peer(&mut self, peer: Option<(u64, u32)>) {
        if let Some(namespace) = peer.and_then(|(number, _)| self.namespaces.get_mut(&number)) {
            peer.and_then(|(_, index)| namespace.remove_link(index));
        }
    }

    /// Sets a link up or down; a veth end has carrier while both are up.
    fn switch(&mut self, number: u64, index: u32, up: bool) -> Result<(), Errno> {
        let peer = self.namespace(number)?.links.get(&index).ok_or(Errno::ENODEV)?.peer;
        let Some((far, far_index)) = peer else {
            self.namespace(number)?.set_state(index, up, up);
            return Ok(());
        };
        let far_up = self.namespace(far)?.links.get(&far_index).is_some_and(|link| link.shown.up);
        self.namespace(number)?.set_state(index, up, up && far_up);
        self.namespace(far)?.set_state(far_index, far_up, up && far_up);
        Ok(())
    }
}

impl Namespace {
    fn put_aside(&mut self, index: u32, name: &str, group: u32) -> Result<(), Errno> {
        crate::netlink::check_name(name).map_err(|_| Errno::ERANGE)?;
        let taken = self.links.values().any(|link| link.shown.name == name && link.shown.index != index);
        let link = self.links.get_mut(&index).ok_or(Errno::ENODEV)?;
        if taken {
            return Err(Errno::EEXIST);
        }
        link.group = group;
        let old = std::mem::replace(&mut link.shown.name, name.to_string());
        let shown = link.shown.clone();
        self.sysctls.rename_link(&old, name);
        self.tell(KernelEvent::Link(shown));
        Ok(())
    }

    fn add_bridge(&mut self, name: &str) -> Result<(), Errno> {
        crate::netlink::check_name(name).map_err(|_| Errno::ERANGE)?;
        if self.has_name(name) {
            return Err(Errno::EEXIST);
        }
        let index = self.take_index();
        let [a, b, c, d] = index.to_be_bytes();
        let shown = Link {
            index,
            name: name.to_string(),
            alias: None,
            mac: Some(Mac([0x06, 0, a, b, c, d])),
            mtu: VETH_MTU,
            up: false,
            carrier: false,
            kind: "bridge".to_string(),
            peer: None,
        };
        self.add_link(MemoryLink { shown, peer: None, group: 0 });
        Ok(())
    }

    /// Ports carry no frames here: that they may be ones is all that is checked.
    fn set_master(&mut self, link: &LinkRef, master: u32) -> Result<(), Errno> {
        let index = self.find(link)?;
        let bridge = self.links.get(&master).ok_or(Errno::EINVAL)?;
        if bridge.shown.kind != "bridge" || index == master {
            return Err(if index == master { Errno::ELOOP } else { Errno::EOPNOTSUPP });
        }
        let port = self.links.get(&index).ok_or(Errno::ENODEV)?;
        if port.shown.kind.is_empty() { Err(Errno::EINVAL) } else { Ok(()) }
    }

    fn find(&self, link: &LinkRef) -> Result<u32, Errno> {
        match link {
            LinkRef::Index(index) => self.links.contains_key(index).then_some(*index),
            LinkRef::Name(name) => self.links.values().find(|l| l.shown.name == *name).map(|l| l.shown.index),
        }
        .ok_or(Errno::ENODEV)
    }

    fn usable(&self, link: u32, addr: IpAddr) -> Result<&MemoryLink, Errno> {
        let found = self.links.get(&link).ok_or(Errno::ENODEV)?;
        if addr.is_ipv6() && self.sysctls.ipv6_disabled(&found.shown.name) {
            return Err(Errno::EACCES);
        }
        Ok(found)
    }

    fn new_address(&mut self, link: u32, net: IpNet) -> Result<(), Errno> {
        self.usable(link, net.addr)?;
        // IPv6 knows an address once a link whatever its length, IPv4 with its length.
        let same = |known: &Address| {
            known.link == link
                && known.net.addr == net.addr
                && (net.addr.is_ipv6() || known.net.prefix == net.prefix)
        };
        if self.addresses.iter().any(same) {
            return Err(Errno::EEXIST);
        }
        let local = matches!(net.addr, IpAddr::V6(ip) if ip.is_unicast_link_local());
        let scope = if local { Scope::Link } else { Scope::Universe };
        self.add_address(Address { link, net, scope, tentative: false });
        Ok(())
    }

    fn delete_address(&mut self, link: u32, net: IpNet) -> Result<(), Errno> {
        self.links.get(&link).ok_or(Errno::ENODEV)?;
        let found = self.addresses.iter().position(|known| known.link == link && known.net == net);
        let gone = self.addresses.remove(found.ok_or(Errno::EADDRNOTAVAIL)?);
        self.tell(KernelEvent::AddressGone(gone));
        // The last IPv4 address of a link takes every IPv4 route and neighbour of it along.
        if net.addr.is_ipv4()
            && !self.addresses.iter().any(|known| known.link == link && known.net.addr.is_ipv4())
        {
            self.routes
                .retain(|r| r.dst.addr.is_ipv6() || r.next_hops.iter().all(|hop| hop.link != Some(link)));
            self.neighbours.retain(|known| known.addr.is_ipv6() || known.link != link);
        }
        Ok(())
    }

    fn new_route(&mut self, route: &Route, replace: bool) -> Result<(), Errno> {
        for hop in &route.next_hops {
            // Of several faults Linux names the first it meets: IPv6 an unknown link, then both the gateway.
            if route.dst.addr.is_ipv6() && hop.link.is_some_and(|link| !self.links.contains_key(&link)) {
                return Err(Errno::ENODEV);
            }
            if let Some(gateway) = hop.gateway {
                self.check_gateway(gateway, hop, route.table)?;
            }
            if let Some(link) = hop.link
                && !self.usable(link, route.dst.addr)?.shown.up
            {
                return Err(Errno::ENETDOWN);
            }
        }
        if route.next_hops.is_empty() && matches!(route.kind, RouteKind::Unicast) {
            return Err(if route.dst.addr.is_ipv4() { Errno::ENODEV } else { Errno::EINVAL });
        }
        let mut stored = route.clone();
        if route.dst.addr.is_ipv6() {
            stored.metric = Some(route.metric.filter(|metric| *metric != 0).unwrap_or(V6_METRIC));
            stored.scope = Scope::Universe;
        } else {
            stored.metric = route.metric.filter(|metric| *metric != 0);
        }
        stored.dst.addr = masked(route.dst);
        if route.dst.addr.is_ipv4() && stored.dst.addr != route.dst.addr {
            return Err(Errno::EINVAL);
        }
        let key = |r: &Route| (r.dst, r.table, r.metric);
        match self.routes.iter_mut().find(|known| key(known) == key(&stored)) {
            Some(_) if !replace => return Err(Errno::EEXIST),
            Some(known) => *known = stored.clone(),
            None => self.routes.push(stored.clone()),
        }
        self.tell(KernelEvent::Route(stored));
        Ok(())
    }

    /// A gateway must be reachable without another gateway.
    fn check_gateway(&self, gateway: IpAddr, hop: &NextHop, table: u32) -> Result<(), Errno> {
        let (link, onlink) = (hop.link, hop.onlink);
        if matches!(gateway, IpAddr::V6(ip) if ip.is_unicast_link_local()) {
            return if link.is_some() { Ok(()) } else { Err(Errno::EINVAL) };
        }
        let through = |index: u32| link.is_none_or(|only| only == index);
        let by_route = self.routes.iter().any(|known| {
            known.table == table
                && known.dst.contains(gateway)
                && known.next_hops.iter().any(|hop| hop.gateway.is_none() && hop.link.is_some_and(through))
        });
        let up = |index: u32| self.links.get(&index).is_some_and(|link| link.shown.up);
        let by_address =
            |known: &Address| through(known.link) && up(known.link) && known.net.contains(gateway);
        if onlink || by_route || self.addresses.iter().any(by_address) {
            return Ok(());
        }
        Err(if gateway.is_ipv4() { Errno::ENETUNREACH } else { Errno::EHOSTUNREACH })
    }

    fn delete_route(&mut self, route: &Route) -> Result<(), Errno> {
        let v4 = route.dst.addr.is_ipv4();
        let hops = |known: &Route| {
            route.next_hops.is_empty()
                || known
                    .next_hops
                    .iter()
                    .map(|hop| (hop.gateway, hop.link))
                    .eq(route.next_hops.iter().map(|hop| (hop.gateway, hop.link)))
        };
        let matches = |known: &Route| {
            known.dst.prefix == route.dst.prefix
                && known.dst.addr == masked(route.dst)
                && known.table == route.table
                && (route.protocol == 0 || known.protocol == route.protocol)
                && (!v4 || known.scope == route.scope)
                && route.metric.is_none_or(|metric| metric == 0 || known.metric == Some(metric))
                && hops(known)
        };
        let found = self.routes.iter().position(matches).ok_or(Errno::ESRCH)?;
        let gone = self.routes.remove(found);
        self.tell(KernelEvent::RouteGone(gone));
        Ok(())
    }

    fn new_neighbour(&mut self, entry: &Neighbour) -> Result<(), Errno> {
        self.links.get(&entry.link).ok_or(Errno::ENODEV)?;
        let stored = Neighbour {
            mac: if entry.proxy { None } else { entry.mac },
            permanent: entry.permanent && !entry.proxy,
            ..entry.clone()
        };
        self.neighbours.retain(|known| !same_neighbour(known, entry));
        self.neighbours.push(stored.clone());
        if !entry.proxy {
            self.tell(KernelEvent::Neighbour(stored));
        }
        Ok(())
    }

    fn delete_neighbour(&mut self, entry: &Neighbour) -> Result<(), Errno> {
        self.links.get(&entry.link).ok_or(Errno::ENODEV)?;
        let found =
            self.neighbours.iter().position(|known| same_neighbour(known, entry)).ok_or(Errno::ENOENT)?;
        let gone = self.neighbours.remove(found);
        if !gone.proxy {
            self.tell(KernelEvent::NeighbourGone(gone));
        }
        Ok(())
    }
}

fn same_neighbour(a: &Neighbour, b: &Neighbour) -> bool {
    (a.link, a.addr, a.proxy) == (b.link, b.addr, b.proxy)
}

/// The address with its host bits cleared.
fn masked(net: IpNet) -> IpAddr {
    match net.addr {
        IpAddr::V4(ip) => {
            IpAddr::V4((u32::from(ip) & u32::MAX.checked_shl(32 - u32::from(net.prefix)).unwrap_or(0)).into())
        }
        IpAddr::V6(ip) => IpAddr::V6(
            (u128::from(ip) & u128::MAX.checked_shl(128 - u32::from(net.prefix)).unwrap_or(0)).into(),
        ),
    }
}
