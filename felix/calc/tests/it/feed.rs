//! Stored pairs as they come: what is read of them, what is refused and said, and what does not wait for what.

use crate::support::{NODE, Node, stored};
use felix_calc::endpoint::{Endpoint, EndpointKey, FloatingAddress, HostInterface, Limit, LocalEndpoint};
use felix_calc::report::title;
use felix_calc::rule::Rule;
use felix_calc::{Feed, Options};
use model::v3::Action;
use model::{Key, Kind};
use serde_json::{Value, json};
use std::sync::Arc;

const WEP: &str = "/calico/resources/v3/projectcalico.org/workloadendpoints/default/node--1-k8s-w-eth0";

fn workload() -> Value {
    json!({"metadata": {"name": "node--1-k8s-w-eth0", "namespace": "default", "labels": {"app": "web"}},
        "spec": {"node": NODE, "orchestrator": "k8s", "pod": "w", "endpoint": "eth0", "interfaceName": "cali1",
            "ipNetworks": ["10.0.0.1/32"], "profiles": ["p"]}})
}

fn key(name: &str) -> EndpointKey {
    EndpointKey::Workload("default".into(), name.into())
}

fn local(node: &Node) -> Option<Arc<LocalEndpoint>> {
    node.told.endpoints.get(&key("node--1-k8s-w-eth0")).cloned()
}

fn reports(node: &Node) -> Vec<String> {
    let all = node.told.reports.iter();
    all.flat_map(|(key, all)| all.iter().map(move |report| format!("{}: {report}", title(key)))).collect()
}

#[test]
fn a_dscp_value_is_a_number_or_a_name() {
    let mut node = Node::new(Options::default());
    let mut value = |dscp: Value| {
        let mut value = workload();
        value["spec"]["qosControls"] = json!({"dscp": dscp});
        node.put(WEP, value.to_string());
        let Endpoint::Workload(read) = &*local(&node).unwrap().endpoint.clone() else { panic!() };
        read.dscp
    };
    for (stored, read) in [
        (json!(0), Some(0)),
        (json!(63), Some(63)),
        (json!(64), None),
        (json!(-1), None),
        (json!("20"), Some(20)),
        (json!("DF"), Some(0)),
        (json!("LE"), Some(1)),
        (json!("VA"), Some(44)),
        (json!("EF"), Some(46)),
        (json!("CS0"), Some(0)),
        (json!("CS7"), Some(56)),
        (json!("CS8"), None),
        (json!("AF11"), Some(10)),
        (json!("AF23"), Some(22)),
        (json!("AF43"), Some(38)),
        (json!("AF44"), None),
        (json!("AF01"), None),
        (json!(""), None),
        (json!(null), None),
    ] {
        assert_eq!(value(stored.clone()), read, "{stored}");
    }
}

