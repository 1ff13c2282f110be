//! Who peers with whom, and how (`bgp.md` §4 of the contract), where no recording says it.

use crate::support::{add, names, node, plan, session, view, warnings};
use bgp_config::{NextHopMode, SecretRef, SessionKey, SessionType, Signing};
use bgp_session::{Authentication, Distance, RemoteAs};
use proptest::prelude::*;
use std::net::IpAddr;

const OFF: &str =
    "---\nkind: BGPConfiguration\nmetadata: {name: default}\nspec: {nodeToNodeMeshEnabled: false}\n";

/// Four nodes: two workers, a reflector, and one in another AS.
fn cluster() -> String {
    [
        node("a", "10.0.0.9", "2001:db8::9", "", "role: worker"),
        node("b", "10.0.0.10", "2001:db8::10", "", "role: worker"),
        node("r", "10.0.0.20", "", "routeReflectorClusterID: 244.0.0.1", "role: rr"),
        node("x", "10.0.0.30", "", "asNumber: 65030", "role: other"),
    ]
    .concat()
}

fn peer(name: &str, spec: &str) -> String {
    format!("---\nkind: BGPPeer\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n")
}

#[test]
fn the_side_with_the_greater_text_connects() {
    let (a, b) = (plan("a", &cluster()), plan("b", &cluster()));
    assert!(!session(&a, "10.0.0.10").settings.passive, "10.0.0.9 connects to 10.0.0.10");
    assert!(session(&b, "10.0.0.9").settings.passive);
    assert!(!session(&a, "2001:db8::10").settings.passive);
    assert!(session(&b, "2001:db8::9").settings.passive);
}

#[test]
fn reflectors_drop_out_of_the_mesh_and_the_mesh_stays_on() {
    let text = cluster();
    assert_eq!(names(&plan("a", &text)), ["Mesh_10_0_0_10", "Mesh_10_0_0_30", "Mesh_2001_db8__10"]);
    assert_eq!(names(&plan("r", &text)), [""; 0]);
    assert_eq!(names(&plan("a", &format!("{text}{OFF}"))), [""; 0]);
}

#[test]
fn the_mesh_takes_as_numbers_ports_password_and_restart_time() {
    let text = cluster()
        + "---\nkind: BGPConfiguration\nmetadata: {name: default}\nspec: {asNumber: 64700, listenPort: 1790, nodeMeshPassword: {secretKeyRef: {name: s, key: k}}, nodeMeshMaxRestartTime: 90s}\n---\nkind: BGPConfiguration\nmetadata: {name: node.b}\nspec: {listenPort: 1791}\n";
    let plan = plan("a", &text);
    assert_eq!((plan.local_as, plan.listen.port), (64700, 1790));
    let b = session(&plan, "10.0.0.10");
    assert_eq!((b.settings.remote_port, b.settings.remote_as), (1791, RemoteAs::Exactly(64700)));
    assert_eq!(b.name, "Mesh_10_0_0_10", "names of the mesh have no ports");
    assert_eq!(b.password, Some(SecretRef { name: "s".into(), key: "k".into() }));
    assert_eq!(b.settings.graceful_restart.unwrap().restart_time, 90);
    let x = session(&plan, "10.0.0.30");
    assert_eq!((x.settings.remote_port, x.settings.remote_as), (1790, RemoteAs::Exactly(65030)));
    assert_eq!(x.settings.local_address, Some("10.0.0.9".parse::<IpAddr>().unwrap()));
}

#[test]
fn the_far_end_of_a_peer_selector_has_the_session_too() {
    let text = cluster() + OFF + &peer("rr", "nodeSelector: role == 'worker', peerSelector: role == 'rr'");
    assert_eq!(names(&plan("a", &text)), ["Node_10_0_0_20"]);
    let r = plan("r", &text);
    assert_eq!(names(&r), ["Node_10_0_0_10", "Node_10_0_0_9"]);
    assert!(session(&r, "10.0.0.9").routing.rr_client);
    assert!(!session(&r, "10.0.0.9").settings.passive);
    assert_eq!(names(&plan("x", &text)), [""; 0]);
    let manual = text.replace("role == 'rr'", "role == 'rr', reversePeering: Manual");
    assert_eq!(names(&plan("a", &manual)), ["Node_10_0_0_20"]);
    assert_eq!(names(&plan("r", &manual)), [""; 0]);
}

