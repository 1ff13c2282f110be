//! The session as its shell sees it.

mod collision;
mod deferral;
mod graceful;
mod negotiation;
mod pair;
mod random;
mod settings;
mod table;
mod world;

use crate::*;
use bgp_wire::{Capability, Family, Notification, Open, PerFamily};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

pub const OUR_AS: u32 = 64512;
pub const THEIR_AS: u32 = 4_200_000_001;
pub const OUR_ID: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub const THEIR_ID: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn settings() -> Settings {
    Settings::new(OUR_AS, OUR_ID, RemoteAs::Exactly(THEIR_AS), IpAddr::V4(THEIR_ID))
}

/// The other side's OPEN, as its own settings make it.
pub fn their_open() -> Open {
    open_of(&their_settings())
}

pub fn their_settings() -> Settings {
    Settings::new(THEIR_AS, THEIR_ID, RemoteAs::Exactly(OUR_AS), IpAddr::V4(OUR_ID))
}

pub fn open_of(settings: &Settings) -> Open {
    crate::negotiate::our_open(settings, false, true)
}

pub fn endpoints(remote_port: u16) -> Endpoints {
    Endpoints {
        local: SocketAddr::new(IpAddr::V4(OUR_ID), 40000),
        remote: SocketAddr::new(IpAddr::V4(THEIR_ID), remote_port),
    }
}

/// A peer under test, the time, and all it has done so far.
pub struct Bench {
    pub peer: Peer,
    pub now: Time,
    pub done: Vec<Action>,
}

impl Bench {
    pub fn new(settings: Settings) -> Self {
        Bench { peer: Peer::new(settings, 1), now: secs(1000), done: Vec::new() }
    }

    /// What the event made the peer do.
    pub fn event(&mut self, event: Event) -> Vec<Action> {
        self.peer.handle(event, self.now);
        self.drain()
    }

    /// An UPDATE was sent: nobody has to act or to be woken sooner for that.
    pub fn sent(&mut self, id: ConnId) {
        let before = self.peer.deadline();
        self.peer.sent(id, self.now);
        assert!(self.peer.deadline() >= before && self.peer.poll().is_none());
    }

    pub fn receive(&mut self, id: ConnId, message: Received) -> Vec<Action> {
        self.event(Event::Received(id, message))
    }

    pub fn drain(&mut self) -> Vec<Action> {
        let actions: Vec<Action> = std::iter::from_fn(|| self.peer.poll()).collect();
        self.done.extend(actions.iter().cloned());
        actions
    }

    /// Lets time pass, every deadline in its turn; what was done meanwhile.
    pub fn sleep(&mut self, time: Duration) -> Vec<Action> {
        let end = self.now + time;
        let mut actions = Vec::new();
        while let Some(deadline) = self.peer.deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            actions.extend(self.event(Event::Timer));
            assert!(self.peer.deadline().is_none_or(|next| next > self.now), "a deadline was not handled");
        }
        self.now = end;
        actions
    }

    /// Starts the peer and waits for its attempt.
    pub fn connecting(settings: Settings) -> (Self, ConnId) {
        let mut bench = Bench::new(settings);
        bench.event(Event::Start);
        let actions = bench.sleep(secs(2));
        let [Action::Connect(id)] = actions[..] else { panic!("{actions:?}") };
        (bench, id)
    }

    /// Our attempt succeeds, our OPEN goes out.
    pub fn open_sent(settings: Settings) -> (Self, ConnId) {
        let (mut bench, id) = Bench::connecting(settings);
        bench.event(Event::Connected(id, endpoints(179)));
        assert_eq!(bench.peer.state(), State::OpenSent);
        (bench, id)
    }

    pub fn open_confirm(settings: Settings, their_open: Open) -> (Self, ConnId) {
        let (mut bench, id) = Bench::open_sent(settings);
        bench.receive(id, Received::Open(their_open));
        assert_eq!(bench.peer.state(), State::OpenConfirm);
        (bench, id)
    }

    pub fn established(settings: Settings, their_open: Open) -> (Self, ConnId) {
        let (mut bench, id) = Bench::open_confirm(settings, their_open);
        bench.receive(id, Received::Keepalive);
        assert_eq!(bench.peer.state(), State::Established);
        (bench, id)
    }

    /// Another established session of the same peer, on a connection of theirs.
    pub fn back(&mut self, their_open: Open) -> (ConnId, Vec<Action>) {
        let id = self.peer.accept(endpoints(50001), self.now).expect("accepted");
        let mut actions = self.receive(id, Received::Open(their_open));
        actions.extend(self.receive(id, Received::Keepalive));
        assert_eq!(self.peer.state(), State::Established);
        (id, actions)
    }
}

/// The NOTIFICATIONs among messages sent, as code and subcode.
pub fn notifications(actions: &[Action]) -> Vec<(u8, u8)> {
    let messages = actions.iter().filter_map(|action| match action {
        Action::Send(_, bytes) => Some(bytes),
        _ => None,
    });
    messages.filter(|m| m[18] == 3).map(|m| (m[19], m[20])).collect()
}

/// Messages sent, by the number of their type.
pub fn sent(actions: &[Action]) -> Vec<u8> {
    let message = |action: &Action| match action {
        Action::Send(_, bytes) => Some(bytes[18]),
        _ => None,
    };
    actions.iter().filter_map(message).collect()
}

pub fn down(actions: &[Action]) -> Option<&Down> {
    actions.iter().find_map(|action| match action {
        Action::Down(down) => Some(down),
        _ => None,
    })
}

pub fn purged(actions: &[Action]) -> Vec<Family> {
    let purge = |action: &Action| match action {
        Action::Purge(family) => Some(*family),
        _ => None,
    };
    actions.iter().filter_map(purge).collect()
}

pub const NONE: PerFamily<bool> = PerFamily { ipv4: false, ipv6: false };
pub const IPV4: PerFamily<bool> = PerFamily { ipv4: true, ipv6: false };
pub const IPV6: PerFamily<bool> = PerFamily { ipv4: false, ipv6: true };
pub const BOTH: PerFamily<bool> = PerFamily { ipv4: true, ipv6: true };

pub fn without(open: &Open, code: u8) -> Open {
    let capabilities = open.capabilities.iter().filter(|c| c.code() != code).cloned().collect();
    Open { capabilities, ..open.clone() }
}

pub fn with(open: &Open, capability: Capability) -> Open {
    let mut open = without(open, capability.code());
    open.capabilities.push(capability);
    open
}

pub fn cease(subcode: u8) -> Notification {
    Notification::new(6, subcode)
}
