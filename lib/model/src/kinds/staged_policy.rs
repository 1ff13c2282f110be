//! StagedNetworkPolicy and StagedGlobalNetworkPolicy: policies that are evaluated but not enforced.
//! Source: `resources.md` §1.4 of the contract.

use super::{policy, policy_defaults, policy_names};
use crate::error::FieldError;
use crate::kind::Kind;
use crate::resource::Resource;
use crate::schema::metadata::{check_annotations, check_labels};
use crate::schema::{Context, Field, KindSchema, Path, kind};
use serde_json::{Map, Value};

/// StagedNetworkPolicy.
pub(crate) static NAMESPACED: KindSchema = KindSchema {
    rule: Some(namespaced_rule),
    prepare: Some(policy_defaults::fill_staged),
    ..KindSchema::new(Kind::StagedNetworkPolicy, &policy::STAGED_NETWORK_POLICY)
};

/// StagedGlobalNetworkPolicy.
pub(crate) static GLOBAL: KindSchema = KindSchema {
    rule: Some(global_rule),
    prepare: Some(policy_defaults::fill_staged),
    ..KindSchema::new(Kind::StagedGlobalNetworkPolicy, &policy::STAGED_GLOBAL_NETWORK_POLICY)
};

fn namespaced_rule(context: &Context<'_>, _: &Map<String, Value>, _: &Path<'_>, out: &mut Vec<FieldError>) {
    policy_names::check_namespaced(context.resource, out);
    check(context, "StagedNetworkPolicySpec", policy::check_namespaced, out);
}

fn global_rule(context: &Context<'_>, _: &Map<String, Value>, _: &Path<'_>, out: &mut Vec<FieldError>) {
    policy_names::check_global(context.resource, out);
    check(context, "StagedGlobalNetworkPolicySpec", policy::check_global, out);
}

fn check(
    context: &Context<'_>,
    spec_name: &str,
    check_spec: fn(&Value, &mut Vec<FieldError>),
    out: &mut Vec<FieldError>,
) {
    check_annotations(context, out);
    check_labels(context, out);
    let spec = context.resource.spec();
    if is_deletion(spec) {
        check_deletion(context.resource, &["stagedAction", "tier"], spec_name, NOTHING_BUT_TIER, out);
    } else {
        check_spec(spec, out);
    }
}

const NOTHING_BUT_TIER: &str = "Spec fields, except Tier, should all be zero-value if stagedAction is Delete";

/// Whether a staged policy stands for the removal of the enforced one.
pub(super) fn is_deletion(spec: &Value) -> bool {
    spec.get("stagedAction").and_then(Value::as_str) == Some("Delete")
}

/// A deletion says nothing but what it deletes.
pub(super) fn check_deletion(
    resource: &Resource,
    allowed: &[&str],
    name: &str,
    reason: &str,
    out: &mut Vec<FieldError>,
) {
    let spec = resource.spec();
    // fields of newer versions are not ours to judge
    let known = kind::of(resource.kind()).spec.map_or(&[][..], |spec| spec.fields);
    let is_more = |field: &Field| !allowed.contains(&field.name) && spec.get(field.name).is_some();
    if known.iter().any(is_more) {
        // Calico prints the Go struct; the document says the same
        out.push(FieldError::new(name, spec.to_string(), reason));
    }
}

#[cfg(test)]
mod tests;