#[test]
fn everything_of_a_local_workload_reaches_the_dataplane() {
    let mut node = Node::new(Options::default());
    let mut value = workload();
    value["spec"]["mac"] = "0A:00-00:00:00:6f".into();
    value["spec"]["ipNetworks"] = json!(["10.0.0.1/32", "fd00::1"]);
    value["spec"]["ipNATs"] = json!([{"internalIP": "10.0.0.1", "externalIP": "203.0.113.9"}]);
    value["spec"]["allowSpoofedSourcePrefixes"] = json!(["10.9.9.9/16", "fd01::/64"]);
    value["spec"]["ports"] = json!([{"name": "web", "protocol": "TCP", "port": 80},
        {"name": "", "protocol": "TCP", "port": 81, "hostPort": 8081}]);
    value["spec"]["qosControls"] = json!({"ingressPacketRate": 100, "egressPacketRate": 200,
        "egressPacketBurst": 9, "egressMaxConnections": 20, "ingressBandwidth": 1000});
    node.put(WEP, value.to_string());
    let endpoint = local(&node).unwrap();
    let Endpoint::Workload(read) = &*endpoint.endpoint else { panic!("{endpoint:?}") };
    assert_eq!(
        (&*read.id.orchestrator, &*read.id.workload, &*read.id.endpoint),
        ("k8s", "default/w", "eth0")
    );
    assert_eq!((&*read.interface, read.mac), ("cali1", Some([10, 0, 0, 0, 0, 0x6f])));
    let text = |all: &[std::net::IpAddr]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(text(&read.addresses), ["10.0.0.1", "fd00::1"]);
    let floating =
        FloatingAddress { external: "203.0.113.9".parse().unwrap(), internal: "10.0.0.1".parse().unwrap() };
    assert_eq!(*read.floating, [floating]);
    assert_eq!(*read.source_prefixes, ["10.9.0.0/16".parse().unwrap(), "fd01::/64".parse().unwrap()]);
    assert_eq!(
        read.ports.iter().map(|port| (&*port.name, port.protocol, port.port)).collect::<Vec<_>>(),
        [("web", 6, 80)]
    );
    assert_eq!(endpoint.endpoint.profiles(), [Arc::from("p")]);
    assert_eq!(read.ingress_limit, Limit { packets: Some((100, 5)), connections: None });
    assert_eq!(read.egress_limit, Limit { packets: Some((200, 9)), connections: Some(20) });
    assert_eq!(read.dscp, None);
    // a profile that is not there denies
    let profile = &node.told.profiles["p"];
    for rules in [&profile.ingress, &profile.egress] {
        assert_eq!(rules.iter().map(|rule| rule.action).collect::<Vec<_>>(), [Action::Deny]);
    }
}

#[test]
fn a_status_key_names_a_workload_by_its_orchestrator() {
    for (orchestrator, field, expected) in [
        ("k8s", "pod", "default/x"),
        ("cni", "containerID", "default/x"),
        ("libnetwork", "workload", "default/libnetwork"),
        ("openstack", "workload", "default/x"),
    ] {
        let mut node = Node::new(Options::default());
        let mut value = workload();
        value["spec"]["pod"] = Value::Null;
        value["spec"]["orchestrator"] = orchestrator.into();
        value["spec"][field] = "x".into();
        node.put(WEP, value.to_string());
        let endpoint = local(&node).unwrap();
        let Endpoint::Workload(read) = &*endpoint.endpoint else { panic!("{endpoint:?}") };
        assert_eq!(read.id.workload, expected, "{orchestrator}");
    }
}

#[test]
fn everything_of_a_local_host_endpoint_reaches_the_dataplane() {
    let mut node = Node::new(Options::default());
    for (interface, addresses, expected) in [
        ("eth0", json!([]), HostInterface::Named("eth0".into())),
        ("*", json!(["192.0.2.11"]), HostInterface::All),
        ("", json!(["192.0.2.11", "nonsense", "fd00::1"]), HostInterface::ByAddress),
    ] {
        let value = json!({"spec": {"node": NODE, "interfaceName": interface, "expectedIPs": addresses, "profiles": ["p"]}});
        node.put(&Key::resource(Kind::HostEndpoint, "", "h").path(), value.to_string());
        let endpoint = &node.told.endpoints[&EndpointKey::Host("h".into())];
        let Endpoint::Host(read) = &*endpoint.endpoint else { panic!("{endpoint:?}") };
        assert_eq!(read.interface, expected);
        // what is no address is left out, as upstream does
        let valid = addresses.as_array().unwrap().iter().filter(|text| *text != "nonsense").count();
        assert_eq!(read.expected.len(), valid);
    }
    node.put(&Key::resource(Kind::HostEndpoint, "", "h").path(), json!({"spec": {"node": NODE}}).to_string());
    assert!(node.told.endpoints.is_empty());
    assert_eq!(
        reports(&node),
        [
            "HostEndpoint h: spec.interfaceName: \"\" must be given where expectedIPs is not; it counts as absent"
        ]
    );
}

