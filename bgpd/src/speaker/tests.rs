//! Two speakers and a wire that delivers at once, in virtual time.

use super::*;
use bgp_rib::{Hop, Local, MaxPrefixAction, MaxPrefixes, Resolution, Source, Wanted};
use bgp_session::{Endpoints, Reason, RemoteAs, State, Stop};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

const AS: u32 = 64512;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn address(side: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1 + side as u8))
}

fn block(number: u8) -> Prefix {
    Prefix::new(IpAddr::V4(Ipv4Addr::new(172, 16, number, 0)), 24).unwrap()
}

fn settings(side: usize) -> Settings {
    let IpAddr::V4(router_id) = address(side) else { unreachable!() };
    Settings::new(AS, router_id, RemoteAs::Exactly(AS), address(1 - side))
}

fn routing(side: usize) -> PeerSettings {
    PeerSettings::new("peer", address(1 - side))
}

fn speaker(side: usize) -> Speaker {
    let IpAddr::V4(router_id) = address(side) else { unreachable!() };
    let config = RibConfig { fib: true, track_next_hops: true, ..RibConfig::new(router_id) };
    Speaker::new(config, side as u64)
}

/// Both speakers, the connections between them, and what each has told.
struct Pair {
    now: Time,
    speakers: [Speaker; 2],
    wires: Vec<[Option<Link>; 2]>,
    told: [Vec<Output>; 2],
    /// Most octets a connection takes at once.
    takes: usize,
    /// Octets that arrived at each side.
    arrived: [usize; 2],
    /// Attempts of side 1 that side 0's kernel has answered and side 0 has not yet looked at; `None` where it does at once.
    backlog: Option<usize>,
}

impl Pair {
    /// Side 0 has side 1 as its neighbour; side 1 is up to `prepare`.
    fn new(prepare: impl FnOnce(&mut Speaker)) -> Self {
        let mut speakers = [speaker(0), speaker(1)];
        let peer = speakers[0].add(settings(0), routing(0));
        prepare(&mut speakers[1]);
        speakers[0].start(peer, secs(1));
        let told = [Vec::new(), Vec::new()];
        let mut pair = Pair {
            now: secs(1),
            speakers,
            wires: Vec::new(),
            told,
            takes: usize::MAX,
            arrived: [0; 2],
            backlog: None,
        };
        pair.settle();
        pair
    }

    fn configured() -> Self {
        Pair::new(|speaker| {
            let peer = speaker.add(Settings { passive: true, ..settings(1) }, routing(1));
            speaker.start(peer, secs(1));
        })
    }

    fn up() -> Self {
        let mut pair = Pair::configured();
        pair.run(secs(3));
        assert_eq!(pair.states(), [Some(State::Established); 2]);
        pair
    }

    fn states(&self) -> [Option<State>; 2] {
        [0, 1].map(|side| self.speakers[side].peers().next().map(|(_, session)| session.state()))
    }

    fn peer(&self, side: usize) -> PeerId {
        self.speakers[side].peers().next().expect("a neighbour").0
    }

    fn end(&mut self, side: usize, link: Link) -> Option<&mut [Option<Link>; 2]> {
        self.wires.iter_mut().find(|wire| wire[side] == Some(link))
    }

    fn deliver(&mut self, to: usize, link: Link, octets: &[u8]) {
        self.arrived[to] += octets.len();
        self.speakers[to].received(link, octets, self.now);
    }

