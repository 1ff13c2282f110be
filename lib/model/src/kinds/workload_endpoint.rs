//! WorkloadEndpoint. Not a CRD kind: only struct validators apply. Source: `resources.md` §1.8, `datamodel.md` §3.1 of
//! the contract.

use super::{items_of, supports_ports, text_of};
use crate::admission::Operation;
use crate::error::{FieldError, ValidationError};
use crate::kind::Kind;
use crate::names::{WepName, WepNameError};
use crate::net::Cidr;
use crate::resource::Resource;
use crate::schema::field::{TEXT, int, list, object, text, uint16};
use crate::schema::text::ip_or_cidr;
use crate::schema::{Context, Field, KindSchema, Object, Path, Tag, Type, go_text, tags};
use crate::v3::WorkloadEndpointSpec;
use serde_json::{Map, Value};
use std::net::IpAddr;

static PORT: Object = Object::new(&[
    text("name").always().tag(tags::PORT_NAME),
    Field::new("protocol", Type::Protocol).always(),
    uint16("port").always().tag(PORT_NUMBER.also_empty()),
    uint16("hostPort").always(),
    text("hostIP").go("HostIP").always().tag(tags::IP),
])
.rule(port_rule);

const PORT_NUMBER: Tag = Tag::new("gt", |value| value.as_i64().is_some_and(|number| number > 0));

static NAT: Object = Object::new(&[
    text("internalIP").go("InternalIP").always().tag(tags::IP.also_empty()),
    text("externalIP").go("ExternalIP").always().tag(tags::IP.also_empty()),
])
.rule(nat_rule);

/// A limit with its bounds.
macro_rules! limit {
    ($name:literal, $min:literal, $max:literal) => {
        int($name)
            .tag(Tag::new("gte", |value| value.as_i64().is_some_and(|number| number >= $min)))
            .tag(Tag::new("lte", |value| value.as_i64().is_some_and(|number| number <= $max)))
    };
}

// bit/s, bits, bit/s, bytes, packets/s, packets, connections
static QOS: Object = Object::new(&[
    limit!("ingressBandwidth", 1000, 1_000_000_000_000_000),
    limit!("egressBandwidth", 1000, 1_000_000_000_000_000),
    limit!("ingressBurst", 1000, 34_359_738_360),
    limit!("egressBurst", 1000, 34_359_738_360),
    limit!("ingressPeakrate", 1010, 1_010_000_000_000_000),
    limit!("egressPeakrate", 1010, 1_010_000_000_000_000),
    limit!("ingressMinburst", 1000, 100_000_000),
    limit!("egressMinburst", 1000, 100_000_000),
    limit!("ingressPacketRate", 1, 10_000),
    limit!("egressPacketRate", 1, 10_000),
    limit!("ingressPacketBurst", 1, 10_000),
    limit!("egressPacketBurst", 1, 10_000),
    limit!("ingressMaxConnections", 1, 4_294_967_295),
    limit!("egressMaxConnections", 1, 4_294_967_295),
    Field::new("dscp", Type::Dscp).go("DSCP").pointer().tag(DSCP.also_empty()),
])
.rule(qos_rule);

/// Names of DSCP values besides the numbers 0 to 63 (RFC 2474, 2597, 3246, 5865, 8622).
const DSCP_NAMES: &[&str] = &[
    "DF", "EF", "LE", "VA", "AF11", "AF12", "AF13", "AF21", "AF22", "AF23", "AF31", "AF32", "AF33", "AF41",
    "AF42", "AF43", "CS0", "CS1", "CS2", "CS3", "CS4", "CS5", "CS6", "CS7",
];

const DSCP: Tag = Tag::new("dscp", |value| match value {
    Value::String(name) => DSCP_NAMES.contains(&name.as_str()),
    number => number.as_i64().is_some_and(|number| (0..64).contains(&number)),
});

const NATS: &Field = &Field::item(Type::Object(&NAT));
const NETWORK: &Field = &TEXT.tag(tags::CIDR);
const PROFILE: &Field = &TEXT.tag(tags::NAME);
const PORTS: &Field = &Field::item(Type::Object(&PORT));

static SPEC: Object = Object::new(&[
    text("orchestrator").tag(tags::NAME),
    text("workload").tag(tags::NAME),
    text("node").tag(tags::NAME),
    text("containerID").tag(tags::CONTAINER_ID),
    text("pod").tag(tags::NAME),
    text("endpoint").tag(tags::NAME),
    text("serviceAccountName").tag(tags::NAME),
    list("ipNetworks", NETWORK).go("IPNetworks"),
    list("ipNATs", NATS).go("IPNATs"),
    text("ipv4Gateway").go("IPv4Gateway").tag(tags::IPV4),
    text("ipv6Gateway").go("IPv6Gateway").tag(tags::IPV6),
    list("profiles", PROFILE),
    text("interfaceName").tag(tags::INTERFACE.also_empty()),
    text("mac").go("MAC").tag(tags::MAC),
    list("ports", PORTS),
    list("allowSpoofedSourcePrefixes", NETWORK),
    object("qosControls", &QOS).go("QoSControls").pointer(),
])
.rule(rule);

