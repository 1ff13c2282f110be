//! What one session is told to do, and what a change of it asks for.

use bgp_wire::{Family, PerFamily};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Which AS the other side may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RemoteAs {
    /// This one.
    Exactly(u32),
    /// Any but ours: a dynamic neighbour outside.
    External,
    /// Any.
    Any,
}

impl RemoteAs {
    /// Whether a peer of `remote` may speak with us, who are `local`.
    pub fn allows(self, remote: u32, local: u32) -> bool {
        match self {
            RemoteAs::Exactly(wanted) => wanted == remote,
            RemoteAs::External => remote != local,
            RemoteAs::Any => true,
        }
    }
}

/// How far away the other side may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Distance {
    /// Anywhere; our packets live for this many hops (Calico's `ttl security off; multihop`: 255).
    Multihop(u8),
    /// At most this many hops, 1 being a neighbour on the link; packets that came farther are dropped (GTSM, RFC 5082).
    Within(u8),
}

/// How TCP segments of a session are signed.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub enum Authentication {
    /// Not at all.
    #[default]
    None,
    /// With this key (RFC 2385).
    Md5(Vec<u8>),
    /// With this master key (RFC 5925, HMAC-SHA-1-96) and these key identifiers.
    Ao {
        /// Master key.
        key: Vec<u8>,
        /// Identifier we send with.
        send_id: u8,
        /// Identifier we expect.
        receive_id: u8,
    },
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Authentication::None => "None",
            Authentication::Md5(_) => "Md5(…)",
            Authentication::Ao { .. } => "Ao(…)",
        })
    }
}

/// What we offer of ADD-PATH in one family (RFC 7911).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct AddPath {
    /// We can receive several paths of a prefix.
    pub receive: bool,
    /// We can send them.
    pub send: bool,
}

/// What we say about our own restarts (RFC 4724, RFC 8538).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GracefulRestart {
    /// How long we may be away before the other side drops our routes, in seconds; 4095 at most.
    pub restart_time: u16,
    /// A NOTIFICATION other than Cease/Hard Reset keeps routes too (the N bit of RFC 8538).
    pub notification: bool,
    /// Families whose forwarding survives our restart (the F bit); the routes stay in the kernel.
    pub forwarding: PerFamily<bool>,
    /// How long routes of a peer that came back may stay stale, should its End-of-RIB not come.
    pub stale_time: Duration,
}

/// Timers of a session. All but the hold time, which the OPEN tells, are ours alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timers {
    /// Hold time we offer, in seconds; 0 for none (RFC 4271 §4.2: else at least 3).
    pub hold_time: u16,
    /// Time between KEEPALIVEs, in seconds; `None` for a third of the negotiated hold time, which also bounds it.
    pub keepalive_time: Option<u16>,
    /// Wait before the first attempt to connect.
    pub connect_delay: Duration,
    /// Wait between two attempts (ConnectRetryTime), and the longest one attempt may take.
    pub connect_retry: Duration,
    /// Wait after a first error (IdleHoldTime); doubles with each further one.
    pub error_wait_min: Duration,
    /// Longest wait after an error.
    pub error_wait_max: Duration,
    /// Time without an error after which the wait is short again.
    pub error_forget: Duration,
    /// Wait between a connection and our OPEN, for the other side's to come first (DelayOpenTime).
    pub delay_open: Option<Duration>,
}

impl Default for Timers {
    /// Calico's (`bgp.md` §3 of the contract).
    fn default() -> Self {
        Timers {
            hold_time: 240,
            keepalive_time: None,
            connect_delay: Duration::from_secs(2),
            connect_retry: Duration::from_secs(5),
            error_wait_min: Duration::from_secs(5),
            error_wait_max: Duration::from_secs(30),
            error_forget: Duration::from_secs(300),
            delay_open: None,
        }
    }
}

/// One session with one peer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Settings {
    /// Our AS on this session (Calico's `localASNumber`, else the node's).
    pub local_as: u32,
    /// The other side's.
    pub remote_as: RemoteAs,
    /// Our BGP identifier; not zero.
    pub router_id: Ipv4Addr,
    /// Address we connect from and are reached at; `None` leaves it to the kernel.
    pub local_address: Option<IpAddr>,
    /// Address of the other side.
    pub remote_address: IpAddr,
    /// Interface that a link-local `remote_address` is on: its index.
    pub scope: Option<u32>,
    /// Port we connect to.
    pub remote_port: u16,
    /// Never connect, only be connected to. Always so for a dynamic neighbour, whose port is unknown.
    pub passive: bool,
    /// Hops allowed.
    pub distance: Distance,
    /// Signing of segments.
    pub authentication: Authentication,
    /// Timers.
    pub timers: Timers,
    /// Families we offer; at least one. The session comes up with those that the other side offers too.
    pub families: PerFamily<bool>,
    /// ADD-PATH we offer.
    pub add_path: PerFamily<AddPath>,
    /// IPv4 routes may have IPv6 next hops (RFC 8950).
    pub extended_next_hop: bool,
    /// Messages of up to 65,535 octets (RFC 8654).
    pub extended_messages: bool,
    /// Route refresh and enhanced route refresh (RFC 2918, RFC 7313).
    pub route_refresh: bool,
    /// Graceful restart; `None` neither asks for it nor grants it.
    pub graceful_restart: Option<GracefulRestart>,
}

impl Settings {
    /// A session as Calico's nodes have it: one family, that of `remote_address`, ADD-PATH both ways.
    pub fn new(local_as: u32, router_id: Ipv4Addr, remote_as: RemoteAs, remote_address: IpAddr) -> Self {
        let family = match remote_address {
            IpAddr::V4(_) => Family::Ipv4Unicast,
            IpAddr::V6(_) => Family::Ipv6Unicast,
        };
        let families = PerFamily::from_fn(|f| f == family);
        Settings {
            local_as,
            remote_as,
            router_id,
            local_address: None,
            remote_address,
            scope: None,
            remote_port: 179,
            passive: false,
            distance: Distance::Multihop(255),
            authentication: Authentication::None,
            timers: Timers::default(),
            families,
            add_path: PerFamily::from_fn(|f| AddPath { receive: f == family, send: f == family }),
            extended_next_hop: false,
            extended_messages: true,
            route_refresh: true,
            graceful_restart: Some(GracefulRestart {
                restart_time: 120,
                notification: true,
                forwarding: families,
                stale_time: Duration::from_secs(360),
            }),
        }
    }

    /// What going from these settings to `new` asks for. What the OPEN told and what the connection is made of needs a
    /// new session; everything else is simply in force from now on.
    pub fn change(&self, new: &Settings) -> Change {
        if self == new {
            Change::Nothing
        } else if self.bound_to_session() == new.bound_to_session() {
            Change::Apply
        } else {
            Change::Reset
        }
    }

    /// These settings with all that may change under a running session set to one value.
    fn bound_to_session(&self) -> Settings {
        Settings {
            passive: false,
            distance: Distance::Multihop(0),
            authentication: Authentication::None,
            timers: Timers { hold_time: self.timers.hold_time, ..Timers::default() },
            graceful_restart: self
                .graceful_restart
                .map(|g| GracefulRestart { stale_time: Duration::ZERO, ..g }),
            ..self.clone()
        }
    }
}

/// What a change of [`Settings`] asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// They are the same.
    Nothing,
    /// The running session goes on; timers, sockets' options and keys follow.
    Apply,
    /// The session must be made anew.
    Reset,
}
