//! Annotations: what Calico's resources cannot say.

use crate::support::{names, node, plan, session, warnings};
use bgp_config::{
    ANNOTATION_PREFIX, MaxPrefixAction, MaxPrefixes, NextHopMode, NodePlan, OPTIONS, Scope, SessionKey,
    Signing,
};
use bgp_session::{AddPath, Distance, RemoteAs};
use bgp_wire::PerFamily;
use std::time::Duration;

/// Values that each option takes, and one that it does not.
const SAMPLES: &[(&str, &[&str], &str)] = &[
    ("families", &["ipv4", "ipv6", "ipv4,ipv6", "ipv6, ipv4"], "ipx"),
    ("passive", &["true", "false"], "yes"),
    ("hold-time", &["0", "3", "90", "1m30s"], "2"),
    ("keepalive-time", &["1", "30s"], "0"),
    ("connect-delay-time", &["0", "1s500ms"], "soon"),
    ("connect-retry-time", &["1", "2m"], "0"),
    ("error-wait-time", &["1,2", "5s, 1m"], "2,1"),
    ("delay-open-time", &["0", "3s"], "-1s"),
    ("add-path", &["both", "receive", "send", "none"], "all"),
    ("extended-next-hop", &["true", "false"], "1"),
    ("extended-messages", &["true", "false"], ""),
    ("route-refresh", &["true", "false"], "on"),
    ("graceful-restart", &["true", "false"], "off"),
    ("stale-time", &["1s", "360"], "0s"),
    ("max-prefixes", &["1", "4294967295"], "0"),
    ("max-prefixes-action", &["warn", "block", "restart", "disable"], "panic"),
    ("next-hop-mode", &["auto", "self", "keep"], "other"),
    ("allow-own-as", &["0", "3"], "-1"),
    ("ttl", &["1", "255"], "0"),
    ("local-address", &["192.0.2.9", "2001:db8::9"], "eth0"),
    ("interface", &["eth0"], "a-name-that-is-too-long"),
    ("dynamic-neighbors", &["192.0.2.0/24", "192.0.2.0/24, 2001:db8::/64", "192.0.2.1"], "192.0.2.1/24"),
    ("dynamic-neighbors-limit", &["1"], "0"),
    ("remote-as", &["external", "internal", "any"], "64512"),
    ("route-reflector-client", &["true", "false"], "maybe"),
    ("tcp-ao", &["1,2", "100, 100"], "1"),
    ("listen-addresses", &["192.0.2.9", "192.0.2.9,2001:db8::9"], "*"),
    ("shutdown", &["maintenance until noon"], " "),
];

fn annotated(kind: &str, name: &str, spec: &str, annotations: &[(&str, &str)]) -> String {
    let annotations: String =
        annotations.iter().map(|(name, value)| format!("'{ANNOTATION_PREFIX}{name}': '{value}', ")).collect();
    format!(
        "---\nkind: {kind}\nmetadata: {{name: {name}, annotations: {{{annotations}}}}}\nspec: {{{spec}}}\n"
    )
}

fn own() -> String {
    node("a", "10.0.0.9", "2001:db8::9", "", "")
}

fn with_peer(spec: &str, annotations: &[(&str, &str)]) -> std::sync::Arc<NodePlan> {
    plan("a", &(own() + &annotated("BGPPeer", "p", spec, annotations)))
}

const ADDRESS: &str = "peerIP: 192.0.2.1, asNumber: 65001";

