//! Pods: named by CNI_ARGS, without a word to Kubernetes.

use crate::testing::{Node, message};
use cni_protocol::Program;
use kernel::Kernel;
use serde_json::{Value, json};

const ARGS: (&str, &str) = ("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0");
const WEPS: &str = "/calico/resources/v3/projectcalico.org/workloadendpoints/";

fn conf(node: &Node) -> Value {
    let mut conf = node.conf();
    conf["kubernetes"] = json!({"k8s_api_root": "http://127.0.0.1:6443"});
    conf
}

/// `netns` stands for the pod's, which sandboxes share here.
async fn add(node: &Node, container: &str, conf: &Value) -> Value {
    let netns = ("CNI_NETNS", "/var/run/netns/pod");
    let output = node.call_with(Program::Calico, "ADD", container, conf, &[ARGS, netns]).await;
    assert_eq!(output.exit, 0, "{}", output.stdout);
    serde_json::from_str(&output.stdout).unwrap()
}

async fn del(node: &Node, container: &str, conf: &Value) {
    let netns = ("CNI_NETNS", "/var/run/netns/pod");
    let output = node.call_with(Program::Calico, "DEL", container, conf, &[ARGS, netns]).await;
    assert_eq!(output.exit, 0, "{}", output.stdout);
}

