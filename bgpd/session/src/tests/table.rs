//! Every state against every event (RFC 4271 §8.2.2).

use super::*;
use bgp_wire::{RefreshSubtype, RouteRefresh};

/// Where the row starts.
#[derive(Debug, Clone, Copy, PartialEq)]
enum At {
    Stopped,
    ErrorWait,
    Active,
    Connect,
    DelayOpen,
    OpenSent,
    OpenConfirm,
    Established,
}

const ALL: [At; 8] = [
    At::Stopped,
    At::ErrorWait,
    At::Active,
    At::Connect,
    At::DelayOpen,
    At::OpenSent,
    At::OpenConfirm,
    At::Established,
];

fn at(at: At) -> (Bench, ConnId) {
    match at {
        At::Stopped => (Bench::new(settings()), ConnId(0)),
        At::ErrorWait => {
            let (mut bench, id) = Bench::open_sent(settings());
            bench.receive(id, Received::Keepalive);
            (bench, id)
        }
        At::Active => {
            let (mut bench, id) = Bench::connecting(settings());
            bench.event(Event::ConnectFailed(id, "refused".into()));
            (bench, id)
        }
        At::Connect => Bench::connecting(settings()),
        At::DelayOpen => {
            let timers = Timers { delay_open: Some(secs(20)), ..Timers::default() };
            let (mut bench, id) = Bench::connecting(Settings { timers, ..settings() });
            bench.event(Event::Connected(id, endpoints(179)));
            (bench, id)
        }
        At::OpenSent => Bench::open_sent(settings()),
        At::OpenConfirm => Bench::open_confirm(settings(), their_open()),
        At::Established => Bench::established(settings(), their_open()),
    }
}

fn state_at(from: At) -> State {
    match from {
        At::Stopped | At::ErrorWait => State::Idle,
        At::Active => State::Active,
        At::Connect | At::DelayOpen => State::Connect,
        At::OpenSent => State::OpenSent,
        At::OpenConfirm => State::OpenConfirm,
        At::Established => State::Established,
    }
}

#[test]
fn the_rows_start_where_they_say() {
    for from in ALL {
        let (bench, _) = at(from);
        assert_eq!(bench.peer.state(), state_at(from), "{from:?}");
    }
}

/// Runs one event in every state and compares the state that follows and the NOTIFICATIONs sent.
fn table(event: impl Fn(ConnId) -> Event, expected: [(State, &[(u8, u8)]); 8]) {
    for (from, (state, said)) in ALL.into_iter().zip(expected) {
        let (mut bench, id) = at(from);
        let event = event(id);
        let actions = bench.event(event.clone());
        assert_eq!(bench.peer.state(), state, "{from:?} and {event:?}: {actions:?}");
        assert_eq!(notifications(&actions), said, "{from:?} and {event:?}");
        let established = matches!(from, At::Established);
        assert_eq!(
            down(&actions).is_some(),
            established && state != State::Established,
            "{from:?} and {event:?}"
        );
        if !said.is_empty() {
            assert!(actions.contains(&Action::Close(id)), "{from:?} and {event:?}: {actions:?}");
        }
    }
}

use State::{Active, Connect, Established, Idle, OpenConfirm, OpenSent};

#[test]
fn start() {
    table(
        |_| Event::Start,
        [
            (Active, &[]),
            (Idle, &[]),
            (Active, &[]),
            (Connect, &[]),
            (Connect, &[]),
            (OpenSent, &[]),
            (OpenConfirm, &[]),
            (Established, &[]),
        ],
    );
}

#[test]
fn stop() {
    // without an OPEN of ours there is nobody to tell; a hard reset where the peer would keep our routes
    table(
        |_| Event::Stop(Stop::Shutdown("bye".into())),
        [
            (Idle, &[]),
            (Idle, &[]),
            (Idle, &[]),
            (Idle, &[]),
            (Idle, &[]),
            (Idle, &[(6, 2)]),
            (Idle, &[(6, 9)]),
            (Idle, &[(6, 9)]),
        ],
    );
}

#[test]
fn restart_says_nothing() {
    table(|_| Event::Stop(Stop::Restart), [(Idle, &[]); 8]);
}