#[test]
fn every_option_takes_its_values_and_no_other_and_stands_where_it_may() {
    let named: Vec<&str> = OPTIONS.iter().map(|option| option.name).collect();
    assert_eq!(named, SAMPLES.iter().map(|(name, ..)| *name).collect::<Vec<_>>(), "a sample for each");
    for (option, (name, good, bad)) in OPTIONS.iter().zip(SAMPLES) {
        for (kind, resource, spec, scope) in [
            ("BGPPeer", "p", ADDRESS, Scope::Peer),
            ("BGPConfiguration", "default", "", Scope::Configuration),
        ] {
            let told = |value: &str| {
                warnings(&plan("a", &(own() + &annotated(kind, resource, spec, &[(name, value)]))))
            };
            let label = format!("{kind} {resource}: {ANNOTATION_PREFIX}{name}");
            if option.scope == Scope::Both || option.scope == scope {
                good.iter().for_each(|value| assert_eq!(told(value), [""; 0], "{name}"));
                let told = told(bad);
                assert!(told.len() == 1 && told[0].starts_with(&label), "{told:?}");
                assert!(told[0].contains("is left out: it can be "), "{told:?}");
            } else {
                assert!(
                    told(good[0])[0].contains(&format!("may stand on {} only", option.scope.kinds())),
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn unknown_annotations_of_ours_are_reported_and_others_are_not_ours() {
    let text = annotated("BGPPeer", "p", ADDRESS, &[("max-prefix", "3")])
        .replace("annotations: {", "annotations: {'example.org/x': y, ");
    let plan = plan("a", &(own() + &text));
    assert_eq!(
        warnings(&plan),
        [
            "BGPPeer p: bgp.ocicat.io/max-prefix = \"3\": is no option of this version and is left out: `ocicat bgp options` lists them all"
        ]
    );
    assert_eq!(names(&plan).len(), 1, "the peer is there all the same");
}

#[test]
fn what_they_do_to_a_session() {
    let plan = with_peer(
        ADDRESS,
        &[
            ("families", "ipv4,ipv6"),
            ("passive", "true"),
            ("hold-time", "90"),
            ("connect-delay-time", "0"),
            ("connect-retry-time", "7s"),
            ("error-wait-time", "1s,9s"),
            ("delay-open-time", "3s"),
            ("add-path", "receive"),
            ("extended-next-hop", "true"),
            ("extended-messages", "false"),
            ("route-refresh", "false"),
            ("stale-time", "1m"),
            ("max-prefixes", "1000"),
            ("max-prefixes-action", "block"),
            ("allow-own-as", "1"),
            ("ttl", "3"),
            ("local-address", "10.0.0.77"),
            ("tcp-ao", "1,2"),
            ("shutdown", "later"),
        ],
    );
    assert_eq!(warnings(&plan), [""; 0]);
    let told = session(&plan, "192.0.2.1");
    let settings = &told.settings;
    assert_eq!(settings.families, PerFamily { ipv4: true, ipv6: true });
    assert!(
        settings.passive
            && settings.extended_next_hop
            && !settings.extended_messages
            && !settings.route_refresh
    );
    let timers = &settings.timers;
    assert_eq!((timers.hold_time, timers.connect_delay), (90, Duration::ZERO));
    assert_eq!(
        (timers.connect_retry, timers.delay_open),
        (Duration::from_secs(7), Some(Duration::from_secs(3)))
    );
    assert_eq!(
        (timers.error_wait_min, timers.error_wait_max),
        (Duration::from_secs(1), Duration::from_secs(9))
    );
    assert_eq!(settings.add_path.ipv6, AddPath { receive: true, send: false });
    let restart = settings.graceful_restart.unwrap();
    assert_eq!((restart.stale_time, restart.forwarding), (Duration::from_secs(60), settings.families));
    assert_eq!(told.routing.max_prefixes, Some(MaxPrefixes { limit: 1000, action: MaxPrefixAction::Block }));
    assert_eq!((told.routing.allow_own_as, settings.distance), (1, Distance::Multihop(3)));
    assert_eq!(settings.local_address, Some("10.0.0.77".parse().unwrap()));
    assert_eq!(
        (told.signing, told.shutdown.as_deref()),
        (Signing::Ao { send_id: 1, receive_id: 2 }, Some("later"))
    );
}

#[test]
fn what_holds_without_them() {
    let plan = with_peer("peerIP: '2001:db8::1', asNumber: 65001", &[]);
    let settings = &session(&plan, "2001:db8::1").settings;
    assert_eq!(settings.families, PerFamily { ipv4: false, ipv6: true });
    assert!(!settings.extended_next_hop && settings.extended_messages && settings.route_refresh);
    assert_eq!((settings.timers.hold_time, settings.timers.connect_retry), (240, Duration::from_secs(5)));
    assert_eq!(settings.add_path.ipv6, AddPath { receive: true, send: true });
    assert_eq!(settings.add_path.ipv4, AddPath::default());
    let both = with_peer("peerIP: '2001:db8::1', asNumber: 65001", &[("families", "ipv4,ipv6")]);
    assert!(session(&both, "2001:db8::1").settings.extended_next_hop, "IPv4 over IPv6 needs it");
    let routing = &session(&both, "2001:db8::1").routing;
    assert_eq!(routing.local_addresses.ipv4, Some("10.0.0.9".parse().unwrap()));
    let none = with_peer(ADDRESS, &[("graceful-restart", "false")]);
    assert_eq!(session(&none, "192.0.2.1").settings.graceful_restart, None);
}

#[test]
fn the_nearest_counts() {
    let text = own()
        + &node("b", "10.0.0.10", "", "", "")
        + &annotated(
            "BGPConfiguration",
            "default",
            "",
            &[("hold-time", "30"), ("ttl", "30"), ("next-hop-mode", "self"), ("keepalive-time", "9")],
        )
        + &annotated("BGPConfiguration", "node.a", "", &[("hold-time", "60")])
        + &annotated("BGPConfiguration", "node.b", "", &[("hold-time", "66")])
        + &annotated(
            "BGPPeer",
            "p",
            &format!("{ADDRESS}, nextHopMode: Keep, keepaliveTime: 5s"),
            &[("hold-time", "90")],
        );
    let plan = plan("a", &text);
    let (mesh, peer) = (session(&plan, "10.0.0.10"), session(&plan, "192.0.2.1"));
    let hold = |session: &bgp_config::SessionPlan| session.settings.timers.hold_time;
    assert_eq!((hold(mesh), hold(peer)), (60, 90));
    assert_eq!(
        (mesh.settings.distance, peer.settings.distance),
        (Distance::Multihop(30), Distance::Multihop(30))
    );
    assert_eq!((mesh.routing.next_hop, peer.routing.next_hop), (NextHopMode::Own, NextHopMode::Keep));
    let keepalive = |session: &bgp_config::SessionPlan| session.settings.timers.keepalive_time;
    assert_eq!((keepalive(mesh), keepalive(peer)), (Some(9), Some(5)));
}

#[test]
fn dynamic_neighbours() {
    let ranges = [("dynamic-neighbors", "192.0.2.0/24,2001:db8:1::/64"), ("dynamic-neighbors-limit", "10")];
    let plan = with_peer("asNumber: 65001", &ranges);
    assert_eq!(warnings(&plan), [""; 0]);
    assert_eq!(names(&plan), ["Global_192_0_2_0_24", "Global_2001_db8_1___64"]);
    for (key, session) in &plan.sessions {
        let SessionKey::Range(prefix) = key else { panic!("{key}") };
        assert_eq!(session.settings.remote_address, prefix.addr());
        assert!(session.settings.passive);
        assert_eq!((session.dynamic_limit, session.settings.remote_as), (Some(10), RemoteAs::Exactly(65001)));
    }
    let any =
        with_peer("", &[("dynamic-neighbors", "192.0.2.0/24"), ("remote-as", "any"), ("passive", "false")]);
    let session = any.sessions.values().next().unwrap();
    assert_eq!(session.settings.remote_as, RemoteAs::Any);
    assert!(session.settings.passive, "nobody knows whom to connect to");
    let internal = with_peer("", &[("dynamic-neighbors", "192.0.2.0/24"), ("remote-as", "internal")]);
    assert_eq!(internal.sessions.values().next().unwrap().settings.remote_as, RemoteAs::Exactly(64512));
    assert!(
        with_peer("", &[("dynamic-neighbors", "192.0.2.0/24")]).sessions.is_empty(),
        "an AS must be said"
    );
}

#[test]
fn reflection_and_listening() {
    let reflector = node("a", "10.0.0.9", "2001:db8::9", "routeReflectorClusterID: 1.1.1.1", "");
    let peer = |value| {
        annotated("BGPPeer", "p", "peerIP: 192.0.2.1, asNumber: 64512", &[("route-reflector-client", value)])
    };
    let client = |text: &str| session(&plan("a", text), "192.0.2.1").routing.rr_client;
    assert!(!client(&(reflector.clone() + &peer("false"))));
    assert!(client(&(own() + &peer("true"))), "a reflector need not have a cluster ID of its own");
    let external = annotated("BGPPeer", "p", ADDRESS, &[("route-reflector-client", "true")]);
    assert!(!client(&(reflector + &external)), "only internal neighbours are clients");
    let listening = |spec: &str, annotations: &[(&str, &str)]| {
        let text = own() + &annotated("BGPConfiguration", "default", spec, annotations);
        plan("a", &text).listen.addresses.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(listening("", &[]), [""; 0]);
    assert_eq!(listening("bindMode: NodeIP", &[]), ["10.0.0.9", "2001:db8::9"]);
    assert_eq!(listening("bindMode: NodeIP", &[("listen-addresses", "127.0.0.1")]), ["127.0.0.1"]);
}
