//! Several resources at once, places, and stores that refuse.

use super::*;
use datastore::memory::{Disturbed, Fate};
use datastore::{Datastore, StoreError};

fn of(kind: Kind, object: Value) -> Given {
    Given { resource: schema::decode_strict(kind, object).expect("decoded"), origin: None }
}

async fn written_in(session: &Session, verb: Verb, namespace: &str, lenient: bool, given: &[Given]) -> Said {
    let (mut io, out, _) = captured::io("");
    let done = write(session, verb, lenient, &place(namespace), given, &mut io).await;
    ended(&out, done)
}

async fn patched_in(session: &Session, namespace: &str, line: &str, change: &str) -> Said {
    let (mut io, out, _) = captured::io("");
    let done = patch(session, &words(line), change, &place(namespace), &mut io).await;
    ended(&out, done)
}

async fn labelled_with(session: &Session, asked: LabelFlags, line: &str) -> Said {
    let (mut io, out, _) = captured::io("");
    let done = label(session, &words(line), asked, &place(""), &mut io).await;
    ended(&out, done)
}

/// A session whose store refuses every request.
fn cut_off(persona: Persona) -> Session {
    let store = Disturbed::new(MemoryStore::new(), |_| {
        Box::pin(std::future::ready(Fate::Refused(StoreError::Unavailable("no way there".into()))))
    });
    let store: Arc<dyn Datastore> = Arc::new(store);
    Session { persona, client: Client::new(store) }
}

async fn nets(session: &Session, name: &str) -> Value {
    session.client.get(Kind::GlobalNetworkSet, "", name).await.expect("stored").spec()["nets"].clone()
}

#[tokio::test]
async fn the_rest_goes_on_after_one_that_fails() {
    let session = session(Persona::Calicoctl);
    written(&session, Verb::Create, &[set("b", json!(["10.0.0.0/8"]))]).await;
    let three = ["a", "b", "c"].map(|name| set(name, json!(["11.0.0.0/8"])));
    assert_eq!(
        written(&session, Verb::Create, &three).await,
        said(
            "Partial success: created the first 2 out of 3 'GlobalNetworkSet' resources:",
            "hit error: [resource already exists: GlobalNetworkSet(b) with error: <nil>]"
        )
    );
    assert_eq!(nets(&session, "b").await, json!(["10.0.0.0/8"]), "what is there stays");
    assert_eq!(nets(&session, "c").await, json!(["11.0.0.0/8"]));
    assert_eq!(
        written_in(&session, Verb::Create, "", true, &three).await,
        said("Successfully created 3 'GlobalNetworkSet' resource(s)", "")
    );
    assert_eq!(nets(&session, "b").await, json!(["10.0.0.0/8"]), "skipping is not replacing");
    let mixed = ["x", "a", "y", "b"].map(|name| set(name, json!([])));
    let lines = ["x", "y"].map(|name| {
        format!("Failed to delete 'GlobalNetworkSet' resource: resource does not exist: GlobalNetworkSet({name}) with error: <nil>\n")
    });
    assert_eq!(
        written(&session, Verb::Delete, &mixed).await,
        said("Successfully deleted 2 'GlobalNetworkSet' resource(s)", &lines.concat())
    );
    assert_eq!(
        written_in(&session, Verb::Delete, "", true, &mixed).await,
        said("Successfully deleted 4 'GlobalNetworkSet' resource(s)", "")
    );
}

