//! What the speaker wants done, and the octets it wants written.

use super::Speaker;
use bgp_rib::{LimitExceeded, PeerId};
use bgp_session::{ConnId, Deferred, Event, Reason, Time};
use bytes::Bytes;
use std::io::IoSlice;

/// Chunks handed out at once: what one `writev` takes. Fewer are all there is.
pub const CHUNKS: usize = 1024;

/// One TCP connection of one neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link {
    /// Whose.
    pub peer: PeerId,
    /// Which of its connections.
    pub connection: ConnId,
}

/// What the driver has to do, or may want to tell people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Connect as [`Speaker::settings`] of the neighbour say; answer with [`Speaker::connected`] or [`Speaker::closed`].
    Connect(Link),
    /// Write these octets as far as the socket takes them at once, and close. Nothing more of this link is heard or
    /// said.
    Close(Link, Vec<Bytes>),
    /// A session is up.
    Up(PeerId),
    /// A session is down, and why.
    Down(PeerId, Reason),
    /// A neighbour has come from a range.
    Came(PeerId),
    /// One that came from a range has gone for good; its identifier may be used again for another.
    Gone(PeerId),
    /// After a restart: what need not wait any longer.
    Deferred(Deferred),
    /// A neighbour announces more than it may.
    LimitExceeded(PeerId, LimitExceeded),
}

impl Speaker {
    /// Makes UPDATEs of all that has changed. Nothing goes out while a restarted speaker still learns.
    pub fn flush(&mut self) {
        if self.selection_waits() || !self.rib.wants_flush() {
            return;
        }
        for peer in self.rib.flush() {
            if let Some((connection, _)) = self.neighbor(peer).and_then(|neighbor| neighbor.established) {
                self.announce(Link { peer, connection });
            }
        }
    }

    /// Connections with something new to write since they were last asked for.
    pub fn take_writable(&mut self) -> Vec<Link> {
        let mut writable = std::mem::take(&mut self.writable);
        // one that was closed in the meantime has nothing more to say
        writable.retain(|link| match self.link_mut(*link) {
            Some(state) => std::mem::take(&mut state.announced),
            None => false,
        });
        writable
    }

    /// What to write to a connection next, as far as one call can take it; nothing when there is nothing.
    pub fn chunks(&self, link: Link) -> impl Iterator<Item = IoSlice<'_>> {
        let state = self.neighbor(link.peer).and_then(|neighbor| neighbor.link(link.connection));
        state.into_iter().flat_map(move |state| {
            let established = self.is_established(link);
            let routes = established.then(|| self.rib.pending(link.peer)).into_iter().flatten();
            state.chunks(routes, self.unfinished(link), CHUNKS)
        })
    }

    /// A connection has taken `written` octets of its [`Speaker::chunks`].
    pub fn wrote(&mut self, link: Link, written: usize, now: Time) {
        let unfinished = self.unfinished(link);
        let Some(state) = self.link_mut(link) else { return };
        let routes = state.wrote(written, unfinished);
        if routes > 0 {
            self.rib.advance(link.peer, routes);
            // It only puts the next KEEPALIVE off: nothing follows from it, and nobody has to be woken sooner.
            if let Some(neighbor) = self.neighbor_mut(link.peer) {
                neighbor.session.sent(link.connection, now);
            }
        }
    }

    /// Octets left of the message of routes that a connection has taken in part.
    pub(super) fn unfinished(&self, link: Link) -> usize {
        if self.is_established(link) { self.rib.unfinished(link.peer) } else { 0 }
    }

    /// A connection takes nothing any more (`true`), or takes again.
    pub fn blocked(&mut self, link: Link, blocked: bool, now: Time) {
        self.handle(link.peer, Event::Blocked(link.connection, blocked), now);
    }

    /// Notes, once until [`Speaker::take_writable`] asks for it, that a connection has something to write, or more of it.
    pub fn announce(&mut self, link: Link) {
        if let Some(state) = self.link_mut(link)
            && !std::mem::replace(&mut state.announced, true)
        {
            self.writable.push(link);
        }
    }
}
