//! A small iptables: what the kernel would do with a packet.

use super::accumulated::Ruleset;
use crate::evaluate::Packet;
use crate::iptables::{Member, Table};
use model::net::{Cidr, Family};
use std::net::IpAddr;

/// A packet and what the kernel knows about it.
#[derive(Debug, Clone)]
pub struct Context {
    pub packet: Packet,
    pub in_name: String,
    pub out_name: String,
    /// `NEW`, `ESTABLISHED`, `INVALID`, and `DNAT` beside it.
    pub states: Vec<&'static str>,
    pub mark: u32,
    pub untracked: bool,
    /// Whether its source is one that the way back to leads elsewhere.
    pub spoofed: bool,
    /// Whether every limit is exceeded.
    pub over: bool,
    /// Prefixes of rules that logged.
    pub logged: Vec<String>,
}

impl Context {
    pub fn new(packet: &Packet) -> Self {
        Context {
            packet: *packet,
            in_name: String::new(),
            out_name: String::new(),
            states: vec!["NEW"],
            mark: 0,
            untracked: false,
            spoofed: false,
            over: false,
            logged: Vec::new(),
        }
    }
}

/// How a chain was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    Accepted,
    Dropped,
    /// Its end was reached, or it returned.
    End,
}

/// A packet in a chain of a table.
pub fn chain(ruleset: &Ruleset, table: Table, name: &str, context: &mut Context) -> Left {
    let rules = ruleset.rules(context.packet.family(), table, name);
    walk(ruleset, table, rules.iter().map(|rule| &*rule.text), context)
}

/// A packet at a chain of the kernel, in which there are no other rules.
pub fn hook(ruleset: &Ruleset, table: Table, name: &'static str, context: &mut Context) -> bool {
    let rules = ruleset.of_hook(context.packet.family(), table, name);
    walk(ruleset, table, rules.into_iter().map(|rule| &*rule.text), context) != Left::Dropped
}

fn walk<'a>(
    ruleset: &Ruleset,
    table: Table,
    rules: impl Iterator<Item = &'a str>,
    context: &mut Context,
) -> Left {
    for text in rules {
        let words = words(text);
        let Some(action) = matched(ruleset, &words, context) else { continue };
        match *action {
            [] => {}
            ["ACCEPT"] => return Left::Accepted,
            ["DROP"] | ["REJECT", ..] => return Left::Dropped,
            ["RETURN"] => return Left::End,
            ["NOTRACK"] => context.untracked = true,
            ["MARK", "--set-mark", value] => {
                let (value, mask) = value.split_once('/').unwrap();
                context.mark = (context.mark & !number(mask)) | number(value);
            }
            ["LOG", "--log-prefix", prefix, "--log-level", "5"] => context.logged.push(prefix.to_owned()),
            ["DSCP", ..] | ["SNAT", ..] | ["DNAT", ..] | ["MASQUERADE", ..] => {}
            ["goto", target] => return chain(ruleset, table, target, context),
            [target] => match chain(ruleset, table, target, context) {
                Left::End => {}
                decided => return decided,
            },
            ref other => panic!("{other:?}"),
        }
    }
    Left::End
}

/// Words; what is between quotes is one.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for (place, part) in text.split('"').enumerate() {
        match place % 2 {
            0 => words.extend(part.split(' ').filter(|word| !word.is_empty())),
            _ => words.push(part),
        }
    }
    words
}

fn number(text: &str) -> u32 {
    match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).unwrap(),
        None => text.parse().unwrap(),
    }
}

