//! Policy as data: an ordered list of rules, each with a name a person can look up.
//!
//! The first rule that matches and has a [`Verdict`] ends the evaluation; a rule without one applies its operations and
//! goes on. What Calico's filters and its standing export rules say (`bgp.md` §5, §6, §7, §9, §10 of the contract) is
//! compiled into this form by `bgpd/config`.

pub(crate) mod evaluate;

mod trial;

pub use evaluate::LOCAL_PREF_BASE;
pub use trial::{Trial, TrialRoute, Trier};

use bgp_wire::Prefix;
use std::sync::Arc;

/// What ends an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The route passes.
    Accept,
    /// The route is dropped.
    Reject,
}

/// How a prefix is compared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PrefixMatch {
    /// The prefix to compare with.
    pub prefix: Prefix,
    /// Shortest length that matches; with `max` equal to the prefix's own length this is equality.
    pub min: u8,
    /// Longest length that matches.
    pub max: u8,
}

/// A community of either form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Community {
    /// RFC 1997.
    Standard(u32),
    /// RFC 8092.
    Large([u32; 3]),
}

/// One condition; those of a rule are ANDed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Condition {
    /// The destination matches one of these (any order); an empty list matches nothing.
    Prefix(Vec<PrefixMatch>),
    /// The destination matches none of these.
    NotPrefix(Vec<PrefixMatch>),
    /// The route was learnt by BGP (`true`), or not (`false`).
    LearntByBgp(bool),
    /// The outgoing interface of a route that has one is matched by one of these shell patterns (`*`, `?`).
    Interface(Vec<String>),
    /// The route's BGP next hop lies in one of these; false for a route without one.
    NextHop(Vec<Prefix>),
    /// The route carries this community.
    Community(Community),
    /// The AS path begins with these.
    AsPathPrefix(Vec<u32>),
    /// Its priority (`LOCAL_PREF` = 2147483647 − priority) is exactly this.
    Priority(u32),
    /// `LOCAL_PREF` is above this.
    LocalPrefAbove(u32),
    /// Its metric (see [`Operation::DerivePriority`]) is below this: elevated priority. False for a route without one.
    MetricBelow(u32),
    /// The session is external (`true`) or internal (`false`).
    External(bool),
}

/// One change of a route's attributes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Adds a community.
    AddCommunity(Community),
    /// Prepends these, so that the first of the list is the first of the path.
    PrependAsPath(Vec<u32>),
    /// Sets priority: `LOCAL_PREF` = 2147483647 − this.
    SetPriority(u32),
    /// Makes metric and `LOCAL_PREF` say the same (`bgp.md` §6 step 0, §9): a route learnt by BGP gets the metric
    /// 2147483647 − `LOCAL_PREF` (which is 100 where the neighbour sent none); any other the metric it has or this one,
    /// and `LOCAL_PREF` = 2147483647 − metric. The metric is also that of the route in the kernel.
    DerivePriority(u32),
    /// In the kernel the route leads through this device, whatever link its next hop is on (`bgp.md` §9: IP in IP).
    Tunnel(String),
    /// Prefers the route over those of the node's own protocols (`bgp.md` §5: preference 200).
    Prefer(u32),
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rule {
    /// What a person calls it: `BGPFilter f, importV4, rule 2`.
    pub name: Arc<str>,
    /// All must hold; none means always.
    pub conditions: Vec<Condition>,
    /// Applied in order when they do.
    pub operations: Vec<Operation>,
    /// Ends the evaluation.
    pub verdict: Option<Verdict>,
}

/// Rules in order, and what happens at their end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Policy {
    /// In order.
    pub rules: Vec<Rule>,
    /// Where no rule decided.
    pub otherwise: Verdict,
}

impl Policy {
    /// Everything passes as it is.
    pub fn accept_all() -> Self {
        Policy { rules: Vec::new(), otherwise: Verdict::Accept }
    }

    /// Nothing passes.
    pub fn reject_all() -> Self {
        Policy { rules: Vec::new(), otherwise: Verdict::Reject }
    }
}
