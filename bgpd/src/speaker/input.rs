//! What comes from the neighbours: connections, their ends, and octets.

use super::link::LinkState;
use super::neighbor::Range;
use super::{Link, Output, Speaker};
use bgp_rib::PeerId;
use bgp_session::{Endpoints, Event, Received, Reset, Time};
use bgp_wire::{Codec, Message, Prefix};
use std::net::IpAddr;
use std::sync::Arc;

impl Speaker {
    /// Somebody has connected. `None` refuses: the driver closes without a word.
    pub fn accept(&mut self, endpoints: Endpoints, now: Time) -> Option<Link> {
        let remote = endpoints.remote.ip();
        let fits = |speaker: &Speaker, peer: PeerId| {
            let local = speaker.settings(peer).and_then(|settings| settings.local_address);
            local.is_none_or(|local| local == endpoints.local.ip())
        };
        let known: Vec<PeerId> =
            self.by_address.get(&remote).into_iter().flatten().copied().filter(|p| fits(self, *p)).collect();
        for peer in &known {
            if let Some(link) = self.accept_from(*peer, endpoints, now) {
                return Some(link);
            }
        }
        if known.is_empty() && !self.by_address.contains_key(&remote) {
            let peer = self.come(endpoints, now)?;
            return self.accept_from(peer, endpoints, now);
        }
        None
    }

    fn accept_from(&mut self, peer: PeerId, endpoints: Endpoints, now: Time) -> Option<Link> {
        let neighbor = self.neighbor_mut(peer)?;
        let connection = neighbor.session.accept(endpoints, now);
        if let Some(id) = connection {
            neighbor.links.push(LinkState::new(id));
        }
        self.act(peer, now);
        Some(Link { peer, connection: connection? })
    }

    /// A neighbour for somebody from a range, if there is one and it is not full.
    fn come(&mut self, endpoints: Endpoints, now: Time) -> Option<PeerId> {
        let remote = endpoints.remote.ip();
        let (prefix, range) = self.range_of(remote)?;
        let mut settings = range.settings.clone();
        settings.remote_address = remote;
        settings.passive = true;
        let mut routing = range.routing.clone();
        routing.name = Arc::from(format!("{}{}", routing.name, remote));
        routing.address = remote;
        let peer = self.insert(settings, routing, Some(prefix));
        self.outputs.push_back(Output::Came(peer));
        // not acted on yet: without a connection it would be forgotten at once
        self.neighbor_mut(peer)?.session.handle(Event::Start, now);
        Some(peer)
    }

    fn range_of(&self, remote: IpAddr) -> Option<(Prefix, &Range)> {
        let host = Prefix::host(remote);
        let covering = self.ranges.iter().filter(|(prefix, _)| prefix.covers(host));
        let (prefix, range) = covering.max_by_key(|(prefix, _)| prefix.len())?;
        let has_room = |limit| self.of_range(*prefix).len() < limit as usize;
        range.limit.is_none_or(has_room).then_some((*prefix, range))
    }

    /// An attempt has succeeded.
    pub fn connected(&mut self, link: Link, endpoints: Endpoints, now: Time) {
        self.handle(link.peer, Event::Connected(link.connection, endpoints), now);
    }

    /// An attempt has failed, or a connection has ended without us; `why` in the system's words.
    pub fn closed(&mut self, link: Link, why: &str, now: Time) {
        let event = Event::Closed(link.connection, why.to_owned());
        self.handle(link.peer, event, now);
    }

    /// Octets of a connection, in the order they came. What is not yet a whole message is kept.
    pub fn received(&mut self, link: Link, mut octets: &[u8], now: Time) {
        // Out of its place for the time being, so that a message can change everything else.
        let Some(state) = self.link_mut(link) else { return };
        let mut input = std::mem::take(&mut state.input);
        loop {
            // changes with the OPEN, and ends with the connection
            let Some(codec) = self.codec(link) else { return };
            let more = input.next(&mut octets, codec.max_len(), |message| {
                self.message(link, message, &codec, now);
            });
            match more {
                Ok(Some(())) => {}
                Ok(None) => break,
                Err(notification) => {
                    let malformed = Received::Malformed(notification);
                    return self.handle(link.peer, Event::Received(link.connection, malformed), now);
                }
            }
        }
        if let Some(state) = self.link_mut(link) {
            state.input = input;
        }
    }

    /// What the octets of a connection mean at this moment; `None` when it is closed.
    fn codec(&self, link: Link) -> Option<Codec> {
        let neighbor = self.neighbor(link.peer)?;
        neighbor.link(link.connection)?;
        let established = neighbor.established.filter(|(id, _)| *id == link.connection);
        let codec = established.map(|(_, codec)| codec);
        // the first UPDATE may come while a collision is not yet settled, and settles it
        Some(codec.or_else(|| neighbor.session.codec(link.connection)).unwrap_or_default())
    }

    fn message(&mut self, link: Link, message: &[u8], codec: &Codec, now: Time) {
        let Link { peer, connection } = link;
        let decoded = bgp_wire::decode(message, codec);
        self.handle(peer, Event::Received(connection, Received::from(&decoded)), now);
        let Ok(Message::Update(update)) = decoded else { return };
        if !self.is_established(link) {
            return;
        }
        if let Some(family) = update.end_of_rib() {
            self.rib.end_of_rib(peer, family);
            self.handle(peer, Event::EndOfRib(connection, family), now);
            if let Some(deferral) = &mut self.deferral {
                deferral.end_of_rib(&peer, family);
                self.defer(now);
            }
        } else if let Some(exceeded) = self.rib.update(peer, &update) {
            self.limit_exceeded(peer, exceeded, now);
        }
    }

    fn limit_exceeded(&mut self, peer: PeerId, exceeded: bgp_rib::LimitExceeded, now: Time) {
        use bgp_rib::MaxPrefixAction;
        self.outputs.push_back(Output::LimitExceeded(peer, exceeded));
        let wait = match exceeded.max.action {
            MaxPrefixAction::Warn | MaxPrefixAction::Block => return,
            MaxPrefixAction::Restart => self.settings(peer).map(|settings| settings.timers.error_wait_max),
            MaxPrefixAction::Disable => None,
        };
        let (family, limit) = (exceeded.family, exceeded.max.limit);
        self.handle(peer, Event::Reset(Reset::MaxPrefixes { family, limit, wait }), now);
    }

    pub(super) fn is_established(&self, link: Link) -> bool {
        let established = self.neighbor(link.peer).and_then(|neighbor| neighbor.established);
        established.is_some_and(|(id, _)| id == link.connection)
    }
}