#[test]
fn what_cannot_be_read_counts_as_absent_is_said_and_harms_no_other() {
    let mut node = Node::new(Options::default());
    let mut other = workload();
    other["spec"]["interfaceName"] = "cali2".into();
    node.put(&WEP.replace("-w-", "-other-"), other.to_string());
    for (field, bad, expected) in [
        ("node", json!(null), "spec.node: \"\" must be given"),
        ("interfaceName", json!(""), "spec.interfaceName: \"\" must be given"),
        ("mac", json!("0a:00:00:00:00"), "spec.mac: \"0a:00:00:00:00\" is no MAC address: write one such as"),
        ("mac", json!("0a:00:00:00:00:00:00"), "spec.mac: "),
        ("mac", json!("0a:00:00:00:00:+1"), "spec.mac: "),
        ("ipNetworks", json!(["10.0.0.0/24"]), "spec.ipNetworks: \"10.0.0.0/24\" is no single address"),
        ("ipNetworks", json!(["x"]), "spec.ipNetworks: \"x\" is no single address"),
        (
            "ipNetworks",
            json!("10.0.0.1/32"),
            "spec.ipNetworks: the text \"10.0.0.1/32\" where a list is wanted",
        ),
        (
            "ipNATs",
            json!([{"internalIP": "10.0.0.2", "externalIP": "203.0.113.1"}]),
            "spec.ipNATs.internalIP: \"10.0.0.2\" must be one of",
        ),
        ("ipNATs", json!([{"internalIP": "10.0.0.1", "externalIP": "fd00::1"}]), "spec.ipNATs.internalIP: "),
        ("ipNATs", json!([{"internalIP": "10.0.0.1"}]), "spec.ipNATs.externalIP: \"\" is no address"),
        (
            "ports",
            json!([{"name": "a", "protocol": "ICMP", "port": 1}]),
            "spec.ports.a: \"ICMP 1\" is no port of TCP",
        ),
        (
            "ports",
            json!([{"name": "a", "protocol": "TCP", "port": 0}]),
            "spec.ports.a: \"TCP 0\" is no port of TCP",
        ),
        ("allowSpoofedSourcePrefixes", json!(["x"]), "spec.allowSpoofedSourcePrefixes: \"x\" is no network"),
    ] {
        let mut value = workload();
        value["spec"][field] = bad;
        node.put(WEP, value.to_string());
        let all = reports(&node);
        assert!(
            all.len() == 1
                && all[0].starts_with(&format!("WorkloadEndpoint default/node--1-k8s-w-eth0: {expected}")),
            "{all:?}"
        );
        assert!(local(&node).is_none(), "{field}");
        assert_eq!(node.told.endpoints.len(), 1);
        // mended
        node.put(WEP, workload().to_string());
        assert!(local(&node).is_some() && reports(&node).is_empty());
    }
    node.put(WEP, "{");
    assert!(reports(&node)[0].contains("is not JSON"), "{:?}", reports(&node));
    // gone
    node.delete(WEP);
    assert_eq!(reports(&node), [""; 0]);
    // without addresses it is as good as absent, and nothing is wrong with that
    let mut value = workload();
    value["spec"]["ipNetworks"] = json!([]);
    node.put(WEP, value.to_string());
    assert!(local(&node).is_none() && reports(&node).is_empty());
}

#[test]
fn refused_policies_name_what_is_wrong() {
    let mut node = Node::new(Options::default());
    node.put(WEP, workload().to_string());
    let path = Key::resource(Kind::GlobalNetworkPolicy, "", "p").path();
    for (spec, expected) in [
        (json!({"selector": "a =="}), "spec.selector: "),
        (json!({"namespaceSelector": "("}), "spec.namespaceSelector: "),
        (
            json!({"ingress": [{"action": "Allow"}, {"action": "Allow", "protocol": "XYZ"}]}),
            "spec.ingress[1].protocol: \"XYZ\" is no protocol",
        ),
        (json!({"egress": [{"action": "Maybe"}]}), "spec.egress[0].action: "),
        (
            json!({"ingress": [{"action": "Allow", "source": {"ports": ["80:70"]}}]}),
            "(spec.ingress[0].source.ports[0])",
        ),
        (json!({"order": "first"}), "spec.order: the text \"first\" where"),
    ] {
        node.put(&path, json!({"spec": spec}).to_string());
        let all = reports(&node);
        assert!(
            all.len() == 1 && all[0].starts_with("GlobalNetworkPolicy p: ") && all[0].contains(expected),
            "{all:?}"
        );
        assert!(local(&node).unwrap().tiers.is_empty());
        node.put(&path, json!({"spec": {}}).to_string());
        assert_eq!((node.policies_of("node--1-k8s-w-eth0").len(), reports(&node).len()), (1, 0));
    }
}

