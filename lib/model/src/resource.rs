//! A resource as it stands in the store: the raw JSON is the truth, typed views are read from it.
//!
//! Writers patch the raw JSON, so that fields we do not know survive a read-modify-write.
//! Source: `datamodel.md` §2, §3 and §10 of the contract.

use crate::key::Key;
use crate::kind::{API_VERSION, Kind};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Annotation that carries the name of tiered policies in the store.
pub const POLICY_NAME_ANNOTATION: &str = "projectcalico.org/metadata";

/// One resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    kind: Kind,
    object: Map<String, Value>,
}

/// A stored value that cannot be read as the resource its key promises.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct StoredError {
    /// The key's text.
    pub key: String,
    /// What is wrong with the value.
    pub reason: String,
}

impl Resource {
    /// A resource with nothing but kind, name and namespace.
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        let mut metadata = Map::new();
        metadata.insert("name".into(), name.into());
        if kind.namespaced() {
            metadata.insert("namespace".into(), namespace.into());
        }
        let mut object = Map::new();
        object.insert("kind".into(), kind.name().into());
        object.insert("apiVersion".into(), API_VERSION.into());
        object.insert("metadata".into(), metadata.into());
        object.insert("spec".into(), Map::new().into());
        Self { kind, object }
    }

    /// A resource from its whole JSON object; the caller has checked `kind`.
    pub fn from_object(kind: Kind, object: Map<String, Value>) -> Self {
        Self { kind, object }
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its key.
    pub fn key(&self) -> Key {
        Key::resource(self.kind, self.namespace(), self.name())
    }

    /// The whole JSON object.
    pub fn object(&self) -> &Map<String, Value> {
        &self.object
    }

    /// The whole JSON object, to patch.
    pub fn object_mut(&mut self) -> &mut Map<String, Value> {
        &mut self.object
    }

    /// The whole JSON object, taken.
    pub fn into_object(self) -> Map<String, Value> {
        self.object
    }

    /// The spec, or null.
    pub fn spec(&self) -> &Value {
        self.object.get("spec").unwrap_or(&Value::Null)
    }

    /// The spec to patch; made an object if it is none.
    pub fn spec_mut(&mut self) -> &mut Map<String, Value> {
        section(&mut self.object, "spec")
    }

    /// The spec as a typed view; unknown fields are ignored, missing and null ones get the type's defaults.
    pub fn typed_spec<T: DeserializeOwned>(&self) -> Result<T, StoredError> {
        self.typed_section("spec")
    }

    /// The status as a typed view, read like the spec.
    pub fn typed_status<T: DeserializeOwned>(&self) -> Result<T, StoredError> {
        self.typed_section("status")
    }

    fn typed_section<T: DeserializeOwned>(&self, section: &str) -> Result<T, StoredError> {
        let value = self.object.get(section).unwrap_or(&Value::Null);
        let read = if has_null(value) { T::deserialize(without_nulls(value)) } else { T::deserialize(value) };
        read.map_err(|e| StoredError { key: self.key().path(), reason: format!("{section}: {e}") })
    }

    /// Replaces the spec of an object that is being built. Changes to stored objects patch [`Resource::spec_mut`]
    /// instead, so that unknown fields survive.
    pub fn set_spec<T: Serialize>(&mut self, spec: &T) -> Result<(), serde_json::Error> {
        let spec = serde_json::to_value(spec)?;
        self.object.insert("spec".into(), spec);
        Ok(())
    }

    /// Whether a pool may hand out new addresses: it is enabled, not being deleted, and no controller has set its
    /// condition `Allocatable` to False (`datamodel.md` §12.1, `ipam.md` §3).
    pub fn is_allocatable_pool(&self) -> bool {
        let disabled = self.spec().get("disabled").and_then(Value::as_bool).unwrap_or(false);
        let refused = self
            .object
            .get("status")
            .and_then(|status| status.get("conditions"))
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .any(|c| {
                c.get("type") == Some(&"Allocatable".into()) && c.get("status") == Some(&"False".into())
            });
        !disabled && !refused && self.meta_text("deletionTimestamp").is_empty()
    }

    /// metadata.name
    pub fn name(&self) -> &str {
        self.meta_text("name")
    }

    /// metadata.namespace; empty for cluster-scoped kinds.
    pub fn namespace(&self) -> &str {
        self.meta_text("namespace")
    }

    /// metadata.uid
    pub fn uid(&self) -> &str {
        self.meta_text("uid")
    }

    /// metadata.creationTimestamp
    pub fn creation_timestamp(&self) -> &str {
        self.meta_text("creationTimestamp")
    }

    /// metadata.resourceVersion; never stored, set from the revision on reading.
    pub fn resource_version(&self) -> &str {
        self.meta_text("resourceVersion")
    }

    /// A text field of the metadata; empty when absent.
    pub fn meta_text(&self, field: &str) -> &str {
        self.metadata().and_then(|m| m.get(field)).and_then(Value::as_str).unwrap_or_default()
    }

    /// Sets a text field of the metadata; an empty text removes it.
    pub fn set_meta_text(&mut self, field: &str, text: &str) {
        let metadata = self.metadata_mut();
        if text.is_empty() {
            metadata.shift_remove(field);
        } else {
            metadata.insert(field.to_owned(), text.into());
        }
    }

    /// The metadata, if it is an object.
    pub fn metadata(&self) -> Option<&Map<String, Value>> {
        self.object.get("metadata").and_then(Value::as_object)
    }

    /// The metadata to patch; made an object if it is none.
    pub fn metadata_mut(&mut self) -> &mut Map<String, Value> {
        section(&mut self.object, "metadata")
    }

    /// Labels as pairs.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.meta_map("labels")
    }

    /// Annotations as pairs.
    pub fn annotations(&self) -> impl Iterator<Item = (&str, &str)> {
        self.meta_map("annotations")
    }

    /// One label's value.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels().find(|(k, _)| *k == key).map(|(_, v)| v)
    }

    /// Sets one entry of `labels` or `annotations`.
    pub fn set_meta_entry(&mut self, map: &str, key: &str, value: &str) {
        section(self.metadata_mut(), map).insert(key.to_owned(), value.into());
    }

    /// Removes one entry of `labels` or `annotations`, and the map when it was the last; true if it was there.
    pub fn remove_meta_entry(&mut self, map: &str, key: &str) -> bool {
        let metadata = self.metadata_mut();
        let Some(entries) = metadata.get_mut(map).and_then(Value::as_object_mut) else { return false };
        let found = entries.shift_remove(key).is_some();
        if entries.is_empty() {
            metadata.shift_remove(map);
        }
        found
    }

    fn meta_map(&self, map: &str) -> impl Iterator<Item = (&str, &str)> {
        self.metadata()
            .and_then(|m| m.get(map))
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .filter_map(|(k, v)| Some((k.as_str(), v.as_str()?)))
    }
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(fields) => fields.values().any(has_null),
        _ => false,
    }
}

/// A copy as Go reads it: null in an object is an absent field.
pub fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Null => Value::Object(Map::new()),
        Value::Array(items) => {
            Value::Array(items.iter().filter(|item| !item.is_null()).map(without_nulls).collect())
        }
        Value::Object(fields) => {
            fields.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), without_nulls(v))).collect()
        }
        other => other.clone(),
    }
}

fn section<'a>(object: &'a mut Map<String, Value>, field: &str) -> &'a mut Map<String, Value> {
    let slot = object.entry(field.to_owned()).or_insert(Value::Null);
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    match slot {
        Value::Object(map) => map,
        _ => unreachable!("just made an object"),
    }
}

#[cfg(test)]
mod tests;
