//! How connections and sessions end: what is said, what is kept, and when the next attempt is made.

use super::{Peer, Phase, encoded};
use crate::connection::{Connection, Stage};
use crate::event::{Action, ConnId, Down, Reason, Reset, State, Stop, Time};
use crate::negotiate::Negotiated;
use crate::verdict::{self, Verdict};
use bgp_wire::{Cease, Family, Notification, PerFamily};
use std::time::Duration;

impl Peer {
    pub(super) fn stop(&mut self, stop: Stop) {
        let reason = |connection: &Connection| {
            let hard = keeps_over_notification(connection);
            match &stop {
                Stop::Shutdown(text) => {
                    Reason::Sent(harden(cease(Cease::AdministrativeShutdown, text), hard))
                }
                Stop::Deconfigured => {
                    Reason::Sent(harden(Notification::cease(Cease::PeerDeconfigured), hard))
                }
                Stop::Restart => Reason::Restart,
            }
        };
        for connection in std::mem::take(&mut self.connections) {
            let reason = reason(&connection);
            self.close(connection, reason, PerFamily::default());
        }
        for family in self.stale.drop_all() {
            self.actions.push_back(Action::Purge(family));
        }
        self.phase = Phase::Stopped;
        self.retry = None;
        self.error_wait.forget();
    }

    pub(super) fn reset(&mut self, reset: Reset, now: Time) {
        let Some((id, negotiated)) = self.established() else { return self.reconfigured(now) };
        let hard = negotiated.graceful_restart.is_some_and(|gr| gr.notification);
        let (notification, wait) = match reset {
            Reset::Administrative(text) => (cease(Cease::AdministrativeReset, &text), None),
            Reset::ConfigurationChange => (Notification::cease(Cease::OtherConfigurationChange), None),
            Reset::OutOfResources => (harden(Notification::cease(Cease::OutOfResources), hard), None),
            Reset::Error(notification) => (notification, None),
            Reset::MaxPrefixes { family, limit, wait } => {
                (harden(max_prefixes(family, limit), hard), Some(wait))
            }
        };
        self.fail(id, notification, now);
        match wait {
            None => {}
            Some(Some(wait)) => self.wait_after_error(wait, now),
            Some(None) => {
                self.phase = Phase::Stopped;
                self.retry = None;
            }
        }
    }

    /// What the OPEN says has changed: whatever is under way starts over, at once.
    pub(super) fn reconfigured(&mut self, now: Time) {
        if self.phase == Phase::Stopped {
            return;
        }
        let under_way: Vec<ConnId> = self.connections.iter().map(|c| c.id).collect();
        for id in under_way {
            if self.connection(id).is_some_and(|c| c.state() == State::Connect) {
                self.refuse(id);
            } else {
                self.fail(id, Notification::cease(Cease::OtherConfigurationChange), now);
            }
        }
        self.phase = Phase::Running;
        self.error_wait.forget();
        self.retry = None;
        self.plan_connect(self.settings.timers.connect_delay, now);
    }

    /// Ends a connection, and with it the session where it was the Established one; plans what comes next.
    pub(super) fn end(&mut self, id: ConnId, reason: Reason, now: Time) {
        let Some(at) = self.connections.iter().position(|c| c.id == id) else { return };
        let connection = self.connections.remove(at);
        let was = connection.state();
        let keep = kept(&connection, &reason);
        if let Stage::Established(negotiated) = &connection.stage {
            let time = negotiated.graceful_restart.map_or(0, |gr| gr.restart_time);
            self.stale.gone(keep, Duration::from_secs(u64::from(time)), now);
        }
        let verdict = match &reason {
            Reason::Sent(notification) => verdict::on_sent(notification),
            Reason::Received(notification) => verdict::on_received(notification),
            _ => Verdict::Retry,
        };
        self.last_end = Some((now, reason.clone()));
        self.close(connection, reason, keep);
        match verdict {
            Verdict::Wait if self.connections.iter().all(|c| c.state() <= State::Connect) => {
                let wait = self.error_wait.next(&self.settings.timers, now);
                self.wait_after_error(wait, now);
            }
            Verdict::WithoutCapabilities if was == State::OpenSent && self.settings.families.ipv4 => {
                self.capabilities = false;
                self.plan_connect(self.settings.timers.connect_delay, now);
            }
            _ if was == State::Established => self.plan_connect(self.settings.timers.connect_delay, now),
            _ => self.plan_connect(self.connect_retry(), now),
        }
    }

    /// Ends a connection that shall not become the session, while another does or may.
    pub(super) fn refuse(&mut self, id: ConnId) {
        if let Some(at) = self.connections.iter().position(|c| c.id == id) {
            let connection = self.connections.remove(at);
            self.close(connection, Reason::Sent(Notification::cease(Cease::Collision)), PerFamily::default());
        }
    }

    fn close(&mut self, connection: Connection, reason: Reason, keep: PerFamily<bool>) {
        if let Reason::Sent(notification) = &reason
            && connection.has_sent_open()
        {
            self.actions.push_back(Action::Send(connection.id, encoded(|out| notification.encode(out))));
        }
        self.actions.push_back(Action::Close(connection.id));
        if let Stage::Established(_) = connection.stage {
            self.actions.push_back(Action::Down(Down { connection: connection.id, reason, keep }));
        }
    }

    fn wait_after_error(&mut self, wait: Duration, now: Time) {
        let attempts: Vec<ConnId> = self.connections.iter().map(|c| c.id).collect();
        attempts.into_iter().for_each(|id| self.refuse(id));
        self.phase = Phase::ErrorWait(now + wait);
        self.retry = None;
    }
}

/// Whether a NOTIFICATION leaves routes in place on this connection, so that one that shall not must be a hard reset.
fn keeps_over_notification(connection: &Connection) -> bool {
    let gr = |negotiated: &Negotiated| negotiated.graceful_restart.is_some_and(|gr| gr.notification);
    connection.negotiated().is_some_and(gr)
}

/// Families whose routes are kept when the connection ends like this (RFC 4724 §4.2, RFC 8538 §4).
fn kept(connection: &Connection, reason: &Reason) -> PerFamily<bool> {
    let Some(gr) = connection.negotiated().and_then(|n| n.graceful_restart) else {
        return PerFamily::default();
    };
    let keeps = match reason {
        Reason::Connection(_) | Reason::Replaced | Reason::SendHoldTimerExpired => true,
        Reason::Sent(n) | Reason::Received(n) => gr.notification && !n.is_cease(Cease::HardReset),
        Reason::Restart => false,
    };
    if keeps { gr.families } else { PerFamily::default() }
}

/// With the text (RFC 9003) where there is one.
fn cease(reason: Cease, text: &str) -> Notification {
    if text.is_empty() { Notification::cease(reason) } else { Notification::shutdown(reason, text) }
}

/// With the limit, as RFC 4486 §4 has it.
fn max_prefixes(family: Family, limit: u32) -> Notification {
    let mut data = Vec::from(family.afi().to_be_bytes());
    data.push(family.safi());
    data.extend(limit.to_be_bytes());
    Notification { data, ..Notification::cease(Cease::MaxPrefixes) }
}

/// As a hard reset, where the other side would keep our routes otherwise.
fn harden(notification: Notification, hard: bool) -> Notification {
    if hard { notification.hard_reset() } else { notification }
}
