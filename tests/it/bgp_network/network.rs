//! The wires between simulated nodes, in virtual time: attempts, octets and ends that take a while, and partitions.
//!
//! What TCP promises is kept: octets of one direction arrive in order, or the connection is gone. A partition holds
//! what is under way and loses attempts; a node that dies resets its connections, as its kernel would.

use super::node::Node;
use bgp_session::Endpoints;
use bgpd::speaker::Link;
use ocicat_tests::random::Random;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

/// Which end of a wire: 0 made the attempt.
type End = usize;

/// What arrives.
#[derive(Debug)]
enum Arrival {
    /// A SYN at end 1.
    Attempt,
    /// Its answer at end 0.
    Answer(bool),
    Octets(End, Vec<u8>),
    Closed(End),
}

#[derive(Debug)]
enum Event {
    Arrival(usize, Arrival),
    /// A node may have a deadline.
    Wake(usize),
    /// A node begins its next life.
    Boot(usize),
}

/// One TCP connection between two nodes.
#[derive(Debug)]
struct Wire {
    nodes: [usize; 2],
    /// The life of each node in which it had this connection.
    lives: [u32; 2],
    /// What the speaker at each end calls it; `None` once it is closed there.
    links: [Option<Link>; 2],
    delay: u64,
}

/// All nodes and what is under way between them.
pub struct Network {
    /// Milliseconds since the beginning.
    now: u64,
    pub nodes: Vec<Node>,
    wires: Vec<Wire>,
    by_link: BTreeMap<(usize, Link), usize>,
    events: BTreeMap<(u64, u64), Event>,
    count: u64,
    /// What a partition holds back.
    held: Vec<(usize, Arrival)>,
    /// Nodes of different groups do not reach each other.
    groups: Vec<u32>,
    /// When each node is woken next, as far as an event says so.
    wakes: Vec<u64>,
    pub random: Random,
    /// Octets carried.
    pub carried: u64,
}

impl Network {
    pub fn new(nodes: Vec<Node>, seed: u64) -> Self {
        let count = nodes.len();
        let mut network = Network {
            now: 0,
            nodes,
            wires: Vec::new(),
            by_link: BTreeMap::new(),
            events: BTreeMap::new(),
            count: 0,
            held: Vec::new(),
            groups: vec![0; count],
            wakes: vec![u64::MAX; count],
            random: Random::new(seed),
            carried: 0,
        };
        for node in 0..count {
            let start = network.random.below(1000);
            network.schedule(start, Event::Boot(node));
        }
        network
    }

    pub fn now(&self) -> Duration {
        Duration::from_millis(self.now)
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time.as_millis() as u64;
        while let Some((&(at, _), _)) = self.events.first_key_value()
            && at <= end
        {
            self.now = at;
            let mut touched = BTreeSet::new();
            while self.events.first_key_value().is_some_and(|(key, _)| key.0 == at)
                && let Some((_, event)) = self.events.pop_first()
            {
                self.event(event, &mut touched);
            }
            for node in touched {
                self.settle(node);
            }
        }
        self.now = end;
    }

    /// Splits the network; what is between the groups stops.
    pub fn partition(&mut self, groups: Vec<u32>) {
        self.groups = groups;
    }

    /// Makes it whole again; what was under way arrives.
    pub fn heal(&mut self) {
        self.groups.fill(0);
        for (wire, arrival) in std::mem::take(&mut self.held) {
            let delay = self.wires[wire].delay;
            self.schedule(delay, Event::Arrival(wire, arrival));
        }
    }

    /// A node dies without a word and comes back after a while.
    pub fn restart(&mut self, node: usize, pause: Duration) {
        self.nodes[node].die();
        for wire in 0..self.wires.len() {
            for end in [0, 1] {
                if self.wires[wire].nodes[end] == node {
                    self.close(wire, end);
                }
            }
        }
        self.schedule(pause.as_millis() as u64, Event::Boot(node));
    }

    /// Changes something about a node, and lets it tell others.
    pub fn change(&mut self, node: usize, change: impl FnOnce(&mut Node)) {
        change(&mut self.nodes[node]);
        self.settle(node);
    }

    pub fn connected(&self, a: usize, b: usize) -> bool {
        self.groups[a] == self.groups[b]
    }

    fn schedule(&mut self, delay: u64, event: Event) {
        self.count += 1;
        self.events.insert((self.now + delay, self.count), event);
    }

    fn ship(&mut self, wire: usize, arrival: Arrival) {
        let delay = self.wires[wire].delay;
        self.schedule(delay, Event::Arrival(wire, arrival));
    }

    fn event(&mut self, event: Event, touched: &mut BTreeSet<usize>) {
        match event {
            Event::Boot(node) => {
                let now = self.now();
                let seed = self.random.below(u64::MAX);
                self.nodes[node].boot(seed, now);
                touched.insert(node);
            }
            Event::Wake(node) => {
                if self.wakes[node] <= self.now {
                    self.wakes[node] = u64::MAX;
                    let now = self.now();
                    self.nodes[node].wake(now);
                    touched.insert(node);
                }
            }
            Event::Arrival(wire, arrival) => {
                let [a, b] = self.wires[wire].nodes;
                if self.connected(a, b) {
                    self.arrive(wire, arrival, touched);
                } else if !matches!(arrival, Arrival::Attempt) {
                    self.held.push((wire, arrival));
                }
            }
        }
    }

