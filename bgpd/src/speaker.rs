//! The speaker without its surroundings: sessions and RIB, put together. No socket, no clock, no kernel.
//!
//! Whoever drives it, the daemon or the simulated network of the tests, tells it what happened, and when: connections
//! that came or failed ([`Speaker::accept`], [`Speaker::connected`], [`Speaker::closed`]), octets that were read
//! ([`Speaker::received`]), a moment that came ([`Speaker::wake`]). What it wants done comes out of [`Speaker::poll`],
//! to be asked after every call.
//!
//! Octets go out in rounds. After everything that was ready has been read, one [`Speaker::flush`] makes UPDATEs of all
//! that changed; [`Speaker::take_writable`] then says which connections have something, [`Speaker::chunks`] hands it
//! out without a copy, and [`Speaker::wrote`] takes note of what a socket took.
//!
//! What concerns routes alone (local routes, next hops, the FIB, explanations) is the RIB's: [`Speaker::rib`].

mod deadlines;
mod doing;
mod input;
mod link;
mod neighbor;
mod output;
mod reassembly;
#[cfg(test)]
mod tests;

pub use neighbor::Range;
pub use output::{CHUNKS, Link, Output};

use bgp_rib::{PeerId, PeerSettings, Rib, RibConfig};
use bgp_session::{Change, Deferral, Event, Peer, Reset, Settings, Stop, Time};
use bgp_wire::Prefix;
use deadlines::Deadlines;
use neighbor::Neighbor;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

/// See the module.
#[derive(Debug)]
pub struct Speaker {
    rib: Rib,
    /// By [`PeerId::index`].
    neighbors: Vec<Option<Neighbor>>,
    by_address: BTreeMap<IpAddr, Vec<PeerId>>,
    ranges: BTreeMap<Prefix, Range>,
    /// What a restarted speaker still waits for.
    deferral: Option<Deferral<PeerId>>,
    deadlines: Deadlines<PeerId>,
    outputs: VecDeque<Output>,
    /// Connections with something new to write, each once.
    writable: Vec<Link>,
    /// Spreads timers; each session gets another.
    seed: u64,
}

impl Speaker {
    /// A speaker without neighbours; `seed` decides how timers are spread.
    pub fn new(config: RibConfig, seed: u64) -> Self {
        Speaker {
            rib: Rib::new(config),
            neighbors: Vec::new(),
            by_address: BTreeMap::new(),
            ranges: BTreeMap::new(),
            deferral: None,
            deadlines: Deadlines::default(),
            outputs: VecDeque::new(),
            writable: Vec::new(),
            seed,
        }
    }

    /// Routes of an earlier life are still in the kernel and with the neighbours (RFC 4724 §4.1): to be called once,
    /// when the neighbours of the start have been added and before the first is started. `restart_time` is what they
    /// were told. [`Output::Deferred`] tells what need not wait any longer.
    pub fn restarting(&mut self, restart_time: Duration, now: Time) {
        let mut peers = Vec::new();
        for (peer, neighbor) in self.all() {
            peers.push((peer, neighbor.session.settings().families));
        }
        self.neighbors.iter_mut().flatten().for_each(|neighbor| neighbor.session.set_restarting(true));
        self.deferral = Some(Deferral::new(peers, restart_time, now));
        self.defer(now);
    }

    /// Adds a neighbour; it stays quiet until [`Speaker::start`].
    pub fn add(&mut self, settings: Settings, routing: PeerSettings) -> PeerId {
        self.insert(settings, routing, None)
    }

    /// Wants a session with a neighbour.
    pub fn start(&mut self, peer: PeerId, now: Time) {
        self.handle(peer, Event::Start, now);
    }

    /// Ends its session and makes no other until it is started again.
    pub fn stop(&mut self, peer: PeerId, stop: Stop, now: Time) {
        self.handle(peer, Event::Stop(stop), now);
    }

    /// Ends its session and makes another.
    pub fn reset(&mut self, peer: PeerId, reset: Reset, now: Time) {
        self.handle(peer, Event::Reset(reset), now);
    }

    /// Takes a neighbour away; it is told that it is no longer configured.
    pub fn remove(&mut self, peer: PeerId, now: Time) {
        self.handle(peer, Event::Stop(Stop::Deconfigured), now);
        self.forget(peer, now);
    }

    /// Puts a neighbour's session settings in force; what the RIB is told goes to the RIB.
    pub fn configure(&mut self, peer: PeerId, settings: Settings, now: Time) -> Change {
        let Some(neighbor) = self.neighbor_mut(peer) else { return Change::Nothing };
        let (old, new) = (neighbor.session.settings().remote_address, settings.remote_address);
        let change = neighbor.session.configure(settings, now);
        if old != new {
            self.unlist(old, peer);
            self.by_address.entry(new).or_default().push(peer);
        }
        self.act(peer, now);
        change
    }

    /// Lets neighbours come from a prefix, or changes what those that come later are told.
    pub fn set_range(&mut self, prefix: Prefix, range: Range) {
        self.ranges.insert(prefix, range);
    }

    /// Lets nobody come from a prefix any more; those that did are told why, and removed.
    pub fn remove_range(&mut self, prefix: Prefix, stop: Stop, now: Time) {
        self.ranges.remove(&prefix);
        for peer in self.of_range(prefix) {
            self.handle(peer, Event::Stop(stop.clone()), now);
        }
    }

    /// Neighbours that have come from a prefix.
    pub fn of_range(&self, prefix: Prefix) -> Vec<PeerId> {
        self.all().filter(|(_, n)| n.range == Some(prefix)).map(|(peer, _)| peer).collect()
    }

    /// When to call [`Speaker::wake`] at the latest.
    pub fn deadline(&self, now: Time) -> Option<Time> {
        let deferral = self.deferral.as_ref().and_then(|deferral| deferral.deadline(now));
        self.deadlines.next().into_iter().chain(deferral).min()
    }

    /// Does what time asks for.
    pub fn wake(&mut self, now: Time) {
        while let Some(peer) = self.deadlines.pop(now) {
            self.handle(peer, Event::Timer, now);
        }
        self.defer(now);
    }

    /// What to do next; `None` when all is done.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// All that concerns routes alone.
    pub fn rib(&self) -> &Rib {
        &self.rib
    }

    /// All that concerns routes alone, to change. What comes of it goes out with the next [`Speaker::flush`].
    pub fn rib_mut(&mut self) -> &mut Rib {
        &mut self.rib
    }

    /// What a neighbour's session is told to do.
    pub fn settings(&self, peer: PeerId) -> Option<&Settings> {
        self.neighbor(peer).map(|neighbor| neighbor.session.settings())
    }

    /// A neighbour's session, to look at.
    pub fn session(&self, peer: PeerId) -> Option<&Peer> {
        self.neighbor(peer).map(|neighbor| &neighbor.session)
    }

    /// All neighbours.
    pub fn peers(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        self.all().map(|(peer, neighbor)| (peer, &neighbor.session))
    }

    /// Whether a restart is not yet over: something still waits for neighbours.
    pub fn is_restarting(&self) -> bool {
        self.deferral.is_some()
    }
}
