//! ADD beside an agent's dataplane: who routes, and what becomes of a workload that is not in force in time.

use crate::host::Dataplane;
use crate::testing::Node;
use futures::future::BoxFuture;
use kernel::{Kernel, RouteFilter};
use mvcc::Event;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// Remembers what it was asked, and answers or never does.
struct Fake {
    node: &'static str,
    answers: bool,
    asked: Mutex<Vec<Event>>,
}

impl Fake {
    fn on(node: &mut Node, name: &'static str, answers: bool) -> Arc<Self> {
        let fake = Arc::new(Self { node: name, answers, asked: Mutex::default() });
        node.dataplane = Some(fake.clone());
        fake
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Dataplane for Fake {
    fn node(&self) -> &str {
        self.node
    }

    fn in_force(&self, written: Event) -> BoxFuture<'_, ()> {
        self.asked.lock().unwrap().push(written);
        match self.answers {
            true => Box::pin(std::future::ready(())),
            false => Box::pin(std::future::pending()),
        }
    }
}

async fn routes(node: &Node) -> usize {
    node.world.host().routes(RouteFilter::default()).await.unwrap().len()
}

#[tokio::test]
async fn the_dataplane_routes_and_is_told_what_was_written() {
    let mut node = Node::new().await;
    let fake = Fake::on(&mut node, "node-1", true);
    node.container("one");
    node.add("one", &node.conf()).await;
    assert_eq!(routes(&node).await, 0, "its routes are the dataplane's");
    let weps = node.stored("/calico/resources/v3/projectcalico.org/workloadendpoints/").await;
    let asked = fake.asked.lock().unwrap();
    let [event] = &asked[..] else { panic!("{asked:?}") };
    let value: Value = serde_json::from_slice(&event.kv.value).unwrap();
    assert_eq!(weps.get(std::str::from_utf8(&event.kv.key).unwrap()), Some(&value));
    assert!(event.kv.mod_revision > 0);
}

#[tokio::test]
async fn what_is_not_in_force_in_time_is_taken_back() {
    let mut node = Node::new().await;
    let fake = Fake::on(&mut node, "node-1", false);
    node.container("one");
    let mut conf = node.conf();
    conf["dataplane_timeout_seconds"] = json!(1);
    let output = node.call("ADD", "one", &conf).await;
    assert_eq!(output.exit, 1);
    let error: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(error["code"], 11, "{error}");
    assert!(error["msg"].as_str().unwrap().contains("not in force after 1 s"), "{error}");
    assert_eq!((fake.asked(), node.held().await), (1, Vec::new()));
}

#[tokio::test]
async fn it_goes_on_where_the_configuration_says_so() {
    let mut node = Node::new().await;
    Fake::on(&mut node, "node-1", false);
    node.container("one");
    let mut conf = node.conf();
    conf["dataplane_timeout_action"] = json!("proceed");
    conf["dataplane_timeout_seconds"] = json!(1);
    node.add("one", &conf).await;
    conf["dataplane_timeout_action"] = json!("hope");
    let refused = node.call("ADD", "one", &conf).await;
    assert!(refused.stdout.contains("dataplane_timeout_action"), "{}", refused.stdout);
}

#[tokio::test]
async fn without_a_dataplane_for_it_a_call_routes_by_itself() {
    let mut node = Node::new().await;
    let fake = Fake::on(&mut node, "node-2", false);
    node.container("one");
    node.add("one", &node.conf()).await;
    assert_eq!((fake.asked(), routes(&node).await), (0, 1), "the endpoint is of another node");
    let fake = Fake::on(&mut node, "node-1", false);
    node.container("two");
    let mut conf = node.conf();
    conf["dataplane_timeout_seconds"] = json!(0);
    node.add("two", &conf).await;
    assert_eq!((fake.asked(), routes(&node).await), (0, 2));
}
