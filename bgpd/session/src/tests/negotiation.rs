//! What two OPENs make.

use super::*;
use bgp_wire::{AfiSafi, Codec};

/// Ours against an OPEN of theirs.
fn meet(ours: &Settings, theirs: &Open) -> Result<Negotiated, Notification> {
    crate::negotiate::negotiate(ours, &open_of(ours), theirs, endpoints(179))
}

fn both_families(settings: Settings) -> Settings {
    let add_path = PerFamily::from_fn(|_| AddPath { receive: true, send: true });
    Settings { families: BOTH, add_path, extended_next_hop: true, ..settings }
}

#[test]
fn two_of_ours_agree_on_everything() {
    let (ours, theirs) = (both_families(settings()), both_families(their_settings()));
    let here = meet(&ours, &open_of(&theirs)).unwrap();
    let there = meet(&theirs, &open_of(&ours)).unwrap();
    assert_eq!(here.codec, there.codec);
    let expected = Codec {
        four_octet_as: true,
        families: BOTH,
        add_path_receive: BOTH,
        add_path_send: BOTH,
        extended_messages: true,
        extended_next_hop: true,
        external: true,
    };
    assert_eq!(here.codec, expected);
    assert_eq!((here.local_as, here.remote_as), (OUR_AS, THEIR_AS));
    assert_eq!((here.router_id, there.router_id), (THEIR_ID, OUR_ID));
    assert_eq!((here.hold_time, here.keepalive_time), (240, 80));
    assert!(here.route_refresh && here.enhanced_refresh);
    assert_eq!(there.graceful_restart.unwrap().restart_time, 120);
}

#[test]
fn one_family_is_enough() {
    for one in [IPV4, IPV6] {
        let theirs = Settings { families: one, ..both_families(their_settings()) };
        let negotiated = meet(&both_families(settings()), &open_of(&theirs)).unwrap();
        assert_eq!(negotiated.codec.families, one);
        assert_eq!(negotiated.codec.add_path_send, one);
        assert_eq!(negotiated.codec.extended_next_hop, one.ipv4, "it is for IPv4 routes");
        assert_eq!(negotiated.graceful_restart.unwrap().families, one);
    }
}

#[test]
fn without_multiprotocol_the_other_side_speaks_ipv4() {
    let old = Open { capabilities: Vec::new(), ..Open::new(64999, 90, THEIR_ID, Vec::new()) };
    let ours = Settings { remote_as: RemoteAs::Any, ..both_families(settings()) };
    let negotiated = meet(&ours, &old).unwrap();
    assert_eq!(negotiated.codec.families, IPV4);
    assert!(!negotiated.codec.four_octet_as);
    assert_eq!(negotiated.codec.add_path_send, NONE);
    assert_eq!((negotiated.hold_time, negotiated.keepalive_time), (90, 30));
    assert!(negotiated.graceful_restart.is_none() && !negotiated.route_refresh);
}

#[test]
fn without_a_common_family_the_missing_capabilities_are_named() {
    let only_evpn = with(&their_open(), Capability::Multiprotocol(AfiSafi { afi: 25, safi: 70 }));
    let refused = meet(&both_families(settings()), &only_evpn).unwrap_err();
    assert_eq!((refused.code, refused.subcode), (2, 7));
    assert_eq!(refused.data, [1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1]);
}

#[test]
fn every_capability_must_be_there_on_both_sides() {
    type Facts = fn(&Negotiated) -> bool;
    let cases: [(u8, Facts); 6] = [
        (2, |n| n.route_refresh),
        (5, |n| n.codec.extended_next_hop),
        (6, |n| n.codec.extended_messages),
        (64, |n| n.graceful_restart.is_some()),
        (69, |n| n.codec.add_path_send.ipv4 || n.codec.add_path_receive.ipv4),
        (70, |n| n.enhanced_refresh),
    ];
    let ours = both_families(settings());
    let theirs = open_of(&both_families(their_settings()));
    for (code, fact) in cases {
        assert!(fact(&meet(&ours, &theirs).unwrap()), "capability {code}");
        assert!(!fact(&meet(&ours, &without(&theirs, code)).unwrap()), "capability {code} not theirs");
    }
    let none = Settings {
        route_refresh: false,
        extended_next_hop: false,
        extended_messages: false,
        graceful_restart: None,
        add_path: PerFamily::default(),
        ..ours
    };
    let negotiated = meet(&none, &theirs).unwrap();
    for (code, fact) in cases {
        assert!(!fact(&negotiated), "capability {code} not ours");
    }
}