/// The kind.
pub(crate) static SCHEMA: KindSchema =
    KindSchema { prepare: Some(prepare), ..KindSchema::without_crd(Kind::WorkloadEndpoint, &SPEC) };

fn port_rule(_: &Context<'_>, port: &Map<String, Value>, _: &Path<'_>, out: &mut Vec<FieldError>) {
    let protocol = port.get("protocol").unwrap_or(&Value::Null);
    if !supports_ports(protocol) {
        let reason = "WorkloadEndpointPort protocol does not support ports.";
        out.push(FieldError::new("WorkloadEndpointPort.Protocol", go_text(protocol), reason));
    }
    let host_port = port.get("hostPort").and_then(Value::as_i64).unwrap_or_default();
    if text_of(port, "name").is_empty() && host_port == 0 {
        let reason = "a port without hostPort needs a name";
        out.push(FieldError::new("WorkloadEndpointPort.Name", "", reason));
    }
}

fn nat_rule(_: &Context<'_>, nat: &Map<String, Value>, _: &Path<'_>, out: &mut Vec<FieldError>) {
    let address = |field: &str| text_of(nat, field).parse::<IpAddr>().ok();
    if let (Some(internal), Some(external)) = (address("internalIP"), address("externalIP"))
        && internal.is_ipv4() != external.is_ipv4()
    {
        let reason = "internalIP and externalIP are of different families";
        out.push(FieldError::new("IPNAT.ExternalIP", external.to_string(), reason));
    }
}

fn qos_rule(_: &Context<'_>, qos: &Map<String, Value>, _: &Path<'_>, out: &mut Vec<FieldError>) {
    let number = |field: String| qos.get(&field).and_then(Value::as_i64).unwrap_or_default();
    for (direction, go) in [("ingress", "Ingress"), ("egress", "Egress")] {
        let bandwidth = number(format!("{direction}Bandwidth"));
        let peakrate = number(format!("{direction}Peakrate"));
        if peakrate != 0 && peakrate <= bandwidth {
            let reason = format!("must be greater than the bandwidth, {bandwidth}");
            out.push(FieldError::new(format!("QoSControls.{go}Peakrate"), peakrate.to_string(), reason));
        }
    }
}

fn rule(_: &Context<'_>, spec: &Map<String, Value>, _: &Path<'_>, out: &mut Vec<FieldError>) {
    let value_of = |field: &str| go_text(spec.get(field).unwrap_or(&Value::Null));
    let networks: Vec<Cidr> =
        items_of(spec, "ipNetworks").filter_map(|item| Some(ip_or_cidr(item.as_str()?)?.1)).collect();
    if networks.iter().any(|net| net.size() > 1) {
        let reason = "IP network contains multiple addresses";
        out.push(FieldError::new("IPNetworks", value_of("ipNetworks"), reason));
    }
    let outside = |nat: &Value| {
        let internal =
            nat.get("internalIP").and_then(Value::as_str).and_then(|text| text.parse::<IpAddr>().ok());
        internal.is_some_and(|addr| !networks.iter().any(|net| net.contains(addr)))
    };
    if items_of(spec, "ipNATs").any(outside) {
        out.push(FieldError::new("IPNATs", value_of("ipNATs"), "NAT is not in the endpoint networks"));
    }
}

/// The name follows from the spec, and so do two labels; both before validation, as in Calico's client.
fn prepare(resource: &mut Resource, _: Operation<'_>) -> Result<(), ValidationError> {
    let spec: WorkloadEndpointSpec =
        resource.typed_spec().map_err(|error| ValidationError::one(FieldError::at("spec", error.reason)))?;
    let expected = name_of(&spec)?;
    if resource.name().is_empty() {
        resource.set_meta_text("name", &expected);
    } else if resource.name() != expected {
        let reason = format!(
            "the WorkloadEndpoint name does not match the primary identifiers assigned in the Spec: expected name {expected}"
        );
        return Err(ValidationError::one(FieldError::new("Name", resource.name(), reason)));
    }
    let namespace = resource.namespace().to_owned();
    resource.set_meta_entry("labels", "projectcalico.org/namespace", &namespace);
    resource.set_meta_entry("labels", "projectcalico.org/orchestrator", &spec.orchestrator);
    Ok(())
}

/// The name Calico computes; the error names the first part that is missing.
fn name_of(spec: &WorkloadEndpointSpec) -> Result<String, ValidationError> {
    let (field, workload) = match spec.orchestrator.as_str() {
        "k8s" => ("pod", spec.pod.as_str()),
        "cni" => ("containerID", spec.container_id.as_str()),
        "libnetwork" => ("workload", "libnetwork"),
        _ => ("workload", spec.workload.as_str()),
    };
    let named = |part: &'static str| if part == "workload" { field } else { part };
    let name = WepName::new(&spec.node, &spec.orchestrator, workload, &spec.endpoint);
    name.compose().map_err(|error| {
        ValidationError::one(match error {
            WepNameError::Empty(part) => FieldError::at(named(part), "field should be assigned"),
            WepNameError::Dash { part, value } => {
                FieldError::new(named(part), value, "must not begin or end with '-'")
            }
            WepNameError::Form(_) => FieldError::at("Name", error.to_string()),
        })
    })
}

#[cfg(test)]
mod tests;
