//! From what is stored to what the dataplane is told.
//!
//! Pairs go in as the store gives them ([`Feed::push`]), wait in lanes, and are taken in by a bounded number at a time
//! ([`Feed::work`]), endpoints of this node first: whatever else there is to do, a workload that starts does not wait
//! for it. [`Feed::take`] gives what has become of it all.
//!
//! A value that cannot be read or means nothing counts as absent, and its object is reported until it is mended or
//! gone; it harms no other. Keys of kinds that do not matter here are ignored.

mod endpoint;
mod kubernetes;
mod object;
mod peer;
mod policy;
mod queue;

use crate::changes::Changes;
use crate::counts::{Counts, Work};
use crate::endpoint::EndpointKey;
use crate::graph::Graph;
use crate::options::Options;
use crate::policy::{PolicyKey, Profile};
use crate::report::Report;
use crate::told::tell;
use crate::topology::{BlockFacts, NodeFacts, PoolFacts, Topology};
use bytes::Bytes;
use delta::DeltaMap;
use model::kind::Kind;
use model::net::{Cidr, Family};
use model::v3::{self, BGPConfigurationSpec, IPPoolSpec, NodeSpec};
use model::{Key, Resource, key};
use object::{Object, Refusal};
use peer::WorkloadPeers;
use queue::Queue;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The profile that is always there, never stored, and allows everything (`datamodel.md` §2 of the contract).
const DEFAULT_ALLOW: &str = "projectcalico-default-allow";

/// The object whose settings are those of the whole cluster.
const GLOBAL: &str = "default";

/// The name of a block's kind.
const BLOCK: &str = "IPAMBlock";

/// Kinds of which there is little.
const FEW: [Kind; 14] = [
    Kind::ClusterInformation,
    Kind::FelixConfiguration,
    Kind::BGPConfiguration,
    Kind::BGPPeer,
    Kind::Node,
    Kind::IPPool,
    Kind::Tier,
    Kind::Profile,
    Kind::HostEndpoint,
    Kind::GlobalNetworkPolicy,
    Kind::NetworkPolicy,
    Kind::StagedGlobalNetworkPolicy,
    Kind::StagedKubernetesNetworkPolicy,
    Kind::StagedNetworkPolicy,
];

/// Kinds of which there may be as much as there are pods.
const MANY: [Kind; 3] = [Kind::GlobalNetworkSet, Kind::NetworkSet, Kind::WorkloadEndpoint];

/// What names of workloads' and of hosts' endpoints begin with among items.
const WORKLOADS: u8 = b'w';
const HOSTS: u8 = b'h';

/// The calculation of one node, fed with stored pairs.
#[derive(Debug)]
pub struct Feed {
    node: String,
    queue: Queue,
    graph: Graph,
    topology: Topology,
    peers: WorkloadPeers,
    services: Arc<[Cidr]>,
    told_services: Option<Arc<[Cidr]>>,
    settings: DeltaMap<Key, Arc<Resource>>,
    reports: DeltaMap<Key, Vec<Report>>,
    /// Values taken in, by the name of their kind.
    updates: BTreeMap<&'static str, u64>,
}

impl Feed {
    /// The calculation of this node, which knows nothing yet.
    pub fn new(node: &str, options: Options) -> Self {
        let mut graph = Graph::new();
        let allow = || vec![v3::Rule { action: v3::Action::Allow, ..v3::Rule::default() }];
        let spec = v3::ProfileSpec { ingress: allow(), egress: allow(), ..v3::ProfileSpec::default() };
        graph.set_profile(DEFAULT_ALLOW, Profile::compile(&spec).ok(), None);
        Feed {
            node: node.to_owned(),
            queue: Queue::new(node, many()),
            graph,
            topology: Topology::new(node, options),
            peers: WorkloadPeers::default(),
            services: Arc::default(),
            told_services: None,
            settings: DeltaMap::new(),
            reports: DeltaMap::new(),
            updates: BTreeMap::new(),
        }
    }

    /// Prefixes of the keys that matter: what has to be followed (`datamodel.md` §7 of the contract). Those of which
    /// there is much come last.
    pub fn roots() -> Vec<String> {
        let few = FEW.iter().map(|kind| key::resource_prefix(*kind, None));
        few.chain(many()).collect()
    }

