//! Nodes, pools and blocks: where packets to other nodes' blocks go, and the sets that follow from them.
//!
//! Who programs the routes of a pool is `felix.md` §8 and `bgp.md` §9 of the contract. An encapsulation that is not
//! carried gets no path at all, instead of one in clear by the default route.

mod facts;

pub(crate) use facts::{BlockFacts, Encapsulation, NodeFacts, PoolFacts};

use crate::changes::BlockRoute;
use crate::options::Options;
use crate::rule::SetId;
use crate::sets::{Member, SetChange, SetKind};
use crate::static_sets::{HOSTS, MASQUERADED_POOLS, POOLS};
use crate::told::tell;
use delta::DeltaMap;
use model::net::{Cidr, Family, family_of};
use model::v3::EncapMode;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The cluster as routes need it.
#[derive(Debug)]
pub(crate) struct Topology {
    node: String,
    options: Options,
    nodes: BTreeMap<String, NodeFacts>,
    pools: BTreeMap<String, PoolFacts>,
    blocks: BTreeMap<Cidr, BlockFacts>,
    routes: DeltaMap<Cidr, BlockRoute>,
    /// What each block's routes are.
    of_block: BTreeMap<Cidr, Vec<Cidr>>,
    dirty: BTreeSet<Cidr>,
    /// Something changed that may concern every block.
    all_dirty: bool,
    sets_dirty: bool,
    told_sets: BTreeMap<&'static str, BTreeSet<Member>>,
}

impl Topology {
    /// Of this node, with nothing known.
    pub(crate) fn new(node: &str, options: Options) -> Self {
        Topology {
            node: node.to_owned(),
            options,
            nodes: BTreeMap::new(),
            pools: BTreeMap::new(),
            blocks: BTreeMap::new(),
            routes: DeltaMap::new(),
            of_block: BTreeMap::new(),
            dirty: BTreeSet::new(),
            all_dirty: true,
            sets_dirty: true,
            told_sets: BTreeMap::new(),
        }
    }

    /// Other settings.
    pub(crate) fn set_options(&mut self, options: Options) {
        if self.options != options {
            self.options = options;
            self.everything_changed();
        }
    }

    /// A node came, changed or went.
    pub(crate) fn set_node(&mut self, name: &str, facts: Option<NodeFacts>) {
        if self.nodes.get(name) == facts.as_ref() {
            return;
        }
        put(&mut self.nodes, name.to_owned(), facts);
        self.everything_changed();
    }

    /// A pool came, changed or went.
    pub(crate) fn set_pool(&mut self, name: &str, facts: Option<PoolFacts>) {
        if self.pools.get(name) == facts.as_ref() {
            return;
        }
        put(&mut self.pools, name.to_owned(), facts);
        self.everything_changed();
    }

    /// A block came, changed or went.
    pub(crate) fn set_block(&mut self, block: Cidr, facts: Option<BlockFacts>) {
        if self.blocks.get(&block) == facts.as_ref() {
            return;
        }
        if self.blocks.contains_key(&block) != facts.is_some() {
            // what lies in a smaller block is that one's affair
            let wider = (0..block.prefix()).filter_map(|prefix| block.widen(prefix));
            self.dirty.extend(wider.filter(|wider| self.blocks.contains_key(wider)));
        }
        put(&mut self.blocks, block, facts);
        self.dirty.insert(block);
    }

    /// How many nodes there are.
    pub(crate) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// What became of the routes.
    pub(crate) fn take_routes(&mut self) -> Vec<(Cidr, Option<BlockRoute>)> {
        if std::mem::take(&mut self.all_dirty) {
            self.dirty.extend(self.blocks.keys().copied());
        }
        let mut wanted = Vec::new();
        for block in std::mem::take(&mut self.dirty) {
            // first everything goes: what one block gives up another may have taken over
            for gone in self.of_block.remove(&block).into_iter().flatten() {
                self.routes.remove_desired(&gone);
            }
            let Some(facts) = self.blocks.get(&block) else { continue };
            let routes = self.routes_of(block, facts);
            if !routes.is_empty() {
                self.of_block.insert(block, routes.iter().map(|(to, _)| *to).collect());
                wanted.extend(routes);
            }
        }
        for (to, route) in wanted {
            self.routes.set_desired(to, route);
        }
        tell(&mut self.routes)
    }

    /// The sets as they were told.
    pub(crate) fn told_sets(&self) -> impl Iterator<Item = (SetId, SetChange)> {
        let whole =
            |members: &BTreeSet<Member>| SetChange::Create(SetKind::Nets, members.iter().copied().collect());
        self.told_sets.iter().map(move |(id, members)| ((*id).into(), whole(members)))
    }