    fn output(&mut self, side: usize, output: Output) {
        match output {
            Output::Connect(link) => {
                let socket = |side: usize, port| SocketAddr::new(address(side), port);
                let ends = [socket(side, 40000), socket(1 - side, 179)];
                let here = Endpoints { local: ends[0], remote: ends[1] };
                let there = Endpoints { local: ends[1], remote: ends[0] };
                if side == 1
                    && let Some(waiting) = &mut self.backlog
                {
                    *waiting += 1;
                    return self.speakers[side].connected(link, here, self.now);
                }
                match self.speakers[1 - side].accept(there, self.now) {
                    Some(accepted) => {
                        let mut wire = [None; 2];
                        (wire[side], wire[1 - side]) = (Some(link), Some(accepted));
                        self.wires.push(wire);
                        self.speakers[side].connected(link, here, self.now);
                    }
                    None => self.speakers[side].closed(link, "connection refused", self.now),
                }
            }
            Output::Close(link, last_words) => {
                let other = self.end(side, link).and_then(|wire| {
                    wire[side] = None;
                    wire[1 - side].take()
                });
                if let Some(other) = other {
                    self.deliver(1 - side, other, &last_words.concat());
                    self.speakers[1 - side].closed(other, "closed by peer", self.now);
                }
            }
            told => self.told[side].push(told),
        }
    }

    /// Until nobody wants anything more.
    fn settle(&mut self) {
        loop {
            let mut idle = true;
            for side in [0, 1] {
                while let Some(output) = self.speakers[side].poll() {
                    idle = false;
                    self.output(side, output);
                }
                let rib = self.speakers[side].rib_mut();
                for wanted in rib.take_wanted() {
                    if let Wanted::Track(next_hop) = wanted {
                        let hops =
                            Arc::from([Hop { gateway: Some(next_hop.address), link: 1, onlink: false }]);
                        rib.next_hop(next_hop, Resolution::Via { metric: 1, hops });
                    }
                }
                self.speakers[side].flush();
                for link in self.speakers[side].take_writable() {
                    idle = false;
                    self.write(side, link);
                }
            }
            if idle {
                return;
            }
        }
    }

    fn write(&mut self, side: usize, link: Link) {
        loop {
            let octets: Vec<u8> =
                self.speakers[side].chunks(link).flat_map(|chunk| chunk.to_vec()).take(self.takes).collect();
            let Some(other) =
                self.end(side, link).and_then(|wire| wire[1 - side]).filter(|_| !octets.is_empty())
            else {
                return;
            };
            self.speakers[side].wrote(link, octets.len(), self.now);
            self.deliver(1 - side, other, &octets);
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let deadlines = [0, 1].map(|side| self.speakers[side].deadline(self.now));
            let Some(next) = deadlines.into_iter().flatten().min().filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            self.speakers.iter_mut().for_each(|speaker| speaker.wake(self.now));
            self.settle();
            for side in [0, 1] {
                assert!(self.speakers[side].deadline(self.now).is_none_or(|next| next > self.now));
            }
        }
        self.now = end;
    }

    fn announce(&mut self, side: usize, blocks: impl IntoIterator<Item = u8>) {
        blocks
            .into_iter()
            .for_each(|number| self.speakers[side].rib_mut().originate(block(number), Local::block()));
        self.settle();
    }

    /// What a side's FIB is told since the last time: which destinations came (`true`) and went.
    fn fib(&mut self, side: usize) -> Vec<(Prefix, bool)> {
        let mut changes = Vec::new();
        self.speakers[side].rib_mut().drain_fib(|prefix, route| changes.push((prefix, route.is_some())));
        changes.sort();
        changes
    }
}

#[test]
fn routes_go_across_and_are_withdrawn() {
    let mut pair = Pair::up();
    pair.announce(0, [1, 2]);
    assert_eq!(pair.fib(1), [(block(1), true), (block(2), true)]);
    pair.speakers[0].rib_mut().withdraw_origin(block(1), Source::Static);
    pair.settle();
    assert_eq!(pair.fib(1), [(block(1), false)]);
}

/// Side 1 has sent its OPEN on a connection of its own, which would win a collision, when the first UPDATE comes on the one
/// that side 0 made: with ADD-PATH, which the OPENs have agreed on.
#[test]
fn the_first_update_may_come_before_a_collision_is_settled() {
    let mut pair = Pair::new(|speaker| {
        let peer = speaker.add(settings(1), routing(1));
        speaker.start(peer, secs(0));
    });
    pair.backlog = Some(0);
    pair.announce(0, 1..=9);
    pair.run(secs(9));
    assert_eq!(pair.backlog, Some(1), "the attempt came first");
    assert_eq!(pair.states(), [Some(State::Established); 2]);
    assert_eq!(pair.fib(1).len(), 9);
    assert!(!pair.told.iter().flatten().any(|told| matches!(told, Output::Down(..))), "{:?}", pair.told);
}

