//! Evaluation of a [`Policy`].
//!
//! A policy is looked at once ([`Compiled::new`]): one without rules costs nothing, one that asks nothing of the prefix
//! is evaluated once an attribute set, and long lists of prefixes become a map. Which rules changed the route is told as
//! a bit set ([`Outcome::applied`]), so that the changed set can be found again without being made again.

use super::{Community, Condition, Operation, Policy, PrefixMatch, Verdict};
use crate::set::{DEFAULT_LOCAL_PREF, Set};
use bgp_wire::{Attributes, Prefix};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// `LOCAL_PREF` of a route of priority 0 (`bgp.md` §6 of the contract).
pub const LOCAL_PREF_BASE: u32 = 2_147_483_647;

/// What conditions look at besides the attributes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context {
    /// The destination.
    pub prefix: Prefix,
    /// The session is external; `None` for the kernel, which is no session.
    pub external: Option<bool>,
}

/// How an evaluation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Whether the route passes.
    pub verdict: Verdict,
    /// The rule that decided; none where the policy's end did.
    pub rule: Option<usize>,
    /// Which of the rules with operations applied, as bits in their order.
    pub applied: u64,
}

/// A policy made ready.
#[derive(Debug)]
pub(crate) struct Compiled {
    /// What it was made of.
    pub source: Arc<Policy>,
    rules: Vec<Vec<Test>>,
    /// Every route ends the same, unchanged.
    pub always: Option<Verdict>,
    /// The outcome is the same for all prefixes of an attribute set.
    pub same_for_all_prefixes: bool,
    /// [`Outcome::applied`] tells all.
    pub replayable: bool,
}

#[derive(Debug)]
enum Test {
    Prefix(PrefixSet, bool),
    Other(Condition),
}

/// Prefix matches, by the prefix that has to cover.
#[derive(Debug)]
enum PrefixSet {
    Few(Vec<PrefixMatch>),
    Many { lengths: Vec<u8>, by_prefix: BTreeMap<Prefix, Vec<(u8, u8)>> },
}

impl PrefixSet {
    fn new(matches: &[PrefixMatch]) -> Self {
        if matches.len() <= 8 {
            return PrefixSet::Few(matches.to_vec());
        }
        let mut lengths: Vec<u8> = matches.iter().map(|m| m.prefix.len()).collect();
        lengths.sort_unstable();
        lengths.dedup();
        let mut by_prefix: BTreeMap<Prefix, Vec<(u8, u8)>> = BTreeMap::new();
        for m in matches {
            by_prefix.entry(m.prefix).or_default().push((m.min, m.max));
        }
        PrefixSet::Many { lengths, by_prefix }
    }

    fn matches(&self, prefix: Prefix) -> bool {
        let inside = |min: u8, max: u8| (min..=max).contains(&prefix.len());
        match self {
            PrefixSet::Few(few) => few.iter().any(|m| inside(m.min, m.max) && m.prefix.covers(prefix)),
            PrefixSet::Many { lengths, by_prefix } => {
                let covering = lengths.iter().take_while(|len| **len <= prefix.len());
                covering.filter_map(|len| Prefix::new(prefix.addr(), *len)).any(|cover| {
                    by_prefix.get(&cover).is_some_and(|lens| lens.iter().any(|(min, max)| inside(*min, *max)))
                })
            }
        }
    }
}

/// A route on its way through a policy: its set, and what changed of it.
#[derive(Debug)]
pub(crate) struct Subject<'a> {
    set: &'a Set,
    /// All attributes but LOCAL_PREF; a copy as soon as one changed.
    attributes: Cow<'a, Attributes>,
    local_pref: Option<u32>,
    /// Metric, once there is one.
    pub metric: Option<u32>,
    /// Preference of the source.
    pub preference: u32,
    /// Device it leads through in the kernel.
    pub tunnel: Option<&'a str>,
}

impl<'a> Subject<'a> {
    /// A route of this set.
    pub fn new(set: &'a Set) -> Self {
        Subject {
            set,
            attributes: Cow::Borrowed(set.attributes()),
            local_pref: set.attributes().local_pref,
            metric: set.key.local.as_ref().and_then(|local| local.metric),
            preference: set.key.preference,
            tunnel: None,
        }
    }

    /// The attributes as the policy left them.
    pub fn into_attributes(self) -> Attributes {
        let mut attributes = self.attributes.into_owned();
        attributes.local_pref = self.local_pref;
        attributes
    }

    fn is_bgp(&self) -> bool {
        self.set.key.local.is_none()
    }

    /// LOCAL_PREF as the decision takes it; `None` for a route of our own that was given none.
    fn effective_local_pref(&self) -> Option<u32> {
        self.local_pref.or(self.is_bgp().then_some(DEFAULT_LOCAL_PREF))
    }

