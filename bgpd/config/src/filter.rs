//! BGPFilters as rules. Source: `bgp.md` §10, `resources.md` §1.17 of the contract.

use crate::configuration::MAX_PRIORITY;
use crate::reading::{Absent, Reading, community, prefix};
use bgp_rib::policy::{Condition, Operation, PrefixMatch, Rule, Verdict};
use bgp_wire::{Family, PerFamily};
use model::Resource;
use model::v3::{BGPFilterSpec, BgpFilterRule, BgpOperation, PrefixLength};

/// A filter's rules by direction and family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FilterFacts {
    pub(crate) import: PerFamily<Vec<Rule>>,
    pub(crate) export: PerFamily<Vec<Rule>>,
}

impl FilterFacts {
    /// One wrong rule makes the whole filter absent: half a filter could let out what it was to hold back.
    pub(crate) fn read(resource: &Resource, reading: &mut Reading) -> Result<Self, Absent> {
        let spec: BGPFilterSpec = reading.spec(resource)?;
        let mut list = |field: &str, family: Family, rules: &[BgpFilterRule]| {
            let compiled: Vec<_> = rules
                .iter()
                .enumerate()
                .map(|(index, given)| {
                    rule(reading, &format!("spec.{field}[{index}]"), field, index, family, given)
                })
                .collect();
            // every rule is looked at before the first wrong one makes the filter absent, so that all are reported
            compiled.into_iter().collect::<Result<Vec<Rule>, Absent>>()
        };
        let (import_v4, import_v6) = (
            list("importV4", Family::Ipv4Unicast, &spec.import_v4),
            list("importV6", Family::Ipv6Unicast, &spec.import_v6),
        );
        let (export_v4, export_v6) = (
            list("exportV4", Family::Ipv4Unicast, &spec.export_v4),
            list("exportV6", Family::Ipv6Unicast, &spec.export_v6),
        );
        Ok(FilterFacts {
            import: PerFamily { ipv4: import_v4?, ipv6: import_v6? },
            export: PerFamily { ipv4: export_v4?, ipv6: export_v6? },
        })
    }
}

fn rule(
    reading: &mut Reading,
    path: &str,
    list: &str,
    index: usize,
    family: Family,
    given: &BgpFilterRule,
) -> Result<Rule, Absent> {
    let name = format!("{}, {list} rule {}", reading.name(), index + 1).into();
    let mut conditions = Vec::new();
    if !given.peer_type.is_empty() {
        conditions.push(match given.peer_type.as_str() {
            "eBGP" => Condition::External(true),
            "iBGP" => Condition::External(false),
            other => return reading.refuse(&format!("{path}.peerType"), other, "is neither eBGP nor iBGP"),
        });
    }
    conditions.extend(destination(reading, path, family, given)?);
    match given.source.as_str() {
        "" => {}
        "RemotePeers" => conditions.push(Condition::LearntByBgp(true)),
        other => return reading.refuse(&format!("{path}.source"), other, "is not RemotePeers"),
    }
    if !given.interface.is_empty() {
        conditions.push(Condition::Interface(vec![given.interface.clone()]));
    }
    for text in given.communities.iter().flat_map(|communities| &communities.values) {
        conditions.push(Condition::Community(read_community(reading, &format!("{path}.communities"), text)?));
    }
    if !given.as_path_prefix.is_empty() {
        conditions.push(Condition::AsPathPrefix(given.as_path_prefix.clone()));
    }
    if let Some(value) = given.priority {
        conditions.push(Condition::Priority(priority(reading, &format!("{path}.priority"), value)?));
    }
    let verdict = match given.action.as_str() {
        "Accept" => Verdict::Accept,
        "Reject" => Verdict::Reject,
        other => return reading.refuse(&format!("{path}.action"), other, "is neither Accept nor Reject"),
    };
    let mut operations = Vec::new();
    for operation in &given.operations {
        operations.push(match operation {
            BgpOperation::AddCommunity { value } => {
                Operation::AddCommunity(read_community(reading, &format!("{path}.operations"), value)?)
            }
            BgpOperation::PrependAsPath { prefix } => Operation::PrependAsPath(prefix.clone()),
            BgpOperation::SetPriority { value } => {
                Operation::SetPriority(priority(reading, &format!("{path}.operations"), *value)?)
            }
        });
    }
    Ok(Rule { name, conditions, operations, verdict: Some(verdict) })
}

fn read_community(
    reading: &mut Reading,
    field: &str,
    text: &str,
) -> Result<bgp_rib::policy::Community, Absent> {
    match community(text) {
        Some(community) => Ok(community),
        None => reading.refuse(field, text, "is no community: write aa:nn or aa:nn:mm"),
    }
}

fn priority(reading: &mut Reading, field: &str, value: u32) -> Result<u32, Absent> {
    match value {
        1..=MAX_PRIORITY => Ok(value),
        _ => reading.refuse(field, value, format!("is not from 1 to {MAX_PRIORITY}")),
    }
}

/// The condition on the destination, if there is one.
fn destination(
    reading: &mut Reading,
    path: &str,
    family: Family,
    given: &BgpFilterRule,
) -> Result<Option<Condition>, Absent> {
    let field = format!("{path}.cidr");
    if given.cidr.is_empty() {
        if !given.match_operator.is_empty() {
            return reading.refuse(&field, "", "is missing, though matchOperator is given");
        }
        return Ok(None);
    }
    let Some(cidr) = prefix(&given.cidr).filter(|cidr| cidr.family() == family) else {
        return reading.refuse(&field, &given.cidr, format!("is no CIDR of {family} without host bits"));
    };
    let PrefixLength { min, max } = given.prefix_length.unwrap_or_default();
    let within = PrefixMatch {
        prefix: cidr,
        min: min.unwrap_or_default().max(cidr.len()),
        max: max.unwrap_or(family.bits()).min(family.bits()),
    };
    // lengths bound equality too: what is not among them is not equal
    let equal = PrefixMatch { max: within.max.min(cidr.len()), ..within.clone() };
    match given.match_operator.as_str() {
        "In" => Ok(Some(Condition::Prefix(vec![within]))),
        "NotIn" => Ok(Some(Condition::NotPrefix(vec![within]))),
        "Equal" => Ok(Some(Condition::Prefix(vec![equal]))),
        "NotEqual" => Ok(Some(Condition::NotPrefix(vec![equal]))),
        "" => reading.refuse(&format!("{path}.matchOperator"), "", "is missing, though cidr is given"),
        other => reading.refuse(
            &format!("{path}.matchOperator"),
            other,
            "is not known: it can be Equal, NotEqual, In or NotIn",
        ),
    }
}
