//! GC, CHECK and STATUS.

use super::*;
use cni_protocol::gc::{MOST, VALID_ATTACHMENTS};
use kernel::{IpNet, Route, RouteFilter};

fn newest(node: &Node) -> Value {
    let mut conf = node.conf();
    conf["cniVersion"] = json!("1.1.0");
    conf
}

fn list(node: &Node, valid: &[&str]) -> Value {
    let mut conf = newest(node);
    let entries: Vec<Value> = valid.iter().map(|id| json!({"containerID": id, "ifname": "eth0"})).collect();
    conf[VALID_ATTACHMENTS] = json!(entries);
    conf
}

async fn gc(node: &Node, conf: &Value) -> crate::Output {
    let nothing = [("CNI_CONTAINERID", ""), ("CNI_NETNS", ""), ("CNI_IFNAME", "")];
    node.call_with(Program::Calico, "GC", "", conf, &nothing).await
}

async fn three() -> (Node, Ends) {
    let (node, ends) = ready().await;
    for name in ["c1", "c2", "c3"] {
        node.container(name);
        node.add(name, &newest(&node)).await;
    }
    (node, ends)
}

#[tokio::test]
async fn gc_frees_what_is_missing_and_dead_and_nothing_else() {
    let (node, _ends) = three().await;
    node.container("other");
    let mut elsewhere = newest(&node);
    elsewhere["name"] = json!("net-b");
    node.add("other", &elsewhere).await;
    for name in ["c1", "c2", "other"] {
        node.world.vanish(&format!("/var/run/netns/{name}"));
    }
    let output = gc(&node, &list(&node, &["c2"])).await;
    let (code, said) = code_of(&output);
    assert!(code == 999 && said.contains("container c3 in network net-a is kept"), "{said}");
    let held = node.held().await.join(" ");
    assert!(!held.contains("net-a.c1"), "{held}");
    for kept in ["net-a.c2", "net-a.c3", "net-b.other"] {
        assert!(held.contains(kept), "{kept} in {held}");
    }
    let output = gc(&node, &list(&node, &["c2", "c3"])).await;
    assert_eq!((output.exit, output.stdout.as_str()), (0, ""));
    for name in ["c2", "c3"] {
        node.del(name, &newest(&node)).await;
    }
    node.del("other", &elsewhere).await;
    nothing_left(&node).await;
}

#[tokio::test]
async fn a_list_that_would_free_too_many_is_not_believed() {
    let (node, _ends) = three().await;
    for name in ["c1", "c2", "c3"] {
        node.world.vanish(&format!("/var/run/netns/{name}"));
    }
    let before = node.held().await;
    let mut conf = list(&node, &[]);
    conf[MOST] = json!(2);
    let (code, said) = code_of(&gc(&node, &conf).await);
    assert!(code == 999 && said.contains("lacks 3") && said.contains("at most 2"), "{said}");
    assert_eq!(node.held().await, before);
    conf[MOST] = json!(3);
    assert_eq!(gc(&node, &conf).await.exit, 0);
    nothing_left(&node).await;
}

#[tokio::test]
async fn without_a_list_or_a_datastore_nothing_is_freed() {
    let (node, _ends) = three().await;
    node.world.vanish("/var/run/netns/c1");
    let before = node.held().await;
    let (code, said) = code_of(&gc(&node, &newest(&node)).await);
    assert!(code == 7 && said.contains("cni.dev/valid-attachments"), "{said}");
    assert_eq!(node.held().await, before);
    let (code, said) = code_of(&gc(&node, &node.conf()).await);
    assert!(code == 1 && said.contains("config version does not allow GC"), "{said}");
}