#[test]
fn reset() {
    table(
        |_| Event::Reset(Reset::Administrative(String::new())),
        [
            (Idle, &[]),
            (Active, &[]),
            (Active, &[]),
            (Active, &[]),
            (Active, &[]),
            (Active, &[(6, 6)]),
            (Active, &[(6, 6)]),
            (Active, &[(6, 4)]),
        ],
    );
}

#[test]
fn the_other_side_closes() {
    table(
        |id| Event::Closed(id, "reset by peer".into()),
        [
            (Idle, &[]),
            (Idle, &[]),
            (Active, &[]),
            (Active, &[]),
            (Active, &[]),
            (Active, &[]),
            (Active, &[]),
            (Active, &[]),
        ],
    );
}

#[test]
fn open() {
    table(
        |id| Event::Received(id, Received::Open(their_open())),
        [
            (Idle, &[]),
            (Idle, &[]),
            (Active, &[]),
            (Connect, &[]),
            (OpenConfirm, &[]),
            (OpenConfirm, &[]),
            (Idle, &[(5, 2)]),
            (Idle, &[(5, 3)]),
        ],
    );
}

#[test]
fn open_of_a_stranger() {
    let stranger = Open::new(64999, 90, THEIR_ID, vec![Capability::FourOctetAs(64999)]);
    table(
        |id| Event::Received(id, Received::Open(stranger.clone())),
        [
            (Idle, &[]),
            (Idle, &[]),
            (Active, &[]),
            (Connect, &[]),
            (Idle, &[(2, 2)]),
            (Idle, &[(2, 2)]),
            (Idle, &[(5, 2)]),
            (Idle, &[(5, 3)]),
        ],
    );
}

#[test]
fn keepalive() {
    table(
        |id| Event::Received(id, Received::Keepalive),
        [
            (Idle, &[]),
            (Idle, &[]),
            (Active, &[]),
            (Connect, &[]),
            (Idle, &[]),
            (Idle, &[(5, 1)]),
            (Established, &[]),
            (Established, &[]),
        ],
    );
}

#[test]
fn update() {
    table(
        |id| Event::Received(id, Received::Update),
        [
            (Idle, &[]),
            (Idle, &[]),
            (Active, &[]),
            (Connect, &[]),
            (Idle, &[]),
            (Idle, &[(5, 1)]),
            (Idle, &[(5, 2)]),
            (Established, &[]),
        ],
    );
}

#[test]
fn route_refresh() {
    let refresh = RouteRefresh { family: Family::Ipv4Unicast.into(), subtype: RefreshSubtype::Request };
    table(
        |id| Event::Received(id, Received::RouteRefresh(refresh)),
        [
            (Idle, &[]),
            (Idle, &[]),
            (Active, &[]),
            (Connect, &[]),
            (Idle, &[]),
            (Idle, &[(5, 1)]),
            (Idle, &[(5, 2)]),
            (Established, &[]),
        ],
    );
}

#[test]
fn notification_of_an_error() {
    table(
        |id| Event::Received(id, Received::Notification(Notification::new(2, 2))),
        [
            (Idle, &[]),
            (Idle, &[]),
            (Active, &[]),
            (Connect, &[]),
            (Idle, &[]),
            (Idle, &[]),
            (Idle, &[]),
            (Idle, &[]),
        ],
    );
}

#[test]
fn notification_of_a_decision() {
    table(
        |id| Event::Received(id, Received::Notification(cease(2))),
        [
            (Idle, &[]),
            (Idle, &[]),
            (Active, &[]),
            (Connect, &[]),
            (Active, &[]),
            (Active, &[]),
            (Active, &[]),
            (Active, &[]),
        ],
    );
}

#[test]
fn bytes_that_are_no_message() {
    table(
        |id| Event::Received(id, Received::Malformed(Notification::new(1, 1))),
        [
            (Idle, &[]),
            (Idle, &[]),
            (Active, &[]),
            (Connect, &[]),
            (Idle, &[]),
            (Idle, &[(1, 1)]),
            (Idle, &[(1, 1)]),
            (Idle, &[(1, 1)]),
        ],
    );
}

#[test]
fn a_connection_of_theirs() {
    // accepted or refused; an Established session whose peer can restart gracefully may be a dead one
    let accepted = [false, false, true, true, true, true, true, true];
    for (from, accepted) in ALL.into_iter().zip(accepted) {
        let (mut bench, _) = at(from);
        assert_eq!(bench.peer.accept(endpoints(50000), bench.now).is_some(), accepted, "{from:?}");
    }
}

