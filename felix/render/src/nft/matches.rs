//! The conditions of a rule as expressions.
//!
//! A rule of the kernel is a chain of conditions, all of which must hold. Where one condition of ours has several ways
//! to hold (a set with prefixes of several lengths, ports and named ports), the rule becomes one rule of the kernel for
//! each way. For a rule that decides, the first way that holds ends it; for one that goes on (Log), each way excludes
//! the ones before it, so that a packet counts once.

use super::constants;
use super::packet::{self, R, address, in_set, is, port, protocol, protocol_is, words};
use super::piece::Elements;
use super::sets::Layouts;
use crate::form::{End, ICMP, ICMPV6, Match};
use model::net::{Cidr, Family};
use netfilter::nft::{DataType, Element, Expression, PayloadBase, Register};
use std::sync::Arc;

/// Protocols whose packets have ports: TCP, UDP, DCCP, SCTP, UDP-Lite.
pub const WITH_PORTS: [u8; 5] = [6, 17, 33, 132, 136];

/// What the packet costs a condition: cheap ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cost {
    Protocol,
    Field,
    Network,
    Set,
}

/// A condition.
#[derive(Debug, Clone)]
struct Test {
    cost: Cost,
    expressions: Vec<Expression>,
}

/// One way in which a condition may hold.
struct Way {
    test: Test,
    /// Its opposite, which ways behind it demand where a packet must not count twice.
    opposite: Option<Test>,
}

/// The conditions of one rule: every inner list is a rule of the kernel. None where the rule can never match.
#[derive(Debug, Default)]
pub struct Conditions {
    /// Rules of the kernel.
    pub rules: Vec<Vec<Expression>>,
    /// Constant sets they look up.
    pub constants: Vec<Elements>,
}

/// Translates conditions that all must hold, for packets of a family.
pub fn conditions(family: Family, matches: &[Match], goes_on: bool, sets: &dyn Layouts) -> Conditions {
    let known = matches.iter().find_map(|one| match one {
        Match::Protocol { number, negated: false } => Some(*number),
        _ => None,
    });
    let mut builder =
        Builder { family, sets, known, all: Vec::new(), ways: Vec::new(), constants: Vec::new() };
    match matches.iter().try_for_each(|one| builder.add(one)) {
        Some(()) => builder.finish(goes_on),
        None => Conditions::default(),
    }
}

struct Builder<'a> {
    family: Family,
    sets: &'a dyn Layouts,
    /// The protocol, where the rule says it.
    known: Option<u8>,
    all: Vec<Test>,
    ways: Vec<Vec<Way>>,
    constants: Vec<Elements>,
}

