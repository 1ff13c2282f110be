//! Translation: floating addresses, and the source of what leaves the pools (`felix.md` §5 of the contract).

use super::base::{OUTPUT, POSTROUTING, PREROUTING, base};
use super::matches::conditions;
use super::objects::Objects;
use super::packet::{Link, R, address, bytes, protocol_is, table, words};
use super::piece::{Piece, rule};
use super::policy::Owner;
use super::ruleset::Rule;
use super::sets::Sets;
use super::workloads::{FLOATING, HAIRPIN};
use crate::form::{End, Match};
use crate::settings::Settings;
use felix_calc::static_sets::{HOSTS, MASQUERADED_POOLS, POOLS};
use model::net::Family;
use netfilter::nft::{ChainKind, Expression, MapTarget, NatKind, Register};
use std::net::IpAddr;

/// Where other tables translate destinations.
const DSTNAT: i32 = -100;
/// Behind those of other tables that translate sources, such as the proxy of services.
const SRCNAT: i32 = 110;
/// `NF_NAT_RANGE_PROTO_RANDOM_FULLY`
const RANDOM_FULLY: u32 = 16;

/// The translating base chains of a family, as far as something needs them.
pub fn chains(family: Family, settings: &Settings, sets: &Sets, objects: &Objects<Owner>) -> Piece {
    let mut piece = Piece::default();
    let floating = objects.has_set(table(family), FLOATING);
    if floating {
        for (name, hook) in [("prerouting-nat", PREROUTING), ("output-nat", OUTPUT)] {
            base(&mut piece, name, (hook, DSTNAT, ChainKind::Nat), vec![to_workload(family)]);
        }
    }
    let mut rules = Vec::new();
    if objects.has_set(table(family), HAIRPIN) {
        rules.push(hairpin(family));
    }
    rules.extend(outgoing(&mut piece, family, settings, sets));
    if !rules.is_empty() {
        base(&mut piece, "postrouting-nat", (POSTROUTING, SRCNAT, ChainKind::Nat), rules);
    }
    piece
}

fn number(family: Family) -> u8 {
    table(family).number()
}

fn looked_up(map: &str) -> Expression {
    let to = Some(MapTarget::Register(R));
    Expression::Lookup { set: map.to_owned(), from: R, to, invert: false }
}

fn to_workload(family: Family) -> Rule {
    let translate = Expression::Nat {
        kind: NatKind::Destination,
        family: number(family),
        addresses: Some((R, R)),
        ports: None,
        flags: 0,
    };
    let matches = [address(family, End::Destination, R), looked_up(FLOATING)];
    rule(matches, [translate], "floating addresses")
}

/// A workload that speaks with itself by its floating address sees that one as the other end.
fn hairpin(family: Family) -> Rule {
    let second = address(family, End::Destination, Register(words(family)));
    let matches = [address(family, End::Source, R), second, looked_up(HAIRPIN)];
    rule(matches, [source(family, None, RANDOM_FULLY)], "a workload to itself by its floating address")
}

fn source(family: Family, ports: Option<(Register, Register)>, flags: u32) -> Expression {
    Expression::Nat { kind: NatKind::Source, family: number(family), addresses: Some((R, R)), ports, flags }
}

fn outgoing(piece: &mut Piece, family: Family, settings: &Settings, sets: &Sets) -> Vec<Rule> {
    if !sets.has_members(MASQUERADED_POOLS, family) {
        return Vec::new();
    }
    let set = |end, id: &str, negated| Match::Set { end, id: id.into(), negated };
    let mut matches = vec![set(End::Source, MASQUERADED_POOLS, false), set(End::Destination, POOLS, true)];
    if settings.nat_excludes_hosts {
        matches.push(set(End::Destination, HOSTS, true));
    }
    let found = conditions(family, &matches, false, sets);
    piece.sets.extend(found.constants);
    let link = settings.nat_outgoing_interface.iter().flat_map(|name| match name.strip_suffix('+') {
        Some(prefix) => Link::Out.begins(prefix),
        None => Link::Out.is(name),
    });
    let link: Vec<Expression> = link.collect();
    let mut rules = Vec::new();
    for matches in found.rules {
        let matches: Vec<Expression> = matches.into_iter().chain(link.clone()).collect();
        for (protocol, name) in [(6, "TCP"), (17, "UDP")] {
            let Some(ports) = settings.nat_ports else { break };
            let of_protocol = matches.iter().cloned().chain(protocol_is(protocol, false));
            let text = format!("natOutgoing, {name}, ports {} to {}", ports.0, ports.1);
            rules.push(rule(of_protocol, translate(family, settings, Some(ports)), &text));
        }
        rules.push(rule(matches, translate(family, settings, None), "natOutgoing"));
    }
    rules
}

/// The source becomes the configured address, or that of the outgoing interface.
fn translate(family: Family, settings: &Settings, ports: Option<(u16, u16)>) -> Vec<Expression> {
    const LOW: Register = Register(8);
    const HIGH: Register = Register(12);
    let load = |to, port: u16| Expression::Immediate { to, value: port.to_be_bytes().to_vec() };
    let mut action: Vec<Expression> =
        ports.iter().flat_map(|(low, high)| [load(LOW, *low), load(HIGH, *high)]).collect();
    let registers = ports.map(|_| (LOW, HIGH));
    let to: Option<IpAddr> = match family {
        Family::V4 => settings.nat_outgoing_address.map(IpAddr::V4),
        Family::V6 => settings.nat_outgoing_address_v6.map(IpAddr::V6),
    };
    match to {
        Some(address) => {
            action.push(Expression::Immediate { to: R, value: bytes(address) });
            action.push(source(family, registers, RANDOM_FULLY));
        }
        None => action.push(Expression::Masquerade { flags: RANDOM_FULLY, ports: registers }),
    }
    action
}
