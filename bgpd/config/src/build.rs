//! The plan of everything: what each session is told, and which policies there are.

use crate::configuration::{Configurations, DEFAULT_AS, DEFAULT_PRIORITY};
use crate::filter::FilterFacts;
use crate::interner::Interner;
use crate::node::{NodeFacts, hashed_router_id};
use crate::plan::{BGP_PORT, Listen, LogLevel, NodePlan, SessionKey};
use crate::pool::PoolFacts;
use crate::sessions::World;
use crate::settings::Told;
use crate::standing::Standing;
use crate::view::RouterId;
use crate::warning::Warning;
use bgp_rib::policy::{Policy, Rule, Verdict};
use bgp_wire::{Family, PerFamily, Prefix};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// Interfaces whose addresses are never routes of ours: those of workloads and of services (`bgp.md` §2).
const NEVER_DIRECT: [&str; 2] = ["cali*", "kube-ipvs*"];

/// Everything a plan is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) node: &'a str,
    pub(crate) router_id: RouterId,
    /// None while the node itself does not exist: then there are no sessions.
    pub(crate) world: Option<World<'a>>,
    pub(crate) configurations: &'a Configurations,
    pub(crate) filters: &'a BTreeMap<String, FilterFacts>,
    pub(crate) pools: &'a BTreeMap<String, PoolFacts>,
    pub(crate) blocks: &'a BTreeMap<Prefix, bool>,
}

/// Import and export policies of a session.
pub(crate) type Policies = (PerFamily<Arc<Policy>>, PerFamily<Arc<Policy>>);

impl Facts<'_> {
    /// The plan, with the sessions of `before` where they are the same.
    pub(crate) fn plan(&self, policies: &mut Interner, before: Option<&NodePlan>) -> NodePlan {
        let own = self.world.map(|world| world.own);
        let standing = PerFamily::from_fn(|family| self.standing(family));
        let mut plan = NodePlan {
            router_id: own.map(|own| self.router_id_of(own)),
            local_as: self.world.map_or(DEFAULT_AS, |world| world.as_of(world.own)),
            cluster_id: own.and_then(|own| own.cluster_id),
            listen: self.listen(),
            log_level: self.configurations.of_node(self.node, |c| c.log_level).unwrap_or(LogLevel::Info),
            sessions: BTreeMap::new(),
            blocks: self.blocks.keys().copied().filter(is_wider_than_a_host).collect(),
            static_routes: BTreeMap::new(),
            kernel: PerFamily::from_fn(|family| {
                policies.policy(standing.get(family).kernel(), Verdict::Accept)
            }),
            normal_priority: PerFamily::from_fn(|family| standing.get(family).normal_priority),
            ignored_interfaces: self.ignored_interfaces(),
            warnings: Vec::new(),
        };
        let mut warnings = BTreeSet::new();
        if let (Some(world), Some(router_id)) = (self.world, plan.router_id) {
            let mut chains = Chains { filters: self.filters, standing, policies, made: BTreeMap::new() };
            let sessions = world.sessions();
            warnings.extend(sessions.warnings);
            let told = Told { world, router_id, under: self.configurations.options(self.node) };
            for (key, wanted) in &sessions.wanted {
                if let (Some(via), SessionKey::Peer { address, .. }) = (wanted.via, key) {
                    plan.static_routes.extend(host(*address).map(|host| (host, via)));
                }
                let filters = wanted.peer.map_or(&[][..], |peer| &peer.filters);
                warnings.extend(missing_filters(self.filters, &wanted.origin(), filters));
                let session = told.session(*key, wanted, chains.of(filters));
                let known =
                    before.and_then(|plan| plan.sessions.get(key)).filter(|known| ***known == session);
                plan.sessions.insert(*key, known.map_or_else(|| Arc::new(session), Arc::clone));
            }
        }
        plan.warnings = warnings.into_iter().collect();
        plan
    }

    fn router_id_of(&self, own: &NodeFacts) -> Ipv4Addr {
        match (self.router_id, own.addresses.ipv4.map(|own| own.addr)) {
            (RouterId::Given(id), _) => id,
            (RouterId::Address, Some(IpAddr::V4(addr))) => addr,
            _ => hashed_router_id(self.node),
        }
    }

    fn ignored_interfaces(&self) -> Vec<String> {
        let configured =
            self.configurations.global(|c| Some(c.ignored_interfaces.clone())).unwrap_or_default();
        configured.into_iter().chain(NEVER_DIRECT.map(str::to_owned)).collect()
    }

    fn listen(&self) -> Listen {
        let port = self.configurations.of_node(self.node, |c| c.listen_port).unwrap_or(BGP_PORT);
        let at_node_address = self.configurations.global(|c| Some(c.bind_node_ip)).unwrap_or_default();
        let addresses = match (self.configurations.options(self.node).listen_addresses, self.world) {
            (Some(addresses), _) => addresses,
            (None, Some(world)) if at_node_address => {
                Family::ALL.iter().filter_map(|f| Some(world.own.addresses.get(*f).as_ref()?.addr)).collect()
            }
            _ => Vec::new(),
        };
        Listen { port, addresses }
    }

    fn standing(&self, family: Family) -> Standing<'_> {
        let mut pools: Vec<&PoolFacts> =
            self.pools.values().filter(|pool| pool.prefix.family() == family).collect();
        pools.sort_by_key(|pool| pool.prefix);
        // a node's own list replaces the cluster's
        let lists = [Configurations::name_of(self.node), "default".to_owned()];
        let advertising = lists.iter().find_map(|name| {
            let list = &self.configurations.0.get(name)?.advertisements;
            (!list.is_empty()).then_some((name, list))
        });
        let own = self.world.map(|world| world.own);
        Standing {
            family,
            normal_priority: self
                .configurations
                .global(|c| *c.priorities.get(family))
                .unwrap_or(DEFAULT_PRIORITY),
            cluster_routes: self.configurations.global(|c| Some(c.cluster_routes)).unwrap_or_default(),
            pools,
            blocks: self
                .blocks
                .iter()
                .filter(|(block, _)| block.family() == family)
                .map(|(block, aggregated)| (*block, *aggregated))
                .collect(),
            advertisements: advertising
                .iter()
                .flat_map(|(_, list)| list.iter())
                .filter(|advertisement| advertisement.prefix.family() == family)
                .collect(),
            advertised_by: advertising
                .map(|(name, _)| format!("BGPConfiguration {name}"))
                .unwrap_or_default(),
            subnet: own.and_then(|own| own.addresses.get(family).map(|own| own.subnet)),
            wireguard_peers: self.wireguard_peers(family),
        }
    }

    fn wireguard_peers(&self, family: Family) -> Vec<Prefix> {
        let Some(world) = self.world.filter(|world| *world.own.wireguard.get(family)) else {
            return Vec::new();
        };
        let peers =
            world.nodes.values().filter(|node| node.name != world.own.name && *node.wireguard.get(family));
        peers.filter_map(|node| host(node.addresses.get(family).as_ref()?.addr)).collect()
    }
}

