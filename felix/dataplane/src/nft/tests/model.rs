//! A small firewall that a seed changes at random, in the shape the renderer gives: a base chain that dispatches by a verdict
//! map, a chain an endpoint, a chain a policy, sets of addresses, of ports with comments, of ranges.

use crate::nft::look::{self, Touched};
use crate::nft::state::{Ours, Ruleset};
use felix_render::nft::ruleset::{Chain, Rule, SetShape, Update};
use kernel::NftKernel;
use netfilter::nft::{
    ChainKind, Comparison, CtKey, Data, DataType, Element, Expression, Family, Hook, MapData, MapTarget,
    MetaKey, PayloadBase, Policy, Register, Verdict,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

const R: Register = Register::FIRST;
const R1: Register = Register(1);

/// xorshift: the same seed gives the same changes.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// A set and its elements.
type Filled = (Arc<SetShape>, Vec<Element>);

/// What is wanted, by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wanted {
    pub chains: BTreeMap<(Family, Arc<str>), Arc<Chain>>,
    pub sets: BTreeMap<(Family, Arc<str>), Filled>,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// Policies of each endpoint.
    endpoints: BTreeMap<u64, Vec<u64>>,
    /// Rules of each policy: set, port, whether it allows.
    policies: BTreeMap<u64, Vec<(u64, u16, bool)>>,
    /// Members of each set.
    sets: BTreeMap<u64, BTreeSet<u32>>,
    /// Ports that a policy allows by a set.
    ports: BTreeMap<u64, BTreeSet<u16>>,
    nat: bool,
}

impl Model {
    /// One change.
    pub fn change(&mut self, random: &mut Random) {
        match random.below(9) {
            0 => {
                let policies = (0..random.below(4)).map(|_| random.below(12)).collect();
                self.endpoints.insert(random.below(8), policies);
            }
            1 => {
                self.endpoints.remove(&random.below(8));
            }
            2 | 3 => {
                let rules = self.policies.entry(random.below(12)).or_default();
                let at = random.below(rules.len() as u64 + 1) as usize;
                rules.insert(at, (random.below(6), random.below(4) as u16 * 1000, random.below(3) > 0));
            }
            4 => {
                if let Some(rules) = self.policies.get_mut(&random.below(12))
                    && !rules.is_empty()
                {
                    let at = random.below(rules.len() as u64) as usize;
                    rules.remove(at);
                }
            }
            5 | 6 => {
                let set = self.sets.entry(random.below(6)).or_default();
                for _ in 0..random.below(20) {
                    let member = 0x0a00_0000 + random.below(200) as u32;
                    if !set.remove(&member) {
                        set.insert(member);
                    }
                }
            }
            7 => {
                let ports = self.ports.entry(random.below(12)).or_default();
                let port = random.below(30) as u16;
                if !ports.remove(&port) {
                    ports.insert(port);
                }
            }
            _ => self.nat = !self.nat,
        }
    }

    /// What is wanted of it, in both families.
    pub fn wanted(&self) -> Wanted {
        let mut all = Wanted::default();
        let used: BTreeSet<u64> = self.endpoints.values().flatten().copied().collect();
        for family in [Family::Ipv4, Family::Ipv6] {
            let mut chain = |name: String, hook: Option<Hook>, rules: Vec<Rule>| {
                all.chains.insert((family, name.into()), Arc::new(Chain { hook, rules }));
            };
            chain("forward".into(), Some(hook(2, 0)), base());
            if self.nat {
                let accept = Expression::Verdict(Verdict::Accept);
                chain("pre".into(), Some(hook(0, -150)), vec![rule(vec![accept], "nothing before routing")]);
            }
            for (endpoint, policies) in &self.endpoints {
                let mut rules: Vec<Rule> =
                    policies.iter().map(|policy| jump(&format!("policy-{policy}"))).collect();
                rules
                    .push(rule(vec![Expression::counter(), Expression::Verdict(Verdict::Drop)], "no policy"));
                chain(format!("from-cali{endpoint}"), None, rules);
            }
            for policy in &used {
                chain(format!("policy-{policy}"), None, self.policy(*policy));
            }
            self.wanted_sets(family, &used, &mut all);
        }
        all
    }

