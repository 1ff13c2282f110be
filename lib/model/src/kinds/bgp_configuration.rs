//! BGPConfiguration. Source: `resources.md` §1.15 of the contract.

use super::community::{self, Community};
use super::{items_of, text_of};
use crate::admission::Operation;
use crate::error::{FieldError, ValidationError};
use crate::kind::Kind;
use crate::resource::Resource;
use crate::schema::field::{Default, TEXT, duration, flag, int32, list, object, text, uint16};
use crate::schema::text::{is_any_case_or_empty, is_interface_pattern, is_written_cidr};
use crate::schema::{Check, Context, Field, KindSchema, Object, Path, Tag, Type, tags};
use serde_json::{Map, Value};

static SERVICE_CIDR: Object =
    Object::new(&[text("cidr").go("CIDR").tag(tags::NET).check(Check::Format("cidr", is_written_cidr))]);

static COMMUNITY: Object = Object::new(&[
    text("name").tag(Tag::REQUIRED).tag(tags::NAME),
    text("value").tag(Tag::REQUIRED).check(Check::Pattern(community::PATTERN, community::has_form)),
]);

static ADVERTISEMENT: Object = Object::new(&[
    text("cidr").go("CIDR").tag(Tag::REQUIRED).tag(tags::NET),
    list("communities", TEXT).check(Check::MaxItems(50)),
]);

/// Kubernetes' SecretKeySelector.
static SECRET_KEY: Object = Object::new(&[text("name"), text("key").always(), flag("optional").pointer()]);

/// A password kept in a Kubernetes secret.
pub(super) static PASSWORD: Object = Object::new(&[object("secretKeyRef", &SECRET_KEY).pointer()]);

const SERVICE_CIDRS: &Field = &Field::item(Type::Object(&SERVICE_CIDR));
const COMMUNITIES: &Field = &Field::item(Type::Object(&COMMUNITY));
const ADVERTISEMENTS: &Field = &Field::item(Type::Object(&ADVERTISEMENT));
const IGNORED: &Field = &TEXT.tag(Tag::new("ignoredInterface", |value| {
    tags::on_text(value, |name| name != "*" && is_interface_pattern(name))
}));

const LOG_LEVELS: Check = Check::Pattern("^(?i)(Trace|Debug|Info|Warning|Error|Fatal)?$", |level| {
    is_any_case_or_empty(level, &["Trace", "Debug", "Info", "Warning", "Error", "Fatal"])
});

static SPEC: Object = Object::new(&[
    text("logSeverityScreen").check(LOG_LEVELS).default(Default::Text("Info")),
    flag("nodeToNodeMeshEnabled").pointer(),
    Field::new("asNumber", Type::AsNumber).go("ASNumber").pointer().check(Check::Int32),
    list("serviceLoadBalancerIPs", SERVICE_CIDRS),
    list("serviceExternalIPs", SERVICE_CIDRS),
    list("serviceClusterIPs", SERVICE_CIDRS),
    text("serviceLoadBalancerAggregation")
        .check(Check::Enum(&["Enabled", "Disabled"]))
        .default(Default::Text("Enabled")),
    list("communities", COMMUNITIES).check(Check::MaxItems(500)),
    list("prefixAdvertisements", ADVERTISEMENTS).check(Check::MaxItems(500)),
    uint16("listenPort").check(Check::Min(1)).check(Check::Max(65_535)),
    object("nodeMeshPassword", &PASSWORD).pointer(),
    duration("nodeMeshMaxRestartTime"),
    text("bindMode").pointer().check(Check::Enum(&["None", "NodeIP"])),
    list("ignoredInterfaces", IGNORED),
    text("localWorkloadPeeringIPV4").go("LocalWorkloadPeeringIPV4").tag(tags::IPV4),
    text("localWorkloadPeeringIPV6").go("LocalWorkloadPeeringIPV6").tag(tags::IPV6),
    text("programClusterRoutes").pointer().check(Check::Enum(&[
        "Enabled",
        "Disabled",
        "EnabledIPIPOnly",
        "EnabledNoEncapOnly",
    ])),
    priority("ipv4NormalRoutePriority"),
    priority("ipv6NormalRoutePriority"),
])
.rule(rule)
.cel(cel);

const fn priority(name: &'static str) -> Field {
    int32(name).pointer().check(Check::Min(1)).check(Check::Max(2_147_483_646))
}

/// The kind.
pub(crate) static SCHEMA: KindSchema =
    KindSchema { finish: Some(finish), ..KindSchema::new(Kind::BGPConfiguration, &SPEC) };

fn rule(_: &Context<'_>, spec: &Map<String, Value>, _: &Path<'_>, out: &mut Vec<FieldError>) {
    let field_text = |object: &'static str| {
        move |item: &Value| item.get(object).and_then(Value::as_str).map(str::to_owned)
    };
    let defined: Vec<String> = items_of(spec, "communities").filter_map(field_text("name")).collect();
    for value in items_of(spec, "communities").filter_map(field_text("value")) {
        let reason = match community::classify(&value) {
            Community::Good => continue,
            Community::TooLarge(bits) => too_large(bits),
            Community::Other => "neither of the form aa:nn nor aa:nn:mm".to_owned(),
        };
        out.push(FieldError::new("Spec.Communities[].Value", value, reason));
    }
    let advertised = items_of(spec, "prefixAdvertisements").filter_map(Value::as_object);
    for used in advertised.flat_map(|entry| items_of(entry, "communities")).filter_map(Value::as_str) {
        let reason = match community::classify(used) {
            Community::Good => continue,
            Community::TooLarge(bits) => too_large(bits),
            Community::Other if defined.iter().any(|name| name == used) => continue,
            Community::Other => "community used is invalid or not defined.".to_owned(),
        };
        out.push(FieldError::new("Spec.PrefixAdvertisement[].Communities[]", used, reason));
    }
}

fn too_large(bits: u8) -> String {
    format!("invalid community value, expected {bits} bit value")
}

fn cel(_: &Context<'_>, spec: &Map<String, Value>, path: &Path<'_>, out: &mut Vec<FieldError>) {
    let mut refuse = |reason: &str| out.push(FieldError::at(path.to_string(), reason));
    if spec.get("nodeToNodeMeshEnabled") == Some(&Value::Bool(false)) {
        if spec.contains_key("nodeMeshPassword") {
            refuse("nodeMeshPassword cannot be set when nodeToNodeMeshEnabled is false");
        }
        if !text_of(spec, "nodeMeshMaxRestartTime").is_empty() {
            refuse("nodeMeshMaxRestartTime cannot be set when nodeToNodeMeshEnabled is false");
        }
    }
    let has = |field: &str| items_of(spec, field).next().is_some();
    if has("communities") && !has("prefixAdvertisements") {
        refuse("communities are defined but not used in prefixAdvertisements");
    }
}

/// What holds for the whole cluster cannot be said for a node.
fn finish(resource: &Resource, _: Operation<'_>) -> Result<(), ValidationError> {
    if resource.name() == "default" {
        return Ok(());
    }
    let refused = [("nodeToNodeMeshEnabled", "NodeToNodeMeshEnabled"), ("asNumber", "ASNumber")]
        .into_iter()
        .filter(|(json, _)| resource.spec().get(*json).is_some())
        .map(|(json, go)| {
            let noun = if json == "asNumber" { go } else { json };
            let reason = format!("Cannot set {noun} on a non default BGP Configuration.");
            FieldError::at(format!("BGPConfiguration.Spec.{go}"), reason)
        });
    ValidationError::check(refused.collect())
}

#[cfg(test)]
mod tests;
