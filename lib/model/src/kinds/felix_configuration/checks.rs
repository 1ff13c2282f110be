//! What no table can say about a FelixConfiguration. Source: `resources.md` §3.1 of the contract.

use crate::error::FieldError;
use crate::kinds::{MOST_COMPLAINTS, items_of, text_of};
use crate::net::Family;
use crate::net::family_of;
use crate::schema::text::{ip_or_cidr, is_dns_label_text, is_ip, is_ip_of};
use crate::schema::{Context, Path, go_text};
use serde_json::{Map, Value};

/// Most ranges of node ports: iptables' multiport match takes 15 numbers, a range needs two.
const MOST_NODE_PORT_RANGES: usize = 7;
/// Longest region, so that its namespace is still a DNS label.
const LONGEST_REGION: usize = 63 - "openstack-region-".len();
/// Most routing tables in all ranges together.
const MOST_TABLES: i128 = 0xffff;

/// Calico's checks of the spec.
pub(super) fn rule(_: &Context<'_>, spec: &Map<String, Value>, _: &Path<'_>, out: &mut Vec<FieldError>) {
    node_ports(spec, out);
    for cidr in items_of(spec, "externalNodesList").filter_map(Value::as_str) {
        let reason = match ip_or_cidr(cidr) {
            None => "has invalid CIDR(s)",
            Some((addr, _)) if family_of(addr) == Family::V6 => "has invalid IPv6 CIDR",
            Some(_) => continue,
        };
        out.push(FieldError::new("ExternalNodesCIDRList", cidr, reason));
    }
    let region = text_of(spec, "openstackRegion");
    if region.len() > LONGEST_REGION {
        out.push(FieldError::new("OpenstackRegion", region, "is too long"));
    } else if !region.is_empty() && !is_dns_label_text(region) {
        out.push(FieldError::new("OpenstackRegion", region, "must be a valid DNS label"));
    }
    for (field, name) in [
        ("natOutgoingAddress", "NATOutgoingAddress"),
        ("deviceRouteSourceAddress", "DeviceRouteSourceAddress"),
        ("deviceRouteSourceAddressIPv6", "DeviceRouteSourceAddressIPv6"),
    ] {
        let address = text_of(spec, field);
        if !address.is_empty() && !is_ip(address) {
            out.push(FieldError::new(name, address, "is not a valid IP address"));
        }
    }
    let tables: i128 = items_of(spec, "routeTableRanges")
        .map(|range| i128::from(number(range, "max")) - i128::from(number(range, "min")) + 1)
        .sum();
    if tables > MOST_TABLES {
        // Go prints a pointer here
        let ranges = format!("&{}", shown(spec, "routeTableRanges"));
        out.push(FieldError::new("RouteTableRanges", ranges, "targets too many tables"));
    }
}

fn node_ports(spec: &Map<String, Value>, out: &mut Vec<FieldError>) {
    let mut refuse = |reason| {
        out.push(FieldError::new("KubeNodePortRanges", shown(spec, "kubeNodePortRanges"), reason));
    };
    if items_of(spec, "kubeNodePortRanges").count() > MOST_NODE_PORT_RANGES {
        refuse("node port ranges list is too long (max 7)");
    }
    let named = |port: &Value| port.as_str().is_some_and(|text| !text.contains(':'));
    for _ in items_of(spec, "kubeNodePortRanges").filter(|port| named(port)).take(MOST_COMPLAINTS) {
        refuse("node port ranges should not contain named ports");
    }
}

fn shown(spec: &Map<String, Value>, field: &str) -> String {
    spec.get(field).map(go_text).unwrap_or_default()
}

fn number(object: &Value, field: &str) -> i64 {
    object.get(field).and_then(Value::as_i64).unwrap_or_default()
}

/// The CRD's rules of the spec.
pub(super) fn cel(_: &Context<'_>, spec: &Map<String, Value>, path: &Path<'_>, out: &mut Vec<FieldError>) {
    let mut refuse = |reason: String| out.push(FieldError::at(path.to_string(), reason));
    if spec.contains_key("routeTableRange") && spec.contains_key("routeTableRanges") {
        refuse("routeTableRange and routeTableRanges cannot both be set".to_owned());
    }
    for (field, family) in [
        ("natOutgoingAddress", Family::V4),
        ("deviceRouteSourceAddress", Family::V4),
        ("deviceRouteSourceAddressIPv6", Family::V6),
    ] {
        let address = text_of(spec, field);
        if !address.is_empty() && !is_ip_of(address, family) {
            refuse(format!("{field} must be a valid IPv{} address", family.number()));
        }
    }
}

