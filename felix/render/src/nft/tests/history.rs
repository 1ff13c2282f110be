//! State decides, never history; and a change costs what it touches.

use super::accumulated::{Ruleset, Told};
use super::random::{Members, Random, definitions, member, policy, profile};
use super::workloads::{host, host_key, local, open, pools, rule, tier, workload, workload_key};
use crate::nft::{Renderer, Settings};
use crate::settings::{Deny, EndpointToHost};
use felix_calc::Changes;
use felix_calc::endpoint::{
    Endpoint, EndpointKey, FloatingAddress, HostInterface, Limit, LocalEndpoint, Workload,
};
use felix_calc::policy::{Policy, Profile, Tier};
use felix_calc::rule::SetId;
use felix_calc::sets::{Member, SetChange, SetKind};
use model::net::Cidr;
use model::v3::{Action, Port, Protocol};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Everything a renderer is told.
#[derive(Clone, Default)]
struct State {
    settings: Settings,
    interfaces: BTreeMap<String, Vec<IpAddr>>,
    members: Members,
    profiles: BTreeMap<Arc<str>, Arc<Profile>>,
    policies: BTreeMap<usize, Arc<Policy>>,
    /// The endpoint, and which policies each of its tiers has.
    endpoints: BTreeMap<EndpointKey, (Endpoint, Tiers)>,
    services: Vec<Cidr>,
}

/// Of each tier the default action and the policies.
type Tiers = Vec<(Action, BTreeSet<usize>)>;
type Locals = BTreeMap<EndpointKey, Arc<LocalEndpoint>>;

impl State {
    fn locals(&self) -> Locals {
        let tier = |(number, (default_action, policies)): (usize, &(Action, BTreeSet<usize>))| Tier {
            name: format!("tier{number}"),
            default_action: *default_action,
            policies: policies.iter().filter_map(|number| self.policies.get(number).cloned()).collect(),
        };
        let local = |(endpoint, of_tiers): &(Endpoint, Tiers)| LocalEndpoint {
            endpoint: Arc::new(endpoint.clone()),
            tiers: of_tiers.iter().enumerate().map(tier).filter(|tier| !tier.policies.is_empty()).collect(),
        };
        self.endpoints.iter().map(|(key, of)| (key.clone(), Arc::new(local(of)))).collect()
    }

    /// The profiles that endpoints name; one that is not there allows nothing.
    fn named_profiles(&self) -> BTreeMap<Arc<str>, Arc<Profile>> {
        let names = self.endpoints.values().flat_map(|(endpoint, _)| endpoint.profiles());
        names.map(|name| (name.clone(), self.profiles.get(name).cloned().unwrap_or_default())).collect()
    }

    /// The sets in use are those that somebody names, and the static ones.
    fn used(&self, random: &mut Random) -> Members {
        let locals = self.locals();
        let mut named = Vec::new();
        for local in locals.values() {
            let profiles = local.endpoint.profiles().iter().filter_map(|name| self.profiles.get(name));
            named.extend(definitions(&local.tiers, profiles));
        }
        let mut members = self.members.clone();
        members.fill(random, &named);
        let statics: BTreeSet<SetId> = pools().into_iter().map(|(id, _)| id).collect();
        let names: BTreeSet<&SetId> = named.iter().map(|set| &set.id).chain(&statics).collect();
        members.0.retain(|id, _| names.contains(id));
        members
    }

    /// What the calculation says when this follows on `before`.
    fn changes(&self, before: &State) -> Changes {
        let mut sets = Vec::new();
        for (id, (ports, members)) in &self.members.0 {
            match before.members.0.get(id) {
                None => sets.push((
                    id.clone(),
                    SetChange::Create(Members::kind(*ports), members.iter().copied().collect()),
                )),
                Some((_, old)) if old != members => sets.push((
                    id.clone(),
                    SetChange::Update {
                        added: members.difference(old).copied().collect(),
                        removed: old.difference(members).copied().collect(),
                    },
                )),
                Some(_) => {}
            }
        }
        let gone = before.members.0.keys().filter(|id| !self.members.0.contains_key(*id));
        sets.extend(gone.map(|id| (id.clone(), SetChange::Remove)));
        let (now, old) = (self.locals(), before.locals());
        Changes {
            sets,
            profiles: difference(&self.named_profiles(), &before.named_profiles()),
            endpoints: difference(&now, &old),
            service_cidrs: (self.services != before.services).then(|| self.services.clone().into()),
            ..Changes::default()
        }
    }

    fn tell(&self, before: &State, renderer: &mut Renderer) {
        renderer.set_settings(self.settings.clone());
        for name in before.interfaces.keys().filter(|name| !self.interfaces.contains_key(*name)) {
            renderer.set_interface(name, None);
        }
        for (name, addresses) in &self.interfaces {
            renderer.set_interface(name, Some(addresses));
        }
        renderer.apply(&self.changes(before));
    }

