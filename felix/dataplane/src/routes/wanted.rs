//! Which route each destination should have: of a local workload if it has one whose interface works, else of its block.

use super::{Key, Target, is_host};
use crate::links::Links;
use crate::settings::Settings;
use felix_calc::BlockRoute;
use felix_calc::endpoint::{EndpointKey, Workload};
use kernel::{Mac, NextHop, RouteKind};
use model::net::{Cidr, Family};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// The largest block whose addresses are named: Calico's have 64.
const BLOCK: u128 = 1 << 12;

/// A local workload that has an address.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Holder {
    interface: Arc<str>,
    mac: Option<Mac>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Wanted {
    /// Who has an address.
    holders: BTreeMap<IpAddr, BTreeMap<EndpointKey, Holder>>,
    /// The addresses of an endpoint, to find what it had before.
    addresses: BTreeMap<EndpointKey, BTreeSet<IpAddr>>,
    blocks: BTreeMap<Cidr, BlockRoute>,
    /// Destinations to look at again.
    dirty: BTreeSet<Cidr>,
}

/// What a destination should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// Its route.
    pub key: Key,
    /// See there.
    pub target: Target,
    /// The hardware address of the workload that has it, where it is to be made permanent.
    pub mac: Option<Mac>,
}

impl Wanted {
    /// A local workload came, changed or (`None`) went. `floating`: whether its floating addresses are routed too.
    pub fn set_workload(&mut self, key: &EndpointKey, workload: Option<&Workload>, floating: bool) {
        let own = workload.iter().flat_map(|workload| workload.addresses.iter().copied());
        let external = workload.iter().flat_map(|w| w.floating.iter().map(|floating| floating.external));
        let now: BTreeSet<IpAddr> = own.chain(external.filter(|_| floating)).collect();
        let holder = workload
            .map(|workload| Holder { interface: workload.interface.clone(), mac: workload.mac.map(Mac) });
        let before = match now.is_empty() {
            true => self.addresses.remove(key),
            false => self.addresses.insert(key.clone(), now.clone()),
        };
        for address in before.into_iter().flatten().filter(|address| !now.contains(address)) {
            self.set_holder(address, key, None);
        }
        for address in now {
            self.set_holder(address, key, holder.clone());
        }
    }

    fn set_holder(&mut self, address: IpAddr, key: &EndpointKey, holder: Option<Holder>) {
        let holders = self.holders.entry(address).or_default();
        let before = match holder.clone() {
            Some(holder) => holders.insert(key.clone(), holder),
            None => holders.remove(key),
        };
        if holders.is_empty() {
            self.holders.remove(&address);
        }
        if before != holder {
            self.dirty.insert(Cidr::host(address));
        }
    }

    /// A block's route came, changed or (`None`) went.
    pub fn set_block(&mut self, block: Cidr, route: Option<BlockRoute>) {
        match route {
            Some(route) => self.blocks.insert(block, route),
            None => self.blocks.remove(&block),
        };
        self.dirty.insert(block);
    }

    /// A link came, changed or went: what leads through it is looked at again. `addresses`: of the host itself.
    pub fn link_changed(&mut self, name: &str, is_workload: bool) {
        if is_workload {
            let uses =
                |holders: &BTreeMap<EndpointKey, Holder>| holders.values().any(|h| *h.interface == *name);
            let through = self.holders.iter().filter(|(_, holders)| uses(holders));
            self.dirty.extend(through.map(|(address, _)| Cidr::host(*address)));
        } else {
            let via = |route: &BlockRoute| matches!(route, BlockRoute::Via { .. });
            let blocks = self.blocks.iter().filter(|(_, route)| via(route));
            self.dirty.extend(blocks.map(|(block, _)| *block));
        }
    }

    /// Everything is looked at again.
    pub fn all_dirty(&mut self) {
        let hosts = self.holders.keys().map(|address| Cidr::host(*address));
        self.dirty.extend(hosts.chain(self.blocks.keys().copied()));
    }

    /// Destinations that were looked at again, each with what it should have.
    pub fn take(&mut self, links: &Links, settings: &Settings) -> Vec<(Cidr, Option<Want>)> {
        let dirty = std::mem::take(&mut self.dirty);
        dirty.into_iter().map(|dst| (dst, self.want(dst, links, settings))).collect()
    }

    /// The addresses of an endpoint, floating ones among them where they are routed.
    pub fn addresses_of(&self, key: &EndpointKey) -> impl Iterator<Item = IpAddr> {
        self.addresses.get(key).into_iter().flatten().copied()
    }

    /// Addresses of this node's blocks that no workload has. A block of more than [`BLOCK`] addresses has none: it would
    /// take longer to name them than they are worth.
    pub fn vacant(&self) -> BTreeSet<IpAddr> {
        let own = self.blocks.iter().filter(|(block, route)| {
            **route == BlockRoute::Blackhole && !is_host(block) && block.size() <= BLOCK
        });
        let addresses = own.flat_map(|(block, _)| (0..block.size()).filter_map(|number| block.nth(number)));
        addresses.filter(|address| !self.holders.contains_key(address)).collect()
    }

    fn want(&self, dst: Cidr, links: &Links, settings: &Settings) -> Option<Want> {
        if !settings.route_sync {
            return None;
        }
        let holders = self.holders.get(&dst.addr()).filter(|_| is_host(&dst));
        let up = holders.into_iter().flat_map(BTreeMap::values).filter_map(|holder| {
            let (index, link) = links.named(&holder.interface)?;
            link.up.then_some((index, holder))
        });
        if let Some((index, holder)) = up.max_by_key(|(index, _)| *index) {
            let (metric, source) = match dst.family() {
                Family::V4 => (settings.route_metric, settings.device_route_source.map(IpAddr::V4)),
                Family::V6 => (settings.route_metric_v6, settings.device_route_source_v6.map(IpAddr::V6)),
            };
            let hops = vec![NextHop { gateway: None, link: Some(index), onlink: false, weight: 1 }];
            let target =
                Target { kind: RouteKind::Unicast, hops, protocol: settings.device_route_protocol, source };
            // IPv6 neighbours are left to the kernel
            let mac = holder.mac.filter(|_| dst.family() == Family::V4);
            return Some(Want { key: Key::new(dst, metric), target, mac });
        }
        let (kind, hops) = match self.blocks.get(&dst)? {
            BlockRoute::Unreachable => (RouteKind::Unreachable, Vec::new()),
            // the address itself is a workload's, or nobody's
            BlockRoute::Blackhole if is_host(&dst) => return None,
            BlockRoute::Blackhole => (RouteKind::Blackhole, Vec::new()),
            BlockRoute::Via { gateway, from } => {
                let (index, _) = links.with_address(*from).filter(|(_, link)| link.up)?;
                let hop = NextHop { gateway: Some(*gateway), link: Some(index), onlink: true, weight: 1 };
                (RouteKind::Unicast, vec![hop])
            }
        };
        let target = Target { kind, hops, protocol: settings.cluster_route_protocol(), source: None };
        Some(Want { key: Key::new(dst, 0), target, mac: None })
    }
}
