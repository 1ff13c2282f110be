//! The policies of an endpoint as its chain calls them: tier by tier, in groups (`felix.md` §4 of the contract).
//!
//! A group is a run of policies with one selector, so whatever has one of them has all. It is called by what it holds:
//! endpoints share its chain.

use super::chains::Chain;
use super::hash;
use super::line::{Action, Line, Matches};
use super::marks::Marks;
use super::names;
use super::policy::policy_chain;
use crate::form::{Direction, Scope, Verdict, effective, end_of_tier, governing};
use felix_calc::policy::{Policy, PolicyKey, Tier};
use std::sync::Arc;

/// A packet that has its verdict leaves a group after at most so many policies.
const STRIDE: usize = 5;

/// What the chain of one direction of an endpoint calls.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    /// Tiers that are about the direction, in order.
    pub tiers: Vec<TierLayout>,
}

/// A tier of it.
#[derive(Debug, Clone)]
pub struct TierLayout {
    /// Its name.
    pub tier: String,
    /// What becomes of a packet that none of its policies decided about; where all of them are staged it goes on.
    pub end: Verdict,
    /// In order.
    pub groups: Vec<Group>,
}

/// Policies that come one after the other and have one selector.
#[derive(Debug, Clone)]
pub struct Group {
    /// Staged ones included.
    policies: Vec<Arc<Policy>>,
    /// The chain that calls them, with its name; `None` where the endpoint's own does.
    pub chain: Option<(Arc<str>, Arc<Chain>)>,
}

impl Group {
    /// Policies that have an effect.
    pub fn enforced(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.policies.iter().filter(|policy| !policy.key.kind.is_staged())
    }

    /// Chains that the endpoint's chain calls for it.
    pub fn calls(&self, direction: Direction) -> Vec<Arc<str>> {
        match &self.chain {
            Some((name, _)) => vec![name.clone()],
            None => self.enforced().map(|policy| policy_chain(direction, &policy.key)).collect(),
        }
    }

    fn new(policies: Vec<Arc<Policy>>, direction: Direction, marks: &Marks) -> Self {
        let mut group = Group { policies, chain: None };
        if group.enforced().nth(1).is_some() {
            let selector = group.policies.first().map(|policy| policy.selector.to_string());
            let uid = hash::group(
                &selector.unwrap_or_default(),
                direction,
                group.policies.iter().map(|policy| &policy.key),
            );
            let prefix = match direction {
                Direction::Ingress => names::GROUP_IN,
                Direction::Egress => names::GROUP_OUT,
            };
            let name = names::chain(prefix, &uid);
            let lines = lines(group.enforced().map(|policy| &policy.key), direction, marks);
            let chain = Chain::new(&name, &lines);
            group.chain = Some((name, chain));
        }
        group
    }

    fn is_same(&self, policies: &[Arc<Policy>]) -> bool {
        let same = |(a, b): (&Arc<Policy>, &Arc<Policy>)| {
            Arc::ptr_eq(a, b) || (a.key == b.key && a.selector == b.selector)
        };
        self.policies.len() == policies.len() && self.policies.iter().zip(policies).all(same)
    }
}

impl Layout {
    /// What these tiers come to. What has not changed since `before` is not made anew.
    pub fn new(
        scope: Scope,
        direction: Direction,
        tiers: &[Tier],
        marks: &Marks,
        before: Option<&Layout>,
    ) -> Self {
        let mut known = before.into_iter().flat_map(|layout| &layout.tiers).flat_map(|tier| &tier.groups);
        let mut group = |policies: &[Arc<Policy>]| match known.next().filter(|group| group.is_same(policies))
        {
            Some(group) => Group { policies: policies.to_vec(), chain: group.chain.clone() },
            None => Group::new(policies.to_vec(), direction, marks),
        };
        let of_tier = |tier: &Tier| {
            let policies: Vec<Arc<Policy>> = governing(scope, direction, tier).cloned().collect();
            if policies.is_empty() {
                return None;
            }
            let acts = effective(scope, direction, tier).next().is_some();
            Some(TierLayout {
                tier: tier.name.clone(),
                end: if acts { end_of_tier(scope, tier) } else { Verdict::Pass },
                groups: policies.chunk_by(|a, b| a.selector == b.selector).map(&mut group).collect(),
            })
        };
        Layout { tiers: tiers.iter().filter_map(of_tier).collect() }
    }

    /// Whether a chain made of it says the same as one made of the other.
    pub fn calls_the_same(&self, other: &Layout) -> bool {
        let same_group = |(a, b): (&Group, &Group)| match (&a.chain, &b.chain) {
            (Some((a, _)), Some((b, _))) => a == b,
            (None, None) => alike(a.enforced(), b.enforced()),
            _ => false,
        };
        let same_tier = |(a, b): (&TierLayout, &TierLayout)| {
            a.tier == b.tier
                && a.end == b.end
                && a.groups.len() == b.groups.len()
                && a.groups.iter().zip(&b.groups).all(same_group)
        };
        self.tiers.len() == other.tiers.len() && self.tiers.iter().zip(&other.tiers).all(same_tier)
    }

    /// All policies whose chains are called.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.tiers.iter().flat_map(|tier| &tier.groups).flat_map(Group::enforced)
    }

    /// The chains of groups.
    pub fn chains(&self) -> impl Iterator<Item = &(Arc<str>, Arc<Chain>)> {
        self.tiers.iter().flat_map(|tier| &tier.groups).filter_map(|group| group.chain.as_ref())
    }
}

/// Whether these are the same policies, whatever they say.
fn alike<'a>(
    mut some: impl Iterator<Item = &'a Arc<Policy>>,
    mut others: impl Iterator<Item = &'a Arc<Policy>>,
) -> bool {
    loop {
        match (some.next(), others.next()) {
            (None, None) => return true,
            (Some(a), Some(b)) if Arc::ptr_eq(a, b) || a.key == b.key => {}
            _ => return false,
        }
    }
}

/// The rules of a group's chain.
fn lines<'a>(
    policies: impl Iterator<Item = &'a PolicyKey>,
    direction: Direction,
    marks: &Marks,
) -> Vec<Line> {
    let mut lines = Vec::new();
    for (place, policy) in policies.enumerate() {
        let first = place % STRIDE == 0;
        if first && place > 0 {
            let decided = Matches::any().not_unmarked(marks.verdict());
            lines.push(Line::new(decided, Action::Return).about("Return on verdict"));
        }
        let undecided = if first { Matches::any() } else { Matches::any().unmarked(marks.verdict()) };
        lines.push(Line::new(undecided, Action::Jump(policy_chain(direction, policy))));
    }
    lines
}
