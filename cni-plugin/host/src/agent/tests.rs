//! Whole calls with an agent, on a host in memory.

mod gc_and_check;
mod store_away;

use super::record::HostEnd;
use super::*;
use crate::testing::Node;
use cni_protocol::Program;
use kernel::memory::Fault;
use kernel::{Kernel, LinkRef, Op};
use nix::errno::Errno;
use observe::shutdown::Shutdown;
use serde_json::{Value, json};
use std::time::Duration;

/// Ends the thread that deletes links with the test.
struct Ends(Shutdown);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.trigger("the test has ended");
    }
}

/// A node whose agent starts on what the last one left.
async fn start(node: &mut Node) -> Ends {
    let ends = start_without_burying(node).await;
    bury(node, &ends);
    ends
}

async fn start_without_burying(node: &mut Node) -> Ends {
    let agent = Agent::open(&node.directory.path().join("state")).unwrap();
    node.agent = Some(agent.clone());
    agent.recover(&node.host()).await;
    Ends(Shutdown::default())
}

fn bury(node: &Node, ends: &Ends) {
    node.agent.as_ref().unwrap().bury_links(node.host().namespaces, &ends.0).unwrap();
}

fn agent(node: &Node) -> &Agent {
    node.agent.as_ref().unwrap()
}

fn states(node: &Node) -> Vec<(String, State)> {
    agent(node).records().all().map(|record| (record.key.container.clone(), record.state)).collect()
}

