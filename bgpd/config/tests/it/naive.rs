//! What a policy does to a route, rule by rule, as `bgp_rib::policy` says it.

use crate::bird::{Route, Verdict};
use bgp_rib::policy::{Community, Condition, Operation, Policy, PrefixMatch};
use bgp_wire::Prefix;

const BASE: u32 = 2_147_483_647;

/// Verdict, changed route, and the name of the rule that decided.
pub fn run(policy: &Policy, route: &Route, external: bool) -> (Verdict, Route, String) {
    let mut route = route.clone();
    for rule in &policy.rules {
        if !rule.conditions.iter().all(|condition| holds(condition, &route, external)) {
            continue;
        }
        rule.operations.iter().for_each(|operation| apply(operation, &mut route));
        if let Some(verdict) = rule.verdict {
            return (verdict, route, rule.name.to_string());
        }
    }
    (policy.otherwise, route, "otherwise".to_owned())
}

fn within(matches: &[PrefixMatch], net: Prefix) -> bool {
    matches.iter().any(|m| m.prefix.covers(net) && (m.min..=m.max).contains(&net.len()))
}

fn holds(condition: &Condition, route: &Route, external: bool) -> bool {
    match condition {
        Condition::Prefix(matches) => within(matches, route.net),
        Condition::NotPrefix(matches) => !within(matches, route.net),
        Condition::LearntByBgp(wanted) => route.by_bgp == *wanted,
        Condition::Interface(patterns) => route.interface.as_ref().is_some_and(|name| {
            patterns.iter().any(|pattern| crate::bird::like(pattern.as_bytes(), name.as_bytes()))
        }),
        Condition::NextHop(prefixes) => route.next_hop.is_some_and(|hop| {
            let host = Prefix::new(hop, if hop.is_ipv4() { 32 } else { 128 }).unwrap();
            prefixes.iter().any(|prefix| prefix.covers(host))
        }),
        Condition::Community(Community::Standard(value)) => {
            route.communities.contains(&((value >> 16) as u16, (value & 0xffff) as u16))
        }
        Condition::Community(Community::Large([a, b, c])) => route.large.contains(&(*a, *b, *c)),
        Condition::AsPathPrefix(begin) => route.path.starts_with(begin),
        Condition::Priority(priority) => route.local_pref == Some(BASE - priority),
        Condition::LocalPrefAbove(bound) => route.local_pref.is_some_and(|pref| pref > *bound),
        Condition::MetricBelow(bound) => route.metric.is_some_and(|metric| metric < *bound),
        Condition::External(wanted) => external == *wanted,
    }
}

fn apply(operation: &Operation, route: &mut Route) {
    match operation {
        Operation::AddCommunity(Community::Standard(value)) => {
            route.communities.insert(((value >> 16) as u16, (value & 0xffff) as u16));
        }
        Operation::AddCommunity(Community::Large([a, b, c])) => {
            route.large.insert((*a, *b, *c));
        }
        Operation::PrependAsPath(numbers) => {
            route.path.splice(0..0, numbers.iter().copied());
        }
        Operation::SetPriority(priority) => route.local_pref = Some(BASE - priority),
        Operation::DerivePriority(normal) => match route.local_pref {
            Some(pref) if route.by_bgp => route.metric = Some(BASE.wrapping_sub(pref)),
            _ => {
                let metric = route.metric.unwrap_or(*normal);
                route.metric = Some(metric);
                route.local_pref = Some(BASE.wrapping_sub(metric));
            }
        },
        Operation::Tunnel(device) => route.tunnel = Some(device.clone()),
        Operation::Prefer(preference) => route.preference = Some(*preference),
    }
}