#[test]
fn matches_that_are_not_enforced_are_said() {
    let mut node = Node::new(Options::default());
    let rules = json!([{"action": "Allow"}, {"action": "Deny", "http": {"methods": ["GET"]}},
        {"action": "Allow", "destination": {"services": {"name": "s", "namespace": "n"}}}]);
    for kind in [Kind::NetworkPolicy, Kind::StagedNetworkPolicy] {
        node.put(&Key::resource(kind, "shop", "p").path(), json!({"spec": {"egress": rules}}).to_string());
    }
    node.put(&Key::resource(Kind::Profile, "", "q").path(), json!({"spec": {"ingress": rules}}).to_string());
    let said = "is not enforced: Allow and Pass match nothing, Deny as if the field were absent";
    // a staged policy enforces nothing anyway
    let expected = [
        format!("NetworkPolicy shop/p: spec.egress[1].http {said}"),
        format!("NetworkPolicy shop/p: spec.egress[2].services {said}"),
        format!("Profile q: spec.ingress[1].http {said}"),
        format!("Profile q: spec.ingress[2].services {said}"),
    ];
    assert_eq!(reports(&node), expected);
}

#[test]
fn old_and_new_spellings_are_read() {
    let mut node = Node::new(Options::default());
    node.put(WEP, workload().to_string());
    let path = Key::resource(Kind::GlobalNetworkPolicy, "", "p").path();
    let rule =
        json!({"action": "Allow", "protocol": "tcp", "source": {}, "destination": null, "newField": [1]});
    let lists = |node: &Node| {
        let endpoint = local(node).unwrap();
        let policy = &endpoint.tiers[0].policies[0];
        let one = |rules: &Option<Vec<Rule>>| rules.as_ref().map(|rules| rules.len());
        (one(&policy.ingress), one(&policy.egress), policy.tier.clone())
    };
    for (types, expected) in [
        // none at all: old data, both directions, whatever rules there are
        (json!(null), (Some(1), Some(0))),
        (json!([]), (Some(1), Some(0))),
        (json!(["Egress"]), (None, Some(0))),
        (json!(["ingress"]), (Some(1), None)),
        (json!(["Ingress", "egress"]), (Some(1), Some(0))),
    ] {
        node.put(
            &path,
            json!({"kind": "X", "spec": {"types": types, "ingress": [rule], "egress": null, "later": {}}})
                .to_string(),
        );
        assert_eq!(reports(&node), [""; 0]);
        let (ingress, egress, tier) = lists(&node);
        assert_eq!(((ingress, egress), tier.as_str()), (expected, "default"));
    }
    // text with escapes, and the last of two equal labels
    let escaped = r#"{"metadata":{"labels":{"app":"x","app":"w\u0065b"}},"spec":"#;
    node.put(WEP, format!("{escaped}{}}}", workload()["spec"]));
    node.put(&path, json!({"spec": {"selector": "app == 'web'"}}).to_string());
    assert_eq!(node.policies_of("node--1-k8s-w-eth0"), ["p"]);
}

