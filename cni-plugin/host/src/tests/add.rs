//! ADD of containers: result, store, undo of what can be refused.

use crate::testing::{Node, message};
use kernel::Kernel;
use model::Kind;
use serde_json::{Value, json};

const WEPS: &str = "/calico/resources/v3/projectcalico.org/workloadendpoints/";
const PROFILES: &str = "/calico/resources/v3/projectcalico.org/profiles/";

fn without_volatile(mut value: Value) -> Value {
    for field in ["uid", "creationTimestamp"] {
        value["metadata"].as_object_mut().unwrap().remove(field).unwrap();
    }
    value
}

#[tokio::test]
async fn a_container_gets_address_endpoint_and_profile() {
    let node = Node::new().await;
    node.container("pod1-0123456789abcdef");
    let result = node.add("pod1-0123456789abcdef", &node.conf()).await;
    let mac = result["interfaces"][1]["mac"].as_str().unwrap().to_owned();
    let address = result["ips"][0]["address"].as_str().unwrap().to_owned();
    assert!(address.starts_with("10.65.0.") && address.ends_with("/32"), "{result}");
    assert_eq!(
        result,
        json!({
            "cniVersion": "0.3.1",
            "interfaces": [
                {"name": "calipod1-012345"},
                {"name": "eth0", "mac": mac, "sandbox": "/var/run/netns/pod1-0123456789abcdef"}
            ],
            "ips": [{"version": "4", "interface": 1, "address": address}],
            "routes": [{"dst": address.replace("/32", "/28")}],
            "dns": {}
        })
    );
    let weps = node.stored(WEPS).await;
    let (key, wep) = weps.iter().next().unwrap();
    assert!(key.ends_with("/default/node--1-cni-pod1--0123456789abcdef-eth0"), "{key}");
    assert_eq!(
        without_volatile(wep.clone()),
        json!({
            "kind": "WorkloadEndpoint", "apiVersion": "projectcalico.org/v3",
            "metadata": {"name": "node--1-cni-pod1--0123456789abcdef-eth0", "namespace": "default",
                "labels": {"projectcalico.org/namespace": "default", "projectcalico.org/orchestrator": "cni"}},
            "spec": {"orchestrator": "cni", "node": "node-1", "containerID": "pod1-0123456789abcdef", "endpoint": "eth0",
                "ipNetworks": [address], "profiles": ["net-a"], "interfaceName": "calipod1-012345", "mac": mac}
        })
    );
    let profile = node.stored(PROFILES).await.remove(&format!("{PROFILES}net-a")).unwrap();
    assert_eq!(
        profile["spec"],
        json!({
            "ingress": [{"action": "Allow", "source": {"selector": "has(net-a)"}}],
            "egress": [{"action": "Allow"}], "labelsToApply": {"net-a": ""}
        })
    );
}

#[tokio::test]
async fn at_most_five_requests_of_which_two_write() {
    let node = Node::new().await;
    for name in ["first", "second", "third"] {
        node.container(name);
    }
    node.add("first", &node.dual()).await;
    // Block owned, profile there: the case that counts.
    for (name, conf) in [("second", node.conf()), ("third", node.dual())] {
        let (_, requests, writes) = node.requests(node.add(name, &conf)).await;
        assert!(requests <= 5 && writes <= 2, "{name}: {requests} requests, {writes} of them write");
        let ((), requests, writes) = node.requests(node.del(name, &conf)).await;
        assert!(requests <= 5 && writes <= 2, "DEL {name}: {requests} requests, {writes} of them write");
    }
}

