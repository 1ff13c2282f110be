//! Any resource comes back as it was, and no stored bytes do harm.

use datastore::{Client, ListOptions, codec, memory::MemoryStore};
use model::{Kind, Resource};
use mvcc::{KeyValue, Op, PutRequest, Txn};
use proptest::prelude::*;
use serde_json::{Map, Value};
use std::sync::Arc;

fn word() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-z]{1,8}", 1 => "\\PC{0,6}"]
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        word().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            object(inner).prop_map(Value::from),
        ]
    })
}

fn object(values: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::vec((word(), values), 0..4).prop_map(|pairs| pairs.into_iter().collect())
}

fn resource() -> impl Strategy<Value = Resource> {
    let text = || prop::collection::vec(("[a-z]{1,6}", word()), 0..3);
    let known = (prop::sample::select(Kind::ALL), "[a-z][a-z.]{0,8}", object(json()), object(json()));
    (known, text(), text()).prop_map(|((kind, name, spec, extra), labels, annotations)| {
        let mut resource = Resource::new(kind, "shop", &name);
        *resource.spec_mut() = spec;
        // these have a meaning of their own, told by other tests
        resource
            .spec_mut()
            .retain(|field, _| !matches!(field.as_str(), "ingress" | "egress" | "deleted" | "tier"));
        for (map, entries) in [("labels", labels), ("annotations", annotations)] {
            entries.iter().for_each(|(key, value)| resource.set_meta_entry(map, key, value));
        }
        resource.set_meta_text("uid", "u-1");
        for (field, value) in extra {
            resource.object_mut().entry(format!("x{field}")).or_insert(value);
        }
        resource
    })
}

fn pair(key: String, value: Vec<u8>) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: value.into(),
        create_revision: 3,
        mod_revision: 3,
        version: 1,
        lease: 0,
    }
}

/// Equal as JSON objects are: whatever the order of their fields.
fn same(a: &Resource, b: &Resource) -> bool {
    a.kind() == b.kind() && Value::Object(a.object().clone()) == Value::Object(b.object().clone())
}

proptest! {
    #[test]
    fn what_is_stored_is_read_back(resource in resource()) {
        let written = codec::encode(&resource);
        let read = codec::decode(&pair(resource.key().path(), written.clone())).unwrap();
        prop_assert_eq!(read.resource_version(), "3");
        let mut expected = resource.clone();
        expected.set_meta_text("resourceVersion", "3");
        if matches!(resource.kind(), Kind::Node | Kind::Tier | Kind::KubeControllersConfiguration) {
            expected.object_mut().entry("status").or_insert_with(|| Value::Object(Map::new()));
        }
        prop_assert!(same(&read, &expected), "{:?}\n{:?}", read, expected);
        prop_assert_eq!(codec::encode(&read), written, "and written again as before");
    }

    #[test]
    fn no_bytes_do_harm(
        kind in prop::sample::select(Kind::ALL), bytes in prop::collection::vec(any::<u8>(), 0..60), value in json(),
    ) {
        let key = Resource::new(kind, "shop", "x").key().path();
        let _ = codec::decode(&pair(key.clone(), bytes));
        if let Ok(read) = codec::decode(&pair(key, value.to_string().into_bytes())) {
            codec::encode(&read);
        }
    }

    #[test]
    fn escaped_json_is_the_same_json(value in json()) {
        let text = codec::to_stored_json(&value);
        prop_assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), value);
        prop_assert!(!text.iter().any(|byte| b"&<>".contains(byte)));
    }
}

#[tokio::test]
async fn one_damaged_object_hides_no_other() {
    let store = MemoryStore::new();
    let put = |name: &str, value: &str| {
        let key = Resource::new(Kind::IPPool, "", name).key().path();
        Op::Put(PutRequest::new(key, value.to_owned()))
    };
    let deep = "[".repeat(100_000);
    let success = vec![put("a", "{}"), put("b", &deep), put("c", "\u{feff}{}"), put("d", r#"{"spec":{}}"#)];
    datastore::Datastore::txn(&store, Txn { success, ..Txn::default() }).await.unwrap();
    let list = Client::new(Arc::new(store)).list(Kind::IPPool, ListOptions::default()).await.unwrap();
    assert_eq!(list.items.iter().map(Resource::name).collect::<Vec<_>>(), ["a", "d"]);
}
