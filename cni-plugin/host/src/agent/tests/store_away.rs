//! A datastore that does not answer, or is locked.

use super::*;
use crate::testing::Fault;

#[tokio::test]
async fn del_succeeds_and_its_release_is_carried_out_before_any_other_write() {
    let mut node = Node::new().await;
    let mut ends = start(&mut node).await;
    for restart in [false, true] {
        for name in ["c1", "c2"] {
            node.container(name);
        }
        let first = node.add("c1", &node.dual()).await;
        node.store.go_away();
        node.del("c1", &node.dual()).await;
        assert_eq!(node.world.host().link("calic1").await.unwrap(), None, "the kernel's side is done");
        assert_eq!(states(&node), [("c1".to_owned(), State::Owed)]);
        assert!(!agent(&node).report().ready);
        let (code, said) = code_of(&node.call("ADD", "c2", &node.dual()).await);
        assert!(code == 11 && said.contains("try again later"), "{said}");
        node.del("c1", &node.dual()).await;
        if restart {
            drop(ends);
            ends = start(&mut node).await;
            assert_eq!(states(&node), [("c1".to_owned(), State::Owed)]);
        }
        node.heal();
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let before = node.stored("/calico/ipam/v2/handle/").await;
        assert!(before.contains_key("/calico/ipam/v2/handle/net-a.c1"));
        node.add("c2", &node.dual()).await;
        let handles: Vec<String> = node.stored("/calico/ipam/v2/handle/").await.into_keys().collect();
        assert_eq!(handles, ["/calico/ipam/v2/handle/net-a.c2"], "{first}");
        assert!(agent(&node).report().ready);
        node.del("c2", &node.dual()).await;
        nothing_left(&node).await;
        for name in ["c1", "c2"] {
            node.world.vanish(&format!("/var/run/netns/{name}"));
        }
    }
}

#[tokio::test]
async fn of_a_container_that_nothing_is_recorded_of() {
    for netns in ["/var/run/netns/c1", ""] {
        let (mut node, _ends) = ready().await;
        node.container("c1");
        let agent = node.agent.take();
        node.add("c1", &node.conf()).await;
        node.agent = agent;
        node.store.go_away();
        let conf = node.conf();
        let output = node.call_with(Program::Calico, "DEL", "c1", &conf, &[("CNI_NETNS", netns)]).await;
        assert_eq!(output.exit, 0, "{}", output.stdout);
        assert_eq!(node.world.host().link("calic1").await.unwrap().is_some(), netns.is_empty());
        node.heal();
        super::agent(&node).pay(&node.host(), &agent_store(&node)).await.unwrap();
        nothing_left(&node).await;
    }
}

#[tokio::test]
async fn every_write_of_del_may_fail_or_lose_its_answer() {
    for fault in [Fault::Refuse, Fault::Lose] {
        for n in 0..4 {
            let (node, _ends) = ready().await;
            node.container("c1");
            node.add("c1", &node.dual()).await;
            node.store.fail_write(n, fault);
            node.del("c1", &node.dual()).await;
            node.heal();
            agent(&node).pay(&node.host(), &agent_store(&node)).await.unwrap();
            nothing_left(&node).await;
        }
    }
}

#[tokio::test]
async fn every_write_of_add_may_fail_or_lose_its_answer() {
    let mut failed = 0;
    for fault in [Fault::Refuse, Fault::Lose] {
        for n in 0..4 {
            let (node, _ends) = ready().await;
            node.container("c1");
            node.store.fail_write(n, fault);
            let output = node.call("ADD", "c1", &node.dual()).await;
            node.heal();
            if output.exit == 0 {
                node.del("c1", &node.dual()).await;
            } else {
                failed += 1;
                assert_eq!(code_of(&output).0, 11, "{}", output.stdout);
                agent(&node).pay(&node.host(), &agent_store(&node)).await.unwrap();
            }
            nothing_left(&node).await;
        }
    }
    assert!(failed >= 2, "{failed}");
}

#[tokio::test]
async fn a_locked_datastore_is_no_outage() {
    let (node, _ends) = ready().await;
    for name in ["c1", "c2", "c3"] {
        node.container(name);
    }
    for name in ["c1", "c2"] {
        node.add(name, &node.conf()).await;
    }
    node.store.go_away();
    node.del("c2", &node.conf()).await;
    node.heal();
    set_ready(&node, false).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let before = node.held().await;
    for (verb, container) in [("DEL", "c1"), ("ADD", "c3"), ("DEL", "c2")] {
        let refusal = node.refusal(verb, container, &node.conf()).await;
        assert_eq!(refusal, "Calico is currently not ready to process requests", "{verb} {container}");
    }
    assert_eq!(node.held().await, before);
    let mut status = node.conf();
    status["cniVersion"] = json!("1.1.0");
    let (code, said) = code_of(&node.call("STATUS", "c1", &status).await);
    assert!(code == 50 && said.contains("not ready"), "{said}");
}

#[tokio::test]
async fn one_that_does_not_answer_at_all_is_asked_once_by_all_who_wait() {
    let (node, _ends) = ready().await;
    node.container("c1");
    node.add("c1", &node.conf()).await;
    node.store.go_away();
    node.del("c1", &node.conf()).await;
    let (conf, all) = (node.conf(), (0..8).map(|n| format!("d{n}")).collect::<Vec<_>>());
    let calls = all.iter().map(|container| node.call("DEL", container, &conf));
    let (outputs, requests, _) = node.requests(futures::future::join_all(calls)).await;
    assert!(outputs.iter().all(|output| output.exit == 0));
    assert!(requests <= 2, "{requests} requests");
}

#[tokio::test]
async fn another_plugins_addresses_are_taken_back_by_it_at_once() {
    let (node, _ends) = ready().await;
    node.container("c1");
    node.plugin(
        "fake-ipam",
        r#"echo $CNI_COMMAND >> calls; echo '{"ips":[{"version":"4","address":"10.70.0.2/24"}]}'"#,
    );
    let mut conf = node.conf();
    conf["ipam"] = json!({"type": "fake-ipam"});
    node.add("c1", &conf).await;
    node.store.go_away();
    node.del("c1", &conf).await;
    let calls = || std::fs::read_to_string(node.directory.path().join("calls")).unwrap();
    assert_eq!(calls(), "ADD\nDEL\n");
    node.heal();
    agent(&node).pay(&node.host(), &agent_store(&node)).await.unwrap();
    nothing_left(&node).await;
    assert_eq!(calls(), "ADD\nDEL\n", "nobody but the runtime's plugin executes it");
}