    /// What became of the sets.
    pub(crate) fn take_sets(&mut self) -> Vec<(SetId, SetChange)> {
        if !std::mem::take(&mut self.sets_dirty) {
            return Vec::new();
        }
        let pools = |wanted: fn(&PoolFacts) -> bool| {
            self.pools.values().filter(move |pool| wanted(pool)).map(|pool| Member::Net(pool.net)).collect()
        };
        let sets: [(&'static str, Option<BTreeSet<Member>>); 3] = [
            (HOSTS, self.hosts()),
            (MASQUERADED_POOLS, Some(pools(|pool| pool.masquerade))),
            (POOLS, Some(pools(|pool| pool.for_workloads))),
        ];
        let mut changes = Vec::new();
        for (id, wanted) in sets {
            let change = match (self.told_sets.get(id), &wanted) {
                (None, None) => continue,
                (None, Some(wanted)) => SetChange::Create(SetKind::Nets, wanted.iter().copied().collect()),
                (Some(_), None) => SetChange::Remove,
                (Some(told), Some(wanted)) if told == wanted => continue,
                (Some(told), Some(wanted)) => SetChange::Update {
                    added: wanted.difference(told).copied().collect(),
                    removed: told.difference(wanted).copied().collect(),
                },
            };
            put(&mut self.told_sets, id, wanted);
            changes.push((id.into(), change));
        }
        changes
    }

    /// IPv4 where IP in IP or the settings need it, IPv6 where the settings do (`felix.md` §7 of the contract).
    fn hosts(&self) -> Option<BTreeSet<Member>> {
        let spared = self.options.masquerade_spares_hosts;
        let ipip = || self.pools.values().any(|pool| matches!(pool.encapsulation, Encapsulation::IpIp(_)));
        if !spared && !self.options.ipip_enabled.unwrap_or_else(ipip) {
            return None;
        }
        let wanted = |net: &Cidr| spared || net.family() == Family::V4;
        let nodes = self.nodes.values().flat_map(NodeFacts::addresses).map(Cidr::host);
        let all = nodes.chain(self.options.external_nodes.iter().copied());
        Some(all.filter(wanted).map(Member::Net).collect())
    }

    fn everything_changed(&mut self) {
        self.all_dirty = true;
        self.sets_dirty = true;
    }

    fn routes_of(&self, block: Cidr, facts: &BlockFacts) -> Vec<(Cidr, BlockRoute)> {
        let Some(pool) = self.pool_of(block) else { return Vec::new() };
        let mut routes = Vec::new();
        match facts.owner.as_deref() {
            // a block of one address is the workload's own route
            Some(owner) if owner == self.node => {
                let several = block.prefix() < block.family().bits();
                routes.extend((self.programs(pool) && several).then_some((block, BlockRoute::Blackhole)));
            }
            Some(owner) => routes.extend(self.route_to(owner, pool, block)),
            None => {}
        }
        for (address, node) in &facts.borrowed {
            if **node != *self.node && !self.lies_in_smaller_block(*address, block) {
                routes.extend(self.route_to(node, pool, Cidr::host(*address)));
            }
        }
        routes
    }

    /// The way to what another node has.
    fn route_to(&self, node: &str, pool: &PoolFacts, to: Cidr) -> Option<(Cidr, BlockRoute)> {
        let family = to.family();
        let own = self.nodes.get(&self.node);
        let gateway = self.nodes.get(node).and_then(|facts| facts.address(family));
        let near = |gateway: IpAddr| {
            own.and_then(|own| own.subnet(family)).is_some_and(|subnet| subnet.contains(gateway))
        };
        let via = || {
            let from = own.and_then(|own| own.address(family))?;
            Some(BlockRoute::Via { gateway: gateway?, from })
        };
        let route = match pool.encapsulation {
            Encapsulation::None => self.programs(pool).then(via).flatten()?,
            Encapsulation::IpIp(mode) | Encapsulation::Vxlan(mode) => {
                match mode == EncapMode::CrossSubnet && gateway.is_some_and(near) {
                    true => self.programs(pool).then(via).flatten()?,
                    false => BlockRoute::Unreachable,
                }
            }
        };
        Some((to, route))
    }

    /// Whether the pool's routes are this agent's.
    fn programs(&self, pool: &PoolFacts) -> bool {
        match pool.encapsulation {
            Encapsulation::None => self.options.no_encap_routes,
            Encapsulation::IpIp(_) => self.options.ipip_routes,
            Encapsulation::Vxlan(_) => true,
        }
    }

    /// The pool a block is of: the smallest, of equal ones that with the first name.
    fn pool_of(&self, block: Cidr) -> Option<&PoolFacts> {
        let around = self.pools.iter().filter(|(_, pool)| pool.net.covers(&block));
        around.min_by_key(|(name, pool)| (std::cmp::Reverse(pool.net.prefix()), *name)).map(|(_, pool)| pool)
    }

    fn lies_in_smaller_block(&self, address: IpAddr, block: Cidr) -> bool {
        let longer = (block.prefix() + 1)..=family_of(address).bits();
        longer.filter_map(|prefix| Cidr::new(address, prefix)).any(|inner| self.blocks.contains_key(&inner))
    }
}

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}
