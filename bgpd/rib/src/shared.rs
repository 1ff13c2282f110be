//! What both families share.

use crate::decision::Facts;
use crate::next_hop::NextHops;
use crate::peers::Peers;
use crate::policy::Policy;
use crate::policy::evaluate::Compiled;
use crate::set::Sets;
use bgp_wire::PerFamily;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// What the RIB is told of its speaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RibConfig {
    /// BGP identifier.
    pub router_id: Ipv4Addr,
    /// Cluster identifier as a route reflector; the router identifier where none is given (RFC 4456 §7).
    pub cluster_id: Option<Ipv4Addr>,
    /// Metric of ordinary routes (`bgp.md` §2 of the contract).
    pub normal_priority: PerFamily<u32>,
    /// Which routes go into the kernel (`bgp.md` §9 of the contract).
    pub kernel: PerFamily<Arc<Policy>>,
    /// Changes for the FIB are noted; without, [`Rib::drain_fib`](crate::Rib::drain_fib) has nothing to tell.
    pub fib: bool,
    /// Most paths that share the traffic of a destination; at least one.
    pub multipath: usize,
    /// Next hops have to be resolved by the caller before their routes are used; without, all are taken as reachable.
    pub track_next_hops: bool,
    /// Octets of messages a group keeps for its slowest member before that is left behind.
    pub log_limit: usize,
    /// Makes the places in hash tables unpredictable to neighbours; any random number.
    pub seed: u64,
}

impl RibConfig {
    /// What a speaker has where nothing else is said: no FIB, every next hop reachable.
    pub fn new(router_id: Ipv4Addr) -> Self {
        let accept = Arc::new(Policy::accept_all());
        RibConfig {
            router_id,
            cluster_id: None,
            normal_priority: PerFamily { ipv4: 1024, ipv6: 1024 },
            kernel: PerFamily { ipv4: accept.clone(), ipv6: accept },
            fib: false,
            multipath: 16,
            track_next_hops: false,
            log_limit: 8 << 20,
            seed: 0,
        }
    }

    /// What stands in CLUSTER_LIST.
    pub(crate) fn cluster_id(&self) -> Ipv4Addr {
        self.cluster_id.unwrap_or(self.router_id)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Shared {
    pub config: RibConfig,
    pub kernel: PerFamily<Arc<Compiled>>,
    pub peers: Peers,
    pub sets: Sets,
    pub next_hops: NextHops,
}

impl Shared {
    pub fn new(config: RibConfig) -> Self {
        let mut next_hops = NextHops::default();
        next_hops.track(config.track_next_hops);
        Shared {
            kernel: PerFamily::from_fn(|f| Arc::new(Compiled::new(config.kernel.get(f).clone()))),
            peers: Peers::default(),
            sets: Sets::new(config.seed),
            next_hops,
            config,
        }
    }

    /// What the decision looks at.
    pub fn facts(&self) -> Facts<'_> {
        Facts { sets: &self.sets, next_hops: &self.next_hops, peers: &self.peers }
    }
}
