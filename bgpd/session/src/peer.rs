//! One peer: up to one attempt of ours, connections of theirs, and at most one Established session among them.

mod ending;
mod messages;
mod stale;

use crate::connection::{Connection, Origin, Stage, seconds};
use crate::error_wait::ErrorWait;
use crate::event::{Action, ConnId, Endpoints, Event, Reason, State, Time};
use crate::jitter::Jitter;
use crate::negotiate::{self, Negotiated};
use crate::settings::{Change, Settings};
use bgp_wire::{Codec, Family, Notification};
use bytes::Bytes;
use stale::Stale;
use std::collections::VecDeque;
use std::time::Duration;

/// Least time between two attempts to connect, whatever the settings say.
const CONNECT_RETRY_MIN: Duration = Duration::from_secs(1);

/// The session with one peer: feed it events, do what [`Peer::poll`] says, and wake it at [`Peer::deadline`].
#[derive(Debug)]
pub struct Peer {
    settings: Settings,
    phase: Phase,
    /// Our OPENs say that we have just restarted.
    restarting: bool,
    /// Our OPENs offer capabilities; the other side may have refused every optional parameter.
    capabilities: bool,
    /// ConnectRetryTimer, or the delay before the first attempt.
    retry: Option<Time>,
    error_wait: ErrorWait,
    connections: Vec<Connection>,
    stale: Stale,
    actions: VecDeque<Action>,
    next_id: u32,
    jitter: Jitter,
    last_end: Option<(Time, Reason)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No session is wanted.
    Stopped,
    /// Not before this time: there was an error (IdleHoldTimer).
    ErrorWait(Time),
    /// A session is wanted.
    Running,
}

impl Peer {
    /// A stopped peer; `seed` decides how timers are spread.
    pub fn new(settings: Settings, seed: u64) -> Self {
        Peer {
            settings,
            phase: Phase::Stopped,
            restarting: false,
            capabilities: true,
            retry: None,
            error_wait: ErrorWait::default(),
            connections: Vec::new(),
            stale: Stale::default(),
            actions: VecDeque::new(),
            next_id: 0,
            jitter: Jitter::new(seed),
            last_end: None,
        }
    }

    /// Takes in what happened. Events of connections that the session has closed are ignored.
    pub fn handle(&mut self, event: Event, now: Time) {
        match event {
            Event::Start => self.start(now),
            Event::Stop(stop) => self.stop(stop),
            Event::Reset(reset) => self.reset(reset, now),
            Event::Timer => self.timer(now),
            Event::Connected(id, endpoints) => self.connected(id, endpoints, now),
            Event::ConnectFailed(id, text) | Event::Closed(id, text) => {
                self.end(id, Reason::Connection(text), now);
            }
            Event::Received(id, message) => self.received(id, message, now),
            Event::EndOfRib(id, family) => {
                if self.established().is_some_and(|(established, _)| established == id) {
                    self.stale.forget(family);
                }
            }
            Event::Blocked(id, blocked) => {
                if let Some(connection) = self.connection(id) {
                    connection.blocked(blocked, now);
                }
            }
        }
        // a rival may be gone
        self.establish_confirmed(now);
    }

    /// An UPDATE was sent: the next KEEPALIVE can wait. [`Peer::deadline`] is no earlier than before, and there is nothing
    /// new to [`Peer::poll`]: those who send to thousands need not ask.
    pub fn sent(&mut self, id: ConnId, now: Time) {
        self.restart_keepalive(id, now);
    }

    /// The other side has connected (event 17). `None` refuses: the shell closes without a word.
    pub fn accept(&mut self, endpoints: Endpoints, now: Time) -> Option<ConnId> {
        if self.phase != Phase::Running || !self.may_accept() {
            return None;
        }
        let older =
            self.connections.iter().find(|c| c.origin == Origin::Incoming && c.state() <= State::OpenSent);
        if let Some(older) = older.map(|c| c.id) {
            self.refuse(older);
        }
        let id = self.new_id();
        self.connections.push(Connection::new(id, Origin::Incoming, Stage::DelayOpen(endpoints)));
        self.open(id, endpoints, now);
        self.establish_confirmed(now);
        Some(id)
    }