    /// What a renderer says that hears of this state alone.
    fn fresh(&self) -> Ruleset {
        let mut renderer = Renderer::new(self.settings.clone());
        self.tell(&State::default(), &mut renderer);
        let mut ruleset = Ruleset::default();
        ruleset.update(renderer.take());
        ruleset
    }
}

fn difference<K: Ord + Clone, V: PartialEq>(
    now: &BTreeMap<K, Arc<V>>,
    before: &BTreeMap<K, Arc<V>>,
) -> Vec<(K, Option<Arc<V>>)> {
    let changed = now.iter().filter(|(key, value)| before.get(*key) != Some(*value));
    let gone = before.keys().filter(|key| !now.contains_key(*key)).map(|key| (key.clone(), None));
    changed.map(|(key, value)| (key.clone(), Some(value.clone()))).chain(gone).collect()
}

/// The first thing in which two rulesets differ.
fn unlike(left: &Ruleset, right: &Ruleset) -> Option<String> {
    let chains = left.chains.keys().chain(right.chains.keys());
    let mut of_chains = chains.filter(|name| left.chains.get(*name) != right.chains.get(*name));
    if let Some(name) = of_chains.next() {
        return Some(format!("{name:?}: {:#?}, {:#?}", left.chains.get(name), right.chains.get(name)));
    }
    let sets = left.sets.keys().chain(right.sets.keys());
    let mut of_sets = sets.filter(|name| left.sets.get(*name) != right.sets.get(*name));
    let name = of_sets.next()?;
    Some(format!("{name:?}: {:#?}, {:#?}", left.sets.get(name), right.sets.get(name)))
}

/// One random change.
fn step(random: &mut Random, state: &mut State) {
    match random.below(12) {
        0 => {
            state.policies.remove(&random.below(6));
        }
        1 | 2 => {
            let number = random.below(6);
            state.policies.insert(number, policy(random, &format!("p{number}")));
        }
        3 => {
            state.profiles.insert((*random.pick(&["open", "q"])).into(), profile(random));
        }
        4 => {
            state.profiles.remove(*random.pick(&["open", "q"]));
        }
        5 | 6 => {
            let ids: Vec<SetId> = state.members.0.keys().cloned().collect();
            if let Some(id) = (!ids.is_empty()).then(|| random.pick(&ids).clone())
                && let Some((ports, members)) = state.members.0.get_mut(&id)
            {
                // past the least room now and then
                let most = if random.once_in(4) { 100 } else { 4 };
                for n in 0..1 + random.below(most) {
                    let member = match random.once_in(2) {
                        true => member(random, *ports),
                        false if *ports => Member::Port(IpAddr::from([10, 9, 0, n as u8]), 6, 80),
                        false => Member::Net(Cidr::host(IpAddr::from([10, 9, 0, n as u8]))),
                    };
                    if random.once_in(3) {
                        members.remove(&member)
                    } else {
                        members.insert(member)
                    };
                }
            }
        }
        7 => {
            let all: [fn(&mut Settings); 9] = [
                |settings| settings.failsafe_inbound = vec![settings.failsafe_outbound[0].clone(); 100],
                |settings| settings.nft.deny = Deny::Reject,
                |settings| settings.ipv6 = !settings.ipv6,
                |settings| settings.floating_ips = !settings.floating_ips,
                |settings| settings.source_spoofing = !settings.source_spoofing,
                |settings| settings.endpoint_to_host = EndpointToHost::Return,
                |settings| settings.interface_prefixes = vec!["cali".into(), "tap".into()],
                |settings| settings.nat_ports = Some((1024, 2048)),
                |settings| *settings = Settings::default(),
            ];
            random.pick(&all)(&mut state.settings);
        }
        8 => {
            let name = (*random.pick(&["eth0", "eth1", "cali1"])).to_owned();
            match random.once_in(3) {
                true => state.interfaces.remove(&name),
                false => state.interfaces.insert(name, random_addresses(random)),
            };
        }
        9 => state.services = if random.once_in(2) { vec![] } else { vec!["10.96.0.0/12".parse().unwrap()] },
        _ => {
            let key = match random.below(7) {
                n @ 0..4 => workload_key(&format!("w{n}")),
                n => host_key(&format!("h{n}")),
            };
            if random.once_in(4) {
                state.endpoints.remove(&key);
                return;
            }
            let endpoint = match &key {
                EndpointKey::Workload(..) => random_workload(random),
                EndpointKey::Host(_) => {
                    let interfaces =
                        [HostInterface::Named("eth0".into()), HostInterface::ByAddress, HostInterface::All];
                    host(random.pick(&interfaces).clone(), &["192.0.2.1"])
                }
            };
            let tier = |random: &mut Random| {
                let action = *random.pick(&[Action::Deny, Action::Pass]);
                (action, (0..6).filter(|_| random.once_in(3)).collect())
            };
            let tiers = (0..2).map(|_| tier(random)).collect();
            state.endpoints.insert(key, (endpoint, tiers));
        }
    }
}

