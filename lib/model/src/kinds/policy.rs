//! What a policy says: selectors, directions, rules. Source: `resources.md` §1.2, §1.3 of the contract.

use super::rule::{RULES, http_text};
use super::{MOST_COMPLAINTS, is_set, items_of, repeated, text_of};
use crate::error::FieldError;
use crate::schema::field::{Default, flag, list, text};
use crate::schema::{Check, Context, Field, Object, Path, Type, go_text, tags};
use serde_json::{Map, Value};

/// Why `global()` is refused outside of a rule's namespace selector.
pub(super) const GLOBAL_REASON: &str = "global() can only be used in an EntityRule namespaceSelector";

const MOST_RULES: Check = Check::MaxItems(1024);
const DIRECTION: &Field = &Field::item(Type::Text).check(Check::Enum(&["Ingress", "Egress"]));
const HINT: &Field = &Field::item(Type::Text)
    .tag(tags::one_of!("AssumeNeededOnEveryNode"))
    .check(Check::Enum(&["AssumeNeededOnEveryNode"]));

pub(super) const STAGED_ACTION: Field = text("stagedAction")
    .check(Check::Enum(&["Set", "Delete", "Learn", "Ignore"]))
    .default(Default::Text("Set"));
const TIER: Field = text("tier").tag(tags::NAME).default(Default::Text("default"));
const ORDER: Field = Field::new("order", Type::Float).pointer();
const INGRESS: Field = list("ingress", RULES).check(MOST_RULES);
const EGRESS: Field = list("egress", RULES).check(MOST_RULES);
const SELECTOR: Field = text("selector").tag(tags::SELECTOR).check(Check::MaxLength(1024));
const TYPES: Field = list("types", DIRECTION).check(Check::MinItems(1)).check(Check::MaxItems(2));
const DO_NOT_TRACK: Field = flag("doNotTrack");
const PRE_DNAT: Field = flag("preDNAT");
const APPLY_ON_FORWARD: Field = flag("applyOnForward");
const SERVICE_ACCOUNTS: Field =
    text("serviceAccountSelector").tag(tags::SELECTOR).check(Check::MaxLength(1024));
const NAMESPACES: Field = text("namespaceSelector").tag(tags::SELECTOR).check(Check::MaxLength(1024));
const HINTS: Field = list("performanceHints", HINT).tag(tags::UNIQUE);

/// Spec of a NetworkPolicy.
pub(super) static NETWORK_POLICY: Object =
    Object::new(&[TIER, ORDER, INGRESS, EGRESS, SELECTOR, TYPES, SERVICE_ACCOUNTS, HINTS]).cel(cel);

/// Spec of a StagedNetworkPolicy.
pub(super) static STAGED_NETWORK_POLICY: Object =
    Object::new(&[STAGED_ACTION, TIER, ORDER, INGRESS, EGRESS, SELECTOR, TYPES, SERVICE_ACCOUNTS, HINTS])
        .cel(cel);

/// Spec of a GlobalNetworkPolicy.
pub(super) static GLOBAL_NETWORK_POLICY: Object = Object::new(&[
    TIER,
    ORDER,
    INGRESS,
    EGRESS,
    SELECTOR,
    TYPES,
    DO_NOT_TRACK,
    PRE_DNAT,
    APPLY_ON_FORWARD,
    SERVICE_ACCOUNTS,
    NAMESPACES,
    HINTS,
])
.cel(cel);

/// Spec of a StagedGlobalNetworkPolicy.
pub(super) static STAGED_GLOBAL_NETWORK_POLICY: Object = Object::new(&[
    STAGED_ACTION,
    TIER,
    ORDER,
    INGRESS,
    EGRESS,
    SELECTOR,
    TYPES,
    DO_NOT_TRACK,
    PRE_DNAT,
    APPLY_ON_FORWARD,
    SERVICE_ACCOUNTS,
    NAMESPACES,
    HINTS,
])
.cel(cel);

/// Calico's checks of what a policy of one namespace says.
pub(super) fn check_namespaced(spec: &Value, out: &mut Vec<FieldError>) {
    let Value::Object(spec) = spec else { return };
    check_types(spec, "NetworkPolicySpec.Types", out);
    check_sides(spec, "not allowed in egress rule", out);
}

/// Calico's checks of what a policy of all namespaces says.
pub(super) fn check_global(spec: &Value, out: &mut Vec<FieldError>) {
    let Value::Object(spec) = spec else { return };
    check_types(spec, "GlobalNetworkPolicySpec.Types", out);
    check_sides(spec, "not allowed in egress rules", out);
    // outside of a namespace a service's bare name means nothing
    for (direction, side) in [("egress", "destination"), ("ingress", "source")] {
        let services = items_of(spec, direction).filter_map(|rule| rule.get(side)?.get("services"));
        for service in services {
            if service.get("namespace").is_none() {
                out.push(FieldError::new("Namespace", "", "must specify a namespace"));
            }
        }
    }
}

/// Each direction is named once.
fn check_types(spec: &Map<String, Value>, name: &str, out: &mut Vec<FieldError>) {
    let Some(Value::Array(types)) = spec.get("types") else { return };
    for direction in repeated(types).take(MOST_COMPLAINTS) {
        let reason = format!("'{}' type specified more than once", go_text(direction));
        out.push(FieldError::new(name, go_text(&Value::Array(types.clone())), reason));
    }
}

/// Services name the far end, and requests are matched where they arrive.
fn check_sides(spec: &Map<String, Value>, http_reason: &str, out: &mut Vec<FieldError>) {
    for rule in items_of(spec, "egress") {
        refuse_services(rule.get("source"), "not allowed in egress rule source", out);
        if let Some(http) = rule.get("http") {
            out.push(FieldError::new("HTTP", http_text(http), http_reason));
        }
    }
    for rule in items_of(spec, "ingress") {
        refuse_services(rule.get("destination"), "not allowed in ingress rule destination", out);
    }
}

fn refuse_services(side: Option<&Value>, reason: &str, out: &mut Vec<FieldError>) {
    let Some(services) = side.and_then(|side| side.get("services")) else { return };
    let part = |field: &str| services.get(field).and_then(Value::as_str).unwrap_or_default();
    out.push(FieldError::new("Services", format!("&{{{} {}}}", part("name"), part("namespace")), reason));
}

/// The CRD's rules of all four kinds: fields a kind does not have are never there.
fn cel(_: &Context<'_>, spec: &Map<String, Value>, path: &Path<'_>, out: &mut Vec<FieldError>) {
    let mut refuse = |reason: &str| out.push(FieldError::at(path.to_string(), reason));
    let (untracked, before_nat) = (is_set(spec, "doNotTrack"), is_set(spec, "preDNAT"));
    if untracked && before_nat {
        refuse("preDNAT and doNotTrack cannot both be true");
    }
    if before_nat && items_of(spec, "egress").next().is_some() {
        refuse("preDNAT policy cannot have any egress rules");
    }
    if before_nat && items_of(spec, "types").any(|direction| direction == "Egress") {
        refuse("preDNAT policy cannot have 'Egress' type");
    }
    if (untracked || before_nat) && !is_set(spec, "applyOnForward") {
        refuse("applyOnForward must be true if either preDNAT or doNotTrack is true");
    }
    for field in ["selector", "serviceAccountSelector", "namespaceSelector"] {
        if text_of(spec, field).contains("global(") {
            refuse(GLOBAL_REASON);
        }
    }
}