#[tokio::test]
async fn documents_are_taken_in_their_order() {
    let session = session(Persona::Calicoctl);
    let tier = of(Kind::Tier, json!({"metadata": {"name": "t"}, "spec": {"order": 5}}));
    let policy = of(
        Kind::GlobalNetworkPolicy,
        json!({"metadata": {"name": "t.p"}, "spec": {"tier": "t", "selector": "all()"}}),
    );
    let (out, end) = written(&session, Verb::Apply, &[policy.clone(), tier.clone()]).await;
    assert_eq!(
        (out.as_str(), end.as_str()),
        ("", "hit error: [resource does not exist: Tier(t) with error: <nil>]")
    );
    assert_eq!(
        written(&session, Verb::Apply, &[tier.clone(), policy.clone()]).await,
        said("Successfully applied 2 resource(s)", "")
    );
    let (out, end) = written(&session, Verb::Delete, &[tier.clone(), policy.clone()]).await;
    assert_eq!(out, "Successfully deleted 1 resource(s)\n");
    assert!(end.starts_with("Failed to delete 'Tier' resource: ") && end.contains('t'), "{end}");
    assert_eq!(
        written(&session, Verb::Delete, &[tier]).await.0,
        "Successfully deleted 1 'Tier' resource(s)\n"
    );
}

#[tokio::test]
async fn a_namespace_comes_from_the_document_or_the_flag() {
    let session = session(Persona::Calicoctl);
    let network = |namespace: &str| {
        let mut metadata = json!({"name": "s"});
        if !namespace.is_empty() {
            metadata["namespace"] = namespace.into();
        }
        [of(Kind::NetworkSet, json!({"metadata": metadata, "spec": {"nets": ["10.0.0.0/8"]}}))]
    };
    for (flag, document, stored) in
        [("", "", "default"), ("shop", "", "shop"), ("", "farm", "farm"), ("farm", "farm", "farm")]
    {
        let done = written_in(&session, Verb::Apply, flag, false, &network(document)).await;
        assert_eq!(done, said("Successfully applied 1 'NetworkSet' resource(s)", ""), "{flag} {document}");
        assert!(session.client.get(Kind::NetworkSet, stored, "s").await.is_ok(), "{stored}");
    }
    let (out, end) = written_in(&session, Verb::Apply, "shop", false, &network("farm")).await;
    assert!(out.is_empty() && end.contains("namespace"), "{end}");
    let change = r#"{"spec":{"nets":["11.0.0.0/8"]}}"#;
    assert_eq!(
        patched_in(&session, "shop", "networksets s", change).await,
        said("Successfully patched 1 'NetworkSet' resource", "")
    );
    let nets = |stored: Resource| stored.spec()["nets"].clone();
    assert_eq!(
        nets(session.client.get(Kind::NetworkSet, "shop", "s").await.expect("there")),
        json!(["11.0.0.0/8"])
    );
    assert_eq!(
        nets(session.client.get(Kind::NetworkSet, "farm", "s").await.expect("there")),
        json!(["10.0.0.0/8"])
    );
    let (_, end) = patched_in(&session, "nowhere", "networksets s", change).await;
    assert_eq!(end, "hit error: resource does not exist: NetworkSet(nowhere/s) with error: <nil>");
}