fn random_addresses(random: &mut Random) -> Vec<IpAddr> {
    (0..2).filter(|_| random.once_in(2)).map(|n| IpAddr::from([192, 0, 2, n + 1])).collect()
}

fn random_workload(random: &mut Random) -> Endpoint {
    let interface = format!("cali{}", random.below(4));
    let address = format!("10.65.0.{}", random.below(4));
    workload(&interface, &[&address, "fd00:65::2"], |workload| {
        if random.once_in(2) {
            workload.profiles = ["open".into(), "q".into()].into();
        }
        if random.once_in(2) {
            let external = IpAddr::from([198, 51, 100, random.below(3) as u8]);
            workload.floating = [FloatingAddress { external, internal: workload.addresses[0] }].into();
        }
        if random.once_in(3) {
            workload.egress_limit = Limit { packets: Some((100, 5)), connections: Some(3) };
        }
        if random.once_in(2) {
            workload.source_prefixes = ["10.99.0.0/16".parse().unwrap(), "fd99::/64".parse().unwrap()].into();
        }
    })
}

/// The ruleset of a random node.
pub fn random_ruleset(seed: u64) -> Ruleset {
    let mut random = Random(seed);
    let mut state = State { members: static_members(), ..State::default() };
    for name in ["eth0", "eth1"] {
        state.interfaces.insert(name.into(), random_addresses(&mut random));
    }
    (0..80).for_each(|_| step(&mut random, &mut state));
    state.members = state.used(&mut random);
    state.fresh()
}