#[test]
fn the_far_end_of_an_address_has_the_session_only_if_it_is_meant() {
    let with = |spec: &str| cluster() + OFF + &peer("p", spec);
    let right = with("peerIP: 10.0.0.20, asNumber: 64512");
    let a = plan("a", &right);
    assert_eq!(names(&a), ["Global_10_0_0_20"]);
    assert!(!session(&a, "10.0.0.20").settings.passive, "10.0.0.9 is the greater text");
    assert_eq!(names(&plan("r", &right)), ["Node_10_0_0_10", "Node_10_0_0_30", "Node_10_0_0_9"]);
    assert_eq!(session(&plan("r", &right), "10.0.0.30").settings.remote_as, RemoteAs::Exactly(65030));
    for wrong in ["asNumber: 65000, peerIP: 10.0.0.20", "asNumber: 64512, peerIP: '10.0.0.20:1179'"] {
        assert_eq!(names(&plan("r", &with(wrong))), [""; 0], "{wrong}");
    }
    assert_eq!(names(&plan("r", &with("asNumber: 64512, peerIP: '10.0.0.20:179'"))).len(), 3);
}

#[test]
fn of_two_nodes_with_a_global_peer_one_waits() {
    let text = cluster() + OFF + &peer("p", "peerIP: 10.0.0.20, asNumber: 64512");
    assert!(session(&plan("b", &text), "10.0.0.20").settings.passive, "10.0.0.10 is the lesser text");
    let specific = cluster() + OFF + &peer("p", "node: b, peerIP: 10.0.0.20, asNumber: 64512");
    assert!(!session(&plan("b", &specific), "10.0.0.20").settings.passive);
    let selected = cluster() + OFF + &peer("p", "peerSelector: role == 'rr'");
    assert!(!session(&plan("b", &selected), "10.0.0.20").settings.passive);
}

#[test]
fn an_explicit_peer_wins_over_far_ends_and_the_mesh() {
    let text = cluster() + &peer("p", "node: a, peerIP: 10.0.0.10, asNumber: 64512, keepaliveTime: 7s");
    let a = plan("a", &text);
    assert_eq!(session(&a, "10.0.0.10").name, "Node_10_0_0_10");
    assert_eq!(session(&a, "10.0.0.10").settings.timers.keepalive_time, Some(7));
    assert_eq!(session(&plan("b", &text), "10.0.0.9").session_type, SessionType::Node, "the far end");
}

#[test]
fn of_two_peers_for_one_neighbour_the_global_one_wins_and_the_other_is_reported() {
    let text = cluster()
        + OFF
        + &peer("m", "node: a, peerIP: 192.0.2.1, asNumber: 65001")
        + &peer("z", "peerIP: 192.0.2.1, asNumber: 65002");
    let plan = plan("a", &text);
    assert_eq!(names(&plan), ["Global_192_0_2_1"]);
    assert_eq!(session(&plan, "192.0.2.1").settings.remote_as, RemoteAs::Exactly(65002));
    let told = warnings(&plan);
    assert!(
        told[0].starts_with("BGPPeer m: spec.peerIP = \"192.0.2.1\"") && told[0].contains("BGPPeer z"),
        "{told:?}"
    );
}

#[test]
fn node_selector_takes_precedence_over_node() {
    // refused on a write, but a store may hold it
    let text = cluster()
        + OFF
        + &peer("p", "node: x, nodeSelector: role == 'worker', peerIP: 192.0.2.1, asNumber: 65001");
    assert_eq!(names(&plan("a", &text)).len(), 1);
    assert_eq!(names(&plan("x", &text)), [""; 0]);
}

#[test]
fn a_family_without_an_address_has_no_peers() {
    let text = cluster() + OFF + &peer("p", "peerIP: '2001:db8::1', asNumber: 65001");
    assert_eq!(names(&plan("a", &text)), ["Global_2001_db8__1"]);
    assert_eq!(names(&plan("x", &text)), [""; 0]);
}

