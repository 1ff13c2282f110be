//! What was read, kept so that a plan can be made of it after every change.

use crate::plan::{BGP_PORT, Listen, LogLevel, NodePlan};
use crate::workload::WorkloadStatus;
use bgp_rib::policy::{Policy, Verdict};
use bgp_wire::PerFamily;
use model::ipam::AffinityState;
use model::key;
use model::kind::Kind;
use model::net::{Cidr, Family};
use model::{Key, Owner, Resource};
use std::collections::{BTreeMap, BTreeSet};
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

/// Resources as one node sees them.
#[derive(Debug)]
pub struct View {
    node: String,
    router_id: RouterId,
}

impl View {
    /// A view of node `node` that knows nothing yet.
    pub fn new(node: &str, router_id: RouterId) -> Self {
        View { node: node.to_owned(), router_id }
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
        let _ = resource;
    }

    /// A stored value cannot be read as what its key promises: it counts as absent, and is reported.
    pub fn unreadable(&mut self, key: &Key, reason: &str) {
        let _ = (key, reason);
    }

    /// What lay under a key is gone.
    pub fn remove(&mut self, key: &Key) {
        let _ = key;
    }

    /// A claim on a block was read. Those of other owners are ignored.
    pub fn set_affinity(&mut self, owner: &Owner, block: Cidr, state: AffinityState) {
        let _ = (owner, block, state);
    }

    /// An endpoint-status file of this node was read, or is gone. `file` is its name.
    pub fn set_workload(&mut self, file: &str, status: Option<WorkloadStatus>) {
        let _ = (file, status);
    }

    /// What shall be done now. Costs little when nothing that matters has changed; sessions and policies that are as
    /// before are the same allocations as before.
    pub fn plan(&mut self) -> Arc<NodePlan> {
        let policy = Arc::new(Policy { rules: Vec::new(), otherwise: Verdict::Accept });
        Arc::new(NodePlan {
            router_id: None,
            local_as: 64512,
            cluster_id: None,
            listen: Listen { port: BGP_PORT, addresses: Vec::new() },
            log_level: LogLevel::Info,
            sessions: BTreeMap::new(),
            blocks: BTreeSet::new(),
            static_routes: BTreeMap::new(),
            kernel: PerFamily::from_fn(|_| Arc::clone(&policy)),
            normal_priority: PerFamily::from_fn(|_| 1024),
            ignored_interfaces: Vec::new(),
            warnings: Vec::new(),
        })
    }
}
