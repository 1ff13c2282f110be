//! Everything a renderer is told, and random changes of it.

use super::objects::{host, host_key, local, pools, workload, workload_key};
use super::random::{Members, Random, definitions, member, policy, profile};
use crate::Render;
use crate::iptables::Marks;
use crate::settings::{Deny, EndpointToHost, InsertMode, Settings};
use felix_calc::Changes;
use felix_calc::endpoint::{
    Endpoint, EndpointKey, FloatingAddress, Host, HostInterface, Limit, LocalEndpoint,
};
use felix_calc::policy::{Policy, Profile, Tier};
use felix_calc::rule::SetId;
use felix_calc::sets::{Member, SetChange, SetKind};
use model::net::Cidr;
use model::v3::Action;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// A renderer and what its updates add up to.
pub trait Renders: Render {
    type Ruleset: Default;
    fn new(settings: Settings) -> Self;
    /// Takes the updates into a ruleset, and says how many there were.
    fn settle(&mut self, ruleset: &mut Self::Ruleset) -> usize;
}

macro_rules! renders {
    ($($renderer:ty => $ruleset:ty),*) => {$(
        impl Renders for $renderer {
            type Ruleset = $ruleset;

            fn new(settings: Settings) -> Self {
                Self::new(settings)
            }

            fn settle(&mut self, ruleset: &mut $ruleset) -> usize {
                let updates = self.take();
                let count = updates.len();
                ruleset.update(updates);
                count
            }
        }
    )*};
}

renders!(
    crate::nft::Renderer => crate::nft::tests::accumulated::Ruleset,
    crate::iptables::Renderer => crate::iptables::tests::accumulated::Ruleset
);

/// What a renderer says that hears of this state alone.
pub fn fresh<R: Renders>(state: &State) -> R::Ruleset {
    let mut renderer = R::new(state.settings.clone());
    state.tell(&State::default(), &mut renderer);
    let mut ruleset = R::Ruleset::default();
    renderer.settle(&mut ruleset);
    ruleset
}

/// What a renderer says of a workload `cali1` and of a host at `eth0`; what is not policy stays away.
pub fn policy_alone<R: Renders>(
    settings: Settings,
    members: &Members,
    tiers: &[Tier],
    profiles: &[(Arc<str>, Arc<Profile>)],
) -> R::Ruleset {
    let mut renderer = R::new(Settings {
        failsafe_inbound: vec![],
        failsafe_outbound: vec![],
        vxlan_from_workloads: true,
        ipip_from_workloads: true,
        drop_invalid: false,
        ..settings
    });
    let names: Box<[Arc<str>]> = profiles.iter().map(|(name, _)| name.clone()).collect();
    let of_workload = workload("cali1", &[], |workload| workload.profiles = names.clone());
    let of_host = match host(HostInterface::Named("eth0".into()), &[]) {
        Endpoint::Host(host) => Endpoint::Host(Host { profiles: names, ..host }),
        other => other,
    };
    let mut sets = members.creations();
    sets.extend(pools());
    renderer.set_interface("eth0", Some(&[]));
    renderer.apply(&Changes {
        sets,
        profiles: profiles.iter().map(|(name, profile)| (name.clone(), Some(profile.clone()))).collect(),
        endpoints: vec![
            (workload_key("w"), local(of_workload, tiers)),
            (host_key("h"), local(of_host, tiers)),
        ],
        ..Changes::default()
    });
    let mut ruleset = R::Ruleset::default();
    renderer.settle(&mut ruleset);
    assert_eq!(renderer.settle(&mut ruleset), 0);
    ruleset
}

