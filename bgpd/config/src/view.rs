//! What was read, kept so that a plan can be made of it after every change.

use crate::build::Facts;
use crate::configuration::{Configuration, Configurations};
use crate::filter::FilterFacts;
use crate::interner::Interner;
use crate::node::NodeFacts;
use crate::peer::PeerFacts;
use crate::plan::NodePlan;
use crate::pool::PoolFacts;
use crate::reading::{Absent, Reading, of_cidr};
use crate::sessions::World;
use crate::warning::Warning;
use crate::workload::WorkloadStatus;
use bgp_wire::Prefix;
use model::ipam::AffinityState;
use model::kind::Kind;
use model::net::{Cidr, Family};
use model::{Key, Owner, Resource, key};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// What the router ID is made of (`bgp.md` §2 of the contract: `CALICO_ROUTER_ID`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RouterId {
    /// The node's IPv4 address; where it has none, as `Hash`.
    #[default]
    Address,
    /// The first four octets of the SHA-256 of the node's name.
    Hash,
    /// This one.
    Given(Ipv4Addr),
}

/// A value that is no [`RouterId`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRouterId(String);

impl std::fmt::Display for BadRouterId {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, value) = (RouterId::VARIABLE, &self.0);
        write!(to, "{name}={value:?}: expected an IPv4 address, hash, or nothing for the node's address")
    }
}

impl std::error::Error for BadRouterId {}

impl RouterId {
    /// The variable that says it.
    pub const VARIABLE: &str = "CALICO_ROUTER_ID";

    /// Reads the variable's value; empty is the node's address.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, BadRouterId> {
        match text {
            "" => Ok(RouterId::Address),
            "hash" => Ok(RouterId::Hash),
            id => id.parse().map(RouterId::Given).map_err(|_| BadRouterId(id.to_owned())),
        }
    }
}

/// Resources as one node sees them.
#[derive(Debug)]
pub struct View {
    node: String,
    router_id: RouterId,
    /// Boxed: there may be thousands, and a map read in order keeps half of its room free.
    nodes: BTreeMap<String, Box<NodeFacts>>,
    configurations: Configurations,
    peers: BTreeMap<String, PeerFacts>,
    filters: BTreeMap<String, FilterFacts>,
    pools: BTreeMap<String, PoolFacts>,
    /// Blocks of this node; whether they are aggregated, which only those are that are surely its own.
    blocks: BTreeMap<Prefix, bool>,
    workloads: BTreeMap<String, WorkloadStatus>,
    warnings: BTreeMap<Key, Vec<Warning>>,
    policies: Interner,
    /// The last plan; none when something has changed since.
    current: Option<Arc<NodePlan>>,
    last: Option<Arc<NodePlan>>,
}

impl View {
    /// A view of node `node` that knows nothing yet.
    pub fn new(node: &str, router_id: RouterId) -> Self {
        View {
            node: node.to_owned(),
            router_id,
            nodes: BTreeMap::new(),
            configurations: Configurations::default(),
            peers: BTreeMap::new(),
            filters: BTreeMap::new(),
            pools: BTreeMap::new(),
            blocks: BTreeMap::new(),
            workloads: BTreeMap::new(),
            warnings: BTreeMap::new(),
            policies: Interner::default(),
            current: None,
            last: None,
        }
    }

    /// Prefixes of the keys that matter to node `node`: what has to be followed.
    pub fn roots(node: &str) -> Vec<String> {
        let kinds = [Kind::BGPConfiguration, Kind::BGPFilter, Kind::BGPPeer, Kind::IPPool, Kind::Node];
        let owner = Owner::Host(node.to_owned());
        kinds
            .into_iter()
            .map(|kind| key::resource_prefix(kind, None))
            .chain([Family::V4, Family::V6].map(|family| key::affinity_prefix(&owner, family)))
            .collect()
    }

    /// A resource was read, new or changed. Kinds that do not matter are ignored.
    pub fn set(&mut self, resource: &Resource) {
        let mut reading = Reading::of(resource);
        let name = resource.name();
        let r = &mut reading;
        let changed = match resource.kind() {
            Kind::Node => put(&mut self.nodes, name, NodeFacts::read(resource, r).map(Box::new)),
            Kind::BGPConfiguration if Configurations::counts(name) => {
                put(&mut self.configurations.0, name, Configuration::read(resource, r))
            }
            Kind::BGPPeer => put(&mut self.peers, name, PeerFacts::read(resource, r)),
            Kind::BGPFilter => put(&mut self.filters, name, FilterFacts::read(resource, r)),
            Kind::IPPool => put(&mut self.pools, name, PoolFacts::read(resource, r)),
            _ => false,
        };
        let warned = self.warn(resource.key(), reading.into_warnings());
        self.touched(changed || warned);
    }