#[test]
fn a_socket_that_takes_little_at_a_time_changes_nothing() {
    for takes in [1, 7, 19, 100] {
        let mut pair = Pair::configured();
        pair.takes = takes;
        pair.announce(0, 0..100);
        pair.run(secs(300));
        assert_eq!(pair.fib(1).len(), 100, "{takes} octets at a time");
        assert!(pair.told[0].iter().all(|told| matches!(told, Output::Up(_))), "{:?}", pair.told[0]);
    }
}

#[test]
fn keepalives_keep_an_idle_session() {
    let mut pair = Pair::up();
    let before = pair.arrived;
    pair.run(secs(3600));
    assert_eq!(pair.states(), [Some(State::Established); 2]);
    assert_eq!(pair.told[0].len(), 1);
    let keepalives = (pair.arrived[0] - before[0]) / 19;
    assert!((45..=60).contains(&keepalives), "every 60 to 80 seconds: {keepalives}");
}

#[test]
fn a_neighbour_taken_away_takes_its_routes_along_on_both_sides() {
    let mut pair = Pair::up();
    pair.announce(0, [1]);
    pair.announce(1, [2]);
    assert_eq!(pair.fib(1), [(block(1), true), (block(2), true)]);
    let peer = pair.peer(0);
    pair.speakers[0].remove(peer, pair.now);
    pair.settle();
    assert_eq!(pair.speakers[0].peers().count(), 0);
    assert_eq!(pair.fib(1), [(block(1), false)], "told by a hard reset, which leaves nothing stale");
    let Some(Output::Down(_, Reason::Received(said))) = pair.told[1].last() else {
        panic!("{:?}", pair.told[1])
    };
    assert_eq!(said.to_string(), "Cease: Hard Reset (Cease: Peer De-configured)");
}

#[test]
fn an_attempt_that_is_refused_comes_again() {
    let mut pair = Pair::new(|_| {});
    pair.run(secs(30));
    assert!(pair.wires.is_empty());
    let peer = pair.speakers[1].add(Settings { passive: true, ..settings(1) }, routing(1));
    pair.speakers[1].start(peer, pair.now);
    pair.run(secs(6));
    assert_eq!(pair.states(), [Some(State::Established); 2]);
}

fn ranged(limit: Option<u32>) -> Pair {
    Pair::new(|speaker| {
        let range = Range { settings: settings(1), routing: PeerSettings::new("pods ", address(1)), limit };
        speaker.set_range(Prefix::new(address(0), 24).unwrap(), range);
    })
}

#[test]
fn a_neighbour_from_a_range_comes_and_goes() {
    let mut pair = ranged(Some(1));
    pair.run(secs(3));
    assert_eq!(pair.states(), [Some(State::Established); 2]);
    let came = pair.peer(1);
    assert_eq!(pair.speakers[1].rib().settings(came).name.as_ref(), "pods 10.0.0.1");
    assert_eq!(pair.told[1], [Output::Came(came), Output::Up(came)]);
    pair.announce(0, [1]);
    assert_eq!(pair.fib(1), [(block(1), true)]);
    let peer = pair.peer(0);
    pair.speakers[0].stop(peer, Stop::Shutdown(String::new()), pair.now);
    pair.settle();
    assert_eq!(pair.told[1].last(), Some(&Output::Gone(came)));
    assert_eq!((pair.speakers[1].peers().count(), pair.fib(1)), (0, vec![(block(1), false)]));
    pair.speakers[0].start(peer, pair.now);
    pair.run(secs(3));
    assert_eq!(pair.states(), [Some(State::Established); 2], "and again");
}

