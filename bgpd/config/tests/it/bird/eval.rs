//! Filters on routes.

use super::parser::{Config, Expression, Statement};
use bgp_wire::Prefix;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

pub use bgp_rib::policy::Verdict;

/// A route as filters see and change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub net: Prefix,
    /// Learnt by BGP; then `local_pref` is always there.
    pub by_bgp: bool,
    pub interface: Option<String>,
    pub next_hop: Option<IpAddr>,
    pub local_pref: Option<u32>,
    pub metric: Option<u32>,
    pub communities: BTreeSet<(u16, u16)>,
    pub large: BTreeSet<(u32, u32, u32)>,
    pub path: Vec<u32>,
    /// Set by a filter.
    pub preference: Option<u32>,
    pub tunnel: Option<String>,
}

impl Config {
    /// What statements make of a route. A filter that ends without a decision does not occur.
    pub fn run(&self, statements: &[Statement], route: &Route) -> (Verdict, Route) {
        let mut route = route.clone();
        let verdict = self.block(statements, &BTreeMap::new(), &mut route).expect("a decision");
        (verdict, route)
    }

    fn block(
        &self,
        statements: &[Statement],
        variables: &BTreeMap<String, bool>,
        route: &mut Route,
    ) -> Option<Verdict> {
        statements.iter().find_map(|statement| match statement {
            Statement::Accept => Some(Verdict::Accept),
            Statement::Reject => Some(Verdict::Reject),
            Statement::If(condition, yes, no) => {
                let branch = if truth(condition, variables, route) { yes } else { no };
                self.block(branch, variables, route)
            }
            Statement::Set(name, value) => {
                set(name, value, route);
                None
            }
            Statement::Call(name, arguments) => match name.as_str() {
                "bgp_community.add" => {
                    let [a, b] = tuple(&arguments[0]) else { panic!("no pair") };
                    route.communities.insert((u16::try_from(*a).unwrap(), u16::try_from(*b).unwrap()));
                    None
                }
                "bgp_large_community.add" => {
                    let [a, b, c] = tuple(&arguments[0]) else { panic!("no triple") };
                    route.large.insert((small(*a), small(*b), small(*c)));
                    None
                }
                "bgp_path.prepend" => {
                    route.path.insert(0, number(&arguments[0], route));
                    None
                }
                name => {
                    let function = self.functions.get(name).unwrap_or_else(|| panic!("no function {name}"));
                    let values = arguments.iter().map(|argument| truth(argument, variables, route));
                    let inner = function.parameters.iter().cloned().zip(values).collect();
                    self.block(&function.body, &inner, route)
                }
            },
        })
    }
}

fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap()
}

fn tuple(expression: &Expression) -> &[u64] {
    match expression {
        Expression::Tuple(numbers) => numbers,
        other => panic!("no tuple: {other:?}"),
    }
}

fn set(name: &str, value: &Expression, route: &mut Route) {
    match name {
        "krt_metric" => route.metric = Some(number(value, route)),
        "bgp_local_pref" => route.local_pref = Some(number(value, route)),
        "preference" => route.preference = Some(number(value, route)),
        "krt_tunnel" => match value {
            Expression::Text(text) => route.tunnel = Some(text.clone()).filter(|text| !text.is_empty()),
            other => panic!("no device: {other:?}"),
        },
        name => panic!("no attribute {name}"),
    }
}

fn number(expression: &Expression, route: &Route) -> u32 {
    match expression {
        Expression::Number(number) => small(*number),
        Expression::Word(name) if name == "krt_metric" => route.metric.expect("a metric"),
        Expression::Word(name) if name == "bgp_local_pref" => route.local_pref.expect("a preference"),
        Expression::Binary("-", left, right) => number(left, route).wrapping_sub(number(right, route)),
        other => panic!("no number: {other:?}"),
    }
}

fn truth(expression: &Expression, variables: &BTreeMap<String, bool>, route: &Route) -> bool {
    match expression {
        Expression::Not(inner) => !truth(inner, variables, route),
        Expression::Word(name) if name == "true" || name == "false" => name == "true",
        Expression::Word(name) => variables[name],
        Expression::Defined(name) => match name.as_str() {
            "source" => true,
            "ifname" => route.interface.is_some(),
            "krt_metric" => route.metric.is_some(),
            "bgp_local_pref" => route.local_pref.is_some(),
            "bgp_next_hop" => route.next_hop.is_some(),
            name => panic!("no attribute {name}"),
        },
        Expression::Binary("&&", left, right) => {
            truth(left, variables, route) && truth(right, variables, route)
        }
        Expression::Binary("||", left, right) => {
            truth(left, variables, route) || truth(right, variables, route)
        }
        Expression::Binary("<", left, right) => number(left, route) < number(right, route),
        Expression::Binary(">", left, right) => number(left, route) > number(right, route),
        Expression::Binary("!~", left, right) => !matches(left, right, route),
        Expression::Binary("~", left, right) => matches(left, right, route),
        Expression::Binary("!=", left, right) => !equal(left, right, route),
        Expression::Binary("=", left, right) => equal(left, right, route),
        other => panic!("neither true nor false: {other:?}"),
    }
}

fn equal(left: &Expression, right: &Expression, route: &Route) -> bool {
    match (left, right) {
        (Expression::Word(name), Expression::Prefix(prefix)) if name == "net" => route.net == *prefix,
        (Expression::Word(name), Expression::Word(value)) if name == "source" && value == "RTS_BGP" => {
            route.by_bgp
        }
        _ => number(left, route) == number(right, route),
    }
}

fn matches(left: &Expression, right: &Expression, route: &Route) -> bool {
    match (left, right) {
        (Expression::Word(name), Expression::Prefix(prefix)) if name == "net" => prefix.covers(route.net),
        (Expression::Word(name), Expression::Prefixes(prefix, min, max)) if name == "net" => {
            prefix.covers(route.net) && (*min..=*max).contains(&route.net.len())
        }
        (Expression::Word(name), Expression::Prefix(prefix)) if name == "bgp_next_hop" => {
            let hop = route.next_hop.unwrap();
            Prefix::new(hop, if hop.is_ipv4() { 32 } else { 128 }).is_some_and(|hop| prefix.covers(hop))
        }
        (Expression::Word(name), Expression::Words(sources)) if name == "source" => {
            assert_eq!(*sources, ["RTS_BGP"]);
            route.by_bgp
        }
        (Expression::Word(name), Expression::Text(pattern)) if name == "ifname" => {
            like(pattern.as_bytes(), route.interface.as_ref().unwrap().as_bytes())
        }
        (Expression::Tuple(numbers), Expression::Word(name)) if name == "bgp_community" => {
            route.communities.iter().any(|(a, b)| *numbers == [u64::from(*a), u64::from(*b)])
        }
        (Expression::Tuple(numbers), Expression::Word(name)) if name == "bgp_large_community" => {
            route.large.iter().any(|(a, b, c)| *numbers == [u64::from(*a), u64::from(*b), u64::from(*c)])
        }
        (Expression::Word(name), Expression::PathPrefix(begin)) if name == "bgp_path" => {
            route.path.starts_with(begin)
        }
        other => panic!("no match: {other:?}"),
    }
}

/// Shell patterns.
pub fn like(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => like(rest, text) || (!text.is_empty() && like(pattern, &text[1..])),
        ([b'?', rest @ ..], [_, tail @ ..]) => like(rest, tail),
        ([a, rest @ ..], [b, tail @ ..]) => a == b && like(rest, tail),
        _ => false,
    }
}