#[tokio::test]
async fn check_finds_what_is_not_as_add_left_it() {
    let remove = |address: &str| {
        let address: std::net::IpAddr = address.parse().unwrap();
        address
    };
    let breaks: [(&str, &str); 6] = [
        ("route", "has no route to"),
        ("down", "is down"),
        ("address", "does not have"),
        ("endpoint", "has no endpoint"),
        ("handle", "is not assigned under handle net-a.c1"),
        ("link", "has no link calic1"),
    ];
    for (what, says) in breaks {
        let (node, _ends) = ready().await;
        let container = node.container("c1");
        let mut conf = newest(&node);
        let result = node.add("c1", &conf).await;
        conf["prevResult"] = result.clone();
        let output = node.call("CHECK", "c1", &conf).await;
        assert_eq!((output.exit, output.stdout.as_str()), (0, "OK\n"));
        let address = remove(result["ips"][0]["address"].as_str().unwrap().trim_end_matches("/32"));
        let host = node.world.host();
        match what {
            "route" => {
                let routes = host.routes(RouteFilter::default()).await.unwrap();
                let gone: Vec<Op> = routes
                    .into_iter()
                    .filter(|route: &Route| route.dst.addr == address)
                    .map(Op::DelRoute)
                    .collect();
                assert!(host.apply(gone, false).await.iter().all(Result::is_ok));
            }
            "down" => {
                host.apply(vec![Op::down("calic1")], false).await;
            }
            "address" => {
                let link = container.link("eth0").await.unwrap().unwrap().index;
                container.apply(vec![Op::DelAddress { link, net: IpNet::host(address) }], false).await;
            }
            "endpoint" => {
                let name = "node--1-cni-c1-eth0";
                let kind = model::Kind::WorkloadEndpoint;
                node.client.delete(kind, "default", name, Default::default()).await.unwrap();
            }
            "handle" => {
                ipam::Ipam::new(node.client.store().clone()).release_by_handle("net-a.c1").await.unwrap();
            }
            _ => {
                host.apply(vec![Op::DelLink(LinkRef::Name("calic1".into()))], false).await;
            }
        }
        let (code, said) = code_of(&node.call("CHECK", "c1", &conf).await);
        assert!(code == 999 && said.contains(says), "{what}: {said}");
    }
}

#[tokio::test]
async fn check_of_what_was_attached_before_there_was_an_agent() {
    let (mut node, _ends) = ready().await;
    node.container("c1");
    let agent = node.agent.take();
    node.add("c1", &newest(&node)).await;
    node.agent = agent;
    let output = node.call("CHECK", "c1", &newest(&node)).await;
    assert_eq!(output.stdout, "OK\n");
    let (_, said) = code_of(&node.call("CHECK", "c9", &newest(&node)).await);
    assert!(said.contains("has no endpoint"), "{said}");
    let mut conf = newest(&node);
    conf["prevResult"] = json!({"cniVersion": "1.1.0", "ips": [{"address": "10.65.0.200/32"}]});
    let (_, said) = code_of(&node.call("CHECK", "c1", &conf).await);
    assert!(said.contains("prevResult does not have 10.65.0"), "{said}");
}

#[tokio::test]
async fn status_says_whether_an_add_would_work() {
    let (node, _ends) = ready().await;
    assert_eq!(node.call("STATUS", "", &newest(&node)).await.exit, 0);
    node.store.go_away();
    let (code, said) = code_of(&node.call("STATUS", "", &newest(&node)).await);
    assert!(code == 50 && said.contains("planned absence"), "{said}");
    node.heal();
    let mut conf = newest(&node);
    conf["ipam"] = json!({"type": "fake-ipam"});
    node.plugin(
        "fake-ipam",
        r#"[ $CNI_COMMAND = STATUS ] || exit 3; echo '{"code":50,"msg":"pool is full"}'; exit 1"#,
    );
    let (code, said) = code_of(&node.call("STATUS", "", &conf).await);
    assert!(code == 50 && said.contains("pool is full"), "{said}");
    std::fs::remove_file(node.directory.path().join("calico-ipam")).unwrap();
    let (code, said) = code_of(&node.call("STATUS", "", &newest(&node)).await);
    assert!(code == 50 && said.contains("calico-ipam"), "{said}");
}
