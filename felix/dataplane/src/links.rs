//! The node's interfaces: which there are, whether they work, and their addresses.

use kernel::{Address, KernelEvent, Link};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// MTU where no interface of the host is known to carry workloads' packets.
const NO_MTU: u32 = 1460;

/// A link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkState {
    /// Its name.
    pub name: Arc<str>,
    /// Set up, so that routes through it stay.
    pub admin_up: bool,
    /// Set up and with carrier: packets pass.
    pub up: bool,
    /// MTU in bytes.
    pub mtu: u32,
    /// When it was seen first.
    pub since: Duration,
    /// Its addresses.
    pub addresses: BTreeSet<IpAddr>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Links {
    links: BTreeMap<u32, LinkState>,
    by_name: BTreeMap<Arc<str>, u32>,
    /// Names about which something changed.
    changed: BTreeSet<Arc<str>>,
    /// Links whose routes the kernel took away without saying so.
    flushed: BTreeSet<u32>,
    /// Something changed since [`Links::take_other`] was asked.
    other: bool,
}

impl Links {
    /// All that there are.
    pub fn replace(&mut self, links: &[Link], addresses: &[Address], now: Duration) {
        let there: BTreeSet<u32> = links.iter().map(|link| link.index).collect();
        let gone: Vec<u32> = self.links.keys().filter(|index| !there.contains(index)).copied().collect();
        gone.into_iter().for_each(|index| self.gone(index));
        links.iter().for_each(|link| self.link(link, now));
        let mut by_link: BTreeMap<u32, BTreeSet<IpAddr>> = BTreeMap::new();
        for address in addresses {
            by_link.entry(address.link).or_default().insert(address.net.addr);
        }
        for (index, state) in &mut self.links {
            let found = by_link.remove(index).unwrap_or_default();
            if state.addresses != found {
                state.addresses = found;
                self.changed.insert(state.name.clone());
            }
        }
    }

    /// Takes an event.
    pub fn event(&mut self, event: &KernelEvent, now: Duration) {
        match event {
            KernelEvent::Link(link) => self.link(link, now),
            KernelEvent::LinkGone(link) => self.gone(link.index),
            KernelEvent::Address(address) => self.address(address, true),
            KernelEvent::AddressGone(address) => self.address(address, false),
            _ => {}
        }
    }

    fn link(&mut self, link: &Link, now: Duration) {
        let name: Arc<str> = link.name.as_str().into();
        let old = self.links.remove(&link.index);
        let renamed = old.as_ref().filter(|old| old.name != name).map(|old| old.name.clone());
        let state = LinkState {
            name: name.clone(),
            admin_up: link.up,
            up: link.up && link.carrier,
            mtu: link.mtu,
            since: old.as_ref().filter(|_| renamed.is_none()).map_or(now, |old| old.since),
            addresses: old.as_ref().map(|old| old.addresses.clone()).unwrap_or_default(),
        };
        if let Some(renamed) = renamed {
            self.by_name.remove(&renamed);
            self.changed.insert(renamed);
        }
        if old.as_ref().is_some_and(|old| old.admin_up && !state.admin_up) {
            self.flushed.insert(link.index);
        }
        if old.as_ref() != Some(&state) {
            self.changed.insert(name.clone());
        }
        self.by_name.insert(name, link.index);
        self.links.insert(link.index, state);
    }

    fn gone(&mut self, index: u32) {
        let Some(state) = self.links.remove(&index) else { return };
        // another one may have taken the name
        if self.by_name.get(&state.name) == Some(&index) {
            self.by_name.remove(&state.name);
        }
        self.flushed.insert(index);
        self.changed.insert(state.name);
    }

    fn address(&mut self, address: &Address, there: bool) {
        let Some(state) = self.links.get_mut(&address.link) else { return };
        let known = match there {
            true => state.addresses.insert(address.net.addr),
            false => state.addresses.remove(&address.net.addr),
        };
        if known {
            self.changed.insert(state.name.clone());
            // the last IPv4 address of a link takes the IPv4 routes through it along
            if !there && !state.addresses.iter().any(IpAddr::is_ipv4) {
                self.flushed.insert(address.link);
            }
        }
    }

    /// Names about which something changed since it was asked last.
    pub fn take_changed(&mut self) -> BTreeSet<Arc<str>> {
        self.other |= !self.changed.is_empty();
        std::mem::take(&mut self.changed)
    }

    /// Whether any name was taken as changed since this was asked last.
    pub fn take_other(&mut self) -> bool {
        std::mem::take(&mut self.other)
    }

    /// The smallest MTU of the links that work and whose names `carries` says yes to.
    pub fn mtu(&self, carries: impl Fn(&str) -> bool) -> u32 {
        let working = self.links.values().filter(|link| link.up && carries(&link.name));
        working.map(|link| link.mtu).min().unwrap_or(NO_MTU)
    }

    /// Links whose routes the kernel took away without saying so, since it was asked last.
    pub fn take_flushed(&mut self) -> BTreeSet<u32> {
        std::mem::take(&mut self.flushed)
    }

    /// The link of this index.
    pub fn get(&self, index: u32) -> Option<&LinkState> {
        self.links.get(&index)
    }

    /// The link of this name, with its index.
    pub fn named(&self, name: &str) -> Option<(u32, &LinkState)> {
        let index = *self.by_name.get(name)?;
        Some((index, self.links.get(&index)?))
    }

    /// The link that has this address: of several the last.
    pub fn with_address(&self, address: IpAddr) -> Option<(u32, &LinkState)> {
        let has = |(_, state): &(&u32, &LinkState)| state.addresses.contains(&address);
        self.links.iter().rev().find(has).map(|(index, state)| (*index, state))
    }

    /// All links.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &LinkState)> {
        self.links.iter().map(|(index, state)| (*index, state))
    }
}

#[cfg(test)]
mod tests;
