//! HostEndpoint. Source: `resources.md` §1.7 of the contract.

use super::{supports_ports, text_of};
use crate::error::FieldError;
use crate::kind::Kind;
use crate::schema::field::{TEXT, list, text, uint16};
use crate::schema::{Check, Context, Field, KindSchema, Object, Path, Tag, Type, go_text, tags};
use serde_json::{Map, Value};

static PORT: Object = Object::new(&[
    text("name").always().tag(tags::PORT_NAME.also_empty()),
    Field::new("protocol", Type::Protocol).always(),
    uint16("port").always().tag(PORT_NUMBER.also_empty()).check(Check::Min(1)),
])
.rule(port_rule);

const PORT_NUMBER: Tag = Tag::new("gt", |value| value.as_i64().is_some_and(|number| number > 0));

const PORTS: &Field = &Field::item(Type::Object(&PORT));
const EXPECTED_IP: &Field = &TEXT.tag(tags::IP);
const PROFILE: &Field = &TEXT.tag(tags::NAME);

static SPEC: Object = Object::new(&[
    text("node").tag(tags::NAME),
    text("interfaceName").tag(tags::INTERFACE_OR_ALL).check(Check::MaxLength(15)),
    list("expectedIPs", EXPECTED_IP).go("ExpectedIPs"),
    list("profiles", PROFILE),
    list("ports", PORTS),
])
.cel(cel);

/// The kind.
pub(crate) static SCHEMA: KindSchema = KindSchema::new(Kind::HostEndpoint, &SPEC);

fn port_rule(_: &Context<'_>, port: &Map<String, Value>, _: &Path<'_>, out: &mut Vec<FieldError>) {
    let protocol = port.get("protocol").unwrap_or(&Value::Null);
    if !supports_ports(protocol) {
        let reason = "EndpointPort protocol does not support ports.";
        out.push(FieldError::new("EndpointPort.Protocol", go_text(protocol), reason));
    }
}

fn cel(_: &Context<'_>, spec: &Map<String, Value>, path: &Path<'_>, out: &mut Vec<FieldError>) {
    let has_addresses =
        spec.get("expectedIPs").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    if text_of(spec, "interfaceName").is_empty() && !has_addresses {
        let reason = "at least one of interfaceName or expectedIPs must be specified";
        out.push(FieldError::at(path.to_string(), reason));
    }
    if text_of(spec, "node").is_empty() {
        out.push(FieldError::at(path.to_string(), "node must be specified"));
    }
}

#[cfg(test)]
mod tests;
