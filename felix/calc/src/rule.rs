//! A rule as the dataplane needs it: addresses as numbers, selectors as names of sets.

use crate::selectors::{self, Scope, SelectorError};
use model::net::Cidr;
use model::v3::{self, Action, EntityRule, Port, Protocol};
use selector::Selector;
use std::sync::Arc;

/// Name of a set: `s:` (addresses) or `n:` (addresses with protocol and port) and a hash of what it holds
/// (`felix.md` §3.5 of the contract).
pub type SetId = Arc<str>;

/// Ports of endpoints, by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NamedPort {
    /// Protocol number; those of any protocol when `None`.
    pub protocol: Option<u8>,
    /// Name.
    pub name: Arc<str>,
}

/// What a set holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetDefinition {
    /// Its name.
    pub id: SetId,
    /// Whose addresses.
    pub selector: Selector,
    /// Only their ports of this name.
    pub port: Option<NamedPort>,
}

/// One side of a rule. What is empty says nothing; of a list one entry has to match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Side {
    /// The address lies in one of these.
    pub nets: Vec<Cidr>,
    /// The address lies in none of these.
    pub not_nets: Vec<Cidr>,
    /// The address is in this set.
    pub set: Option<SetId>,
    /// The address is not in this set.
    pub not_set: Option<SetId>,
    /// The port lies in one of these ranges, or address, protocol and port are in one of `named_ports`.
    pub ports: Vec<(u16, u16)>,
    /// See `ports`.
    pub named_ports: Vec<SetId>,
    /// The port lies in none of these ranges.
    pub not_ports: Vec<(u16, u16)>,
    /// Address, protocol and port are in none of these.
    pub not_named_ports: Vec<SetId>,
}

/// Type and code of ICMP; a code needs its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Icmp {
    /// Type.
    pub kind: u8,
    /// Code; any when `None`.
    pub code: Option<u8>,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What it does.
    pub action: Action,
    /// 4 or 6; both when `None`.
    pub ip_version: Option<u8>,
    /// Protocol number.
    pub protocol: Option<u8>,
    /// Any but this protocol number.
    pub not_protocol: Option<u8>,
    /// Type and code of ICMP.
    pub icmp: Option<Icmp>,
    /// Any but this type and code of ICMP.
    pub not_icmp: Option<Icmp>,
    /// Where packets come from.
    pub source: Side,
    /// Where packets go to.
    pub destination: Side,
    /// A field that is not enforced: an Allow or Pass rule matches nothing, a Deny rule as if the field were absent.
    pub unenforced: Option<&'static str>,
    /// Its place in the list it stands in, from 0.
    pub index: usize,
    /// What its author wrote about it (`metadata.annotations`), by name.
    pub annotations: Box<[(String, String)]>,
}

