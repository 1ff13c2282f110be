//! The kinds: one file each, its tables in the words of [`crate::schema`] and its rules as functions.

pub(crate) mod bgp_configuration;
pub(crate) mod bgp_filter;
pub(crate) mod bgp_peer;
pub(crate) mod block_affinity;
pub(crate) mod cluster_information;
mod community;
pub(crate) mod felix_configuration;
pub(crate) mod global_network_policy;
pub(crate) mod host_endpoint;
pub(crate) mod ip_pool;
pub(crate) mod ip_reservation;
pub(crate) mod ipam_configuration;
pub(crate) mod kube_controllers;
pub(crate) mod network_policy;
pub(crate) mod network_set;
pub(crate) mod node;
pub(crate) mod node_status;
mod policy;
pub(crate) mod policy_defaults;
mod policy_names;
pub(crate) mod profile;
mod rule;
pub(crate) mod staged_kubernetes_policy;
pub(crate) mod staged_policy;
pub(crate) mod tier;
pub(crate) mod workload_endpoint;

#[cfg(test)]
pub(crate) mod testing;

use crate::error::{FieldError, ValidationError};
use crate::resource::Resource;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

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

/// The items that stand in a list for the second time or later.
pub(crate) fn repeated(items: &[Value]) -> impl Iterator<Item = &Value> {
    let mut seen = BTreeSet::new();
    items.iter().filter(move |item| !seen.insert(item.to_string()))
}

/// How often one list is complained about at most: each complaint shows all of it.
pub(crate) const MOST_COMPLAINTS: usize = 16;

/// Refuses every name but `default`, in the words of Calico's client; `noun` with its article.
pub(crate) fn only_default(resource: &Resource, noun: &str) -> Result<(), ValidationError> {
    if resource.name() == "default" {
        return Ok(());
    }
    let text = format!("Cannot create {noun} resource with a name other than \"default\"");
    Err(ValidationError::one(FieldError::whole(text)))
}

/// Whether packets of the protocol carry ports. Names count in any case: their spelling is judged elsewhere.
pub(crate) fn supports_ports(protocol: &Value) -> bool {
    match protocol {
        Value::String(name) => ["TCP", "UDP", "SCTP"].iter().any(|known| known.eq_ignore_ascii_case(name)),
        other => matches!(other.as_u64(), Some(6 | 17 | 132)),
    }
}
