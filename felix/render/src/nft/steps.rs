//! What an endpoint's chain does before policy (`felix.md` §6 of the contract). That packets of known connections pass is
//! the first rule of every base chain, and not here.

use super::constants;
use super::names;
use super::packet::{
    self, INVALID, Link, R, accept, address, ct_bits, deny, drop, in_set, jump, port, protocol, protocol_is,
};
use super::piece::{Elements, Piece, rule, shape, with_comment};
use super::policy::Wanted;
use super::ruleset::{Rule, SetShape};
use crate::form::{Direction, End, Scope};
use crate::settings::Settings;
use model::felix::FailsafePort;
use model::net::{Cidr, Family};
use netfilter::nft::{CtKey, DataType, Element, Expression, PayloadBase, Register, Reject};
use std::sync::Arc;

/// One thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Packets that fit no connection are denied, where the settings say so.
    Invalid,
    /// At most so many TCP connections.
    Connections(u32),
    /// Ports that no policy closes.
    Failsafe,
}

/// The rules of all steps. Chains and sets they need go to `piece`.
pub fn steps(piece: &mut Piece, family: Family, wanted: &Wanted, settings: &Settings) -> Vec<Rule> {
    let subject = &wanted.subject;
    let mut rules = Vec::new();
    for step in &wanted.steps {
        match step {
            Step::Invalid if settings.drop_invalid => {
                rules.push(invalid([], deny(family, wanted.deny), subject));
            }
            Step::Invalid => {}
            Step::Connections(most) => rules.push(connections(*most, subject)),
            Step::Failsafe => {
                let chain = failsafe(piece, family, wanted, settings);
                rules.push(rule([], [jump(&chain)], &format!("{subject}, failsafe ports")));
            }
        }
    }
    rules
}

fn connections(most: u32, subject: &str) -> Rule {
    // FIN, SYN, RST, ACK: of a connection's first packet only SYN is set
    const FLAGS: u8 = 0x17;
    const SYN: u8 = 0x02;
    let [load, tcp] = protocol_is(6, false);
    let flags = Expression::Payload { base: PayloadBase::Transport, offset: 13, len: 1, to: R };
    let mask = Expression::Bitwise { from: R, to: R, mask: vec![FLAGS], xor: vec![0] };
    let limit = Expression::ConnLimit { count: most, over: true };
    rule(
        [load, tcp, flags, mask, packet::is([SYN], false), limit],
        [Expression::Reject(Reject::TcpReset)],
        &format!("{subject}, more than {most} connections"),
    )
}

fn invalid(about: impl IntoIterator<Item = Expression>, denied: Expression, subject: &str) -> Rule {
    let matches = about.into_iter().chain(ct_bits(CtKey::State, INVALID, false));
    rule(matches, [denied], &format!("{subject}, packet of no connection"))
}

/// What is the same for all workloads whose interfaces begin so, before their own chains. In each of those it would be
/// a rule more that the kernel walks over for every change of any rule (`nft_chain_validate`).
pub fn of_all_workloads(link: Link, prefix: &str, family: Family, settings: &Settings) -> Vec<Rule> {
    let subject = format!("interface {prefix}*");
    let checks = settings.drop_invalid;
    let mut rules: Vec<Rule> = checks
        .then(|| invalid(link.begins(prefix), deny(family, settings.nft.deny), &subject))
        .into_iter()
        .collect();
    if link == Link::In {
        rules.extend(no_tunnels(prefix, &subject, settings));
    }
    rules
}

