//! What of the node agent's settings matters to the calculation.

use model::net::Cidr;

/// Settings, as far as they decide about sets and routes (FelixConfiguration, `resources.md` §3 of the contract).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Routes of IP in IP pools are this agent's, not the BGP speaker's (`programClusterRoutes`, `bgp.md` §9).
    pub ipip_routes: bool,
    /// Routes of pools without encapsulation are this agent's.
    pub no_encap_routes: bool,
    /// `ipipEnabled`; where it is not set, a pool with an `ipipMode` decides.
    pub ipip_enabled: Option<bool>,
    /// Packets to nodes keep their source address (`natOutgoingExclusions: IPPoolsAndHostIPs`).
    pub masquerade_spares_hosts: bool,
    /// Networks of nodes outside of the cluster (`externalNodesList`).
    pub external_nodes: Vec<Cidr>,
}

impl Default for Options {
    /// Upstream's defaults: `programClusterRoutes: EnabledIPIPOnly`, `natOutgoingExclusions: IPPoolsOnly`.
    fn default() -> Self {
        Options {
            ipip_routes: true,
            no_encap_routes: false,
            ipip_enabled: None,
            masquerade_spares_hosts: false,
            external_nodes: Vec::new(),
        }
    }
}