#[test]
fn the_profile_that_allows_everything_is_always_there() {
    let mut node = Node::new(Options::default());
    let mut value = workload();
    value["spec"]["profiles"] = json!(["projectcalico-default-allow"]);
    node.put(WEP, value.to_string());
    let allows = |node: &Node| {
        let profile = &node.told.profiles["projectcalico-default-allow"];
        [&profile.ingress, &profile.egress]
            .iter()
            .all(|rules| rules.len() == 1 && rules[0].action == Action::Allow)
    };
    assert!(allows(&node));
    // nothing that is stored under its name counts
    let path = Key::resource(Kind::Profile, "", "projectcalico-default-allow").path();
    node.put(&path, json!({"spec": {}}).to_string());
    assert!(allows(&node));
    node.delete(&path);
    assert!(allows(&node));
}

#[test]
fn tiers_default_to_deny() {
    let mut node = Node::new(Options::default());
    node.put(WEP, workload().to_string());
    node.put(
        &Key::resource(Kind::GlobalNetworkPolicy, "", "p").path(),
        json!({"spec": {"tier": "t"}}).to_string(),
    );
    let action = |node: &Node| local(node).unwrap().tiers[0].default_action;
    assert_eq!(action(&node), Action::Deny);
    for (given, expected) in
        [("Pass", Action::Pass), ("Log", Action::Deny), ("?", Action::Deny), ("Deny", Action::Deny)]
    {
        node.put(
            &Key::resource(Kind::Tier, "", "t").path(),
            json!({"spec": {"defaultAction": given}}).to_string(),
        );
        assert_eq!(action(&node), expected, "{given}");
    }
}

#[test]
fn settings_are_handed_on_as_they_are() {
    let mut node = Node::new(Options::default());
    let names = |node: &Node| node.told.settings.keys().map(title).collect::<Vec<_>>();
    for (kind, name) in [
        (Kind::FelixConfiguration, "default"),
        (Kind::FelixConfiguration, "node.other"),
        (Kind::ClusterInformation, "default"),
        (Kind::ClusterInformation, "other"),
        (Kind::Node, NODE),
        (Kind::Node, "other"),
    ] {
        node.put(&Key::resource(kind, "", name).path(), json!({"spec": {"unknown": 1}}).to_string());
    }
    let expected = [
        "ClusterInformation default",
        "FelixConfiguration default",
        "FelixConfiguration node.other",
        "Node node-1",
    ];
    assert_eq!(names(&node), expected);
    let first = node.told.settings.values().next().unwrap();
    assert_eq!(first.spec()["unknown"], 1);
    node.put(&Key::resource(Kind::FelixConfiguration, "", "default").path(), "[]");
    node.delete(&Key::resource(Kind::Node, "", NODE).path());
    assert_eq!(names(&node), ["ClusterInformation default", "FelixConfiguration node.other"]);
    assert!(reports(&node)[0].starts_with("FelixConfiguration default: is no JSON object"));
}

#[test]
fn networks_of_services_are_those_of_the_whole_cluster() {
    let mut node = Node::new(Options::default());
    let text = |node: &Node| node.told.service_cidrs.iter().map(ToString::to_string).collect::<Vec<_>>();
    let path = |name| Key::resource(Kind::BGPConfiguration, "", name).path();
    let list = |cidr: &str| json!([{"cidr": cidr}]);
    let value = json!({"spec": {"serviceClusterIPs": list("10.96.0.0/12"), "serviceExternalIPs": list("fd00::/112"),
        "serviceLoadBalancerIPs": list("203.0.113.1/32")}});
    node.put(&path("default"), value.to_string());
    node.put(&path("node.node-1"), json!({"spec": {"serviceClusterIPs": list("10.0.0.0/8")}}).to_string());
    assert_eq!(text(&node), ["10.96.0.0/12", "203.0.113.1/32", "fd00::/112"]);
    node.put(&path("default"), json!({"spec": {"serviceClusterIPs": list("x")}}).to_string());
    assert_eq!(text(&node), [""; 0]);
    assert_eq!(reports(&node).len(), 1);
}

fn push(feed: &mut Feed, kind: Kind, namespace: &str, name: &str, value: Value) {
    feed.push(Key::resource(kind, namespace, name).path().into(), Some(value.to_string().into()));
}

