//! Two peers and the network between them, in virtual time.
//!
//! The network delays, refuses, loses attempts, breaks connections and falls apart for a while; what TCP promises it
//! keeps: octets of one direction arrive in order, or the connection is gone.

use super::*;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

/// Side 0 or 1.
pub type Side = usize;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Arrival {
    /// A SYN, on this wire.
    Attempt,
    /// The attempt's answer.
    Answer(bool),
    Bytes(Vec<u8>),
    End,
}

/// When, in what order, at whom, on which wire, what.
type UnderWay = (Time, u64, Side, usize, Arrival);

/// One TCP connection.
#[derive(Debug, Default)]
struct Wire {
    ids: [Option<ConnId>; 2],
    /// Nothing arrives before what was sent earlier.
    last: [Time; 2],
}

pub struct World {
    pub now: Time,
    pub peers: [Peer; 2],
    wires: Vec<Wire>,
    /// Wire by side and connection.
    by_id: BTreeMap<(Side, ConnId), usize>,
    closed: BTreeSet<(Side, ConnId)>,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    sent: u64,
    /// Nothing arrives before this.
    pub partitioned_until: Time,
    /// Largest delay, in milliseconds.
    pub delay: u64,
    /// One of so many attempts is lost; 0 for none.
    pub lose: u64,
    random: u64,
    pub established: [bool; 2],
    /// How often each side was Established.
    pub sessions: [u32; 2],
    pub downs: Vec<(Side, Down)>,
}

