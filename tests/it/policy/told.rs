//! What the agent's calculation says about a cluster, ready to be asked.

use bytes::Bytes;
use felix_calc::endpoint::{EndpointKey, LocalEndpoint};
use felix_calc::policy::Profile;
use felix_calc::sets::{Member, SetChange};
use felix_calc::{Changes, Feed};
use felix_config::{Local, Settings, Stored, resolve};
use felix_render::evaluate::{self, Sets};
use felix_render::form::{self, Program};
use model::net::Cidr;
use model::{Kind, Resource};
use ocicat_tests::policy::cluster::{Cluster, NODE};
use ocicat_tests::policy::object::{identity, text};
use ocicat_tests::policy::oracle::{Direction, Scope, Verdict};
use ocicat_tests::policy::packets::Packet;
use ocicat_tests::random::Random;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

/// What the configuration of a cluster comes to.
pub fn settings(cluster: &Cluster) -> Settings {
    let mut stored = Stored::default();
    for one in cluster.resources.iter().filter(|one| text(one, "kind") == "FelixConfiguration") {
        let object = one.as_object().cloned().unwrap_or_default();
        let resource = Resource::from_object(Kind::FelixConfiguration, object);
        stored.set(identity(one).2, Some(Arc::new(resource)));
    }
    let configuration = resolve(&Local::default(), &stored, NODE);
    assert!(configuration.problems.is_empty(), "{:?}", configuration.problems);
    Settings::of(&configuration)
}

/// What is said about a cluster, its objects coming in any order, and in two parts.
pub fn changes(cluster: &Cluster, random: &mut Random) -> [Changes; 2] {
    let mut feed = Feed::new(NODE, settings(cluster).calc);
    let mut pairs: Vec<_> = cluster.stored().collect();
    for place in (1..pairs.len()).rev() {
        pairs.swap(place, random.below(place as u64 + 1) as usize);
    }
    let second = pairs.split_off(random.below(pairs.len() as u64) as usize);
    [pairs, second].map(|pairs| {
        for (key, value) in pairs {
            feed.push(Bytes::from(key), Some(Bytes::from(value.to_string())));
        }
        while feed.work(usize::MAX) > 0 {}
        feed.take()
    })
}

/// Programs by what they are for.
type Programs = HashMap<(EndpointKey, Scope, Direction), Rc<Program>>;

/// The sum of all changes.
#[derive(Default)]
pub struct Told {
    profiles: HashMap<Arc<str>, Arc<Profile>>,
    endpoints: HashMap<EndpointKey, Arc<LocalEndpoint>>,
    sets: HashMap<Arc<str>, BTreeSet<Member>>,
    programs: RefCell<Programs>,
}

impl Told {
    /// What is said about a cluster.
    pub fn new(cluster: &Cluster, random: &mut Random) -> Self {
        let mut told = Told::default();
        changes(cluster, random).into_iter().for_each(|changes| told.apply(changes));
        told
    }

    fn apply(&mut self, changes: Changes) {
        for (id, change) in changes.sets {
            match change {
                SetChange::Create(_, members) => {
                    self.sets.insert(id, members.into_iter().collect());
                }
                SetChange::Update { added, removed } => {
                    let set = self.sets.entry(id).or_default();
                    removed.iter().for_each(|member| assert!(set.remove(member), "{member:?} was not there"));
                    set.extend(added);
                }
                SetChange::Remove => {
                    self.sets.remove(&id);
                }
            }
        }
        for (name, profile) in changes.profiles {
            match profile {
                Some(profile) => self.profiles.insert(name, profile),
                None => self.profiles.remove(&name),
            };
        }
        for (key, endpoint) in changes.endpoints {
            match endpoint {
                Some(endpoint) => self.endpoints.insert(key, endpoint),
                None => self.endpoints.remove(&key),
            };
        }
    }

    /// The verdict of an endpoint, and the name of what decided.
    pub fn verdict(
        &self,
        endpoint: &Value,
        scope: Scope,
        direction: Direction,
        packet: &Packet,
    ) -> (Verdict, String) {
        let program = self.program(key(endpoint), scope, direction);
        let packet = evaluate::Packet {
            source: packet.source,
            destination: packet.destination,
            protocol: packet.protocol,
            ports: packet.ports,
            icmp: packet.icmp,
        };
        let decision = evaluate::evaluate(&program, &packet, self);
        let verdict = match decision.verdict {
            form::Verdict::Allow => Verdict::Allow,
            form::Verdict::Deny => Verdict::Deny,
            form::Verdict::Pass | form::Verdict::Log => Verdict::None,
        };
        let path = decision.path.iter().map(|(origin, verdict)| format!("{origin} {verdict:?}"));
        (verdict, path.collect::<Vec<_>>().join(", "))
    }

    fn program(&self, key: EndpointKey, scope: Scope, direction: Direction) -> Rc<Program> {
        let made = (key, scope, direction);
        if let Some(program) = self.programs.borrow().get(&made) {
            return program.clone();
        }
        let endpoint = self.endpoints.get(&made.0).unwrap_or_else(|| panic!("{:?} is not told", made.0));
        let profiles: Vec<_> = endpoint
            .endpoint
            .profiles()
            .iter()
            .map(|name| {
                let profile = self.profiles.get(name).unwrap_or_else(|| panic!("profile {name} is not told"));
                (name.clone(), profile.clone())
            })
            .collect();
        let scope = match scope {
            Scope::Workload => form::Scope::Workload,
            Scope::Normal => form::Scope::Host,
            Scope::Forward => form::Scope::Forward,
            Scope::PreDnat => form::Scope::PreDnat,
            Scope::Untracked => form::Scope::Untracked,
        };
        let direction = match direction {
            Direction::Ingress => form::Direction::Ingress,
            Direction::Egress => form::Direction::Egress,
        };
        let program = Rc::new(Program::new(scope, direction, &endpoint.tiers, &profiles));
        self.programs.borrow_mut().insert(made, program.clone());
        program
    }

    /// How many local endpoints are told.
    pub fn endpoints(&self) -> usize {
        self.endpoints.len()
    }
}

fn key(endpoint: &Value) -> EndpointKey {
    match identity(endpoint) {
        ("HostEndpoint", _, name) => EndpointKey::Host(name.to_owned()),
        (_, namespace, name) => EndpointKey::Workload(namespace.to_owned(), name.to_owned()),
    }
}

impl Sets for Told {
    fn has_address(&self, id: &str, address: IpAddr) -> bool {
        let set = self.sets.get(id).unwrap_or_else(|| panic!("set {id} is not told"));
        let holds = |net: &Cidr| net.contains(address);
        set.iter().any(|member| matches!(member, Member::Net(net) if holds(net)))
    }

    fn has_port(&self, id: &str, address: IpAddr, protocol: u8, port: u16) -> bool {
        let set = self.sets.get(id).unwrap_or_else(|| panic!("set {id} is not told"));
        set.contains(&Member::Port(address, protocol, port))
    }
}
