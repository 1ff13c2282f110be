//! What the RIB is told of a neighbour: by configuration ([`PeerSettings`]) and by its session ([`Session`]).

use crate::policy::Policy;
use bgp_wire::{Codec, Family, PerFamily};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// A neighbour: a small dense number, given by [`Rib::add_peer`](crate::Rib::add_peer) and used again after
/// [`Rib::remove_peer`](crate::Rib::remove_peer).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub(crate) u32);

impl PeerId {
    /// The speaker itself, as the source of what it originates.
    pub const LOCAL: PeerId = PeerId(0);

    /// As a number, for tables of the caller's own.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Which next hop routes are sent with (`bgp.md` §4.5 of the contract).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum NextHopMode {
    /// As RFC 4271 §5.1.3 says: kept inside the AS, our own address to other ASes and for what we originate.
    #[default]
    Auto,
    /// Always our own address.
    Own,
    /// As it came, to other ASes too.
    Keep,
}

/// What happens when a neighbour announces too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MaxPrefixAction {
    /// It is told, routes are taken.
    Warn,
    /// Routes beyond the limit are not taken.
    Block,
    /// The session ends with Cease/Maximum Number of Prefixes Reached (RFC 4486), and is tried again after the wait
    /// for errors.
    #[default]
    Restart,
    /// The session ends and stays down until the peer is configured anew.
    Disable,
}

/// How much a neighbour may announce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MaxPrefixes {
    /// Most prefixes (paths, with ADD-PATH) of one family.
    pub limit: u32,
    /// What happens beyond.
    pub action: MaxPrefixAction,
}

/// A neighbour's announcements went over its bound; told once until they are below it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LimitExceeded {
    /// Of which family.
    pub family: Family,
    /// The bound and what the caller shall do about it.
    pub max: MaxPrefixes,
}

/// What the RIB is told of a neighbour by configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PeerSettings {
    /// What a person calls it: `Mesh_192_0_2_12`.
    pub name: Arc<str>,
    /// Its address: the last tie-breaker (RFC 4271 §9.1.2.2 g).
    pub address: IpAddr,
    /// We reflect to it and from it as to a client (RFC 4456).
    pub rr_client: bool,
    /// Next hop of what we send.
    pub next_hop: NextHopMode,
    /// Our address in each family: the next hop that stands for us. Where it is absent, the session's local address is
    /// taken if it is of the family.
    pub local_addresses: PerFamily<Option<IpAddr>>,
    /// How often our own AS may stand in the path of a route we take.
    pub allow_own_as: u32,
    /// Bound of what it may announce, in each family.
    pub max_prefixes: Option<MaxPrefixes>,
    /// What is done to routes it announces. Equal policies should be one allocation.
    pub import: PerFamily<Arc<Policy>>,
    /// What is done to routes we announce to it. Equal policies should be one allocation.
    pub export: PerFamily<Arc<Policy>>,
}

impl PeerSettings {
    /// A plain peer whose policies accept everything.
    pub fn new(name: impl Into<Arc<str>>, address: IpAddr) -> Self {
        let accept = Arc::new(Policy::accept_all());
        let both = PerFamily { ipv4: accept.clone(), ipv6: accept };
        PeerSettings {
            name: name.into(),
            address,
            rr_client: false,
            next_hop: NextHopMode::Auto,
            local_addresses: PerFamily::default(),
            allow_own_as: 0,
            max_prefixes: None,
            import: both.clone(),
            export: both,
        }
    }
}

/// What the RIB is told of an Established session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Session {
    /// What the bytes depend on, and which families there are.
    pub codec: Codec,
    /// Our AS on this session: what is prepended, and what no path may contain (RFC 4271 §9.1.2).
    pub local_as: u32,
    /// The neighbour's.
    pub remote_as: u32,
    /// The neighbour's BGP identifier.
    pub router_id: Ipv4Addr,
    /// Our end of the connection.
    pub local_address: IpAddr,
    /// Refreshes are marked by BoRR and EoRR (RFC 7313).
    pub enhanced_refresh: bool,
}
