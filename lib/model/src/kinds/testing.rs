//! What the tests of kinds have in common.

use crate::admission::{Operation, admit, validate};
use crate::schema::decode_strict;
use crate::{Kind, Resource};
use serde_json::{Value, json};

/// A document as a person writes it.
pub(crate) fn document(kind: Kind, name: &str, spec: Value) -> Value {
    let mut metadata = json!({"name": name});
    if kind.namespaced() {
        metadata["namespace"] = "shop".into();
    }
    json!({"kind": kind.name(), "apiVersion": "projectcalico.org/v3", "metadata": metadata, "spec": spec})
}

/// A resource as it is after reading; panics when the document cannot be read.
pub(crate) fn read(document: Value) -> Resource {
    let kind = document["kind"].as_str().and_then(Kind::from_name).expect("a kind");
    decode_strict(kind, document).unwrap_or_else(|e| panic!("{e}"))
}

/// Everything that is wrong with a spec, as `validate` says it, one text a field.
pub(crate) fn refusals(kind: Kind, name: &str, spec: Value) -> Vec<String> {
    refusals_of(document(kind, name, spec))
}

/// Everything that is wrong with a document, as `validate` says it, one text a field.
pub(crate) fn refusals_of(document: Value) -> Vec<String> {
    match validate(&read(document)) {
        Ok(()) => Vec::new(),
        Err(error) => error.fields.iter().map(ToString::to_string).collect(),
    }
}

/// Why a document cannot even be read.
pub(crate) fn unreadable(kind: Kind, name: &str, spec: Value) -> String {
    match decode_strict(kind, document(kind, name, spec)) {
        Ok(resource) => panic!("read as {:?}", resource.object()),
        Err(error) => error.to_string(),
    }
}

/// What a create stores.
pub(crate) fn created(kind: Kind, name: &str, spec: Value) -> Resource {
    create(kind, name, spec).unwrap_or_else(|error| panic!("{error}"))
}

/// What a create stores, or why it is refused.
pub(crate) fn create(kind: Kind, name: &str, spec: Value) -> Result<Resource, String> {
    let mut resource = read(document(kind, name, spec));
    match admit(&mut resource, Operation::Create) {
        Ok(()) => Ok(resource),
        Err(error) => Err(error.to_string()),
    }
}

/// The spec that a create stores, as text, since the order of its fields counts.
pub(crate) fn stored_spec(kind: Kind, name: &str, spec: Value) -> String {
    created(kind, name, spec).spec().to_string()
}
