//! Looking things up in stored JSON: what is not there is empty.

use super::selector::Labels;
use model::net::Cidr;
use serde_json::Value;
use std::net::IpAddr;

/// A text field, empty when it is absent.
pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// The texts of a list, none when it is absent.
pub fn texts<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a str> {
    value[field].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// The entries of a list, none when it is absent.
pub fn list<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value[field].as_array().into_iter().flatten()
}

/// Kind, namespace and name.
pub fn identity(resource: &Value) -> (&str, &str, &str) {
    let metadata = &resource["metadata"];
    (text(resource, "kind"), text(metadata, "namespace"), text(metadata, "name"))
}

/// A map of texts.
pub fn labels(value: &Value) -> Labels {
    let pairs = value.as_object().into_iter().flatten();
    pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// A prefix, or the one of a single address; `None` where the text is neither.
pub fn prefix(text: &str) -> Option<Cidr> {
    match text.parse::<IpAddr>() {
        Ok(address) => Some(Cidr::host(address)),
        Err(_) => Cidr::parse_masked(text).ok(),
    }
}

/// The number of a protocol given as number or name.
pub fn protocol(value: &Value) -> Option<u8> {
    if let Some(number) = value.as_u64() {
        return u8::try_from(number).ok();
    }
    let text = value.as_str()?;
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    match text.to_ascii_lowercase().as_str() {
        "icmp" => Some(1),
        "tcp" => Some(6),
        "udp" => Some(17),
        "icmpv6" => Some(58),
        "sctp" => Some(132),
        "udplite" => Some(136),
        _ => None,
    }
}
