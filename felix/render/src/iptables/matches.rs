//! A rule of the rule form as rules of iptables (`felix.md` §6 of the contract, "Match order", "Match blocks").
//!
//! One rule of iptables has one protocol, one network a side and fifteen ports; all its conditions are ANDed. What a rule
//! wants beyond that comes before it, as blocks.

use super::blocks::Blocks;
use super::line::{Line, Matches};
use super::marks::Marks;
use super::words::{in_port_set, in_set, option, port_list, ports_are, protocol_is, protocol_name, split};
use crate::form::{End, ICMP, ICMPV6, Match, Rule};
use felix_calc::rule::SetId;
use model::net::{Cidr, Family};

/// TCP, UDP, SCTP, UDP-Lite: outside of them the kernel takes other bytes for ports.
const WITH_PORTS: [u8; 4] = [6, 17, 132, 136];
const ENDS: [End; 2] = [End::Source, End::Destination];

/// What the conditions of a rule come to.
pub struct Conditions {
    /// Rules that come first.
    pub blocks: Vec<Line>,
    /// A packet that one of these matches matches the rule.
    pub ways: Vec<Matches>,
}

/// The conditions of a rule for packets of one family, to which it has been narrowed; `None` where no packet matches.
pub fn conditions(rule: &Rule, family: Family, marks: &Marks) -> Option<Conditions> {
    let mut parts = Parts::of(rule);
    let protocols = parts.protocols(family)?;
    if ENDS.iter().any(|end| parts.side(*end).not_nets.iter().any(|net| net.prefix() == 0)) {
        return None;
    }
    let mut blocks = Blocks::new(family, marks);
    for end in ENDS {
        blocks.ports(end, parts.side_mut(end), &protocols);
    }
    for end in ENDS {
        blocks.nets(end, parts.side_mut(end));
    }
    for end in ENDS {
        blocks.not_nets(end, parts.side_mut(end));
    }
    let way = |protocol: &Protocol| {
        let matches = parts.matches(*protocol, family);
        if blocks.used { matches.marked(marks.scratch0) } else { matches }
    };
    let ways = protocols.iter().map(way).collect();
    Some(Conditions { blocks: blocks.lines, ways })
}

/// Which protocol a rule of iptables is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Any.
    Any,
    /// This one.
    Is(u8),
    /// Any but this one.
    Not(u8),
}

/// Conditions by what they are about. The rule form has at most one of each.
#[derive(Default)]
struct Parts<'a> {
    protocol: Option<u8>,
    not_protocol: Option<u8>,
    icmp: Option<(u8, Option<u8>)>,
    not_icmp: Option<(u8, Option<u8>)>,
    source: Side<'a>,
    destination: Side<'a>,
}

/// Conditions about one end. What is empty says nothing.
#[derive(Default)]
pub struct Side<'a> {
    /// In one of these.
    pub nets: &'a [Cidr],
    /// In none of these.
    pub not_nets: &'a [Cidr],
    /// In this set.
    pub set: Option<&'a SetId>,
    /// Not in this one.
    pub not_set: Option<&'a SetId>,
    /// The port is one of these, or it is in `named`.
    pub ports: &'a [(u16, u16)],
    /// Address, protocol and port are in one of these sets.
    pub named: &'a [SetId],
    /// The port is none of these.
    pub not_ports: &'a [(u16, u16)],
    /// Address, protocol and port are in none of these sets.
    pub not_named: &'a [SetId],
}

impl Side<'_> {
    /// Whether it says more of ports than that address and port are in a set, which a packet without ports is not.
    fn says_of_ports(&self) -> bool {
        !self.ports.is_empty() || !self.not_ports.is_empty() || !self.not_named.is_empty()
    }

    fn ports_in(&self, matches: Matches, end: End) -> Matches {
        match self.ports {
            [] => matches,
            ports => ports_are(matches, end, ports),
        }
    }
}

impl<'a> Parts<'a> {
    fn of(rule: &'a Rule) -> Self {
        let mut parts = Parts::default();
        for one in &rule.matches {
            match one {
                Match::Protocol { number, negated: false } => parts.protocol = Some(*number),
                Match::Protocol { number, negated: true } => parts.not_protocol = Some(*number),
                Match::Icmp { kind, code, negated: false } => parts.icmp = Some((*kind, *code)),
                Match::Icmp { kind, code, negated: true } => parts.not_icmp = Some((*kind, *code)),
                Match::Nets { end, nets, negated: false } => parts.side_mut(*end).nets = nets,
                Match::Nets { end, nets, negated: true } => parts.side_mut(*end).not_nets = nets,
                Match::Set { end, id, negated: false } => parts.side_mut(*end).set = Some(id),
                Match::Set { end, id, negated: true } => parts.side_mut(*end).not_set = Some(id),
                Match::Ports { end, ranges, sets, negated: false } => {
                    let side = parts.side_mut(*end);
                    (side.ports, side.named) = (ranges, sets);
                }
                Match::Ports { end, ranges, sets, negated: true } => {
                    let side = parts.side_mut(*end);
                    (side.not_ports, side.not_named) = (ranges, sets);
                }
            }
        }
        parts
    }