    /// Other settings.
    pub fn set_options(&mut self, options: Options) {
        self.topology.set_options(options);
    }

    /// A key has this value now, or is gone. It is taken in by [`Feed::work`]; a newer value of the same key takes its
    /// place meanwhile.
    pub fn push(&mut self, key: Bytes, value: Option<Bytes>) {
        self.queue.push(key, value);
    }

    /// Takes in at most so many values, and says how many are left. One value takes microseconds, a policy some tens.
    pub fn work(&mut self, limit: usize) -> usize {
        for _ in 0..limit {
            let Some((key, value)) = self.queue.pop() else { break };
            // other programs' keys, and kinds we do not know
            let Some(key) = std::str::from_utf8(&key).ok().and_then(Key::parse) else { continue };
            if let Some(kind) = kind_of(&key) {
                *self.updates.entry(kind).or_default() += 1;
            }
            self.set(key, value.as_deref());
        }
        self.queue.len()
    }

    /// How many values wait.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// What the dataplane has to be told. Before everything was listed once and [`Feed::work`] has nothing left it is
    /// not the state of any moment, and must not be enforced.
    pub fn take(&mut self) -> Changes {
        let mut changes = self.graph.take();
        changes.sets.extend(self.topology.take_sets());
        changes.routes = self.topology.take_routes();
        if self.told_services.as_ref() != Some(&self.services) {
            self.told_services = Some(self.services.clone());
            changes.service_cidrs = Some(self.services.clone());
        }
        changes.settings = tell(&mut self.settings);
        let reports = tell(&mut self.reports).into_iter();
        changes.reports = reports.map(|(key, reports)| (key, reports.unwrap_or_default())).collect();
        changes
    }

    /// Whether this value of a workload's endpoint of this node leaves it under the policies that [`Feed::take`] told for it:
    /// its labels and profiles are those told.
    pub fn knows(&self, key: &[u8], value: &[u8]) -> bool {
        let names = workload_of(key);
        names.is_some_and(|names| endpoint::is_known(&self.graph, &self.node, (&names.0, &names.1), value))
    }

    /// What the dataplane may be told of an endpoint of this node while values wait, between what [`Feed::take`] told last
    /// and what it will tell: the endpoint as it is now, under the policies it was told with. `None` where its labels or
    /// profiles are others than those told, it is not there, or another value of it waits.
    pub fn take_known(&mut self, key: &[u8]) -> Option<Changes> {
        if self.queue.waits(key) {
            return None;
        }
        let (namespace, name) = workload_of(key)?;
        self.graph.take_known(&EndpointKey::Workload(namespace, name))
    }

    /// All that decides about packets, as to somebody who knows nothing: for whoever begins to judge them in the middle.
    /// To be asked after [`Feed::take`], which then has nothing left to tell.
    pub fn whole(&self) -> Changes {
        let mut changes = self.graph.whole();
        changes.sets.extend(self.topology.told_sets());
        changes.service_cidrs = self.told_services.clone();
        changes
    }

    /// Everything there is to say about stored objects.
    pub fn reports(&self) -> impl Iterator<Item = (&Key, &Report)> {
        self.reports.desired().flat_map(|(key, reports)| reports.iter().map(move |report| (key, report)))
    }

    /// How many there are of what.
    pub fn counts(&self) -> Counts {
        Counts {
            nodes: self.topology.nodes(),
            workload_endpoints: self.graph.items_beginning(WORKLOADS),
            host_endpoints: self.graph.items_beginning(HOSTS),
            ..self.graph.counts()
        }
    }

    /// What was done since the start.
    pub fn work_done(&self) -> Work {
        Work { updates: self.updates.clone(), evaluations: self.graph.evaluations() }
    }

    fn set(&mut self, key: Key, value: Option<&[u8]>) {
        let reports = match value {
            None => {
                self.remove(&key);
                Vec::new()
            }
            Some(value) => match self.put(&key, value) {
                Ok(reports) => reports,
                Err(Refusal(reason)) => {
                    self.remove(&key);
                    vec![Report::Refused { reason }]
                }
            },
        };
        match reports.is_empty() {
            true => self.reports.remove_desired(&key),
            false => self.reports.set_desired(key, reports),
        }
    }

