//! `azure-vnet-ipam`: what it has to be told again, over ADD and DEL.

use crate::testing::Node;
use serde_json::{Value, json};
use std::fs;

const GIVES: &str = r#"cat > $CNI_COMMAND; echo $CNI_COMMAND >> calls
[ $CNI_COMMAND = DEL ] || echo '{"cniVersion":"0.3.1","ips":[{"version":"4","address":"10.7.0.'${CNI_CONTAINERID#c}'/16"}]}'"#;

fn conf(node: &Node) -> Value {
    let mut conf = node.conf();
    conf["ipam"] = json!({"type": "azure-vnet-ipam", "environment": "azure"});
    conf
}

/// The `ipam` section that the plugin was given last for this verb.
fn told(node: &Node, verb: &str) -> Value {
    let text = fs::read_to_string(node.directory.path().join(verb)).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["ipam"].clone()
}

fn kept(node: &Node, file: &str) -> Option<String> {
    fs::read_to_string(node.directory.path().join("azure/net-a").join(file)).ok()
}

#[tokio::test]
async fn the_plugin_is_told_what_it_gave() {
    let node = Node::new().await;
    node.plugin("azure-vnet-ipam", GIVES);
    node.container("c1");
    node.container("c2");
    let conf = conf(&node);
    let result = node.add("c1", &conf).await;
    assert_eq!(result["ips"][0]["address"], "10.7.0.1/32");
    assert_eq!(told(&node, "ADD"), conf["ipam"], "nothing is known the first time");
    assert_eq!(kept(&node, "network.json").unwrap(), r#"{"Name":"net-a","Subnets":["10.7.0.0/16"]}"#);
    assert_eq!(
        kept(&node, "c1-eth0").unwrap(),
        r#"{"Network":"net-a","ContainerID":"c1","Interface":"eth0","Addresses":["10.7.0.1"]}"#
    );
    node.add("c2", &conf).await;
    assert_eq!(told(&node, "ADD")["subnet"], "10.7.0.0/16");
    node.del("c1", &conf).await;
    let del = told(&node, "DEL");
    assert_eq!((&del["ipAddress"], &del["subnet"]), (&json!("10.7.0.1"), &json!("10.7.0.0/16")));
    assert_eq!(kept(&node, "c1-eth0"), None);
    assert!(kept(&node, "c2-eth0").is_some());
    node.del("c1", &conf).await;
    let calls = fs::read_to_string(node.directory.path().join("calls")).unwrap();
    assert_eq!(calls, "ADD\nADD\nDEL\n", "nothing remembered, nothing to take back");
}

#[tokio::test]
async fn what_cannot_be_remembered_is_taken_back() {
    let node = Node::new().await;
    node.plugin("azure-vnet-ipam", GIVES);
    node.container("c1");
    fs::write(node.directory.path().join("azure"), "no directory").unwrap();
    let refusal = node.refusal("ADD", "c1", &conf(&node)).await;
    assert!(refusal.contains("network.json"), "{refusal}");
    fs::remove_file(node.directory.path().join("azure")).unwrap();
    fs::create_dir_all(node.directory.path().join("azure/net-a/c1-eth0")).unwrap();
    let refusal = node.refusal("ADD", "c1", &conf(&node)).await;
    assert!(refusal.contains("cannot write") && refusal.contains("c1-eth0"), "{refusal}");
    let calls = fs::read_to_string(node.directory.path().join("calls")).unwrap();
    assert!(calls.ends_with("ADD\nDEL\n"), "{calls}");
    assert_eq!(node.held().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_failing_plugin_and_a_broken_file_keep_what_is_known() {
    let node = Node::new().await;
    node.plugin("azure-vnet-ipam", GIVES);
    node.container("c1");
    let conf = conf(&node);
    node.add("c1", &conf).await;
    node.plugin("azure-vnet-ipam", "exit 1");
    assert!(node.refusal("DEL", "c1", &conf).await.contains("azure-vnet-ipam failed"));
    assert!(kept(&node, "c1-eth0").is_some(), "DEL will be repeated");
    fs::write(node.directory.path().join("azure/net-a/c1-eth0"), "{").unwrap();
    let refusal = node.refusal("DEL", "c1", &conf).await;
    assert!(refusal.contains("c1-eth0") && refusal.contains("remove the file"), "{refusal}");
}