#[test]
fn add_path_needs_a_sender_and_a_receiver() {
    let offers = |receive, send| PerFamily { ipv4: AddPath { receive, send }, ipv6: AddPath::default() };
    for (ours, theirs) in
        [((true, false), (true, true)), ((false, true), (true, false)), ((true, true), (false, true))]
    {
        let here = Settings { add_path: offers(ours.0, ours.1), ..settings() };
        let there = Settings { add_path: offers(theirs.0, theirs.1), ..their_settings() };
        let negotiated = meet(&here, &open_of(&there)).unwrap();
        assert_eq!(negotiated.codec.add_path_receive.ipv4, ours.0 && theirs.1, "{ours:?} {theirs:?}");
        assert_eq!(negotiated.codec.add_path_send.ipv4, ours.1 && theirs.0, "{ours:?} {theirs:?}");
    }
}

#[test]
fn the_wrong_as_is_refused_and_any_is_not() {
    let cases = [
        (RemoteAs::Exactly(THEIR_AS), true),
        (RemoteAs::Exactly(65000), false),
        (RemoteAs::External, true),
        (RemoteAs::Any, true),
    ];
    for (remote_as, welcome) in cases {
        let met = meet(&Settings { remote_as, ..settings() }, &their_open());
        assert_eq!(met.is_ok(), welcome, "{remote_as:?}");
        if let Err(refused) = met {
            assert_eq!((refused.code, refused.subcode), (2, 2));
        }
    }
    let inside = Settings { local_as: OUR_AS, ..their_settings() };
    let external = meet(&Settings { remote_as: RemoteAs::External, ..settings() }, &open_of(&inside));
    assert!(external.is_err(), "our own AS is not outside");
}

#[test]
fn an_identifier_may_be_ours_only_in_another_as() {
    let twin = |asn| Open { router_id: OUR_ID, ..open_of(&Settings { local_as: asn, ..their_settings() }) };
    let any = Settings { remote_as: RemoteAs::Any, ..settings() };
    assert!(meet(&any, &twin(65000)).is_ok());
    let refused = meet(&any, &twin(OUR_AS)).unwrap_err();
    assert_eq!((refused.code, refused.subcode), (2, 3));
}

#[test]
fn keepalives_are_a_third_of_the_hold_time_at_most() {
    let cases = [
        (240, None, 80),
        (240, Some(10), 10),
        (240, Some(100), 80),
        (3, None, 1),
        (0, Some(10), 0),
        (9, Some(0), 1),
    ];
    for (hold_time, keepalive_time, expected) in cases {
        let timers = Timers { hold_time, keepalive_time, ..Timers::default() };
        let negotiated = meet(&Settings { timers, ..settings() }, &their_open()).unwrap();
        assert_eq!((negotiated.hold_time, negotiated.keepalive_time), (hold_time, expected));
    }
}

#[test]
fn the_restarter_says_so_until_it_has_settled() {
    let restarting = |bench: &Bench| {
        let Some(Action::Send(_, bytes)) = bench.done.last() else { panic!("{:?}", bench.done) };
        let Ok(bgp_wire::Message::Open(open)) = bgp_wire::decode(bytes, &Codec::default()) else { panic!() };
        open.capabilities.iter().any(|c| matches!(c, Capability::GracefulRestart(gr) if gr.restarting))
    };
    let mut bench = Bench::new(settings());
    bench.peer.set_restarting(true);
    bench.event(Event::Start);
    bench.peer.accept(endpoints(50000), bench.now).unwrap();
    bench.drain();
    assert!(restarting(&bench));
    bench.peer.set_restarting(false);
    bench.peer.accept(endpoints(50001), bench.now).unwrap();
    bench.drain();
    assert!(!restarting(&bench));
}
