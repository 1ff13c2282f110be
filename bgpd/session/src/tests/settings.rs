//! Which changes of settings cost a session.

use super::*;

fn change(edit: impl FnOnce(&mut Settings)) -> Change {
    let old = settings();
    let mut new = old.clone();
    edit(&mut new);
    old.change(&new)
}

#[test]
fn the_same_settings_are_no_change() {
    assert_eq!(change(|_| {}), Change::Nothing);
}

#[test]
fn what_is_ours_alone_is_applied() {
    let edits: [fn(&mut Settings); 10] = [
        |s| s.passive = true,
        |s| s.distance = Distance::Within(1),
        |s| s.authentication = Authentication::Md5(b"key".to_vec()),
        |s| s.timers.keepalive_time = Some(10),
        |s| s.timers.connect_delay = secs(1),
        |s| s.timers.connect_retry = secs(1),
        |s| s.timers.error_wait_min = secs(1),
        |s| s.timers.error_wait_max = secs(100),
        |s| s.timers.delay_open = Some(secs(3)),
        |s| s.graceful_restart.as_mut().unwrap().stale_time = secs(1),
    ];
    for (at, edit) in edits.into_iter().enumerate() {
        assert_eq!(change(edit), Change::Apply, "edit {at}");
    }
}

#[test]
fn what_the_open_tells_or_the_connection_is_made_of_resets() {
    let edits: [fn(&mut Settings); 14] = [
        |s| s.local_as = 1,
        |s| s.remote_as = RemoteAs::Any,
        |s| s.router_id = Ipv4Addr::new(9, 9, 9, 9),
        |s| s.local_address = Some(IpAddr::V4(OUR_ID)),
        |s| s.remote_address = IpAddr::V4(OUR_ID),
        |s| s.remote_port = 1179,
        |s| s.scope = Some(3),
        |s| s.timers.hold_time = 90,
        |s| s.families = BOTH,
        |s| s.add_path = PerFamily::default(),
        |s| s.extended_next_hop = true,
        |s| s.extended_messages = false,
        |s| s.route_refresh = false,
        |s| s.graceful_restart.as_mut().unwrap().restart_time = 10,
    ];
    for (at, edit) in edits.into_iter().enumerate() {
        assert_eq!(change(edit), Change::Reset, "edit {at}");
    }
}

#[test]
fn keys_are_not_printed() {
    let settings = Settings { authentication: Authentication::Md5(b"secret".to_vec()), ..settings() };
    let printed = format!("{settings:?}");
    assert!(printed.contains("Md5(…)"), "{printed}");
    assert!(!printed.contains("115"), "the bytes of the key: {printed}");
}

#[test]
fn a_changed_keepalive_time_is_in_force_at_once() {
    let (mut bench, _) = Bench::established(settings(), their_open());
    let mut faster = settings();
    faster.timers.keepalive_time = Some(10);
    assert_eq!(bench.peer.configure(faster, bench.now), Change::Apply);
    assert_eq!(bench.drain(), []);
    assert!(sent(&bench.sleep(secs(100))).len() >= 10);
    assert_eq!(bench.peer.state(), State::Established);
}

#[test]
fn turning_passive_ends_an_attempt_and_leaves_a_session() {
    let passive = Settings { passive: true, ..settings() };
    let (mut bench, id) = Bench::connecting(settings());
    bench.peer.configure(passive.clone(), bench.now);
    assert_eq!(bench.drain(), [Action::Close(id)]);
    assert_eq!(bench.sleep(secs(1000)), []);
    bench.peer.configure(settings(), bench.now);
    assert!(matches!(bench.sleep(secs(2))[..], [Action::Connect(_)]), "active again");

    let (mut bench, _) = Bench::established(settings(), their_open());
    bench.peer.configure(passive, bench.now);
    assert_eq!(bench.peer.state(), State::Established);
}

#[test]
fn a_reset_tells_the_peer_and_comes_back_at_once() {
    let (mut bench, id) = Bench::established(settings(), their_open());
    let slower = Settings { timers: Timers { hold_time: 600, ..Timers::default() }, ..settings() };
    assert_eq!(bench.peer.configure(slower, bench.now), Change::Reset);
    let actions = bench.drain();
    assert_eq!(notifications(&actions), [(6, 6)]);
    assert_eq!(actions[1], Action::Close(id));
    assert_eq!(down(&actions).unwrap().keep, IPV4, "both sides keep routes over it (RFC 8538)");
    assert!(matches!(bench.sleep(secs(2))[..], [Action::Connect(_)]));
}

#[test]
fn new_settings_end_the_wait_after_errors() {
    let (mut bench, id) = Bench::open_sent(settings());
    bench.receive(id, Received::Notification(Notification::new(2, 2)));
    assert_eq!(bench.peer.state(), State::Idle);
    bench.peer.configure(Settings { local_as: 64513, ..settings() }, bench.now);
    assert_eq!(bench.peer.state(), State::Active);
}
