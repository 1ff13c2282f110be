use super::*;
use serde::Deserialize;
use serde_json::json;

#[test]
fn a_new_resource_has_its_key() {
    let policy = Resource::new(Kind::NetworkPolicy, "shop", "web");
    assert_eq!(policy.key(), Key::resource(Kind::NetworkPolicy, "shop", "web"));
    assert_eq!((policy.name(), policy.namespace(), policy.uid()), ("web", "shop", ""));
    assert_eq!(Resource::new(Kind::Node, "shop", "n").namespace(), "");
    assert_eq!(
        Value::Object(Resource::new(Kind::Node, "", "n").into_object()).to_string(),
        r#"{"kind":"Node","apiVersion":"projectcalico.org/v3","metadata":{"name":"n"},"spec":{}}"#
    );
}

#[test]
fn metadata_is_patched_in_place() {
    let mut node = Resource::new(Kind::Node, "", "n");
    node.set_meta_text("resourceVersion", "7");
    assert_eq!(node.resource_version(), "7");
    node.set_meta_text("resourceVersion", "");
    assert!(!node.metadata().unwrap().contains_key("resourceVersion"));

    node.set_meta_entry("labels", "b", "2");
    node.set_meta_entry("labels", "a", "1");
    node.set_meta_entry("annotations", "x", "");
    assert_eq!(node.label("a"), Some("1"));
    assert_eq!(node.labels().count(), 2);
    assert_eq!(node.annotations().collect::<Vec<_>>(), [("x", "")]);
    assert!(node.remove_meta_entry("labels", "b") && !node.remove_meta_entry("labels", "b"));
    assert!(node.remove_meta_entry("annotations", "x"));
    assert!(!node.metadata().unwrap().contains_key("annotations"));
    assert!(!node.remove_meta_entry("finalizers", "x"));
}

#[test]
fn nonsense_in_the_store_reads_as_nothing() {
    for object in
        [json!({}), json!({"metadata": 5, "spec": [1]}), json!({"metadata": {"name": 5, "labels": [1]}})]
    {
        let mut resource = Resource::from_object(Kind::Node, object.as_object().unwrap().clone());
        assert_eq!((resource.name(), resource.label("a"), resource.labels().count()), ("", None, 0));
        resource.set_meta_entry("labels", "a", "1");
        resource.spec_mut().insert("x".into(), json!(1));
        assert_eq!((resource.label("a"), resource.spec()), (Some("1"), &json!({"x": 1})));
    }
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Typed {
    name: String,
    list: Vec<u8>,
    inner: Inner,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Inner {
    count: u8,
}

#[test]
fn null_is_absence() {
    let typed = |spec: Value| {
        let mut resource = Resource::new(Kind::Node, "", "n");
        resource.object_mut().insert("spec".into(), spec);
        resource.typed_spec::<Typed>()
    };
    let nothing = Typed::default();
    assert_eq!(typed(json!(null)).unwrap(), nothing);
    assert_eq!(typed(json!({"name": null, "list": null, "inner": null, "other": null})).unwrap(), nothing);
    assert_eq!(typed(json!({"inner": {"count": null}, "list": [null, 1]})).unwrap().list, [1]);
    assert_eq!(typed(json!({"name": "x", "inner": {"count": 3}, "new": 1})).unwrap().inner.count, 3);
    let error = typed(json!({"inner": {"count": 300}})).unwrap_err();
    assert!(
        error.to_string().starts_with("/calico/resources/v3/projectcalico.org/nodes/n: spec: "),
        "{error}"
    );
}

#[test]
fn pools_can_be_switched_off_in_three_ways() {
    let pool = |object: Value| {
        let mut pool = Resource::new(Kind::IPPool, "", "p");
        pool.object_mut().extend(object.as_object().unwrap().clone());
        pool.is_allocatable_pool()
    };
    assert!(pool(json!({})));
    assert!(!pool(json!({"spec": {"disabled": true}})));
    assert!(!pool(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})));
    let condition = |kind: &str, status: &str| {
        pool(json!({"status": {"conditions": [{"type": kind, "status": status}]}}))
    };
    assert!(
        condition("Allocatable", "True") && condition("Ready", "False") && !condition("Allocatable", "False")
    );
}

#[test]
fn a_typed_spec_becomes_the_spec() {
    let mut pool = Resource::new(Kind::IPPool, "", "p");
    pool.set_spec(&crate::v3::IPReservationSpec { reserved_cidrs: vec!["10.0.0.0/30".into()] }).unwrap();
    assert_eq!(pool.spec(), &json!({"reservedCIDRs": ["10.0.0.0/30"]}));
}