/// Policies of sessions: filters and standing rules in their order, made once for each list of filters.
struct Chains<'a> {
    filters: &'a BTreeMap<String, FilterFacts>,
    standing: PerFamily<Standing<'a>>,
    policies: &'a mut Interner,
    made: BTreeMap<&'a [String], Policies>,
}

impl<'a> Chains<'a> {
    /// The policies of sessions with these filters. Names without a filter are skipped.
    fn of(&mut self, names: &'a [String]) -> Policies {
        if let Some(made) = self.made.get(names) {
            return made.clone();
        }
        let filters: Vec<&FilterFacts> = names.iter().filter_map(|name| self.filters.get(name)).collect();
        let import = PerFamily::from_fn(|family| {
            let mut rules: Vec<Rule> =
                filters.iter().flat_map(|f| f.import.get(family).iter().cloned()).collect();
            rules.extend(self.standing.get(family).import());
            self.policies.policy(rules, Verdict::Accept)
        });
        let export = PerFamily::from_fn(|family| {
            let standing = self.standing.get(family);
            let mut rules = standing.before_export();
            rules.extend(filters.iter().flat_map(|f| f.export.get(family).iter().cloned()));
            rules.extend(standing.export());
            self.policies.policy(rules, Verdict::Reject)
        });
        self.made.insert(names, (import.clone(), export.clone()));
        (import, export)
    }
}

fn missing_filters<'a>(
    known: &'a BTreeMap<String, FilterFacts>,
    origin: &'a str,
    names: &'a [String],
) -> impl Iterator<Item = Warning> + 'a {
    let missing = names.iter().enumerate().filter(|(_, name)| !known.contains_key(*name));
    missing.map(move |(index, name)| {
        let reason = "there is no such BGPFilter; it is skipped: create it, or take its name out";
        Warning::new(origin, format!("spec.filters[{index}]"), name, reason)
    })
}

/// The prefix of one address.
fn host(addr: IpAddr) -> Option<Prefix> {
    Prefix::new(addr, crate::reading::family(addr).bits())
}

fn is_wider_than_a_host(block: &Prefix) -> bool {
    block.len() < block.family().bits()
}
