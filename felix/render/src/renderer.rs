//! What is told and asked of a renderer, whatever its ruleset is made of.

use crate::settings::Settings;
use felix_calc::Changes;
use felix_calc::endpoint::EndpointKey;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// The desired ruleset of one node. Everything it says is a function of what it was told last, never of the way there:
/// after any history the updates add up to those of a fresh renderer.
pub trait Render: Send {
    /// The settings are these now.
    fn set_settings(&mut self, settings: Settings);

    /// An interface of the node is there with these addresses, or (`None`) is gone. Those of workloads may be told or
    /// not.
    fn set_interface(&mut self, name: &str, addresses: Option<&[IpAddr]>);

    /// What the calculation says.
    fn apply(&mut self, changes: &Changes);

    /// Which host endpoint each interface has, the one for all interfaces apart.
    fn host_interfaces(&self) -> BTreeMap<Arc<str>, EndpointKey>;

    /// The endpoints that have an interface of which this is true, together with the chains that its packets pass.
    fn endpoints_where(&self, holds: &dyn Fn(&str, &[Arc<str>]) -> bool) -> BTreeSet<EndpointKey>;

    /// The endpoints whose packets pass one of these chains, or that have one of these interfaces.
    fn endpoints_of(
        &self,
        chains: &BTreeSet<Arc<str>>,
        interfaces: &BTreeSet<String>,
    ) -> BTreeSet<EndpointKey> {
        if chains.is_empty() && interfaces.is_empty() {
            return BTreeSet::new();
        }
        self.endpoints_where(&|interface, passed| {
            interfaces.contains(interface) || passed.iter().any(|chain| chains.contains(chain))
        })
    }
}