/// The action of a rule whose conditions hold: its words, `goto` first where it is one.
fn matched<'a>(ruleset: &Ruleset, mut words: &[&'a str], context: &Context) -> Option<Vec<&'a str>> {
    const WITH_PORTS: [u8; 4] = [6, 17, 132, 136];
    let packet = &context.packet;
    let mut protocol = None;
    loop {
        let negated = words.first() == Some(&"!");
        if negated {
            words = &words[1..];
        }
        // a negation may stand behind the name of a module
        let (holds, used) = match *words {
            [] => return Some(vec![]),
            ["--jump" | "-j", ref action @ ..] => return Some(action.to_vec()),
            ["--goto", target] => return Some(vec!["goto", target]),
            ["-m", "comment", "--comment", _, ..] => (true, 4),
            ["-m", "mark" | "multiport" | "set" | "icmp" | "icmp6" | "conntrack", ..] => {
                words = &words[2..];
                continue;
            }
            ["-m", "limit", "--limit", _, "--limit-burst", _, ..] => (!context.over, 6),
            ["-m", "rpfilter", "--invert", "--validmark", ..] => (context.spoofed, 4),
            ["-m", "tcp", "--tcp-flags", "FIN,SYN,RST,ACK", "SYN", ..] => {
                assert_eq!(protocol, Some(6));
                (true, 5)
            }
            ["-m", "connlimit", "--connlimit-above", _, "--connlimit-mask", "0", ..] => (context.over, 6),
            ["-p", name, ..] => {
                // iptables takes one
                assert_eq!(protocol, None, "{words:?}");
                let wanted = protocol_number(name);
                protocol = (!negated).then_some(wanted);
                (packet.protocol == wanted, 2)
            }
            ["--source", net, ..] => (contains(net, packet.source), 2),
            ["--destination", net, ..] => (contains(net, packet.destination), 2),
            ["--in-interface", name, ..] => (named(&context.in_name, name), 2),
            ["--out-interface", name, ..] => (named(&context.out_name, name), 2),
            ["--mark", value, ..] => {
                let (value, mask) = value.split_once('/').unwrap();
                (context.mark & number(mask) == number(value), 2)
            }
            ["--ctstate", states, ..] => (states.split(',').any(|state| context.states.contains(&state)), 2),
            [option @ ("--source-ports" | "--destination-ports"), list, ..] => {
                // else iptables refuses the rule
                assert!(protocol.is_some_and(|number| WITH_PORTS.contains(&number)), "{words:?}");
                assert!(slots(list) <= 15);
                let (source, destination) = packet.ports?;
                let port = if option == "--source-ports" { source } else { destination };
                (list.split(',').any(|range| within(range, port)), 2)
            }
            [option @ ("--icmp-type" | "--icmpv6-type"), fields, ..] => {
                assert_eq!(protocol, Some(if option == "--icmp-type" { 1 } else { 58 }), "{words:?}");
                let (kind, code) = packet.icmp?;
                let (wanted, wanted_code) =
                    fields.split_once('/').map_or((fields, None), |(a, b)| (a, Some(b)));
                let same = wanted.parse() == Ok(kind);
                (same && wanted_code.is_none_or(|wanted| wanted.parse() == Ok(code)), 2)
            }
            ["--match-set", name, ends, ..] => (in_set(ruleset, name, ends, packet), 3),
            ref other => panic!("{other:?}"),
        };
        if holds == negated {
            return None;
        }
        words = &words[used..];
    }
}

fn protocol_number(name: &str) -> u8 {
    match name {
        "icmp" => 1,
        "tcp" => 6,
        "udp" => 17,
        "icmpv6" => 58,
        "sctp" => 132,
        "udplite" => 136,
        number => number.parse().unwrap(),
    }
}

fn contains(net: &str, address: IpAddr) -> bool {
    let net: Cidr = net.parse().unwrap_or_else(|_| Cidr::host(net.parse().unwrap()));
    assert_eq!(net.family(), model::net::family_of(address));
    net.contains(address)
}

fn named(name: &str, pattern: &str) -> bool {
    match pattern.strip_suffix('+') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    }
}

fn slots(list: &str) -> usize {
    list.split(',').map(|range| 1 + range.matches(':').count()).sum()
}

fn within(range: &str, port: u16) -> bool {
    let (first, last) = range.split_once(':').unwrap_or((range, range));
    (first.parse::<u16>().unwrap()..=last.parse().unwrap()).contains(&port)
}

/// Whether the packet is in a set. One without ports is in none that has ports.
fn in_set(ruleset: &Ruleset, name: &str, ends: &str, packet: &Packet) -> bool {
    let family: Family = packet.family();
    let (_, members) = &ruleset.sets[&(family, name.into())];
    let source = ends.starts_with("src");
    let of = if source { packet.source } else { packet.destination };
    let port = packet.ports.map(|(from, to)| if source { from } else { to });
    members.iter().any(|member| match member {
        Member::Net { address, length } => {
            assert!(*length > 0 && !ends.contains(','));
            Cidr::new(*address, *length).is_some_and(|net| net.contains(of))
        }
        Member::Port { address, protocol, port: wanted } => {
            assert!(ends.contains(','));
            (*address, *protocol, Some(*wanted)) == (of, packet.protocol, port)
        }
        Member::Pair { .. } => false,
    })
}
