mod edges;

use super::*;
use crate::cli::ConfigArgs;
use crate::io::captured;
use datastore::memory::MemoryStore;
use model::columns::Width;
use serde_json::json;
use std::sync::Arc;

fn session(persona: Persona) -> Session {
    Session { persona, client: Client::new(Arc::new(MemoryStore::new())) }
}

fn place(namespace: &str) -> PlaceArgs {
    let namespace = (!namespace.is_empty()).then(|| namespace.to_owned());
    PlaceArgs { config: ConfigArgs { config: String::new() }, namespace }
}

fn set(name: &str, nets: Value) -> Given {
    let object = json!({"metadata": {"name": name}, "spec": {"nets": nets}});
    Given { resource: schema::decode_strict(Kind::GlobalNetworkSet, object).expect("a set"), origin: None }
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

/// What a command printed, and what it ended with.
type Said = (String, String);

fn ended(out: &captured::Text, done: Result<(), Failure>) -> Said {
    let end = match done {
        Ok(()) => String::new(),
        Err(Failure::Message(text)) => text,
        Err(other) => panic!("{other:?}"),
    };
    (out.take(), end)
}

async fn written(session: &Session, verb: Verb, given: &[Given]) -> Said {
    let (mut io, out, _) = captured::io("");
    let done = write(session, verb, false, &place(""), given, &mut io).await;
    ended(&out, done)
}

async fn got(session: &Session, line: &str, format: &str) -> Said {
    let (mut io, out, _) = captured::io("");
    let files = FileArgs { filename: Vec::new(), recursive: false, skip_empty: false };
    let format = Format::parse(format, Persona::Ocicat).expect("format");
    let target = target(session.persona, &words(line), &files, "failed: ", &mut io);
    let target = match target {
        Ok(target) => target.expect("something to get"),
        Err(failure) => return ended(&out, Err(failure)),
    };
    let ask = Get { format: &format, flags: &NamespaceFlags::default(), export: true };
    let done = get(session, &target, &ask, &mut io).await;
    ended(&out, done)
}

async fn patched(session: &Session, line: &str, change: &str) -> Said {
    let (mut io, out, _) = captured::io("");
    let done = patch(session, &words(line), change, &place(""), &mut io).await;
    ended(&out, done)
}

async fn labelled(session: &Session, line: &str) -> Said {
    let (mut io, out, _) = captured::io("");
    let asked = LabelFlags { remove: false, overwrite: false };
    let done = label(session, &words(line), asked, &place(""), &mut io).await;
    ended(&out, done)
}

fn said(out: &str, end: &str) -> Said {
    let out = if out.is_empty() { String::new() } else { format!("{out}\n") };
    (out, end.to_owned())
}

#[tokio::test]
async fn a_resources_life() {
    let session = session(Persona::Calicoctl);
    let one = [set("s1", json!(["10.0.0.0/8"]))];
    assert_eq!(
        written(&session, Verb::Create, &one).await,
        said("Successfully created 1 'GlobalNetworkSet' resource(s)", "")
    );
    assert_eq!(
        written(&session, Verb::Create, &one).await,
        said(
            "",
            "failed to create 'GlobalNetworkSet' resource: [resource already exists: GlobalNetworkSet(s1) with error: <nil>]"
        )
    );
    let changed = [set("s1", json!(["11.0.0.0/8"]))];
    assert_eq!(
        written(&session, Verb::Apply, &changed).await,
        said("Successfully applied 1 'GlobalNetworkSet' resource(s)", "")
    );
    let yaml = "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata:\n  name: s1\nspec:\n  nets:\n  - 11.0.0.0/8";
    assert_eq!(got(&session, "gnetsets s1", "yaml").await, said(yaml, ""));
    assert_eq!(
        patched(&session, "gnetsets s1", r#"{"spec":{"nets":["12.0.0.0/8"]}}"#).await,
        said("Successfully patched 1 'GlobalNetworkSet' resource", "")
    );
    assert_eq!(
        labelled(&session, "gnetsets s1 a=b").await,
        said("Successfully set label a on gnetsets s1", "")
    );
    assert_eq!(got(&session, "gnetsets", "name").await, said("globalnetworkset/s1", ""));
    assert_eq!(
        written(&session, Verb::Replace, &one).await,
        said("Successfully replaced 1 'GlobalNetworkSet' resource(s)", "")
    );
    let stored = session.client.get(Kind::GlobalNetworkSet, "", "s1").await.expect("stored");
    assert_eq!(stored.labels().count(), 0, "replace takes the document's labels");
    assert_eq!(stored.spec(), &json!({"nets": ["10.0.0.0/8"]}));
    assert_eq!(
        written(&session, Verb::Delete, &one).await,
        said("Successfully deleted 1 'GlobalNetworkSet' resource(s)", "")
    );
    assert_eq!(
        written(&session, Verb::Delete, &one).await,
        said(
            "",
            "Failed to delete 'GlobalNetworkSet' resource: resource does not exist: GlobalNetworkSet(s1) with error: <nil>\n"
        )
    );
}

#[tokio::test]
async fn versions_in_documents_are_held_against_the_store() {
    let session = session(Persona::Calicoctl);
    written(&session, Verb::Create, &[set("s1", json!([]))]).await;
    let mut old = set("s1", json!(["10.0.0.0/8"]));
    for version in ["1", "abc"] {
        old.resource.set_meta_text("resourceVersion", version);
        let one = std::slice::from_ref(&old);
        assert!(
            written(&session, Verb::Replace, one).await.1.ends_with("update conflict: GlobalNetworkSet(s1)")
        );
        assert!(
            written(&session, Verb::Apply, one).await.1.ends_with("[update conflict: GlobalNetworkSet(s1)]")
        );
    }
    let stored = session.client.get(Kind::GlobalNetworkSet, "", "s1").await.expect("stored");
    old.resource.set_meta_text("resourceVersion", stored.resource_version());
    assert_eq!(written(&session, Verb::Replace, &[old]).await.1, "");
}

#[tokio::test]
async fn what_is_found_is_printed_before_what_is_not() {
    let session = session(Persona::Calicoctl);
    written(&session, Verb::Create, &[set("s1", json!([]))]).await;
    assert_eq!(
        got(&session, "gnetsets nosuch s1 other", "name").await,
        said(
            "globalnetworkset/s1",
            "resource does not exist: GlobalNetworkSet(nosuch) with error: <nil>\nresource does not exist: \
             GlobalNetworkSet(other) with error: <nil>"
        )
    );
    assert_eq!(got(&session, "gnetsets nosuch", "json").await.0, "null");
    assert_eq!(
        got(&session, "sheep", "json").await,
        said("", "failed: resource type 'sheep' is not supported")
    );
}

#[tokio::test]
async fn patches_that_cannot_be_applied() {
    let session = session(Persona::Calicoctl);
    written(&session, Verb::Create, &[set("s1", json!([]))]).await;
    for (change, end) in [
        ("{", "hit error: performing strategic merge patch: invalid JSON document"),
        ("", "hit error: performing strategic merge patch: invalid JSON document"),
        (r#"{"spec":{"nots":[]}}"#, "field in document is not recognized or is in the wrong location: nots"),
        (
            r#"{"metadata":{"name":"other"}}"#,
            "hit error: updating existing resource: resource does not exist: GlobalNetworkSet(other) with error: <nil>",
        ),
        (
            r#"{"spec":{"nets":["x"]}}"#,
            "hit error: updating existing resource: error with field Nets[0] = 'x' (Reason: failed to validate Field: Nets[0] because of \
             Tag: cidr )",
        ),
    ] {
        assert_eq!(patched(&session, "gnetsets s1", change).await, said("", end), "{change}");
    }
    assert!(
        patched(&session, "gnetsets nosuch", "{}").await.1.starts_with("hit error: resource does not exist")
    );
}

#[tokio::test]
async fn labels_that_cannot_be_set() {
    let session = session(Persona::Calicoctl);
    written(&session, Verb::Create, &[set("s1", json!([]))]).await;
    for (line, end) in [
        ("gnetsets s1", "requires at least 3 arg(s), only received 2"),
        ("gnetsets nosuch a=b", "gnetsets nosuch not found"),
        ("gnetsets s1 a", "invalid label a"),
        ("gnetsets s1 a=b=c", "failed to update gnetsets s1, label not changed"),
        ("gnetsets s1 -a=b", "failed to update gnetsets s1, label not changed"),
    ] {
        assert_eq!(labelled(&session, line).await, said("", end), "{line}");
    }
    let told = Session { persona: Persona::Ocicat, ..session };
    assert!(labelled(&told, "gnetsets s1 a=b=c").await.1.contains("label not changed: "));
}

#[tokio::test]
async fn nobody_writes_what_is_not_theirs() {
    let session = session(Persona::Calicoctl);
    let given =
        |kind, namespace, name| [Given { resource: Resource::new(kind, namespace, name), origin: None }];
    let information = given(Kind::ClusterInformation, "", "default");
    assert_eq!(
        written(&session, Verb::Apply, &information).await.1,
        "failed to apply 'ClusterInformation' resource: [operation apply is not supported on ClusterInformation: resource is readonly]"
    );
    let mirror = given(Kind::NetworkPolicy, "shop", "knp.default.web");
    let end = written(&session, Verb::Create, &mirror).await.1;
    assert!(end.contains("must be managed through the kubernetes API"), "{end}");
    assert!(written(&session, Verb::Delete, &mirror).await.1.contains("operation delete is not supported"));
}

#[tokio::test]
async fn nodes_show_the_clusters_as_number() {
    let session = session(Persona::Ocicat);
    let decode = |kind, object| Given {
        resource: schema::decode_strict(kind, object).expect("decoded"),
        origin: None,
    };
    let node = decode(
        Kind::Node,
        json!({"metadata": {"name": "n1"}, "spec": {"bgp": {"ipv4Address": "192.0.2.1/24"}}}),
    );
    written(&session, Verb::Create, &[node]).await;
    assert!(got(&session, "nodes", "wide").await.0.contains("(64512)"));
    let bgp =
        decode(Kind::BGPConfiguration, json!({"metadata": {"name": "default"}, "spec": {"asNumber": 65111}}));
    written(&session, Verb::Create, &[bgp]).await;
    assert!(got(&session, "nodes", "wide").await.0.contains("(65111)"));
    assert_eq!(Format::parse("table", Persona::Ocicat).expect("format"), Format::Table(Width::Default));
}

#[test]
fn places_are_told_under_our_own_name_only() {
    let (mut io, out, _) =
        captured::io("apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {name: S2}\n");
    let files = FileArgs { filename: vec!["-".into()], recursive: false, skip_empty: false };
    let Ok(Some(Target::Given(given))) = target(Persona::Ocicat, &[], &files, "", &mut io) else {
        panic!("no input")
    };
    let end = |persona, io: &mut Io| ended(&out, validate(persona, &place(""), &given, io)).1;
    let told = end(Persona::Ocicat, &mut io);
    assert!(
        told.contains("'S2'") && told.contains("standard input, document 1 at line 1: GlobalNetworkSet S2"),
        "{told}"
    );
    assert!(!end(Persona::Calicoctl, &mut io).contains("standard input"));
}

#[test]
fn of_several_files_calicoctl_takes_the_last() {
    let directory = tempfile::tempdir().expect("directory");
    let write = |name: &str| {
        let path = directory.path().join(name);
        let text =
            format!("apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {{name: {name}}}\n");
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("text").to_owned()
    };
    let files = FileArgs { filename: vec![write("a"), write("b")], recursive: false, skip_empty: false };
    let names = |persona| {
        let (mut io, ..) = captured::io("");
        let Ok(Some(Target::Given(given))) = target(persona, &[], &files, "", &mut io) else {
            panic!("no input")
        };
        given.iter().map(|given| given.resource.name().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(Persona::Ocicat), ["a", "b"]);
    assert_eq!(names(Persona::Calicoctl), ["b"]);
}