#[test]
fn connect_retry_ends_an_attempt_and_begins_the_next() {
    let (mut bench, first) = Bench::connecting(settings());
    let actions = bench.sleep(secs(5));
    let [Action::Close(closed), Action::Connect(second)] = actions[..] else { panic!("{actions:?}") };
    assert_eq!(closed, first);
    assert_ne!(second, first);
    bench.event(Event::ConnectFailed(second, "refused".into()));
    assert_eq!(bench.peer.state(), Active);
    assert_eq!(bench.sleep(secs(3)), [], "not before 75 % of the retry time");
    assert!(matches!(bench.sleep(secs(2))[..], [Action::Connect(_)]));
}

#[test]
fn a_passive_peer_never_connects() {
    let mut bench = Bench::new(Settings { passive: true, ..settings() });
    bench.event(Event::Start);
    assert_eq!(bench.sleep(secs(3600)), []);
    assert_eq!(bench.peer.state(), Active);
    assert!(bench.peer.accept(endpoints(50000), bench.now).is_some());
    assert_eq!(bench.peer.state(), OpenSent);
}

#[test]
fn delay_open_waits_and_then_speaks_first() {
    let (mut bench, _) = at(At::DelayOpen);
    assert_eq!(sent(&bench.done), [0; 0]);
    assert_eq!(sent(&bench.sleep(secs(20))), [1]);
    assert_eq!(bench.peer.state(), OpenSent);
}

#[test]
fn delay_open_is_cut_short_by_the_other_side() {
    let (mut bench, id) = at(At::DelayOpen);
    assert_eq!(sent(&bench.receive(id, Received::Open(their_open()))), [1, 4]);
    assert_eq!(bench.peer.state(), OpenConfirm);
}

#[test]
fn an_open_that_never_comes_is_given_four_minutes() {
    let (mut bench, _) = Bench::open_sent(settings());
    assert_eq!(bench.sleep(secs(239)), []);
    assert_eq!(notifications(&bench.sleep(secs(1))), [(4, 0)]);
    assert_eq!(bench.peer.state(), Idle);
}

#[test]
fn silence_expires_the_hold_timer() {
    for from in [At::OpenConfirm, At::Established] {
        let (mut bench, _) = at(from);
        assert_eq!(notifications(&bench.sleep(secs(239))), []);
        assert_eq!(notifications(&bench.sleep(secs(1))), [(4, 0)], "{from:?}");
        assert_eq!(bench.peer.state(), Idle);
    }
}

#[test]
fn anything_heard_restarts_the_hold_timer() {
    let (mut bench, id) = at(At::Established);
    for message in [Received::Keepalive, Received::Update, Received::Keepalive] {
        bench.sleep(secs(239));
        bench.receive(id, message);
    }
    assert_eq!(bench.peer.state(), Established);
    bench.sleep(secs(240));
    assert_eq!(bench.peer.state(), Idle);
}

#[test]
fn keepalives_follow_each_other_within_the_interval() {
    let (mut bench, id) = at(At::Established);
    for _ in 0..10 {
        bench.receive(id, Received::Keepalive);
        let keepalives = sent(&bench.sleep(secs(80))).len();
        assert!((1..=2).contains(&keepalives), "every 60 to 80 seconds: {keepalives}");
    }
}

#[test]
fn an_update_sent_is_as_good_as_a_keepalive() {
    let (mut bench, id) = at(At::Established);
    for _ in 0..100 {
        bench.sent(id);
        assert_eq!(sent(&bench.sleep(secs(50))), [0; 0]);
        bench.receive(id, Received::Update);
    }
}

#[test]
fn without_hold_time_there_is_neither_keepalive_nor_expiry() {
    let (mut bench, id) = Bench::open_sent(settings());
    bench.receive(id, Received::Open(Open { hold_time: 0, ..their_open() }));
    bench.receive(id, Received::Keepalive);
    assert_eq!(bench.sleep(secs(100_000)), []);
    assert_eq!(bench.peer.state(), Established);
}

