//! A packet that begins a flow, led through the node's hooks (contract `felix.md` §3.4, §5 and §6).
//!
//! Flows that are known already are let through before any of this is asked, and are not this oracle's business.

use super::cluster::HOST_INTERFACES;
use super::matching::Coverage;
use super::object::{identity, list, prefix, protocol, text, texts};
use super::oracle::{Direction, Oracle, Scope, Verdict};
use super::packets::{Packet, Passage, Place};
use super::translation::Seen;
use serde_json::{Value, json};
use std::net::IpAddr;

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it arrives.
    pub arrives: bool,
    /// What decided.
    pub why: String,
    /// As policy sees it: behind the translation of destinations.
    pub packet: Packet,
    /// How it looks behind the node, if it gets there.
    pub seen: Seen,
}

/// Whether it gets on, and why.
type Answer = (bool, String);

fn dropped(why: impl Into<String>) -> Answer {
    (false, why.into())
}

fn arrives(why: impl Into<String>) -> Answer {
    (true, why.into())
}

/// A packet inside the node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flow<'a> {
    /// As it was sent.
    pub sent: &'a Packet,
    /// As it is behind the translation of destinations.
    pub packet: &'a Packet,
    /// Through which of the host's interfaces it came; `None` for a workload's, or the host itself.
    pub into: Option<&'a str>,
    /// Connection tracking does not look at it.
    pub untracked: bool,
}

impl Flow<'_> {
    /// Whether it fits no connection and begins none: errors about nothing.
    fn is_invalid(&self) -> bool {
        !self.untracked && !begins_a_flow(self.packet)
    }
}

/// Whether connection tracking takes a packet as the first of a connection.
pub fn begins_a_flow(packet: &Packet) -> bool {
    packet.icmp.is_none_or(|(kind, _)| matches!(kind, 8 | 13 | 128 | 139))
}

/// How one hook's host endpoint left a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// Accepted: later hooks that look at host endpoints are skipped.
    Accepted,
    /// Dropped.
    Dropped,
    /// On it goes.
    Undecided,
}

impl Oracle {
    /// What becomes of a packet of no known flow.
    pub fn passage(&self, passage: &Passage, coverage: &mut Coverage) -> Outcome {
        let sent = &passage.packet;
        let into = match &passage.from {
            Place::Beyond(interface) => Some(*interface),
            _ => None,
        };
        let untracked = match &passage.from {
            Place::Workload(..) => Left::Undecided,
            Place::Beyond(interface) => self.untracked(interface, Direction::Ingress, sent, coverage),
            Place::Host => match self.way_out(sent.destination) {
                Some(interface) => self.untracked(interface, Direction::Egress, sent, coverage),
                None => Left::Undecided,
            },
        };
        let is_untracked = untracked == Left::Accepted;
        let translates = !is_untracked && begins_a_flow(sent);
        let packet = if translates { self.to_target(sent, coverage) } else { *sent };
        let flow = Flow { sent, packet: &packet, into, untracked: is_untracked };
        let unchanged = Seen::unchanged(&packet);
        let ends = |(arrives, why): Answer, seen| Outcome { arrives, why, packet, seen };
        if let Place::Workload(namespace, name) = &passage.from
            && !self.workload(namespace, name).is_some_and(|endpoint| self.may_send(endpoint, sent, coverage))
        {
            return ends(dropped("the source is not the workload's"), unchanged);
        }
        if untracked == Left::Dropped {
            return ends(dropped("untracked policy"), unchanged);
        }
        let Some(to) = self.place_of(packet.destination) else {
            return ends(dropped("nobody has this address"), unchanged);
        };
        let answer = match (&passage.from, &to) {
            (Place::Host, _) => self.host_sends(&flow, &to, coverage),
            _ => self.arrives_here(&flow, &passage.from, &to, coverage),
        };
        let seen = match to {
            Place::Host => unchanged,
            _ if !translates => unchanged,
            _ => self.sent_by_host(&packet, &to, coverage),
        };
        if to != passage.to {
            return ends(dropped("it goes elsewhere"), seen);
        }
        ends(answer, seen)
    }

    /// A packet that comes in, before the node knows where it goes, and then there.
    fn arrives_here(&self, flow: &Flow<'_>, from: &Place, to: &Place, coverage: &mut Coverage) -> Answer {
        // a packet that untracked policy accepts is not asked about before its destination is translated
        let mut accepted = flow.untracked;
        if !accepted {
            match self.before_dnat(flow, coverage) {
                Left::Dropped => return dropped("preDNAT policy"),
                left => accepted = left == Left::Accepted,
            }
        }
        match to {
            Place::Host => self.to_host(flow, from, accepted, coverage),
            _ => self.forwarded(flow, from, to, accepted, coverage),
        }
    }

