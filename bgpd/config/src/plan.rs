//! What the speaker of one node shall do.

use crate::warning::Warning;
use bgp_rib::PeerSettings;
use bgp_rib::policy::Policy;
use bgp_session::{Authentication, Settings};
use bgp_wire::{PerFamily, Prefix};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// Port of BGP where nothing else is configured.
pub const BGP_PORT: u16 = 179;

/// What one session is known by: resources that say the same about one neighbour may come and go under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SessionKey {
    /// A neighbour with an address.
    Peer {
        /// Its address.
        address: IpAddr,
        /// The port it listens at.
        port: u16,
    },
    /// Whoever comes from this prefix: one session a neighbour, made when it connects.
    Range(Prefix),
}

impl SessionKey {
    /// The neighbour's address; that of the prefix for a range.
    pub fn address(&self) -> IpAddr {
        match self {
            SessionKey::Peer { address, .. } => *address,
            SessionKey::Range(prefix) => prefix.addr(),
        }
    }
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SessionKey::Peer { address, port: BGP_PORT } => write!(f, "{address}"),
            SessionKey::Peer { address: IpAddr::V4(address), port } => write!(f, "{address}:{port}"),
            SessionKey::Peer { address, port } => write!(f, "[{address}]:{port}"),
            SessionKey::Range(prefix) => write!(f, "{prefix}"),
        }
    }
}

/// Why a session exists; also the first word of its name in Calico's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SessionType {
    /// Full mesh of nodes.
    Mesh,
    /// A BGPPeer for all nodes.
    Global,
    /// A BGPPeer for some nodes, or the far end of another node's.
    Node,
    /// A workload of this node.
    LocalWorkload,
}

impl SessionType {
    /// As names of sessions begin.
    pub fn prefix(self) -> &'static str {
        match self {
            SessionType::Mesh => "Mesh_",
            SessionType::Global => "Global_",
            SessionType::Node => "Node_",
            SessionType::LocalWorkload => "Local_Workload_",
        }
    }
}

/// Where a password lies: a key of a Kubernetes Secret (`bgp.md` §11 of the contract).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretRef {
    /// Name of the secret.
    pub name: String,
    /// Key in it.
    pub key: String,
}

/// How segments are signed once the password is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Signing {
    /// TCP-MD5 (RFC 2385).
    #[default]
    Md5,
    /// TCP-AO (RFC 5925) with these key identifiers.
    Ao {
        /// Identifier we send with.
        send_id: u8,
        /// Identifier we expect.
        receive_id: u8,
    },
}

impl Signing {
    /// What the session is told; without a password it runs unsigned, as Calico's do.
    pub fn with(self, password: Option<Vec<u8>>) -> Authentication {
        match (password, self) {
            (None, _) => Authentication::None,
            (Some(key), Signing::Md5) => Authentication::Md5(key),
            (Some(key), Signing::Ao { send_id, receive_id }) => {
                Authentication::Ao { key, send_id, receive_id }
            }
        }
    }
}

/// One session, or the pattern of those of a range.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionPlan {
    /// As Calico names it: `Mesh_192_0_2_1`, `Node_192_0_2_1_port_1179`.
    pub name: String,
    /// Why it exists.
    pub session_type: SessionType,
    /// The resource that asks for it: `BGPPeer tor`, or the BGPConfiguration of the mesh.
    pub origin: String,
    /// What the session is told, but for the password. In a range, the remote address is the prefix's.
    pub settings: Settings,
    /// Interface of a neighbour with a link-local address.
    pub interface: Option<String>,
    /// Where the password is; without one the session runs unsigned.
    pub password: Option<SecretRef>,
    /// How the password is used.
    pub signing: Signing,
    /// What the RIB is told. In a range, the name is what those of its neighbours begin with, the address the prefix's.
    pub routing: PeerSettings,
    /// Most neighbours of a range at once; none for no limit.
    pub dynamic_limit: Option<u32>,
    /// The session is held down, and the neighbour is told this text (RFC 9003).
    pub shutdown: Option<String>,
}

/// Where the speaker listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Listen {
    /// TCP port.
    pub port: u16,
    /// Addresses; empty for all of the host.
    pub addresses: Vec<IpAddr>,
}

/// How much is logged (`bgp.md` §2 of the contract).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// Sessions, and routes and filters of peers.
    #[default]
    Info,
    /// Nothing.
    None,
}

/// Everything the speaker of a node shall do.
#[derive(Debug, Clone, PartialEq)]
pub struct NodePlan {
    /// BGP identifier; without one there are no sessions.
    pub router_id: Option<Ipv4Addr>,
    /// AS number of the node.
    pub local_as: u32,
    /// Set on a route reflector (RFC 4456).
    pub cluster_id: Option<Ipv4Addr>,
    /// Where to listen.
    pub listen: Listen,
    /// How much to log.
    pub log_level: LogLevel,
    /// All sessions.
    pub sessions: BTreeMap<SessionKey, Arc<SessionPlan>>,
    /// Blackhole routes that are originated: the blocks of this node (`bgp.md` §7 of the contract).
    pub blocks: BTreeSet<Prefix>,
    /// Routes to neighbours by a gateway (`reachableBy`).
    pub static_routes: BTreeMap<Prefix, IpAddr>,
    /// Which routes are put into the kernel, and how (`bgp.md` §9 of the contract).
    pub kernel: PerFamily<Arc<Policy>>,
    /// Metric of ordinary routes.
    pub normal_priority: PerFamily<u32>,
    /// Interfaces whose addresses are no routes of ours, as shell patterns: those configured, and workloads'.
    pub ignored_interfaces: Vec<String>,
    /// What was wrong with resources, and left out.
    pub warnings: Vec<Warning>,
}
