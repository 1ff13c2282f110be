//! What the client itself does to a resource before it is stored, without looking at the store.
//! Source: `datamodel.md` §3.1 and §10 of the contract.

use crate::codec::is_tiered_policy;
use crate::error::{ClientError, identity_of};
use model::names::{ORCHESTRATOR_CNI, ORCHESTRATOR_K8S, ORCHESTRATOR_LIBNETWORK, WepName};
use model::{DEFAULT_TIER, FieldError, Kind, Resource, TIER_LABEL, ValidationError};
use serde_json::Value;

/// The profile that exists without being stored.
pub const DEFAULT_ALLOW_PROFILE: &str = "projectcalico-default-allow";
const NAMESPACE_LABEL: &str = "projectcalico.org/namespace";
const ORCHESTRATOR_LABEL: &str = "projectcalico.org/orchestrator";

/// A text field of the spec; empty when absent.
pub(crate) fn spec_text<'a>(resource: &'a Resource, field: &str) -> &'a str {
    resource.spec().get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The tier a policy belongs to.
pub fn tier_of(policy: &Resource) -> &str {
    match spec_text(policy, "tier") {
        "" => DEFAULT_TIER,
        tier => tier,
    }
}

/// Refuses what no user may write: `operation` is the verb as the message spells it.
pub(crate) fn refuse_protected(resource: &Resource, operation: &'static str) -> Result<(), ClientError> {
    let refuse =
        |id: String, reason: String| Err(ClientError::NotSupported { operation, id, reason: Some(reason) });
    match resource.kind() {
        Kind::ClusterInformation => refuse(identity_of(resource), "resource is readonly".into()),
        Kind::Profile if resource.name() == DEFAULT_ALLOW_PROFILE => refuse(
            DEFAULT_ALLOW_PROFILE.into(),
            format!(
                "The profile \"{DEFAULT_ALLOW_PROFILE}\" is a default provided by Calico and cannot be {}d",
                operation.to_lowercase()
            ),
        ),
        _ => Ok(()),
    }
}

/// Checks name and namespace.
pub(crate) fn check_identity(resource: &Resource) -> Result<(), ClientError> {
    let kind = resource.kind();
    let namespace = resource.namespace();
    let refuse = |field: &str, value: &str, reason: &str| {
        Err(ClientError::field(FieldError::new(field, value, reason)))
    };
    if resource.name().is_empty() {
        return refuse("Metadata.Name", "", "field must be set");
    }
    match (kind.namespaced(), namespace.is_empty()) {
        (true, true) => refuse("Metadata.Namespace", "", "namespace is not specified on namespaced resource"),
        (false, false) => {
            refuse("Metadata.Namespace", namespace, "namespace is specified on non-namespaced resource")
        }
        _ => Ok(()),
    }
}

/// Gives a workload endpoint the name that its identifiers make, or refuses another.
pub(crate) fn complete_name(resource: &mut Resource) -> Result<(), ClientError> {
    if resource.kind() != Kind::WorkloadEndpoint {
        return Ok(());
    }
    let expected = endpoint_name(resource)?;
    if resource.name().is_empty() {
        resource.set_meta_text("name", &expected);
    } else if resource.name() != expected {
        let reason = format!(
            "the WorkloadEndpoint name does not match the primary identifiers assigned in the Spec: expected name {expected}"
        );
        return Err(ClientError::field(FieldError::new("Name", resource.name(), reason)));
    }
    Ok(())
}

/// Labels that repeat other fields, so that selectors can use them.
pub(crate) fn force_labels(resource: &mut Resource) {
    match resource.kind() {
        Kind::WorkloadEndpoint => {
            let namespace = resource.namespace().to_owned();
            let orchestrator = spec_text(resource, "orchestrator").to_owned();
            resource.set_meta_entry("labels", NAMESPACE_LABEL, &namespace);
            resource.set_meta_entry("labels", ORCHESTRATOR_LABEL, &orchestrator);
        }
        kind if is_tiered_policy(kind) => {
            let tier = tier_of(resource).to_owned();
            resource.set_meta_entry("labels", TIER_LABEL, &tier);
        }
        _ => {}
    }
}

/// The name that the spec of a workload endpoint asks for.
///
/// # Errors
/// One refused field for each identifier that is missing or begins or ends with a dash.
pub fn endpoint_name(endpoint: &Resource) -> Result<String, ClientError> {
    let orchestrator = spec_text(endpoint, "orchestrator");
    let workload_field = match orchestrator {
        ORCHESTRATOR_K8S => "pod",
        ORCHESTRATOR_CNI => "containerID",
        _ => "workload",
    };
    let workload = match orchestrator {
        ORCHESTRATOR_LIBNETWORK => ORCHESTRATOR_LIBNETWORK,
        _ => spec_text(endpoint, workload_field),
    };
    let (node, inner) = (spec_text(endpoint, "node"), spec_text(endpoint, "endpoint"));
    let parts =
        [("node", node), ("orchestrator", orchestrator), (workload_field, workload), ("endpoint", inner)];
    let wrong = parts
        .iter()
        .filter_map(|(field, value)| match *value {
            "" => Some(FieldError::at(*field, "field should be assigned")),
            value if value.starts_with('-') || value.ends_with('-') => {
                Some(FieldError::new(*field, value, "field must not begin or end with a '-'"))
            }
            _ => None,
        })
        .collect();
    ValidationError::check(wrong)?;
    WepName::new(node, orchestrator, workload, inner)
        .compose()
        .map_err(|error| ClientError::field(FieldError::at("Name", error.to_string())))
}

/// What readers see beyond the stored object.
pub(crate) fn present(resource: &mut Resource) {
    match resource.kind() {
        kind if is_tiered_policy(kind) && resource.label(TIER_LABEL).is_none() => {
            resource.set_meta_entry("labels", TIER_LABEL, DEFAULT_TIER);
            if let Some(Value::Object(labels)) = resource.metadata_mut().get_mut("labels") {
                labels.sort_keys();
            }
        }
        Kind::Tier => {
            let spec = resource.spec_mut();
            fill(spec, "order", Value::from(DEFAULT_TIER_ORDER));
            fill(spec, "defaultAction", Value::from("Deny"));
        }
        _ => {}
    }
}

/// Order of tiers that name none.
pub(crate) const DEFAULT_TIER_ORDER: u64 = 1_000_000;

fn fill(spec: &mut serde_json::Map<String, Value>, field: &str, value: Value) {
    let slot = spec.entry(field).or_insert(Value::Null);
    if slot.is_null() {
        *slot = value;
    }
}

/// Whether readers of the resource API do not see it at all.
pub(crate) fn is_hidden(resource: &Resource) -> bool {
    resource.kind() == Kind::BlockAffinity && resource.spec().get("deleted") == Some(&Value::Bool(true))
}

/// The profile that exists without being stored: allows everything.
pub(crate) fn default_allow_profile() -> Resource {
    let mut profile = Resource::new(Kind::Profile, "", DEFAULT_ALLOW_PROFILE);
    profile.set_meta_text("resourceVersion", "1");
    let allow = serde_json::json!([{ "action": "Allow" }]);
    profile.spec_mut().insert("ingress".into(), allow.clone());
    profile.spec_mut().insert("egress".into(), allow);
    profile
}

#[cfg(test)]
mod tests;
