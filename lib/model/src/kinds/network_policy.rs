//! NetworkPolicy. Source: `resources.md` §1.2 of the contract.

use super::{policy, policy_defaults, policy_names};
use crate::error::FieldError;
use crate::kind::Kind;
use crate::schema::metadata::{check_annotations, check_labels};
use crate::schema::{Context, KindSchema, Path};
use serde_json::{Map, Value};

/// The kind.
pub(crate) static SCHEMA: KindSchema = KindSchema {
    rule: Some(rule),
    prepare: Some(policy_defaults::fill),
    ..KindSchema::new(Kind::NetworkPolicy, &policy::NETWORK_POLICY)
};

fn rule(context: &Context<'_>, _: &Map<String, Value>, _: &Path<'_>, out: &mut Vec<FieldError>) {
    policy_names::check_namespaced(context.resource, out);
    check_annotations(context, out);
    check_labels(context, out);
    policy::check_namespaced(context.resource.spec(), out);
}

#[cfg(test)]
mod tests;