#[test]
fn addresses_and_ports_in_every_spelling() {
    for (spelled, name, port) in [
        ("192.0.2.1", "Global_192_0_2_1", 179),
        ("192.0.2.1:179", "Global_192_0_2_1_port_179", 179),
        ("192.0.2.1:1179", "Global_192_0_2_1_port_1179", 1179),
        ("2001:db8::1", "Global_2001_db8__1", 179),
        ("[2001:db8::1]:1179", "Global_2001_db8__1_port_1179", 1179),
    ] {
        let text = cluster() + OFF + &peer("p", &format!("peerIP: '{spelled}', asNumber: 65001"));
        let plan = plan("a", &text);
        assert_eq!(names(&plan), [name]);
        assert_eq!(plan.sessions.values().next().unwrap().settings.remote_port, port);
        let SessionKey::Peer { port: key, .. } = plan.sessions.keys().next().unwrap() else { panic!() };
        assert_eq!(*key, port);
    }
}

#[test]
fn a_calico_node_is_reached_at_its_port() {
    let text = cluster()
        + OFF
        + "---\nkind: BGPConfiguration\nmetadata: {name: node.r}\nspec: {listenPort: 1790}\n"
        + &peer("p", "peerIP: 10.0.0.20, asNumber: 64512");
    assert_eq!(names(&plan("a", &text)), ["Global_10_0_0_20_port_1790"]);
    let selected = text.replace("peerIP: 10.0.0.20, asNumber: 64512", "peerSelector: role == 'rr'");
    assert_eq!(names(&plan("a", &selected)), ["Global_10_0_0_20_port_1790"]);
}

#[test]
fn everything_a_peer_can_say() {
    let spec = "node: a, peerIP: 192.0.2.1, asNumber: 65001, localASNumber: 65009, nextHopMode: Self, maxRestartTime: 45600ms, keepaliveTime: 10s, ttlSecurity: 3, numAllowedLocalASNumbers: 2, sourceAddress: None, reachableBy: 10.0.0.1, password: {secretKeyRef: {name: s, key: k}}";
    let plan = plan("a", &(cluster() + OFF + &peer("p", spec)));
    let told = session(&plan, "192.0.2.1");
    let settings = &told.settings;
    assert_eq!((settings.local_as, settings.remote_as), (65009, RemoteAs::Exactly(65001)));
    assert_eq!((settings.local_address, settings.distance), (None, Distance::Within(3)));
    assert_eq!(settings.graceful_restart.unwrap().restart_time, 46);
    assert_eq!(settings.timers.keepalive_time, Some(10));
    assert_eq!((told.routing.next_hop, told.routing.allow_own_as), (NextHopMode::Own, 2));
    assert_eq!(told.password, Some(SecretRef { name: "s".into(), key: "k".into() }));
    assert_eq!(settings.authentication, Authentication::None, "the password is the shell's to find");
    let routes: Vec<String> = plan.static_routes.iter().map(|(p, via)| format!("{p} via {via}")).collect();
    assert_eq!(routes, ["192.0.2.1/32 via 10.0.0.1"]);
    assert_eq!(told.origin, "BGPPeer p");
}

#[test]
fn what_peers_by_selector_do_not_carry() {
    let spec = "nodeSelector: role == 'worker', peerSelector: role == 'rr', localASNumber: 65009, numAllowedLocalASNumbers: 2, ttlSecurity: 1, nextHopMode: Keep";
    let plan = plan("a", &(cluster() + OFF + &peer("p", spec)));
    let told = session(&plan, "10.0.0.20");
    assert_eq!((told.settings.local_as, told.routing.allow_own_as), (64512, 0));
    assert_eq!((told.settings.distance, told.routing.next_hop), (Distance::Within(1), NextHopMode::Keep));
}

#[test]
fn the_old_way_to_keep_next_hops_is_for_external_peers_and_gives_way() {
    let with = |spec: &str| {
        let text = cluster() + OFF + &peer("p", &format!("node: a, peerIP: 192.0.2.1, {spec}"));
        session(&plan("a", &text), "192.0.2.1").routing.next_hop
    };
    assert_eq!(with("asNumber: 65001, keepOriginalNextHop: true"), NextHopMode::Keep);
    assert_eq!(with("asNumber: 64512, keepOriginalNextHop: true"), NextHopMode::Auto);
    assert_eq!(with("asNumber: 65001, localASNumber: 65001, keepOriginalNextHop: true"), NextHopMode::Auto);
    assert_eq!(with("asNumber: 65001, keepOriginalNextHop: true, nextHopMode: Auto"), NextHopMode::Auto);
    assert_eq!(with("asNumber: 64512, nextHopMode: Keep"), NextHopMode::Keep);
}

