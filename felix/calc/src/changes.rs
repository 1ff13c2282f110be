//! What the dataplane is told: the difference to what it was told before.

use crate::endpoint::{EndpointKey, LocalEndpoint};
use crate::policy::Profile;
use crate::report::Report;
use crate::rule::SetId;
use crate::sets::SetChange;
use model::net::Cidr;
use model::{Key, Resource};
use std::net::IpAddr;
use std::sync::Arc;

/// What became of the dataplane's objects, each as the difference to the [`Changes`] before; all of them together, from
/// the first on, are the state.
///
/// The consumer applies them in the order of dependency, as upstream's sequencer does (`felix.md` §2 of the contract):
/// sets that were created or changed; profiles and endpoints that are there; endpoints and profiles that are gone; sets
/// that were removed; the rest in any order. A set that is named by a rule in force exists at each of these steps.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    /// Sets that rules name, and the static ones ([`crate::static_sets`]). Members of both families are in one set.
    pub sets: Vec<(SetId, SetChange)>,
    /// Profiles that local endpoints name; `None` for one that none names any more.
    pub profiles: Vec<(Arc<str>, Option<Arc<Profile>>)>,
    /// Local endpoints with everything that applies to them; `None` for one that is gone.
    pub endpoints: Vec<(EndpointKey, Option<Arc<LocalEndpoint>>)>,
    /// BGPPeers that are about local workloads, for their status files; `None` for an endpoint that has none any more.
    pub bgp_peers: Vec<(EndpointKey, Option<Arc<str>>)>,
    /// Routes of blocks and of borrowed addresses; `None` for one that is not wanted any more. Routes to local
    /// workloads are not among them: they follow from [`Changes::endpoints`].
    pub routes: Vec<(Cidr, Option<BlockRoute>)>,
    /// All networks of services, where they have changed: packets to them that no service takes must not loop.
    pub service_cidrs: Option<Arc<[Cidr]>>,
    /// Resources that are settings, as they are stored: every FelixConfiguration, ClusterInformation `default` and this
    /// node's own Node; `None` for one that is gone.
    pub settings: Vec<(Key, Option<Arc<Resource>>)>,
    /// What there is to say about a stored object, all of it; empty when there is nothing any more. Said once, for logs.
    pub reports: Vec<(Key, Vec<Report>)>,
}

impl Changes {
    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        *self == Changes::default()
    }
}

/// Where packets to a block or a borrowed address go (`felix.md` §8 of the contract).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlockRoute {
    /// `via <gateway> dev <the interface that has the address `from`> onlink`.
    Via {
        /// Address of the block's node.
        gateway: IpAddr,
        /// This node's own address, by which the interface is found.
        from: IpAddr,
    },
    /// `unreachable`: what an encapsulation that is not carried would have taken must not leave in clear.
    Unreachable,
    /// `blackhole`: the block is this node's; its workloads have routes of their own.
    Blackhole,
}