/// The CRD's rule of the whole: only configurations that are neither the cluster's nor a node's select nodes.
pub(super) fn whole(context: &Context<'_>, _: &Map<String, Value>, _: &Path<'_>, out: &mut Vec<FieldError>) {
    let name = context.resource.name();
    if (name == "default" || name.starts_with("node."))
        && context.resource.spec().get("nodeSelector").is_some()
    {
        out.push(FieldError::at(
            "FelixConfiguration",
            "nodeSelector must not be set on the 'default' or per-node ('node.*') FelixConfiguration",
        ));
    }
}

/// Calico's checks of one entry of `healthTimeoutOverrides`.
pub(super) fn health_timeout(
    _: &Context<'_>,
    entry: &Map<String, Value>,
    _: &Path<'_>,
    out: &mut Vec<FieldError>,
) {
    let shown = || go_text(&Value::Object(entry.clone()));
    let name = text_of(entry, "name");
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b' ' | b'-'))
    {
        let reason = "name should match regex ^[a-zA-Z0-9_ -]+$";
        out.push(FieldError::new("HealthTimeoutOverride.Name", shown(), reason));
    }
    if text_of(entry, "timeout").starts_with('-') {
        out.push(FieldError::new("HealthTimeoutOverride.Timeout", shown(), "Timeout should not be negative"));
    }
}

/// Bounds of a range of routing tables.
struct Range {
    min: i64,
    max: i64,
    shown: String,
}

impl Range {
    fn of(range: &Map<String, Value>) -> Range {
        let bound = |field: &str| range.get(field).and_then(Value::as_i64).unwrap_or_default();
        let (min, max) = (bound("min"), bound("max"));
        Range { min, max, shown: format!("{{{min} {max}}}") }
    }

    /// What the deprecated single range must be.
    fn is_classic(&self) -> bool {
        self.min >= 1 && self.max >= self.min && self.max <= 250
    }
}

const CLASSIC: &str = "must be a range of route table indices within 1..250";

/// Calico's check of the deprecated single range.
pub(super) fn table_range(
    _: &Context<'_>,
    range: &Map<String, Value>,
    _: &Path<'_>,
    out: &mut Vec<FieldError>,
) {
    let range = Range::of(range);
    if !range.is_classic() {
        out.push(FieldError::new("RouteTableRange", range.shown, CLASSIC));
    }
}

/// The CRD's rule of the deprecated single range.
pub(super) fn table_range_cel(
    _: &Context<'_>,
    range: &Map<String, Value>,
    path: &Path<'_>,
    out: &mut Vec<FieldError>,
) {
    if !Range::of(range).is_classic() {
        out.push(FieldError::at(path.to_string(), CLASSIC));
    }
}

/// Calico's checks of one of several ranges.
pub(super) fn table_id_range(
    _: &Context<'_>,
    range: &Map<String, Value>,
    _: &Path<'_>,
    out: &mut Vec<FieldError>,
) {
    let range = Range::of(range);
    let mut refuse = |reason| out.push(FieldError::new("RouteTableRange", range.shown.as_str(), reason));
    if range.min > range.max {
        refuse("min value cannot be greater than max value");
    }
    if range.min <= 0 {
        refuse("cannot target indices < 1");
    }
    if range.max > i64::from(u32::MAX) {
        refuse("max index too high");
    }
}

/// The CRD's rules of one of several ranges.
pub(super) fn table_id_range_cel(
    _: &Context<'_>,
    range: &Map<String, Value>,
    path: &Path<'_>,
    out: &mut Vec<FieldError>,
) {
    let range = Range::of(range);
    let mut refuse = |reason| out.push(FieldError::at(path.to_string(), reason));
    if range.min < 1 {
        refuse("min must be >= 1");
    }
    if range.min > range.max {
        refuse("min must not be greater than max");
    }
}
