//! Chains of policies and profiles (`felix.md` §6 of the contract, "Rule body").

use super::chains::Chain;
use super::line::{Action, Line, Matches, quoted};
use super::matches::conditions;
use super::names;
use super::ruleset::Table;
use crate::form::{Direction, Origin, Rule, Verdict, policy_rules, profile_rules};
use crate::log_prefix;
use crate::settings::{Deny, LogLimit, Settings};
use felix_calc::policy::{Policy, PolicyKey, Profile};
use model::net::Family;
use std::sync::Arc;

/// Packets a second, and at once, that a limit may let through (`XT_LIMIT_SCALE`).
pub const LIMIT_MAX: u64 = 10_000;

/// How a packet is denied in a table: rejecting is for the filter table, elsewhere the kernel refuses it.
pub fn deny(table: Table, settings: &Settings) -> Action {
    match (table, settings.iptables.deny) {
        (Table::Filter, Deny::Reject) => Action::Do("--jump REJECT".into()),
        _ => Action::DROP,
    }
}

/// The name of a policy's chain.
pub fn policy_chain(direction: Direction, policy: &PolicyKey) -> Arc<str> {
    let prefix = match direction {
        Direction::Ingress => names::POLICY_IN,
        Direction::Egress => names::POLICY_OUT,
    };
    names::chain(prefix, &names::policy(policy))
}

/// The name of a profile's chain.
pub fn profile_chain(direction: Direction, profile: &str) -> Arc<str> {
    let prefix = match direction {
        Direction::Ingress => names::PROFILE_IN,
        Direction::Egress => names::PROFILE_OUT,
    };
    names::chain(prefix, profile)
}

/// Where a chain is.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// Of iptables or ip6tables.
    pub family: Family,
    /// In which table.
    pub table: Table,
    /// The agent's settings.
    pub settings: &'a Settings,
}

/// A policy's chain.
pub fn of_policy(direction: Direction, policy: &Policy, place: Place<'_>) -> Arc<Chain> {
    let rules = policy_rules(direction, policy);
    let about = format!("{} {direction}", policy.key);
    Chain::new(&policy_chain(direction, &policy.key), &lines(&rules, &about, place))
}

/// A profile's chain.
pub fn of_profile(direction: Direction, name: &Arc<str>, profile: &Profile, place: Place<'_>) -> Arc<Chain> {
    let rules = profile_rules(direction, name, profile);
    let about = format!("Profile {name} {direction}");
    Chain::new(&profile_chain(direction, name), &lines(&rules, &about, place))
}

/// The rules of a chain, the first of which says what the chain is.
fn lines(rules: &[Rule], about: &str, place: Place<'_>) -> Vec<Line> {
    let of_family = rules.iter().filter_map(|rule| rule.for_family(place.family));
    let mut lines: Vec<Line> = of_family.flat_map(|rule| of_rule(&rule, place)).collect();
    // at a chain's end returning is what happens anyway
    while lines.last().is_some_and(|line| line.action == Action::Return) {
        lines.pop();
    }
    if lines.is_empty() {
        lines.push(Line::always(Action::Nothing));
    }
    let mut lines = lines.into_iter();
    let first = lines.next().map(|line| line.about(about));
    first.into_iter().chain(lines).collect()
}

fn of_rule(rule: &Rule, place: Place<'_>) -> Vec<Line> {
    let marks = &place.settings.iptables.marks;
    let Some(conditions) = conditions(rule, place.family, marks) else { return Vec::new() };
    let mut lines = conditions.blocks;
    let (bit, decided) = match rule.verdict {
        Verdict::Allow => (marks.accept, Action::Return),
        // that the last tier passed is still marked, and is none of a profile's rules
        Verdict::Pass if matches!(rule.origin, Origin::Profile { .. }) => {
            lines.extend(conditions.ways.into_iter().map(|way| Line::new(way, Action::Return)));
            return annotated(lines, rule);
        }
        Verdict::Pass => (marks.pass, Action::Return),
        Verdict::Deny => (marks.drop, deny(place.table, place.settings)),
        Verdict::Log => {
            let log = Action::Do(log(&rule.origin, place.settings).into());
            let limited = |matches| match place.settings.log_limit {
                Some(limit) => limit_matches(limit).and(matches),
                None => matches,
            };
            lines.extend(conditions.ways.into_iter().map(|way| Line::new(limited(way), log.clone())));
            return annotated(lines, rule);
        }
    };
    lines.extend(conditions.ways.into_iter().map(|way| Line::new(way, Action::mark(bit))));
    lines.push(Line::new(Matches::any().marked(bit), decided));
    annotated(lines, rule)
}

fn annotated(lines: Vec<Line>, rule: &Rule) -> Vec<Line> {
    let with = |line: Line| {
        rule.annotations.iter().fold(line, |line, (name, text)| line.about(&format!("{name}={text}")))
    };
    lines.into_iter().map(with).collect()
}

fn limit_matches(limit: LogLimit) -> Matches {
    let unit = match limit.unit {
        60 => "minute",
        3600 => "hour",
        86400 => "day",
        _ => "second",
    };
    // the tools take no more
    let (packets, burst) = (limit.packets.min(LIMIT_MAX * limit.unit), u64::from(limit.burst).min(LIMIT_MAX));
    Matches::any().and(format_args!("-m limit --limit {packets}/{unit} --limit-burst {burst}"))
}

fn log(origin: &Origin, settings: &Settings) -> String {
    let prefix = format!("{}: ", log_prefix::of(&settings.log_prefix, origin));
    format!("--jump LOG --log-prefix {} --log-level 5", quoted(&prefix))
}