/// Tunnels are not a workload's to make, unless the settings say so.
fn no_tunnels(prefix: &str, subject: &str, settings: &Settings) -> impl Iterator<Item = Rule> {
    const UDP: u8 = 17;
    const IPIP: u8 = 4;
    let of_workload = || Link::In.begins(prefix).into_iter();
    let vxlan = (!settings.vxlan_from_workloads).then(|| {
        let port = [port(End::Destination, R), packet::is(settings.vxlan_port.to_be_bytes(), false)];
        let matches = of_workload().chain(protocol_is(UDP, false)).chain(port);
        rule(matches, [drop()], &format!("{subject}, VXLAN packet of a workload"))
    });
    let ipip = (!settings.ipip_from_workloads).then(|| {
        let matches = of_workload().chain(protocol_is(IPIP, false));
        rule(matches, [drop()], &format!("{subject}, IP-in-IP packet of a workload"))
    });
    vxlan.into_iter().chain(ipip)
}

/// The chain of ports that are never closed; before connection tracking answers need their way, too.
fn failsafe(piece: &mut Piece, family: Family, wanted: &Wanted, settings: &Settings) -> Arc<str> {
    let (way, ports, answers, peer) = match wanted.direction {
        Direction::Ingress => {
            ("inbound", &settings.failsafe_inbound, &settings.failsafe_outbound, End::Source)
        }
        Direction::Egress => {
            ("outbound", &settings.failsafe_outbound, &settings.failsafe_inbound, End::Destination)
        }
    };
    let untracked = wanted.scope == Scope::Untracked;
    let name: Arc<str> = format!("failsafe-{way}{}", if untracked { "-untracked" } else { "" }).into();
    let mut rules = of_list(piece, family, &name, ports, End::Destination, peer);
    if untracked {
        rules.extend(of_list(piece, family, &format!("{name}/answers"), answers, End::Source, peer));
    }
    piece.chain(&name, rules);
    name
}

/// Ports for everybody are one set; ports for a network are a rule each.
fn of_list(
    piece: &mut Piece,
    family: Family,
    name: &str,
    ports: &[FailsafePort],
    end: End,
    peer: End,
) -> Vec<Rule> {
    let (size, room) = names::room(ports.len());
    let set: Arc<str> = format!("{name}/ports{room}").into();
    let comment = format!("{name} ports");
    let plain = shape(&[DataType::PROTOCOL, DataType::PORT], None, true, &comment);
    let shape = Arc::new(SetShape { size: Some(size), ..plain });
    let mut rules = Vec::new();
    let mut elements: Vec<Element> = Vec::new();
    for failsafe in ports {
        let Some(number) = protocol_number(&failsafe.protocol) else { continue };
        let text = format!("{comment}, {} {}", failsafe.protocol, failsafe.port);
        match failsafe.net {
            None => {
                let [high, low] = failsafe.port.to_be_bytes();
                let element = Element::key([number, 0, 0, 0, high, low, 0, 0]);
                if !elements.iter().any(|known| known.key == element.key) {
                    elements.push(with_comment(element, &text));
                }
            }
            Some(net) if net.family() == family => {
                let text = format!("{text} of {net}");
                let [load, is] = protocol_is(number, false);
                let of_port = [port(end, R), packet::is(failsafe.port.to_be_bytes(), false)];
                let matches = [load, is].into_iter().chain(of_port).chain(of_net(family, peer, &net));
                rules.push(rule(matches, [accept()], &text));
            }
            Some(_) => {}
        }
    }
    if !elements.is_empty() {
        let lookup = [protocol(R), port(end, Register(1)), in_set(&set, false)];
        rules.insert(0, rule(lookup, [accept()], &comment));
        piece.sets.push(Elements { set, shape, elements });
    }
    rules
}

fn of_net(family: Family, end: End, net: &Cidr) -> Vec<Expression> {
    match constants::without_covered(&[*net]).as_slice() {
        [net] if net.prefix() > 0 => vec![
            address(family, end, R),
            packet::masked(family, net.prefix()),
            packet::is(packet::bytes(net.addr()), false),
        ],
        _ => Vec::new(),
    }
}

fn protocol_number(name: &str) -> Option<u8> {
    match name {
        "tcp" => Some(6),
        "udp" => Some(17),
        "sctp" => Some(132),
        _ => None,
    }
}