    fn side(&self, end: End) -> &Side<'a> {
        match end {
            End::Source => &self.source,
            End::Destination => &self.destination,
        }
    }

    fn side_mut(&mut self, end: End) -> &mut Side<'a> {
        match end {
            End::Source => &mut self.source,
            End::Destination => &mut self.destination,
        }
    }

    /// The protocols for each of which there has to be a rule: one, unless the kernel wants to know more than is said. `None`
    /// where there is no such protocol.
    fn protocols(&self, family: Family) -> Option<Vec<Protocol>> {
        let excluded = |number: u8| self.not_protocol == Some(number);
        let wanted = match (self.protocol, self.icmp.or(self.not_icmp)) {
            (protocol, Some(_)) => {
                let icmp = icmp_of(family);
                if protocol.is_some_and(|protocol| protocol != icmp) {
                    return None;
                }
                Some(icmp)
            }
            (protocol, None) => protocol,
        };
        let mut sides = ENDS.iter().map(|end| self.side(*end));
        if let Some(number) = wanted {
            // of a packet that has no ports nothing is true of them
            let of_ports = |side: &Side<'_>| side.says_of_ports() || !side.named.is_empty();
            let possible = WITH_PORTS.contains(&number) || !sides.any(of_ports);
            return (possible && !excluded(number)).then(|| vec![Protocol::Is(number)]);
        }
        // the kernel finds ports only where it knows that there are any, and a negated set holds where there are none
        if sides.any(Side::says_of_ports) {
            let with_ports = WITH_PORTS.into_iter().filter(|number| !excluded(*number));
            return Some(with_ports.map(Protocol::Is).collect());
        }
        Some(vec![self.not_protocol.map_or(Protocol::Any, Protocol::Not)])
    }

    /// What is left of the conditions, in upstream's order.
    fn matches(&self, protocol: Protocol, family: Family) -> Matches {
        let mut matches = match protocol {
            Protocol::Is(number) => protocol_is(number),
            Protocol::Any | Protocol::Not(_) => Matches::any(),
        };
        for end in ENDS {
            let side = self.side(end);
            for net in side.nets {
                matches = matches.and(format_args!("--{} {net}", option(end)));
            }
            if let Some(id) = side.set {
                matches = matches.and(in_set(id, family, end, false));
            }
            matches = side.ports_in(matches, end);
            for id in side.named {
                matches = matches.and(in_port_set(id, family, end, false));
            }
        }
        matches = icmp(matches, self.icmp, family, "");
        if let Protocol::Not(number) = protocol {
            matches = matches.and(format_args!("! -p {}", protocol_name(number)));
        }
        for end in ENDS {
            let side = self.side(end);
            for net in side.not_nets {
                matches = matches.and(format_args!("! --{} {net}", option(end)));
            }
            if let Some(id) = side.not_set {
                matches = matches.and(in_set(id, family, end, true));
            }
            for some in split(side.not_ports) {
                matches =
                    matches.and(format_args!("-m multiport ! --{}-ports {}", option(end), port_list(&some)));
            }
            for id in side.not_named {
                matches = matches.and(in_port_set(id, family, end, true));
            }
        }
        icmp(matches, self.not_icmp, family, "! ")
    }
}

fn icmp_of(family: Family) -> u8 {
    match family {
        Family::V4 => ICMP,
        Family::V6 => ICMPV6,
    }
}

fn icmp(matches: Matches, fields: Option<(u8, Option<u8>)>, family: Family, not: &str) -> Matches {
    let Some((kind, code)) = fields else { return matches };
    let option = match family {
        Family::V4 => "icmp",
        Family::V6 => "icmpv6",
    };
    let module = match family {
        Family::V4 => "icmp",
        Family::V6 => "icmp6",
    };
    let matches = matches.and(format_args!("-m {module} {not}--{option}-type {kind}"));
    match code {
        Some(code) => matches.joined(format_args!("/{code}")),
        None => matches,
    }
}
