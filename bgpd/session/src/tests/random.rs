//! Any event at any time, sensible or not.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

#[derive(Debug, Clone)]
enum Step {
    Start,
    Stop(Stop),
    Reset(Reset),
    Sleep(u64),
    Accept,
    /// To one of the connections there ever were.
    Connected(usize),
    Closed(usize),
    Receive(usize, Received),
    EndOfRib(usize),
    Sent(usize),
    Blocked(usize, bool),
    Configure(Box<Settings>),
}

fn received() -> impl Strategy<Value = Received> {
    prop_oneof![
        4 => Just(Received::Open(their_open())),
        1 => Just(Received::Open(without(&their_open(), 64))),
        1 => Just(Received::Open(Open { router_id: Ipv4Addr::new(1, 1, 1, 1), ..their_open() })),
        1 => Just(Received::Open(Open { my_as: 1, capabilities: Vec::new(), ..their_open() })),
        4 => Just(Received::Keepalive),
        2 => Just(Received::Update),
        2 => (1u8..8, 0u8..10).prop_map(|(code, sub)| Received::Notification(Notification::new(code, sub))),
        1 => Just(Received::Malformed(Notification::new(1, 1))),
    ]
}

fn changed_settings() -> impl Strategy<Value = Step> {
    (
        any::<bool>(),
        any::<bool>(),
        proptest::option::of(0u64..10),
        0u64..3,
        prop_oneof![Just(0u16), 3u16..300],
    )
        .prop_map(|(passive, graceful, delay_open, connect_retry, hold_time)| {
            let mut settings = settings();
            settings.passive = passive;
            settings.graceful_restart = settings.graceful_restart.filter(|_| graceful);
            settings.timers.delay_open = delay_open.map(secs);
            settings.timers.connect_retry = secs(connect_retry);
            settings.timers.hold_time = hold_time;
            Step::Configure(Box::new(settings))
        })
}

fn step() -> impl Strategy<Value = Step> {
    let stop = prop_oneof![Just(Stop::Shutdown("x".into())), Just(Stop::Deconfigured), Just(Stop::Restart)];
    let reset = prop_oneof![
        Just(Reset::Administrative("x".into())),
        Just(Reset::ConfigurationChange),
        Just(Reset::OutOfResources),
        Just(Reset::Error(Notification::new(3, 1))),
        proptest::option::of(0u64..100).prop_map(|wait| Reset::MaxPrefixes {
            family: Family::Ipv4Unicast,
            limit: 1,
            wait: wait.map(secs)
        }),
    ];
    prop_oneof![
        2 => Just(Step::Start),
        1 => stop.prop_map(Step::Stop),
        1 => reset.prop_map(Step::Reset),
        4 => (0u64..400).prop_map(Step::Sleep),
        4 => Just(Step::Accept),
        6 => (0usize..4).prop_map(Step::Connected),
        2 => (0usize..4).prop_map(Step::Closed),
        16 => (0usize..4, received()).prop_map(|(which, message)| Step::Receive(which, message)),
        1 => (0usize..4).prop_map(Step::EndOfRib),
        1 => (0usize..4).prop_map(Step::Sent),
        1 => (0usize..4, any::<bool>()).prop_map(|(which, blocked)| Step::Blocked(which, blocked)),
        1 => changed_settings(),
    ]
}

/// What the shell would hold the peer to.
struct Shell {
    bench: Bench,
    /// All connections there ever were, the latest last.
    all: Vec<ConnId>,
    connecting: BTreeSet<ConnId>,
    open: BTreeSet<ConnId>,
    session: Option<ConnId>,
}

impl Shell {
    fn check(&mut self) {
        for action in std::mem::take(&mut self.bench.done) {
            match action {
                Action::Connect(id) => {
                    assert!(!self.all.contains(&id), "a name is used twice");
                    assert!(self.connecting.is_empty(), "two attempts at once");
                    self.connecting.insert(id);
                    self.all.push(id);
                }
                Action::Send(id, bytes) => {
                    assert!(self.open.contains(&id), "sends on {id:?}, which is not open");
                    assert!(bytes.len() >= 19);
                }
                Action::Close(id) => {
                    assert!(self.open.remove(&id) || self.connecting.remove(&id), "closes {id:?} again");
                }
                Action::Established(id, _) => {
                    assert!(self.open.contains(&id));
                    assert_eq!(self.session.replace(id), None, "two sessions");
                }
                Action::Down(down) => assert_eq!(self.session.take(), Some(down.connection)),
                Action::Purge(_) | Action::Refresh(..) => {}
            }
        }
        assert_eq!(self.bench.peer.established().map(|(id, _)| id), self.session);
        assert_eq!(self.bench.peer.state() == State::Established, self.session.is_some());
        assert!(self.open.len() <= 3, "{:?}", self.open);
        if self.bench.peer.state() == State::Idle {
            assert!(self.open.is_empty() && self.connecting.is_empty(), "connections in Idle");
        }
        if self.session.is_some() || self.bench.peer.settings().passive {
            assert!(self.connecting.is_empty(), "an attempt that is not wanted");
        }
    }

    fn pick(&self, which: usize) -> Option<ConnId> {
        self.all.iter().rev().nth(which).copied()
    }

    fn step(&mut self, step: Step) {
        let bench = &mut self.bench;
        match step {
            Step::Start => drop(bench.event(Event::Start)),
            Step::Stop(stop) => drop(bench.event(Event::Stop(stop))),
            Step::Reset(reset) => drop(bench.event(Event::Reset(reset))),
            Step::Sleep(time) => drop(bench.sleep(secs(time))),
            Step::Accept => {
                if let Some(id) = bench.peer.accept(endpoints(50000), bench.now) {
                    assert!(!self.all.contains(&id));
                    self.all.push(id);
                    self.open.insert(id);
                }
                self.bench.drain();
            }
            Step::Configure(settings) => {
                bench.peer.configure(*settings, bench.now);
                bench.drain();
            }
            Step::Connected(which) => {
                if let Some(id) = self.pick(which) {
                    if self.connecting.remove(&id) {
                        self.open.insert(id);
                    }
                    self.bench.event(Event::Connected(id, endpoints(179)));
                }
            }
            Step::Closed(which) => {
                if let Some(id) = self.pick(which) {
                    self.bench.event(Event::Closed(id, "reset".into()));
                }
            }
            Step::Receive(which, message) => {
                if let Some(id) = self.pick(which) {
                    self.bench.receive(id, message);
                }
            }
            Step::EndOfRib(which) => {
                if let Some(id) = self.pick(which) {
                    self.bench.event(Event::EndOfRib(id, Family::Ipv4Unicast));
                }
            }
            Step::Sent(which) => {
                if let Some(id) = self.pick(which) {
                    self.bench.sent(id);
                }
            }
            Step::Blocked(which, blocked) => {
                if let Some(id) = self.pick(which) {
                    self.bench.event(Event::Blocked(id, blocked));
                }
            }
        }
        self.check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_order_of_events_breaks_a_promise(steps in proptest::collection::vec(step(), 1..80)) {
        let mut shell = Shell {
            bench: Bench::new(settings()),
            all: Vec::new(),
            connecting: BTreeSet::new(),
            open: BTreeSet::new(),
            session: None,
        };
        shell.step(Step::Start);
        for step in steps {
            shell.step(step);
        }
        // whatever happened, stopping leaves nothing
        shell.step(Step::Stop(Stop::Deconfigured));
        prop_assert!(shell.bench.peer.is_quiet() && shell.bench.peer.deadline().is_none());
    }
}