    /// A stored value cannot be read as what its key promises: it counts as absent, and is reported.
    pub fn unreadable(&mut self, key: &Key, reason: &str) {
        let name = match key {
            Key::Resource { kind, name, .. } => format!("{} {name}", kind.name()),
            other => other.path(),
        };
        let mut reading = Reading::named(name);
        reading.warn("", "", format!("{reason}; it counts as absent"));
        let changed = self.take_out(key);
        let warned = self.warn(key.clone(), reading.into_warnings());
        self.touched(changed || warned);
    }

    /// What lay under a key is gone.
    pub fn remove(&mut self, key: &Key) {
        let changed = self.take_out(key);
        let warned = self.warn(key.clone(), Vec::new());
        self.touched(changed || warned);
    }

    /// A claim on a block was read. Those of other owners are ignored.
    pub fn set_affinity(&mut self, owner: &Owner, block: Cidr, state: &AffinityState) {
        if *owner != Owner::Host(self.node.clone()) {
            return;
        }
        let warned = self.warn(Key::Affinity(owner.clone(), block), Vec::new());
        let before = of_cidr(block).map(|prefix| self.blocks.insert(prefix, state.usable()));
        self.touched(warned || before != Some(Some(state.usable())));
    }

    /// An endpoint-status file of this node was read, or is gone. `file` is its name.
    pub fn set_workload(&mut self, file: &str, status: Option<WorkloadStatus>) {
        let before = match &status {
            Some(status) => self.workloads.insert(file.to_owned(), status.clone()),
            None => self.workloads.remove(file),
        };
        self.touched(before != status);
    }

    /// What shall be done now. Costs little when nothing that matters has changed; sessions and policies that are as
    /// before are the same allocations as before.
    pub fn plan(&mut self) -> Arc<NodePlan> {
        if let Some(current) = &self.current {
            return Arc::clone(current);
        }
        let world = self.nodes.get(&self.node).map(|own| World {
            own,
            nodes: &self.nodes,
            peers: &self.peers,
            configurations: &self.configurations,
            workloads: &self.workloads,
        });
        let facts = Facts {
            node: &self.node,
            router_id: self.router_id,
            world,
            configurations: &self.configurations,
            filters: &self.filters,
            pools: &self.pools,
            blocks: &self.blocks,
        };
        let mut plan = facts.plan(&mut self.policies, self.last.as_deref());
        plan.warnings.extend(self.warnings.values().flatten().cloned());
        plan.warnings.sort();
        self.policies.sweep();
        let plan = Arc::new(plan);
        self.last = Some(Arc::clone(&plan));
        self.current = Some(Arc::clone(&plan));
        plan
    }

    fn take_out(&mut self, key: &Key) -> bool {
        match key {
            Key::Resource { kind, name, .. } => match kind {
                Kind::Node => self.nodes.remove(name).is_some(),
                Kind::BGPConfiguration => self.configurations.0.remove(name).is_some(),
                Kind::BGPPeer => self.peers.remove(name).is_some(),
                Kind::BGPFilter => self.filters.remove(name).is_some(),
                Kind::IPPool => self.pools.remove(name).is_some(),
                _ => false,
            },
            Key::Affinity(Owner::Host(host), block) if *host == self.node => {
                of_cidr(*block).is_some_and(|prefix| self.blocks.remove(&prefix).is_some())
            }
            _ => false,
        }
    }

    /// Whether what is said about a key has changed.
    fn warn(&mut self, key: Key, warnings: Vec<Warning>) -> bool {
        match warnings.is_empty() {
            true => self.warnings.remove(&key).is_some(),
            false => self.warnings.insert(key, warnings.clone()).as_ref() != Some(&warnings),
        }
    }

    fn touched(&mut self, changed: bool) {
        if changed {
            self.current = None;
        }
    }
}

/// Keeps what was read, or nothing where it counts as absent; whether that is news.
fn put<T: PartialEq>(map: &mut BTreeMap<String, T>, name: &str, read: Result<T, Absent>) -> bool {
    match read {
        Ok(facts) if map.get(name) == Some(&facts) => false,
        Ok(facts) => {
            map.insert(name.to_owned(), facts);
            true
        }
        Err(Absent) => map.remove(name).is_some(),
    }
}
