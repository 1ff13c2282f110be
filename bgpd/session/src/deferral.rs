//! The restarting speaker's own patience (RFC 4724 §4.1): what it learnt in its last life stays in force until its
//! peers have told everything again.
//!
//! Two things wait, and not for the same peers. *Selection*, and with it everything we announce, our End-of-RIB too,
//! waits for the peers that are up or may soon be: a peer that is simply dead must not keep a whole restarted node
//! silent. *Stale routes* in the kernel wait for all, for as long as we asked our peers to wait for us.

use crate::event::Time;
use crate::negotiate::Negotiated;
use bgp_wire::{Family, PerFamily};
use std::collections::BTreeMap;
use std::time::Duration;

/// Time within which a living peer is back: several attempts to connect, or one error wait and an attempt.
const REACH: Duration = Duration::from_secs(30);

/// What has come to its end, in one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Deferred {
    /// Routes may be selected and announced, and our End-of-RIB follows them.
    Selection(Family),
    /// Routes of the last life that nobody has announced again must leave the kernel.
    StaleRoutes(Family),
}

/// Which peers a restarted speaker still waits for. `K` names a peer.
#[derive(Debug)]
pub struct Deferral<K> {
    peers: BTreeMap<K, Owing>,
    /// End of the wait for peers that are not up.
    reach: Time,
    /// End of every wait.
    until: Time,
    pending: Vec<Deferred>,
}

/// What one peer still owes.
#[derive(Debug)]
struct Owing {
    up: bool,
    configured: PerFamily<bool>,
    /// Its End-of-RIB of these.
    families: PerFamily<bool>,
}

impl<K: Ord> Deferral<K> {
    /// A restart at `now`. `peers` are those configured, each with the families it is to carry; `restart_time` is what
    /// we told them that a restart may take.
    pub fn new(
        peers: impl IntoIterator<Item = (K, PerFamily<bool>)>,
        restart_time: Duration,
        now: Time,
    ) -> Self {
        let owing = |families| Owing { up: false, configured: families, families };
        Deferral {
            peers: peers.into_iter().map(|(peer, families)| (peer, owing(families))).collect(),
            reach: now + REACH.min(restart_time),
            until: now + restart_time,
            pending: Family::ALL
                .into_iter()
                .flat_map(|f| [Deferred::Selection(f), Deferred::StaleRoutes(f)])
                .collect(),
        }
    }

    /// A session is up. Only a peer that knows graceful restart sends End-of-RIB for certain, and one that has just
    /// restarted itself may be waiting for ours.
    pub fn established(&mut self, peer: &K, negotiated: &Negotiated) {
        if let Some(owing) = self.peers.get_mut(peer) {
            let sends = negotiated.graceful_restart.is_some_and(|gr| !gr.restarting);
            owing.up = true;
            owing.families = PerFamily::from_fn(|f| sends && *negotiated.codec.families.get(f));
        }
    }

    /// It is down again: all it owed is open once more.
    pub fn down(&mut self, peer: &K) {
        if let Some(owing) = self.peers.get_mut(peer) {
            owing.up = false;
            owing.families = owing.configured;
        }
    }

    /// A peer has told all it knows of a family.
    pub fn end_of_rib(&mut self, peer: &K, family: Family) {
        if let Some(owing) = self.peers.get_mut(peer) {
            *owing.families.get_mut(family) = false;
        }
    }

    /// The peer is no longer configured.
    pub fn removed(&mut self, peer: &K) {
        self.peers.remove(peer);
    }

    /// What need not wait any longer; each is told once. To be asked after every call, and at [`Deferral::deadline`].
    pub fn poll(&mut self, now: Time) -> Vec<Deferred> {
        let (over, waiting) =
            std::mem::take(&mut self.pending).into_iter().partition(|d| self.is_over(*d, now));
        self.pending = waiting;
        over
    }

    /// Whether this still waits.
    pub fn waits_for(&self, deferred: Deferred) -> bool {
        self.pending.contains(&deferred)
    }

    /// Whether nothing waits any longer.
    pub fn is_done(&self) -> bool {
        self.pending.is_empty()
    }

    /// When to ask again; `None` when nothing waits.
    pub fn deadline(&self, now: Time) -> Option<Time> {
        (!self.is_done()).then(|| if now < self.reach { self.reach } else { self.until })
    }

    fn is_over(&self, deferred: Deferred, now: Time) -> bool {
        let mut peers = self.peers.values();
        now >= self.until
            || match deferred {
                Deferred::Selection(f) => peers.all(|p| !*p.families.get(f) || (!p.up && now >= self.reach)),
                Deferred::StaleRoutes(f) => peers.all(|p| !*p.families.get(f)),
            }
    }
}
