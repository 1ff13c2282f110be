//! Walks a resource along its tables and reports what is wrong, in the order in which Calico does: validator tags and
//! struct rules in one walk, then the CRD's schema, then its CEL rules. Source: `datamodel.md` §13 of the contract.

use super::decode::is_empty;
use super::field::{Check, Context, Field, Object, OnEmpty, Presence, Type};
use super::kind::KindSchema;
use super::metadata;
use super::path::Path;
use super::scalar::{number_text, port_error, protocol_error};
use crate::error::FieldError;
use serde_json::{Map, Value};

/// Everything wrong with the context's resource, which is in stored form.
pub(super) fn check(schema: &KindSchema, context: &Context<'_>) -> Vec<FieldError> {
    let mut out = Vec::new();
    let object = context.resource.object();
    metadata::check(context, &mut out);
    let sections = [Some(schema.spec_field()), schema.status];
    let sections = || sections.iter().flatten().filter_map(|field| Some((field, object.get(field.name)?)));
    for (field, value) in sections() {
        tags_below(field, value, &Path::ROOT.field(field.name), context, &mut out);
    }
    if let Some(rule) = schema.rule {
        rule(context, object, &Path::ROOT, &mut out);
    }
    if !schema.crd {
        return out;
    }
    for (field, value) in sections() {
        schema_of(field, value, &Path::ROOT.field(field.name), context, &mut out);
    }
    if let Some(rule) = schema.cel {
        rule(context, object, &Path::ROOT, &mut out);
    }
    for (field, value) in sections() {
        cel_of(field, value, &Path::ROOT.field(field.name), context, &mut out);
    }
    out
}

/// Tags of an object's fields and of what is below, then its struct rule.
fn tags_of(
    object: &'static Object,
    value: &Map<String, Value>,
    path: &Path<'_>,
    context: &Context<'_>,
    out: &mut Vec<FieldError>,
) {
    for field in object.fields {
        let here = path.field(field.name);
        let found = value.get(field.name).unwrap_or(&Value::Null);
        if failed_tag(field, found, || field.go_name(), out) {
            continue;
        }
        tags_below(field, found, &here, context, out);
    }
    if let Some(rule) = object.rule {
        rule(context, value, path, out);
    }
}

fn tags_below(
    field: &Field,
    value: &Value,
    path: &Path<'_>,
    context: &Context<'_>,
    out: &mut Vec<FieldError>,
) {
    match (field.ty, value) {
        (Type::Object(object), Value::Object(fields)) => tags_of(object, fields, path, context, out),
        (Type::Port, value) => out.extend(port_error(value)),
        (Type::Protocol, value) => out.extend(protocol_error(value)),
        (Type::List(item), Value::Array(items)) => {
            for (index, value) in items.iter().enumerate() {
                if !failed_tag(item, value, || format!("{}[{index}]", field.go_name()), out) {
                    tags_below(item, value, &path.index(index), context, out);
                }
            }
        }
        (Type::Map(item), Value::Object(entries)) => {
            for (key, value) in entries {
                if !failed_tag(item, value, || format!("{}[{key}]", field.go_name()), out) {
                    tags_below(item, value, &path.field(key), context, out);
                }
            }
        }
        _ => {}
    }
}

/// Reports the first tag that fails.
fn failed_tag(field: &Field, value: &Value, go_name: impl Fn() -> String, out: &mut Vec<FieldError>) -> bool {
    // Go's pointers are empty only when they are absent
    let empty = if field.presence == Presence::Pointer { value.is_null() } else { is_empty(value) };
    let failed = field.tags.iter().flatten().find(|tag| match tag.empty {
        OnEmpty::Refuse => empty,
        OnEmpty::Skip if empty => false,
        // a nil pointer, which Go's validator never looks behind
        OnEmpty::Judge if value.is_null() && field.presence == Presence::Pointer => false,
        _ => !(tag.accepts)(value),
    });
    if let Some(tag) = failed {
        out.push(FieldError::tag(&go_name(), shown(field, value), tag.name));
    }
    failed.is_some()
}

/// The value as Go prints what its struct holds there.
fn shown(field: &Field, value: &Value) -> String {
    match (field.ty, value) {
        (Type::List(_), Value::Null) => "[]".to_owned(),
        (_, Value::Null) if field.presence == Presence::Pointer => "<nil>".to_owned(),
        (Type::TextMap | Type::Map(_), Value::Object(entries)) => {
            let entries: Vec<String> =
                entries.iter().map(|(key, value)| format!("{key}:{}", go_text(value))).collect();
            format!("map[{}]", entries.join(" "))
        }
        _ => go_text(value),
    }
}