    fn host_sends(&self, flow: &Flow<'_>, to: &Place, coverage: &mut Coverage) -> Answer {
        match to {
            // what the host sends to its own workloads is not policed
            Place::Workload(..) => arrives("host to its workload"),
            Place::Host => arrives("host to itself"),
            Place::Beyond(_) if flow.untracked => arrives("untracked policy"),
            Place::Beyond(interface) => {
                if flow.sent != flow.packet {
                    coverage.event("translated from the host to outside");
                }
                self.normal(Some(interface), Direction::Egress, flow, coverage)
            }
        }
    }

    fn to_host(&self, flow: &Flow<'_>, from: &Place, accepted: bool, coverage: &mut Coverage) -> Answer {
        let packet = flow.packet;
        if let Place::Workload(namespace, name) = from {
            if packet.protocol == 58
                && packet.icmp.is_some_and(|(kind, _)| matches!(kind, 130..=133 | 135 | 136))
            {
                coverage.event("neighbour discovery");
                return arrives("neighbour discovery");
            }
            let Some(endpoint) = self.workload(namespace, name) else { return dropped("no such endpoint") };
            if self.leaves_workload(endpoint, flow, coverage) == Verdict::Deny {
                return dropped("the workload's egress");
            }
            let action = self.setting("defaultEndpointToHostAction");
            return match action.as_str().unwrap_or("Drop") {
                "Drop" => {
                    coverage.event("endpoint to host drops");
                    dropped("defaultEndpointToHostAction")
                }
                "Accept" => {
                    coverage.event("endpoint to host accepts");
                    arrives("defaultEndpointToHostAction")
                }
                _ => {
                    coverage.event("endpoint to host returns");
                    arrives("nobody else drops it")
                }
            };
        }
        if accepted {
            return arrives("accepted before routing");
        }
        self.normal(flow.into, Direction::Ingress, flow, coverage)
    }

    fn forwarded(
        &self,
        flow: &Flow<'_>,
        from: &Place,
        to: &Place,
        accepted: bool,
        coverage: &mut Coverage,
    ) -> Answer {
        if !accepted && self.forward(flow.into, Direction::Ingress, flow, coverage) == Verdict::Deny {
            return dropped("forward policy, inbound");
        }
        if let Place::Workload(namespace, name) = from {
            let Some(endpoint) = self.workload(namespace, name) else { return dropped("no such endpoint") };
            if self.leaves_workload(endpoint, flow, coverage) == Verdict::Deny {
                return dropped("the sender's egress");
            }
        }
        if self.loops(flow.packet.destination) {
            coverage.event("service loop");
            return dropped("no service takes it: it would loop");
        }
        if let Place::Workload(namespace, name) = to {
            let Some(endpoint) = self.workload(namespace, name) else { return dropped("no such endpoint") };
            let verdict = self.asked(endpoint, Scope::Workload, Direction::Ingress, flow, coverage);
            if verdict == Verdict::Deny {
                return dropped("the receiver's ingress");
            }
        }
        let out = match to {
            Place::Beyond(interface) => Some(*interface),
            _ => None,
        };
        if self.forward(out, Direction::Egress, flow, coverage) == Verdict::Deny {
            return dropped("forward policy, outbound");
        }
        coverage.event("forwarded");
        if flow.sent != flow.packet {
            coverage.event("translated and forwarded");
        }
        arrives("all ends allow")
    }

    /// The verdict of an endpoint, which drops what fits no connection before it asks a policy.
    fn asked(
        &self,
        endpoint: &Value,
        scope: Scope,
        direction: Direction,
        flow: &Flow<'_>,
        coverage: &mut Coverage,
    ) -> Verdict {
        if flow.is_invalid() {
            if self.drops_invalid() {
                coverage.event("invalid");
                return Verdict::Deny;
            }
            coverage.event("invalid, not checked");
        }
        self.verdict(endpoint, scope, direction, flow.packet, coverage)
    }

    fn drops_invalid(&self) -> bool {
        self.setting("disableConntrackInvalidCheck").as_bool() != Some(true)
    }

    /// The egress of a workload, tunnels first: what would be taken for the node's own packets may not leave.
    fn leaves_workload(&self, endpoint: &Value, flow: &Flow<'_>, coverage: &mut Coverage) -> Verdict {
        let packet = flow.packet;
        let may = |name: &str| self.setting(name).as_bool().unwrap_or(false);
        let vxlan = self.setting("vxlanPort").as_u64().unwrap_or(4789);
        let to_vxlan = packet.protocol == 17
            && packet.ports.is_some_and(|(_, destination)| u64::from(destination) == vxlan);
        if to_vxlan && !may("allowVXLANPacketsFromWorkloads")
            || packet.protocol == 4 && !may("allowIPIPPacketsFromWorkloads")
        {
            coverage.event("tunnelled by a workload");
            return Verdict::Deny;
        }
        if to_vxlan {
            coverage.event("tunnelled by a workload that may");
        }
        self.asked(endpoint, Scope::Workload, Direction::Egress, flow, coverage)
    }

