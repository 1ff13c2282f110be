//! The verdict of a program on a packet, without a kernel: what `ocicat why` prints, and what the kernel's verdicts are
//! compared with.

use crate::form::{Direction, End, ICMP, ICMPV6, Match, Origin, Program, Rule, Verdict};
use model::net::Family;
use std::net::IpAddr;

/// What policy looks at in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it goes to; of the same family.
    pub destination: IpAddr,
    /// Protocol number.
    pub protocol: u8,
    /// Source and destination port, of protocols that have them.
    pub ports: Option<(u16, u16)>,
    /// Type and code, of ICMP and ICMPv6.
    pub icmp: Option<(u8, u8)>,
}

impl Packet {
    /// Its family.
    pub fn family(&self) -> Family {
        model::net::family_of(self.source)
    }

    fn address(&self, end: End) -> IpAddr {
        match end {
            End::Source => self.source,
            End::Destination => self.destination,
        }
    }

    fn port(&self, end: End) -> Option<u16> {
        self.ports.map(|(source, destination)| match end {
            End::Source => source,
            End::Destination => destination,
        })
    }
}

/// Members of sets.
pub trait Sets {
    /// Whether an address lies in a set of addresses; a set that is not known is empty.
    fn has_address(&self, id: &str, address: IpAddr) -> bool;

    /// Whether address, protocol and port are in a set of ports.
    fn has_port(&self, id: &str, address: IpAddr, protocol: u8, port: u16) -> bool;
}

/// What decided, and what was passed on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// [`Verdict::Allow`], [`Verdict::Deny`], or [`Verdict::Pass`] where nothing decided and profiles have no say.
    pub verdict: Verdict,
    /// Every rule and end of a tier that matched, in order; the last one decided.
    pub path: Vec<(Origin, Verdict)>,
}

/// The verdict of a program on a packet.
pub fn evaluate(program: &Program, packet: &Packet, sets: &impl Sets) -> Decision {
    let mut path = Vec::new();
    for tier in &program.tiers {
        let decided = first_match(&tier.rules, packet, sets, &mut path).unwrap_or_else(|| {
            path.push((Origin::EndOfTier(tier.tier.clone()), tier.end));
            tier.end
        });
        if decided != Verdict::Pass {
            return Decision { verdict: decided, path };
        }
    }
    let Some(profiles) = &program.profiles else { return Decision { verdict: Verdict::Pass, path } };
    for profile in profiles.chunk_by(of_one_profile) {
        match first_match(profile, packet, sets, &mut path) {
            // a profile has no next tier to pass to, but the next profile has its say
            Some(Verdict::Pass) | None => {}
            Some(verdict) => return Decision { verdict, path },
        }
    }
    path.push((Origin::NoProfile, Verdict::Deny));
    Decision { verdict: Verdict::Deny, path }
}

fn of_one_profile(a: &Rule, b: &Rule) -> bool {
    match (&a.origin, &b.origin) {
        (Origin::Profile { name: a, .. }, Origin::Profile { name: b, .. }) => a == b,
        _ => false,
    }
}

/// The verdict of the first rule that matches and decides.
fn first_match(
    rules: &[Rule],
    packet: &Packet,
    sets: &impl Sets,
    path: &mut Vec<(Origin, Verdict)>,
) -> Option<Verdict> {
    for rule in rules {
        let Some(rule) = rule.for_family(packet.family()) else { continue };
        if !rule.matches.iter().all(|one| holds(one, packet, sets)) {
            continue;
        }
        path.push((rule.origin.clone(), rule.verdict));
        if rule.verdict != Verdict::Log {
            return Some(rule.verdict);
        }
    }
    None
}

fn holds(one: &Match, packet: &Packet, sets: &impl Sets) -> bool {
    match one {
        Match::Protocol { number, negated } => (packet.protocol == *number) != *negated,
        Match::Nets { end, nets, negated } => {
            let address = packet.address(*end);
            nets.iter().any(|net| net.contains(address)) != *negated
        }
        Match::Set { end, id, negated } => sets.has_address(id, packet.address(*end)) != *negated,
        Match::Ports { end, ranges, sets: named, negated } => {
            // a packet without ports is in no range and in no set, and a comparison with them does not hold either way
            let Some(port) = packet.port(*end) else { return false };
            let in_range = ranges.iter().any(|(first, last)| (*first..=*last).contains(&port));
            let address = packet.address(*end);
            let named = || named.iter().any(|id| sets.has_port(id, address, packet.protocol, port));
            (in_range || named()) != *negated
        }
        Match::Icmp { kind, code, negated } => {
            let of_family = match packet.family() {
                Family::V4 => ICMP,
                Family::V6 => ICMPV6,
            };
            let Some((found, found_code)) = packet.icmp.filter(|_| packet.protocol == of_family) else {
                return false;
            };
            (found == *kind && code.is_none_or(|code| code == found_code)) != *negated
        }
    }
}

/// The verdict over both ends of a packet between two endpoints: the sender's egress, then the receiver's ingress.
pub fn between(
    egress: Option<&Program>,
    ingress: Option<&Program>,
    packet: &Packet,
    sets: &impl Sets,
) -> (Verdict, Vec<(Direction, Decision)>) {
    let mut decisions = Vec::new();
    for (direction, program) in [(Direction::Egress, egress), (Direction::Ingress, ingress)] {
        let Some(program) = program else { continue };
        let decision = evaluate(program, packet, sets);
        let denied = decision.verdict == Verdict::Deny;
        decisions.push((direction, decision));
        if denied {
            return (Verdict::Deny, decisions);
        }
    }
    (Verdict::Allow, decisions)
}

#[cfg(test)]
mod tests;
