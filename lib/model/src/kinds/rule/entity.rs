//! One end of the traffic a rule is about. Source: `resources.md` §1.1 of the contract.

use crate::error::FieldError;
use crate::kinds::policy::GLOBAL_REASON;
use crate::kinds::text_of;
use crate::schema::field::{TEXT, list, object, text};
use crate::schema::{Check, Context, Field, Object, Path, Type, tags};
use selector::Selector;
use serde_json::{Map, Value};

const NET: &Field = &Field::item(Type::Text).tag(tags::NET);
const PORT: &Field = &Field::item(Type::Port);

/// Longest selector the CRDs take.
const SELECTOR_LENGTH: Check = Check::MaxLength(1024);

/// `source` and `destination` of a rule.
pub(super) static ENTITY: Object = Object::new(&[
    list("nets", NET).check(Check::MaxItems(256)),
    text("selector").tag(tags::SELECTOR).check(SELECTOR_LENGTH),
    text("namespaceSelector").tag(tags::SELECTOR).check(SELECTOR_LENGTH),
    object("services", &SERVICE).pointer(),
    list("ports", PORT).check(Check::MaxItems(50)),
    list("notNets", NET).check(Check::MaxItems(256)),
    text("notSelector").tag(tags::SELECTOR).check(SELECTOR_LENGTH),
    list("notPorts", PORT).check(Check::MaxItems(50)),
    object("serviceAccounts", &SERVICE_ACCOUNTS).pointer(),
])
.rule(rule)
.cel(cel);

static SERVICE: Object = Object::new(&[
    text("name").tag(tags::NAME).check(Check::MaxLength(253)),
    text("namespace").tag(tags::NAME).check(Check::MaxLength(253)),
]);

static SERVICE_ACCOUNTS: Object = Object::new(&[list("names", TEXT), text("selector").tag(tags::SELECTOR)]);

/// `global()` stands alone in a namespace selector.
fn rule(_: &Context<'_>, entity: &Map<String, Value>, _: &Path<'_>, out: &mut Vec<FieldError>) {
    let selector = text_of(entity, "namespaceSelector");
    if selector.contains("global(") && !Selector::parse(selector).is_ok_and(|s| is_bare_global(&s, selector))
    {
        out.push(FieldError::new(
            "NamespaceSelector field",
            selector,
            "global() cannot be combined with other selectors",
        ));
    }
}

/// Calico compares tokens, so that parentheses around `global()` are refused too.
fn is_bare_global(selector: &Selector, text: &str) -> bool {
    selector.is_global() && text.trim_start_matches([' ', '\t']).starts_with("global(")
}

fn cel(_: &Context<'_>, entity: &Map<String, Value>, path: &Path<'_>, out: &mut Vec<FieldError>) {
    let mut refuse = |reason: &str| out.push(FieldError::at(path.to_string(), reason));
    if text_of(entity, "selector").contains("global(") {
        refuse(GLOBAL_REASON);
    }
    let Some(services) = entity.get("services") else { return };
    let has = |fields: &[&str]| fields.iter().any(|field| entity.contains_key(*field));
    if has(&["namespaceSelector"]) {
        refuse("cannot specify NamespaceSelector and Services on the same rule");
    }
    if has(&["serviceAccounts"]) {
        refuse("cannot specify ServiceAccounts and Services on the same rule");
    }
    if services.get("name").is_none() {
        // the CRD's rule reads a field that is not there, and the message says so
        refuse("no such key: name evaluating rule: services must specify a service name");
    }
    if has(&["selector", "notSelector"]) {
        refuse("cannot specify Selector/NotSelector and Services on the same rule");
    }
    if has(&["nets", "notNets"]) {
        refuse("cannot specify Nets/NotNets and Services on the same rule");
    }
}
