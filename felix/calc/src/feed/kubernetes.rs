//! A NetworkPolicy of Kubernetes in the terms of ours (`datamodel.md` §12.4 of the contract).

use super::object::Refusal;
use model::v3::{
    Action, EntityRule, IpBlock, KubernetesPeer, KubernetesPort, LabelExpression, LabelSelector,
    NetworkPolicySpec, Port, Protocol, Rule, StagedKubernetesNetworkPolicySpec,
};
use serde_json::Value;
use std::collections::BTreeMap;

/// Kubernetes' policies have no order of their own.
const ORDER: f64 = 1000.0;

/// The policy; its selectors see pods alone.
pub(super) fn convert(spec: &StagedKubernetesNetworkPolicySpec) -> Result<NetworkPolicySpec, Refusal> {
    let pods = "projectcalico.org/orchestrator == 'k8s'";
    let mut ingress = Vec::new();
    for (index, entry) in spec.ingress.iter().enumerate() {
        let field = format!("ingress[{index}]");
        rules(&field, &entry.ports, &entry.from, |rule| &mut rule.source, &mut ingress)?;
    }
    let mut egress = Vec::new();
    for (index, entry) in spec.egress.iter().enumerate() {
        let field = format!("egress[{index}]");
        rules(&field, &entry.ports, &entry.to, |rule| &mut rule.destination, &mut egress)?;
    }
    Ok(NetworkPolicySpec {
        order: Some(ORDER),
        selector: and(pods, &selector("podSelector", &spec.pod_selector)?),
        types: spec.directions(),
        ingress,
        egress,
        ..NetworkPolicySpec::default()
    })
}

/// One rule for each protocol and peer.
fn rules(
    field: &str,
    ports: &[KubernetesPort],
    peers: &[KubernetesPeer],
    side: impl Fn(&mut Rule) -> &mut EntityRule,
    out: &mut Vec<Rule>,
) -> Result<(), Refusal> {
    let anyone = [KubernetesPeer::default()];
    let peers = if peers.is_empty() { &anyone } else { peers };
    let peers = peers.iter().map(|one| peer(field, one)).collect::<Result<Vec<_>, _>>()?;
    let protocols = by_protocol(field, ports)?;
    for (protocol, ports) in protocols {
        for peer in &peers {
            let mut rule = Rule { action: Action::Allow, ..Rule::default() };
            rule.protocol = protocol.clone().map(Protocol::Name);
            *side(&mut rule) = peer.clone();
            rule.destination.ports = ports.clone();
            out.push(rule);
        }
    }
    Ok(())
}

/// Ranges and names.
type Ports = (Vec<(u16, u16)>, Vec<Port>);

/// Ports of each protocol, ranges joined where they can be; a protocol without a port has all of them.
fn by_protocol(
    field: &str,
    ports: &[KubernetesPort],
) -> Result<BTreeMap<Option<String>, Vec<Port>>, Refusal> {
    if ports.is_empty() {
        return Ok(BTreeMap::from([(None, Vec::new())]));
    }
    let mut ranges: BTreeMap<String, Option<Ports>> = BTreeMap::new();
    for port in ports {
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
        let entry = ranges.entry(protocol).or_insert_with(|| Some(Default::default()));
        match &port.port {
            None => *entry = None,
            Some(value) => match (entry, one_port(field, value, port.end_port)?) {
                (Some((ranges, _)), Port::Range(first, last)) => ranges.push((first, last)),
                (Some((_, names)), name) => names.push(name),
                (None, _) => {}
            },
        }
    }
    let joined = ranges.into_iter().map(|(protocol, ports)| {
        let (ranges, names) = ports.unwrap_or_default();
        let ranges = join(ranges).into_iter().map(|(first, last)| Port::Range(first, last));
        (Some(protocol), ranges.chain(names).collect())
    });
    Ok(joined.collect())
}

fn one_port(field: &str, value: &Value, end: Option<i32>) -> Result<Port, Refusal> {
    let refuse = || Refusal::field(format_args!("{field}.ports"), &value.to_string(), "is no port");
    let number = |number: i64| u16::try_from(number).map_err(|_| refuse());
    match (value, value.as_i64(), end) {
        (_, Some(first), Some(end)) => Ok(Port::Range(number(first)?, number(end.into())?)),
        (_, Some(first), None) => Ok(Port::Range(number(first)?, number(first)?)),
        (Value::String(name), ..) => name.parse().map_err(|_| refuse()),
        _ => Err(refuse()),
    }
}

/// The fewest ranges that say the same.
fn join(mut ranges: Vec<(u16, u16)>) -> Vec<(u16, u16)> {
    ranges.sort_unstable();
    let mut joined: Vec<(u16, u16)> = Vec::new();
    for (first, last) in ranges {
        match joined.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => joined.push((first, last)),
        }
    }
    joined
}

fn peer(field: &str, peer: &KubernetesPeer) -> Result<EntityRule, Refusal> {
    if let Some(IpBlock { cidr, except }) = &peer.ip_block {
        return Ok(EntityRule {
            nets: vec![cidr.clone()],
            not_nets: except.clone(),
            ..EntityRule::default()
        });
    }
    let mut side = EntityRule::default();
    if peer.pod_selector.is_some() || peer.namespace_selector.is_some() {
        let pods = peer.pod_selector.clone().unwrap_or_default();
        side.selector = and("projectcalico.org/orchestrator == 'k8s'", &selector(field, &pods)?);
    }
    if let Some(namespaces) = &peer.namespace_selector {
        let text = selector(field, namespaces)?;
        side.namespace_selector = if text.is_empty() { "all()".to_owned() } else { text };
    }
    Ok(side)
}

fn and(left: &str, right: &str) -> String {
    if right.is_empty() { left.to_owned() } else { format!("{left} && {right}") }
}

/// Kubernetes' selector as text, labels in order; empty for everything.
fn selector(field: &str, selector: &LabelSelector) -> Result<String, Refusal> {
    let mut terms: Vec<String> =
        selector.match_labels.iter().map(|(key, value)| format!("{key} == '{value}'")).collect();
    for LabelExpression { key, operator, values } in &selector.match_expressions {
        let values: Vec<String> = values.iter().map(|value| format!("'{value}'")).collect();
        let values = values.join(", ");
        terms.push(match operator.as_str() {
            "In" => format!("{key} in {{ {values} }}"),
            "NotIn" => format!("{key} not in {{ {values} }}"),
            "Exists" => format!("has({key})"),
            "DoesNotExist" => format!("! has({key})"),
            other => {
                let field = format!("{field}.matchExpressions.operator");
                return Err(Refusal::field(field, other, "must be In, NotIn, Exists or DoesNotExist"));
            }
        });
    }
    Ok(terms.join(" && "))
}