    pub(super) fn workload(&self, namespace: &str, name: &str) -> Option<&Value> {
        self.local_endpoints().find(|endpoint| identity(endpoint) == ("WorkloadEndpoint", namespace, name))
    }

    /// The host endpoint of an interface; where none names it or has an address of it, the one of all interfaces.
    /// Workloads' interfaces (`None`) have that one only.
    fn host_endpoint(&self, interface: Option<&str>, any: bool) -> Option<&Value> {
        let mut all: Vec<&Value> =
            self.local_endpoints().filter(|endpoint| text(endpoint, "kind") == "HostEndpoint").collect();
        all.sort_by_key(|endpoint| identity(endpoint).2);
        let own = |endpoint: &&&Value| {
            let spec = &endpoint["spec"];
            let named = text(spec, "interfaceName");
            let Some(interface) = interface else { return false };
            if !named.is_empty() {
                return named == interface;
            }
            let addresses = HOST_INTERFACES.iter().filter(|(name, _)| *name == interface);
            addresses.flat_map(|(_, addresses)| addresses.iter()).any(|address| {
                let expected =
                    |text| prefix(text).zip(prefix(address)).is_some_and(|(one, other)| one == other);
                texts(spec, "expectedIPs").any(expected)
            })
        };
        let every = || all.iter().find(|endpoint| text(&endpoint["spec"], "interfaceName") == "*");
        all.iter().find(own).or_else(|| any.then(every).flatten()).copied()
    }

    fn untracked(
        &self,
        interface: &str,
        direction: Direction,
        packet: &Packet,
        coverage: &mut Coverage,
    ) -> Left {
        let Some(endpoint) = self.host_endpoint(Some(interface), false) else {
            let all = self.host_endpoint(Some(interface), true);
            if all.is_some_and(|all| self.has_policies(all, Scope::Untracked)) {
                coverage.event("untracked policy of all interfaces, without effect");
            }
            return Left::Undecided;
        };
        if !self.has_policies(endpoint, Scope::Untracked) {
            return Left::Undecided;
        }
        if self.failsafe(direction, packet) || self.failsafe_answer(direction, packet) {
            coverage.event("failsafe, untracked");
            return Left::Undecided;
        }
        let left = left(self.verdict(endpoint, Scope::Untracked, direction, packet, coverage));
        coverage.event(match (direction, left) {
            (Direction::Ingress, Left::Accepted) => "untracked, inbound, accepted",
            (Direction::Ingress, Left::Dropped) => "untracked, inbound, dropped",
            (Direction::Egress, Left::Accepted) => "untracked, outbound, accepted",
            (Direction::Egress, Left::Dropped) => "untracked, outbound, dropped",
            (_, Left::Undecided) => "untracked, undecided",
        });
        left
    }

    fn before_dnat(&self, flow: &Flow<'_>, coverage: &mut Coverage) -> Left {
        let Some(endpoint) = self.host_endpoint(flow.into, true) else { return Left::Undecided };
        if !self.has_policies(endpoint, Scope::PreDnat) {
            return Left::Undecided;
        }
        if !flow.is_invalid() && self.failsafe(Direction::Ingress, flow.sent) {
            coverage.event("failsafe, preDNAT");
            return Left::Undecided;
        }
        if flow.sent != flow.packet {
            coverage.event("preDNAT of what is translated");
        }
        if text(&endpoint["spec"], "interfaceName") == "*" {
            coverage.event("preDNAT of all interfaces");
        }
        let before = Flow { packet: flow.sent, ..*flow };
        let left = left(self.asked(endpoint, Scope::PreDnat, Direction::Ingress, &before, coverage));
        coverage.event(match left {
            Left::Accepted => "preDNAT, accepted",
            Left::Dropped => "preDNAT, dropped",
            Left::Undecided => "preDNAT, undecided",
        });
        left
    }

