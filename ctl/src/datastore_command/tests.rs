use super::*;
use datastore::memory::MemoryStore;
use std::sync::Arc;

const LEGACY: &str = r#"{"kind":"GlobalNetworkPolicy","apiVersion":"projectcalico.org/v3","metadata":{"name":"default.old",
    "annotations":{"projectcalico.org/metadata":"{\"name\":\"old\"}"}},"spec":{"order":3}}"#;

fn path(name: &str) -> String {
    format!("{}{name}", resource_prefix(Kind::GlobalNetworkPolicy, None))
}

async fn put(client: &Client, name: &str, value: &str) {
    let put = Op::Put(PutRequest::new(path(name), value.as_bytes().to_vec()));
    client.store().txn(Txn { success: vec![put], ..Txn::default() }).await.expect("put");
}

async fn names(client: &Client) -> Vec<String> {
    let prefix = resource_prefix(Kind::GlobalNetworkPolicy, None);
    let pairs = client.store().range(RangeRequest::prefix(prefix.clone())).await.expect("range").kvs;
    pairs.iter().map(|pair| String::from_utf8_lossy(&pair.key).replace(&prefix, "")).collect()
}

#[tokio::test]
async fn legacy_names_move_once() {
    let client = Client::new(Arc::new(MemoryStore::new()));
    put(&client, "default.old", LEGACY).await;
    put(
        &client,
        "other.x",
        &LEGACY
            .replace("default.old", "other.x")
            .replace("{\\\"name\\\":\\\"old\\\"}", "")
            .replace("\"order\":3", "\"tier\":\"other\""),
    )
    .await;
    assert_eq!(migrate(&client).await.expect("migrated"), 1);
    assert_eq!(names(&client).await, ["old", "other.x"]);
    assert_eq!(migrate(&client).await.expect("nothing left"), 0);
}

#[tokio::test]
async fn a_taken_name_is_left_alone() {
    let client = Client::new(Arc::new(MemoryStore::new()));
    put(&client, "default.old", LEGACY).await;
    put(&client, "old", &LEGACY.replace("default.old", "old")).await;
    assert_eq!(migrate(&client).await.expect("nothing moved"), 0);
    assert_eq!(names(&client).await, ["default.old", "old"]);
}

#[tokio::test]
async fn locked_and_unlocked_twice() {
    use crate::io::captured;
    use crate::persona::Persona;
    let session = Session { persona: Persona::Calicoctl, client: Client::new(Arc::new(MemoryStore::new())) };
    let (mut io, out, _) = captured::io("");
    for (ready, said) in
        [(false, "Datastore locked.\n"), (false, "Datastore locked.\n"), (true, "Datastore unlocked.\n")]
    {
        set_ready(&session, ready, &mut io).await.expect("set");
        assert_eq!(out.take(), said);
        let information = session.client.get(Kind::ClusterInformation, "", "default").await.expect("there");
        assert_eq!(
            information.spec().get("datastoreReady").and_then(serde_json::Value::as_bool),
            Some(ready)
        );
    }
}