#[test]
fn a_range_that_is_full_or_gone_lets_nobody_in() {
    let mut pair = ranged(Some(0));
    pair.run(secs(30));
    assert_eq!(pair.told[1], []);
    let mut pair = ranged(None);
    pair.run(secs(3));
    pair.speakers[1].remove_range(Prefix::new(address(0), 24).unwrap(), Stop::Deconfigured, pair.now);
    pair.settle();
    assert!(matches!(pair.told[1][..], [.., Output::Down(..), Output::Gone(_)]), "{:?}", pair.told[1]);
    pair.run(secs(30));
    assert_eq!(pair.speakers[1].peers().count(), 0);
}

#[test]
fn one_that_announces_too_much_is_dropped_as_wanted() {
    for (action, state) in [
        (MaxPrefixAction::Warn, State::Established),
        (MaxPrefixAction::Block, State::Established),
        (MaxPrefixAction::Restart, State::Idle),
        (MaxPrefixAction::Disable, State::Idle),
    ] {
        let mut pair = Pair::up();
        let peer = pair.peer(1);
        let max_prefixes = Some(MaxPrefixes { limit: 2, action });
        pair.speakers[1].rib_mut().set_peer(peer, PeerSettings { max_prefixes, ..routing(1) });
        pair.settle();
        pair.announce(0, 1..=5);
        assert_eq!(pair.states()[1], Some(state), "{action:?}");
        let exceeded = pair.told[1].iter().filter(|told| matches!(told, Output::LimitExceeded(..))).count();
        assert_eq!(exceeded, 1, "{action:?}");
        pair.run(secs(100));
        let sessions = pair.told[1].iter().filter(|told| matches!(told, Output::Up(_))).count();
        assert_eq!(sessions > 1, action == MaxPrefixAction::Restart, "{action:?}: {sessions} sessions");
    }
}

#[test]
fn a_restart_is_silent_until_it_has_learnt_and_costs_no_route() {
    let mut pair = Pair::up();
    pair.announce(0, [1]);
    pair.announce(1, [2]);
    pair.fib(0);

    // side 1 dies; side 0 keeps its route
    let wire = pair.wires.pop().unwrap();
    pair.speakers[0].closed(wire[0].unwrap(), "connection reset by peer", pair.now);
    pair.speakers[1] = speaker(1);
    pair.settle();
    let peer = pair.speakers[1].add(Settings { passive: true, ..settings(1) }, routing(1));
    pair.speakers[1].restarting(secs(120), pair.now);
    pair.speakers[1].start(peer, pair.now);
    pair.speakers[1].rib_mut().originate(block(2), Local::block());
    pair.told[1].clear();
    assert_eq!(pair.fib(0), [], "kept");
    assert!(pair.speakers[1].is_restarting());

    pair.run(secs(3));
    let deferred: Vec<_> = pair.told[1].iter().filter(|told| matches!(told, Output::Deferred(_))).collect();
    assert_eq!(deferred.len(), 4, "both families, selection and stale routes: {deferred:?}");
    assert!(!pair.speakers[1].is_restarting());
    let went: Vec<_> = pair.fib(0).into_iter().filter(|(_, there)| !there).collect();
    assert_eq!(went, [], "announced again before the End-of-RIB");
    assert_eq!(pair.fib(1), [(block(1), true), (block(2), true)]);
}

#[test]
fn settings_that_move_a_neighbour_move_who_is_let_in() {
    let mut pair = Pair::new(|speaker| {
        let elsewhere = Settings { remote_address: address(7), passive: true, ..settings(1) };
        let peer = speaker.add(elsewhere, routing(1));
        speaker.start(peer, secs(1));
    });
    pair.run(secs(10));
    assert!(pair.wires.is_empty(), "a stranger");
    let peer = pair.peer(1);
    pair.speakers[1].configure(peer, Settings { passive: true, ..settings(1) }, pair.now);
    pair.run(secs(6));
    assert_eq!(pair.states(), [Some(State::Established); 2]);
}