    /// Whether another connection could become the session.
    fn may_accept(&mut self) -> bool {
        match self.connections.iter().find(|c| c.state() >= State::OpenConfirm) {
            None => true,
            Some(connection) => match &connection.stage {
                Stage::Established(negotiated) if negotiated.graceful_restart.is_some() => true,
                Stage::Established(_) => {
                    // Either side may have lost the other without a trace. What we send now breaks the connection
                    // if they have, and their next attempt is accepted.
                    let id = connection.id;
                    self.send_keepalive(id);
                    false
                }
                _ => {
                    // one of theirs supersedes their older one, and ours where the collision would go to them
                    let winner = self.collision_winner(connection.negotiated());
                    connection.origin == Origin::Incoming || winner == Origin::Incoming
                }
            },
        }
    }

    /// Puts new settings in force and tells what that did to the session.
    pub fn configure(&mut self, settings: Settings, now: Time) -> Change {
        let change = self.settings.change(&settings);
        self.settings = settings;
        match change {
            Change::Nothing => {}
            Change::Apply => self.apply(now),
            Change::Reset => {
                self.capabilities = true;
                self.reconfigured(now);
            }
        }
        change
    }

    /// Whether our OPENs say that we have just restarted, and still have routes of our last life (RFC 4724 §4.1).
    pub fn set_restarting(&mut self, restarting: bool) {
        self.restarting = restarting;
    }

    /// What to do next; `None` when all is done. To be asked after every event.
    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to come back with [`Event::Timer`] at the latest.
    pub fn deadline(&self) -> Option<Time> {
        let phase = match self.phase {
            Phase::ErrorWait(until) => Some(until),
            Phase::Stopped | Phase::Running => None,
        };
        let connections = self.connections.iter().filter_map(Connection::deadline);
        connections.chain(phase).chain(self.retry).chain(self.stale.deadline()).min()
    }

    /// What the peer is told to do.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// State of the connection that is farthest.
    pub fn state(&self) -> State {
        match self.phase {
            Phase::Stopped | Phase::ErrorWait(_) => State::Idle,
            Phase::Running => self.connections.iter().map(Connection::state).max().unwrap_or(State::Active),
        }
    }

    /// The Established session, if there is one.
    pub fn established(&self) -> Option<(ConnId, &Negotiated)> {
        self.connections.iter().find_map(|c| match &c.stage {
            Stage::Established(negotiated) => Some((c.id, &**negotiated)),
            _ => None,
        })
    }

    /// How messages of a connection are read, once both OPENs are there.
    pub fn codec(&self, id: ConnId) -> Option<Codec> {
        let connection = self.connections.iter().find(|c| c.id == id)?;
        connection.negotiated().map(|negotiated| negotiated.codec)
    }

    /// How and when the last connection or attempt ended.
    pub fn last_end(&self) -> Option<(Time, &Reason)> {
        self.last_end.as_ref().map(|(at, reason)| (*at, reason))
    }

    /// Whether routes of this family are kept although the session is down or has not yet confirmed them.
    pub fn keeps_stale(&self, family: Family) -> bool {
        self.stale.keeps(family)
    }

    /// Whether nothing is left: no connection, no stale route. A dynamic neighbour can then be forgotten.
    pub fn is_quiet(&self) -> bool {
        self.connections.is_empty() && Family::ALL.into_iter().all(|f| !self.stale.keeps(f))
    }

    fn start(&mut self, now: Time) {
        if self.phase == Phase::Stopped {
            self.phase = Phase::Running;
            self.plan_connect(self.settings.timers.connect_delay, now);
        }
    }

    fn timer(&mut self, now: Time) {
        if matches!(self.phase, Phase::ErrorWait(until) if until <= now) {
            self.phase = Phase::Running;
            self.plan_connect(Duration::ZERO, now);
        }
        let due = |time: Option<Time>| time.is_some_and(|time| time <= now);
        let ids: Vec<ConnId> = self.connections.iter().filter(|c| due(c.deadline())).map(|c| c.id).collect();
        for id in ids {
            let Some(connection) = self.connection(id) else { continue };
            if due(connection.expires) {
                self.expired(id, now);
            } else if due(connection.send_hold) {
                self.end(id, Reason::SendHoldTimerExpired, now);
            } else {
                self.send_keepalive(id);
                self.restart_keepalive(id, now);
            }
        }
        for family in self.stale.expire(now) {
            self.actions.push_back(Action::Purge(family));
        }
        if due(self.retry) {
            self.retry = None;
            let id = self.new_id();
            let mut attempt = Connection::new(id, Origin::Outgoing, Stage::Connecting);
            attempt.expires = Some(now + self.connect_retry());
            self.connections.push(attempt);
            self.actions.push_back(Action::Connect(id));
        }
    }