/// Waits until nothing is held and nothing is recorded.
async fn nothing_left(node: &Node) {
    for _ in 0..500 {
        if states(node).is_empty() && node.held().await.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("left: {:?}, {:?}", states(node), node.held().await);
}

async fn ready() -> (Node, Ends) {
    let mut node = Node::new().await;
    let ends = start(&mut node).await;
    (node, ends)
}

fn code_of(output: &crate::Output) -> (u64, String) {
    assert_eq!(output.exit, 1, "{}", output.stdout);
    let error: Value = serde_json::from_str(&output.stdout).unwrap();
    (error["code"].as_u64().unwrap(), output.stdout.clone())
}

#[tokio::test]
async fn what_add_did_is_recorded_and_del_leaves_nothing() {
    let (node, _ends) = ready().await;
    let container = node.container("c1");
    let result = node.add("c1", &node.dual()).await;
    let record = agent(&node).records().all().next().unwrap().clone();
    assert_eq!(record.state, State::Attached);
    let given: Vec<String> = record.addresses.iter().map(ToString::to_string).collect();
    let told: Vec<&str> =
        result["ips"].as_array().unwrap().iter().map(|ip| ip["address"].as_str().unwrap()).collect();
    assert!(given.iter().zip(told).all(|(given, told)| told.starts_with(given)), "{record:?}");
    let end = record.host_end.unwrap();
    assert_eq!(end.index, Some(node.world.host().link("calic1").await.unwrap().unwrap().index));
    assert_eq!((record.handle.as_str(), end.name.as_str()), ("net-a.c1", "calic1"));
    assert_eq!(record.store["ETCD_ENDPOINTS"], "http://memory");
    node.del("c1", &node.dual()).await;
    // at once, whatever is still to be deleted
    assert_eq!(node.world.host().link("calic1").await.unwrap(), None);
    // for whoever comes next for this interface
    drop(agent(&node).turn(&record.key).await);
    assert_eq!(container.link("eth0").await.unwrap(), None);
    let held: Vec<String> =
        node.held().await.into_iter().filter(|what| !what.starts_with("ocidel-")).collect();
    assert_eq!(held, Vec::<String>::new());
    nothing_left(&node).await;
    node.del("c1", &node.dual()).await;
    nothing_left(&node).await;
}

#[tokio::test]
async fn del_goes_by_what_add_did_whatever_the_configuration_says_now() {
    let (node, _ends) = ready().await;
    node.container("c1");
    node.add("c1", &node.conf()).await;
    let mut other = node.conf();
    other["nodename"] = json!("another-node");
    other["etcd_endpoints"] = json!("http://elsewhere");
    other["ipam"] = json!({"type": "host-local", "subnet": "10.99.0.0/24"});
    let output = node
        .call_with(
            Program::Calico,
            "DEL",
            "c1",
            &other,
            &[("CNI_ARGS", "K8S_POD_NAMESPACE=a;K8S_POD_NAME=b")],
        )
        .await;
    assert_eq!(output.exit, 0, "{}", output.stdout);
    nothing_left(&node).await;
}

#[tokio::test]
async fn a_container_is_cut_off_before_its_addresses_are_released() {
    let (node, _ends) = ready().await;
    node.container("c1");
    node.add("c1", &node.dual()).await;
    let is_down = |op: &Op| matches!(op, Op::SetLink { up: Some(false), .. });
    node.world.plan(Fault::on_op(is_down, Errno::EBUSY));
    node.refusal("DEL", "c1", &node.dual()).await;
    let held = node.held().await;
    assert!(held.iter().any(|what| what.contains("handle")), "{held:?}");
    assert!(held.iter().any(|what| what.contains("workloadendpoints")), "{held:?}");
    node.heal();
    node.del("c1", &node.dual()).await;
    nothing_left(&node).await;
}

#[tokio::test]
async fn a_link_that_keeps_its_name_is_deleted_all_the_same() {
    let (node, _ends) = ready().await;
    node.container("c1");
    node.add("c1", &node.conf()).await;
    node.world.plan(Fault::on_op(|op| matches!(op, Op::PutAside { .. }), Errno::EBUSY));
    node.del("c1", &node.conf()).await;
    nothing_left(&node).await;
}

#[tokio::test]
async fn a_pod_that_comes_again_under_its_name_waits_for_nothing() {
    let mut node = Node::new().await;
    let ends = start_without_burying(&mut node).await;
    let pod =
        [("CNI_ARGS", "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0"), ("KUBERNETES_MASTER", "http://api")];
    node.variables = pod.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    for name in ["old", "new"] {
        node.container(name);
    }
    node.add("old", &node.conf()).await;
    node.del("old", &node.conf()).await;
    let before = node.world.log().len();
    node.add("new", &node.conf()).await;
    let log = node.world.log();
    let deleted = |(_, op): &&(String, Op)| matches!(op, Op::DelLink(LinkRef::Index(_)) | Op::DelGroup(_));
    assert!(log[before..].iter().find(deleted).is_none(), "nothing was deleted meanwhile");
    let host = node.world.host();
    let names: Vec<String> = host.links().await.unwrap().into_iter().map(|link| link.name).collect();
    assert!(
        names.iter().any(|name| name.starts_with("ocidel-"))
            && names.iter().any(|name| name.starts_with("cali"))
    );
    // a DEL of the old sandbox that comes late does no harm
    bury(&node, &ends);
    node.del("old", &node.conf()).await;
    let held = node.held().await;
    assert!(held.iter().any(|what| what.contains("net-a.new")), "{held:?}");
    node.del("new", &node.conf()).await;
    nothing_left(&node).await;
}

#[tokio::test]
async fn the_link_of_a_newer_sandbox_is_not_taken_for_the_old_one() {
    let (mut node, _ends) = ready().await;
    let pod =
        [("CNI_ARGS", "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0"), ("KUBERNETES_MASTER", "http://api")];
    node.variables = pod.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    for name in ["old", "new"] {
        node.container(name);
        node.add(name, &node.conf()).await;
    }
    node.del("old", &node.conf()).await;
    let link =
        node.world.host().links().await.unwrap().into_iter().find(|link| link.name.starts_with("cali"));
    assert!(link.is_some_and(|link| link.up), "the newer one's");
    let held = node.held().await;
    assert!(held.iter().any(|what| what.contains("workloadendpoints")), "{held:?}");
    assert!(!held.iter().any(|what| what.ends_with("net-a.old")), "{held:?}");
    node.del("new", &node.conf()).await;
    nothing_left(&node).await;
}

/// Nor by the next agent.
#[tokio::test]
async fn an_address_is_not_given_again_before_the_link_that_had_it_is_gone() {
    for restarts in [false, true] {
        let mut node = Node::new().await;
        let mut ends = start_without_burying(&mut node).await;
        for name in ["c1", "c2"] {
            node.container(name);
        }
        let conf = node.conf();
        let given = node.add("c1", &conf).await;
        let address = given["ips"][0]["address"].as_str().unwrap().trim_end_matches("/32").to_owned();
        node.del("c1", &conf).await;
        if restarts {
            drop(ends);
            ends = start_without_burying(&mut node).await;
        }
        let asked = format!("IP={address}");
        let changes = [("CNI_ARGS", asked.as_str())];
        let mut adding = Box::pin(node.call_with(Program::Calico, "ADD", "c2", &conf, &changes));
        let waiting = tokio::time::timeout(Duration::from_millis(100), &mut adding).await;
        assert!(waiting.is_err(), "waits for the link");
        bury(&node, &ends);
        let output = tokio::time::timeout(Duration::from_secs(10), adding).await.unwrap();
        assert_eq!(output.exit, 0, "{}", output.stdout);
        assert!(output.stdout.contains(&address));
        node.del("c2", &conf).await;
        nothing_left(&node).await;
    }
}

/// Locks the datastore, or unlocks it.
async fn set_ready(node: &Node, ready: bool) {
    let key = "/calico/resources/v3/projectcalico.org/clusterinformations/default";
    let mut cluster = node.stored(key).await.remove(key).unwrap();
    cluster["spec"]["datastoreReady"] = json!(ready);
    put(node, key, &cluster).await;
}

async fn put(node: &Node, key: &str, value: &serde_json::Value) {
    let put = mvcc::PutRequest::new(key.to_owned(), serde_json::to_vec(value).unwrap());
    let txn = mvcc::Txn { success: vec![mvcc::Op::Put(put)], ..Default::default() };
    node.client.store().txn(txn).await.unwrap();
}

#[tokio::test]
async fn an_add_is_one_request_and_a_del_two() {
    let (node, _ends) = ready().await;
    let conf = node.dual();
    for name in ["c1", "c2", "c3"] {
        node.container(name);
    }
    // the first one claims blocks
    node.add("c1", &conf).await;
    node.add("c2", &conf).await;
    let (_, requests, writes) = node.requests(node.add("c3", &conf)).await;
    assert_eq!((requests, writes), (1, 1), "addresses of both families, handle and endpoint in one");
    let ((), requests, writes) = node.requests(node.del("c3", &conf)).await;
    assert_eq!((requests, writes), (2, 1), "whether it is ready, and all of it in one");
    let ((), requests, writes) = node.requests(node.del("c1", &conf)).await;
    assert_eq!((requests, writes), (3, 1), "and the handle that was written by the way that looks");
    node.del("c2", &conf).await;
    nothing_left(&node).await;
}

/// Each call in a task, as the agent has them.
#[tokio::test]
async fn the_datastore_works_while_the_kernel_does() {
    let (node, _ends) = ready().await;
    let conf = node.conf();
    for name in ["c1", "c2"] {
        node.container(name);
    }
    node.add("c1", &conf).await;
    let begun = node.world.log().len();
    let (node, conf) = (Arc::new(node), Arc::new(conf));
    let call = |verb: &'static str| {
        let (node, conf) = (Arc::clone(&node), Arc::clone(&conf));
        tokio::spawn(async move { assert_eq!(node.call(verb, "c2", &conf).await.exit, 0) })
    };
    call("ADD").await.unwrap();
    let before = node.store.kernel_before();
    assert_eq!(before.len(), begun, "ADD had its datastore wait for the kernel: {before:?}");
    call("DEL").await.unwrap();
    let before = node.store.kernel_before();
    let down = |op: &Op| matches!(op, Op::SetLink { up: Some(false), .. });
    assert!(before.last().is_some_and(|(_, op)| down(op)), "DEL cuts off, then releases: {before:?}");
    assert!(node.world.log().len() > before.len(), "nothing is put aside");
}

