use super::*;
use datastore::memory::MemoryStore;
use model::ipam::AffinityState;
use model::net::Cidr;
use model::{Kind, Owner, Resource};
use mvcc::{Op, PutRequest, Txn};
use serde_json::json;
use std::time::Duration;

/// What a step may take before it counts as never coming.
const PATIENCE: Duration = Duration::from_secs(10);

async fn put(store: &MemoryStore, key: &Key, value: Vec<u8>) {
    let request = PutRequest::new(key.path(), value);
    let txn = Txn { success: vec![Op::Put(request)], ..Txn::default() };
    assert!(store.txn(txn).await.unwrap().succeeded);
}

async fn put_resource(store: &MemoryStore, kind: Kind, name: &str, spec: serde_json::Value) {
    let mut resource = Resource::new(kind, "", name);
    *resource.spec_mut() = spec.as_object().unwrap().clone();
    put(store, &resource.key(), codec::encode(&resource)).await;
}

async fn node(store: &MemoryStore, name: &str, address: &str) {
    put_resource(store, Kind::Node, name, json!({"bgp": {"ipv4Address": address}})).await;
}

async fn next(source: &mut Source) -> Arc<NodePlan> {
    tokio::time::timeout(PATIENCE, source.next()).await.expect("a plan")
}

#[tokio::test]
async fn a_mesh_grows_and_shrinks_with_the_nodes() {
    let store = Arc::new(MemoryStore::new());
    node(&store, "a", "192.0.2.1/24").await;
    node(&store, "b", "192.0.2.2/24").await;
    let mut source = Source::new(store.clone(), "a", RouterId::default());
    let plan = next(&mut source).await;
    assert!(source.is_in_sync());
    let names = |plan: &NodePlan| plan.sessions.values().map(|s| s.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&plan), ["Mesh_192_0_2_2"]);
    node(&store, "c", "192.0.2.3/24").await;
    assert_eq!(names(&*next(&mut source).await), ["Mesh_192_0_2_2", "Mesh_192_0_2_3"]);
    let gone = mvcc::DeleteRequest::key(Key::resource(Kind::Node, "", "b").path());
    store.txn(Txn { success: vec![Op::Delete(gone)], ..Txn::default() }).await.unwrap();
    assert_eq!(names(&*next(&mut source).await), ["Mesh_192_0_2_3"]);
}

#[tokio::test]
async fn blocks_are_those_of_this_node() {
    let store = Arc::new(MemoryStore::new());
    node(&store, "a", "192.0.2.1/24").await;
    let mut source = Source::new(store.clone(), "a", RouterId::default());
    assert!(next(&mut source).await.blocks.is_empty());
    let block: Cidr = "10.65.0.0/26".parse().unwrap();
    for owner in ["b", "a"] {
        let key = Key::Affinity(Owner::Host(owner.into()), block);
        put(&store, &key, BlockAffinity::new(AffinityState::Confirmed).encode()).await;
    }
    let plan = next(&mut source).await;
    assert_eq!(plan.blocks.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.65.0.0/26"]);
}

#[tokio::test]
async fn what_cannot_be_read_is_told_and_counts_as_absent() {
    let store = Arc::new(MemoryStore::new());
    node(&store, "a", "192.0.2.1/24").await;
    put(&store, &Key::resource(Kind::BGPPeer, "", "bad"), b"{".to_vec()).await;
    let mut source = Source::new(store.clone(), "a", RouterId::default());
    let plan = next(&mut source).await;
    assert!(plan.sessions.is_empty());
    assert!(plan.warnings.iter().any(|w| w.to_string().contains("BGPPeer bad")), "{:?}", plan.warnings);
    put_resource(&store, Kind::BGPPeer, "bad", json!({"peerIP": "192.0.2.9", "asNumber": 65001})).await;
    let plan = next(&mut source).await;
    assert_eq!((plan.sessions.len(), plan.warnings.len()), (1, 0));
}

#[tokio::test]
async fn what_does_not_matter_makes_no_plan() {
    let store = Arc::new(MemoryStore::new());
    node(&store, "a", "192.0.2.1/24").await;
    let mut source = Source::new(store.clone(), "a", RouterId::default());
    next(&mut source).await;
    // Written again as it was, then a change that matters: only the second is told.
    node(&store, "a", "192.0.2.1/24").await;
    node(&store, "b", "192.0.2.2/24").await;
    assert_eq!(next(&mut source).await.sessions.len(), 1);
    assert!(source.plan().is_none());
}