fn static_members() -> Members {
    let created = |(id, change): (SetId, SetChange)| {
        let SetChange::Create(kind, members) = change else { panic!() };
        (id, (kind == SetKind::Ports, members.into_iter().collect()))
    };
    Members(pools().into_iter().map(created).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_history_ends_where_a_fresh_start_does(seed in any::<u64>(), steps in 1usize..60) {
        let mut random = Random(seed);
        let mut renderer = Renderer::new(Settings::default());
        let (mut told, mut ruleset) = (State::default(), Ruleset::default());
        let mut state = State { members: static_members(), ..State::default() };
        for number in 0..steps {
            step(&mut random, &mut state);
            if random.once_in(2) || number + 1 == steps {
                state.members = state.used(&mut random);
                state.tell(&told, &mut renderer);
                told = state.clone();
            }
            if random.once_in(3) {
                ruleset.update(renderer.take());
            }
        }
        ruleset.update(renderer.take());
        prop_assert_eq!(renderer.take(), vec![]);
        let fresh = told.fresh();
        prop_assert_eq!(unlike(&ruleset, &fresh), None);
        // and all of it goes
        let empty = State { settings: told.settings.clone(), ..State::default() };
        empty.tell(&told, &mut renderer);
        ruleset.update(renderer.take());
        prop_assert_eq!(unlike(&ruleset, &empty.fresh()), None);
    }
}

/// Many workloads with one policy, and a renderer that was told of them.
fn many(count: usize) -> (Renderer, Ruleset, Arc<Policy>) {
    let shared = super::workloads::policy("shared", |spec| {
        spec.policy.ingress = vec![rule(Action::Allow, |rule| {
            rule.protocol = Some(Protocol::Number(6));
            rule.source.selector = "role == 'web'".into();
            rule.destination.ports = vec![Port::Range(80, 80)];
        })];
    });
    let mut members = Members::default();
    members.0.insert(
        shared.sets[0].id.clone(),
        (false, (0..50u8).map(|n| Member::Net(Cidr::host(IpAddr::from([10, 9, 0, n])))).collect()),
    );
    let mut renderer = Renderer::new(Settings::default());
    let endpoints = (0..count).map(|n| endpoint(n, &[tier("default", &[&shared])])).collect();
    renderer.apply(&Changes {
        sets: members.creations(),
        profiles: vec![("open".into(), Some(open()))],
        endpoints,
        ..Changes::default()
    });
    let mut ruleset = Ruleset::default();
    ruleset.update(renderer.take());
    (renderer, ruleset, shared)
}

fn endpoint(number: usize, tiers: &[Tier]) -> (EndpointKey, Option<Arc<LocalEndpoint>>) {
    let address = format!("10.65.{}.{}", number / 250, number % 250);
    let no_more = |_: &mut Workload| {};
    let endpoint = workload(&format!("cali{number:05}"), &[&address], no_more);
    (workload_key(&format!("w{number}")), local(endpoint, tiers))
}

#[test]
fn a_change_of_members_is_one_of_elements_alone() {
    let (mut renderer, mut ruleset, shared) = many(20);
    let net = |n: u8| Member::Net(Cidr::host(IpAddr::from([10, 9, 0, n])));
    let update = SetChange::Update { added: vec![net(60)], removed: vec![net(1), net(2)] };
    renderer.apply(&Changes { sets: vec![(shared.sets[0].id.clone(), update)], ..Changes::default() });
    assert_eq!(ruleset.update(renderer.take()), Told { elements: 3, ..Told::default() });
}

#[test]
fn a_set_that_gets_prefixes_of_another_length_changes_the_chains_that_name_it() {
    let (mut renderer, mut ruleset, shared) = many(20);
    let added = vec![Member::Net("10.8.0.0/16".parse().unwrap())];
    let update = SetChange::Update { added, removed: vec![] };
    renderer.apply(&Changes { sets: vec![(shared.sets[0].id.clone(), update)], ..Changes::default() });
    let told = ruleset.update(renderer.take());
    // one shared chain of the tier in each family that has the prefix's lookup
    assert_eq!(told.chains, ["to-cali00000/tier-default"]);
    assert_eq!((told.sets.len(), told.elements), (1, 1), "{told:?}");
}

#[test]
fn an_endpoint_costs_its_own_chains_and_entries_however_many_there_are() {
    let cost = |count: usize| {
        let (mut renderer, mut ruleset, shared) = many(count);
        renderer.apply(&Changes {
            endpoints: vec![endpoint(count, &[tier("default", &[&shared])])],
            ..Changes::default()
        });
        let told = ruleset.update(renderer.take());
        assert_eq!(told.sets, Vec::<String>::new());
        (told.chains.len(), told.elements)
    };
    // two chains in two families; two maps in two families, one address, the same in ARP
    assert_eq!(cost(20), (4, 6));
    assert_eq!(cost(300), (4, 6));
}

#[test]
fn a_change_of_a_policy_is_one_of_the_chain_that_all_its_endpoints_share() {
    let (mut renderer, mut ruleset, shared) = many(20);
    let mut changed = (*shared).clone();
    if let Some(rules) = &mut changed.ingress {
        rules[0].destination.ports = vec![(80, 80), (443, 443)];
    }
    let changed = Arc::new(changed);
    let endpoints = (0..20).map(|n| endpoint(n, &[tier("default", &[&changed])])).collect();
    renderer.apply(&Changes { endpoints, ..Changes::default() });
    let told = ruleset.update(renderer.take());
    assert_eq!(told.chains, ["to-cali00000/tier-default"; 2]);
    // the set of its two ports, in two families
    assert_eq!((told.sets.len(), told.elements), (2, 4), "{told:?}");
}

#[test]
fn a_policy_among_a_thousand_alike_is_one_element() {
    let of = |number: usize, source: usize| {
        super::workloads::policy(&format!("p{number:04}"), |spec| {
            spec.policy.types = vec![model::v3::PolicyType::Ingress];
            spec.policy.ingress = vec![rule(Action::Allow, |rule| {
                rule.protocol = Some(Protocol::Number(6));
                rule.source.selector = format!("role == 'r{source}'");
                let port = u16::try_from(1000 + number).unwrap();
                rule.destination.ports = vec![Port::Range(port, port)];
            })];
        })
    };
    let mut policies: Vec<Arc<Policy>> = (0..1000).map(|number| of(number, number % 50)).collect();
    let mut members = Members::default();
    members.fill(&mut Random(0), &definitions(&[tier("default", &policies.iter().collect::<Vec<_>>())], []));
    let mut renderer = Renderer::new(Settings::default());
    let told = |renderer: &mut Renderer, policies: &[Arc<Policy>], sets, ruleset: &mut Ruleset| {
        let tiers = [tier("default", &policies.iter().collect::<Vec<_>>())];
        renderer.apply(&Changes { sets, endpoints: vec![endpoint(0, &tiers)], ..Changes::default() });
        ruleset.update(renderer.take())
    };
    let mut ruleset = Ruleset::default();
    told(&mut renderer, &policies, members.creations(), &mut ruleset);
    let chain = &ruleset.chains[&(netfilter::nft::Family::Ipv6, "to-cali00000/tier-default".into())];
    // a rule for each length of the sources' prefixes, and the end of the tier
    assert!(chain.rules.len() < 50 * 5, "{}", chain.rules.len());
    policies.push(of(1000, 7));
    let added = told(&mut renderer, &policies, vec![], &mut ruleset);
    assert_eq!((added.chains.len(), added.sets.len(), added.elements), (0, 0, 2), "{added:?}");
    policies.remove(3);
    let removed = told(&mut renderer, &policies, vec![], &mut ruleset);
    assert_eq!((removed.sets.len(), removed.elements), (0, 2), "{removed:?}");
}