/// Any history ends where a fresh start does, and all of it goes when all goes.
pub fn history<R: Renders>(seed: u64, steps: usize, unlike: fn(&R::Ruleset, &R::Ruleset) -> Option<String>) {
    let mut random = Random(seed);
    let mut renderer = R::new(Settings::default());
    let (mut told, mut ruleset) = (State::default(), R::Ruleset::default());
    let mut state = State::empty();
    for number in 0..steps {
        step(&mut random, &mut state);
        if random.once_in(2) || number + 1 == steps {
            state.members = state.used(&mut random);
            state.tell(&told, &mut renderer);
            told = state.clone();
        }
        if random.once_in(3) {
            renderer.settle(&mut ruleset);
        }
    }
    renderer.settle(&mut ruleset);
    assert_eq!(renderer.settle(&mut ruleset), 0);
    assert_eq!(unlike(&ruleset, &fresh::<R>(&told)), None);
    let empty = State { settings: told.settings.clone(), ..State::default() };
    empty.tell(&told, &mut renderer);
    renderer.settle(&mut ruleset);
    assert_eq!(unlike(&ruleset, &fresh::<R>(&empty)), None);
}

/// Everything a renderer is told.
#[derive(Clone, Default)]
pub struct State {
    pub settings: Settings,
    pub interfaces: BTreeMap<String, Vec<IpAddr>>,
    pub members: Members,
    pub profiles: BTreeMap<Arc<str>, Arc<Profile>>,
    pub policies: BTreeMap<usize, Arc<Policy>>,
    /// The endpoint, and which policies each of its tiers has.
    pub endpoints: BTreeMap<EndpointKey, (Endpoint, Tiers)>,
    pub services: Vec<Cidr>,
}

/// Of each tier the default action and the policies.
type Tiers = Vec<(Action, BTreeSet<usize>)>;
type Locals = BTreeMap<EndpointKey, Arc<LocalEndpoint>>;

impl State {
    pub fn locals(&self) -> Locals {
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
    pub fn used(&self, random: &mut Random) -> Members {
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

    pub fn tell(&self, before: &State, renderer: &mut impl Renders) {
        renderer.set_settings(self.settings.clone());
        for name in before.interfaces.keys().filter(|name| !self.interfaces.contains_key(*name)) {
            renderer.set_interface(name, None);
        }
        for (name, addresses) in &self.interfaces {
            renderer.set_interface(name, Some(addresses));
        }
        renderer.apply(&self.changes(before));
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

impl State {
    /// Nothing but the static sets.
    pub fn empty() -> Self {
        State { members: static_members(), ..State::default() }
    }

    /// A random node.
    pub fn random(seed: u64) -> Self {
        let mut random = Random(seed);
        let mut state = State::empty();
        for name in ["eth0", "eth1"] {
            state.interfaces.insert(name.into(), random_addresses(&mut random));
        }
        (0..80).for_each(|_| step(&mut random, &mut state));
        state.members = state.used(&mut random);
        state
    }
}

/// One random change.
pub fn step(random: &mut Random, state: &mut State) {
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
            let all: [fn(&mut Settings); 13] = [
                |settings| settings.failsafe_inbound = vec![settings.failsafe_outbound[0].clone(); 100],
                |settings| settings.nft.deny = Deny::Reject,
                |settings| settings.iptables.deny = Deny::Reject,
                |settings| settings.iptables.marks = Marks::of(0xff).unwrap(),
                |settings| settings.iptables.insert = InsertMode::Append,
                |settings| settings.iptables.max_set_size = 1 << 10,
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
        if random.once_in(4) {
            workload.dscp = Some(random.below(64) as u8);
        }
        if random.once_in(3) {
            workload.egress_limit = Limit { packets: Some((100, 5)), connections: Some(3) };
        }
        if random.once_in(2) {
            workload.source_prefixes = ["10.99.0.0/16".parse().unwrap(), "fd99::/64".parse().unwrap()].into();
        }
    })
}

fn static_members() -> Members {
    let created = |(id, change): (SetId, SetChange)| {
        let SetChange::Create(kind, members) = change else { panic!() };
        (id, (kind == SetKind::Ports, members.into_iter().collect()))
    };
    Members(pools().into_iter().map(created).collect())
}