#[tokio::test]
async fn a_netkit_pair_where_the_kernel_knows_them_and_a_veth_pair_elsewhere() {
    for (old_kernel, kind) in [(false, "netkit"), (true, "veth")] {
        let node = Node::new().await;
        let container = node.container("c1");
        if old_kernel {
            let netkit = |op: &kernel::Op| matches!(op, kernel::Op::AddNetkit(_));
            node.world.plan(kernel::memory::Fault::on_op(netkit, nix::errno::Errno::EOPNOTSUPP));
        }
        let mut conf = node.dual();
        conf["device_type"] = json!("netkit");
        node.add("c1", &conf).await;
        assert_eq!(node.world.host().link("calic1").await.unwrap().unwrap().kind, kind);
        assert_eq!(container.link("eth0").await.unwrap().unwrap().kind, kind);
        node.del("c1", &conf).await;
        assert_eq!(node.held().await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn adding_again_gives_the_same_and_writes_nothing() {
    let node = Node::new().await;
    node.container("c1");
    let first = node.add("c1", &node.conf()).await;
    let (second, requests, writes) = node.requests(node.add("c1", &node.conf())).await;
    assert_eq!((requests, writes), (1, 0));
    assert_eq!(second["ips"], first["ips"]);
    assert_eq!(second["interfaces"], first["interfaces"]);
    assert_eq!(second["routes"], Value::Null);
}

#[tokio::test]
async fn a_second_network_of_a_container_only_adds_its_profile() {
    let node = Node::new().await;
    node.container("c1");
    let first = node.add("c1", &node.conf()).await;
    let mut other = node.conf();
    other["name"] = json!("net-b");
    let second = node.add("c1", &other).await;
    assert_eq!(second["ips"], first["ips"]);
    let wep = node.stored(WEPS).await.into_values().next().unwrap();
    assert_eq!(wep["spec"]["profiles"], json!(["net-a", "net-b"]));
    assert!(node.stored(PROFILES).await.contains_key(&format!("{PROFILES}net-b")));
    // A profile that somebody deleted comes back, and the endpoint stays as it is.
    node.client.delete(Kind::Profile, "", "net-b", Default::default()).await.unwrap();
    node.add("c1", &other).await;
    assert!(node.stored(PROFILES).await.contains_key(&format!("{PROFILES}net-b")));
    assert_eq!(node.stored(WEPS).await.into_values().next().unwrap(), wep);
}

#[tokio::test]
async fn an_existing_profile_is_left_alone() {
    let node = Node::new().await;
    node.container("c1");
    node.put(Kind::Profile, "net-a", json!({"labelsToApply": {"mine": "yes"}})).await;
    let before = node.stored(PROFILES).await;
    node.add("c1", &node.conf()).await;
    assert_eq!(node.stored(PROFILES).await, before);
}

#[tokio::test]
async fn mesos_gives_labels_and_namespace() {
    let node = Node::new().await;
    node.container("c1");
    let mut conf = node.conf();
    conf["args"] = json!({"org.apache.mesos": {"network_info": {"labels": {"labels": [
        {"key": "role", "value": "db"}, {"key": "projectcalico.org/namespace", "value": "team-x"}]}}}});
    node.add("c1", &conf).await;
    let (key, wep) = node.stored(WEPS).await.into_iter().next().unwrap();
    assert!(key.contains("/team-x/"), "{key}");
    assert_eq!(
        wep["metadata"]["labels"],
        json!({"projectcalico.org/namespace": "team-x", "projectcalico.org/orchestrator": "cni", "role": "db"})
    );
}

#[tokio::test]
async fn an_address_asked_for() {
    let node = Node::new().await;
    node.container("c1");
    let ask = |ip: &'static str| [("CNI_ARGS", ip)];
    let conf = node.conf();
    let output =
        node.call_with(cni_protocol::Program::Calico, "ADD", "c1", &conf, &ask("IP=10.65.0.7")).await;
    let result: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(result["ips"][0]["address"], "10.65.0.7/32");
    assert_eq!(result["routes"], json!([{"dst": "10.65.0.7/32"}]));
    node.container("c2");
    let output =
        node.call_with(cni_protocol::Program::Calico, "ADD", "c2", &conf, &ask("IP=10.99.0.1")).await;
    assert_eq!(message(&output), "The provided IP address is not in a configured pool\n");
    let output = node.call_with(cni_protocol::Program::Calico, "ADD", "c2", &conf, &ask("IP=banana")).await;
    assert_eq!(
        message(&output),
        r#"ARGS: error parsing value of pair "IP=banana": invalid IP address: banana"#
    );
    node.del("c1", &conf).await;
    assert_eq!(node.held().await, Vec::<String>::new());
}

#[tokio::test]
async fn pools_by_name_and_wrong_ones() {
    let node = Node::new().await;
    node.container("c1");
    for (pools, refusal) in [
        (json!(["nosuch"]), r#"error parsing pool "nosuch": invalid CIDR address: nosuch"#),
        (json!(["six"]), r#""fd5f:64::" isn't a IPv4 address"#),
        (json!(["10.99.0.0/16"]), "the given pool (10.99.0.0/16) does not exist, or is not enabled"),
    ] {
        let mut conf = node.conf();
        conf["ipam"]["ipv4_pools"] = pools;
        assert_eq!(node.refusal("ADD", "c1", &conf).await, refusal);
        assert_eq!(node.held().await, Vec::<String>::new());
    }
    let mut conf = node.conf();
    conf["ipam"]["ipv4_pools"] = json!(["four"]);
    assert!(node.add("c1", &conf).await["ips"][0]["address"].as_str().unwrap().starts_with("10.65.0."));
}

#[tokio::test]
async fn half_of_a_dual_stack_request_is_no_address_at_all() {
    let node = Node::new().await;
    node.container("c1");
    node.client.delete(Kind::IPPool, "", "six", Default::default()).await.unwrap();
    assert_eq!(node.refusal("ADD", "c1", &node.dual()).await, "cannot find a qualified ippool");
    assert_eq!(node.held().await, Vec::<String>::new(), "Calico leaks the IPv4 address here");
}

#[tokio::test]
async fn a_full_pool_says_so() {
    let node = Node::new().await;
    node.put(Kind::IPPool, "tiny", json!({"cidr": "10.66.0.0/30", "blockSize": 30, "nodeSelector": "all()",
        "allowedUses": ["Workload"], "vxlanMode": "Never", "ipipMode": "Never", "assignmentMode": "Automatic"})).await;
    let mut conf = node.conf();
    conf["ipam"]["ipv4_pools"] = json!(["10.66.0.0/30"]);
    for name in ["c1", "c2", "c3", "c4"] {
        node.container(name);
        node.add(name, &conf).await;
    }
    node.container("c5");
    assert_eq!(
        node.refusal("ADD", "c5", &conf).await,
        "failed to request IPv4 addresses: Assigned 0 out of 1 requested IPv4 addresses; No IPs available in pools: [10.66.0.0/30]"
    );
}

#[tokio::test]
async fn refusals_before_anything_is_done() {
    let node = Node::new().await;
    node.container("c1");
    let with = |key: &str, value: Value| {
        let mut conf = node.conf();
        conf[key] = value;
        conf
    };
    for (conf, refusal) in [
        (
            with("device_type", json!("bridge")),
            r#"unknown device_type "bridge" in CNI config (supported: "veth", "netkit")"#,
        ),
        (
            with("feature_control", json!({"ip_addrs_no_ipam": true})),
            "requested feature is not supported for this runtime: ip_addrs_no_ipam",
        ),
        (
            with("readiness_gates", json!(["::not a url"])),
            r#"invalid URL set for ReadinessGates:::not a url Error:parse "::not a url": missing protocol scheme"#,
        ),
        (
            with("nodename_file", json!("/nonexistent/nodename")),
            "stat /nonexistent/nodename: no such file or directory: check that the calico/node container is running and has mounted /var/lib/calico/",
        ),
        (with("nodename", json!("node-9")), "resource does not exist: Node(node-9) with error: <nil>"),
        (with("ipam", json!({})), "no plugin name provided"),
        (with("ipam", json!({"type": "../sh"})), "invalid plugin name: ../sh"),
    ] {
        assert_eq!(node.refusal("ADD", "c1", &conf).await, refusal);
        assert_eq!(node.held().await, Vec::<String>::new());
    }
    let output = node
        .call_with(cni_protocol::Program::Calico, "ADD", "c1", &node.conf(), &[("CNI_PATH", "/nonexistent")])
        .await;
    assert_eq!(message(&output), r#"failed to find plugin "calico-ipam" in path [/nonexistent]"#);
    assert_eq!(node.held().await, Vec::<String>::new());
}

#[tokio::test]
async fn the_nodes_name_comes_from_many_places() {
    let node = Node::new().await;
    let path = node.directory.path().join("nodename");
    for (container, changes, content, expected) in [
        ("c1", json!({"nodename": "n-conf"}), "n-file", "n-conf"),
        ("c2", json!({"hostname": "n-host"}), "n-file", "n-file"),
        ("c3", json!({"hostname": "n-host"}), "", "n-host"),
        ("c4", json!({}), "", "gold-host"),
        ("c5", json!({}), "node-1\n", "node-1\n"),
    ] {
        std::fs::write(&path, content).unwrap();
        let mut conf = node.conf();
        conf.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let expected = format!("resource does not exist: Node({expected}) with error: <nil>");
        assert_eq!(node.refusal("ADD", container, &conf).await, expected);
    }
    std::fs::remove_file(&path).unwrap();
    let mut conf = node.conf();
    conf["nodename_file_optional"] = json!(true);
    assert!(node.refusal("ADD", "c6", &conf).await.contains("Node(gold-host)"));
}

#[tokio::test]
async fn a_locked_or_empty_store_refuses_both_verbs() {
    let node = Node::empty();
    node.container("c1");
    let missing = "error getting ClusterInformation: resource does not exist: ClusterInformation(default) with error: <nil>";
    for verb in ["ADD", "DEL"] {
        assert_eq!(node.refusal(verb, "c1", &node.conf()).await, missing);
    }
    let node = Node::new().await;
    node.container("c1");
    node.add("c1", &node.conf()).await;
    let key = "/calico/resources/v3/projectcalico.org/clusterinformations/default";
    let mut cluster = node.stored(key).await.remove(key).unwrap();
    let before = node.held().await;
    for ready in [json!(false), Value::Null] {
        cluster["spec"]["datastoreReady"] = ready;
        let put = mvcc::PutRequest::new(key, serde_json::to_vec(&cluster).unwrap());
        let txn = mvcc::Txn { success: vec![mvcc::Op::Put(put)], ..Default::default() };
        node.client.store().txn(txn).await.unwrap();
        for (verb, container) in [("ADD", "c2"), ("DEL", "c1")] {
            let refusal = node.refusal(verb, container, &node.conf()).await;
            assert_eq!(refusal, "Calico is currently not ready to process requests");
        }
        assert_eq!(node.held().await, before);
    }
}

#[tokio::test]
async fn results_of_old_versions() {
    let node = Node::new().await;
    node.container("c1");
    let mut conf = node.dual();
    conf.as_object_mut().unwrap().remove("cniVersion");
    let result = node.add("c1", &conf).await;
    assert_eq!(result["cniVersion"], "0.2.0");
    assert!(result["ip4"]["ip"].as_str().unwrap().ends_with("/32"));
    assert!(result["ip6"]["ip"].as_str().unwrap().ends_with("/128"));
    assert!(result["ip6"]["routes"][0]["dst"].as_str().unwrap().ends_with("/122"));
    assert_eq!(result["interfaces"], Value::Null);
}

#[tokio::test]
async fn the_mtu_comes_from_configuration_or_file() {
    let node = Node::new().await;
    let mut conf = node.conf();
    conf["cniVersion"] = json!("1.0.0");
    conf["require_mtu_file"] = json!(true);
    node.container("c0");
    let refusal = node.refusal("ADD", "c0", &conf).await;
    assert!(
        refusal.starts_with("failed to read MTU file: open ")
            && refusal.ends_with(": no such file or directory"),
        "{refusal}"
    );
    node.del("c0", &conf).await;
    std::fs::write(node.directory.path().join("mtu"), "many").unwrap();
    assert!(node.refusal("ADD", "c0", &conf).await.contains("\"many\" is not a number"));
    std::fs::write(node.directory.path().join("mtu"), "1410\n").unwrap();
    node.container("c1");
    assert_eq!(node.add("c1", &conf).await["interfaces"][1]["mtu"], 1410);
    conf["mtu"] = json!(1432);
    node.container("c2");
    assert_eq!(node.add("c2", &conf).await["interfaces"][1]["mtu"], 1432);
}

#[tokio::test]
async fn a_damaged_endpoint_is_named_and_left_to_del() {
    let node = Node::new().await;
    node.container("c1");
    let key = format!("{WEPS}default/node--1-cni-c1-eth0");
    let put = mvcc::PutRequest::new(key.clone(), "{\"spec\": 5}");
    let txn = mvcc::Txn { success: vec![mvcc::Op::Put(put)], ..Default::default() };
    node.client.store().txn(txn).await.unwrap();
    let refusal = node.refusal("ADD", "c1", &node.conf()).await;
    assert!(refusal.contains(&key), "{refusal}");
    node.del("c1", &node.conf()).await;
    assert_eq!(node.held().await, Vec::<String>::new());
}

#[tokio::test]
async fn another_ipam_plugin_gives_the_address() {
    let node = Node::new().await;
    node.container("c1");
    node.plugin(
        "fake-ipam",
        r#"cat > $CNI_COMMAND.json; [ $CNI_COMMAND = ADD ] && echo '{"cniVersion":"0.3.1","ips":[{"version":"4","address":"10.70.0.2/24","gateway":"10.70.0.1"}],"routes":[{"dst":"192.168.0.0/16","gw":"10.70.0.1"}]}'; exit 0"#,
    );
    let mut conf = node.conf();
    conf["ipam"] = json!({"type": "fake-ipam", "assign_ipv4": 5});
    let result = node.add("c1", &conf).await;
    assert_eq!(result["ips"], json!([{"version": "4", "interface": 1, "address": "10.70.0.2/32"}]));
    assert_eq!(result["routes"], json!([{"dst": "192.168.0.0/16", "gw": "10.70.0.1"}]));
    node.del("c1", &conf).await;
    for verb in ["ADD", "DEL"] {
        let given = std::fs::read_to_string(node.directory.path().join(format!("{verb}.json"))).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&given).unwrap(), conf);
    }
    assert_eq!(node.held().await, Vec::<String>::new());
}

#[tokio::test]
async fn pod_cidrs_are_looked_up_for_add_and_made_up_for_del() {
    let node = Node::new().await;
    node.container("c1");
    node.plugin(
        "host-local",
        r#"cat > $CNI_COMMAND.json; echo '{"ips":[{"version":"4","address":"10.71.0.2/24"}]}'"#,
    );
    let mut conf = node.conf();
    conf["ipam"] = json!({"type": "host-local", "subnet": "usePodCidr"});
    assert_eq!(node.refusal("ADD", "c1", &conf).await, "no podCidr for node node-1");
    let mut resource = node.client.get(Kind::Node, "", "node-1").await.unwrap();
    resource.object_mut().insert("status".into(), json!({"podCIDRs": ["10.71.0.0/24"]}));
    node.client.update(resource).await.unwrap();
    node.add("c1", &conf).await;
    node.del("c1", &conf).await;
    for (verb, subnet) in [("ADD", "10.71.0.0/24"), ("DEL", "0.0.0.0/0")] {
        let given = std::fs::read_to_string(node.directory.path().join(format!("{verb}.json"))).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&given).unwrap()["ipam"]["subnet"], subnet);
    }
}
