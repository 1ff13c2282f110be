//! The datastore's flat form: every field of a FelixConfiguration as a name and a text, as its readers pass it on
//! (`datamodel.md` §8 of the contract).

use super::parameters;
use super::syntax::Syntax;
use crate::resource::Resource;
use crate::schema::go_text;
use crate::schema::scalar::parse_duration;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Annotations with this prefix set parameters, unchecked, over the fields.
const ANNOTATION: &str = "config.projectcalico.org/";

/// The parameters a FelixConfiguration sets, by name.
pub fn flat(resource: &Resource) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    if let Value::Object(spec) = resource.spec() {
        for row in parameters() {
            let value = row.field.and_then(|field| spec.get(field));
            if let Some(text) = value.and_then(|value| flatten(row.parameter.syntax, value)) {
                found.insert(row.name.clone(), text);
            }
        }
    }
    for (name, value) in resource.annotations() {
        if let Some(name) = name.strip_prefix(ANNOTATION) {
            found.insert(name.to_owned(), value.to_owned());
        }
    }
    found
}

/// One field's value; none for null.
fn flatten(syntax: Syntax, value: &Value) -> Option<String> {
    Some(match (syntax, value) {
        (_, Value::Null) => return None,
        (Syntax::Seconds, Value::String(text)) => in_units(text, 1e9)?,
        (Syntax::Millis, Value::String(text)) => in_units(text, 1e6)?,
        (Syntax::FailsafePorts, Value::Array(items)) if items.is_empty() => "none".to_owned(),
        (_, Value::Array(items)) => {
            let texts: Vec<String> = items.iter().map(|item| item_text(syntax, item)).collect();
            texts.join(",")
        }
        (Syntax::TableRange, Value::Object(range)) => bounds(range),
        (_, Value::Object(map)) => {
            let texts: Vec<String> =
                map.iter().map(|(name, value)| format!("{}={}", capital(name), go_text(value))).collect();
            texts.join(",")
        }
        (_, other) => go_text(other),
    })
}

fn item_text(syntax: Syntax, item: &Value) -> String {
    let Value::Object(fields) = item else { return go_text(item) };
    let field = |name: &str| fields.get(name).map(go_text).unwrap_or_default();
    match syntax {
        Syntax::FailsafePorts => {
            let protocol = Some(field("protocol")).filter(|protocol| !protocol.is_empty());
            let parts = [
                protocol.unwrap_or_else(|| "tcp".to_owned()).to_ascii_lowercase(),
                field("net"),
                field("port"),
            ];
            parts.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<String>>().join(":")
        }
        Syntax::Timeouts => format!("{}={}", field("name"), field("timeout")),
        _ => bounds(fields),
    }
}

fn bounds(range: &Map<String, Value>) -> String {
    let bound = |name: &str| range.get(name).map(go_text).unwrap_or_default();
    format!("{}-{}", bound("min"), bound("max"))
}

/// A Go duration in units of so many nanoseconds.
fn in_units(text: &str, unit: f64) -> Option<String> {
    // Exact: a duration has fewer digits than a double where it matters.
    #[allow(clippy::cast_precision_loss)]
    Some(format!("{}", parse_duration(text)? as f64 / unit))
}

/// The Go name of a timeout; other names stay as they are.
fn capital(name: &str) -> String {
    let known = [
        ("creationGracePeriod", "CreationGracePeriod"),
        ("tcpSynSent", "TCPSynSent"),
        ("tcpEstablished", "TCPEstablished"),
        ("tcpFinsSeen", "TCPFinsSeen"),
        ("tcpResetSeen", "TCPResetSeen"),
        ("udpTimeout", "UDPTimeout"),
        ("genericTimeout", "GenericTimeout"),
        ("icmpTimeout", "ICMPTimeout"),
    ];
    known.iter().find(|(field, _)| *field == name).map_or(name, |(_, go)| go).to_owned()
}