#[tokio::test]
async fn a_patch_changes_what_it_names_only() {
    let session = session(Persona::Calicoctl);
    let rule = json!({"action": "Allow", "protocol": "TCP"});
    let policy = of(
        Kind::GlobalNetworkPolicy,
        json!({"metadata": {"name": "p", "labels": {"a": "b"}, "annotations": {"n": "o"}},
            "spec": {"order": 10, "selector": "has(a)", "ingress": [rule, rule], "types": ["Ingress"]}}),
    );
    written(&session, Verb::Create, std::slice::from_ref(&policy)).await;
    let before = session.client.get(Kind::GlobalNetworkPolicy, "", "p").await.expect("stored");
    for change in [
        r#"{"spec":{"order":null,"ingress":[{"action":"Deny"}]}}"#,
        r#"{"metadata":{"labels":{"a":null,"c":"d"}}}"#,
    ] {
        assert_eq!(patched(&session, "gnp p", change).await.1, "");
    }
    let after = session.client.get(Kind::GlobalNetworkPolicy, "", "p").await.expect("stored");
    assert_eq!(after.spec().get("order"), None);
    assert_eq!(after.spec()["ingress"].as_array().map(Vec::len), Some(1), "lists are replaced");
    assert_eq!(after.spec()["selector"], before.spec()["selector"]);
    assert_eq!((after.label("a"), after.label("c")), (None, Some("d")));
    assert_eq!(after.uid(), before.uid());
    assert!(after.annotations().any(|entry| entry == ("n", "o")));
    let wrong = patched(&session, "gnp p", r#"{"spec":{"order":"first"}}"#).await.1;
    assert!(wrong.starts_with("hit error: "), "{wrong}");
    let told = Session { persona: Persona::Ocicat, ..session };
    let wrong = patched(&told, "gnp p", r#"{"spec":{"order":"first"}}"#).await.1;
    assert!(wrong.contains("spec.order") && wrong.contains("first"), "{wrong}");
    assert_eq!(patched(&told, "gnp", "{}").await.1, "requires at least 2 arg(s), only received 1");
    assert_eq!(patched(&told, "gnp ", "{}").await.1, "resource name may not be empty");
    assert_eq!(patched(&told, "sheep p", "{}").await.1, "resource type 'sheep' is not supported");
}

#[tokio::test]
async fn of_several_labels_all_are_stored_or_none() {
    let session = session(Persona::Calicoctl);
    written(&session, Verb::Create, &[set("s", json!([]))]).await;
    let labels = |session: &Session| {
        let client = session.client.clone();
        async move {
            let stored = client.get(Kind::GlobalNetworkSet, "", "s").await.expect("stored");
            let labels: Vec<(String, String)> =
                stored.labels().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            (labels, stored.object()["metadata"].get("labels").is_some())
        }
    };
    let both = "Successfully set label a on gnetsets s\nSuccessfully set label b on gnetsets s";
    assert_eq!(labelled(&session, "gnetsets s a=1 b=2").await, said(both, ""));
    let refused = "failed to update label of gnetsets s, key a is already present. please use '--overwrite' to set a new value";
    assert_eq!(labelled(&session, "gnetsets s c=3 a=9").await, said("", refused));
    let found = |list: &[(&str, &str)]| {
        let list: Vec<(String, String)> =
            list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        (list, true)
    };
    assert_eq!(labels(&session).await, found(&[("a", "1"), ("b", "2")]), "c is not stored either");
    let overwrite = LabelFlags { remove: false, overwrite: true };
    assert_eq!(labelled_with(&session, overwrite, "gnetsets s a=9").await.1, "");
    let remove = LabelFlags { remove: true, overwrite: false };
    let missing = "cannot remove label of gnetsets s, key x does not exist";
    assert_eq!(labelled_with(&session, remove, "gnetsets s b x").await, said("", missing));
    assert_eq!(labels(&session).await, found(&[("a", "9"), ("b", "2")]));
    assert_eq!(labelled_with(&session, remove, "gnetsets s a b").await.1, "");
    assert_eq!(labels(&session).await, (Vec::new(), false), "the map goes with its last entry");
}

#[tokio::test]
async fn a_store_that_cannot_be_reached_is_told_once() {
    for persona in [Persona::Calicoctl, Persona::Ocicat] {
        let session = cut_off(persona);
        let several = ["a", "b", "c"].map(|name| set(name, json!([])));
        let ends = [
            written(&session, Verb::Create, &several).await,
            written(&session, Verb::Delete, &several).await,
            patched(&session, "gnetsets a", "{}").await,
            labelled(&session, "gnetsets a b=c").await,
        ];
        for (out, end) in ends {
            assert_eq!(out, "");
            assert_eq!(end.matches("no way there").count(), 1, "{end}");
        }
        let (out, end) = got(&session, "gnetsets", "name").await;
        assert!(out.trim().is_empty() && end.contains("no way there"), "{out} {end}");
    }
}