#[test]
fn clients_of_a_reflector() {
    let other = node("s", "10.0.0.21", "", "routeReflectorClusterID: 244.0.0.2", "role: rr");
    let same = node("t", "10.0.0.22", "", "routeReflectorClusterID: 244.0.0.1", "role: rr");
    let text = cluster()
        + &other
        + &same
        + OFF
        + &peer("p", "peerSelector: all()")
        + &peer("q", "peerIP: 192.0.2.1, asNumber: 64512");
    let plan = plan("r", &text);
    for (address, client) in [
        ("10.0.0.9", true),
        ("10.0.0.21", true),
        ("10.0.0.22", false),
        ("10.0.0.30", false),
        ("192.0.2.1", true),
    ] {
        assert_eq!(session(&plan, address).routing.rr_client, client, "{address}");
    }
}

#[test]
fn router_ids() {
    use bgp_config::{RouterId, View};
    let with = |router_id, text: &str| {
        let mut view = View::new("a", router_id);
        add(&mut view, text);
        view.plan().router_id.map(|id| id.to_string())
    };
    let text = cluster();
    assert_eq!(with(RouterId::Address, &text).as_deref(), Some("10.0.0.9"));
    assert_eq!(with(RouterId::parse("1.2.3.4").unwrap(), &text).as_deref(), Some("1.2.3.4"));
    // sha256("a") begins ca 97 81 12
    assert_eq!(with(RouterId::parse("hash").unwrap(), &text).as_deref(), Some("202.151.129.18"));
    let six = node("a", "", "2001:db8::9", "", "");
    assert_eq!(with(RouterId::Address, &six).as_deref(), Some("202.151.129.18"), "a node of IPv6 alone");
    assert_eq!(with(RouterId::Address, ""), None);
    // sha256("h2") begins f9 98 fe 06: class E is left
    let mut high = View::new("h2", RouterId::Hash);
    add(&mut high, &node("h2", "10.0.0.1", "", "", ""));
    assert_eq!(high.plan().router_id.unwrap().to_string(), "217.152.254.6");
    let refused = RouterId::parse("nobody").unwrap_err().to_string();
    assert!(refused.starts_with("CALICO_ROUTER_ID=\"nobody\": expected an IPv4 address"), "{refused}");
    assert_eq!(RouterId::parse(""), Ok(RouterId::Address));
}

#[test]
fn the_address_that_stands_for_us_is_the_one_we_connect_from() {
    let with = |more: &str, annotations: &str| {
        let text = cluster()
            + OFF
            + &peer("p", &format!("node: a, peerIP: 192.0.2.1, asNumber: 65001{more}"))
                .replace("name: p", &format!("name: p, annotations: {{{annotations}}}"));
        let own = session(&plan("a", &text), "192.0.2.1").routing.local_addresses;
        (own.ipv4.map(|own| own.to_string()), own.ipv6.map(|own| own.to_string()))
    };
    let six = Some("2001:db8::9".to_owned());
    assert_eq!(with("", ""), (Some("10.0.0.9".to_owned()), six.clone()));
    assert_eq!(with(", sourceAddress: None", ""), (None, six.clone()), "the connection's own end");
    assert_eq!(with("", "bgp.ocicat.io/local-address: 10.7.7.7"), (Some("10.7.7.7".to_owned()), six));
}

#[test]
fn passwords_become_keys_only_when_known() {
    let md5 = Signing::default();
    assert_eq!(md5.with(None), Authentication::None);
    assert_eq!(md5.with(Some(b"x".to_vec())), Authentication::Md5(b"x".to_vec()));
    let ao = Signing::Ao { send_id: 1, receive_id: 2 };
    assert_eq!(
        ao.with(Some(b"x".to_vec())),
        Authentication::Ao { key: b"x".to_vec(), send_id: 1, receive_id: 2 }
    );
    assert_eq!(ao.with(None), Authentication::None);
}

