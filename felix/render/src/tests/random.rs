//! Random policies, members of sets and packets, over few enough values that they meet.

use crate::evaluate::{Packet, Sets};
use crate::form::{ICMP, ICMPV6};
use felix_calc::policy::{Policy, PolicyKey, PolicyKind, Profile, Tier};
use felix_calc::rule::{SetDefinition, SetId};
use felix_calc::sets::{Member, SetChange, SetKind};
use model::net::{Cidr, family_of};
use model::v3::{
    self, Action, EntityRule, GlobalNetworkPolicySpec, HttpMatch, IcmpFields, PolicyType, Port, ProfileSpec,
    Protocol,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Numbers from a seed (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    fn some<T: Clone>(&mut self, all: &[T], most: usize) -> Vec<T> {
        (0..1 + self.below(most)).map(|_| self.pick(all).clone()).collect()
    }
}

const V4: [&str; 6] = ["10.0.0.1", "10.0.0.2", "10.0.1.1", "10.1.0.1", "192.0.2.1", "255.255.255.255"];
const V6: [&str; 5] = ["fd00::1", "fd00::2", "fd00::1:1", "2001:db8::1", "ff02::1"];
const NETS: [&str; 14] = [
    "10.0.0.1/32",
    "10.0.0.0/31",
    "10.0.0.0/24",
    "10.0.0.0/8",
    "10.128.0.0/9",
    "192.0.2.0/25",
    "0.0.0.0/0",
    "255.255.255.255/32",
    "fd00::1/128",
    "fd00::/112",
    "fd00::/8",
    "2001:db8::/32",
    "::/0",
    "ff02::/16",
];
const SELECTORS: [&str; 4] = ["role == 'a'", "role == 'b'", "has(role)", "all()"];
const PORTS: [u16; 6] = [1, 22, 80, 81, 443, 65535];
const PROTOCOLS: [u8; 7] = [1, 6, 17, 58, 132, 136, 47];
const NAMES: [&str; 2] = ["http", "dns"];

/// Members of sets, by their names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Members(pub BTreeMap<SetId, (SetKind2, BTreeSet<Member>)>);

/// [`SetKind`], which has no order.
pub type SetKind2 = bool;

impl Members {
    pub fn kind(ports: SetKind2) -> SetKind {
        if ports { SetKind::Ports } else { SetKind::Nets }
    }

    /// Gives every set that is named members, and keeps those that have some.
    pub fn fill(&mut self, random: &mut Random, definitions: &[SetDefinition]) {
        for set in definitions {
            let ports = set.port.is_some();
            if !self.0.contains_key(&set.id) {
                let members = (0..random.below(6)).map(|_| member(random, ports)).collect();
                self.0.insert(set.id.clone(), (ports, members));
            }
        }
    }

    pub fn creations(&self) -> Vec<(SetId, SetChange)> {
        let create = |(id, (ports, members)): (&SetId, &(bool, BTreeSet<Member>))| {
            (id.clone(), SetChange::Create(Members::kind(*ports), members.iter().copied().collect()))
        };
        self.0.iter().map(create).collect()
    }
}

impl Sets for Members {
    fn has_address(&self, id: &str, address: IpAddr) -> bool {
        let holds = |member: &Member| matches!(member, Member::Net(net) if net.contains(address));
        self.0.get(id).is_some_and(|(_, members)| members.iter().any(holds))
    }

    fn has_port(&self, id: &str, address: IpAddr, protocol: u8, port: u16) -> bool {
        self.0.get(id).is_some_and(|(_, members)| members.contains(&Member::Port(address, protocol, port)))
    }
}

pub fn member(random: &mut Random, ports: bool) -> Member {
    match ports {
        true => Member::Port(address(random), *random.pick(&[6, 17, 132]), *random.pick(&PORTS)),
        false if random.once_in(2) => Member::Net(Cidr::host(address(random))),
        false => Member::Net(random.pick(&NETS).parse().unwrap()),
    }
}

pub fn address(random: &mut Random) -> IpAddr {
    if random.once_in(2) { random.pick(&V6) } else { random.pick(&V4) }.parse().unwrap()
}

pub fn packet(random: &mut Random) -> Packet {
    let source = address(random);
    let destination = loop {
        let other = address(random);
        if family_of(other) == family_of(source) {
            break other;
        }
    };
    let protocol = *random.pick(&PROTOCOLS);
    let mut port = || *random.pick(&PORTS);
    let ports = matches!(protocol, 6 | 17 | 132 | 136).then(|| (port(), port()));
    let icmp =
        matches!(protocol, ICMP | ICMPV6).then(|| (*random.pick(&[0, 8, 128]), *random.pick(&[0, 1, 3])));
    Packet { source, destination, protocol, ports, icmp }
}

fn protocol(random: &mut Random) -> Option<Protocol> {
    Some(Protocol::Number(*random.pick(&PROTOCOLS)))
}

fn ports(random: &mut Random) -> Vec<Port> {
    let port = |random: &mut Random| match random.below(5) {
        0 => Port::Range(22, 80),
        1 => Port::Range(81, 65535),
        2 => Port::Named((*random.pick(&NAMES)).into()),
        _ => {
            let port = *random.pick(&PORTS);
            Port::Range(port, port)
        }
    };
    (0..1 + random.below(3)).map(|_| port(random)).collect()
}

fn side(random: &mut Random, side: &mut EntityRule) {
    let nets = |random: &mut Random| random.some(&NETS, 3).iter().map(ToString::to_string).collect();
    if random.once_in(4) {
        side.nets = nets(random);
    }
    if random.once_in(8) {
        side.not_nets = nets(random);
    }
    if random.once_in(4) {
        side.selector = (*random.pick(&SELECTORS)).into();
    }
    if random.once_in(8) {
        side.not_selector = (*random.pick(&SELECTORS)).into();
    }
    if random.once_in(4) {
        side.ports = ports(random);
    }
    if random.once_in(8) {
        side.not_ports = ports(random);
    }
}

/// A rule that the calculation accepts.
pub fn rule(random: &mut Random) -> v3::Rule {
    loop {
        let rule = any_rule(random);
        if felix_calc::rule::compile(&rule, 0, felix_calc::selectors::Scope::Cluster).is_ok() {
            return rule;
        }
    }
}

fn any_rule(random: &mut Random) -> v3::Rule {
    let action = *random.pick(&[Action::Allow, Action::Allow, Action::Deny, Action::Pass, Action::Log]);
    let mut rule = v3::Rule { action, ..v3::Rule::default() };
    if random.once_in(2) {
        rule.protocol = protocol(random);
    }
    if random.once_in(6) {
        rule.not_protocol = protocol(random);
    }
    let icmp = |random: &mut Random| {
        let code = random.once_in(2).then(|| *random.pick(&[0, 1, 3]));
        Some(IcmpFields { icmp_type: Some(*random.pick(&[0, 8, 128])), code })
    };
    if random.once_in(6) {
        rule.icmp = icmp(random);
    }
    if random.once_in(8) {
        rule.not_icmp = icmp(random);
    }
    if random.once_in(6) {
        rule.ip_version = Some(*random.pick(&[4, 6]));
    }
    if random.once_in(30) {
        rule.http = Some(HttpMatch::default());
    }
    side(random, &mut rule.source);
    side(random, &mut rule.destination);
    rule
}

/// Rules that differ in protocol, port and little else, as those of real policies do.
fn alike(random: &mut Random) -> Vec<v3::Rule> {
    let action = *random.pick(&[Action::Allow, Action::Deny, Action::Pass]);
    let one = |random: &mut Random| {
        let mut rule = v3::Rule { action, ..v3::Rule::default() };
        rule.protocol = Some(Protocol::Number(*random.pick(&[6, 17])));
        rule.destination.ports =
            random.some(&PORTS, 2).into_iter().map(|port| Port::Range(port, port)).collect();
        if random.once_in(4) {
            rule.destination.ports.push(Port::Range(22, 81));
        }
        rule.source.selector = (*random.pick(&SELECTORS[..2])).into();
        rule
    };
    (0..1 + random.below(6)).map(|_| one(random)).collect()
}

pub fn rules(random: &mut Random) -> Vec<v3::Rule> {
    if random.once_in(3) {
        return alike(random);
    }
    (0..random.below(4)).map(|_| rule(random)).collect()
}

pub fn policy(random: &mut Random, name: &str) -> Arc<Policy> {
    let mut spec = GlobalNetworkPolicySpec::default();
    spec.policy.selector = "all()".into();
    spec.policy.types = match random.below(4) {
        0 => vec![PolicyType::Ingress],
        1 => vec![PolicyType::Egress],
        _ => vec![PolicyType::Ingress, PolicyType::Egress],
    };
    spec.policy.ingress = rules(random);
    spec.policy.egress = rules(random);
    spec.pre_dnat = random.once_in(6);
    spec.do_not_track = !spec.pre_dnat && random.once_in(6);
    spec.apply_on_forward = spec.pre_dnat || spec.do_not_track || random.once_in(2);
    let kind = match random.once_in(6) {
        true => PolicyKind::StagedGlobalNetworkPolicy,
        false => PolicyKind::GlobalNetworkPolicy,
    };
    Arc::new(Policy::global(PolicyKey { kind, namespace: String::new(), name: name.into() }, &spec).unwrap())
}

pub fn profile(random: &mut Random) -> Arc<Profile> {
    let spec = ProfileSpec { ingress: rules(random), egress: rules(random), ..ProfileSpec::default() };
    Arc::new(Profile::compile(&spec).unwrap())
}

pub fn tiers(random: &mut Random, policies: &[Arc<Policy>]) -> Vec<Tier> {
    let mut tiers = Vec::new();
    for name in ["platform", "default"] {
        let policies: Vec<Arc<Policy>> = policies.iter().filter(|_| random.once_in(3)).cloned().collect();
        if !policies.is_empty() {
            let default_action = if random.once_in(3) { Action::Pass } else { Action::Deny };
            tiers.push(Tier { name: name.into(), default_action, policies });
        }
    }
    tiers
}

/// Sets named by the policies and profiles of an endpoint.
pub fn definitions<'a>(
    tiers: &'a [Tier],
    profiles: impl IntoIterator<Item = &'a Arc<Profile>>,
) -> Vec<SetDefinition> {
    let of_tiers = tiers.iter().flat_map(|tier| &tier.policies).flat_map(|policy| &policy.sets);
    let of_profiles = profiles.into_iter().flat_map(|profile| &profile.sets);
    of_tiers.chain(of_profiles).cloned().collect()
}

/// A program's parts: two tiers, two profiles, and members of the sets they name.
pub struct Case {
    pub tiers: Vec<Tier>,
    pub profiles: Vec<(Arc<str>, Arc<Profile>)>,
    pub members: Members,
}

pub fn case(random: &mut Random) -> Case {
    let policies: Vec<_> = (0..4).map(|n| policy(random, &format!("p{n}"))).collect();
    let tiers = tiers(random, &policies);
    let profiles: Vec<(Arc<str>, _)> = vec![("p".into(), profile(random)), ("q".into(), profile(random))];
    let mut members = Members::default();
    members.fill(random, &definitions(&tiers, profiles.iter().map(|(_, profile)| profile)));
    Case { tiers, profiles, members }
}
