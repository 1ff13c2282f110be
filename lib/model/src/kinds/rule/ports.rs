//! Ports of rules. Source: `resources.md` §0.1 of the contract.

use crate::error::FieldError;
use crate::kinds::{items_of, supports_ports};
use crate::schema::go_text;
use serde_json::{Map, Value};

/// Ports need a protocol that has some; without any protocol they can only be named.
pub(super) fn check(rule: &Map<String, Value>, out: &mut Vec<FieldError>) {
    let reason = match rule.get("protocol") {
        Some(protocol) if supports_ports(protocol) => return,
        Some(_) => "rules that specify ports must set protocol to TCP or UDP or SCTP",
        None => "rules with numeric port or port range must set protocol to TCP or UDP or SCTP",
    };
    let any_counts = rule.contains_key("protocol");
    for (side, side_name) in [("source", "Source"), ("destination", "Destination")] {
        let Some(Value::Object(entity)) = rule.get(side) else { continue };
        for (field, field_name) in [("ports", "Ports"), ("notPorts", "NotPorts")] {
            if items_of(entity, field).any(|port| any_counts || is_numeric(port)) {
                let ports = entity.get(field).map(go_text).unwrap_or_default();
                out.push(FieldError::new(format!("{side_name}.{field_name}"), ports, reason));
            }
        }
    }
}

fn is_numeric(port: &Value) -> bool {
    match port {
        Value::String(text) => text.contains(':'),
        _ => true,
    }
}
