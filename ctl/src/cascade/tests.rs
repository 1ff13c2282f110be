mod interrupted;

use super::*;
use datastore::Bootstrap;
use datastore::memory::MemoryStore;
use ipam::AutoAssignRequest;
use model::schema::decode_strict;
use mvcc::RangeRequest;
use serde_json::json;

async fn cluster() -> Client {
    let client = Client::new(Arc::new(MemoryStore::new()));
    client.ensure_initialized(Bootstrap::default()).await.expect("initialised");
    client
}

async fn create(client: &Client, kind: Kind, namespace: &str, name: &str, spec: Value) -> Resource {
    let mut object = json!({"metadata": {"name": name}, "spec": spec});
    if !namespace.is_empty() {
        object["metadata"]["namespace"] = namespace.into();
    }
    client.create(decode_strict(kind, object).expect("decoded")).await.expect("created")
}

async fn keys(client: &Client, prefix: &str) -> Vec<String> {
    let pairs = client.store().range(RangeRequest::prefix(prefix.to_owned())).await.expect("range").kvs;
    pairs.iter().map(|pair| String::from_utf8_lossy(&pair.key).replace("/calico/", "")).collect()
}

async fn assign(client: &Client, node: &str, handle: &str) -> IpAddr {
    let request = AutoAssignRequest {
        handle: Some(handle.into()),
        attributes: [("node".to_owned(), node.to_owned())].into(),
        ..AutoAssignRequest::for_workload(node, 1, 0)
    };
    let outcome = Ipam::new(Arc::clone(client.store())).auto_assign(request).await.expect("assigned");
    outcome.v4.assigned.first().expect("an address").address
}

async fn endpoint(client: &Client, node: &str, container: &str, address: IpAddr) {
    let name = format!("{node}-cni-{container}-eth0");
    let spec = json!({"node": node, "orchestrator": "cni", "containerID": container, "endpoint": "eth0",
        "interfaceName": "cali1", "ipNetworks": [format!("{address}/32")]});
    create(client, Kind::WorkloadEndpoint, "default", &name, spec).await;
}

#[tokio::test]
async fn a_node_takes_along_what_is_its_own() {
    let client = cluster().await;
    create(&client, Kind::IPPool, "", "p", json!({"cidr": "10.0.0.0/24", "blockSize": 28})).await;
    for node in ["n1", "n2"] {
        create(&client, Kind::Node, "", node, json!({"bgp": {"ipv4Address": "192.0.2.1/24"}})).await;
        create(
            &client,
            Kind::BGPPeer,
            "",
            &format!("{node}-peer"),
            json!({"node": node, "peerIP": "192.0.2.9", "asNumber": 64600}),
        )
        .await;
        create(
            &client,
            Kind::HostEndpoint,
            "",
            &format!("{node}-eth0"),
            json!({"node": node, "interfaceName": "eth0"}),
        )
        .await;
        create(&client, Kind::FelixConfiguration, "", &format!("node.{node}"), json!({})).await;
        create(&client, Kind::BGPConfiguration, "", &format!("node.{node}"), json!({})).await;
        let address = assign(&client, node, &format!("{node}-h")).await;
        endpoint(&client, node, "c1", address).await;
    }
    create(&client, Kind::BGPPeer, "", "global", json!({"peerIP": "192.0.2.9", "asNumber": 64600})).await;
    // an endpoint of n1 that names an address which n2 has got since
    let others = assign(&client, "n2", "n2-other").await;
    endpoint(&client, "n1", "c2", others).await;
    let everything_of_n2 =
        |keys: Vec<String>| keys.into_iter().filter(|key| !key.contains("n1")).collect::<Vec<_>>();
    let before = everything_of_n2(keys(&client, "/calico/resources/").await);

    delete(&client, Kind::Node, "", "n1", DeleteOptions::default()).await.expect("deleted");

    assert_eq!(keys(&client, "/calico/resources/").await, before);
    assert_eq!(
        keys(&client, "/calico/ipam/v2/handle/").await,
        ["ipam/v2/handle/n2-h", "ipam/v2/handle/n2-other"]
    );
    assert!(keys(&client, "/calico/ipam/v2/host/").await.iter().all(|key| key.contains("/n2/")));
    assert_eq!(
        keys(&client, "/calico/ipam/v2/assignment/").await.len(),
        1,
        "n1's block was empty and is gone"
    );
    let missing = delete(&client, Kind::Node, "", "n1", DeleteOptions::default()).await;
    assert!(matches!(missing, Err(ClientError::DoesNotExist { .. })));
}

