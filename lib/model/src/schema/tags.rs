//! Validator tags that several kinds share.

use super::field::Tag;
use super::metadata::{is_label_value, is_qualified_name};
use super::regexp::is_regexp;
use super::text;
use crate::kinds::repeated;
use crate::net::Family;
use serde_json::Value;

/// Judges the value's text; what is no text fails.
pub fn on_text(value: &Value, accepts: impl Fn(&str) -> bool) -> bool {
    value.as_str().is_some_and(accepts)
}

/// `gte`: a number of at least `MIN`; absent passes, zero does not.
pub const fn at_least<const MIN: i64>() -> Tag {
    Tag::new("gte", |value| value.as_i64().is_some_and(|number| number >= MIN))
}

/// `lte`: a number of at most `MAX`.
pub const fn at_most<const MAX: i64>() -> Tag {
    Tag::new("lte", |value| value.as_i64().is_some_and(|number| number <= MAX))
}

/// `gt`: a number above `BOUND`.
pub const fn above<const BOUND: i64>() -> Tag {
    Tag::new("gt", |value| value.as_i64().is_some_and(|number| number > BOUND))
}

/// `lt`: a number below `BOUND`.
pub const fn below<const BOUND: i64>() -> Tag {
    Tag::new("lt", |value| value.as_i64().is_some_and(|number| number < BOUND))
}

/// `oneof`: one of these words.
macro_rules! one_of {
    ($($word:literal),* $(,)?) => {
        $crate::schema::Tag::new("oneof", |value| matches!(value.as_str(), Some($($word)|*)))
    };
}
pub(crate) use one_of;

/// A list of addresses or CIDRs, host bits allowed.
pub const CIDRS: Tag = Tag::new("cidrs", |value| {
    value.as_array().into_iter().flatten().all(|item| item.as_str().is_some_and(text::is_cidr))
});

/// No item twice.
pub const UNIQUE: Tag =
    Tag::new("unique", |value| value.as_array().is_none_or(|items| repeated(items).next().is_none()));

/// Keys and values that may be labels.
pub const LABELS: Tag = Tag::new("labels", |value| {
    value
        .as_object()
        .into_iter()
        .flatten()
        .all(|(key, value)| is_qualified_name(key) && value.as_str().is_some_and(is_label_value))
});

macro_rules! text_tags {
    ($($(#[$doc:meta])* $name:ident = $tag:literal, $accepts:expr;)*) => {
        $($(#[$doc])* pub const $name: Tag = Tag::new($tag, |value| on_text(value, $accepts));)*
    };
}

text_tags! {
    /// DNS subdomain.
    NAME = "name", text::is_subdomain;
    /// Interface name.
    INTERFACE = "interface", text::is_interface;
    /// Interface name or `*`.
    INTERFACE_OR_ALL = "interface", |name| name == "*" || text::is_interface(name);
    /// Selector that parses.
    SELECTOR = "selector", text::is_selector;
    /// Service name of a port.
    PORT_NAME = "portName", text::is_service_name;
    /// Container ID.
    CONTAINER_ID = "containerID", text::is_container_id;
    /// Address.
    IP = "ip", text::is_ip;
    /// IPv4 address.
    IPV4 = "ipv4", |text| text::is_ip_of(text, Family::V4);
    /// IPv6 address.
    IPV6 = "ipv6", |text| text::is_ip_of(text, Family::V6);
    /// Address or CIDR, host bits allowed.
    CIDR = "cidr", text::is_cidr;
    /// IPv4 address or CIDR, host bits allowed.
    CIDR_V4 = "cidrv4", |text| text::is_cidr_of(text, Family::V4);
    /// IPv6 address or CIDR, host bits allowed.
    CIDR_V6 = "cidrv6", |text| text::is_cidr_of(text, Family::V6);
    /// Address or CIDR without host bits.
    NET = "net", text::is_net;
    /// IPv4 address or CIDR without host bits.
    NET_V4 = "netv4", |text| text::is_net_of(text, Family::V4);
    /// IPv6 address or CIDR without host bits.
    NET_V6 = "netv6", |text| text::is_net_of(text, Family::V6);
    /// Regular expression.
    REGEXP = "regexp", is_regexp;
    /// `name=value` pairs.
    KEY_VALUES = "keyValueList", text::is_key_value_list;
    /// MAC address.
    MAC = "mac", text::is_mac;
    /// Public key.
    WIREGUARD_KEY = "wireguardPublicKey", text::is_wireguard_key;
    /// Address with an optional port.
    PEER_IP = "IP:port", |text| text::ip_of_peer(text).is_some();
}
