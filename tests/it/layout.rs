//! What is in the store has a form that Calico knows: every key parses, and is written as it was read; every value has
//! the fields and types that `datamodel.md` of the contract gives it.

use crate::lab::Lab;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::{Key, Kind};
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::golden::case::{corpus_dir, load};
use ocicat_tests::node::{Container, NAME, Node};
use ocicat_tests::sandbox;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What is wrong with a key, if anything.
fn fault(key: &str) -> Option<String> {
    match Key::parse(key) {
        None => Some(format!("{key}: not a form of datamodel.md")),
        Some(parsed) if parsed.path() != key => Some(format!("{key}: would be written as {}", parsed.path())),
        Some(_) => None,
    }
}

#[test]
fn every_key_that_calico_wrote_is_known_and_kept() {
    let mut keys = BTreeSet::new();
    for located in load(&corpus_dir()).unwrap() {
        for step in located.case.steps {
            let change = step.etcd.unwrap_or_default();
            keys.extend(change.put.into_iter().chain(step.put).map(|pair| pair.key));
            keys.extend(change.del.into_iter().chain(step.del));
        }
    }
    assert!(keys.len() > 300, "{}", keys.len());
    let faults: Vec<String> = keys.iter().filter_map(|key| fault(key)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_key_that_a_node_leaves_is_known() {
    sandbox::within(NAME, programs(Build::Plain).unwrap(), || {
        let node = Node::start()?;
        for name in ["pod1", "pod2", "pod3"] {
            node.add(&Container::start(name)?)?;
        }
        node.ocicat(&["ipam", "configure", "--strictaffinity=true"], "")?.expect_ok("ipam configure")?;
        let keys = node.server().client.snapshot()?;
        let has = |part: &str| keys.keys().any(|key| key.contains(part));
        for part in
            ["/ipam/v2/config", "/ipam/v2/handle/", "/block/", "/workloadendpoints/", "/profiles/", "/tiers/"]
        {
            assert!(has(part), "nothing of {part}");
        }
        let faults: Vec<String> = keys.keys().filter_map(|key| fault(key)).collect();
        assert!(faults.is_empty(), "{}", faults.join("\n"));
        Ok(())
    })
    .unwrap();
}

/// What one field of an IPAM value holds, and whether it is always there.
type Field = (&'static str, fn(&Value) -> bool, bool);

const BLOCK: [Field; 9] = [
    ("cidr", Value::is_string, true),
    ("affinity", Value::is_string, false),
    ("affinity_claim_time", is_time, false),
    ("allocations", |value| items(value, |one| one.is_u64() || one.is_null()), true),
    ("unallocated", |value| items(value, Value::is_u64), true),
    ("attributes", |value| items(value, |one| fields(one, &ATTRIBUTE).is_empty()), true),
    ("sequenceNumber", Value::is_u64, true),
    ("sequenceNumberForAllocation", |value| values(value, Value::is_u64), true),
    ("deleted", Value::is_boolean, true),
];
const ATTRIBUTE: [Field; 4] = [
    ("handle_id", Value::is_string, false),
    ("secondary", |value| values(value, Value::is_string), false),
    ("alternate", |value| values(value, Value::is_string), false),
    ("releasedAt", is_time, false),
];
const AFFINITY: [Field; 2] =
    [("state", |value| value == "confirmed", true), ("deleted", Value::is_boolean, true)];
const HANDLE: [Field; 2] =
    [("block", |value| values(value, Value::is_u64), true), ("deleted", Value::is_boolean, true)];
const CONFIG: [Field; 5] = [
    ("strict_affinity", Value::is_boolean, false),
    ("auto_allocate_blocks", Value::is_boolean, false),
    ("maxBlocksPerHost", Value::is_u64, false),
    ("kubeVirtVMAddressPersistence", Value::is_string, false),
    ("ipCooldownSeconds", Value::is_u64, false),
];

fn is_time(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok())
}

fn items(value: &Value, good: fn(&Value) -> bool) -> bool {
    value.as_array().is_some_and(|list| list.iter().all(good))
}

fn values(value: &Value, good: fn(&Value) -> bool) -> bool {
    value.as_object().is_some_and(|map| map.values().all(good))
}

/// What is wrong with the fields of an object.
fn fields(object: &Value, known: &[Field]) -> Vec<String> {
    let Some(map) = object.as_object() else { return vec![format!("{object} is no object")] };
    let unknown = map.keys().filter(|name| known.iter().all(|(one, ..)| one != name));
    let mut faults: Vec<String> = unknown.map(|name| format!("field {name} is not known")).collect();
    for (name, good, always) in known {
        match map.get(*name) {
            None if *always => faults.push(format!("field {name} is missing")),
            Some(value) if !good(value) => faults.push(format!("field {name}: {value}")),
            _ => {}
        }
    }
    faults
}

/// What is wrong with a resource: what it says of itself, its metadata, and fields its kind does not have.
fn resource(kind: Kind, namespace: &str, name: &str, object: &Value) -> Vec<String> {
    const PARTS: [Field; 5] = [
        ("kind", Value::is_string, true),
        ("apiVersion", |value| value == "projectcalico.org/v3", true),
        ("metadata", |value| fields(value, &METADATA).is_empty(), true),
        ("spec", Value::is_object, true),
        ("status", Value::is_object, false),
    ];
    // No resourceVersion: that is etcd's.
    const METADATA: [Field; 6] = [
        ("name", Value::is_string, true),
        ("namespace", Value::is_string, false),
        ("uid", |value| value.as_str().is_some_and(|text| text.len() == 36), true),
        ("creationTimestamp", is_time, true),
        ("labels", |value| values(value, Value::is_string), false),
        ("annotations", |value| values(value, Value::is_string), false),
    ];
    let mut faults = fields(object, &PARTS);
    faults.extend(fields(&object["metadata"], &METADATA));
    if object["kind"] != kind.name() {
        faults.push(format!("says that it is a {}", object["kind"]));
    }
    if object["metadata"]["name"] != name {
        faults.push(format!("says that its name is {}", object["metadata"]["name"]));
    }
    if object["metadata"]["namespace"].as_str().unwrap_or_default() != namespace {
        faults.push(format!("says that its namespace is {}", object["metadata"]["namespace"]));
    }
    if let Err(error) = model::schema::decode_strict(kind, object.clone()) {
        faults.push(error.to_string());
    }
    faults
}

/// What is wrong with a value.
fn value_faults(key: &str, value: &str) -> Vec<String> {
    let Ok(object) = serde_json::from_str::<Value>(value) else {
        return vec![format!("{value:?} is no JSON")];
    };
    match Key::parse(key) {
        None => vec!["not a form of datamodel.md".to_owned()],
        Some(Key::Resource { kind, namespace, name }) => resource(kind, &namespace, &name, &object),
        Some(Key::Block(cidr)) => {
            let mut faults = fields(&object, &BLOCK);
            if object["cidr"] != cidr.to_string() {
                faults.push(format!("says that it is {}", object["cidr"]));
            }
            faults
        }
        Some(Key::Affinity(..)) => fields(&object, &AFFINITY),
        Some(Key::Handle(_)) => fields(&object, &HANDLE),
        Some(Key::IpamConfig) => fields(&object, &CONFIG),
        // Current Calico does not write it.
        Some(Key::IpamHost(_)) => vec!["a legacy form".to_owned()],
    }
}

#[test]
fn everything_a_lab_leaves_is_known() {
    let lab = Lab::new();
    lab.good(&["up"]);
    lab.good(&["exec", "node-1", "--", "ocicat", "ipam", "configure", "--strictaffinity=true"]);
    let all = |prefix: &str| -> BTreeMap<String, String> {
        let words = ["exec", "node-1", "--", "etcdctl", "--endpoints", "http://192.0.2.1:2379"];
        let text = lab.good(&[&words[..], &["get", "--prefix", prefix, "--write-out", "json"]].concat());
        let answer: Value = serde_json::from_str(&text).unwrap();
        let part =
            |value: &Value| String::from_utf8(STANDARD.decode(value.as_str().unwrap()).unwrap()).unwrap();
        answer["kvs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| (part(&pair["key"]), part(&pair["value"])))
            .collect()
    };
    let stored = all("/calico");
    assert_eq!(all("").len(), stored.len(), "something is outside of Calico's part");
    let count = |part: &str| stored.keys().filter(|key| key.contains(part)).count();
    let counts =
        ["/nodes/", "/ippools/", "/workloadendpoints/", "/ipam/v2/handle/", "/block/", "/ipam/v2/config"]
            .map(count);
    assert_eq!(counts, [1, 5, 4, 4, 4, 1], "{:#?}", stored.keys());
    let mut faults: Vec<String> = stored.keys().filter_map(|key| fault(key)).collect();
    for (key, value) in &stored {
        faults.extend(value_faults(key, value).into_iter().map(|fault| format!("{key}: {fault}\n  {value}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_strange_value_is_seen() {
    let block = "/calico/ipam/v2/assignment/ipv4/block/10.0.0.0-30";
    let good = r#"{"cidr":"10.0.0.0/30","allocations":[0,null,null,null],"unallocated":[1,2,3],
        "attributes":[{"handle_id":"h"}],"sequenceNumber":1,"sequenceNumberForAllocation":{"0":1},"deleted":false}"#;
    assert_eq!(value_faults(block, good), Vec::<String>::new());
    for (from, to) in [
        ("10.0.0.0/30", "10.0.0.4/30"),
        (r#""deleted""#, r#""removed""#),
        (r#"[1,2,3]"#, r#"["1"]"#),
        (r#"{"handle_id":"h"}"#, r#"{"handle":"h"}"#),
        (r#"{"0":1}"#, r#"{"0":"1"}"#),
    ] {
        assert!(!value_faults(block, &good.replace(from, to)).is_empty(), "{from} as {to}");
    }
    let node = "/calico/resources/v3/projectcalico.org/nodes/a";
    let good = r#"{"kind":"Node","apiVersion":"projectcalico.org/v3","metadata":{"name":"a",
        "uid":"00000000-0000-4000-8000-000000000000","creationTimestamp":"2026-01-01T00:00:00Z"},"spec":{},"status":{}}"#;
    assert_eq!(value_faults(node, good), Vec::<String>::new());
    for (from, to) in [
        (r#""name":"a""#, r#""name":"b""#),
        (r#""uid""#, r#""resourceVersion":"1","uid""#),
        (r#""spec":{}"#, r#""spec":{"strange":1}"#),
        (r#""Node""#, r#""IPPool""#),
        ("/v3", "/v1"),
    ] {
        assert!(!value_faults(node, &good.replace(from, to)).is_empty(), "{from} as {to}");
    }
}
