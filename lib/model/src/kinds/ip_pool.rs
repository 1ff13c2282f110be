//! IPPool. Source: `resources.md` §1.11 of the contract.

use super::{is_set, items_of, text_of};
use crate::admission::Operation;
use crate::error::{FieldError, ValidationError};
use crate::kind::Kind;
use crate::net::{Cidr, Family, parse_parts};
use crate::resource::Resource;
use crate::schema::field::{Default, TEXT, flag, int, list, text};
use crate::schema::text::{ip_or_cidr, is_written_cidr};
use crate::schema::{Check, Context, Field, KindSchema, Object, Path, Type, go_text, tags};
use crate::v3::{DEFAULT_BLOCK_V4, DEFAULT_BLOCK_V6};
use selector::Selector;
use serde_json::{Map, Value};

const USES: &[&str] = &["Workload", "Tunnel", "LoadBalancer"];
const USE: &Field = &TEXT.check(Check::Enum(USES));

static SPEC: Object = Object::new(&[
    text("cidr").go("CIDR").always().tag(tags::NET).check(Check::Format("cidr", is_written_cidr)),
    mode("vxlanMode"),
    mode("ipipMode"),
    flag("natOutgoing"),
    flag("disabled"),
    flag("disableBGPExport"),
    int("blockSize"),
    text("nodeSelector").tag(tags::SELECTOR).check(Check::MaxLength(1024)).default(Default::Text("all()")),
    text("namespaceSelector").tag(tags::SELECTOR).check(Check::MaxLength(1024)),
    list("allowedUses", USE).default(Default::Texts(&["Workload", "Tunnel"])),
    text("assignmentMode").check(Check::Enum(&["Automatic", "Manual"])).default(Default::Text("Automatic")),
])
.rule(rule)
.cel(cel);

/// The kind. Its status is a controller's in the Kubernetes datastore; here it is kept as given.
pub(crate) static SCHEMA: KindSchema = KindSchema {
    status: Some(Field::new("status", Type::Any)),
    prepare: Some(prepare),
    ..KindSchema::new(Kind::IPPool, &SPEC)
};

const fn mode(name: &'static str) -> Field {
    text(name).check(Check::Enum(&["Never", "Always", "CrossSubnet"])).default(Default::Text("Never"))
}

fn rule(_: &Context<'_>, spec: &Map<String, Value>, _: &Path<'_>, out: &mut Vec<FieldError>) {
    let cidr = text_of(spec, "cidr");
    let reason = match ip_or_cidr(cidr) {
        None if cidr.is_empty() => Some("IPPool CIDR must be specified"),
        None => Some("IPPool CIDR must be a valid subnet"),
        Some((addr, net)) if addr != net.addr() => Some("IP pool CIDR is not strictly masked"),
        Some(_) => None,
    };
    out.extend(reason.map(|reason| FieldError::new("IPpool.CIDR", cidr, reason)));
    for unknown in uses(spec).filter(|name| !USES.contains(name)) {
        out.push(FieldError::new("IPpool.AllowedUses", uses_text(spec), format!("unknown use: {unknown}")));
    }
}

fn cel(_: &Context<'_>, spec: &Map<String, Value>, path: &Path<'_>, out: &mut Vec<FieldError>) {
    let mut refuse = |reason: String| out.push(FieldError::at(path.to_string(), reason));
    encapsulation(spec, &mut refuse);
    prefix(spec, &mut refuse);
    allowed_uses(spec, &mut refuse);
    for field in ["nodeSelector", "namespaceSelector"] {
        if Selector::parse(text_of(spec, field)).is_ok_and(|selector| selector.mentions_global()) {
            refuse(format!("global() selector is not valid for IPPool {field}"));
        }
    }
}

fn is_encapsulated(spec: &Map<String, Value>, mode: &str) -> bool {
    !matches!(text_of(spec, mode), "" | "Never")
}

fn encapsulation(spec: &Map<String, Value>, refuse: &mut dyn FnMut(String)) {
    if is_encapsulated(spec, "ipipMode") && is_encapsulated(spec, "vxlanMode") {
        refuse("ipipMode and vxlanMode cannot both be enabled".into());
    }
    if is_encapsulated(spec, "ipipMode") && text_of(spec, "cidr").contains(':') {
        refuse("IPIP is not supported on IPv6 pools".into());
    }
}

fn prefix(spec: &Map<String, Value>, refuse: &mut dyn FnMut(String)) {
    let cidr = text_of(spec, "cidr");
    let v6 = cidr.contains(':');
    let parsed = parse_parts(cidr);
    let given_size = spec.get("blockSize").and_then(Value::as_i64);
    let block = given_size.unwrap_or(if v6 { DEFAULT_BLOCK_V6 } else { DEFAULT_BLOCK_V4 }.into());
    let in_use = !is_set(spec, "disabled");

    // a rule that needs the prefix fails with the parser's words when there is none
    let mut with_prefix = |message: &str, broken: &dyn Fn(std::net::IpAddr, Cidr) -> bool| match &parsed {
        Ok((addr, net)) if broken(*addr, *net) => refuse(message.to_owned()),
        Ok(_) => {}
        Err(_) => refuse(format!("{} evaluating rule: {message}", parse_trouble(cidr))),
    };
    with_prefix("IPPool CIDR must be strictly masked", &|addr, net| addr != net.addr());
    with_prefix("IPPool CIDR overlaps with IPv4 link local range 169.254.0.0/16", &|_, net| {
        overlaps(net, "169.254.0.0/16")
    });
    with_prefix("IPPool CIDR overlaps with IPv6 link local range fe80::/10", &|_, net| {
        overlaps(net, "fe80::/10")
    });
    let sizes = if v6 { 116..=128 } else { 20..=32 };
    if given_size.is_some_and(|size| !sizes.contains(&size)) {
        with_prefix(
            "blockSize must be between 20 and 32 for IPv4 pools, and between 116 and 128 for IPv6 pools",
            &|_, _| true,
        );
    }
    if in_use {
        with_prefix(
            "IP pool size is too small for use with Calico IPAM. It must be equal to or greater than the block size.",
            &|_, net| i64::from(net.prefix()) > block,
        );
    }
}

