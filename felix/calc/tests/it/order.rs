//! Any order of changes, with replays and objects that cannot be read in between, ends where a fresh start on the final
//! state ends; and what it ends at is what an evaluation without any index says.

use crate::naive;
use crate::support::{Dataplane, NODE};
use felix_calc::{Feed, Options};
use model::{Key, Kind};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// A key and the values it may have.
type Choices = (String, Vec<Vec<u8>>);

/// Everything that may be stored.
static WORLD: LazyLock<Vec<Choices>> = LazyLock::new(world);

/// Endpoints of workloads come first in it.
const WORKLOADS: usize = 6;

const SELECTORS: [&str; 7] = [
    "",
    "all()",
    "a == '1'",
    "has(b)",
    "!has(a)",
    "a in {'1', '2'} && b == '1'",
    "projectcalico.org/namespace == 'shop'",
];

fn object(labels: &Value, spec: Value) -> Vec<u8> {
    json!({"metadata": {"labels": labels}, "spec": spec}).to_string().into()
}

/// What no kind can be read from.
fn broken() -> Vec<Vec<u8>> {
    ["", "{", "[]", "7", r#"{"spec": 7}"#, r#"{"metadata": [], "spec": {"#]
        .map(|text| text.as_bytes().to_vec())
        .into()
}

fn labels() -> Vec<Value> {
    vec![json!({}), json!({"a": "1"}), json!({"a": "2", "b": "1"}), json!({"b": "2"}), Value::Null]
}

fn endpoints(world: &mut Vec<Choices>) {
    for (node, namespace, number) in [
        (NODE, "shop", 1),
        (NODE, "shop", 2),
        (NODE, "ops", 3),
        ("node-2", "shop", 4),
        ("node-2", "ops", 5),
        ("node-1-x", "ops", 6),
    ] {
        let name = format!("{}-k8s-p{number}-eth0", node.replace('-', "--"));
        let mut values = broken();
        for (at, labels) in labels().iter().enumerate() {
            let mut spec = json!({"node": node, "orchestrator": "k8s", "pod": format!("p{number}"), "endpoint": "eth0",
                "interfaceName": format!("cali{number}"), "ipNetworks": [format!("10.0.0.{}/32", number % 3)],
                "profiles": ["kns.shop", "p1"], "mac": "0a:00:00:00:00:01"});
            match at {
                0 => spec["ports"] = json!([{"name": "web", "protocol": "TCP", "port": 80}]),
                1 => {
                    spec["ipNetworks"] = json!([format!("10.0.1.{number}"), format!("fd00::{number}/128")]);
                    spec["ports"] = json!([{"name": "web", "protocol": "UDP", "port": 53}]);
                    spec["serviceAccountName"] = "robot".into();
                }
                2 => spec["profiles"] = json!(["missing"]),
                3 => spec["ipNetworks"] = json!([]),
                _ => spec["ports"] = Value::Null,
            }
            values.push(object(labels, spec.clone()));
            for (field, bad) in
                [("mac", json!("x")), ("ipNetworks", json!(["10.0.0.0/8"])), ("node", Value::Null)]
            {
                spec[field] = bad;
            }
            values.push(object(labels, spec));
        }
        world.push((Key::resource(Kind::WorkloadEndpoint, namespace, &name).path(), values));
    }
    for (node, name) in [(NODE, "h1"), ("node-2", "h2")] {
        let mut values = broken();
        for labels in labels() {
            values.push(object(
                &labels,
                json!({"node": node, "interfaceName": "eth0", "expectedIPs": ["192.0.2.1"],
                "profiles": ["p1"], "ports": [{"name": "web", "protocol": "TCP", "port": 8080}]}),
            ));
            values.push(object(&labels, json!({"node": node})));
        }
        world.push((Key::resource(Kind::HostEndpoint, "", name).path(), values));
    }
    for (kind, namespace) in [(Kind::NetworkSet, "shop"), (Kind::GlobalNetworkSet, "")] {
        let mut values = broken();
        for labels in labels() {
            values.push(object(&labels, json!({"nets": ["10.9.0.0/16", "10.0.0.1", "0.0.0.0/0"]})));
            values.push(object(&labels, json!({"nets": ["10.9.0.0/16", "10.9.0.0/16", "10.9.1.0/99"]})));
        }
        world.push((Key::resource(kind, namespace, "s").path(), values));
    }
}

fn policies(world: &mut Vec<Choices>) {
    use Kind::*;
    let kinds = [
        (NetworkPolicy, "shop"),
        (NetworkPolicy, "ops"),
        (GlobalNetworkPolicy, ""),
        (StagedNetworkPolicy, "shop"),
        (StagedGlobalNetworkPolicy, ""),
    ];
    for (kind, namespace) in kinds {
        for name in ["x", "y"] {
            let mut values = broken();
            for (at, selector) in SELECTORS.iter().enumerate() {
                let other = SELECTORS[(at + 2) % SELECTORS.len()];
                let port = json!({"selector": other, "ports": ["web"]});
                let rules = [
                    json!([{"action": "Allow", "source": {"selector": other}}]),
                    json!([{"action": "Deny", "protocol": "TCP", "destination": port}, {"action": "Allow", "http": {}}]),
                    json!([{"action": "Pass", "source": {"namespaceSelector": "has(team)", "notSelector": "a == '2'"}}]),
                    Value::Null,
                    json!([{"action": "Frobnicate"}]),
                    json!([{"action": "Allow", "source": {"nets": ["10.0.0.0/64"]}}]),
                ];
                for (which, rules) in rules.into_iter().enumerate() {
                    let types =
                        [json!(["Ingress"]), json!(["Ingress", "Egress"]), Value::Null][which % 3].clone();
                    values.push(object(
                        &Value::Null,
                        json!({"selector": selector, "order": which % 2, "tier": (["default", "t"])[at % 2],
                            "types": types, "ingress": rules.clone(), "egress": rules}),
                    ));
                }
            }
            values.push(object(&Value::Null, json!({"selector": "a =="})));
            values.push(object(&Value::Null, json!({"stagedAction": "Delete", "tier": "t"})));
            world.push((Key::resource(kind, namespace, name).path(), values));
        }
    }
    let pods = |pods: Value| {
        object(&Value::Null, json!({"podSelector": pods, "ingress": [{"from": [{"podSelector": {}}]}]}))
    };
    let staged = vec![pods(json!({})), pods(json!({"matchLabels": {"a": "1"}})), pods(json!([]))];
    world.push((Key::resource(StagedKubernetesNetworkPolicy, "shop", "k").path(), staged));
    for (name, given) in
        [("kns.shop", json!({"team": "x", "pcns.team": "y"})), ("p1", json!({"a": "1", "b": "1"}))]
    {
        let mut values = broken();
        values.push(object(
            &Value::Null,
            json!({"ingress": [{"action": "Allow", "source": {"selector": "has(b)"}}]}),
        ));
        values.push(object(&Value::Null, json!({"labelsToApply": given})));
        values.push(object(
            &Value::Null,
            json!({"labelsToApply": given, "ingress": [{"action": "Allow", "source": {"selector": "("}}]}),
        ));
        world.push((Key::resource(Profile, "", name).path(), values));
    }
    let tier = |spec| object(&Value::Null, spec);
    let tiers = vec![
        tier(json!({})),
        tier(json!({"order": 5, "defaultAction": "Pass"})),
        tier(json!({"order": "x"})),
    ];
    world.push((Key::resource(Tier, "", "t").path(), tiers));
}

fn cluster(world: &mut Vec<Choices>) {
    for (name, last) in [(NODE, 11), ("node-2", 12), ("node-3", 13)] {
        let mut values = broken();
        for subnet in [24, 28] {
            let address = format!("192.0.2.{last}/{subnet}");
            values.push(object(
                &Value::Null,
                json!({"bgp": {"ipv4Address": address, "ipv6Address": format!("fd01::{last}/64")}}),
            ));
        }
        values.push(object(
            &Value::Null,
            json!({"addresses": [{"address": "198.51.100.9", "type": "InternalIP"}]}),
        ));
        world.push((Key::resource(Kind::Node, "", name).path(), values));
    }
    for name in ["a", "b"] {
        let mut values = broken();
        for (workloads, nodes) in [
            ("", ""),
            ("a == '1'", ""),
            ("has(b)", "a == '1'"),
            ("a == '1'", "!has(a)"),
            ("(", ""),
            ("has(b)", "("),
        ] {
            let spec = json!({"asNumber": 64512, "localWorkloadSelector": workloads, "nodeSelector": nodes});
            values.push(object(&Value::Null, spec));
        }
        values.push(object(&Value::Null, json!({"localWorkloadSelector": "all()", "node": "node-2"})));
        world.push((Key::resource(Kind::BGPPeer, "", name).path(), values));
    }
    for (name, cidr) in [("a", "10.64.0.0/16"), ("b", "10.64.1.0/24"), ("c", "fd02::/48")] {
        let mut values = broken();
        for (field, mode) in [
            ("ipipMode", "Always"),
            ("ipipMode", "CrossSubnet"),
            ("vxlanMode", "Always"),
            ("vxlanMode", "CrossSubnet"),
            ("x", "y"),
        ] {
            values.push(object(
                &Value::Null,
                json!({"cidr": cidr, field: mode, "natOutgoing": mode == "Always"}),
            ));
        }
        values.push(object(&Value::Null, json!({"cidr": "10.64.0.0/40"})));
        values.push(object(&Value::Null, json!({"cidr": cidr, "allowedUses": ["LoadBalancer"]})));
        world.push((Key::resource(Kind::IPPool, "", name).path(), values));
    }
    for cidr in ["10.64.0.0/26", "10.64.1.0/26", "10.64.1.0/28", "10.64.1.1/32", "fd02::/122"] {
        let mut values = broken();
        for owner in [json!("host:node-1"), json!("host:node-2"), json!("virtual:load-balancer"), Value::Null]
        {
            let lent = json!([{"secondary": {"node": "node-3"}}, {"secondary": {"node": NODE}}, {}]);
            values.push(json!({"cidr": cidr, "affinity": owner, "allocations": [0, 0, 1, 2, null], "attributes": lent}).to_string().into());
            values.push(json!({"cidr": cidr, "affinity": owner, "allocations": null}).to_string().into());
        }
        world.push((Key::Block(cidr.parse().unwrap()).path(), values));
    }
    let settings =
        vec![object(&Value::Null, json!({"x": 1})), object(&Value::Null, json!({})), b"x".to_vec()];
    for (kind, name) in [
        (Kind::FelixConfiguration, "default"),
        (Kind::FelixConfiguration, "node.x"),
        (Kind::ClusterInformation, "default"),
    ] {
        world.push((Key::resource(kind, "", name).path(), settings.clone()));
    }
    let services = |cidr: &str| {
        object(
            &Value::Null,
            json!({"serviceClusterIPs": [{"cidr": cidr}], "serviceExternalIPs": [{"cidr": "10.96.0.0/12"}]}),
        )
    };
    world.push((
        Key::resource(Kind::BGPConfiguration, "", "default").path(),
        vec![services("10.97.0.0/16"), services("10.96.0.0/12"), services("x")],
    ));
    // kinds that do not matter, of another program, of a newer release
    for key in [
        "/calico/resources/v3/projectcalico.org/bgpfilters/x",
        "/registry/pods/x",
        "/calico/resources/v3/projectcalico.org/futures/x",
    ] {
        world.push((key.into(), vec![b"x".to_vec()]));
    }
}

fn world() -> Vec<Choices> {
    let mut world = Vec::new();
    endpoints(&mut world);
    policies(&mut world);
    cluster(&mut world);
    world
}

#[derive(Debug, Clone)]
enum Step {
    /// A key by its number, and one of its values.
    Push(usize, Option<usize>),
    Work(usize),
    Take,
    /// What is known of the workloads is told ahead.
    Ahead,
    Options(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (any::<usize>(), proptest::option::weighted(0.85, any::<usize>())).prop_map(|(k, v)| Step::Push(k, v)),
        2 => (0usize..6).prop_map(Step::Work),
        2 => Just(Step::Take),
        2 => Just(Step::Ahead),
        1 => (0u8..8).prop_map(Step::Options),
    ]
}

fn options(bits: u8) -> Options {
    Options {
        ipip_routes: bits & 1 != 0,
        no_encap_routes: bits & 2 != 0,
        masquerade_spares_hosts: bits & 4 != 0,
        ..Options::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn any_order_ends_where_a_fresh_start_ends(steps in proptest::collection::vec(step(), 1..160)) {
        let mut feed = Feed::new(NODE, Options::default());
        let mut told = Dataplane::default();
        let mut stored: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut now = Options::default();
        for step in steps {
            match step {
                Step::Push(key, value) => {
                    let (key, values) = &WORLD[key % WORLD.len()];
                    let value = value.map(|value| values[value % values.len()].clone());
                    feed.push(key.clone().into(), value.clone().map(Into::into));
                    match value {
                        Some(value) => stored.insert(key.clone(), value),
                        None => stored.remove(key),
                    };
                }
                Step::Work(limit) => { feed.work(limit); }
                Step::Take => {
                    told.apply(feed.take());
                    told.is_closed();
                }
                Step::Ahead => {
                    for (key, _) in &WORLD[..WORKLOADS] {
                        told.apply_ahead(feed.take_known(key.as_bytes()));
                    }
                    told.is_closed();
                }
                Step::Options(bits) => {
                    now = options(bits);
                    feed.set_options(now.clone());
                }
            }
        }
        prop_assert_eq!(feed.work(usize::MAX), 0);
        told.apply(feed.take());
        told.is_closed();
        prop_assert!(feed.take().is_empty());
        naive::check(&told, &stored);
        // who begins now is told the same
        let mut later = Dataplane::default();
        later.apply(feed.whole());
        prop_assert_eq!(&later.sets, &told.sets);
        prop_assert_eq!(&later.profiles, &told.profiles);
        prop_assert_eq!(&later.endpoints, &told.endpoints);
        prop_assert!(feed.take().is_empty());

        let mut fresh = Feed::new(NODE, now);
        for (key, value) in stored.iter().rev() {
            fresh.push(key.clone().into(), Some(value.clone().into()));
            fresh.work(1);
        }
        let mut expected = Dataplane::default();
        expected.apply(fresh.take());
        prop_assert_eq!(&told, &expected);
        let counts = feed.counts();
        prop_assert_eq!(counts, fresh.counts());

        // and nothing is left of what is gone
        for key in stored.into_keys() {
            feed.push(key.into(), None);
        }
        feed.work(usize::MAX);
        told.apply(feed.take());
        let mut nothing = Dataplane::default();
        let mut empty = Feed::new(NODE, Options::default());
        nothing.apply(empty.take());
        told.sets.remove(felix_calc::static_sets::HOSTS);
        prop_assert_eq!(told, nothing);
        prop_assert_eq!(feed.counts(), empty.counts());
    }
}

#[test]
fn the_world_has_every_kind_and_values_that_count() {
    let mut counted = 0;
    for (key, values) in WORLD.iter() {
        for value in values {
            let mut feed = Feed::new(NODE, Options::default());
            feed.push(key.clone().into(), Some(value.clone().into()));
            feed.work(1);
            counted += usize::from(feed.reports().next().is_none());
        }
    }
    // about half of the values are refused
    let all: usize = WORLD.iter().map(|(_, values)| values.len()).sum();
    assert!(counted * 3 > all && counted * 3 < all * 2, "{counted} of {all}");
}