    fn normal(
        &self,
        interface: Option<&str>,
        direction: Direction,
        flow: &Flow<'_>,
        coverage: &mut Coverage,
    ) -> Answer {
        let Some(endpoint) = self.host_endpoint(interface, true) else {
            coverage.event("no host endpoint");
            return arrives("no host endpoint");
        };
        if !flow.is_invalid() && self.failsafe(direction, flow.packet) {
            coverage.event(match direction {
                Direction::Ingress => "failsafe, inbound",
                Direction::Egress => "failsafe, outbound",
            });
            return arrives("failsafe");
        }
        coverage.event(match text(&endpoint["spec"], "interfaceName") {
            "*" => "host endpoint of all interfaces",
            "" => "host endpoint by address",
            _ => "host endpoint by name",
        });
        let verdict = self.asked(endpoint, Scope::Normal, direction, flow, coverage);
        coverage.event(match (direction, verdict) {
            (Direction::Ingress, Verdict::Deny) => "to the host, denied",
            (Direction::Ingress, _) => "to the host, allowed",
            (Direction::Egress, Verdict::Deny) => "from the host, denied",
            (Direction::Egress, _) => "from the host, allowed",
        });
        match verdict {
            Verdict::Deny => dropped("the host endpoint"),
            _ => arrives("the host endpoint"),
        }
    }

    fn forward(
        &self,
        interface: Option<&str>,
        direction: Direction,
        flow: &Flow<'_>,
        coverage: &mut Coverage,
    ) -> Verdict {
        let Some(endpoint) = self.host_endpoint(interface, true) else { return Verdict::Allow };
        if !self.governs(endpoint, Scope::Forward, direction) {
            let dropped = flow.is_invalid() && self.drops_invalid();
            if dropped {
                coverage.event("invalid, forwarded without forward policy");
            }
            return if dropped { Verdict::Deny } else { Verdict::Allow };
        }
        let verdict = self.asked(endpoint, Scope::Forward, direction, flow, coverage);
        coverage.event(match (direction, verdict) {
            (Direction::Ingress, Verdict::Deny) => "forwarded by a host endpoint, inbound, denied",
            (Direction::Ingress, _) => "forwarded by a host endpoint, inbound, allowed",
            (Direction::Egress, Verdict::Deny) => "forwarded by a host endpoint, outbound, denied",
            (Direction::Egress, _) => "forwarded by a host endpoint, outbound, allowed",
        });
        verdict
    }

    /// Whether a port of the host is kept open whatever policy says.
    fn failsafe(&self, direction: Direction, packet: &Packet) -> bool {
        let Some((_, port)) = packet.ports else { return false };
        let peer = if direction == Direction::Ingress { packet.source } else { packet.destination };
        self.failsafes(direction).any(|entry| entry.is(packet.protocol, port, peer))
    }

    /// Whether this is the answer to what a failsafe port of the other direction lets through: without connection
    /// tracking it must be let through by itself.
    fn failsafe_answer(&self, direction: Direction, packet: &Packet) -> bool {
        let Some((port, _)) = packet.ports else { return false };
        let (other, peer) = match direction {
            Direction::Ingress => (Direction::Egress, packet.source),
            Direction::Egress => (Direction::Ingress, packet.destination),
        };
        self.failsafes(other).any(|entry| entry.is(packet.protocol, port, peer))
    }

    fn failsafes(&self, direction: Direction) -> impl Iterator<Item = Failsafe> {
        let (name, tcp, udp): (_, &[u16], &[u16]) = match direction {
            Direction::Ingress => {
                ("failsafeInboundHostPorts", &[22, 179, 2379, 2380, 5473, 6443, 6666, 6667], &[68])
            }
            Direction::Egress => {
                ("failsafeOutboundHostPorts", &[179, 2379, 2380, 5473, 6443, 6666, 6667], &[53, 67])
            }
        };
        let mut given = self.setting(name);
        if given.is_null() {
            let of = |protocol: &'static str| move |port: &u16| json!({"protocol": protocol, "port": port});
            given = tcp.iter().map(of("TCP")).chain(udp.iter().map(of("UDP"))).collect();
        }
        let given = json!({ "ports": given });
        let entries: Vec<_> = list(&given, "ports").filter_map(Failsafe::read).collect();
        entries.into_iter()
    }
}

struct Failsafe {
    protocol: u8,
    port: u16,
    net: Option<model::net::Cidr>,
}

impl Failsafe {
    fn read(entry: &Value) -> Option<Self> {
        Some(Self {
            // a port without protocol is one of TCP
            protocol: if entry["protocol"].is_null() { 6 } else { protocol(&entry["protocol"])? },
            port: u16::try_from(entry["port"].as_u64()?).ok()?,
            net: prefix(text(entry, "net")),
        })
    }

    fn is(&self, protocol: u8, port: u16, peer: IpAddr) -> bool {
        self.protocol == protocol && self.port == port && self.net.is_none_or(|net| net.contains(peer))
    }
}

fn left(verdict: Verdict) -> Left {
    match verdict {
        Verdict::Allow => Left::Accepted,
        Verdict::Deny => Left::Dropped,
        Verdict::None => Left::Undecided,
    }
}
