//! DEL: of what is there, of what is half there, of what never was.

use crate::testing::Node;
use kernel::{Kernel, LinkRef, Op};
use serde_json::json;

#[tokio::test]
async fn removes_everything_and_may_be_repeated() {
    let node = Node::new().await;
    node.container("c1");
    node.add("c1", &node.dual()).await;
    for _ in 0..2 {
        node.del("c1", &node.dual()).await;
        assert_eq!(node.held().await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn of_a_container_never_seen() {
    let node = Node::new().await;
    node.del("nobody", &node.conf()).await;
    let output = node
        .call_with(cni_protocol::Program::Calico, "DEL", "nobody", &node.conf(), &[("CNI_NETNS", "")])
        .await;
    assert_eq!((output.exit, output.stdout.as_str()), (0, ""));
}

#[tokio::test]
async fn of_a_container_whose_namespace_is_gone() {
    let node = Node::new().await;
    node.container("c1");
    node.add("c1", &node.conf()).await;
    assert!(node.world.vanish("/var/run/netns/c1"));
    node.del("c1", &node.conf()).await;
    assert_eq!(node.held().await, Vec::<String>::new());
}

#[tokio::test]
async fn of_a_container_whose_namespace_lives_on_unseen() {
    let node = Node::new().await;
    node.container("c1");
    node.add("c1", &node.conf()).await;
    // The runtime forgot the path; the pair is still up.
    let output =
        node.call_with(cni_protocol::Program::Calico, "DEL", "c1", &node.conf(), &[("CNI_NETNS", "")]).await;
    assert_eq!(output.exit, 0, "{}", output.stdout);
    assert_eq!(node.held().await, Vec::<String>::new());
}

#[tokio::test]
async fn one_of_two_leaves_the_other() {
    let node = Node::new().await;
    for name in ["c1", "c2"] {
        node.container(name);
        node.add(name, &node.conf()).await;
    }
    let before = node.world.host().routes(Default::default()).await.unwrap().len();
    node.del("c1", &node.conf()).await;
    let held = node.held().await;
    assert_eq!(node.world.host().routes(Default::default()).await.unwrap().len(), before - 1);
    assert!(
        held.iter().any(|what| what.ends_with("net-a.c2")) && held.iter().any(|what| what == "calic2"),
        "{held:?}"
    );
    assert!(!held.iter().any(|what| what.contains("c1")), "{held:?}");
}

#[tokio::test]
async fn another_network_of_the_container_goes_without_harm() {
    let node = Node::new().await;
    node.container("c1");
    node.add("c1", &node.conf()).await;
    let mut other = node.conf();
    other["name"] = json!("net-b");
    let add = [("CNI_IFNAME", "eth1")];
    node.call_with(cni_protocol::Program::Calico, "ADD", "c1", &other, &add).await;
    let before = node.held().await;
    let output = node.call_with(cni_protocol::Program::Calico, "DEL", "c1", &other, &add).await;
    assert_eq!(output.exit, 0);
    assert_eq!(node.held().await, before);
}

#[tokio::test]
async fn a_missing_ipam_plugin_fails_after_everything_else_is_gone() {
    let node = Node::new().await;
    let container = node.container("c1");
    node.plugin("fake-ipam", r#"echo '{"ips":[{"version":"4","address":"10.70.0.2/24"}]}'"#);
    let mut conf = node.conf();
    conf["ipam"] = json!({"type": "fake-ipam"});
    node.add("c1", &conf).await;
    std::fs::remove_file(node.directory.path().join("fake-ipam")).unwrap();
    let refusal = node.refusal("DEL", "c1", &conf).await;
    assert!(refusal.starts_with("failed to find plugin \"fake-ipam\" in path ["), "{refusal}");
    assert_eq!(node.held().await, Vec::<String>::new());
    assert_eq!(container.link("eth0").await.unwrap(), None);
}

#[tokio::test]
async fn addresses_stay_while_the_link_cannot_be_removed() {
    let node = Node::new().await;
    node.container("c1");
    node.add("c1", &node.conf()).await;
    let is_del = |op: &Op| matches!(op, Op::DelLink(LinkRef::Name(name)) if name == "eth0");
    node.world.plan(kernel::memory::Fault::on_op(is_del, nix::errno::Errno::EBUSY));
    node.refusal("DEL", "c1", &node.conf()).await;
    let held = node.held().await;
    assert!(held.iter().any(|what| what.ends_with("/handle/net-a.c1")), "{held:?}");
    node.heal();
    node.del("c1", &node.conf()).await;
    assert_eq!(node.held().await, Vec::<String>::new());
}
