//! Conditions of policy in iptables' words.

use super::line::Matches;
use super::names;
use crate::form::{End, ICMP, ICMPV6};
use model::net::{Cidr, Family};

/// Ports one condition may name; a range counts as two (`XT_MULTI_PORTS`).
const PORTS_MAX: usize = 15;

/// An end, as options are called after it.
pub fn option(end: End) -> &'static str {
    match end {
        End::Source => "source",
        End::Destination => "destination",
    }
}

/// The protocol is this one.
pub fn protocol_is(number: u8) -> Matches {
    Matches::any().and(format_args!("-p {}", protocol_name(number)))
}

/// As policies are written with it, which is what upstream passes on.
pub fn protocol_name(number: u8) -> String {
    match number {
        ICMP => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        ICMPV6 => "icmpv6".to_owned(),
        132 => "sctp".to_owned(),
        136 => "udplite".to_owned(),
        number => number.to_string(),
    }
}

/// The address lies in a network.
pub fn address(end: End, net: &Cidr) -> Matches {
    Matches::any().and(format_args!("--{} {net}", option(end)))
}

/// The port is one of these, beside other conditions.
pub fn ports_are(matches: Matches, end: End, ports: &[(u16, u16)]) -> Matches {
    matches.and(format_args!("-m multiport --{}-ports {}", option(end), port_list(ports)))
}

/// Ports and ranges as one word.
pub fn port_list(ports: &[(u16, u16)]) -> String {
    let one = |(first, last): &(u16, u16)| match first == last {
        true => first.to_string(),
        false => format!("{first}:{last}"),
    };
    ports.iter().map(one).collect::<Vec<_>>().join(",")
}

/// Lists that are short enough, in order.
pub fn split(ports: &[(u16, u16)]) -> Vec<Vec<(u16, u16)>> {
    let mut lists: Vec<Vec<(u16, u16)>> = Vec::new();
    let mut room = 0;
    for port @ (first, last) in ports {
        let takes = if first == last { 1 } else { 2 };
        match lists.last_mut().filter(|_| takes <= room) {
            Some(list) => list.push(*port),
            None => {
                lists.push(vec![*port]);
                room = PORTS_MAX;
            }
        }
        room -= takes;
    }
    lists
}

/// The address is in a set, or (negated) it is not.
pub fn in_set(id: &str, family: Family, end: End, negated: bool) -> String {
    set_match(id, family, end, negated, false)
}

/// Address, protocol and port are in a set, or (negated) they are not.
pub fn in_port_set(id: &str, family: Family, end: End, negated: bool) -> String {
    set_match(id, family, end, negated, true)
}

fn set_match(id: &str, family: Family, end: End, negated: bool, ports: bool) -> String {
    let end = match end {
        End::Source => "src",
        End::Destination => "dst",
    };
    let not = if negated { "! " } else { "" };
    let name = names::set(id, family);
    match ports {
        true => format!("-m set {not}--match-set {name} {end},{end}"),
        false => format!("-m set {not}--match-set {name} {end}"),
    }
}