    /// The speaker's name for the connection at this end, if the node still has it.
    fn link(&self, wire: usize, end: End) -> Option<Link> {
        let Wire { nodes, lives, links, .. } = &self.wires[wire];
        links[end].filter(|_| self.nodes[nodes[end]].life == lives[end])
    }

    fn arrive(&mut self, wire: usize, arrival: Arrival, touched: &mut BTreeSet<usize>) {
        let now = self.now();
        match arrival {
            Arrival::Attempt => {
                let node = self.wires[wire].nodes[1];
                let endpoints = self.endpoints(wire, 1);
                let accepted = self.nodes[node].speaker.as_mut().and_then(|s| s.accept(endpoints, now));
                if let Some(link) = accepted {
                    self.wires[wire].lives[1] = self.nodes[node].life;
                    self.wires[wire].links[1] = Some(link);
                    self.by_link.insert((node, link), wire);
                }
                self.ship(wire, Arrival::Answer(accepted.is_some()));
                touched.insert(node);
            }
            Arrival::Answer(accepted) => {
                let Some(link) = self.link(wire, 0) else {
                    // given up in the meantime
                    return self.ship(wire, Arrival::Closed(1));
                };
                let node = self.wires[wire].nodes[0];
                let endpoints = self.endpoints(wire, 0);
                touched.insert(node);
                let Some(speaker) = &mut self.nodes[node].speaker else { return };
                if accepted {
                    speaker.connected(link, endpoints, now);
                } else {
                    speaker.closed(link, "connection refused", now);
                    self.forget(wire, 0);
                }
            }
            Arrival::Octets(end, octets) => {
                let Some(link) = self.link(wire, end) else {
                    return self.ship(wire, Arrival::Closed(1 - end));
                };
                let node = self.wires[wire].nodes[end];
                if let Some(speaker) = &mut self.nodes[node].speaker {
                    speaker.received(link, &octets, now);
                }
                touched.insert(node);
            }
            Arrival::Closed(end) => {
                let Some(link) = self.link(wire, end) else { return };
                let node = self.wires[wire].nodes[end];
                if let Some(speaker) = &mut self.nodes[node].speaker {
                    speaker.closed(link, "connection reset by peer", now);
                }
                self.forget(wire, end);
                touched.insert(node);
            }
        }
    }

    fn endpoints(&self, wire: usize, end: End) -> Endpoints {
        let address = |end: End| self.nodes[self.wires[wire].nodes[end]].address.into();
        let port = |end: End| if end == 0 { 10_000 + (wire % 50_000) as u16 } else { 179 };
        let socket = |end| SocketAddr::new(address(end), port(end));
        Endpoints { local: socket(end), remote: socket(1 - end) }
    }

    fn forget(&mut self, wire: usize, end: End) {
        if let Some(link) = self.wires[wire].links[end].take() {
            self.by_link.remove(&(self.wires[wire].nodes[end], link));
        }
    }

    /// This end is gone; the other learns of it.
    fn close(&mut self, wire: usize, end: End) {
        if self.wires[wire].links[end].is_some() {
            self.forget(wire, end);
            self.ship(wire, Arrival::Closed(1 - end));
        }
    }

    /// Does what a node wants, until it wants nothing more.
    fn settle(&mut self, node: usize) {
        for request in self.nodes[node].round(Duration::from_millis(self.now)) {
            match request {
                Request::Connect(link, to) => {
                    let wire = self.wires.len();
                    let delay = 1 + self.random.below(5);
                    let life = self.nodes[node].life;
                    let wires =
                        Wire { nodes: [node, to], lives: [life, 0], links: [Some(link), None], delay };
                    self.wires.push(wires);
                    self.by_link.insert((node, link), wire);
                    self.ship(wire, Arrival::Attempt);
                }
                Request::Write(link, octets) => {
                    let wire = self.by_link[&(node, link)];
                    let end = self.end_of(wire, node, link);
                    self.carried += octets.len() as u64;
                    self.ship(wire, Arrival::Octets(1 - end, octets));
                }
                Request::Close(link, octets) => {
                    // what the other side has closed is no more
                    let Some(&wire) = self.by_link.get(&(node, link)) else { continue };
                    let end = self.end_of(wire, node, link);
                    if !octets.is_empty() {
                        self.ship(wire, Arrival::Octets(1 - end, octets));
                    }
                    self.close(wire, end);
                }
            }
        }
        let deadline = self.nodes[node].deadline(self.now());
        if let Some(deadline) = deadline {
            // a deadline inside a millisecond is met at its end
            let at = (deadline.as_micros().div_ceil(1000) as u64).max(self.now);
            if at < self.wakes[node] {
                self.wakes[node] = at;
                self.schedule(at - self.now, Event::Wake(node));
            }
        }
    }

    fn end_of(&self, wire: usize, node: usize, link: Link) -> End {
        let wire = &self.wires[wire];
        usize::from(!(wire.nodes[0] == node && wire.links[0] == Some(link)))
    }
}

/// What a node wants of the network.
#[derive(Debug)]
pub enum Request {
    Connect(Link, usize),
    Write(Link, Vec<u8>),
    /// After these octets.
    Close(Link, Vec<u8>),
}
