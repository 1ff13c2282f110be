//! The rule form: what a policy means for packets, without a word of any backend.
//!
//! Every backend and the evaluator read this one form, so a simulated verdict and the kernel's come from the same rules.
//! A rule's matches are ANDed; within one match any entry is enough. What cannot match a family at all is left out
//! when a program is made for that family ([`Rule::for_family`]).

use felix_calc::policy::{Policy, PolicyKey, Profile, Stage, Tier};
use felix_calc::rule::{self, SetId, Side};
use model::net::{Cidr, Family};
use model::v3::Action;
use std::fmt;
use std::sync::Arc;

/// Protocol number of ICMP.
pub const ICMP: u8 = 1;
/// Protocol number of ICMPv6.
pub const ICMPV6: u8 = 58;

/// Which end of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// Where it comes from.
    Source,
    /// Where it goes to.
    Destination,
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Match {
    /// The protocol above IP.
    Protocol {
        /// Its number.
        number: u8,
        /// Any other.
        negated: bool,
    },
    /// The address lies in one of these networks, all of one family.
    Nets {
        /// Whose address.
        end: End,
        /// Never empty.
        nets: Vec<Cidr>,
        /// In none of them.
        negated: bool,
    },
    /// The address is in a set.
    Set {
        /// Whose address.
        end: End,
        /// Which set.
        id: SetId,
        /// It is not.
        negated: bool,
    },
    /// The port lies in one of the ranges, or address, protocol and port are in one of the sets.
    Ports {
        /// Whose port.
        end: End,
        /// First and last.
        ranges: Vec<(u16, u16)>,
        /// Sets of addresses with ports.
        sets: Vec<SetId>,
        /// In none of them.
        negated: bool,
    },
    /// Type and code of ICMP or ICMPv6.
    Icmp {
        /// Type.
        kind: u8,
        /// Code; any when `None`.
        code: Option<u8>,
        /// Any other.
        negated: bool,
    },
}

/// What a matching rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The packet may pass this endpoint.
    Allow,
    /// It is dropped.
    Deny,
    /// The next tier decides, or the profiles after the last.
    Pass,
    /// It is logged, and the next rule decides.
    Log,
}

/// Which way a packet goes, seen from the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// To the endpoint.
    Ingress,
    /// From the endpoint.
    Egress,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        })
    }
}

/// Where a rule comes from: the name of a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A rule of a policy.
    Policy {
        /// Its tier.
        tier: Arc<str>,
        /// Which policy.
        policy: Arc<PolicyKey>,
        /// Which of its lists.
        direction: Direction,
        /// Place in the list, from 0.
        index: usize,
    },
    /// A rule of a profile.
    Profile {
        /// Its name.
        name: Arc<str>,
        /// Which of its lists.
        direction: Direction,
        /// Place in the list, from 0.
        index: usize,
    },
    /// The end of a tier whose policies apply and did not decide.
    EndOfTier(Arc<str>),
    /// Nothing decided: no profile allowed it.
    NoProfile,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Policy { tier, policy, direction, index } => {
                write!(f, "tier {tier}, {policy}, {direction} rule {index}")
            }
            Origin::Profile { name, direction, index } => {
                write!(f, "Profile {name}, {direction} rule {index}")
            }
            Origin::EndOfTier(tier) => write!(f, "tier {tier}, default action"),
            Origin::NoProfile => f.write_str("no profile allows it"),
        }
    }
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rule {
    /// 4 or 6; both when `None`.
    pub family: Option<Family>,
    /// All must hold.
    pub matches: Vec<Match>,
    /// What it does.
    pub verdict: Verdict,
    /// Where it comes from.
    pub origin: Origin,
    /// What its author wrote about it, by name.
    pub annotations: Box<[(String, String)]>,
}