    /// What the key stands for has this value; what there is to say about it.
    fn put(&mut self, key: &Key, value: &[u8]) -> Result<Vec<Report>, Refusal> {
        let (kind, namespace, name) = match key {
            Key::Resource { kind, namespace, name } => (*kind, namespace.as_str(), name.as_str()),
            Key::Block(block) => {
                let facts = BlockFacts::read(*block, value).map_err(|error| Refusal(error.to_string()))?;
                self.topology.set_block(*block, Some(facts));
                return Ok(Vec::new());
            }
            _ => return Ok(Vec::new()),
        };
        let item = item_name(kind, namespace, name);
        match kind {
            Kind::WorkloadEndpoint => {
                let names = (namespace, name);
                if !endpoint::workload(&mut self.graph, &self.node, names, &item, value)? {
                    self.graph.remove_item(&item);
                }
            }
            Kind::HostEndpoint => endpoint::host(&mut self.graph, &self.node, name, &item, value)?,
            Kind::NetworkSet | Kind::GlobalNetworkSet => {
                endpoint::network_set(&mut self.graph, kind, namespace, &item, value)?;
            }
            Kind::Profile if name != DEFAULT_ALLOW => {
                let (profile, labels) = policy::profile(value)?;
                let lists = [("ingress", &profile.ingress[..]), ("egress", &profile.egress[..])];
                let reports = policy::not_enforced(lists);
                self.graph.set_profile(name, Some(profile), Some(&labels));
                return Ok(reports);
            }
            Kind::Tier => self.graph.set_tier(name, Some(policy::tier(value)?)),
            Kind::Node => {
                let spec: NodeSpec = spec(kind, value)?;
                self.topology.set_node(name, Some(NodeFacts::new(&spec)));
                if *name == self.node {
                    self.set_setting(key, value)?;
                    let own = self.settings.get_desired(key);
                    let labels = own.into_iter().flat_map(|own| own.labels());
                    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
                    self.peers.set_labels(&mut self.graph, &self.node, labels);
                }
            }
            Kind::IPPool => {
                let spec: IPPoolSpec = spec(kind, value)?;
                let wanted = "is no network: write one such as 10.0.0.0/16";
                let facts =
                    PoolFacts::new(&spec).ok_or_else(|| Refusal::field("cidr", &spec.cidr, wanted))?;
                let mode = facts.mode();
                let report = mode.map(|(field, mode)| Report::NotCarried { pool: facts.net, field, mode });
                self.topology.set_pool(name, Some(facts));
                return Ok(report.into_iter().collect());
            }
            Kind::BGPPeer => self.peers.set(&mut self.graph, &self.node, name, Some(value))?,
            Kind::BGPConfiguration if name == GLOBAL => self.services = services(&spec(kind, value)?)?,
            Kind::FelixConfiguration => self.set_setting(key, value)?,
            Kind::ClusterInformation if name == GLOBAL => self.set_setting(key, value)?,
            _ => {
                let Some(policy_kind) = policy::kind_of(kind) else { return Ok(Vec::new()) };
                let policy_key = policy_key(policy_kind, namespace, name);
                let policy = policy::policy(policy_key.clone(), kind, value)?;
                let mut reports = Vec::new();
                if let Some(policy) = policy.as_ref().filter(|_| !policy_kind.is_staged()) {
                    let lists = [("ingress", &policy.ingress), ("egress", &policy.egress)];
                    let lists = lists.map(|(name, rules)| (name, rules.as_deref().unwrap_or_default()));
                    reports = policy::not_enforced(lists);
                }
                self.graph.set_policy(&policy_key, policy);
                return Ok(reports);
            }
        }
        Ok(Vec::new())
    }

