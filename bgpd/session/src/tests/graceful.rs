//! The helper's side of graceful restart: what is kept, and until when (RFC 4724 §4.2, RFC 8538).

use super::*;

fn theirs(edit: impl FnOnce(&mut GracefulRestart)) -> Open {
    let mut settings = their_settings();
    edit(settings.graceful_restart.as_mut().unwrap());
    open_of(&settings)
}

#[test]
fn a_broken_connection_keeps_routes_for_the_restart_time() {
    let (mut bench, id) = Bench::established(settings(), their_open());
    let actions = bench.event(Event::Closed(id, "reset by peer".into()));
    assert_eq!(down(&actions).unwrap().keep, IPV4);
    assert!(bench.peer.keeps_stale(Family::Ipv4Unicast) && !bench.peer.is_quiet());
    assert_eq!(purged(&bench.sleep(secs(119))), []);
    assert_eq!(purged(&bench.sleep(secs(1))), [Family::Ipv4Unicast]);
}

#[test]
fn without_the_capability_on_either_side_nothing_is_kept() {
    let cases = [
        (settings(), without(&their_open(), 64)),
        (Settings { graceful_restart: None, ..settings() }, their_open()),
    ];
    for (ours, theirs) in cases {
        let (mut bench, id) = Bench::established(ours, theirs);
        let actions = bench.event(Event::Closed(id, "reset by peer".into()));
        assert_eq!(down(&actions).unwrap().keep, NONE);
    }
}

#[test]
fn back_in_time_routes_stay_until_end_of_rib() {
    let (mut bench, id) = Bench::established(settings(), their_open());
    bench.event(Event::Closed(id, "reset by peer".into()));
    bench.sleep(secs(60));
    let (id, actions) = bench.back(their_open());
    assert_eq!(purged(&actions), []);
    bench.event(Event::EndOfRib(id, Family::Ipv4Unicast));
    for _ in 0..10 {
        assert_eq!(purged(&bench.sleep(secs(80))), []);
        bench.receive(id, Received::Keepalive);
    }
}

#[test]
fn an_end_of_rib_that_never_comes_is_not_waited_for_for_ever() {
    let (mut bench, id) = Bench::established(settings(), their_open());
    bench.event(Event::Closed(id, "reset by peer".into()));
    let (id, _) = bench.back(their_open());
    let mut purged_after = 0;
    while purged(&bench.sleep(secs(1))).is_empty() {
        purged_after += 1;
        bench.receive(id, Received::Keepalive);
    }
    assert_eq!(purged_after, 359);
}

#[test]
fn a_peer_that_lost_its_forwarding_loses_its_routes_here() {
    let (mut bench, id) = Bench::established(settings(), their_open());
    bench.event(Event::Closed(id, "reset by peer".into()));
    let (_, actions) = bench.back(theirs(|gr| gr.forwarding = NONE));
    let purge = actions.iter().position(|a| *a == Action::Purge(Family::Ipv4Unicast)).unwrap();
    let up = actions.iter().position(|a| matches!(a, Action::Established(..))).unwrap();
    assert!(purge < up, "before its new routes come");
}

#[test]
fn a_peer_that_comes_back_without_the_capability_too() {
    let (mut bench, id) = Bench::established(settings(), their_open());
    bench.event(Event::Closed(id, "reset by peer".into()));
    let (_, actions) = bench.back(without(&their_open(), 64));
    assert_eq!(purged(&actions), [Family::Ipv4Unicast]);
}

#[test]
fn notifications_keep_routes_where_both_sides_say_so() {
    for (n_bit, code, subcode, kept) in [
        (true, 4, 0, IPV4),
        (true, 3, 1, IPV4),
        (true, 6, 4, IPV4),
        (true, 6, 9, NONE),
        (false, 4, 0, NONE),
        (false, 6, 4, NONE),
    ] {
        let (mut bench, id) = Bench::established(settings(), theirs(|gr| gr.notification = n_bit));
        let actions = bench.receive(id, Received::Notification(Notification::new(code, subcode)));
        assert_eq!(down(&actions).unwrap().keep, kept, "N {n_bit}, {code}/{subcode}");
    }
}

#[test]
fn an_expired_hold_timer_keeps_routes_where_both_sides_say_so() {
    for (n_bit, kept) in [(true, IPV4), (false, NONE)] {
        let (mut bench, _) = Bench::established(settings(), theirs(|gr| gr.notification = n_bit));
        assert_eq!(down(&bench.sleep(secs(240))).unwrap().keep, kept);
    }
}

#[test]
fn a_shutdown_is_final_for_both_sides() {
    let (mut bench, _) = Bench::established(settings(), their_open());
    let actions = bench.event(Event::Stop(Stop::Shutdown("bye".into())));
    let Some(Action::Send(_, message)) = actions.first() else { panic!("{actions:?}") };
    assert_eq!(message[19..], [6, 9, 6, 2, 3, b'b', b'y', b'e'], "a hard reset with the reason inside");
    assert_eq!(down(&actions).unwrap().keep, NONE);
    assert!(bench.peer.is_quiet());
}

#[test]
fn stopping_a_peer_that_is_away_drops_what_was_kept() {
    let (mut bench, id) = Bench::established(settings(), their_open());
    bench.event(Event::Closed(id, "reset by peer".into()));
    let actions = bench.event(Event::Stop(Stop::Deconfigured));
    assert_eq!(purged(&actions), [Family::Ipv4Unicast]);
    assert_eq!(bench.sleep(secs(1000)), []);
}

#[test]
fn a_new_open_ends_the_session_that_seemed_alive() {
    let (mut bench, old) = Bench::established(settings(), their_open());
    let new = bench.peer.accept(endpoints(50001), bench.now).expect("tracked until its OPEN");
    bench.drain();
    assert_eq!(bench.peer.established().unwrap().0, old, "a connection alone proves nothing");
    let actions = bench.receive(new, Received::Open(their_open()));
    assert_eq!(notifications(&actions), [], "its owner has forgotten the old one");
    let ended = down(&actions).unwrap();
    assert_eq!((ended.connection, &ended.reason, ended.keep), (old, &Reason::Replaced, IPV4));
    bench.receive(new, Received::Keepalive);
    assert_eq!(bench.peer.established().unwrap().0, new);
}

#[test]
fn without_graceful_restart_the_old_session_is_probed() {
    let (mut bench, old) = Bench::established(settings(), without(&their_open(), 64));
    assert!(bench.peer.accept(endpoints(50001), bench.now).is_none());
    assert_eq!(sent(&bench.drain()), [4]);
    bench.event(Event::Closed(old, "reset by peer".into()));
    assert!(bench.peer.accept(endpoints(50002), bench.now).is_some());
}

#[test]
fn a_second_restart_within_the_first_counts_anew() {
    let (mut bench, id) = Bench::established(settings(), their_open());
    bench.event(Event::Closed(id, "reset by peer".into()));
    bench.sleep(secs(100));
    let (id, _) = bench.back(their_open());
    bench.event(Event::Closed(id, "reset by peer".into()));
    assert_eq!(purged(&bench.sleep(secs(119))), []);
    assert_eq!(purged(&bench.sleep(secs(1))), [Family::Ipv4Unicast]);
}