    fn expired(&mut self, id: ConnId, now: Time) {
        let Some(connection) = self.connection(id) else { return };
        match connection.stage {
            Stage::Connecting => {
                self.end(id, Reason::Connection("connection timed out".into()), now);
                self.retry = self.retry.map(|_| now);
            }
            Stage::DelayOpen(endpoints) => self.send_open(id, endpoints, now),
            Stage::OpenSent(_) | Stage::OpenConfirm(_) | Stage::Established(_) => {
                self.fail(id, Notification::hold_timer_expired(), now);
            }
        }
    }

    fn connected(&mut self, id: ConnId, endpoints: Endpoints, now: Time) {
        if self.connection(id).is_some_and(|c| matches!(c.stage, Stage::Connecting)) {
            self.open(id, endpoints, now);
        }
    }

    /// TCP is there: the OPEN goes out, or waits for the other side's.
    fn open(&mut self, id: ConnId, endpoints: Endpoints, now: Time) {
        match self.settings.timers.delay_open {
            None => self.send_open(id, endpoints, now),
            Some(delay) => {
                if let Some(connection) = self.connection(id) {
                    connection.stage = Stage::DelayOpen(endpoints);
                    connection.expires = Some(now + delay);
                }
            }
        }
    }

    fn send_open(&mut self, id: ConnId, endpoints: Endpoints, now: Time) {
        let open = negotiate::our_open(&self.settings, self.restarting, self.capabilities);
        self.actions.push_back(Action::Send(id, encoded(|out| open.encode(out))));
        if let Some(connection) = self.connection(id) {
            connection.stage = Stage::OpenSent(endpoints);
            connection.heard(now);
        }
    }

    fn send_keepalive(&mut self, id: ConnId) {
        self.actions.push_back(Action::Send(id, encoded(bgp_wire::keepalive)));
    }

    fn restart_keepalive(&mut self, id: ConnId, now: Time) {
        let mut jitter = self.jitter.clone();
        if let Some(connection) = self.connection(id)
            && let Some(interval) = connection.negotiated().and_then(|n| seconds(n.keepalive_time))
        {
            // Less jitter this time must not bring it nearer: the interval is kept either way.
            connection.keepalive = connection.keepalive.max(Some(now + jitter.shorten(interval)));
            self.jitter = jitter;
        }
    }

    /// Sets ConnectRetryTimer if it does not run, or stops it where a connection of ours is not wanted.
    fn plan_connect(&mut self, wait: Duration, now: Time) {
        let busy = |c: &Connection| c.origin == Origin::Outgoing || c.state() >= State::OpenConfirm;
        let wanted =
            self.phase == Phase::Running && !self.settings.passive && !self.connections.iter().any(busy);
        self.retry = match (wanted, self.retry) {
            (false, _) => None,
            (true, Some(running)) => Some(running),
            (true, None) => Some(now + self.jitter.shorten(wait)),
        };
    }

    fn connect_retry(&self) -> Duration {
        self.settings.timers.connect_retry.max(CONNECT_RETRY_MIN)
    }

    fn apply(&mut self, now: Time) {
        let timers = self.settings.timers;
        for connection in &mut self.connections {
            if let Stage::OpenConfirm(n) | Stage::Established(n) = &mut connection.stage {
                n.keepalive_time = negotiate::keepalive_time(&timers, n.hold_time);
                let next = seconds(n.keepalive_time).map(|interval| now + interval);
                connection.keepalive = connection.keepalive.min(next);
            }
        }
        if self.settings.passive
            && let Some(attempt) = self.connections.iter().find(|c| matches!(c.stage, Stage::Connecting))
        {
            let id = attempt.id;
            self.refuse(id);
        }
        self.plan_connect(timers.connect_delay, now);
    }

    fn connection(&mut self, id: ConnId) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|c| c.id == id)
    }

    fn new_id(&mut self) -> ConnId {
        self.next_id = self.next_id.wrapping_add(1);
        ConnId(self.next_id)
    }

    /// Says `notification` where an OPEN went before it, and ends the connection.
    fn fail(&mut self, id: ConnId, notification: Notification, now: Time) {
        self.end(id, Reason::Sent(notification), now);
    }
}

/// One message as bytes.
fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut out = Vec::new();
    encode(&mut out);
    out.into()
}
