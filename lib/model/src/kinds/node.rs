//! Node. Not a CRD kind: only struct validators apply. Source: `resources.md` §1.9, `datamodel.md` §3.2 of the contract.

use super::text_of;
use crate::error::FieldError;
use crate::kind::Kind;
use crate::schema::field::{TEXT, list, object, text};
use crate::schema::{Context, Field, KindSchema, Object, Path, Type, tags};
use serde_json::{Map, Value};

static BGP: Object = Object::new(&[
    Field::new("asNumber", Type::AsNumber).go("ASNumber").pointer(),
    text("ipv4Address").go("IPv4Address").tag(tags::CIDR_V4),
    text("ipv6Address").go("IPv6Address").tag(tags::CIDR_V6),
    text("ipv4IPIPTunnelAddr").go("IPv4IPIPTunnelAddr").tag(tags::IPV4),
    text("routeReflectorClusterID").tag(tags::IPV4),
]);

static ORCH_REF: Object = Object::new(&[text("nodeName"), text("orchestrator").always()]);

static WIREGUARD: Object = Object::new(&[
    text("interfaceIPv4Address").tag(tags::IPV4),
    text("interfaceIPv6Address").tag(tags::IPV6),
]);

static ADDRESS: Object = Object::new(&[text("address").always(), text("type")]);

static INTERFACE: Object = Object::new(&[text("name"), list("addresses", TEXT)]);

const ORCH_REFS: &Field = &Field::item(Type::Object(&ORCH_REF));
const ADDRESSES: &Field = &Field::item(Type::Object(&ADDRESS));
const INTERFACES: &Field = &Field::item(Type::Object(&INTERFACE));

static SPEC: Object = Object::new(&[
    object("bgp", &BGP).go("BGP").pointer(),
    text("ipv4VXLANTunnelAddr").go("IPv4VXLANTunnelAddr").tag(tags::IPV4),
    text("vxlanTunnelMACAddr").go("VXLANTunnelMACAddr").tag(tags::MAC),
    text("ipv6VXLANTunnelAddr").go("IPv6VXLANTunnelAddr").tag(tags::IPV6),
    text("vxlanTunnelMACAddrV6").go("VXLANTunnelMACAddrV6").tag(tags::MAC),
    list("orchRefs", ORCH_REFS),
    object("wireguard", &WIREGUARD).pointer(),
    list("addresses", ADDRESSES),
    list("interfaces", INTERFACES),
])
.rule(rule);

static STATUS: Object = Object::new(&[
    text("wireguardPublicKey").tag(tags::WIREGUARD_KEY),
    text("wireguardPublicKeyV6").tag(tags::WIREGUARD_KEY),
    list("podCIDRs", TEXT).go("PodCIDRs"),
]);

/// The kind.
pub(crate) static SCHEMA: KindSchema = KindSchema {
    status: Some(object("status", &STATUS).always()),
    ..KindSchema::without_crd(Kind::Node, &SPEC)
};

fn rule(_: &Context<'_>, spec: &Map<String, Value>, _: &Path<'_>, out: &mut Vec<FieldError>) {
    let Some(bgp) = spec.get("bgp").and_then(Value::as_object) else { return };
    let texts = ["ipv4Address", "ipv6Address", "ipv4IPIPTunnelAddr", "routeReflectorClusterID"];
    if bgp.get("asNumber").is_none() && texts.iter().all(|field| text_of(bgp, field).is_empty()) {
        // the value is Go's print of the empty struct
        out.push(FieldError::new("BGP", "&{<nil>    }", "Spec.BGP should not be empty"));
    }
}

#[cfg(test)]
mod tests;
