//! How many there are of what, for metrics.

/// Objects that count, and what they come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Nodes.
    pub nodes: usize,
    /// Endpoints of workloads and hosts, and network sets, of the whole cluster.
    pub items: usize,
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
}