impl World {
    pub fn new(settings: [Settings; 2], seed: u64) -> Self {
        let [a, b] = settings;
        World {
            now: secs(1),
            peers: [Peer::new(a, seed), Peer::new(b, seed.wrapping_add(1))],
            wires: Vec::new(),
            by_id: BTreeMap::new(),
            closed: BTreeSet::new(),
            under_way: BinaryHeap::new(),
            sent: 0,
            partitioned_until: Time::ZERO,
            delay: 5,
            lose: 0,
            random: seed | 1,
            established: [false; 2],
            sessions: [0; 2],
            downs: Vec::new(),
        }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.random >> 33) % below.max(1)
    }

    pub fn event(&mut self, side: Side, event: Event) {
        self.peers[side].handle(event, self.now);
        self.act(side);
    }

    fn ship(&mut self, to: Side, wire: usize, arrival: Arrival) {
        let delay = Duration::from_millis(1 + self.random(self.delay));
        let last = &mut self.wires[wire].last[to];
        *last = (*last).max(self.now + delay);
        self.sent += 1;
        self.under_way.push(Reverse((*last, self.sent, to, wire, arrival)));
    }

    /// Does what a side wants, and holds it to what it must not do.
    fn act(&mut self, side: Side) {
        while let Some(action) = self.peers[side].poll() {
            match action {
                Action::Connect(id) => {
                    let wire = self.wires.len();
                    self.wires.push(Wire::default());
                    self.name(side, id, wire);
                    if self.lose == 0 || self.random(self.lose) != 0 {
                        self.ship(1 - side, wire, Arrival::Attempt);
                    }
                }
                Action::Send(id, bytes) => {
                    assert!(!self.closed.contains(&(side, id)), "side {side} sends on a closed connection");
                    let wire = self.by_id[&(side, id)];
                    assert!(
                        self.wires[wire].ids[1 - side].is_some(),
                        "side {side} sends before it is connected"
                    );
                    self.ship(1 - side, wire, Arrival::Bytes(bytes.to_vec()));
                }
                Action::Close(id) => {
                    assert!(self.closed.insert((side, id)), "side {side} closes a connection twice");
                    let wire = self.by_id[&(side, id)];
                    self.ship(1 - side, wire, Arrival::End);
                }
                Action::Established(id, _) => {
                    assert!(!self.established[side], "side {side} has two sessions");
                    assert!(!self.closed.contains(&(side, id)));
                    self.established[side] = true;
                    self.sessions[side] += 1;
                }
                Action::Down(down) => {
                    assert!(self.established[side], "side {side} ends a session it has not");
                    self.established[side] = false;
                    self.downs.push((side, down));
                }
                Action::Purge(_) | Action::Refresh(..) => {}
            }
        }
        assert_eq!(self.peers[side].established().is_some(), self.established[side]);
    }

    fn name(&mut self, side: Side, id: ConnId, wire: usize) {
        assert!(self.by_id.insert((side, id), wire).is_none(), "a connection's name is used twice");
        self.wires[wire].ids[side] = Some(id);
    }

    fn arrive(&mut self, side: Side, wire: usize, arrival: Arrival) {
        let id = self.wires[wire].ids[side];
        let open = |world: &World| id.filter(|id| !world.closed.contains(&(side, *id)));
        match arrival {
            Arrival::Attempt => {
                let ports = endpoints(40000 + wire as u16);
                let accepted = self.peers[side].accept(ports, self.now);
                if let Some(id) = accepted {
                    self.name(side, id, wire);
                }
                self.ship(1 - side, wire, Arrival::Answer(accepted.is_some()));
                self.act(side);
            }
            Arrival::Answer(accepted) => {
                let Some(id) = open(self) else { return };
                self.event(
                    side,
                    match accepted {
                        true => Event::Connected(id, endpoints(179)),
                        false => Event::ConnectFailed(id, "connection refused".into()),
                    },
                );
                if !accepted {
                    self.closed.insert((side, id));
                }
            }
            Arrival::Bytes(bytes) => {
                let Some(id) = open(self) else { return };
                let codec = bgp_wire::Codec::default();
                let received = Received::from(&bgp_wire::decode(&bytes, &codec));
                self.event(side, Event::Received(id, received));
            }
            Arrival::End => {
                let Some(id) = open(self) else { return };
                self.closed_by_network(side, id, "closed by peer");
            }
        }
    }

    fn closed_by_network(&mut self, side: Side, id: ConnId, why: &str) {
        self.event(side, Event::Closed(id, why.into()));
        // the session gives the name back where it has not closed by itself
        self.closed.insert((side, id));
    }

    /// Breaks every connection; both sides learn of it.
    pub fn break_all(&mut self) {
        let open: Vec<_> = self.by_id.keys().filter(|key| !self.closed.contains(key)).copied().collect();
        for (side, id) in open {
            if !self.closed.contains(&(side, id)) {
                self.closed_by_network(side, id, "connection reset");
            }
        }
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_until(end, |_| false);
    }

    /// Lets time pass until both sides have the same session; how long that took.
    pub fn converge(&mut self, limit: Duration) -> Duration {
        let start = self.now;
        let both = |world: &World| world.common_session().is_some() && world.quiet_for_session();
        self.run_until(start + limit, both);
        assert!(both(self), "no common session after {limit:?}: {:?}", self.peers);
        self.now - start
    }

    /// The wire on which both sides are Established.
    pub fn common_session(&self) -> Option<usize> {
        let wire = |side: Side| Some(self.by_id[&(side, self.peers[side].established()?.0)]);
        let (a, b) = (wire(0)?, wire(1)?);
        (a == b).then_some(a)
    }

    /// No other connection can end the session any more.
    fn quiet_for_session(&self) -> bool {
        let open = |side| self.by_id.keys().filter(|key| key.0 == side && !self.closed.contains(key)).count();
        open(0) == 1 && open(1) == 1
    }

    fn run_until(&mut self, end: Time, done: impl Fn(&World) -> bool) {
        while !done(self) {
            let arrival = self.under_way.peek().map(|Reverse((at, ..))| (*at).max(self.partitioned_until));
            let deadline = |side: Side| self.peers[side].deadline();
            let next = [arrival, deadline(0), deadline(1)].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            for side in [0, 1] {
                if self.peers[side].deadline().is_some_and(|deadline| deadline <= self.now) {
                    self.event(side, Event::Timer);
                    let again = self.peers[side].deadline();
                    assert!(
                        again.is_none_or(|again| again > self.now),
                        "side {side}: a deadline was not handled"
                    );
                }
            }
            if self.now >= self.partitioned_until
                && self.under_way.peek().is_some_and(|Reverse((at, ..))| *at <= self.now)
                && let Some(Reverse((_, _, to, wire, arrival))) = self.under_way.pop()
            {
                self.arrive(to, wire, arrival);
            }
        }
        if !done(self) {
            self.now = end;
        }
    }
}