#[tokio::test]
async fn tunnel_addresses_are_given_back() {
    let client = cluster().await;
    create(&client, Kind::IPPool, "", "p", json!({"cidr": "10.0.0.0/24", "blockSize": 28})).await;
    let mut node = create(&client, Kind::Node, "", "n1", json!({})).await;
    let tunnel = assign(&client, "n1", "ipip-tunnel-addr-n1").await;
    node.spec_mut().insert("bgp".into(), json!({"ipv4IPIPTunnelAddr": tunnel.to_string()}));
    client.update(node).await.expect("updated");
    delete(&client, Kind::Node, "", "n1", DeleteOptions::default()).await.expect("deleted");
    assert!(keys(&client, "/calico/ipam/v2/").await.is_empty());
}

#[tokio::test]
async fn conditions_hold_before_anything_is_touched() {
    let client = cluster().await;
    let node = create(&client, Kind::Node, "", "n1", json!({})).await;
    create(&client, Kind::HostEndpoint, "", "h", json!({"node": "n1", "interfaceName": "eth0"})).await;
    let old = DeleteOptions { revision: Some("1".into()), uid: None };
    let conflict = delete(&client, Kind::Node, "", "n1", old).await;
    assert!(matches!(conflict, Err(ClientError::UpdateConflict { .. })), "{conflict:?}");
    let other = DeleteOptions { revision: None, uid: Some("other".into()) };
    assert!(matches!(
        delete(&client, Kind::Node, "", "n1", other).await,
        Err(ClientError::DoesNotExist { .. })
    ));
    assert!(client.get(Kind::HostEndpoint, "", "h").await.is_ok());
    let current =
        DeleteOptions { revision: Some(node.resource_version().into()), uid: Some(node.uid().into()) };
    delete(&client, Kind::Node, "", "n1", current).await.expect("deleted");
    assert!(client.get(Kind::HostEndpoint, "", "h").await.is_err());
}

#[tokio::test]
async fn a_pool_gives_its_blocks_up() {
    let client = cluster().await;
    create(&client, Kind::Node, "", "n1", json!({})).await;
    let pool = create(&client, Kind::IPPool, "", "p", json!({"cidr": "10.0.0.0/24", "blockSize": 28})).await;
    assign(&client, "n1", "h").await;
    assert_eq!(keys(&client, "/calico/ipam/v2/host/").await.len(), 1);
    let options = DeleteOptions { revision: Some(pool.resource_version().into()), uid: None };
    delete(&client, Kind::IPPool, "", "p", options).await.expect("deleted");
    assert!(client.get(Kind::IPPool, "", "p").await.is_err());
    assert!(keys(&client, "/calico/ipam/v2/host/").await.is_empty());
    // an address in use keeps its block, which nobody owns
    let blocks = Ipam::new(Arc::clone(client.store())).blocks().await.expect("blocks");
    assert_eq!(blocks.iter().map(|block| block.affinity.clone()).collect::<Vec<_>>(), [None]);
}

#[tokio::test]
async fn a_pool_that_does_not_validate_can_go() {
    let client = cluster().await;
    let pool = Resource::from_object(
        Kind::IPPool,
        json!({"kind": "IPPool", "apiVersion": "projectcalico.org/v3", "metadata": {"name": "odd", "uid": "u"},
            "spec": {"cidr": "10.0.0.0/31", "blockSize": 26, "nodeSelector": "((("}})
            .as_object()
            .cloned()
            .expect("object"),
    );
    let put = Op::Put(PutRequest::new(pool.key().path(), codec::encode(&pool)));
    client.store().txn(Txn { success: vec![put], ..Txn::default() }).await.expect("planted");
    delete(&client, Kind::IPPool, "", "odd", DeleteOptions::default()).await.expect("deleted");
    assert!(client.get(Kind::IPPool, "", "odd").await.is_err());
}
