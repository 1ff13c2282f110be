//! Which sessions this node has, with whom, and who wins where several resources ask for one neighbour.
//! Source: `bgp.md` §4 of the contract.
//!
//! A neighbour has one session, whoever asks for it. First come, in this order: BGPPeers for all nodes, BGPPeers for
//! some, the far ends of other nodes' BGPPeers, local workloads, the mesh. Within each, names decide.

use crate::configuration::{Configurations, DEFAULT_AS};
use crate::node::NodeFacts;
use crate::peer::{Locals, PeerFacts, RemoteAsChoice, Remotes};
use crate::plan::{BGP_PORT, SessionKey, SessionType};
use crate::reading::family;
use crate::warning::Warning;
use crate::workload::WorkloadStatus;
use bgp_session::RemoteAs;
use bgp_wire::{Family, Prefix};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::{IpAddr, Ipv4Addr};

/// Everything that sessions depend on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct World<'a> {
    pub(crate) own: &'a NodeFacts,
    pub(crate) nodes: &'a BTreeMap<String, Box<NodeFacts>>,
    pub(crate) peers: &'a BTreeMap<String, PeerFacts>,
    pub(crate) configurations: &'a Configurations,
    pub(crate) workloads: &'a BTreeMap<String, WorkloadStatus>,
}

/// A session that somebody asks for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted<'a> {
    pub(crate) session_type: SessionType,
    pub(crate) name: String,
    /// The BGPPeer; none in the mesh.
    pub(crate) peer: Option<&'a PeerFacts>,
    /// Our AS where it is not the node's.
    pub(crate) local_as: u32,
    pub(crate) remote_as: RemoteAs,
    /// Cluster ID of the other side, if that is a reflector's.
    pub(crate) remote_cluster: Option<Ipv4Addr>,
    pub(crate) passive: bool,
    pub(crate) allow_own_as: u32,
    /// Gateway to it.
    pub(crate) via: Option<IpAddr>,
    /// Interface it is on, where that is known.
    pub(crate) interface: Option<String>,
    /// It is the pattern of sessions with whoever comes.
    pub(crate) range: bool,
}

/// All sessions, by neighbour.
#[derive(Debug, Default)]
pub(crate) struct Sessions<'a> {
    pub(crate) wanted: BTreeMap<SessionKey, Wanted<'a>>,
    pub(crate) warnings: Vec<Warning>,
}

impl<'a> World<'a> {
    /// The AS number of the cluster.
    pub(crate) fn global_as(&self) -> u32 {
        self.configurations.global(|c| c.as_number).unwrap_or(DEFAULT_AS)
    }

    /// The AS number of a node.
    pub(crate) fn as_of(&self, node: &NodeFacts) -> u32 {
        node.as_number.unwrap_or_else(|| self.global_as())
    }

    /// The port a node listens at, where one is configured.
    pub(crate) fn port_of(&self, node: &NodeFacts) -> Option<u16> {
        self.configurations.of_node(&node.name, |c| c.listen_port)
    }