impl Rule {
    /// A stored rule; `None` for one that can never match, because a field of it is not enforced.
    fn of(rule: &rule::Rule, origin: Origin) -> Option<Self> {
        let verdict = match rule.action {
            Action::Allow => Verdict::Allow,
            Action::Deny => Verdict::Deny,
            Action::Pass => Verdict::Pass,
            Action::Log => Verdict::Log,
            Action::Unknown => return None,
        };
        // a field nobody enforces must not let anything through
        if rule.unenforced.is_some() && verdict != Verdict::Deny {
            return None;
        }
        let family = match rule.ip_version {
            Some(4) => Some(Family::V4),
            Some(6) => Some(Family::V6),
            _ => None,
        };
        let mut matches = Vec::new();
        let protocols = [(rule.protocol, false), (rule.not_protocol, true)];
        matches.extend(protocols.iter().filter_map(|(number, negated)| {
            number.map(|number| Match::Protocol { number, negated: *negated })
        }));
        let icmp = [(rule.icmp, false), (rule.not_icmp, true)];
        matches.extend(icmp.iter().filter_map(|(fields, negated)| {
            fields.map(|icmp| Match::Icmp { kind: icmp.kind, code: icmp.code, negated: *negated })
        }));
        side(End::Source, &rule.source, &mut matches);
        side(End::Destination, &rule.destination, &mut matches);
        Some(Rule { family, matches, verdict, origin, annotations: rule.annotations.clone() })
    }

    /// The rule for packets of one family; `None` where it does not apply to them. A list of networks all of which are of
    /// the other family makes the whole rule one of that family, also where it is negated, as upstream's.
    pub fn for_family(&self, family: Family) -> Option<Rule> {
        if self.family.is_some_and(|only| only != family) {
            return None;
        }
        let mut matches = Vec::with_capacity(self.matches.len());
        for one in &self.matches {
            matches.push(match one {
                Match::Nets { end, nets, negated } => {
                    let nets: Vec<Cidr> = nets.iter().filter(|net| net.family() == family).copied().collect();
                    if nets.is_empty() {
                        return None;
                    }
                    Match::Nets { end: *end, nets, negated: *negated }
                }
                Match::Protocol { number, negated: false } if *number == other_icmp(family) => return None,
                other => other.clone(),
            });
        }
        Some(Rule { family: Some(family), matches, ..self.clone() })
    }
}

/// The ICMP of the other family, which packets of this one never carry.
fn other_icmp(family: Family) -> u8 {
    match family {
        Family::V4 => ICMPV6,
        Family::V6 => ICMP,
    }
}

fn side(end: End, side: &Side, matches: &mut Vec<Match>) {
    for (nets, negated) in [(&side.nets, false), (&side.not_nets, true)] {
        if !nets.is_empty() {
            matches.push(Match::Nets { end, nets: nets.clone(), negated });
        }
    }
    for (set, negated) in [(&side.set, false), (&side.not_set, true)] {
        if let Some(id) = set {
            matches.push(Match::Set { end, id: id.clone(), negated });
        }
    }
    let ports = [(&side.ports, &side.named_ports, false), (&side.not_ports, &side.not_named_ports, true)];
    for (ranges, sets, negated) in ports {
        if !ranges.is_empty() || !sets.is_empty() {
            matches.push(Match::Ports { end, ranges: ranges.clone(), sets: sets.clone(), negated });
        }
    }
}

/// The rules of a tier for one direction of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TierRules {
    /// The tier's name.
    pub tier: Arc<str>,
    /// Rules of its policies, in the order they apply.
    pub rules: Vec<Rule>,
    /// What happens where none decided: [`Verdict::Deny`] or [`Verdict::Pass`].
    pub end: Verdict,
}

/// Everything that decides about packets of one endpoint, stage and direction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Program {
    /// Tiers with policies for it, in the order they apply.
    pub tiers: Vec<TierRules>,
    /// Rules of profiles, in order; `None` where profiles have no say.
    pub profiles: Option<Vec<Rule>>,
}

/// Which policies of a host endpoint are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Of a workload, all of them.
    Workload,
    /// Between the network and processes of the host.
    Host,
    /// What the host forwards.
    Forward,
    /// Before destinations are translated.
    PreDnat,
    /// Before connection tracking.
    Untracked,
}

impl Scope {
    fn takes(self, policy: &Policy) -> bool {
        match self {
            // a workload has no hooks before DNAT or connection tracking: what is meant for them says nothing about it
            Scope::Workload | Scope::Host => policy.stage == Stage::Normal,
            Scope::Forward => policy.stage == Stage::Normal && policy.forward,
            Scope::PreDnat => policy.stage == Stage::PreDnat,
            Scope::Untracked => policy.stage == Stage::Untracked,
        }
    }

    /// Whether what no tier decided is the profiles' to decide; elsewhere it goes on (`felix.md` §3.4 of the contract).
    pub fn has_profiles(self) -> bool {
        matches!(self, Scope::Workload | Scope::Host)
    }

