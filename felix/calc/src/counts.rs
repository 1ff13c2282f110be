//! How many there are of what, and what was done, for metrics.

use std::collections::BTreeMap;

/// Objects that count, and what they come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Nodes.
    pub nodes: usize,
    /// Endpoints of workloads and hosts, and network sets, of the whole cluster.
    pub items: usize,
    /// Endpoints of workloads, of the whole cluster.
    pub workload_endpoints: usize,
    /// Endpoints of hosts, of the whole cluster.
    pub host_endpoints: usize,
    /// Kinds of them: what selectors are evaluated against.
    pub identities: usize,
    /// Endpoints of this node.
    pub local_endpoints: usize,
    /// Policies.
    pub policies: usize,
    /// Policies that apply to endpoints of this node.
    pub active_policies: usize,
    /// Tiers.
    pub tiers: usize,
    /// Profiles.
    pub profiles: usize,
    /// Sets that rules in force name.
    pub sets: usize,
    /// Selectors of policies, sets and peers that are tried only with what has a label they need.
    pub narrow_selectors: usize,
    /// Those that are tried with everything.
    pub broad_selectors: usize,
}

/// What was done since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Work {
    /// Values taken in, by the name of their kind.
    pub updates: BTreeMap<&'static str, u64>,
    /// Times that a selector was tried with a kind of items.
    pub evaluations: Evaluations,
}

/// Times that selectors were tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Evaluations {
    /// It matched.
    pub matched: u64,
    /// It did not.
    pub missed: u64,
}

impl Evaluations {
    /// So many were tried, and so many of them matched.
    pub(crate) fn add(&mut self, tried: usize, matched: usize) {
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        self.matched += count(matched);
        self.missed += count(tried.saturating_sub(matched));
    }
}
