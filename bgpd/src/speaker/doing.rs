//! What sessions ask for, done: at the links, in the RIB, and in what a restart waits for.

use super::link::LinkState;
use super::neighbor::Neighbor;
use super::{Link, Output, Speaker};
use bgp_rib::{PeerId, PeerSettings, Session};
use bgp_session::{Action, ConnId, Deferral, Deferred, Down, Event, Negotiated, Peer, Settings, Time};
use bgp_wire::{Family, Prefix};
use bytes::Bytes;

impl Speaker {
    pub(super) fn insert(
        &mut self,
        settings: Settings,
        routing: PeerSettings,
        range: Option<Prefix>,
    ) -> PeerId {
        let peer = self.rib.add_peer(routing);
        self.by_address.entry(settings.remote_address).or_default().push(peer);
        self.seed = self.seed.wrapping_add(1);
        let mut session = Peer::new(settings, self.seed);
        session.set_restarting(self.selection_waits());
        let neighbor = Neighbor { peer, session, links: Vec::new(), established: None, range };
        if self.neighbors.len() <= peer.index() {
            self.neighbors.resize_with(peer.index() + 1, || None);
        }
        if let Some(place) = self.neighbors.get_mut(peer.index()) {
            *place = Some(neighbor);
        }
        peer
    }

    /// Takes a stopped neighbour out.
    pub(super) fn forget(&mut self, peer: PeerId, now: Time) {
        let Some(neighbor) = self.neighbors.get_mut(peer.index()).and_then(Option::take) else { return };
        self.unlist(neighbor.session.settings().remote_address, peer);
        self.deadlines.forget(peer);
        self.rib.remove_peer(peer);
        if let Some(deferral) = &mut self.deferral {
            deferral.removed(&peer);
            self.defer(now);
        }
    }

    pub(super) fn unlist(&mut self, address: std::net::IpAddr, peer: PeerId) {
        if let Some(peers) = self.by_address.get_mut(&address) {
            peers.retain(|other| *other != peer);
            if peers.is_empty() {
                self.by_address.remove(&address);
            }
        }
    }

    pub(super) fn handle(&mut self, peer: PeerId, event: Event, now: Time) {
        if let Some(neighbor) = self.neighbor_mut(peer) {
            neighbor.session.handle(event, now);
            self.act(peer, now);
        }
    }

    /// Does what a session asks for. A neighbour that came from a range and has nothing left is forgotten.
    pub(super) fn act(&mut self, peer: PeerId, now: Time) {
        while let Some(action) = self.neighbor_mut(peer).and_then(|neighbor| neighbor.session.poll()) {
            self.action(peer, action, now);
        }
        let Some(neighbor) = self.neighbor(peer) else { return };
        let deadline = neighbor.session.deadline();
        let gone = neighbor.range.is_some() && neighbor.session.is_quiet();
        self.deadlines.set(peer, deadline);
        if gone {
            self.forget(peer, now);
            self.outputs.push_back(Output::Gone(peer));
        }
    }

    fn action(&mut self, peer: PeerId, action: Action, now: Time) {
        let link = |connection: ConnId| Link { peer, connection };
        match action {
            Action::Connect(id) => {
                if let Some(neighbor) = self.neighbor_mut(peer) {
                    neighbor.links.push(LinkState::new(id));
                }
                self.outputs.push_back(Output::Connect(link(id)));
            }
            Action::Send(id, message) => {
                if let Some(state) = self.link_mut(link(id)) {
                    state.send(message);
                }
                self.announce(link(id));
            }
            Action::Close(id) => {
                let rest = self.rest_of_message(link(id));
                let state = self.neighbor_mut(peer).and_then(|neighbor| neighbor.take_link(id));
                let last_words = state.map(|state| state.last_words(rest)).unwrap_or_default();
                self.outputs.push_back(Output::Close(link(id), last_words));
            }
            Action::Established(id, negotiated) => {
                if let Some(neighbor) = self.neighbor_mut(peer) {
                    neighbor.established = Some((id, negotiated.codec));
                }
                self.rib.peer_up(peer, session(&negotiated));
                if let Some(deferral) = &mut self.deferral {
                    deferral.established(&peer, &negotiated);
                }
                self.outputs.push_back(Output::Up(peer));
                self.defer(now);
            }
            Action::Down(Down { reason, keep, .. }) => {
                if let Some(neighbor) = self.neighbor_mut(peer) {
                    neighbor.established = None;
                }
                self.rib.peer_down(peer, keep);
                if let Some(deferral) = &mut self.deferral {
                    deferral.down(&peer);
                }
                self.outputs.push_back(Output::Down(peer, reason));
            }
            Action::Purge(family) => self.rib.stale_timeout(peer, family),
            Action::Refresh(_, family, subtype) => self.rib.refresh(peer, family, subtype),
        }
    }

    /// What is left of a message of routes that a connection has taken in part.
    fn rest_of_message(&self, link: Link) -> Option<Bytes> {
        let unfinished = self.unfinished(link);
        let next = self.rib.pending(link.peer).next().filter(|_| unfinished > 0)?;
        next.get(..unfinished).map(Bytes::copy_from_slice)
    }

    /// Tells what a restart need not wait for any longer.
    pub(super) fn defer(&mut self, now: Time) {
        let Some(deferral) = &mut self.deferral else { return };
        let over = deferral.poll(now);
        let done = deferral.is_done();
        self.outputs.extend(over.into_iter().map(Output::Deferred));
        if !self.selection_waits() {
            self.neighbors.iter_mut().flatten().for_each(|neighbor| neighbor.session.set_restarting(false));
        }
        if done {
            self.deferral = None;
        }
    }

    /// Whether a restarted speaker still learns, and says nothing yet.
    pub(super) fn selection_waits(&self) -> bool {
        let waits = |deferral: &Deferral<PeerId>| {
            Family::ALL.into_iter().any(|family| deferral.waits_for(Deferred::Selection(family)))
        };
        self.deferral.as_ref().is_some_and(waits)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (PeerId, &Neighbor)> {
        self.neighbors.iter().flatten().map(|neighbor| (neighbor.peer, neighbor))
    }

    pub(super) fn neighbor(&self, peer: PeerId) -> Option<&Neighbor> {
        self.neighbors.get(peer.index())?.as_ref()
    }

    pub(super) fn neighbor_mut(&mut self, peer: PeerId) -> Option<&mut Neighbor> {
        self.neighbors.get_mut(peer.index())?.as_mut()
    }

    pub(super) fn link_mut(&mut self, link: Link) -> Option<&mut LinkState> {
        self.neighbor_mut(link.peer)?.links.iter_mut().find(|state| state.id == link.connection)
    }
}

/// What the RIB needs to know of a session.
fn session(negotiated: &Negotiated) -> Session {
    Session {
        codec: negotiated.codec,
        local_as: negotiated.local_as,
        remote_as: negotiated.remote_as,
        router_id: negotiated.router_id,
        local_address: negotiated.endpoints.local.ip(),
        enhanced_refresh: negotiated.enhanced_refresh,
    }
}
