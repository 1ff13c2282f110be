//! StagedKubernetesNetworkPolicy: a Kubernetes NetworkPolicy that is evaluated but not enforced.
//! Source: `resources.md` §1.4 of the contract.

use super::policy::STAGED_ACTION;
use super::staged_policy::{check_deletion, is_deletion};
use super::{items_of, policy_names};
use crate::error::FieldError;
use crate::kind::Kind;
use crate::schema::field::{TEXT, int32, list, object, text, text_map};
use crate::schema::metadata::{check_annotations, check_labels};
use crate::schema::scalar::port_from_text;
use crate::schema::{Check, Context, Field, KindSchema, Object, Path, Type, go_text};
use serde_json::{Map, Value};

static SPEC: Object = Object::new(&[
    STAGED_ACTION,
    object("podSelector", &LABEL_SELECTOR).always(),
    list("ingress", &Field::item(Type::Object(&INGRESS))),
    list("egress", &Field::item(Type::Object(&EGRESS))),
    list("policyTypes", TEXT).check(Check::MinItems(1)).check(Check::MaxItems(2)),
]);

static LABEL_SELECTOR: Object = Object::new(&[
    text_map("matchLabels"),
    list("matchExpressions", &Field::item(Type::Object(&EXPRESSION))),
]);

static EXPRESSION: Object =
    Object::new(&[text("key").always(), text("operator").always(), list("values", TEXT)]);

const PORTS: Field = list("ports", PORT);
const PORT: &Field = &Field::item(Type::Object(&PORT_FIELDS));
const PEER: &Field = &Field::item(Type::Object(&PEER_FIELDS));

static INGRESS: Object = Object::new(&[PORTS, list("from", PEER)]);
static EGRESS: Object = Object::new(&[PORTS, list("to", PEER)]);

static PORT_FIELDS: Object = Object::new(&[
    text("protocol").pointer(),
    Field::new("port", Type::IntOrText).pointer(),
    int32("endPort").pointer(),
]);

static PEER_FIELDS: Object = Object::new(&[
    object("podSelector", &LABEL_SELECTOR).pointer(),
    object("namespaceSelector", &LABEL_SELECTOR).pointer(),
    object("ipBlock", &IP_BLOCK).pointer(),
]);

static IP_BLOCK: Object = Object::new(&[text("cidr").always(), list("except", TEXT)]);

/// The kind.
pub(crate) static SCHEMA: KindSchema =
    KindSchema { rule: Some(rule), ..KindSchema::new(Kind::StagedKubernetesNetworkPolicy, &SPEC) };

fn rule(context: &Context<'_>, _: &Map<String, Value>, _: &Path<'_>, out: &mut Vec<FieldError>) {
    policy_names::check_length(context.resource, out);
    check_annotations(context, out);
    check_labels(context, out);
    let spec = context.resource.spec();
    if !is_deletion(spec) {
        check_conversion(context, out);
        return;
    }
    let selects = spec.get("podSelector").and_then(Value::as_object).is_some_and(|s| !s.is_empty());
    let allowed: &[&str] = if selects { &["stagedAction"] } else { &["stagedAction", "podSelector"] };
    let reason = "Spec fields should all be zero-value if stagedAction is Delete";
    check_deletion(context.resource, allowed, "StagedKubernetesNetworkPolicySpec", reason, out);
}

/// A staged policy must be readable as one of Calico's; only its ports can stand in the way.
fn check_conversion(context: &Context<'_>, out: &mut Vec<FieldError>) {
    let Value::Object(spec) = context.resource.spec() else { return };
    let rules = ["ingress", "egress"].into_iter().flat_map(|direction| items_of(spec, direction));
    let bad: Vec<String> = rules
        .filter_map(|rule| {
            let reason = items_of(rule.as_object()?, "ports").find_map(port_error)?;
            Some(format!("{rule} (k8s rule couldn't be converted: failed to parse k8s port: {reason})"))
        })
        .collect();
    let what = match bad.as_slice() {
        [] => return,
        [only] => format!("error with rule {only}"),
        several => {
            let lines: String = several.iter().map(|rule| format!("-  {rule}\n")).collect();
            format!("error with the following rules:\n{lines}")
        }
    };
    // Calico prints Go structs here; the documents say the same
    let reason =
        format!("conversion to stagednetworkpolicy failed policy: {}: {what}", context.resource.name());
    out.push(FieldError::new("PolicySpec", context.resource.spec().to_string(), reason));
}

fn port_error(port: &Value) -> Option<String> {
    let first = go_text(port.get("port")?);
    let text = match port.get("endPort") {
        Some(last) => format!("{first}:{}", go_text(last)),
        None => first,
    };
    port_from_text(&text).err().map(|reason| format!("invalid port {text}: {reason}"))
}

#[cfg(test)]
mod tests;