/// A field of a rule that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// A selector.
    #[error("{side}.{source}")]
    Selector {
        /// `source` or `destination`.
        side: &'static str,
        /// What is wrong.
        source: SelectorError,
    },
    /// Anything else.
    #[error("{field}: {value:?} {reason}")]
    Field {
        /// Which.
        field: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// A rule and the sets it names, each once.
///
/// # Errors
/// When a field cannot be read; the policy counts as absent then.
pub fn compile(
    rule: &v3::Rule,
    index: usize,
    scope: Scope<'_>,
) -> Result<(Rule, Vec<SetDefinition>), RuleError> {
    means_something(rule)?;
    let mut sets = Vec::new();
    let protocol = number("protocol", rule.protocol.as_ref())?;
    let mut side = |name, side| compile_side(name, side, scope, protocol, &mut sets);
    let source = side("source", &rule.source)?;
    let destination = side("destination", &rule.destination)?;
    let has_services = rule.source.services.is_some() || rule.destination.services.is_some();
    let compiled = Rule {
        action: rule.action,
        ip_version: rule.ip_version,
        protocol,
        not_protocol: number("notProtocol", rule.not_protocol.as_ref())?,
        icmp: icmp(rule.icmp),
        not_icmp: icmp(rule.not_icmp),
        source,
        destination,
        unenforced: match (&rule.http, has_services) {
            (Some(_), _) => Some("http"),
            (None, true) => Some("services"),
            (None, false) => None,
        },
        index,
        annotations: annotations(rule),
    };
    sets.sort_by(|a: &SetDefinition, b| a.id.cmp(&b.id));
    sets.dedup_by(|a, b| a.id == b.id);
    Ok((compiled, sets))
}

/// Refuses what upstream's validation refuses because it could not be carried out (`resources.md` §0.1, §1.1 of the
/// contract).
fn means_something(rule: &v3::Rule) -> Result<(), RuleError> {
    let refuse =
        |field: &str, value: String, reason| Err(RuleError::Field { field: field.to_owned(), value, reason });
    if rule.action == Action::Unknown {
        return refuse("action", String::new(), "is no action; one of Allow, Deny, Log and Pass is expected");
    }
    if let Some(version) = rule.ip_version.filter(|version| !matches!(version, 4 | 6)) {
        return refuse("ipVersion", version.to_string(), "is no version; 4 or 6 is expected");
    }
    for (field, icmp) in [("icmp", rule.icmp), ("notICMP", rule.not_icmp)] {
        if let Some(v3::IcmpFields { icmp_type: None, code: Some(code) }) = icmp {
            return refuse(&format!("{field}.code"), code.to_string(), "needs a type beside it");
        }
    }
    let with_ports = rule.protocol.as_ref().map(Protocol::has_ports);
    for (side, entity) in [("source", &rule.source), ("destination", &rule.destination)] {
        for (field, ports) in [("ports", &entity.ports), ("notPorts", &entity.not_ports)] {
            for port in ports {
                let reason = match (port, with_ports) {
                    (Port::Range(0, _), _) => "is no port; one from 1 to 65535 is expected",
                    (_, Some(true)) | (Port::Named(_), None) => continue,
                    _ => "needs protocol TCP, UDP or SCTP",
                };
                return refuse(&format!("{side}.{field}"), port.to_string(), reason);
            }
        }
    }
    Ok(())
}

fn annotations(rule: &v3::Rule) -> Box<[(String, String)]> {
    let all = rule.metadata.iter().flat_map(|metadata| &metadata.annotations);
    all.map(|(name, text)| (name.clone(), text.clone())).collect()
}

fn icmp(fields: Option<v3::IcmpFields>) -> Option<Icmp> {
    let fields = fields?;
    Some(Icmp { kind: fields.icmp_type?, code: fields.code })
}

fn number(field: &str, protocol: Option<&Protocol>) -> Result<Option<u8>, RuleError> {
    let Some(protocol) = protocol else { return Ok(None) };
    match protocol.number() {
        Some(number @ 1..) => Ok(Some(number)),
        _ => Err(RuleError::Field {
            field: field.to_owned(),
            value: protocol.to_string(),
            reason: "is no protocol; a name such as TCP or a number from 1 to 255 is expected",
        }),
    }
}

fn compile_side(
    name: &'static str,
    side: &EntityRule,
    scope: Scope<'_>,
    protocol: Option<u8>,
    sets: &mut Vec<SetDefinition>,
) -> Result<Side, RuleError> {
    let selected =
        selectors::of_side(scope, side).map_err(|source| RuleError::Selector { side: name, source })?;
    let mut set_of = |selector: &Selector| {
        let id: SetId = selector.unique_id().into();
        sets.push(SetDefinition { id: id.clone(), selector: selector.clone(), port: None });
        id
    };
    let (ports, names) = split(&side.ports);
    let (not_ports, not_names) = split(&side.not_ports);
    // ports of the selected endpoints are in the named sets already
    let only_named = ports.is_empty() && !names.is_empty();
    let set = selected.positive.as_ref().filter(|_| !only_named).map(&mut set_of);
    let not_set = selected.negative.as_ref().map(&mut set_of);
    let everything = Selector::parse("").map_err(|source| RuleError::Selector {
        side: name,
        source: SelectorError { field: "selector", source },
    })?;
    let of_ports = selected.positive.as_ref().unwrap_or(&everything);
    let mut named = |names: Vec<String>| -> Vec<SetId> {
        let one = |port: String| {
            let port = NamedPort { protocol, name: port.into() };
            let id: SetId = named_port_id(of_ports, &port).into();
            sets.push(SetDefinition { id: id.clone(), selector: of_ports.clone(), port: Some(port) });
            id
        };
        names.into_iter().map(one).collect()
    };
    let named_ports = named(names);
    let not_named_ports = named(not_names);
    let nets = |field: &str, nets: &[String]| -> Result<Vec<Cidr>, RuleError> {
        nets.iter().map(|text| net(&format!("{name}.{field}"), text)).collect()
    };
    Ok(Side {
        nets: nets("nets", &side.nets)?,
        not_nets: nets("notNets", &side.not_nets)?,
        set,
        not_set,
        ports,
        named_ports,
        not_ports,
        not_named_ports,
    })
}

fn net(field: &str, text: &str) -> Result<Cidr, RuleError> {
    Cidr::parse_masked(text).or_else(|_| text.parse().map(Cidr::host)).map_err(|_| RuleError::Field {
        field: field.to_owned(),
        value: text.to_owned(),
        reason: "is no network; one such as 10.0.0.0/8 is expected",
    })
}

fn split(ports: &[Port]) -> (Vec<(u16, u16)>, Vec<String>) {
    let (mut ranges, mut names) = (Vec::new(), Vec::new());
    for port in ports {
        match port {
            Port::Range(first, last) => ranges.push((*first, *last)),
            Port::Named(name) => names.push(name.clone()),
        }
    }
    (ranges, names)
}

/// `felix.md` §3.5 of the contract: the hash of `<selector's id>,<protocol>,<port's name>`, where the protocol is `any`
/// for a rule without one (so the recordings).
fn named_port_id(selector: &Selector, port: &NamedPort) -> String {
    let protocol = match port.protocol {
        None => "any".to_owned(),
        Some(6) => "tcp".to_owned(),
        Some(17) => "udp".to_owned(),
        Some(132) => "sctp".to_owned(),
        Some(number) => number.to_string(),
    };
    selector::unique_id("n", &format!("{},{protocol},{}", selector.unique_id(), port.name))
}

#[cfg(test)]
mod tests;
