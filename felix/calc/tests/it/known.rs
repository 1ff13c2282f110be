//! An endpoint that comes again under its name while other values wait.

use crate::support::{NODE, Node};
use felix_calc::changes::Changes;
use felix_calc::endpoint::{Endpoint, EndpointKey};
use felix_calc::{Feed, Options};
use serde_json::{Value, json};

const PREFIX: &str = "/calico/resources/v3/projectcalico.org/";

fn path(name: &str) -> String {
    format!("{PREFIX}workloadendpoints/default/node--1-k8s-{name}-eth0")
}

fn key(name: &str) -> EndpointKey {
    EndpointKey::Workload("default".into(), format!("node--1-k8s-{name}-eth0"))
}

fn workload(name: &str, address: &str, labels: Value, profiles: Value) -> String {
    json!({"metadata": {"labels": labels}, "spec": {"node": NODE, "orchestrator": "k8s", "pod": name, "endpoint": "eth0",
        "interfaceName": format!("cali-{name}"), "ipNetworks": [address], "profiles": profiles,
        "ports": [{"name": "http", "protocol": "TCP", "port": 80}]}})
    .to_string()
}

fn web(address: &str) -> String {
    workload("web", address, json!({"app": "web"}), json!(["p"]))
}

/// Two workloads; the policy of `db` admits `web` by a set, and by one of named ports.
const WORLD: &str = "
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: db}
spec:
  selector: app == 'db'
  ingress:
  - {action: Allow, source: {selector: app == 'web'}}
  egress:
  - {action: Allow, protocol: TCP, destination: {selector: app == 'web', ports: [http]}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: web}
spec:
  selector: app == 'web'
  ingress:
  - {action: Allow, source: {selector: app == 'db'}}
";

fn node() -> Node {
    let mut node = Node::with(WORLD);
    node.put(&path("db"), workload("db", "10.0.0.1", json!({"app": "db"}), json!(["p"])));
    node.put(&path("web"), web("10.0.0.2"));
    node
}

/// More than can be calculated at one go: other policies, of which one denies what `web` may do.
fn heavy(feed: &mut Feed) {
    for n in 0..100 {
        let spec = json!({"tier": "default", "order": n, "selector": "all()", "types": ["Ingress"],
            "ingress": [{"action": "Deny", "source": {"selector": format!("n == '{n}'")}}]});
        let key = format!("{PREFIX}globalnetworkpolicies/heavy-{n}");
        feed.push(key.into(), Some(json!({"spec": spec}).to_string().into()));
    }
}

fn addresses(changes: &Changes, name: &str) -> Vec<String> {
    let (_, local) = changes.endpoints.iter().find(|(of, _)| *of == key(name)).expect("the endpoint");
    let Endpoint::Workload(workload) = &*local.as_ref().expect("one that is there").endpoint else {
        panic!()
    };
    workload.addresses.iter().map(ToString::to_string).collect()
}

#[test]
fn it_is_told_before_the_rest_is_calculated_under_the_policies_in_force() {
    let mut node = node();
    assert_eq!(node.policies_of("node--1-k8s-web-eth0"), ["web"]);
    heavy(&mut node.feed);
    let again = web("10.0.0.9");
    assert!(node.feed.knows(path("web").as_bytes(), again.as_bytes()));
    node.feed.push(path("web").into(), Some(again.into()));
    assert_eq!(node.feed.take_known(path("web").as_bytes()), None, "its value waits");
    let left = node.feed.work(20);
    assert!(left > 0, "values wait");
    let ahead = node.feed.take_known(path("web").as_bytes()).unwrap();
    assert_eq!(addresses(&ahead, "web"), ["10.0.0.9"]);
    assert_eq!(ahead.endpoints.len(), 1);
    assert_eq!(ahead.sets.len(), 2, "where it was a member its new address is one: {ahead:?}");
    node.told.apply_ahead(Some(ahead));
    assert_eq!(node.policies_of("node--1-k8s-web-eth0"), ["web"], "what is calculated in part is not told");
    node.told.is_closed();
    // said once
    assert_eq!(node.feed.take_known(path("web").as_bytes()), Some(Changes::default()));
    let rest = node.settle();
    assert_eq!(addresses(&rest, "web"), ["10.0.0.9"]);
    assert_eq!(node.policies_of("node--1-k8s-web-eth0").len(), 101);
    let members: Vec<String> = node.told.sets.values().flatten().map(crate::support::member).collect();
    assert!(
        members.contains(&"10.0.0.9/32".into()) && !members.contains(&"10.0.0.2/32".into()),
        "{members:?}"
    );
}

#[test]
fn one_that_was_deleted_meanwhile_is_known_too() {
    let mut node = node();
    heavy(&mut node.feed);
    node.feed.push(path("web").into(), None);
    node.feed.work(20);
    assert_eq!(node.feed.take_known(path("web").as_bytes()), None, "it is not there");
    node.feed.push(path("web").into(), Some(web("10.0.0.9").into()));
    node.feed.work(20);
    let ahead = node.feed.take_known(path("web").as_bytes()).unwrap();
    node.told.apply_ahead(Some(ahead));
    node.told.is_closed();
    // and back to what was told before anybody calculates
    node.feed.push(path("web").into(), Some(web("10.0.0.2").into()));
    node.settle();
    let mut fresh = Node::new(Options::default());
    for (name, value) in
        [("db", workload("db", "10.0.0.1", json!({"app": "db"}), json!(["p"]))), ("web", web("10.0.0.2"))]
    {
        fresh.feed.push(path(name).into(), Some(value.into()));
    }
    heavy(&mut fresh.feed);
    fresh.apply(WORLD);
    assert_eq!(node.told, fresh.told);
}

#[test]
fn what_has_other_labels_or_profiles_waits_for_the_calculation() {
    for (labels, profiles) in [
        (json!({"app": "db"}), json!(["p"])),
        (json!({"app": "web", "more": "1"}), json!(["p"])),
        (json!({"app": "web"}), json!(["p", "q"])),
        (json!({"app": "web"}), json!([])),
    ] {
        let mut node = node();
        heavy(&mut node.feed);
        let value = workload("web", "10.0.0.9", labels, profiles);
        assert!(!node.feed.knows(path("web").as_bytes(), value.as_bytes()), "{value}");
        node.feed.push(path("web").into(), Some(value.into()));
        node.feed.work(20);
        assert_eq!(node.feed.take_known(path("web").as_bytes()), None);
    }
    let mut node = node();
    let new = workload("new", "10.0.0.9", json!({"app": "web"}), json!(["p"]));
    heavy(&mut node.feed);
    assert!(!node.feed.knows(path("new").as_bytes(), new.as_bytes()));
    node.feed.push(path("new").into(), Some(new.into()));
    node.feed.work(20);
    assert_eq!(node.feed.take_known(path("new").as_bytes()), None);
    for bad in ["", "{", "[]", "{}"] {
        assert!(!node.feed.knows(path("web").as_bytes(), bad.as_bytes()), "{bad}");
    }
    assert!(!node.feed.knows(b"/registry/pods/x", web("10.0.0.9").as_bytes()));
}