/// However much waits, an endpoint of this node is next.
#[test]
fn endpoints_of_this_node_wait_for_nobody() {
    let mut feed = Feed::new(NODE, Options::default());
    let endpoint = |node: &str| {
        let mut value = workload();
        value["spec"]["node"] = node.into();
        value
    };
    for number in 0..1000 {
        push(
            &mut feed,
            Kind::WorkloadEndpoint,
            "default",
            &format!("node--2-k8s-p{number}-eth0"),
            endpoint("node-2"),
        );
        push(
            &mut feed,
            Kind::WorkloadEndpoint,
            "default",
            &format!("node--12-k8s-p{number}-eth0"),
            endpoint("node-12"),
        );
    }
    push(&mut feed, Kind::GlobalNetworkPolicy, "", "p", json!({"spec": {}}));
    push(&mut feed, Kind::WorkloadEndpoint, "default", "node--1-k8s-w-eth0", endpoint(NODE));
    assert_eq!(feed.work(1), 2001);
    assert_eq!(feed.take().endpoints.len(), 1);
    // then what there is little of
    feed.work(1);
    assert_eq!(feed.counts().policies, 1);
    // a newer value takes the place of the one that waits
    let before = feed.work(0);
    push(&mut feed, Kind::WorkloadEndpoint, "default", "node--2-k8s-p7-eth0", endpoint("node-1"));
    assert_eq!(feed.work(0), before);
    assert_eq!(feed.work(usize::MAX), 0);
    assert_eq!(feed.counts().local_endpoints, 2);
    let counts = feed.counts();
    assert_eq!((counts.items, counts.workload_endpoints, counts.host_endpoints), (2001, 2001, 0));
    // what waited under a key and was replaced was never taken in
    let done = feed.work_done();
    assert_eq!(done.updates, [("GlobalNetworkPolicy", 1), ("WorkloadEndpoint", 2001)].into());
    assert_eq!((counts.narrow_selectors, counts.broad_selectors), (0, 1));
    // the policy's selector matches the one kind of endpoint there is: tried when either came second
    assert_eq!((done.evaluations.matched, done.evaluations.missed), (1, 0));
}

#[test]
fn endpoints_of_a_kind_are_counted_and_so_are_trials_of_selectors() {
    let mut feed = Feed::new(NODE, Options::default());
    let host = |node: &str| json!({"metadata": {"labels": {"role": "db"}}, "spec": {"node": node, "interfaceName": "eth0"}});
    push(&mut feed, Kind::HostEndpoint, "", "h1", host("node-2"));
    push(&mut feed, Kind::HostEndpoint, "", "h2", host("node-3"));
    push(
        &mut feed,
        Kind::GlobalNetworkSet,
        "",
        "s",
        json!({"metadata": {"labels": {"role": "web"}}, "spec": {"nets": ["10.0.0.0/8"]}}),
    );
    let policy = |selector: &str| json!({"spec": {"selector": selector}});
    push(&mut feed, Kind::GlobalNetworkPolicy, "", "p", policy("role == 'db'"));
    push(&mut feed, Kind::GlobalNetworkPolicy, "", "q", policy("role != 'db'"));
    feed.work(usize::MAX);
    let counts = feed.counts();
    assert_eq!((counts.items, counts.workload_endpoints, counts.host_endpoints), (3, 0, 2));
    assert_eq!((counts.narrow_selectors, counts.broad_selectors), (1, 1));
    // the narrow one is tried with one kind of the two, the broad one with both
    let tried = feed.work_done().evaluations;
    assert_eq!((tried.matched, tried.missed), (2, 1));
    feed.push(Key::resource(Kind::HostEndpoint, "", "h1").path().into(), None);
    feed.work(usize::MAX);
    assert_eq!((feed.counts().items, feed.counts().host_endpoints), (2, 1));
}