#[test]
fn errors_are_waited_out_longer_each_time() {
    let (mut bench, mut id) = Bench::open_sent(settings());
    for wait in [5, 10, 20, 30, 30] {
        bench.receive(id, Received::Notification(Notification::new(2, 2)));
        assert_eq!(bench.sleep(secs(wait) - Duration::from_millis(1)), []);
        assert_eq!(bench.peer.state(), Idle);
        assert!(bench.peer.accept(endpoints(50000), bench.now).is_none(), "refused while waiting");
        let actions = bench.sleep(Duration::from_millis(1));
        let [Action::Connect(next)] = actions[..] else { panic!("{actions:?}") };
        bench.event(Event::Connected(next, endpoints(179)));
        id = next;
    }
    bench.receive(id, Received::Open(their_open()));
    bench.receive(id, Received::Keepalive);
    for _ in 0..10 {
        bench.sleep(secs(80));
        bench.receive(id, Received::Keepalive);
    }
    bench.receive(id, Received::Notification(Notification::new(3, 1)));
    bench.sleep(secs(5));
    assert_eq!(bench.peer.state(), Connect, "after five quiet minutes the wait is short again");
}

#[test]
fn a_peer_that_knows_no_capabilities_is_asked_without() {
    let (mut bench, id) = Bench::open_sent(Settings { remote_as: RemoteAs::Any, ..settings() });
    bench.receive(id, Received::Notification(Notification::new(2, 4)));
    assert_eq!(bench.peer.state(), Active);
    let actions = bench.sleep(secs(2));
    let [Action::Connect(id)] = actions[..] else { panic!("{actions:?}") };
    let actions = bench.event(Event::Connected(id, endpoints(179)));
    let [Action::Send(_, open)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(open.len(), 29, "no optional parameters");
    bench.receive(id, Received::Open(Open { capabilities: Vec::new(), ..their_open() }));
    bench.receive(id, Received::Keepalive);
    let (_, negotiated) = bench.peer.established().expect("established");
    assert!(!negotiated.codec.four_octet_as);
    assert_eq!(negotiated.codec.families, IPV4);
}

#[test]
fn too_many_prefixes_end_the_session_for_as_long_as_wanted() {
    for (wait, back) in [(Some(secs(60)), Connect), (None, Idle)] {
        let (mut bench, _) = Bench::established(settings(), without(&their_open(), 64));
        let reset = Reset::MaxPrefixes { family: Family::Ipv4Unicast, limit: 1000, wait };
        let actions = bench.event(Event::Reset(reset));
        let Some(Action::Send(_, message)) = actions.first() else { panic!("{actions:?}") };
        assert_eq!(message[19..], [6, 1, 0, 1, 1, 0, 0, 3, 232], "the limit is told");
        assert_eq!(bench.peer.state(), Idle);
        bench.sleep(secs(59));
        assert_eq!(bench.peer.state(), Idle);
        bench.sleep(secs(1));
        assert_eq!(bench.peer.state(), back);
    }
}

#[test]
fn the_reason_of_a_shutdown_travels() {
    let (mut bench, _) = Bench::established(settings(), without(&their_open(), 64));
    let actions = bench.event(Event::Stop(Stop::Shutdown("upgrade, back at noon".into())));
    let Some(Action::Send(_, message)) = actions.first() else { panic!("{actions:?}") };
    assert_eq!(message[19..22], [6, 2, 21]);
    assert_eq!(&message[22..], b"upgrade, back at noon");
}

#[test]
fn a_peer_that_takes_nothing_is_dropped() {
    let (mut bench, id) = at(At::Established);
    bench.event(Event::Blocked(id, true));
    for _ in 0..5 {
        bench.sleep(secs(80));
        bench.receive(id, Received::Keepalive);
        bench.event(Event::Blocked(id, true));
    }
    bench.sleep(secs(79));
    assert_eq!(bench.peer.state(), Established, "eight minutes are not over");
    bench.receive(id, Received::Keepalive);
    let actions = bench.sleep(secs(1));
    assert_eq!(down(&actions).map(|d| &d.reason), Some(&Reason::SendHoldTimerExpired));

    let (mut bench, id) = at(At::Established);
    bench.event(Event::Blocked(id, true));
    for blocked in [true, false] {
        bench.event(Event::Blocked(id, blocked));
        for _ in 0..5 {
            bench.sleep(secs(80));
            bench.receive(id, Received::Keepalive);
        }
    }
    assert_eq!(bench.peer.state(), Established, "it took something in between");
}
