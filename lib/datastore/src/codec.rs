//! Resources to and from stored pairs. Source: `datamodel.md` §2 and §3 of the contract.
//!
//! The stored form is the resource's own JSON with few changes: no `resourceVersion` (it is the pair's revision), the
//! name of a tiered policy also in an annotation, `spec.deleted` of a BlockAffinity as text. Everything else,
//! fields we do not know included, goes through untouched.

use model::kind::API_VERSION;
use model::resource::POLICY_NAME_ANNOTATION;
use model::{Key, Kind, Resource, StoredError};
use mvcc::KeyValue;
use serde_json::{Map, Value, json};

/// Order of the metadata's fields in stored and printed objects (Go's ObjectMeta); unknown fields follow.
const METADATA_ORDER: [&str; 15] = [
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
];

/// Whether policies of this kind carry their name in an annotation.
pub fn is_tiered_policy(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::NetworkPolicy
            | Kind::GlobalNetworkPolicy
            | Kind::StagedNetworkPolicy
            | Kind::StagedGlobalNetworkPolicy
    )
}

/// The value to store for a resource; its key is `resource.key().path()`.
pub fn encode(resource: &Resource) -> Vec<u8> {
    let kind = resource.kind();
    let mut stored = resource.clone();
    if is_tiered_policy(kind) {
        let name = json!({ "name": resource.name() }).to_string();
        stored.set_meta_entry("annotations", POLICY_NAME_ANNOTATION, &name);
    }
    let metadata = stored.metadata_mut();
    metadata.shift_remove("resourceVersion");
    metadata.shift_remove("selfLink");
    if kind == Kind::BlockAffinity
        && let Some(deleted) = stored.spec_mut().get_mut("deleted")
        && let Value::Bool(flag) = *deleted
    {
        *deleted = Value::String(flag.to_string());
    }
    to_stored_json(&Value::Object(in_form(stored).into_object()))
}

/// JSON text as Calico writes it: like any, but with the letters escaped that mean something to HTML.
pub fn to_stored_json(value: &Value) -> Vec<u8> {
    let text = value.to_string();
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            // all of these stand inside of strings only
            '&' | '<' | '>' | '\u{2028}' | '\u{2029}' => {
                escaped.push_str("\\u");
                escaped.push_str(&format!("{:04x}", u32::from(letter)));
            }
            letter => escaped.push(letter),
        }
    }
    escaped.into_bytes()
}

/// The sections that every object of its kind has, and the fields in the order in which Calico writes them.
pub(crate) fn in_form(mut resource: Resource) -> Resource {
    let kind = resource.kind();
    resource.spec_mut();
    let mut object = resource.into_object();
    if matches!(kind, Kind::Node | Kind::Tier | Kind::KubeControllersConfiguration) {
        object.entry("status").or_insert_with(|| json!({}));
    }
    Resource::from_object(kind, in_order(kind, object))
}

/// Reads a stored pair.
///
/// # Errors
/// When the key is none of a resource, or the value is no JSON object with the sections an object has.
pub fn decode(pair: &KeyValue) -> Result<Resource, StoredError> {
    let path = String::from_utf8_lossy(&pair.key).into_owned();
    let refuse = |reason: String| StoredError { key: path.clone(), reason };
    let Some(Key::Resource { kind, namespace, name }) = Key::parse(&path) else {
        return Err(refuse("not the key of a resource".into()));
    };
    let value: Value = serde_json::from_slice(&pair.value).map_err(|e| refuse(format!("not JSON: {e}")))?;
    let Value::Object(object) = value else { return Err(refuse("not a JSON object".into())) };
    for section in ["metadata", "spec"] {
        if object.get(section).is_some_and(|value| !value.is_object() && !value.is_null()) {
            return Err(refuse(format!("{section} is not an object")));
        }
    }
    let mut resource = Resource::from_object(kind, object);
    if resource.name().is_empty() {
        resource.set_meta_text("name", &name);
    }
    if kind.namespaced() && resource.namespace().is_empty() {
        resource.set_meta_text("namespace", &namespace);
    }
    if is_tiered_policy(kind) {
        restore_policy_name(&mut resource);
    }
    if resource.object().contains_key("spec") {
        restore_spec(&mut resource);
    }
    resource.set_meta_text("resourceVersion", &pair.mod_revision.to_string());
    Ok(Resource::from_object(kind, in_order(kind, resource.into_object())))
}

/// The name a policy has for users, which older releases stored with the tier before it.
fn restore_policy_name(policy: &mut Resource) {
    let carried = policy
        .annotations()
        .find(|(key, _)| *key == POLICY_NAME_ANNOTATION)
        .and_then(|(_, text)| serde_json::from_str::<Value>(text).ok())
        .and_then(|meta| Some(meta.get("name")?.as_str()?.to_owned()));
    if policy.remove_meta_entry("annotations", POLICY_NAME_ANNOTATION) {
        if let Some(name) = carried.filter(|name| !name.is_empty()) {
            policy.set_meta_text("name", &name);
        }
        return;
    }
    let tier = policy.spec().get("tier").and_then(Value::as_str).unwrap_or_default();
    if matches!(tier, "" | "default")
        && let Some(stripped) = policy.name().strip_prefix("default.").map(str::to_owned)
    {
        policy.set_meta_text("name", &stripped);
    }
}

fn restore_spec(resource: &mut Resource) {
    match resource.kind() {
        Kind::BlockAffinity => {
            if let Some(deleted) = resource.spec_mut().get_mut("deleted")
                && let Some(flag) = deleted.as_str().map(|text| text == "true")
            {
                *deleted = Value::Bool(flag);
            }
        }
        kind if is_tiered_policy(kind) || kind == Kind::Profile => {
            for direction in ["ingress", "egress"] {
                let rules = resource.spec_mut().get_mut(direction).and_then(Value::as_array_mut);
                for rule in rules.into_iter().flatten().filter_map(Value::as_object_mut) {
                    // older releases wrote both even when they said nothing
                    rule.retain(|field, value| {
                        !matches!(field.as_str(), "source" | "destination") || *value != json!({})
                    });
                }
            }
        }
        _ => {}
    }
}

/// Kind and version as they must be, and the fields in the order in which Calico writes them.
fn in_order(kind: Kind, mut object: Map<String, Value>) -> Map<String, Value> {
    let mut ordered = Map::new();
    ordered.insert("kind".into(), kind.name().into());
    ordered.insert("apiVersion".into(), API_VERSION.into());
    object.shift_remove("kind");
    object.shift_remove("apiVersion");
    if let Some(Value::Object(metadata)) = object.shift_remove("metadata") {
        ordered.insert("metadata".into(), Value::Object(metadata_in_order(metadata)));
    }
    ordered.extend(object.shift_remove_entry("spec"));
    ordered.extend(object);
    ordered
}

fn metadata_in_order(mut metadata: Map<String, Value>) -> Map<String, Value> {
    let mut ordered: Map<String, Value> =
        METADATA_ORDER.iter().filter_map(|field| metadata.shift_remove_entry(*field)).collect();
    for map in ["labels", "annotations"] {
        if let Some(Value::Object(entries)) = ordered.get_mut(map) {
            entries.sort_keys();
        }
    }
    ordered.extend(metadata);
    ordered
}
