//! Documents to stored pairs, and a dataplane that only remembers what it was told.

use felix_calc::changes::{BlockRoute, Changes};
use felix_calc::endpoint::{Endpoint, EndpointKey, LocalEndpoint, Workload};
use felix_calc::policy::Profile;
use felix_calc::rule::SetId;
use felix_calc::sets::{Member, SetChange};
use felix_calc::{Feed, Options, Report, static_sets};
use model::admission::{Operation, admit};
use model::net::Cidr;
use model::schema::decode_strict;
use model::{Key, Resource, document};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The node whose calculation it is.
pub const NODE: &str = "node-1";

/// Documents as they are stored when a person applies them: defaults filled in, checked.
pub fn stored(documents: &str) -> Vec<(String, Vec<u8>)> {
    let mut pairs = Vec::new();
    for document in document::parse(documents, "test").unwrap_or_else(|e| panic!("{e}:\n{documents}")) {
        for raw in document.resources("test").unwrap() {
            let mut resource = decode_strict(raw.kind, raw.value).unwrap_or_else(|e| panic!("{e}"));
            admit(&mut resource, Operation::Create).unwrap_or_else(|e| panic!("{e}"));
            pairs.push((resource.key().path(), Value::Object(resource.into_object()).to_string().into()));
        }
    }
    pairs
}

/// A feed and what a dataplane knows from it.
pub struct Node {
    pub feed: Feed,
    pub told: Dataplane,
}

impl Node {
    pub fn new(options: Options) -> Self {
        Node { feed: Feed::new(NODE, options), told: Dataplane::default() }
    }

    /// A node that knows these documents.
    pub fn with(documents: &str) -> Self {
        let mut node = Node::new(Options::default());
        node.apply(documents);
        node
    }

    pub fn apply(&mut self, documents: &str) {
        for (key, value) in stored(documents) {
            self.put(&key, value);
        }
    }

    pub fn put(&mut self, key: &str, value: impl Into<Vec<u8>>) {
        self.feed.push(key.to_owned().into(), Some(value.into().into()));
        self.settle();
    }

    pub fn delete(&mut self, key: &str) {
        self.feed.push(key.to_owned().into(), None);
        self.settle();
    }

    /// Takes in all that waits, and tells.
    pub fn settle(&mut self) -> Changes {
        assert_eq!(self.feed.work(usize::MAX), 0);
        self.tell()
    }

    pub fn tell(&mut self) -> Changes {
        let changes = self.feed.take();
        self.told.apply(changes.clone());
        self.told.is_closed();
        changes
    }

    /// Members of a set, as text.
    pub fn members(&self, id: &str) -> Vec<String> {
        self.told.sets[id].iter().map(member).collect()
    }

    /// Names of the policies that apply to a workload of the namespace `default`, tier by tier.
    pub fn policies_of(&self, name: &str) -> Vec<String> {
        let key = EndpointKey::Workload("default".into(), name.into());
        let tiers = &self.told.endpoints[&key].tiers;
        tiers.iter().flat_map(|tier| tier.policies.iter().map(|policy| policy.key.name.clone())).collect()
    }
}

pub fn member(member: &Member) -> String {
    match member {
        Member::Net(net) => net.to_string(),
        Member::Port(address, protocol, port) => format!("{address},{protocol}:{port}"),
    }
}

/// What a dataplane knows after what it was told.
#[derive(Debug, Default, PartialEq, Clone)]
pub struct Dataplane {
    pub sets: BTreeMap<SetId, BTreeSet<Member>>,
    pub profiles: BTreeMap<Arc<str>, Arc<Profile>>,
    pub endpoints: BTreeMap<EndpointKey, Arc<LocalEndpoint>>,
    pub bgp_peers: BTreeMap<EndpointKey, Arc<str>>,
    pub routes: BTreeMap<Cidr, BlockRoute>,
    pub service_cidrs: Vec<Cidr>,
    pub settings: BTreeMap<Key, Arc<Resource>>,
    pub reports: BTreeMap<Key, Vec<Report>>,
}

impl Dataplane {
    pub fn apply(&mut self, changes: Changes) {
        for (id, change) in changes.sets {
            match change {
                SetChange::Create(_, members) => {
                    let members: BTreeSet<Member> = members.into_iter().collect();
                    assert!(self.sets.insert(id, members).is_none(), "created twice");
                }
                SetChange::Update { added, removed } => {
                    let set = self.sets.get_mut(&id).expect("an update of a set nobody created");
                    removed.iter().for_each(|member| assert!(set.remove(member), "{member:?} was not there"));
                    added.iter().for_each(|member| assert!(set.insert(*member), "{member:?} was there"));
                }
                SetChange::Remove => assert!(self.sets.remove(&id).is_some(), "removed twice"),
            }
        }
        fn all<K: Ord, V>(known: &mut BTreeMap<K, V>, changes: Vec<(K, Option<V>)>) {
            for (key, value) in changes {
                match value {
                    Some(value) => known.insert(key, value),
                    None => known.remove(&key),
                };
            }
        }
        all(&mut self.profiles, changes.profiles);
        all(&mut self.endpoints, changes.endpoints);
        all(&mut self.bgp_peers, changes.bgp_peers);
        assert!(self.bgp_peers.keys().all(|key| self.endpoints.contains_key(key)));
        all(&mut self.routes, changes.routes);
        all(&mut self.settings, changes.settings);
        let reports = changes.reports.into_iter();
        all(
            &mut self.reports,
            reports.map(|(key, all)| (key, Some(all).filter(|all| !all.is_empty()))).collect(),
        );
        if let Some(services) = changes.service_cidrs {
            self.service_cidrs = services.to_vec();
        }
    }

    /// What is told of an endpoint ahead of the rest: other addresses, never other policies; and where they are members,
    /// what they are instead of was one.
    pub fn apply_ahead(&mut self, changes: Option<Changes>) {
        let Some(changes) = changes else { return };
        for (key, local) in &changes.endpoints {
            let (was, is) = (&self.endpoints[key], local.as_ref().expect("one that is there"));
            assert_eq!((&was.tiers, was.endpoint.profiles()), (&is.tiers, is.endpoint.profiles()));
            let (Endpoint::Workload(was), Endpoint::Workload(is)) = (&*was.endpoint, &*is.endpoint) else {
                panic!()
            };
            for (set, change) in &changes.sets {
                let SetChange::Update { added, removed } = change else { panic!("{change:?}") };
                let of = |workload: &Workload, member: &Member| match member {
                    Member::Net(net) => workload.addresses.contains(&net.addr()),
                    Member::Port(address, ..) => workload.addresses.contains(address),
                };
                assert!(removed.is_empty() && added.iter().all(|member| of(is, member)));
                assert!(self.sets[set].iter().any(|member| of(was, member)));
            }
        }
        self.apply(changes);
    }

    /// Every set that a rule in force names is there, and beside them only those that no rule names.
    pub fn is_closed(&self) {
        let of_policies =
            self.endpoints.values().flat_map(|e| &e.tiers).flat_map(|t| &t.policies).flat_map(|p| &p.sets);
        let of_profiles = self.profiles.values().flat_map(|profile| &profile.sets);
        let named: BTreeSet<&str> = of_policies.chain(of_profiles).map(|set| &*set.id).collect();
        let fixed = [static_sets::POOLS, static_sets::MASQUERADED_POOLS, static_sets::HOSTS];
        let there = self.sets.keys().map(|id| &**id).filter(|id| !fixed.contains(id));
        assert_eq!(named, there.collect::<BTreeSet<_>>());
    }
}