    /// What the key stood for counts no longer.
    fn remove(&mut self, key: &Key) {
        let (kind, namespace, name) = match key {
            Key::Resource { kind, namespace, name } => (*kind, namespace.as_str(), name.as_str()),
            Key::Block(block) => return self.topology.set_block(*block, None),
            _ => return,
        };
        match kind {
            Kind::WorkloadEndpoint | Kind::HostEndpoint | Kind::NetworkSet | Kind::GlobalNetworkSet => {
                self.graph.remove_item(&item_name(kind, namespace, name));
            }
            Kind::Profile if name != DEFAULT_ALLOW => self.graph.set_profile(name, None, None),
            Kind::Tier => self.graph.set_tier(name, None),
            Kind::Node => {
                self.topology.set_node(name, None);
                self.settings.remove_desired(key);
                if *name == self.node {
                    self.peers.set_labels(&mut self.graph, &self.node, Default::default());
                }
            }
            Kind::IPPool => self.topology.set_pool(name, None),
            // without a value there is nothing that could be refused
            Kind::BGPPeer => drop(self.peers.set(&mut self.graph, &self.node, name, None)),
            Kind::BGPConfiguration if name == GLOBAL => self.services = Arc::default(),
            Kind::FelixConfiguration | Kind::ClusterInformation => self.settings.remove_desired(key),
            _ => {
                if let Some(policy_kind) = policy::kind_of(kind) {
                    self.graph.set_policy(&policy_key(policy_kind, namespace, name), None);
                }
            }
        }
    }

    /// Settings are handed on as they are: what they mean is for others to say.
    fn set_setting(&mut self, key: &Key, value: &[u8]) -> Result<(), Refusal> {
        let Key::Resource { kind, .. } = key else { return Ok(()) };
        let object =
            serde_json::from_slice(value).map_err(|error| Refusal(format!("is no JSON object: {error}")))?;
        self.settings.set_desired(key.clone(), Arc::new(Resource::from_object(*kind, object)));
        Ok(())
    }
}

fn spec<S: serde::de::DeserializeOwned + Default>(kind: Kind, value: &[u8]) -> Result<S, Refusal> {
    let mut spare = Vec::new();
    Ok(Object::read(kind, value, &mut spare)?.take_spec())
}

/// Networks of services: a packet to them that nothing takes must not leave again (`felix.md` §5 of the contract).
fn services(spec: &BGPConfigurationSpec) -> Result<Arc<[Cidr]>, Refusal> {
    let lists = [
        ("serviceClusterIPs", &spec.service_cluster_ips),
        ("serviceExternalIPs", &spec.service_external_ips),
        ("serviceLoadBalancerIPs", &spec.service_load_balancer_ips),
    ];
    let mut all = Vec::new();
    for (field, list) in lists {
        for service in list {
            let wanted = "is no network: write one such as 10.96.0.0/12";
            let net = Cidr::parse_masked(&service.cidr)
                .map_err(|_| Refusal::field(field, &service.cidr, wanted))?;
            all.push(net);
        }
    }
    all.sort_unstable();
    all.dedup();
    Ok(all.into())
}

/// Namespace and name, where the key is that of a workload's endpoint.
fn workload_of(key: &[u8]) -> Option<(String, String)> {
    match Key::parse(std::str::from_utf8(key).ok()?)? {
        Key::Resource { kind: Kind::WorkloadEndpoint, namespace, name } => Some((namespace, name)),
        _ => None,
    }
}

/// The kind whose value is stored under a key, where it matters here.
fn kind_of(key: &Key) -> Option<&'static str> {
    match key {
        Key::Resource { kind, .. } => Some(kind.name()),
        Key::Block(_) => Some(BLOCK),
        _ => None,
    }
}

/// What an item is called in the graph.
fn item_name(kind: Kind, namespace: &str, name: &str) -> String {
    let letter = match kind {
        Kind::WorkloadEndpoint => WORKLOADS,
        Kind::HostEndpoint => HOSTS,
        _ => b's',
    };
    format!("{}{namespace}/{name}", char::from(letter))
}

fn policy_key(kind: crate::policy::PolicyKind, namespace: &str, name: &str) -> PolicyKey {
    PolicyKey { kind, namespace: namespace.to_owned(), name: name.to_owned() }
}

/// Prefixes of keys of which there may be as many as there are pods.
fn many() -> impl Iterator<Item = String> {
    let blocks = [Family::V4, Family::V6].map(key::block_prefix);
    blocks.into_iter().chain(MANY.iter().map(|kind| key::resource_prefix(*kind, None)))
}