    fn policy(&self, policy: u64) -> Vec<Rule> {
        let rules = self.policies.get(&policy).map(Vec::as_slice).unwrap_or_default();
        let mut all: Vec<Rule> = Vec::new();
        for (index, (set, port, allows)) in rules.iter().enumerate() {
            let verdict = if *allows { Verdict::Accept } else { Verdict::Drop };
            let expressions = vec![
                Expression::Payload { base: PayloadBase::Network, offset: 12, len: 4, to: R },
                Expression::Lookup { set: format!("s-{set}"), from: R, to: None, invert: false },
                Expression::Payload { base: PayloadBase::Transport, offset: 2, len: 2, to: R },
                Expression::Compare { from: R, op: Comparison::Equal, value: port.to_be_bytes().to_vec() },
                Expression::counter(),
                Expression::Verdict(verdict),
            ];
            // equal rules may follow each other
            all.push(rule(expressions, &format!("policy {policy} rule {}", index / 2)));
        }
        if self.ports.get(&policy).is_some_and(|ports| !ports.is_empty()) {
            let expressions = vec![
                Expression::Meta { key: MetaKey::TransportProtocol, to: R },
                Expression::Payload { base: PayloadBase::Transport, offset: 2, len: 2, to: R1 },
                Expression::Lookup { set: format!("ports-{policy}"), from: R, to: None, invert: false },
                Expression::Verdict(Verdict::Accept),
            ];
            all.push(rule(expressions, "ports"));
        }
        all
    }

    fn wanted_sets(&self, family: Family, used: &BTreeSet<u64>, all: &mut Wanted) {
        let mut set = |name: String, shape: SetShape, elements: Vec<Element>| {
            all.sets.insert((family, name.into()), (Arc::new(shape), elements));
        };
        let dispatch = |endpoint: &u64| {
            let mut name = format!("cali{endpoint}").into_bytes();
            name.resize(16, 0);
            let verdict = Data::Verdict(Verdict::Goto(format!("from-cali{endpoint}")));
            Element { comment: Some(format!("endpoint {endpoint}")), ..Element::entry(name, verdict) }
        };
        let map = Some(MapData::Verdict);
        let elements = self.endpoints.keys().map(dispatch).collect();
        set("workloads".into(), shape(&[DataType::LINK_NAME], map, false), elements);
        let named: BTreeSet<u64> = used
            .iter()
            .filter_map(|policy| self.policies.get(policy))
            .flatten()
            .map(|(set, ..)| *set)
            .collect();
        for name in named {
            let members = self.sets.get(&name).into_iter().flatten();
            let elements = members.map(|member| Element::key(member.to_be_bytes())).collect();
            let sized = SetShape { size: Some(1024), ..shape(&[DataType::IPV4], None, false) };
            set(format!("s-{name}"), sized, elements);
        }
        for policy in used {
            let Some(ports) = self.ports.get(policy).filter(|ports| !ports.is_empty()) else { continue };
            let element = |port: &u16| Element {
                comment: Some(format!("policy {policy} port {port}")),
                ..Element::key([&[6, 0, 0, 0], port.to_be_bytes().as_slice(), &[0, 0]].concat())
            };
            let counted =
                SetShape { counter: true, ..shape(&[DataType::PROTOCOL, DataType::PORT], None, false) };
            set(format!("ports-{policy}"), counted, ports.iter().map(element).collect());
        }
        if self.nat {
            let range = |low: u16, behind: u16| {
                let end = Element { interval_end: true, ..Element::key(behind.to_be_bytes()) };
                [Element::key(low.to_be_bytes()), end]
            };
            let elements = [range(80, 81), range(8000, 8101)].concat();
            set("ranges".into(), shape(&[DataType::PORT], None, true), elements);
        }
    }
}

pub fn hook(number: u32, priority: i32) -> Hook {
    Hook { number, priority, kind: ChainKind::Filter, policy: Policy::Accept }
}

pub fn rule(expressions: Vec<Expression>, comment: &str) -> Rule {
    Rule { expressions, comment: Some(comment.to_owned()) }
}

pub fn shape(key: &[DataType], data: Option<MapData>, interval: bool) -> SetShape {
    SetShape { key: key.to_vec(), data, interval, counter: false, size: None, comment: Some("a set".into()) }
}

fn jump(to: &str) -> Rule {
    rule(vec![Expression::counter(), Expression::Verdict(Verdict::Jump(to.to_owned()))], to)
}

