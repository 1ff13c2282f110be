//! CalicoNodeStatus. Source: `resources.md` §0.2 and `datamodel.md` §3 of the contract.

use crate::kind::Kind;
use crate::schema::field::{TEXT, int, list, object, text, uint32};
use crate::schema::tags::{self, at_most};
use crate::schema::{Check, Field, KindSchema, Object, Tag, Type};

const CLASS: &Field = &TEXT.check(Check::Enum(&["Agent", "BGP", "Routes"]));

static SPEC: Object = Object::new(&[
    text("node").tag(Tag::REQUIRED).tag(tags::NAME),
    list("classes", CLASS).tag(Tag::REQUIRED).tag(tags::UNIQUE),
    uint32("updatePeriodSeconds").pointer().tag(Tag::REQUIRED).tag(at_most::<86400>()),
]);

/// Written as a skeleton until a node reports.
static STATUS: Object = Object::new(&[
    text("lastUpdated").always_null(),
    object("agent", &AGENT).always(),
    object("bgp", &BGP).always(),
    object("routes", &ROUTES).always(),
]);

static AGENT: Object = Object::new(&[object("birdV4", &DAEMON).always(), object("birdV6", &DAEMON).always()]);

static DAEMON: Object = Object::new(&[
    text("state").check(Check::Enum(&["Ready", "NotReady"])),
    text("version"),
    text("routerID"),
    text("lastBootTime"),
    text("lastReconfigurationTime"),
]);

static BGP: Object = Object::new(&[
    int("numberEstablishedV4").always(),
    int("numberNotEstablishedV4").always(),
    int("numberEstablishedV6").always(),
    int("numberNotEstablishedV6").always(),
    list("peersV4", PEER),
    list("peersV6", PEER),
]);

const PEER: &Field = &Field::item(Type::Object(&PEER_FIELDS));
static PEER_FIELDS: Object = Object::new(&[
    text("peerIP"),
    text("type").check(Check::Enum(&["NodeMesh", "NodePeer", "GlobalPeer"])),
    text("state").check(Check::Enum(&[
        "Idle",
        "Connect",
        "Active",
        "OpenSent",
        "OpenConfirm",
        "Established",
        "Close",
    ])),
    text("since"),
]);

static ROUTES: Object = Object::new(&[list("routesV4", ROUTE), list("routesV6", ROUTE)]);

const ROUTE: &Field = &Field::item(Type::Object(&ROUTE_FIELDS));
static ROUTE_FIELDS: Object = Object::new(&[
    text("type").check(Check::Enum(&["FIB", "RIB"])),
    text("destination"),
    text("gateway"),
    text("interface"),
    object("learnedFrom", &LEARNED_FROM).always(),
]);

static LEARNED_FROM: Object = Object::new(&[
    text("sourceType").check(Check::Enum(&["Kernel", "Static", "Direct", "NodeMesh", "BGPPeer"])),
    text("peerIP"),
]);

/// The kind.
pub(crate) static SCHEMA: KindSchema = KindSchema {
    status: Some(object("status", &STATUS).always()),
    ..KindSchema::new(Kind::CalicoNodeStatus, &SPEC)
};

#[cfg(test)]
mod tests;