impl Builder<'_> {
    /// `None` where the condition can never hold.
    fn add(&mut self, one: &Match) -> Option<()> {
        match one {
            Match::Protocol { number, negated } => {
                self.all(Cost::Protocol, protocol_is(*number, *negated));
                Some(())
            }
            Match::Nets { end, nets, negated } => self.nets(*end, nets, *negated),
            Match::Set { end, id, negated } => self.set(*end, id, *negated),
            Match::Ports { end, ranges, sets, negated } => self.ports(*end, ranges, sets, *negated),
            Match::Icmp { kind, code, negated } => self.icmp(*kind, *code, *negated),
        }
    }

    fn all(&mut self, cost: Cost, expressions: impl Into<Vec<Expression>>) {
        self.all.push(Test { cost, expressions: expressions.into() });
    }

    fn nets(&mut self, end: End, nets: &[Cidr], negated: bool) -> Option<()> {
        let nets = constants::without_covered(nets);
        let load = address(self.family, end, R);
        match nets.as_slice() {
            [] => return negated.then_some(()),
            // all addresses
            [net] if net.prefix() == 0 => return (!negated).then_some(()),
            [net] if net.prefix() == self.family.bits() => {
                self.all(Cost::Field, [load, is(packet::bytes(net.addr()), negated)]);
            }
            [net] => {
                let mask = packet::masked(self.family, net.prefix());
                self.all(Cost::Field, [load, mask, is(packet::bytes(net.addr()), negated)]);
            }
            several => {
                let set = constants::nets(self.family, several);
                self.all(Cost::Network, [load, in_set(&set.set, negated)]);
                self.constants.push(set);
            }
        }
        Some(())
    }

    /// A set that is not known is empty.
    fn set(&mut self, end: End, id: &str, negated: bool) -> Option<()> {
        let family = self.family;
        let lookup = |(length, name): &(u8, Arc<str>), invert: bool| {
            let mut expressions = vec![address(family, end, R)];
            if *length < family.bits() {
                expressions.push(packet::masked(family, *length));
            }
            expressions.push(in_set(name, invert));
            Test { cost: Cost::Set, expressions }
        };
        let Some(layout) = self.sets.layout(id, family) else { return negated.then_some(()) };
        if negated {
            self.all.extend(layout.lengths.iter().map(|length| lookup(length, true)));
        } else {
            let way = |length| Way { test: lookup(length, false), opposite: Some(lookup(length, true)) };
            self.ways.push(layout.lengths.iter().map(way).collect());
        }
        Some(())
    }

    fn ports(&mut self, end: End, ranges: &[(u16, u16)], named: &[Arc<str>], negated: bool) -> Option<()> {
        match self.known {
            Some(number) if !WITH_PORTS.contains(&number) => return None,
            Some(_) => {}
            None => {
                let set = protocols_with_ports();
                self.all(Cost::Protocol, [protocol(R), in_set(&set.set, false)]);
                self.constants.push(set);
            }
        }
        let mut ways = Vec::new();
        if !ranges.is_empty() {
            ways.push(self.port_ranges(end, ranges));
        }
        let names = named.iter().filter_map(|id| self.sets.layout(id, self.family)?.lengths.first());
        for (_, name) in names {
            let lookup = |invert| Test { cost: Cost::Set, expressions: self.named_port(end, name, invert) };
            ways.push(Way { test: lookup(false), opposite: Some(lookup(true)) });
        }
        match (ways.is_empty(), negated) {
            (true, _) => return negated.then_some(()),
            (false, true) => self.all.extend(ways.into_iter().filter_map(|way| way.opposite)),
            (false, false) => self.ways.push(ways),
        }
        Some(())
    }

    fn port_ranges(&mut self, end: End, ranges: &[(u16, u16)]) -> Way {
        let load = port(end, R);
        let ranges = constants::merged(ranges);
        let test = |cost, expression: Expression| Test { cost, expressions: vec![load.clone(), expression] };
        let both = |cost, of: &dyn Fn(bool) -> Expression| Way {
            test: test(cost, of(false)),
            opposite: Some(test(cost, of(true))),
        };
        match ranges.as_slice() {
            [(first, last)] if first == last => {
                both(Cost::Field, &|negated| is(first.to_be_bytes(), negated))
            }
            [(first, last)] => both(Cost::Field, &|outside| Expression::Range {
                from: R,
                outside,
                low: first.to_be_bytes().to_vec(),
                high: last.to_be_bytes().to_vec(),
            }),
            several => {
                let set = constants::ports(several);
                let way = both(Cost::Network, &|invert| in_set(&set.set, invert));
                self.constants.push(set);
                way
            }
        }
    }

    /// Address, protocol and port together.
    fn named_port(&self, end: End, set: &str, invert: bool) -> Vec<Expression> {
        let behind = words(self.family);
        vec![
            address(self.family, end, R),
            protocol(Register(behind)),
            port(end, Register(behind + 1)),
            in_set(set, invert),
        ]
    }

    fn icmp(&mut self, kind: u8, code: Option<u8>, negated: bool) -> Option<()> {
        let of_family = match self.family {
            Family::V4 => ICMP,
            Family::V6 => ICMPV6,
        };
        match self.known {
            Some(number) if number != of_family => return None,
            Some(_) => {}
            None => self.all(Cost::Protocol, protocol_is(of_family, false)),
        }
        let load = |offset, len| Expression::Payload { base: PayloadBase::Transport, offset, len, to: R };
        match (code, negated) {
            (None, _) => self.all(Cost::Field, [load(0, 1), is([kind], negated)]),
            (Some(code), false) => {
                self.all(Cost::Field, [load(0, 1), is([kind], false)]);
                self.all(Cost::Field, [load(1, 1), is([code], false)]);
            }
            // "not both": another type, or this type with another code
            (Some(code), true) => {
                let field = |expressions| Test { cost: Cost::Field, expressions };
                let this = vec![load(0, 1), is([kind], false)];
                let other_type = vec![load(0, 1), is([kind], true)];
                let other_code = this.iter().cloned().chain([load(1, 1), is([code], true)]).collect();
                self.ways.push(vec![
                    Way { test: field(other_type), opposite: Some(field(this)) },
                    Way { test: field(other_code), opposite: None },
                ]);
            }
        }
        Some(())
    }

    fn finish(self, goes_on: bool) -> Conditions {
        let mut rules: Vec<Vec<Test>> = vec![self.all];
        for ways in &self.ways {
            let mut next = Vec::with_capacity(rules.len() * ways.len());
            for rule in &rules {
                for (place, way) in ways.iter().enumerate() {
                    let before = ways.iter().take(if goes_on { place } else { 0 });
                    let excluded = before.filter_map(|way| way.opposite.clone());
                    next.push(rule.iter().cloned().chain(excluded).chain([way.test.clone()]).collect());
                }
            }
            rules = next;
        }
        let ordered = |mut tests: Vec<Test>| {
            tests.sort_by_key(|test| test.cost);
            tests.into_iter().flat_map(|test| test.expressions).collect()
        };
        Conditions { rules: rules.into_iter().map(ordered).collect(), constants: self.constants }
    }
}

/// Outside of them the bytes where ports would be mean something else.
fn protocols_with_ports() -> Elements {
    Elements {
        set: "protocols-with-ports".into(),
        shape: Arc::new(super::piece::shape(&[DataType::PROTOCOL], None, false, "protocols that have ports")),
        elements: WITH_PORTS.iter().map(|number| Element::key([*number])).collect(),
    }
}
