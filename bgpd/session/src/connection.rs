//! One TCP connection of a peer: how far it has come, and its timers.

use crate::event::{ConnId, Endpoints, State, Time};
use crate::negotiate::Negotiated;
use std::time::Duration;

/// Hold time before the OPENs have settled one (RFC 4271 §8.2.2 suggests four minutes).
const OPEN_HOLD_TIME: Duration = Duration::from_secs(240);
/// Least send hold time (RFC 9687 §4); twice the hold time where that is more.
const SEND_HOLD_TIME: Duration = Duration::from_secs(480);

/// Who made a connection; collisions are settled by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// We did.
    Outgoing,
    /// The other side did.
    Incoming,
}

/// How far it has come.
#[derive(Debug)]
pub(crate) enum Stage {
    /// TCP is at it.
    Connecting,
    /// TCP is there, our OPEN waits for the other side's (DelayOpen).
    DelayOpen(Endpoints),
    /// Our OPEN is sent.
    OpenSent(Endpoints),
    /// Both OPENs are there.
    OpenConfirm(Box<Negotiated>),
    /// Both KEEPALIVEs, too.
    Established(Box<Negotiated>),
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub id: ConnId,
    pub origin: Origin,
    pub stage: Stage,
    /// When the attempt is given up, the OPEN sent, or the other side held for dead.
    pub expires: Option<Time>,
    /// When the next KEEPALIVE is due.
    pub keepalive: Option<Time>,
    /// The other side's first KEEPALIVE is here, but another connection may yet win a collision.
    pub confirmed: bool,
    /// When the other side has taken nothing for too long.
    pub send_hold: Option<Time>,
}

impl Connection {
    pub fn new(id: ConnId, origin: Origin, stage: Stage) -> Self {
        Connection { id, origin, stage, expires: None, keepalive: None, confirmed: false, send_hold: None }
    }

    pub fn state(&self) -> State {
        match self.stage {
            Stage::Connecting => State::Connect,
            Stage::DelayOpen(_) => match self.origin {
                Origin::Outgoing => State::Connect,
                Origin::Incoming => State::Active,
            },
            Stage::OpenSent(_) => State::OpenSent,
            Stage::OpenConfirm(_) => State::OpenConfirm,
            Stage::Established(_) => State::Established,
        }
    }

    /// What both sides agreed on, from OpenConfirm on.
    pub fn negotiated(&self) -> Option<&Negotiated> {
        match &self.stage {
            Stage::OpenConfirm(negotiated) | Stage::Established(negotiated) => Some(negotiated),
            Stage::Connecting | Stage::DelayOpen(_) | Stage::OpenSent(_) => None,
        }
    }

    /// Both ends, once TCP is there.
    pub fn endpoints(&self) -> Option<Endpoints> {
        match &self.stage {
            Stage::Connecting => None,
            Stage::DelayOpen(endpoints) | Stage::OpenSent(endpoints) => Some(*endpoints),
            Stage::OpenConfirm(negotiated) | Stage::Established(negotiated) => Some(negotiated.endpoints),
        }
    }

    /// Whether a NOTIFICATION may be sent: only after an OPEN.
    pub fn has_sent_open(&self) -> bool {
        self.state() >= State::OpenSent
    }

    /// The other side lives: HoldTimer starts anew.
    pub fn heard(&mut self, now: Time) {
        self.expires = match self.negotiated() {
            Some(negotiated) => seconds(negotiated.hold_time).map(|hold| now + hold),
            None => Some(now + OPEN_HOLD_TIME),
        };
    }

    /// It takes nothing (`true`) or takes again: SendHoldTimer.
    pub fn blocked(&mut self, blocked: bool, now: Time) {
        let hold = self.negotiated().and_then(|negotiated| seconds(negotiated.hold_time));
        self.send_hold = match (blocked, hold) {
            (true, Some(hold)) => {
                Some(self.send_hold.unwrap_or(now + SEND_HOLD_TIME.max(hold.saturating_mul(2))))
            }
            _ => None,
        };
    }

    pub fn deadline(&self) -> Option<Time> {
        [self.expires, self.keepalive, self.send_hold].into_iter().flatten().min()
    }
}

/// A time of whole seconds, where 0 says "never".
pub(crate) fn seconds(time: u16) -> Option<Duration> {
    (time != 0).then(|| Duration::from_secs(u64::from(time)))
}