#[tokio::test]
async fn names_by_pod() {
    let mut node = Node::new().await;
    node.container("pod");
    node.variables.insert("FELIX_INTERFACEPREFIX".into(), "tap,cali".into());
    let result = add(&node, "c1", &conf(&node)).await;
    assert_eq!(result["interfaces"][0]["name"], "tapa4fc3c48bd8");
    let (key, wep) = node.stored(WEPS).await.into_iter().next().unwrap();
    assert!(key.ends_with("/shop/node--1-k8s-web--0-eth0"), "{key}");
    assert_eq!((&wep["spec"]["pod"], &wep["spec"]["containerID"]), (&json!("web-0"), &json!("c1")));
    let profile = node.stored("/calico/resources/v3/projectcalico.org/profiles/net-a").await;
    assert_eq!(profile.values().next().unwrap()["spec"]["ingress"], json!([{"action": "Allow"}]));
    let block = node.stored("/calico/ipam/v2/assignment/").await.into_values().next().unwrap();
    let notes = &block["attributes"][0]["secondary"];
    assert_eq!((&notes["pod"], &notes["namespace"]), (&json!("web-0"), &json!("shop")));
    del(&node, "c1", &conf(&node)).await;
    assert_eq!(node.held().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_newer_sandbox_takes_the_endpoint_over_and_keeps_it() {
    let node = Node::new().await;
    let pod = node.container("pod");
    let conf = conf(&node);
    let older = add(&node, "older", &conf).await;
    let uid = |weps: std::collections::BTreeMap<String, Value>| {
        weps.into_values().next().unwrap()["metadata"]["uid"].clone()
    };
    let before = uid(node.stored(WEPS).await);
    let newer = add(&node, "newer", &conf).await;
    assert_ne!(older["ips"], newer["ips"]);
    assert_eq!(uid(node.stored(WEPS).await), before);
    del(&node, "older", &conf).await;
    let wep = node.stored(WEPS).await.into_values().next().expect("kept");
    assert_eq!(wep["spec"]["containerID"], "newer");
    assert_eq!(wep["spec"]["ipNetworks"][0], newer["ips"][0]["address"]);
    assert_eq!(pod.link("eth0").await.unwrap(), None, "the interface goes all the same");
    del(&node, "newer", &conf).await;
    assert_eq!(node.held().await, Vec::<String>::new());
}

#[tokio::test]
async fn adding_a_pod_again_gives_a_new_address_and_keeps_none_back() {
    let node = Node::new().await;
    node.container("pod");
    let conf = conf(&node);
    add(&node, "c1", &conf).await;
    let second = add(&node, "c1", &conf).await;
    let handle = node.stored("/calico/ipam/v2/handle/").await.into_values().next().unwrap();
    let counts: Vec<&Value> = handle["block"].as_object().unwrap().values().collect();
    assert_eq!(counts, [1]);
    let wep = node.stored(WEPS).await.into_values().next().unwrap();
    assert_eq!(wep["spec"]["ipNetworks"][0], second["ips"][0]["address"]);
    let routes = node.world.host().routes(Default::default()).await.unwrap();
    assert_eq!(routes.iter().filter(|route| route.protocol == 3).count(), 1);
}

#[tokio::test]
async fn a_failed_takeover_gives_the_endpoint_back() {
    let node = Node::new().await;
    node.container("pod");
    let conf = conf(&node);
    add(&node, "older", &conf).await;
    let before = node.stored(WEPS).await;
    // The first write is that of the address, the second that of the endpoint, whose answer is lost.
    node.store.fail_write(1, crate::testing::Fault::Lose);
    let netns = ("CNI_NETNS", "/var/run/netns/pod");
    let output = node.call_with(Program::Calico, "ADD", "newer", &conf, &[ARGS, netns]).await;
    assert!(message(&output).contains("planned fault"));
    node.heal();
    assert_eq!(node.stored(WEPS).await, before);
    let handles = node.stored("/calico/ipam/v2/handle/").await;
    assert_eq!(handles.into_keys().collect::<Vec<_>>(), ["/calico/ipam/v2/handle/net-a.older"]);
}

#[tokio::test]
async fn without_a_way_to_kubernetes_add_fails_and_del_does_not() {
    let node = Node::new().await;
    node.container("pod");
    let output = node.call_with(Program::Calico, "ADD", "c1", &node.conf(), &[ARGS]).await;
    assert_eq!(
        message(&output),
        "invalid configuration: no configuration has been provided, try setting KUBERNETES_MASTER environment variable"
    );
    assert_eq!(node.held().await, Vec::<String>::new());
    del(&node, "c1", &node.conf()).await;
}

#[tokio::test]
async fn what_needs_kubernetes_is_refused() {
    let node = Node::new().await;
    node.container("pod");
    for (key, value, words) in [
        ("policy", json!({"type": "k8s"}), "Kubernetes API is not supported"),
        ("policy_setup_timeout_seconds", json!(-1), "expected a number from 0 on, found -1"),
    ] {
        let mut conf = conf(&node);
        conf[key] = value;
        let refusal = message(&node.call_with(Program::Calico, "ADD", "c1", &conf, &[ARGS]).await);
        assert!(refusal.contains(words), "{refusal}");
        assert_eq!(node.held().await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn routes_of_host_local_replace_the_default_route() {
    for (include, expected) in [
        (false, vec!["10.0.0.0/8", "169.254.1.1/32"]),
        (true, vec!["0.0.0.0/0", "10.0.0.0/8", "169.254.1.1/32"]),
    ] {
        let node = Node::new().await;
        let pod = node.container("pod");
        node.plugin(
            "host-local",
            r#"echo '{"ips":[{"version":"4","address":"10.70.0.2/24"}],"routes":[{"dst":"10.0.0.0/8"},{"dst":"fd00::/8"}]}'"#,
        );
        let mut conf = conf(&node);
        conf["ipam"] = json!({"type": "host-local"});
        conf["include_default_routes"] = json!(include);
        let result = add(&node, "c1", &conf).await;
        assert_eq!(result["routes"], json!([{"dst": "10.0.0.0/8"}, {"dst": "fd00::/8"}]));
        let mut routes: Vec<String> = pod
            .routes(Default::default())
            .await
            .unwrap()
            .into_iter()
            .filter(|route| route.protocol == 3)
            .map(|route| route.dst.to_string())
            .collect();
        routes.sort();
        assert_eq!(routes, expected);
    }
}

#[tokio::test]
async fn the_agents_word_is_waited_for_but_not_forever() {
    let node = Node::new().await;
    node.container("pod");
    let mut conf = conf(&node);
    conf["policy_setup_timeout_seconds"] = json!(1);
    conf["endpoint_status_dir"] = json!(node.directory.path());
    add(&node, "c1", &conf).await;
    std::fs::write(node.directory.path().join("k8s shop%2Fweb-0 eth0"), "up").unwrap();
    conf["policy_setup_timeout_seconds"] = json!(600);
    add(&node, "c1", &conf).await;
}