#[test]
fn everything_that_is_read_lies_below_the_roots() {
    let roots = Feed::roots();
    let read = stored(
        "kind: Tier\napiVersion: projectcalico.org/v3\nmetadata: {name: t}\nspec: {order: 1}\n---\nkind: StagedGlobalNetworkPolicy\napiVersion: projectcalico.org/v3\nmetadata: {name: p}\nspec: {}",
    );
    for (key, _) in read {
        assert_eq!(roots.iter().filter(|root| key.starts_with(*root)).count(), 1, "{key}");
    }
    assert_eq!(roots.len(), 19);
    // none lies in another
    assert!(roots.iter().all(|a| roots.iter().filter(|b| a.starts_with(*b)).count() == 1));
    assert!(roots.last().unwrap().contains("workloadendpoints"));
}

#[test]
fn a_policy_is_known_by_the_name_of_its_key() {
    let mut node = Node::new(Options::default());
    node.put(WEP, workload().to_string());
    // an old entry and the one that takes its place stand side by side for a while; the end of one is not the other's
    for name in ["default.x", "x"] {
        let value = json!({"metadata": {"name": name, "annotations": {"projectcalico.org/metadata": "{\"name\":\"x\"}"}}, "spec": {}});
        node.put(&Key::resource(Kind::GlobalNetworkPolicy, "", name).path(), value.to_string());
    }
    assert_eq!(node.policies_of("node--1-k8s-w-eth0"), ["default.x", "x"]);
    node.delete(&Key::resource(Kind::GlobalNetworkPolicy, "", "default.x").path());
    assert_eq!(node.policies_of("node--1-k8s-w-eth0"), ["x"]);
}

#[test]
fn the_bgp_peer_of_a_workload_is_the_first_of_this_node_that_selects_it() {
    let mut node = Node::new(Options::default());
    node.put(WEP, workload().to_string());
    let path = |name| Key::resource(Kind::BGPPeer, "", name).path();
    let peer = |spec: Value| json!({"spec": spec}).to_string();
    let told = |node: &Node| node.told.bgp_peers.values().map(ToString::to_string).collect::<Vec<_>>();
    node.put(&path("c"), peer(json!({"localWorkloadSelector": "app == 'web'", "asNumber": 64512})));
    assert_eq!(told(&node), ["c"]);
    for (spec, expected) in [
        (json!({"localWorkloadSelector": "app == 'db'"}), "c"),
        (json!({"peerIP": "192.0.2.1"}), "c"),
        (json!({"localWorkloadSelector": "has(app)"}), "b"),
        (json!({"localWorkloadSelector": "has(app)", "node": "node-1"}), "b"),
        (json!({"localWorkloadSelector": "has(app)", "node": "node-2"}), "c"),
        (json!({"localWorkloadSelector": "has(app)", "nodeSelector": "rack == '1'"}), "c"),
        // the selector goes before the name
        (json!({"localWorkloadSelector": "has(app)", "nodeSelector": "!has(rack)", "node": "node-2"}), "b"),
        (json!({"localWorkloadSelector": "("}), "c"),
    ] {
        node.put(&path("b"), peer(spec.clone()));
        assert_eq!(told(&node), [expected], "{spec}");
    }
    assert!(reports(&node)[0].starts_with("BGPPeer b: spec.localWorkloadSelector: "));
    // by the node's labels, as they come and go
    node.put(&path("b"), peer(json!({"localWorkloadSelector": "has(app)", "nodeSelector": "rack == '1'"})));
    let own = Key::resource(Kind::Node, "", NODE).path();
    node.put(&own, json!({"metadata": {"labels": {"rack": "1"}}, "spec": {}}).to_string());
    assert_eq!(told(&node), ["b"]);
    node.delete(&own);
    assert_eq!(told(&node), ["c"]);
    // by the workload's
    let mut other = workload();
    other["metadata"]["labels"]["app"] = "x".into();
    node.put(WEP, other.to_string());
    assert_eq!(told(&node), [""; 0]);
    node.put(WEP, workload().to_string());
    assert_eq!(told(&node), ["c"]);
    node.delete(WEP);
    assert_eq!(told(&node), [""; 0]);
}
