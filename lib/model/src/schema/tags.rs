//! Validator tags that several kinds share.

use super::field::Tag;
use super::text;
use crate::net::Family;
use serde_json::Value;

/// Judges the value's text; what is no text fails.
pub fn on_text(value: &Value, accepts: impl Fn(&str) -> bool) -> bool {
    value.as_str().is_some_and(accepts)
}

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
    /// MAC address.
    MAC = "mac", text::is_mac;
    /// Public key.
    WIREGUARD_KEY = "wireguardPublicKey", text::is_wireguard_key;
    /// Address with an optional port.
    PEER_IP = "IP:port", |text| text::ip_of_peer(text).is_some();
}
