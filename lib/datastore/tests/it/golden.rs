//! Every resource that the recordings store is read and written back byte for byte.

use datastore::codec;
use model::{Key, Resource};
use mvcc::KeyValue;
use serde_json::Value;
use std::path::{Path, PathBuf};

fn cases(directory: &Path, into: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            cases(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            into.push(path);
        }
    }
}

fn texts<'a>(step: &'a Value, path: &str) -> Vec<(&'a str, &'a str)> {
    let text = |put: &'a Value, field: &str| put.get(field).and_then(Value::as_str);
    let puts = step.pointer(path).and_then(Value::as_array).into_iter().flatten();
    puts.filter_map(|put| Some((text(put, "key")?, text(put, "value")?))).collect()
}

fn pair(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        create_revision: 7,
        mod_revision: 7,
        version: 1,
        lease: 0,
    }
}

#[test]
fn recorded_resources_survive_reading_and_writing() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let mut files = Vec::new();
    for folder in ["store", "ctl", "errors/command", "ipam", "cni"] {
        cases(&root.join(folder), &mut files);
    }
    let mut seen = 0;
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        let options = serde_saphyr::options! { budget: None };
        let case: Value = serde_saphyr::from_str_with_options(&text, options).unwrap();
        let steps = case.get("steps").and_then(Value::as_array).into_iter().flatten();
        for (key, value) in steps.flat_map(|step| texts(step, "/etcd/put")) {
            if !matches!(Key::parse(key), Some(Key::Resource { .. })) {
                continue;
            }
            let resource = codec::decode(&pair(key, value)).unwrap();
            assert_eq!(resource.resource_version(), "7");
            let written = String::from_utf8(codec::encode(&resource)).unwrap();
            assert_eq!(written, value, "{}: {key}", file.display());
            assert_eq!(resource.key().path(), key, "{}", file.display());
            seen += 1;
        }
    }
    assert!(seen > 150, "only {seen} recorded resources found");
}

fn named(key: &str, value: &str) -> Resource {
    codec::decode(&pair(key, value)).unwrap()
}

#[test]
fn names_of_policies_from_older_releases() {
    let prefix = "/calico/resources/v3/projectcalico.org";
    let carried = named(
        &format!("{prefix}/globalnetworkpolicies/default.old"),
        r#"{"kind":"GlobalNetworkPolicy","metadata":{"name":"default.old","annotations":{"projectcalico.org/metadata":"{\"name\":\"old\"}"}},"spec":{"order":3,"ingress":[{"action":"Allow","source":{},"destination":{}}]}}"#,
    );
    assert_eq!(carried.name(), "old");
    assert_eq!(carried.annotations().count(), 0);
    assert_eq!(carried.spec().to_string(), r#"{"order":3,"ingress":[{"action":"Allow"}]}"#);
    let key = format!("{prefix}/networkpolicies/shop/default.older");
    let stripped =
        named(&key, r#"{"metadata":{"name":"default.older","namespace":"shop"},"spec":{"tier":"default"}}"#);
    assert_eq!((stripped.name(), stripped.namespace()), ("older", "shop"));
    let other = named(&key, r#"{"metadata":{"name":"default.older"},"spec":{"tier":"platform"}}"#);
    assert_eq!((other.name(), other.namespace()), ("default.older", "shop"));
    let set = named(&format!("{prefix}/globalnetworksets/default.x"), r#"{"metadata":{"name":"default.x"}}"#);
    assert_eq!(set.name(), "default.x", "only policies had prefixes");
}

#[test]
fn unknown_fields_and_large_numbers_survive() {
    let key = "/calico/resources/v3/projectcalico.org/ippools/p";
    let value = r#"{"kind":"IPPool","apiVersion":"projectcalico.org/v3","metadata":{"name":"p","uid":"u","creationTimestamp":"t","labels":{"a":"b"},"future":[1]},"spec":{"cidr":"10.0.0.0/8","new":{"x":18446744073709551615}},"status":{"y":1.5},"extra":null}"#;
    assert_eq!(String::from_utf8(codec::encode(&named(key, value))).unwrap(), value);
}

#[test]
fn block_affinities_store_a_word_for_deleted() {
    let key = "/calico/resources/v3/projectcalico.org/blockaffinities/a";
    for (word, flag) in [("true", true), ("false", false)] {
        let stored = format!(r#"{{"metadata":{{"name":"a"}},"spec":{{"deleted":"{word}"}}}}"#);
        let affinity = named(key, &stored);
        assert_eq!(affinity.spec().get("deleted"), Some(&Value::Bool(flag)));
        assert!(
            String::from_utf8(codec::encode(&affinity)).unwrap().contains(&format!(r#""deleted":"{word}""#))
        );
    }
}

#[test]
fn damaged_values_are_refused_with_their_key() {
    let key = "/calico/resources/v3/projectcalico.org/ippools/p";
    for value in ["", "{", "null", "[]", "\"x\"", r#"{"spec":[]}"#, r#"{"metadata":"x"}"#, "\u{0}"] {
        let refused = codec::decode(&pair(key, value)).unwrap_err().to_string();
        assert!(refused.starts_with(&format!("{key}: ")), "{refused}");
    }
    assert!(codec::decode(&pair("/calico/ipam/v2/config", "{}")).is_err());
}
