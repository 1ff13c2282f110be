//! The kinds: one file each, its tables in the words of [`crate::schema`] and its rules as functions.

pub(crate) mod felix_configuration;
pub(crate) mod global_network_policy;
pub(crate) mod ip_pool;
pub(crate) mod ip_reservation;
pub(crate) mod kube_controllers;
pub(crate) mod network_policy;
pub(crate) mod network_set;
pub(crate) mod node_status;
mod policy;
pub(crate) mod policy_defaults;
mod policy_names;
pub(crate) mod profile;
mod rule;
pub(crate) mod staged_kubernetes_policy;
pub(crate) mod staged_policy;
pub(crate) mod tier;

use serde_json::{Map, Value};

/// A text field; empty when it is absent.
pub(crate) fn text_of<'a>(object: &'a Map<String, Value>, field: &str) -> &'a str {
    object.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// A boolean field; false when it is absent.
pub(crate) fn is_set(object: &Map<String, Value>, field: &str) -> bool {
    object.get(field).and_then(Value::as_bool).unwrap_or_default()
}

/// The items of a list field; none when it is absent.
pub(crate) fn items_of<'a>(object: &'a Map<String, Value>, field: &str) -> impl Iterator<Item = &'a Value> {
    object.get(field).and_then(Value::as_array).into_iter().flatten()
}
