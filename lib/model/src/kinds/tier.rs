//! Tier. Source: `resources.md` §1.5 of the contract.

use super::{policy_names, text_of};
use crate::admission::Operation;
use crate::error::{FieldError, ValidationError};
use crate::kind::Kind;
use crate::resource::Resource;
use crate::schema::field::{Default, list, text};
use crate::schema::metadata::{check_annotations, check_labels};
use crate::schema::{Check, Context, Field, KindSchema, Object, Path, Type, tags};
use serde_json::{Map, Value, json};

/// Order of tiers that name none, and of the tier `default`.
pub const DEFAULT_TIER_ORDER: u64 = 1_000_000;

/// The tiers Calico makes itself: name, order, default action.
pub const WELL_KNOWN_TIERS: [(&str, u64, &str); 3] = [
    ("kube-admin", 1_000, "Pass"),
    ("kube-baseline", 10_000_000, "Pass"),
    ("default", DEFAULT_TIER_ORDER, "Deny"),
];

static SPEC: Object = Object::new(&[
    Field::new("order", Type::Float).pointer(),
    text("defaultAction")
        .pointer()
        .tag(tags::one_of!("Deny", "Pass"))
        .check(Check::Enum(&["Allow", "Deny", "Log", "Pass"]))
        .check(Check::Enum(&["Pass", "Deny"]))
        .default(Default::Text("Deny")),
]);

static STATUS: Object = Object::new(&[list("conditions", CONDITION)]);

/// Kubernetes' Condition.
const CONDITION: &Field = &Field::item(Type::Object(&CONDITION_FIELDS));
static CONDITION_FIELDS: Object = Object::new(&[
    text("type").always(),
    text("status").always().check(Check::Enum(&["True", "False", "Unknown"])),
    Field::new("observedGeneration", Type::Int { min: i64::MIN, max: i64::MAX }).check(Check::Min(0)),
    text("lastTransitionTime").always_null(),
    text("reason").always().check(Check::MinLength(1)).check(Check::MaxLength(1024)),
    text("message").always().check(Check::MaxLength(32768)),
]);

/// The kind.
pub(crate) static SCHEMA: KindSchema = KindSchema {
    status: Some(Field::new("status", Type::Object(&STATUS)).always()),
    rule: Some(rule),
    cel: Some(cel),
    prepare: Some(prepare),
    ..KindSchema::new(Kind::Tier, &SPEC)
};

fn prepare(resource: &mut Resource, _: Operation<'_>) -> Result<(), ValidationError> {
    resource.spec_mut().entry("order").or_insert_with(|| json!(DEFAULT_TIER_ORDER));
    Ok(())
}

fn rule(context: &Context<'_>, _: &Map<String, Value>, _: &Path<'_>, out: &mut Vec<FieldError>) {
    policy_names::check_tier(context.resource, out);
    check_annotations(context, out);
    check_labels(context, out);
}

/// The tiers everyone relies on stand where they stand and end as they end.
fn cel(context: &Context<'_>, _: &Map<String, Value>, _: &Path<'_>, out: &mut Vec<FieldError>) {
    let empty = Map::new();
    let spec = context.resource.spec().as_object().unwrap_or(&empty);
    let mut refuse = |reason: String| out.push(FieldError::at("Tier", reason));
    // the schema's default is in force when the CRD's rules look
    let action = if spec.contains_key("defaultAction") { text_of(spec, "defaultAction") } else { "Deny" };
    if !matches!(action, "Deny" | "Pass") {
        refuse("\"spec.defaultAction\" must validate all the schemas (allOf)".to_owned());
    }
    let known = WELL_KNOWN_TIERS.iter().find(|(name, ..)| *name == context.resource.name());
    let Some((name, order, wanted)) = known else { return };
    if action != *wanted {
        refuse(format!("The '{name}' tier must have default action '{wanted}'"));
    }
    if spec.get("order").and_then(Value::as_u64) != Some(*order) {
        refuse(format!("{name} tier order must be {order}"));
    }
}

#[cfg(test)]
mod tests;
