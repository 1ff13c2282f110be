//! Failures at every step: an ADD that fails leaves nothing, or what the next DEL or ADD removes.

use crate::testing::{Fault, Node};
use kernel::Kernel;
use nix::errno::Errno;
use serde_json::Value;

/// Makes the n-th operation of the kernel fail, for every n that an ADD comes by.
#[tokio::test]
async fn every_operation_of_the_kernel_may_fail() {
    let mut failed = 0;
    for n in 0.. {
        let node = Node::new().await;
        let container = node.container("c1");
        node.world.plan(kernel::memory::Fault::nth(n, Errno::EPERM));
        let output = node.call("ADD", "c1", &node.dual()).await;
        node.heal();
        if output.exit == 0 {
            break;
        }
        failed += 1;
        let error: Value = serde_json::from_str(&output.stdout).unwrap();
        assert_eq!(error["code"], 999, "{error}");
        assert_eq!(node.held().await, Vec::<String>::new(), "after operation {n}: {error}");
        assert_eq!(container.link("eth0").await.unwrap(), None);
        node.add("c1", &node.dual()).await;
        node.del("c1", &node.dual()).await;
        assert_eq!(node.held().await, Vec::<String>::new());
    }
    assert!(failed >= 10, "only {failed} operations were made to fail");
}

#[tokio::test]
async fn every_parameter_may_fail() {
    for key in [
        "calic1/route_localnet",
        "calic1/proxy_arp",
        "ipv4/conf/calic1/forwarding",
        "calic1/accept_dad",
        "calic1/disable_ipv6",
        "calic1/proxy_ndp",
        "ipv6/conf/calic1/forwarding",
        "eth0/accept_dad",
        "all/disable_ipv6",
        "default/disable_ipv6",
        "lo/disable_ipv6",
        "ip_forward",
        "ipv6/conf/all/forwarding",
    ] {
        let node = Node::new().await;
        let container = node.container("c1");
        // `lo` is there in every real namespace.
        node.world.plan(kernel::memory::Fault::on_sysctl(key, "Read-only file system"));
        let refusal = node.refusal("ADD", "c1", &node.dual()).await;
        assert!(refusal.contains(key), "{key}: {refusal}");
        assert_eq!(node.held().await, Vec::<String>::new(), "{key}");
        assert_eq!(container.link("eth0").await.unwrap(), None);
    }
}

/// Makes the n-th write of the store fail, refused or with a lost answer.
#[tokio::test]
async fn every_write_of_the_store_may_fail() {
    for fault in [Fault::Refuse, Fault::Lose] {
        let mut failed = 0;
        for n in 0.. {
            let node = Node::new().await;
            let container = node.container("c1");
            node.store.fail_write(n, fault);
            let output = node.call("ADD", "c1", &node.dual()).await;
            node.heal();
            if output.exit == 0 {
                break;
            }
            failed += 1;
            assert!(output.stdout.contains("planned fault"), "{}", output.stdout);
            assert_eq!(node.held().await, Vec::<String>::new(), "write {n}, {fault:?}");
            assert_eq!(container.link("eth0").await.unwrap(), None);
            node.add("c1", &node.dual()).await;
            node.del("c1", &node.dual()).await;
            assert_eq!(node.held().await, Vec::<String>::new());
        }
        assert!(failed >= 2, "only {failed} writes were made to fail");
    }
}

#[tokio::test]
async fn every_write_of_a_del_may_fail_and_the_next_one_finishes() {
    for fault in [Fault::Refuse, Fault::Lose] {
        for n in 0.. {
            let node = Node::new().await;
            node.container("c1");
            node.add("c1", &node.dual()).await;
            node.store.fail_write(n, fault);
            let output = node.call("DEL", "c1", &node.dual()).await;
            node.heal();
            node.del("c1", &node.dual()).await;
            assert_eq!(node.held().await, Vec::<String>::new(), "write {n}, {fault:?}");
            if output.exit == 0 {
                assert!(n >= 2, "DEL writes at least twice");
                break;
            }
        }
    }
}

/// What a process that died at some step left, another ADD takes over; here: addresses without anything else.
#[tokio::test]
async fn what_a_dead_add_left_is_used_up_by_the_next() {
    let node = Node::new().await;
    node.container("c1");
    node.add("c1", &node.conf()).await;
    // As if it had died before the endpoint was written.
    let key = "/calico/resources/v3/projectcalico.org/workloadendpoints/default/node--1-cni-c1-eth0";
    let delete = mvcc::DeleteRequest::key(key);
    let txn = mvcc::Txn { success: vec![mvcc::Op::Delete(delete)], ..Default::default() };
    node.client.store().txn(txn).await.unwrap();
    node.add("c1", &node.conf()).await;
    let handle = node.stored("/calico/ipam/v2/handle/").await;
    let counts: Vec<&Value> =
        handle.values().flat_map(|handle| handle["block"].as_object().unwrap().values()).collect();
    assert_eq!(counts, [1], "one address, not two");
    let used = node.held().await.into_iter().find(|what| what.contains("addresses of")).unwrap();
    assert!(used.starts_with("1 addresses"), "{used}");
    node.del("c1", &node.conf()).await;
    assert_eq!(node.held().await, Vec::<String>::new());
}

#[tokio::test]
async fn what_the_same_container_has_under_another_nodes_name_is_left_alone() {
    let node = Node::new().await;
    node.container("c1");
    node.add("c1", &node.conf()).await;
    let (before, links) = (node.held().await, node.world.host().links().await.unwrap());
    let mut conf = node.conf();
    conf["nodename"] = serde_json::json!("node-9");
    assert_eq!(
        node.refusal("ADD", "c1", &conf).await,
        "resource does not exist: Node(node-9) with error: <nil>"
    );
    assert_eq!((node.held().await, node.world.host().links().await.unwrap()), (before, links));
}

#[tokio::test]
async fn many_containers_at_once_get_many_addresses() {
    let node = Node::new().await;
    let conf = node.conf();
    let names: Vec<String> = (0..16).map(|n| format!("c{n}")).collect();
    for name in &names {
        node.container(name);
    }
    let results = futures::future::join_all(names.iter().map(|name| node.add(name, &conf))).await;
    let mut addresses: Vec<String> =
        results.iter().map(|result| result["ips"][0]["address"].to_string()).collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 16);
    futures::future::join_all(names.iter().map(|name| node.del(name, &conf))).await;
    assert_eq!(node.held().await, Vec::<String>::new());
}