fn base() -> Vec<Rule> {
    vec![
        rule(
            vec![
                Expression::Ct { key: CtKey::State, direction: None, to: R },
                Expression::Bitwise { from: R, to: R, mask: 6u32.to_ne_bytes().to_vec(), xor: vec![0; 4] },
                Expression::Compare { from: R, op: Comparison::NotEqual, value: vec![0; 4] },
                Expression::counter(),
                Expression::Verdict(Verdict::Accept),
            ],
            "established",
        ),
        rule(
            vec![
                Expression::Meta { key: MetaKey::InName, to: R },
                Expression::Lookup {
                    set: "workloads".into(),
                    from: R,
                    to: Some(MapTarget::Verdict),
                    invert: false,
                },
            ],
            "dispatch",
        ),
        rule(vec![Expression::counter(), Expression::Verdict(Verdict::Drop)], "unknown interface"),
    ]
}

/// The difference, as a renderer tells it.
pub fn updates(before: &Wanted, after: &Wanted) -> Vec<Update> {
    let mut all = Vec::new();
    for ((family, name), _) in before.sets.iter().filter(|(key, _)| !after.sets.contains_key(*key)) {
        all.push(Update::Set { family: *family, name: name.clone(), shape: None });
    }
    for ((family, name), (shape, elements)) in &after.sets {
        let known = before.sets.get(&(*family, name.clone()));
        if known.is_none() {
            all.push(Update::Set { family: *family, name: name.clone(), shape: Some(shape.clone()) });
        }
        let known = known.map(|(_, elements)| elements.as_slice()).unwrap_or_default();
        let without = |all: &[Element], but: &[Element]| -> Vec<Element> {
            all.iter().filter(|element| !but.contains(element)).cloned().collect()
        };
        let (added, removed) = (without(elements, known), without(known, elements));
        if !added.is_empty() || !removed.is_empty() {
            all.push(Update::Elements { family: *family, set: name.clone(), added, removed });
        }
    }
    for ((family, name), _) in before.chains.iter().filter(|(key, _)| !after.chains.contains_key(*key)) {
        all.push(Update::Chain { family: *family, name: name.clone(), chain: None });
    }
    for (key, chain) in after.chains.iter().filter(|(key, chain)| before.chains.get(*key) != Some(*chain)) {
        all.push(Update::Chain { family: key.0, name: key.1.clone(), chain: Some(chain.clone()) });
    }
    all
}

/// What is in the kernel.
pub fn actual(nft: &mut dyn NftKernel) -> Wanted {
    let mut ruleset = Ruleset::new(Ours::RULES);
    look::read(nft, &mut ruleset, &Touched::everything(Ours::RULES)).unwrap();
    let mut all = Wanted::default();
    for (family, table) in ruleset.tables() {
        for (name, state) in &table.chains {
            all.chains.insert((family, name.clone()), state.actual.as_ref().unwrap().chain.clone());
        }
        for (name, state) in &table.sets {
            let elements = state.elements.to_remove().map(|(_, element)| element).collect();
            all.sets.insert((family, name.clone()), (state.actual.clone().unwrap(), elements));
        }
    }
    all
}

/// All that decides about packets, from the chains the kernel calls on: two rulesets with the same one judge alike.
pub fn judgement(wanted: &Wanted) -> String {
    let mut out = String::new();
    for ((family, name), chain) in &wanted.chains {
        if let Some(hook) = &chain.hook {
            writeln!(out, "{family:?} {name} {hook:?}").unwrap();
            chain_judgement(wanted, *family, name, 1, &mut out);
        }
    }
    out
}

fn chain_judgement(wanted: &Wanted, family: Family, name: &str, depth: usize, out: &mut String) {
    let Some(chain) = wanted.chains.get(&(family, name.into())) else {
        writeln!(out, "{:depth$}no chain {name}", "").unwrap();
        return;
    };
    for rule in &chain.rules {
        for expression in &rule.expressions {
            writeln!(out, "{:depth$}{expression:?}", "").unwrap();
            match expression {
                Expression::Verdict(Verdict::Jump(to) | Verdict::Goto(to)) => {
                    chain_judgement(wanted, family, to, depth + 1, out);
                }
                Expression::Lookup { set, .. } => {
                    let Some((_, elements)) = wanted.sets.get(&(family, set.as_str().into())) else {
                        writeln!(out, "{:depth$}no set {set}", "").unwrap();
                        continue;
                    };
                    let mut elements: Vec<&Element> = elements.iter().collect();
                    elements.sort_by(|a, b| (&a.key, a.interval_end).cmp(&(&b.key, b.interval_end)));
                    for element in elements {
                        writeln!(out, "{:depth$}{:?} {:?}", "", element.key, element.data).unwrap();
                        if let Some(Data::Verdict(Verdict::Goto(to))) = &element.data {
                            chain_judgement(wanted, family, to, depth + 1, out);
                        }
                    }
                }
                _ => {}
            }
        }
    }
}
