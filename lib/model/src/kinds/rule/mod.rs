//! One rule of a policy or profile. Source: `resources.md` §1.1 of the contract.

mod entity;
mod http;
mod icmp;
mod nets;
mod ports;

use crate::error::FieldError;
use crate::schema::field::{int, object, text, text_map};
use crate::schema::metadata::check_annotation_map;
use crate::schema::{Check, Context, Field, Object, Path, Type};
use entity::ENTITY;
use http::HTTP;
pub(super) use http::http_text;
use icmp::ICMP;
use serde_json::{Map, Value};

/// A rule.
static RULE: Object = Object::new(&[
    text("action").always().check(Check::Enum(&["Allow", "Deny", "Log", "Pass"])),
    int("ipVersion").go("IPVersion").pointer().check(Check::IntEnum(&[4, 6])),
    Field::new("protocol", Type::Protocol).pointer(),
    object("icmp", &ICMP).go("ICMP").pointer(),
    Field::new("notProtocol", Type::Protocol).pointer(),
    object("notICMP", &ICMP).pointer(),
    object("source", &ENTITY),
    object("destination", &ENTITY),
    object("http", &HTTP).go("HTTP").pointer(),
    object("metadata", &METADATA).pointer(),
])
.rule(rule)
.cel(cel);

/// The rules of one direction.
pub(super) const RULES: &Field = &Field::item(Type::Object(&RULE));

static METADATA: Object = Object::new(&[text_map("annotations")]).rule(metadata);

fn metadata(_: &Context<'_>, fields: &Map<String, Value>, _: &Path<'_>, out: &mut Vec<FieldError>) {
    let annotations = fields.get("annotations").and_then(Value::as_object).into_iter().flatten();
    check_annotation_map(annotations.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))), out);
}

fn rule(_: &Context<'_>, rule: &Map<String, Value>, _: &Path<'_>, out: &mut Vec<FieldError>) {
    ports::check(rule, out);
    nets::check(rule, out);
}

fn cel(_: &Context<'_>, rule: &Map<String, Value>, path: &Path<'_>, out: &mut Vec<FieldError>) {
    let mut refuse = |reason: &str| out.push(FieldError::at(path.to_string(), reason));
    let is = |field: &str, name: &str, number: u64| {
        rule.get(field).is_some_and(|p| p.as_str() == Some(name) || p.as_u64() == Some(number))
    };
    let has = |field: &str| rule.contains_key(field);
    if has("http") {
        if has("protocol") && !is("protocol", "TCP", 6) {
            refuse("rules with HTTP match must have protocol TCP or unset");
        }
        if rule.get("action").and_then(Value::as_str) != Some("Allow") {
            refuse("HTTP match is only valid on Allow rules");
        }
    }
    let destination = |field: &str| rule.get("destination").is_some_and(|d| d.get(field).is_some());
    if destination("services") && (destination("ports") || destination("notPorts")) {
        refuse("ports and notPorts cannot be specified with services");
    }
    if has("icmp") && !is("protocol", "ICMP", 1) && !is("protocol", "ICMPv6", 58) {
        refuse("ICMP fields require protocol to be ICMP or ICMPv6");
    }
    let version = rule.get("ipVersion").and_then(Value::as_i64);
    for field in ["protocol", "notProtocol"] {
        if is(field, "ICMP", 1) && version.is_some_and(|v| v != 4) {
            refuse("protocol ICMP requires ipVersion 4");
        }
        if is(field, "ICMPv6", 58) && version.is_some_and(|v| v != 6) {
            refuse("protocol ICMPv6 requires ipVersion 6");
        }
    }
}

#[cfg(test)]
mod tests;