#[tokio::test]
async fn an_add_that_took_too_much_for_true_asks_and_succeeds() {
    let (node, _ends) = ready().await;
    let conf = node.conf();
    for name in ["c1", "c2"] {
        node.container(name);
    }
    let container = node.container("c3");
    node.add("c1", &conf).await;
    node.add("c2", &conf).await;
    // a handle that nobody has told this agent of
    let key = model::Key::Handle("net-a.c3".into()).path();
    put(&node, &key, &json!({"handleID": "net-a.c3", "block": {}, "deleted": false})).await;
    let result = node.add("c3", &conf).await;
    let address = result["ips"][0]["address"].as_str().unwrap().to_owned();
    let pairs = node.world.log().iter().filter(|(_, op)| matches!(op, Op::AddVeth(_))).count();
    assert_eq!(pairs, 4, "one was made in vain");
    assert_eq!(node.world.host().link("calic3").await.unwrap().map(|link| link.up), Some(true));
    let on = container.addresses(None).await.unwrap();
    assert!(on.iter().any(|on| address.starts_with(&on.net.addr.to_string())), "{address} of {on:?}");
    for name in ["c1", "c2", "c3"] {
        node.del(name, &conf).await;
    }
    nothing_left(&node).await;
}

#[tokio::test]
async fn a_locked_datastore_is_noticed_by_an_add_that_asks_nothing() {
    let (node, _ends) = ready().await;
    let conf = node.conf();
    for name in ["c1", "c2", "c3"] {
        node.container(name);
    }
    node.add("c1", &conf).await;
    node.add("c2", &conf).await;
    set_ready(&node, false).await;
    let refused = node.refusal("ADD", "c3", &conf).await;
    assert_eq!(refused, "Calico is currently not ready to process requests");
    assert_eq!(
        node.world.host().link("calic3").await.unwrap(),
        None,
        "what was made meanwhile is taken back"
    );
    set_ready(&node, true).await;
    node.add("c3", &conf).await;
    for name in ["c1", "c2", "c3"] {
        node.del(name, &conf).await;
    }
    nothing_left(&node).await;
}

