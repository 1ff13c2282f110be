//! BGPPeer. Source: `resources.md` §1.16 of the contract.

use super::bgp_configuration::PASSWORD;
use super::{is_set, text_of};
use crate::error::FieldError;
use crate::kind::Kind;
use crate::net::family_of;
use crate::schema::field::{TEXT, duration, flag, int32, list, object, text, uint8};
use crate::schema::text::{ip_of_peer, is_ip};
use crate::schema::{Check, Context, Field, KindSchema, Object, Path, Tag, Type, tags};
use serde_json::{Map, Value};
use std::net::IpAddr;

const FILTER: &Field = &TEXT.tag(tags::NAME);
const REACHABLE_BY: Tag = Tag::new("reachableBy", |value| tags::on_text(value, is_ip));

static SPEC: Object = Object::new(&[
    text("node").tag(tags::NAME),
    selector("nodeSelector"),
    text("peerIP").go("PeerIP").tag(tags::PEER_IP),
    Field::new("asNumber", Type::AsNumber).go("ASNumber").check(Check::Int32),
    Field::new("localASNumber", Type::AsNumber).go("LocalASNumber").pointer().check(Check::Int32),
    selector("peerSelector"),
    flag("keepOriginalNextHop"),
    text("nextHopMode").pointer().check(Check::Enum(&["Auto", "Self", "Keep"])),
    object("password", &PASSWORD).pointer(),
    text("sourceAddress").check(Check::Enum(&["UseNodeIP", "None"])),
    duration("maxRestartTime"),
    duration("keepaliveTime"),
    int32("numAllowedLocalASNumbers").pointer(),
    uint8("ttlSecurity").go("TTLSecurity").pointer(),
    text("reachableBy").tag(REACHABLE_BY),
    list("filters", FILTER),
    selector("localWorkloadSelector"),
    text("reversePeering").pointer().check(Check::Enum(&["Auto", "Manual"])),
])
.rule(rule)
.cel(cel);

const fn selector(name: &'static str) -> Field {
    text(name).tag(tags::SELECTOR).check(Check::MaxLength(1024))
}

/// The kind.
pub(crate) static SCHEMA: KindSchema = KindSchema::new(Kind::BGPPeer, &SPEC);

fn rule(_: &Context<'_>, spec: &Map<String, Value>, _: &Path<'_>, out: &mut Vec<FieldError>) {
    let gateway = text_of(spec, "reachableBy");
    if let (Ok(gateway_addr), Some(peer)) = (gateway.parse::<IpAddr>(), ip_of_peer(text_of(spec, "peerIP")))
        && family_of(gateway_addr) != family_of(peer)
    {
        let reason = "ReachableBy and PeerIP address family mismatched";
        out.push(FieldError::new("ReachableBy", gateway, reason));
    }
}

fn cel(_: &Context<'_>, spec: &Map<String, Value>, path: &Path<'_>, out: &mut Vec<FieldError>) {
    let given = |field: &str| !text_of(spec, field).is_empty();
    let has_as = spec.contains_key("asNumber");
    let rules = [
        (given("node") && given("nodeSelector"), "node and nodeSelector cannot both be set"),
        (given("peerIP") && given("peerSelector"), "peerIP and peerSelector cannot both be set"),
        (has_as && given("peerSelector"), "asNumber must be empty when peerSelector is set"),
        (
            given("peerIP") && given("localWorkloadSelector"),
            "peerIP must be empty when localWorkloadSelector is set",
        ),
        (
            given("peerSelector") && given("localWorkloadSelector"),
            "peerSelector must be empty when localWorkloadSelector is set",
        ),
        (!has_as && given("localWorkloadSelector"), "asNumber is required when localWorkloadSelector is set"),
        (given("reachableBy") && !given("peerIP"), "reachableBy requires peerIP to be set"),
        (
            is_set(spec, "keepOriginalNextHop") && given("nextHopMode"),
            "keepOriginalNextHop and nextHopMode cannot both be set; keepOriginalNextHop is deprecated, use nextHopMode instead",
        ),
    ];
    out.extend(
        rules.iter().filter(|(broken, _)| *broken).map(|(_, text)| FieldError::at(path.to_string(), *text)),
    );
}

#[cfg(test)]
mod tests;