fn schema_of(
    field: &Field,
    value: &Value,
    path: &Path<'_>,
    context: &Context<'_>,
    out: &mut Vec<FieldError>,
) {
    for check in field.checks.iter().flatten() {
        schema_check(*check, value, path, context, out);
    }
    match (field.ty, value) {
        (Type::Object(object), Value::Object(fields)) => {
            for field in object.fields {
                if let Some(value) = fields.get(field.name).filter(|value| !value.is_null()) {
                    schema_of(field, value, &path.field(field.name), context, out);
                }
            }
        }
        (Type::List(item), Value::Array(items)) => {
            for (index, value) in items.iter().enumerate() {
                schema_of(item, value, &path.index(index), context, out);
            }
        }
        (Type::Map(item), Value::Object(entries)) => {
            for (key, value) in entries {
                schema_of(item, value, &path.field(key), context, out);
            }
        }
        _ => {}
    }
}

fn schema_check(
    check: Check,
    value: &Value,
    path: &Path<'_>,
    context: &Context<'_>,
    out: &mut Vec<FieldError>,
) {
    let text = value.as_str();
    let items = value.as_array().map(Vec::len);
    let properties = value.as_object().map(Map::len);
    let number = value.as_i64();
    let reason = match check {
        Check::Enum(words) if text.is_some_and(|text| !words.contains(&text)) => {
            let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
            format!("supported values: {}", words.join(", "))
        }
        Check::IntEnum(numbers) if number.is_some_and(|n| !numbers.contains(&n)) => {
            let numbers: Vec<String> = numbers.iter().map(|number| format!("\"{number}\"")).collect();
            format!("supported values: {}", numbers.join(", "))
        }
        Check::Min(min) if number.is_some_and(|n| n < min) => {
            format!("{path} in body should be greater than or equal to {min}")
        }
        Check::Max(max) if number.is_some_and(|n| n > max) => {
            format!("{path} in body should be less than or equal to {max}")
        }
        Check::MinItems(min) if items.is_some_and(|n| n < min) => {
            format!("{path} in body should have at least {min} items")
        }
        Check::MaxItems(max) if items.is_some_and(|n| n > max) => at_most(max),
        Check::MinProperties(min) if properties.is_some_and(|n| n < min) => {
            format!("{path} in body should have at least {min} properties")
        }
        Check::MaxProperties(max) if properties.is_some_and(|n| n > max) => at_most(max),
        Check::MinLength(min) if text.is_some_and(|text| text.chars().count() < min) => {
            format!("{path} in body should be at least {min} chars long")
        }
        Check::MaxLength(max) if text.is_some_and(|text| text.chars().count() > max) => {
            format!("may not be more than {max} bytes")
        }
        Check::Pattern(pattern, accepts) if text.is_some_and(|text| !accepts(text)) => {
            format!("{path} in body should match '{pattern}'")
        }
        Check::Format(name, accepts) if text.is_some_and(|text| !accepts(text)) => {
            format!("{path} in body must be of type {name}: {value}")
        }
        Check::Int32 if number.is_some_and(|n| i32::try_from(n).is_err()) => {
            let reason = format!("Checked value must be of type integer with format int32 in {path}");
            out.push(FieldError::at(context.resource.kind().name(), reason));
            return;
        }
        _ => return,
    };
    out.push(FieldError::at(path.to_string(), reason));
}

fn at_most(max: usize) -> String {
    format!("must have at most {max} {}", if max == 1 { "item" } else { "items" })
}

fn cel_of(field: &Field, value: &Value, path: &Path<'_>, context: &Context<'_>, out: &mut Vec<FieldError>) {
    match (field.ty, value) {
        (Type::Object(object), Value::Object(fields)) => {
            if let Some(rule) = object.cel {
                rule(context, fields, path, out);
            }
            for field in object.fields {
                if let Some(value) = fields.get(field.name) {
                    cel_of(field, value, &path.field(field.name), context, out);
                }
            }
        }
        (Type::List(item), Value::Array(items)) => {
            for (index, value) in items.iter().enumerate() {
                cel_of(item, value, &path.index(index), context, out);
            }
        }
        (Type::Map(item), Value::Object(entries)) => {
            for (key, value) in entries {
                cel_of(item, value, &path.field(key), context, out);
            }
        }
        _ => {}
    }
}

/// A value as Go's `%v` prints it: `[a b]` for lists, `{a b}` for structs, `<nil>` for what is absent.
pub fn go_text(value: &Value) -> String {
    let join = |values: Vec<String>| values.join(" ");
    match value {
        Value::Null => String::new(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number_text(number),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", join(items.iter().map(go_text).collect())),
        Value::Object(fields) => format!("{{{}}}", join(fields.values().map(go_text).collect())),
    }
}

#[cfg(test)]
mod tests;