#[tokio::test]
async fn many_links_are_deleted_together() {
    let mut node = Node::new().await;
    let ends = start_without_burying(&mut node).await;
    let names: Vec<String> = (0..8).map(|n| format!("c{n}")).collect();
    for name in &names {
        node.container(name);
        node.add(name, &node.conf()).await;
    }
    bury(&node, &ends);
    let conf = node.conf();
    futures::future::join_all(names.iter().map(|name| node.del(name, &conf))).await;
    nothing_left(&node).await;
    let groups = node.world.log().iter().filter(|(_, op)| matches!(op, Op::DelGroup(_))).count();
    assert!(groups < names.len(), "{groups} deletions");
}

#[tokio::test]
async fn what_a_dead_agent_left_is_finished_by_the_next() {
    let mut node = Node::new().await;
    for state in [State::Attaching, State::Leaving, State::Attached] {
        let ends = start(&mut node).await;
        node.container("c1");
        node.add("c1", &node.dual()).await;
        let record = agent(&node).records().all().next().unwrap().clone();
        // as it was on disk at some moment
        let end = record.host_end.clone().unwrap();
        let index = end.index.filter(|_| state != State::Attaching);
        let host_end = Some(HostEnd { index, ..end });
        agent(&node).records().put(Record { state, host_end, ..record }).unwrap();
        drop(ends);
        let ends = start(&mut node).await;
        if state == State::Attached {
            let held = node.held().await;
            assert!(held.iter().any(|what| what == "calic1"), "{held:?}");
            node.del("c1", &node.dual()).await;
        } else {
            assert_eq!(node.world.host().link("calic1").await.unwrap(), None, "{state:?}");
            agent(&node).pay(&node.host(), &agent_store(&node)).await.unwrap();
        }
        nothing_left(&node).await;
        node.world.vanish("/var/run/netns/c1");
        drop(ends);
    }
}

/// Links that were put aside are deleted by the next agent, without any record of them.
#[tokio::test]
async fn links_put_aside_by_a_dead_agent_are_deleted() {
    let mut node = Node::new().await;
    let ends = start_without_burying(&mut node).await;
    node.container("c1");
    node.add("c1", &node.conf()).await;
    node.del("c1", &node.conf()).await;
    drop(ends);
    std::fs::remove_dir_all(node.directory.path().join("state")).unwrap();
    let _ends = start(&mut node).await;
    nothing_left(&node).await;
}

#[tokio::test]
async fn after_another_boot_an_index_means_nothing() {
    let (mut node, ends) = ready().await;
    node.container("c1");
    node.add("c1", &node.conf()).await;
    let record = agent(&node).records().all().next().unwrap().clone();
    let end = HostEnd { boot: "another".into(), ..record.host_end.clone().unwrap() };
    agent(&node).records().put(Record { host_end: Some(end), ..record }).unwrap();
    drop(ends);
    let _ends = start(&mut node).await;
    node.del("c1", &node.conf()).await;
    assert!(node.world.host().link("calic1").await.unwrap().is_some(), "who knows whose it is");
}

#[tokio::test]
async fn del_waits_for_an_add_that_is_still_at_it() {
    let (node, _ends) = ready().await;
    node.container("c1");
    let key = Key { network: "net-a".into(), container: "c1".into(), interface: "eth0".into() };
    let turn = agent(&node).turn(&key).await;
    let (conf, late) = (node.conf(), Duration::from_millis(50));
    let mut deleting = Box::pin(node.call("DEL", "c1", &conf));
    assert!(tokio::time::timeout(late, &mut deleting).await.is_err());
    drop(turn);
    assert_eq!(deleting.await.exit, 0);
}

#[tokio::test]
async fn every_operation_of_the_kernel_may_fail() {
    let mut failed = 0;
    for verb in ["ADD", "DEL"] {
        for n in 0.. {
            let mut node = Node::new().await;
            let ends = start(&mut node).await;
            node.container("c1");
            if verb == "DEL" {
                node.add("c1", &node.dual()).await;
            }
            node.world.plan(Fault::nth(n, Errno::EPERM));
            let output = node.call(verb, "c1", &node.dual()).await;
            node.heal();
            if n > 40 {
                break;
            }
            failed += usize::from(output.exit != 0);
            if verb == "ADD" && output.exit != 0 {
                nothing_left(&node).await;
            }
            drop(ends);
            let _ends = start(&mut node).await;
            node.del("c1", &node.dual()).await;
            nothing_left(&node).await;
        }
    }
    assert!(failed >= 10, "only {failed} operations were made to fail");
}

fn agent_store(node: &Node) -> BTreeMap<String, String> {
    let conf = NetConf::read(node.conf().as_object().unwrap().clone()).unwrap();
    store_variables(&node.host(), &conf)
}
