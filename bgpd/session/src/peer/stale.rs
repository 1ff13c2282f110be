//! Routes of a peer that went away gracefully: for how long they are kept (RFC 4724 §4.2).

use crate::event::Time;
use crate::negotiate::PeerRestart;
use bgp_wire::{Family, PerFamily};
use std::time::Duration;

/// Until when the routes of each family are kept as stale; `None` where none are.
#[derive(Debug, Default)]
pub(crate) struct Stale(PerFamily<Option<Time>>);

impl Stale {
    pub fn keeps(&self, family: Family) -> bool {
        self.0.get(family).is_some()
    }

    pub fn deadline(&self) -> Option<Time> {
        self.0.ipv4.into_iter().chain(self.0.ipv6).min()
    }

    /// The peer is gone; the routes of `keep` stay for as long as it said its restart may take.
    pub fn gone(&mut self, keep: PerFamily<bool>, restart_time: Duration, now: Time) {
        self.0 = PerFamily::from_fn(|f| keep.get(f).then_some(now + restart_time));
    }

    /// The peer is back. Routes stay where it says that it went on forwarding, until its End-of-RIB or for
    /// `stale_time`. Returned are the families whose routes must go.
    pub fn back(&mut self, said: Option<&PeerRestart>, stale_time: Duration, now: Time) -> Vec<Family> {
        let forwards = |f| said.is_some_and(|gr| *gr.families.get(f) && *gr.forwarding.get(f));
        let lost = self.kept().filter(|f| !forwards(*f)).collect();
        self.0 = PerFamily::from_fn(|f| (self.keeps(f) && forwards(f)).then_some(now + stale_time));
        lost
    }

    pub fn forget(&mut self, family: Family) {
        *self.0.get_mut(family) = None;
    }

    /// Families whose time is over.
    pub fn expire(&mut self, now: Time) -> Vec<Family> {
        let over: Vec<Family> =
            self.kept().filter(|f| self.0.get(*f).is_some_and(|until| until <= now)).collect();
        over.iter().for_each(|f| self.forget(*f));
        over
    }

    /// All families, when no session will come back.
    pub fn drop_all(&mut self) -> Vec<Family> {
        let all = self.kept().collect();
        self.0 = PerFamily::default();
        all
    }

    fn kept(&self) -> impl Iterator<Item = Family> + '_ {
        Family::ALL.into_iter().filter(|f| self.keeps(*f))
    }
}