    /// All sessions of this node.
    pub(crate) fn sessions(&self) -> Sessions<'a> {
        let mut sessions = Sessions::default();
        let global = |peer: &&PeerFacts| peer.locals == Locals::All;
        for peer in self.peers.values().filter(global) {
            self.direct(peer, SessionType::Global, &mut sessions);
        }
        for peer in self.peers.values().filter(|peer| !global(peer)) {
            if self.is_local(peer, self.own) {
                self.direct(peer, SessionType::Node, &mut sessions);
            }
        }
        for peer in self.peers.values().filter(|peer| peer.reverse) {
            self.reverse(peer, &mut sessions);
        }
        for peer in self.peers.values().filter(|peer| self.is_local(peer, self.own)) {
            self.workloads(peer, &mut sessions);
        }
        self.mesh(&mut sessions);
        sessions
    }

    fn is_local(&self, peer: &PeerFacts, node: &NodeFacts) -> bool {
        match &peer.locals {
            Locals::All => true,
            Locals::Named(name) => *name == node.name,
            Locals::Matching(selector) => selector.matches(&node.labels),
        }
    }

    fn others(&self) -> impl Iterator<Item = &'a NodeFacts> {
        let own = self.own;
        self.nodes.values().map(Box::as_ref).filter(move |node| node.name != own.name)
    }

    /// The node that has an address.
    fn node_at(&self, addr: IpAddr) -> Option<&'a NodeFacts> {
        self.others().find(|node| node.address_like(addr) == Some(addr))
    }

    /// What a BGPPeer of this node asks for.
    fn direct(&self, peer: &'a PeerFacts, session_type: SessionType, sessions: &mut Sessions<'a>) {
        let own_as = self.as_of(self.own);
        match &peer.remotes {
            Remotes::Address { addr, port, remote_as } => {
                let Some(own) = self.own.address_like(*addr).filter(|own| own != addr) else { return };
                let node = self.node_at(*addr);
                let port = port.or_else(|| node.and_then(|node| self.port_of(node)));
                let local_as = peer.local_as.unwrap_or(own_as);
                let wanted = Wanted {
                    local_as,
                    remote_as: remote_as.with(local_as),
                    remote_cluster: node.and_then(|node| node.cluster_id),
                    // of two nodes that would connect to each other, one waits
                    passive: session_type == SessionType::Global && node.is_some() && waits(own, *addr),
                    allow_own_as: peer.allow_own_as,
                    via: peer.reachable_by,
                    ..Wanted::of(peer, session_type, *addr, port, own_as)
                };
                if let Some(winner) = sessions.add(key(*addr, port), wanted) {
                    let reason =
                        format!("this neighbour has its session by {winner}; one of the two is not needed");
                    let resource = format!("BGPPeer {}", peer.name);
                    sessions.warnings.push(Warning::new(resource, "spec.peerIP", addr.to_string(), reason));
                }
            }
            Remotes::Nodes(selector) => {
                for node in self.others().filter(|node| selector.matches(&node.labels)) {
                    for family in Family::ALL {
                        self.with_node(peer, session_type, node, family, self.as_of(node), sessions);
                    }
                }
            }
            Remotes::Ranges { prefixes, remote_as } => {
                for prefix in prefixes {
                    self.range(peer, session_type, *prefix, *remote_as, sessions);
                }
            }
            Remotes::Workloads { .. } => {}
        }
    }

    fn range(
        &self,
        peer: &'a PeerFacts,
        session_type: SessionType,
        prefix: Prefix,
        remote_as: RemoteAsChoice,
        sessions: &mut Sessions<'a>,
    ) {
        let own_as = self.as_of(self.own);
        let local_as = peer.local_as.unwrap_or(own_as);
        let wanted = Wanted {
            name: format!("{}{}_{}", session_type.prefix(), flat(prefix.addr()), prefix.len()),
            local_as,
            remote_as: remote_as.with(local_as),
            passive: true,
            allow_own_as: peer.allow_own_as,
            range: true,
            ..Wanted::of(peer, session_type, prefix.addr(), None, own_as)
        };
        sessions.add(SessionKey::Range(prefix), wanted);
    }

    /// A session with another node in one family, if both have an address of it.
    fn with_node(
        &self,
        peer: &'a PeerFacts,
        session_type: SessionType,
        node: &'a NodeFacts,
        family: Family,
        remote_as: u32,
        sessions: &mut Sessions<'a>,
    ) {
        let (Some(own), Some(other)) = (self.own.addresses.get(family), node.addresses.get(family)) else {
            return;
        };
        if own.addr == other.addr {
            return;
        }
        let port = self.port_of(node);
        let wanted = Wanted {
            remote_as: RemoteAs::Exactly(remote_as),
            remote_cluster: node.cluster_id,
            ..Wanted::of(peer, session_type, other.addr, port, self.as_of(self.own))
        };
        sessions.add(key(other.addr, port), wanted);
    }

    /// The far end of what a BGPPeer asks other nodes for.
    fn reverse(&self, peer: &'a PeerFacts, sessions: &mut Sessions<'a>) {
        let families: &[Family] = match &peer.remotes {
            Remotes::Nodes(selector) if selector.matches(&self.own.labels) => &Family::ALL,
            Remotes::Address { addr, port, remote_as } if self.is_meant(*addr, *port, *remote_as) => {
                match family(*addr) {
                    Family::Ipv4Unicast => &[Family::Ipv4Unicast],
                    Family::Ipv6Unicast => &[Family::Ipv6Unicast],
                }
            }
            _ => return,
        };
        let carried = matches!(peer.remotes, Remotes::Address { .. }).then_some(peer.local_as).flatten();
        for node in self.others().filter(|node| self.is_local(peer, node)) {
            for family in families {
                // the near end speaks as the AS the resource gives it
                let remote_as = carried.unwrap_or_else(|| self.as_of(node));
                self.with_node(peer, SessionType::Node, node, *family, remote_as, sessions);
            }
        }
    }

    /// Whether this node is the one a `peerIP` means: by address, AS and port.
    fn is_meant(&self, addr: IpAddr, port: Option<u16>, remote_as: RemoteAsChoice) -> bool {
        let own_as = self.as_of(self.own);
        let same_as = match remote_as {
            RemoteAsChoice::Exactly(number) => number == own_as,
            RemoteAsChoice::Internal | RemoteAsChoice::External | RemoteAsChoice::Any => true,
        };
        let listens = self.port_of(self.own).unwrap_or(BGP_PORT);
        self.own.address_like(addr) == Some(addr) && same_as && port.is_none_or(|port| port == listens)
    }

    /// Sessions with workloads of this node that a BGPPeer picks.
    fn workloads(&self, peer: &'a PeerFacts, sessions: &mut Sessions<'a>) {
        let Remotes::Workloads { remote_as } = peer.remotes else { return };
        let own_as = self.as_of(self.own);
        for status in self.workloads.values().filter(|status| status.bgp_peer_name == peer.name) {
            for addr in status.addresses().filter(|addr| self.own.address_like(*addr).is_some()) {
                let wanted = Wanted {
                    local_as: peer.local_as.unwrap_or(own_as),
                    remote_as: RemoteAs::Exactly(remote_as),
                    passive: true,
                    interface: Some(status.iface_name.clone()).filter(|name| !name.is_empty()),
                    ..Wanted::of(peer, SessionType::LocalWorkload, addr, None, own_as)
                };
                sessions.add(key(addr, None), wanted);
            }
        }
    }

    /// The full mesh of nodes that are no reflectors.
    fn mesh(&self, sessions: &mut Sessions<'a>) {
        if self.own.cluster_id.is_some() || self.configurations.global(|c| c.mesh) == Some(false) {
            return;
        }
        let own_as = self.as_of(self.own);
        for node in self.others().filter(|node| node.cluster_id.is_none()) {
            for family in Family::ALL {
                let (Some(own), Some(other)) = (self.own.addresses.get(family), node.addresses.get(family))
                else {
                    continue;
                };
                if own.addr == other.addr {
                    continue;
                }
                let wanted = Wanted {
                    session_type: SessionType::Mesh,
                    name: format!("{}{}", SessionType::Mesh.prefix(), flat(other.addr)),
                    peer: None,
                    local_as: own_as,
                    remote_as: RemoteAs::Exactly(node.as_number.unwrap_or(own_as)),
                    remote_cluster: None,
                    passive: waits(own.addr, other.addr),
                    allow_own_as: 0,
                    via: None,
                    interface: None,
                    range: false,
                };
                sessions.add(key(other.addr, self.port_of(node)), wanted);
            }
        }
    }
}