    fn matches(&self, test: &Test, context: &Context) -> bool {
        let condition = match test {
            Test::Prefix(set, wanted) => return set.matches(context.prefix) == *wanted,
            Test::Other(condition) => condition,
        };
        match condition {
            Condition::Prefix(_) | Condition::NotPrefix(_) => false,
            Condition::LearntByBgp(wanted) => self.is_bgp() == *wanted,
            Condition::Interface(patterns) => {
                let interface = self.set.key.local.as_ref().and_then(|local| local.interface.as_deref());
                let matches = |name: &str, p: &String| matches_pattern(p.as_bytes(), name.as_bytes());
                interface.is_some_and(|name| patterns.iter().any(|pattern| matches(name, pattern)))
            }
            Condition::NextHop(prefixes) => {
                let next_hop = Some(self.attributes.next_hop).filter(|_| self.is_bgp());
                let host = next_hop
                    .and_then(|address| Prefix::new(address, if address.is_ipv4() { 32 } else { 128 }));
                host.is_some_and(|host| prefixes.iter().any(|prefix| prefix.covers(host)))
            }
            Condition::Community(Community::Standard(c)) => self.attributes.communities.contains(c),
            Condition::Community(Community::Large(c)) => self.attributes.large_communities().contains(c),
            Condition::AsPathPrefix(wanted) => {
                let mut numbers = self.attributes.as_path.numbers();
                wanted.iter().all(|wanted| numbers.next() == Some(*wanted))
            }
            Condition::Priority(wanted) => {
                self.effective_local_pref() == Some(LOCAL_PREF_BASE.saturating_sub(*wanted))
            }
            Condition::LocalPrefAbove(bound) => self.effective_local_pref().is_some_and(|lp| lp > *bound),
            Condition::MetricBelow(bound) => self.metric.is_some_and(|metric| metric < *bound),
            Condition::External(wanted) => context.external == Some(*wanted),
        }
    }

    fn apply(&mut self, operation: &'a Operation) {
        match operation {
            Operation::AddCommunity(Community::Standard(c)) => self.attributes.to_mut().add_community(*c),
            Operation::AddCommunity(Community::Large(c)) => self.attributes.to_mut().add_large_community(*c),
            Operation::PrependAsPath(numbers) => {
                let attributes = self.attributes.to_mut();
                for asn in numbers.iter().rev() {
                    attributes.as_path = attributes.as_path.prepend(*asn, 1);
                }
            }
            Operation::SetPriority(priority) => {
                self.local_pref = Some(LOCAL_PREF_BASE.saturating_sub(*priority));
            }
            Operation::DerivePriority(normal) => {
                match self.effective_local_pref().filter(|_| self.is_bgp()) {
                    // a LOCAL_PREF beyond the base must not become a metric that beats all others
                    Some(local_pref) => self.metric = Some(LOCAL_PREF_BASE.wrapping_sub(local_pref)),
                    None => {
                        let metric = *self.metric.get_or_insert(*normal);
                        self.local_pref = Some(LOCAL_PREF_BASE.wrapping_sub(metric));
                    }
                }
            }
            Operation::Tunnel(device) => self.tunnel = Some(device),
            Operation::Prefer(preference) => self.preference = *preference,
        }
    }
}

impl Compiled {
    /// Makes a policy ready.
    pub fn new(source: Arc<Policy>) -> Self {
        let tests = |rule: &super::Rule| {
            let test = |condition: &Condition| match condition {
                Condition::Prefix(matches) => Test::Prefix(PrefixSet::new(matches), true),
                Condition::NotPrefix(matches) => Test::Prefix(PrefixSet::new(matches), false),
                other => Test::Other(other.clone()),
            };
            rule.conditions.iter().map(test).collect()
        };
        // Nothing comes behind a rule that always decides.
        let last = source.rules.iter().position(|rule| rule.conditions.is_empty() && rule.verdict.is_some());
        let reached =
            source.rules.get(..last.map_or(source.rules.len(), |last| last + 1)).unwrap_or_default();
        let end = last.and_then(|last| source.rules.get(last)?.verdict).unwrap_or(source.otherwise);
        let rules: Vec<Vec<Test>> = reached.iter().map(tests).collect();
        let changing = reached.iter().filter(|rule| !rule.operations.is_empty()).count();
        let quiet = reached
            .iter()
            .all(|rule| rule.operations.is_empty() && rule.verdict.is_none_or(|verdict| verdict == end));
        Compiled {
            always: quiet.then_some(end),
            same_for_all_prefixes: !rules.iter().flatten().any(|test| matches!(test, Test::Prefix(..))),
            replayable: changing <= 64,
            rules,
            source,
        }
    }

    /// Takes a route through the policy.
    pub fn evaluate<'a>(&'a self, subject: &mut Subject<'a>, context: &Context) -> Outcome {
        let (mut applied, mut bit) = (0u64, 0u32);
        for (number, (rule, tests)) in self.source.rules.iter().zip(&self.rules).enumerate() {
            let matches = tests.iter().all(|test| subject.matches(test, context));
            if !rule.operations.is_empty() {
                if matches {
                    applied |= 1u64.checked_shl(bit).unwrap_or(0);
                    rule.operations.iter().for_each(|operation| subject.apply(operation));
                }
                bit += 1;
            }
            if let Some(verdict) = rule.verdict.filter(|_| matches) {
                return Outcome { verdict, rule: Some(number), applied };
            }
        }
        Outcome { verdict: self.source.otherwise, rule: None, applied }
    }

    /// What a person calls the rule that decided.
    pub fn rule_name(&self, outcome: &Outcome) -> Option<Arc<str>> {
        self.source.rules.get(outcome.rule?).map(|rule| rule.name.clone())
    }
}

/// Shell patterns with `*` and `?`.
pub(crate) fn matches_pattern(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            matches_pattern(rest, text)
                || text.split_first().is_some_and(|(_, text)| matches_pattern(pattern, text))
        }
        (Some((b'?', pattern)), Some((_, text))) => matches_pattern(pattern, text),
        (Some((p, pattern)), Some((t, text))) => p == t && matches_pattern(pattern, text),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
