//! Messages that came, by the state they found (RFC 4271 §8.2.2), and collisions (§6.8).

use super::Peer;
use crate::connection::{Connection, Origin, Stage};
use crate::event::{Action, ConnId, Reason, Received, State, Time};
use crate::negotiate::{self, Negotiated};
use crate::verdict;
use bgp_wire::Open;

impl Peer {
    pub(super) fn received(&mut self, id: ConnId, message: Received, now: Time) {
        let Some(connection) = self.connection(id).filter(|c| !matches!(c.stage, Stage::Connecting)) else {
            return;
        };
        match (connection.state(), message) {
            (_, Received::Malformed(notification)) => self.fail(id, notification, now),
            (_, Received::Notification(notification)) => self.end(id, Reason::Received(notification), now),
            (State::Established, Received::Keepalive | Received::Update) => connection.heard(now),
            (State::Established, Received::RouteRefresh(refresh)) => {
                connection.heard(now);
                let carried = connection.negotiated().map(|n| n.codec.families).unwrap_or_default();
                let family = refresh.family.family().filter(|family| *carried.get(*family));
                if let Some(family) = family.filter(|_| self.settings.route_refresh) {
                    self.actions.push_back(Action::Refresh(id, family, refresh.subtype));
                }
            }
            (State::OpenConfirm, Received::Keepalive) => {
                connection.confirmed = true;
                connection.heard(now);
                self.establish_confirmed(now);
            }
            // The other side has settled the collision that we still wait for.
            (State::OpenConfirm, message) if connection.confirmed => {
                self.establish(id, now);
                self.received(id, message, now);
            }
            (State::OpenSent, Received::Open(open)) => self.opened(id, &open, now),
            (State::Connect | State::Active, Received::Open(open)) => {
                if let Stage::DelayOpen(endpoints) = connection.stage {
                    self.send_open(id, endpoints, now);
                    self.opened(id, &open, now);
                }
            }
            (state, _) => self.fail(id, verdict::unexpected_message(state), now),
        }
    }

    /// The other side's OPEN came after ours went out.
    fn opened(&mut self, id: ConnId, open: &Open, now: Time) {
        let Some(endpoints) = self.connection(id).and_then(|c| c.endpoints()) else { return };
        let ours = negotiate::our_open(&self.settings, self.restarting, self.capabilities);
        let negotiated = match negotiate::negotiate(&self.settings, &ours, open, endpoints) {
            Ok(negotiated) => negotiated,
            Err(notification) => return self.fail(id, notification, now),
        };
        if !self.survives_collision(id, &negotiated, now) {
            return self.refuse(id);
        }
        self.send_keepalive(id);
        if let Some(connection) = self.connection(id) {
            connection.stage = Stage::OpenConfirm(Box::new(negotiated));
            connection.heard(now);
        }
        self.restart_keepalive(id, now);
        let attempts: Vec<ConnId> =
            self.connections.iter().filter(|c| c.state() == State::Connect).map(|c| c.id).collect();
        attempts.into_iter().for_each(|attempt| self.refuse(attempt));
        self.retry = None;
    }

    /// Settles a collision with a connection that has come at least as far; the loser of the two is closed, and where
    /// it is this one, the answer is `false`.
    fn survives_collision(&mut self, id: ConnId, negotiated: &Negotiated, now: Time) -> bool {
        let origin = self.connection(id).map(|c| c.origin);
        let Some(other) = self.connections.iter().find(|c| c.id != id && c.state() >= State::OpenConfirm)
        else {
            return true;
        };
        let other_id = other.id;
        match &other.stage {
            // The peer restarted, and its new connection is the proof (RFC 4724 §5).
            Stage::Established(old) if old.graceful_restart.is_some() && origin == Some(Origin::Incoming) => {
                self.end(other_id, Reason::Replaced, now);
                true
            }
            Stage::Established(_) => false,
            _ => {
                // Two of the same direction: the other side has given the older one up.
                let wins =
                    origin == Some(other.origin) || origin == Some(self.collision_winner(Some(negotiated)));
                if wins {
                    self.refuse(other_id);
                }
                wins
            }
        }
    }

    /// Whose connection stays: that of the side with the greater BGP identifier, of the greater AS where they are
    /// equal (RFC 6286 §2.3).
    pub(super) fn collision_winner(&self, negotiated: Option<&Negotiated>) -> Origin {
        let ours = (u32::from(self.settings.router_id), self.settings.local_as);
        let theirs = negotiated.map(|n| (u32::from(n.router_id), n.remote_as));
        if theirs.is_none_or(|theirs| ours > theirs) { Origin::Outgoing } else { Origin::Incoming }
    }

    /// A connection that both sides confirmed becomes the session, unless another could still win a collision against
    /// it: the other side may be about to decide for that one, and a session that goes again at once helps nobody.
    pub(super) fn establish_confirmed(&mut self, now: Time) {
        let confirmed = self.connections.iter().find(|c| c.confirmed && c.state() == State::OpenConfirm);
        let Some(confirmed) = confirmed else { return };
        let winner = self.collision_winner(confirmed.negotiated());
        let rival = |c: &Connection| c.state() == State::OpenSent && c.origin == winner;
        if confirmed.origin == winner || !self.connections.iter().any(rival) {
            self.establish(confirmed.id, now);
        }
    }

    fn establish(&mut self, id: ConnId, now: Time) {
        let losers: Vec<ConnId> = self.connections.iter().filter(|c| c.id != id).map(|c| c.id).collect();
        losers.into_iter().for_each(|loser| self.refuse(loser));
        let Some(connection) = self.connections.iter_mut().find(|c| c.id == id) else { return };
        let Stage::OpenConfirm(negotiated) = &connection.stage else { return };
        let negotiated = negotiated.clone();
        connection.stage = Stage::Established(negotiated.clone());
        connection.heard(now);
        self.retry = None;
        let stale_time = self.settings.graceful_restart.map(|gr| gr.stale_time).unwrap_or_default();
        for family in self.stale.back(negotiated.graceful_restart.as_ref(), stale_time, now) {
            self.actions.push_back(Action::Purge(family));
        }
        self.actions.push_back(Action::Established(id, negotiated));
    }
}