impl<'a> Wanted<'a> {
    /// What a BGPPeer's session is where nothing else is known.
    fn of(
        peer: &'a PeerFacts,
        session_type: SessionType,
        addr: IpAddr,
        port: Option<u16>,
        own_as: u32,
    ) -> Self {
        let suffix = port.map(|port| format!("_port_{port}")).unwrap_or_default();
        Wanted {
            session_type,
            name: format!("{}{}{suffix}", session_type.prefix(), flat(addr)),
            peer: Some(peer),
            local_as: own_as,
            remote_as: RemoteAs::Exactly(own_as),
            remote_cluster: None,
            passive: false,
            allow_own_as: 0,
            via: None,
            interface: None,
            range: false,
        }
    }

    /// What the RIB calls it; in a range, what the names of its neighbours begin with.
    pub(crate) fn routing_name(&self) -> &str {
        if self.range { self.session_type.prefix() } else { &self.name }
    }

    /// What asks for it, as people call it.
    pub(crate) fn origin(&self) -> String {
        match self.peer {
            Some(peer) => format!("BGPPeer {}", peer.name),
            None => "node-to-node mesh".to_owned(),
        }
    }

    /// Whether the other side is in another AS; `None` where that is seen only when it speaks.
    pub(crate) fn external(&self) -> Option<bool> {
        match self.remote_as {
            RemoteAs::Exactly(remote) => Some(remote != self.local_as),
            RemoteAs::External => Some(true),
            RemoteAs::Any => None,
        }
    }
}

impl<'a> Sessions<'a> {
    /// Adds a session; if its neighbour has one already, that stays, and who asked for it is returned.
    fn add(&mut self, key: SessionKey, wanted: Wanted<'a>) -> Option<String> {
        match self.wanted.entry(key) {
            Entry::Occupied(there) => Some(there.get().origin()),
            Entry::Vacant(place) => {
                place.insert(wanted);
                None
            }
        }
    }
}

fn key(address: IpAddr, port: Option<u16>) -> SessionKey {
    SessionKey::Peer { address, port: port.unwrap_or(BGP_PORT) }
}

/// An address in a name.
fn flat(addr: IpAddr) -> String {
    addr.to_string().replace(['.', ':'], "_")
}

/// Of two nodes the one whose address is the lesser text waits for the other to connect: `10.0.0.10` waits for
/// `10.0.0.9`. Both Calico and we decide so, or a mixed pair would wait on both ends.
fn waits(own: IpAddr, other: IpAddr) -> bool {
    other.to_string() > own.to_string()
}