    /// Whether the end of a tier may drop.
    fn tier_may_deny(self) -> bool {
        !matches!(self, Scope::PreDnat | Scope::Untracked)
    }
}

impl Program {
    /// The program of one direction of an endpoint with these tiers and profiles. Staged policies stay out.
    pub fn new(
        scope: Scope,
        direction: Direction,
        tiers: &[Tier],
        profiles: &[(Arc<str>, Arc<Profile>)],
    ) -> Self {
        let tiers = tiers.iter().filter_map(|tier| tier_rules(scope, direction, tier)).collect();
        let of_profile = |(name, profile): &(Arc<str>, Arc<Profile>)| profile_rules(direction, name, profile);
        let profiles = scope.has_profiles().then(|| profiles.iter().flat_map(of_profile).collect());
        Program { tiers, profiles }
    }

    /// The program for packets of one family.
    pub fn for_family(&self, family: Family) -> Self {
        let rules =
            |rules: &[Rule]| rules.iter().filter_map(|rule| rule.for_family(family)).collect::<Vec<_>>();
        let tier = |tier: &TierRules| TierRules {
            tier: tier.tier.clone(),
            rules: rules(&tier.rules),
            end: tier.end,
        };
        Program {
            tiers: self.tiers.iter().map(tier).collect(),
            profiles: self.profiles.as_deref().map(rules),
        }
    }
}

/// The rules of a profile for one direction.
pub fn profile_rules(direction: Direction, name: &Arc<str>, profile: &Profile) -> Vec<Rule> {
    let rules = match direction {
        Direction::Ingress => &profile.ingress,
        Direction::Egress => &profile.egress,
    };
    let origin = |index| Origin::Profile { name: name.clone(), direction, index };
    rules.iter().filter_map(|rule| Rule::of(rule, origin(rule.index))).collect()
}

/// What a policy says about a direction; `None` where it says nothing, not even that nothing is allowed.
fn list(policy: &Policy, direction: Direction) -> Option<&[rule::Rule]> {
    match direction {
        Direction::Ingress => policy.ingress.as_deref(),
        Direction::Egress => policy.egress.as_deref(),
    }
}

/// The policies of a tier that are about this scope and direction, staged ones included.
pub fn governing(scope: Scope, direction: Direction, tier: &Tier) -> impl Iterator<Item = &Arc<Policy>> {
    tier.policies.iter().filter(move |policy| scope.takes(policy) && list(policy, direction).is_some())
}

/// Those of them that have an effect, and what they say.
pub fn effective(
    scope: Scope,
    direction: Direction,
    tier: &Tier,
) -> impl Iterator<Item = (&Arc<Policy>, &[rule::Rule])> {
    let acting = governing(scope, direction, tier).filter(|policy| !policy.key.kind.is_staged());
    acting.filter_map(move |policy| Some((policy, list(policy, direction)?)))
}

/// The rules of a policy for one direction.
pub fn policy_rules(direction: Direction, policy: &Policy) -> Vec<Rule> {
    let (tier, key) = (policy.tier.as_str().into(), Arc::new(policy.key.clone()));
    rules_of(direction, &tier, &key, list(policy, direction).unwrap_or_default()).collect()
}

fn rules_of(
    direction: Direction,
    tier: &Arc<str>,
    policy: &Arc<PolicyKey>,
    list: &[rule::Rule],
) -> impl Iterator<Item = Rule> {
    let origin = move |index| Origin::Policy { tier: tier.clone(), policy: policy.clone(), direction, index };
    list.iter().filter_map(move |rule| Rule::of(rule, origin(rule.index)))
}

/// What happens where the policies of a tier apply and none decides.
pub fn end_of_tier(scope: Scope, tier: &Tier) -> Verdict {
    match tier.default_action {
        Action::Pass => Verdict::Pass,
        _ if !scope.tier_may_deny() => Verdict::Pass,
        _ => Verdict::Deny,
    }
}

/// `None` where no policy of the tier that has an effect says anything about this direction: the tier is skipped.
pub fn tier_rules(scope: Scope, direction: Direction, tier: &Tier) -> Option<TierRules> {
    let name: Arc<str> = tier.name.as_str().into();
    let mut applies = false;
    let mut rules = Vec::new();
    for (policy, list) in effective(scope, direction, tier) {
        applies = true;
        rules.extend(rules_of(direction, &name, &Arc::new(policy.key.clone()), list));
    }
    applies.then_some(TierRules { tier: name, rules, end: end_of_tier(scope, tier) })
}
