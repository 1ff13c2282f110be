//! Two connections, and which one stays (RFC 4271 §6.8, RFC 6286 §2.3).

use super::*;

/// Two connections, one each way, our OPEN sent on both: ours and theirs.
fn colliding(ours: Settings) -> (Bench, ConnId, ConnId) {
    let (mut bench, outgoing) = Bench::open_sent(ours);
    let incoming = bench.peer.accept(endpoints(50000), bench.now).expect("accepted");
    bench.drain();
    (bench, outgoing, incoming)
}

fn their_open_with(id: [u8; 4]) -> Open {
    Open { router_id: id.into(), ..their_open() }
}

/// The OPENs arrive in either order; which connection is left, and how the other was closed.
fn outcome(ours: Settings, theirs: &Open, theirs_first: bool) -> (bool, Vec<(u8, u8)>) {
    let (mut bench, outgoing, incoming) = colliding(ours);
    let order = if theirs_first { [incoming, outgoing] } else { [outgoing, incoming] };
    let mut said = Vec::new();
    for id in order {
        said.extend(notifications(&bench.receive(id, Received::Open(theirs.clone()))));
    }
    assert_eq!(bench.peer.state(), State::OpenConfirm);
    let closed: Vec<_> = bench.done.iter().filter(|a| matches!(a, Action::Close(_))).cloned().collect();
    assert_eq!(closed.len(), 1, "{closed:?}");
    let kept_outgoing = closed == [Action::Close(incoming)];
    bench.receive(if kept_outgoing { outgoing } else { incoming }, Received::Keepalive);
    assert_eq!(bench.peer.state(), State::Established);
    (kept_outgoing, said)
}

#[test]
fn the_connection_of_the_greater_identifier_stays() {
    for theirs_first in [false, true] {
        let collision = vec![(6, 7)];
        assert_eq!(
            outcome(settings(), &their_open_with([10, 0, 0, 2]), theirs_first),
            (false, collision.clone())
        );
        assert_eq!(outcome(settings(), &their_open_with([9, 255, 0, 0]), theirs_first), (true, collision));
    }
}

#[test]
fn with_equal_identifiers_the_greater_as_decides() {
    let lesser = Settings { local_as: 64513, remote_as: RemoteAs::Any, ..settings() };
    let greater = Settings { local_as: 4_294_967_000, ..lesser.clone() };
    for theirs_first in [false, true] {
        assert!(!outcome(lesser.clone(), &their_open_with(OUR_ID.octets()), theirs_first).0);
        assert!(outcome(greater.clone(), &their_open_with(OUR_ID.octets()), theirs_first).0);
    }
}

#[test]
fn an_attempt_is_given_up_once_their_open_is_here() {
    let (mut bench, attempt) = Bench::connecting(settings());
    let incoming = bench.peer.accept(endpoints(50000), bench.now).unwrap();
    let actions = bench.receive(incoming, Received::Open(their_open()));
    assert!(actions.contains(&Action::Close(attempt)));
    assert_eq!(bench.sleep(secs(30)), [], "and no other is made");
}

#[test]
fn the_attempt_comes_back_when_theirs_fails() {
    let (mut bench, _) = Bench::connecting(settings());
    let incoming = bench.peer.accept(endpoints(50000), bench.now).unwrap();
    bench.receive(incoming, Received::Open(their_open()));
    bench.event(Event::Closed(incoming, "reset by peer".into()));
    assert!(matches!(bench.sleep(secs(5))[..], [Action::Connect(_)]));
}

#[test]
fn an_established_session_stays_and_the_latecomer_goes() {
    let (mut bench, outgoing, incoming) = colliding(Settings { graceful_restart: None, ..settings() });
    bench.receive(outgoing, Received::Open(their_open_with([1, 0, 0, 1])));
    let actions = bench.receive(outgoing, Received::Keepalive);
    assert_eq!(bench.peer.established().unwrap().0, outgoing);
    assert_eq!(notifications(&actions), [(6, 7)]);
    assert!(actions.contains(&Action::Close(incoming)));
}

#[test]
fn their_newer_connection_replaces_their_older_one() {
    let passive = Settings { passive: true, ..settings() };
    for with_open in [false, true] {
        let mut bench = Bench::new(passive.clone());
        bench.event(Event::Start);
        let older = bench.peer.accept(endpoints(50000), bench.now).unwrap();
        if with_open {
            bench.receive(older, Received::Open(their_open()));
        }
        let newer = bench.peer.accept(endpoints(50001), bench.now).unwrap();
        bench.receive(newer, Received::Open(their_open()));
        assert!(bench.done.contains(&Action::Close(older)));
        bench.receive(newer, Received::Keepalive);
        assert_eq!(bench.peer.established().unwrap().0, newer);
    }
}

#[test]
fn a_connection_that_would_lose_is_not_accepted() {
    let (mut bench, _) = Bench::open_confirm(settings(), their_open_with([1, 0, 0, 1]));
    assert!(bench.peer.accept(endpoints(50000), bench.now).is_none());
    let (mut bench, _) = Bench::open_confirm(settings(), their_open_with([100, 0, 0, 1]));
    assert!(bench.peer.accept(endpoints(50000), bench.now).is_some());
}

#[test]
fn losing_one_of_two_does_not_wait_after_the_error() {
    let (mut bench, outgoing, incoming) = colliding(settings());
    bench.receive(outgoing, Received::Notification(Notification::new(2, 2)));
    assert_eq!(bench.peer.state(), State::OpenSent, "the other one goes on");
    bench.receive(incoming, Received::Open(their_open()));
    assert_eq!(bench.peer.state(), State::OpenConfirm);
}

#[test]
fn a_session_that_may_yet_lose_is_not_announced() {
    let (mut bench, outgoing, incoming) = colliding(settings());
    bench.receive(outgoing, Received::Open(their_open()));
    bench.receive(outgoing, Received::Keepalive);
    assert_eq!(bench.peer.state(), State::OpenConfirm, "their connection wins if their OPEN comes on it");
    bench.event(Event::Closed(incoming, "reset by peer".into()));
    assert_eq!(bench.peer.established().unwrap().0, outgoing);
}

#[test]
fn an_update_says_that_the_other_side_has_settled_the_collision() {
    let (mut bench, outgoing, incoming) = colliding(settings());
    bench.receive(outgoing, Received::Open(their_open()));
    bench.receive(outgoing, Received::Keepalive);
    let actions = bench.receive(outgoing, Received::Update);
    assert_eq!(bench.peer.established().unwrap().0, outgoing);
    assert!(actions.contains(&Action::Close(incoming)));
}
