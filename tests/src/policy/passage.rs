//! A packet that begins a flow, led through the node's hooks (contract `felix.md` §3.4, §5 and §6).
//!
//! Flows that are known already are let through before any of this is asked, and are not this oracle's business.

use super::cluster::HOST_INTERFACES;
use super::matching::Coverage;
use super::object::{identity, list, prefix, protocol, text, texts};
use super::oracle::{Direction, Oracle, Scope, Verdict};
use super::packets::{Packet, Passage, Place};
use serde_json::{Value, json};
use std::net::IpAddr;

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it arrives.
    pub arrives: bool,
    /// What decided.
    pub why: String,
}

fn dropped(why: impl Into<String>) -> Outcome {
    Outcome { arrives: false, why: why.into() }
}

fn arrives(why: impl Into<String>) -> Outcome {
    Outcome { arrives: true, why: why.into() }
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
    /// What becomes of a packet that begins a flow.
    pub fn passage(&self, passage: &Passage, coverage: &mut Coverage) -> Outcome {
        let packet = &passage.packet;
        let into = match &passage.from {
            Place::Host => return self.host_sends(passage, coverage),
            Place::Workload(namespace, name) => {
                let Some(endpoint) = self.workload(namespace, name) else {
                    return dropped("no such endpoint");
                };
                if !owns(endpoint, packet.source) {
                    coverage.event("spoofed source");
                    return dropped("the source is not the workload's");
                }
                None
            }
            Place::Beyond(interface) => Some(*interface),
        };
        // untracked, then before DNAT; a packet that one accepts is not asked about by the next
        let mut accepted = false;
        if let Some(interface) = into {
            match self.untracked(interface, Direction::Ingress, packet, coverage) {
                Left::Dropped => return dropped("untracked policy"),
                left => accepted = left == Left::Accepted,
            }
        }
        if !accepted {
            match self.before_dnat(into, packet, coverage) {
                Left::Dropped => return dropped("preDNAT policy"),
                left => accepted = left == Left::Accepted,
            }
        }
        match &passage.to {
            Place::Host => self.to_host(passage, into, accepted, coverage),
            _ => self.forwarded(passage, into, accepted, coverage),
        }
    }

    fn host_sends(&self, passage: &Passage, coverage: &mut Coverage) -> Outcome {
        let interface = match &passage.to {
            // what the host sends to its own workloads is not policed
            Place::Workload(..) => return arrives("host to its workload"),
            Place::Host => return arrives("host to itself"),
            Place::Beyond(interface) => *interface,
        };
        let packet = &passage.packet;
        match self.untracked(interface, Direction::Egress, packet, coverage) {
            Left::Dropped => return dropped("untracked policy"),
            Left::Accepted => return arrives("untracked policy"),
            Left::Undecided => {}
        }
        self.normal(Some(interface), Direction::Egress, packet, coverage)
    }

    fn to_host(
        &self,
        passage: &Passage,
        into: Option<&str>,
        accepted: bool,
        coverage: &mut Coverage,
    ) -> Outcome {
        let packet = &passage.packet;
        if let Place::Workload(namespace, name) = &passage.from {
            if packet.protocol == 58
                && packet.icmp.is_some_and(|(kind, _)| matches!(kind, 130..=133 | 135 | 136))
            {
                coverage.event("neighbour discovery");
                return arrives("neighbour discovery");
            }
            let Some(endpoint) = self.workload(namespace, name) else { return dropped("no such endpoint") };
            if self.leaves_workload(endpoint, packet, coverage) == Verdict::Deny {
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
        self.normal(into, Direction::Ingress, packet, coverage)
    }

    fn forwarded(
        &self,
        passage: &Passage,
        into: Option<&str>,
        accepted: bool,
        coverage: &mut Coverage,
    ) -> Outcome {
        let packet = &passage.packet;
        if !accepted && self.forward(into, Direction::Ingress, packet, coverage) == Verdict::Deny {
            return dropped("forward policy, inbound");
        }
        if let Place::Workload(namespace, name) = &passage.from {
            let Some(endpoint) = self.workload(namespace, name) else { return dropped("no such endpoint") };
            if self.leaves_workload(endpoint, packet, coverage) == Verdict::Deny {
                return dropped("the sender's egress");
            }
        }
        if let Place::Workload(namespace, name) = &passage.to {
            let Some(endpoint) = self.workload(namespace, name) else { return dropped("no such endpoint") };
            let verdict = self.verdict(endpoint, Scope::Workload, Direction::Ingress, packet, coverage);
            if verdict == Verdict::Deny {
                return dropped("the receiver's ingress");
            }
        }
        let out = match &passage.to {
            Place::Beyond(interface) => Some(*interface),
            _ => None,
        };
        if self.forward(out, Direction::Egress, packet, coverage) == Verdict::Deny {
            return dropped("forward policy, outbound");
        }
        coverage.event("forwarded");
        arrives("all ends allow")
    }

    /// The egress of a workload, tunnels first: what would be taken for the node's own packets may not leave.
    fn leaves_workload(&self, endpoint: &Value, packet: &Packet, coverage: &mut Coverage) -> Verdict {
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
        self.verdict(endpoint, Scope::Workload, Direction::Egress, packet, coverage)
    }

    fn workload(&self, namespace: &str, name: &str) -> Option<&Value> {
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
        // the endpoint of all interfaces has no untracked policy
        let Some(endpoint) = self.host_endpoint(Some(interface), false) else { return Left::Undecided };
        if !self.has_policies(endpoint, Scope::Untracked) {
            return Left::Undecided;
        }
        if self.failsafe(direction, packet) || self.failsafe_answer(direction, packet) {
            coverage.event("failsafe, untracked");
            return Left::Undecided;
        }
        coverage.event("untracked");
        left(self.verdict(endpoint, Scope::Untracked, direction, packet, coverage))
    }

    fn before_dnat(&self, interface: Option<&str>, packet: &Packet, coverage: &mut Coverage) -> Left {
        let Some(endpoint) = self.host_endpoint(interface, true) else { return Left::Undecided };
        if !self.has_policies(endpoint, Scope::PreDnat) {
            return Left::Undecided;
        }
        if self.failsafe(Direction::Ingress, packet) {
            coverage.event("failsafe, preDNAT");
            return Left::Undecided;
        }
        coverage.event("preDNAT");
        left(self.verdict(endpoint, Scope::PreDnat, Direction::Ingress, packet, coverage))
    }

    fn normal(
        &self,
        interface: Option<&str>,
        direction: Direction,
        packet: &Packet,
        coverage: &mut Coverage,
    ) -> Outcome {
        let Some(endpoint) = self.host_endpoint(interface, true) else {
            coverage.event("no host endpoint");
            return arrives("no host endpoint");
        };
        if self.failsafe(direction, packet) {
            coverage.event("failsafe");
            return arrives("failsafe");
        }
        coverage.event("host endpoint");
        match self.verdict(endpoint, Scope::Normal, direction, packet, coverage) {
            Verdict::Deny => dropped("the host endpoint"),
            _ => arrives("the host endpoint"),
        }
    }

    fn forward(
        &self,
        interface: Option<&str>,
        direction: Direction,
        packet: &Packet,
        coverage: &mut Coverage,
    ) -> Verdict {
        let Some(endpoint) = self.host_endpoint(interface, true) else { return Verdict::Allow };
        if !self.has_policies(endpoint, Scope::Forward) {
            return Verdict::Allow;
        }
        coverage.event("forward policy");
        self.verdict(endpoint, Scope::Forward, direction, packet, coverage)
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

/// Whether a workload may send with this source: its addresses. Neighbour discovery has a link-local source.
fn owns(endpoint: &Value, source: IpAddr) -> bool {
    texts(&endpoint["spec"], "ipNetworks").filter_map(prefix).any(|net| net.contains(source))
}