#[test]
fn what_is_wrong_with_a_peer_makes_it_absent_and_harms_no_other() {
    let good = peer("good", "peerIP: 192.0.2.9, asNumber: 65001");
    for (spec, field) in [
        ("peerIP: nonsense, asNumber: 65001", "spec.peerIP = \"nonsense\""),
        ("peerIP: 192.0.2.1", "spec.asNumber"),
        ("asNumber: 65001", "spec.peerIP"),
        ("peerSelector: 'role =='", "spec.peerSelector = \"role ==\""),
        ("nodeSelector: '(', peerIP: 192.0.2.1, asNumber: 1", "spec.nodeSelector"),
        ("peerIP: 192.0.2.1, asNumber: 65001, reachableBy: '2001:db8::1'", "spec.reachableBy"),
        ("peerIP: 192.0.2.1, asNumber: 65001, reachableBy: x", "spec.reachableBy"),
        ("localWorkloadSelector: all()", "spec.asNumber"),
        ("peerIP: 192.0.2.1, asNumber: 65001, localASNumber: 0", "spec.localASNumber"),
    ] {
        let plan = plan("a", &(cluster() + OFF + &good + &peer("bad", spec)));
        assert_eq!(names(&plan), ["Global_192_0_2_9"], "{spec}");
        let told = warnings(&plan);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with(&format!("BGPPeer bad: {field}")), "{told:?}");
        assert!(told[0].ends_with("the resource counts as absent"), "{told:?}");
    }
}

#[test]
fn values_of_newer_releases_count_as_not_given() {
    let spec =
        "peerIP: 192.0.2.1, asNumber: 65001, nextHopMode: Clever, sourceAddress: Best, keepaliveTime: -5s";
    let plan = plan("a", &(cluster() + OFF + &peer("p", spec)));
    let told = session(&plan, "192.0.2.1");
    assert_eq!(told.routing.next_hop, NextHopMode::Auto);
    assert!(told.settings.local_address.is_some() && told.settings.timers.keepalive_time.is_none());
    assert_eq!(warnings(&plan).len(), 3, "{:?}", warnings(&plan));
}

#[test]
fn a_resource_that_cannot_be_read_is_absent_until_it_can() {
    let mut view = view("a", &(cluster() + OFF + &peer("p", "peerIP: 192.0.2.1, asNumber: 65001")));
    let key = model::Key::resource(model::Kind::BGPPeer, "", "p");
    view.unreadable(&key, "not JSON");
    assert_eq!(names(&view.plan()), [""; 0]);
    assert_eq!(warnings(&view.plan()), ["BGPPeer p: not JSON; it counts as absent"]);
    add(&mut view, &peer("p", "peerIP: 192.0.2.1, asNumber: 65001"));
    assert_eq!((names(&view.plan()).len(), warnings(&view.plan()).len()), (1, 0));
    view.remove(&key);
    assert_eq!(names(&view.plan()), [""; 0]);
}

#[test]
fn wrong_nodes_lose_only_what_is_wrong() {
    let text = [
        node("a", "10.0.0.9", "2001:db8::9", "", ""),
        "---\nkind: Node\nmetadata: {name: b}\nspec: {bgp: {ipv4Address: what, ipv6Address: '2001:db8::10', asNumber: 0, routeReflectorClusterID: me}}\n".to_owned(),
    ]
    .concat();
    let plan = plan("a", &text);
    assert_eq!(names(&plan), ["Mesh_2001_db8__10"]);
    assert_eq!(session(&plan, "2001:db8::10").settings.remote_as, RemoteAs::Exactly(64512));
    assert_eq!(warnings(&plan).len(), 3, "{:?}", warnings(&plan));
}

proptest! {
    /// No pair of mesh nodes waits on both ends, or connects from both.
    #[test]
    fn of_two_nodes_of_the_mesh_exactly_one_connects(a in any::<u32>(), b in any::<u32>(), six in any::<bool>()) {
        prop_assume!(a != b);
        let address = |n: u32| match six {
            true => IpAddr::from((0x2001_0db8_u128 << 96 | u128::from(n)).to_be_bytes()),
            false => IpAddr::from(n.to_be_bytes()),
        };
        let text = [("a", a), ("b", b)].map(|(name, n)| {
            let family = if six { "ipv6Address" } else { "ipv4Address" };
            format!("---\nkind: Node\nmetadata: {{name: {name}}}\nspec: {{bgp: {{{family}: '{}'}}}}\n", address(n))
        }).concat();
        let (from_a, from_b) = (plan("a", &text), plan("b", &text));
        let passive = |plan: &bgp_config::NodePlan| plan.sessions.values().next().unwrap().settings.passive;
        prop_assert_ne!(passive(&from_a), passive(&from_b));
    }
}