fn allowed_uses(spec: &Map<String, Value>, refuse: &mut dyn FnMut(String)) {
    let is_for = |name: &str| uses(spec).any(|used| used == name);
    if is_for("LoadBalancer") {
        if is_for("Workload") || is_for("Tunnel") {
            refuse("LoadBalancer cannot be combined with Workload or Tunnel allowed uses".into());
        }
        if is_set(spec, "disableBGPExport") {
            refuse("LoadBalancer IP pools cannot disable BGP export".into());
        }
        if !matches!(text_of(spec, "nodeSelector"), "" | "all()") {
            refuse("IP Pool with AllowedUse LoadBalancer must have nodeSelector set to all()".into());
        }
        if is_encapsulated(spec, "ipipMode") || is_encapsulated(spec, "vxlanMode") {
            refuse(
                "IP Pool with AllowedUse LoadBalancer must have ipipMode and vxlanMode set to Never".into(),
            );
        }
    }
    if is_for("Tunnel") && !text_of(spec, "namespaceSelector").is_empty() {
        refuse("IP Pool with AllowedUse Tunnel cannot have namespaceSelector".into());
    }
}

/// What Calico's client does before it validates: canonical CIDR, block size by family, what cannot change.
fn prepare(resource: &mut Resource, operation: Operation<'_>) -> Result<(), ValidationError> {
    let cidr = text_of(resource.spec_mut(), "cidr").to_owned();
    if cidr.is_empty() {
        return Err(ValidationError::one(FieldError::at(
            "IPPool.Spec.CIDR",
            "IPPool CIDR must be specified",
        )));
    }
    let Ok((addr, net)) = parse_parts(&cidr) else {
        let field = FieldError::new("IPPool.Spec.CIDR", cidr, "IPPool CIDR must be a valid subnet");
        return Err(ValidationError::one(field));
    };
    let spec = resource.spec_mut();
    spec.insert("cidr".into(), net.to_string().into());
    let size = block_size(spec, net);
    spec.insert("blockSize".into(), size.into());

    let mut refused = Vec::new();
    if let Some(old) = operation.old().and_then(|old| old.spec().as_object()) {
        unchangeable(old, spec, net, size, &mut refused);
    }
    if addr != net.addr() {
        let reason = "IPPool CIDR is not strictly masked";
        refused.push(FieldError::new("IPPool.Spec.CIDR", net.to_string(), reason));
    }
    ValidationError::check(refused)
}

fn unchangeable(
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    net: Cidr,
    size: i64,
    refused: &mut Vec<FieldError>,
) {
    if Cidr::parse_masked(text_of(old, "cidr")).is_ok_and(|old_net| old_net != net) {
        refused.push(FieldError::new("IPPool.Spec.CIDR", net.to_string(), "IPPool CIDR cannot be modified"));
    }
    if block_size(old, net) != size {
        let reason = "IPPool BlockSize cannot be modified";
        refused.push(FieldError::new("IPPool.Spec.BlockSize", size.to_string(), reason));
    }
    let for_services = |spec| uses(spec).any(|used| used == "LoadBalancer");
    if for_services(old) && !for_services(new) {
        let reason = "IPPool AllowedUses cannot be changed from LoadBalancer";
        refused.push(FieldError::new("IPPool.Spec.AllowedUses", uses_text(new), reason));
    }
}

fn block_size(spec: &Map<String, Value>, net: Cidr) -> i64 {
    let default = match net.family() {
        Family::V4 => DEFAULT_BLOCK_V4,
        Family::V6 => DEFAULT_BLOCK_V6,
    };
    spec.get("blockSize").and_then(Value::as_i64).filter(|size| *size != 0).unwrap_or(default.into())
}

fn uses(spec: &Map<String, Value>) -> impl Iterator<Item = &str> {
    items_of(spec, "allowedUses").filter_map(Value::as_str)
}

fn uses_text(spec: &Map<String, Value>) -> String {
    go_text(spec.get("allowedUses").unwrap_or(&Value::Null))
}

fn overlaps(net: Cidr, other: &str) -> bool {
    other.parse().is_ok_and(|other: Cidr| net.overlaps(&other))
}

/// What Calico's CEL library says about a text that is no prefix.
fn parse_trouble(cidr: &str) -> String {
    let why = match cidr.rsplit_once('/') {
        None => "no '/'".to_owned(),
        Some((addr, _)) if addr.parse::<std::net::IpAddr>().is_err() => {
            format!("ParseAddr({addr:?}): unable to parse IP")
        }
        Some((_, length)) if !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()) => {
            "prefix length out of range".to_owned()
        }
        Some((_, length)) => format!("bad bits after slash: {length:?}"),
    };
    let conversion = "network address parse error during conversion from string: ";
    format!("{conversion}{conversion}netip.ParsePrefix({cidr:?}): {why}")
}

#[cfg(test)]
mod tests;
