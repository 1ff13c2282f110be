use super::*;
use datastore::Bootstrap;
use datastore::memory::MemoryStore;
use model::schema::decode_strict;
use serde_json::{Value, json};
use std::sync::Arc;

async fn cluster() -> Client {
    let client = Client::new(Arc::new(MemoryStore::new()));
    client.ensure_initialized(Bootstrap::default()).await.expect("initialised");
    client
}

fn policy(metadata: Value, order: u32) -> Resource {
    let object = json!({"metadata": metadata, "spec": {"order": order, "ingress": [{"action": "Allow"}]}});
    decode_strict(Kind::GlobalNetworkPolicy, object).expect("a policy")
}

async fn stored(client: &Client) -> Resource {
    client.get(Kind::GlobalNetworkPolicy, "", "web").await.expect("stored")
}

#[tokio::test]
async fn apply_creates_and_then_replaces_everything_but_the_identity() {
    let client = cluster().await;
    let first =
        policy(json!({"name": "web", "labels": {"a": "1"}, "annotations": {"x": "y"}, "uid": "mine"}), 5);
    apply(&client, first).await.expect("created");
    let created = stored(&client).await;
    assert_ne!(created.uid(), "mine", "identity is the store's");
    assert_eq!((created.label("a"), created.annotations().count()), (Some("1"), 1));
    apply(&client, policy(json!({"name": "web", "labels": {"b": "2"}}), 6)).await.expect("replaced");
    let replaced = stored(&client).await;
    assert_eq!(replaced.uid(), created.uid());
    assert_eq!(replaced.creation_timestamp(), created.creation_timestamp());
    assert_eq!(
        (replaced.label("a"), replaced.label("b"), replaced.annotations().count()),
        (None, Some("2"), 0)
    );
    assert_eq!(replaced.spec().get("order"), Some(&json!(6)));
}

#[tokio::test]
async fn create_refuses_a_version_and_what_exists() {
    let client = cluster().await;
    let versioned = policy(json!({"name": "web", "resourceVersion": "7"}), 5);
    assert!(matches!(create(&client, versioned, false).await, Err(ClientError::Validation(_))));
    create(&client, policy(json!({"name": "web"}), 5), false).await.expect("created");
    let again = || policy(json!({"name": "web"}), 6);
    assert!(matches!(create(&client, again(), false).await, Err(ClientError::AlreadyExists { .. })));
    create(&client, again(), true).await.expect("skipped");
    assert_eq!(stored(&client).await.spec().get("order"), Some(&json!(5)), "what exists stays as it is");
}

#[tokio::test]
async fn replace_and_delete_want_what_exists() {
    let client = cluster().await;
    let web = policy(json!({"name": "web"}), 5);
    assert!(matches!(replace(&client, web.clone()).await, Err(ClientError::DoesNotExist { .. })));
    assert!(matches!(delete(&client, &web, false).await, Err(ClientError::DoesNotExist { .. })));
    delete(&client, &web, true).await.expect("skipped");
}

#[tokio::test]
async fn a_version_guards_a_delete() {
    let client = cluster().await;
    create(&client, policy(json!({"name": "web"}), 5), false).await.expect("created");
    let mut old = policy(json!({"name": "web"}), 5);
    old.set_meta_text("resourceVersion", "1");
    assert!(matches!(delete(&client, &old, false).await, Err(ClientError::UpdateConflict { .. })));
    old.set_meta_text("resourceVersion", stored(&client).await.resource_version());
    delete(&client, &old, false).await.expect("deleted");
}

#[tokio::test]
async fn the_built_in_profile_is_refused_by_name() {
    let client = cluster().await;
    let profile = Resource::new(Kind::Profile, "", datastore::DEFAULT_ALLOW_PROFILE);
    let error = apply(&client, profile).await.expect_err("built in").to_string();
    assert!(error.starts_with("operation Update is not supported on projectcalico-default-allow"), "{error}");
}

#[tokio::test]
async fn replacements_without_a_version_race_without_loss() {
    let client = cluster().await;
    create(&client, policy(json!({"name": "web"}), 0), false).await.expect("created");
    let races = (1..=4).map(|order| replace(&client, policy(json!({"name": "web"}), order)));
    for done in futures::future::join_all(races).await {
        done.expect("somebody was faster, and then it was our turn");
    }
    let order = stored(&client).await.spec().get("order").and_then(Value::as_u64);
    assert!(order.is_some_and(|order| (1..=4).contains(&order)));
}

#[test]
fn validate_judges_the_document_alone() {
    validate(&policy(json!({"name": "web"}), 5)).expect("valid");
    let wrong = decode_strict(Kind::GlobalNetworkPolicy, json!({"metadata": {"name": "Web"}, "spec": {}}))
        .expect("decoded");
    assert!(matches!(validate(&wrong), Err(ClientError::Validation(_))));
}
