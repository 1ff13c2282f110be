//! What can be asked of a kernel: operations as data, so that the real one and the in-memory one take the same.

use crate::addr::{IpNet, Mac};
use crate::netns::Netns;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use nix::errno::Errno;
use std::net::IpAddr;
use std::sync::Arc;

/// How a link is named in a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LinkRef {
    /// By name, looked up by the kernel at the time of the request.
    Name(String),
    /// By index.
    Index(u32),
}

impl From<&str> for LinkRef {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl From<u32> for LinkRef {
    fn from(index: u32) -> Self {
        Self::Index(index)
    }
}

/// Scope of a route or address, as rtnetlink numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// 0
    Universe,
    /// 253
    Link,
    /// 254
    Host,
    /// Any other.
    Other(u8),
}

/// Kind of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RouteKind {
    /// Deliver or forward.
    Unicast,
    /// Drop silently.
    Blackhole,
    /// Drop with "unreachable".
    Unreachable,
    /// Any other, by number.
    Other(u8),
}

/// One next hop.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NextHop {
    /// Gateway; may be of the other family (RFC 5549 style).
    pub gateway: Option<IpAddr>,
    /// Outgoing link's index.
    pub link: Option<u32>,
    /// Do not check that the gateway is on-link.
    pub onlink: bool,
    /// Weight, 1 for plain.
    pub weight: u16,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Route {
    /// Destination; prefix 0 for the default route.
    pub dst: IpNet,
    /// Kind.
    pub kind: RouteKind,
    /// Next hops: none for a blackhole, several for ECMP.
    pub next_hops: Vec<NextHop>,
    /// Scope.
    pub scope: Scope,
    /// Protocol number: 2 kernel, 3 boot, 4 static, 80 felix, 81 bgpd.
    pub protocol: u8,
    /// Metric; `None` leaves it to the kernel (IPv6: 1024).
    pub metric: Option<u32>,
    /// Routing table; 254 is main.
    pub table: u32,
    /// Preferred source.
    pub source: Option<IpAddr>,
}

/// A neighbour entry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Neighbour {
    /// Link's index.
    pub link: u32,
    /// Address.
    pub addr: IpAddr,
    /// Hardware address.
    pub mac: Option<Mac>,
    /// Never aged or probed.
    pub permanent: bool,
    /// A proxy entry.
    pub proxy: bool,
}

/// A link as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Alias, if set.
    pub alias: Option<String>,
    /// Hardware address.
    pub mac: Option<Mac>,
    /// MTU in bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// Has carrier.
    pub carrier: bool,
    /// Kind: `veth`, `netkit`, `bridge`, …; empty for physical ones and `lo`.
    pub kind: String,
    /// Index of the other end (of a pair) or lower device, possibly in another namespace.
    pub peer: Option<u32>,
}

/// An address of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Link's index.
    pub link: u32,
    /// Address and prefix length.
    pub net: IpNet,
    /// Scope.
    pub scope: Scope,
    /// Duplicate address detection still runs.
    pub tentative: bool,
}

/// A pair of links to make, veth or netkit; the near end appears in the namespace the request is sent in.
#[derive(Debug, Clone, Default)]
pub struct VethPair {
    /// Near end's name.
    pub name: String,
    /// Near end's hardware address; random when `None`.
    pub mac: Option<Mac>,
    /// Far end's name.
    pub peer_name: String,
    /// Far end's hardware address; random when `None`.
    pub peer_mac: Option<Mac>,
    /// Where the far end appears; the same namespace when `None`.
    pub peer_netns: Option<Netns>,
    /// MTU of both ends; 0 for the kernel's default.
    pub mtu: u32,
    /// Transmit and receive queues of both ends; 0 for the kernel's default, one a processor.
    pub queues: u32,
    /// Whether the near end is up from the start.
    pub up: bool,
}

/// One change.
#[derive(Debug, Clone)]
pub enum Op {
    /// Make a veth pair.
    AddVeth(VethPair),
    /// Make a netkit pair that carries frames as a veth pair does (mode L2) and lets everything pass; the near end is
    /// the primary. A kernel that does not know netkit (before Linux 6.7, or built without) refuses with `EOPNOTSUPP`.
    AddNetkit(VethPair),
    /// Make a bridge of this name, without ports.
    AddBridge(String),
    /// Make a link a port of a bridge.
    SetMaster {
        /// Which.
        link: LinkRef,
        /// The bridge's index.
        master: u32,
    },
    /// Remove a link; missing is an error.
    DelLink(LinkRef),
    /// Give a link another name and put it into a group, such as of links that are to go together. It should be down:
    /// before Linux 6.2 a link that is up keeps its name (`EBUSY`).
    PutAside {
        /// Index.
        link: u32,
        /// The new name.
        name: String,
        /// The group, not 0: that one all links begin in.
        group: u32,
    },
    /// Remove all links of a group, which takes the kernel as long as removing one; none is an error.
    DelGroup(u32),
    /// Change a link; `None` leaves a property alone.
    SetLink {
        /// Which.
        link: LinkRef,
        /// Up or down.
        up: Option<bool>,
        /// Hardware address.
        mac: Option<Mac>,
        /// MTU.
        mtu: Option<u32>,
        /// Alias; empty removes it.
        alias: Option<String>,
    },
    /// Add an address.
    AddAddress {
        /// Link's index.
        link: u32,
        /// Address.
        net: IpNet,
        /// An IPv6 address for which nobody looks for duplicates, whatever the link's `accept_dad` says: usable at once.
        nodad: bool,
    },
    /// Remove an address.
    DelAddress {
        /// Link's index.
        link: u32,
        /// Address.
        net: IpNet,
    },
    /// Add a route; fails with `EEXIST` when one of the same key is there.
    AddRoute(Route),
    /// Add or replace a route of the same destination, table and metric.
    ReplaceRoute(Route),
    /// Remove the first route that agrees: destination, table, protocol, next hops, for IPv4 the scope, and the
    /// metric where one is given. None of that kind is an error (`ESRCH`).
    DelRoute(Route),
    /// Add or replace a neighbour.
    SetNeighbour(Neighbour),
    /// Remove a neighbour.
    DelNeighbour(Neighbour),
}

impl Op {
    /// Takes a link up.
    pub fn up(link: impl Into<LinkRef>) -> Self {
        Self::SetLink { link: link.into(), up: Some(true), mac: None, mtu: None, alias: None }
    }

    /// Takes a link down.
    pub fn down(link: impl Into<LinkRef>) -> Self {
        Self::SetLink { link: link.into(), up: Some(false), mac: None, mtu: None, alias: None }
    }

    /// The pair it makes, where it makes one.
    ///
    /// # Errors
    /// It does not.
    pub(crate) fn pair(&self) -> Result<&VethPair, KernelError> {
        match self {
            Op::AddVeth(pair) | Op::AddNetkit(pair) => Ok(pair),
            op => Err(KernelError::Invalid { what: op.to_string(), reason: "makes no pair".to_string() }),
        }
    }
}

/// Why the kernel refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KernelError {
    /// The kernel's errno for a request; `what` names the request in words.
    #[error("{what}: {}{}", errno_text(*errno), detail_text(detail))]
    Refused {
        /// Positive errno.
        errno: i32,
        /// The request.
        what: String,
        /// The kernel's own explanation, where it gave one.
        detail: Option<String>,
    },
    /// An earlier operation of the batch failed, this one was not sent.
    #[error("not attempted, an earlier operation of the batch failed")]
    Skipped,
    /// The request cannot be put into a message.
    #[error("{what}: {reason}")]
    Invalid {
        /// The request.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The socket itself failed.
    #[error("netlink: {0}")]
    Socket(String),
    /// A file under /proc/sys.
    #[error("sysctl {key}: {reason}")]
    Sysctl {
        /// Dotted or slashed name.
        key: String,
        /// The system's words.
        reason: String,
    },
    /// A namespace cannot be opened.
    #[error("network namespace {path}: {reason}")]
    Namespace {
        /// Path given.
        path: String,
        /// The system's words.
        reason: String,
    },
}

impl KernelError {
    /// Whether a question or its answer got lost: nobody knows whether it was carried out, and it may be asked again.
    pub fn is_lost(&self) -> bool {
        matches!(self, KernelError::Socket(_))
    }

    /// The errno, where there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            KernelError::Refused { errno, .. } => Some(*errno),
            _ => None,
        }
    }

    /// Whether what was to be removed is not there (`ESRCH`, `ENODEV`).
    pub fn is_gone(&self) -> bool {
        self.errno().is_some_and(|errno| [Errno::ESRCH as i32, Errno::ENODEV as i32].contains(&errno))
    }

    /// Whether what was to be made is there already (`EEXIST`).
    pub fn is_there(&self) -> bool {
        self.errno() == Some(Errno::EEXIST as i32)
    }
}

/// ip_set has numbers of its own above the system's.
fn errno_text(errno: i32) -> &'static str {
    netfilter::ipset::words(errno).unwrap_or_else(|| Errno::from_raw(errno).desc())
}

fn detail_text(detail: &Option<String>) -> String {
    detail.as_ref().map(|text| format!(" ({text})")).unwrap_or_default()
}

/// Which routes to dump; filtered in the kernel where it can.
#[derive(Debug, Clone, Default)]
pub struct RouteFilter {
    /// 4 or 6; both when `None`.
    pub family: Option<u8>,
    /// Table.
    pub table: Option<u32>,
    /// Protocol.
    pub protocol: Option<u8>,
    /// Outgoing link.
    pub link: Option<u32>,
}

/// Something changed in a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelEvent {
    /// A link appeared or changed.
    Link(Link),
    /// A link went.
    LinkGone(Link),
    /// An address appeared.
    Address(Address),
    /// An address went.
    AddressGone(Address),
    /// A route appeared or changed.
    Route(Route),
    /// A route went.
    RouteGone(Route),
    /// A neighbour appeared or changed.
    Neighbour(Neighbour),
    /// A neighbour went.
    NeighbourGone(Neighbour),
    /// Events were lost; dump again.
    Overrun,
}

/// Which events to follow.
#[derive(Debug, Clone, Copy, Default)]
pub struct EventGroups {
    /// Links.
    pub links: bool,
    /// Addresses.
    pub addresses: bool,
    /// Routes of both families.
    pub routes: bool,
    /// Neighbours.
    pub neighbours: bool,
    /// Of routes, only what others did: changes made through the handle that follows are left out, before they
    /// cost anything.
    pub others_only: bool,
}

/// One network namespace's kernel.
pub trait Kernel: Send + Sync + 'static {
    /// The namespace this kernel works in, such as for the far end of a veth pair.
    fn netns(&self) -> &Netns;

    /// Carries out `ops` in order in as few sends as possible; one result an operation. The operations after
    /// a failed one are still attempted, unless `stop_on_error`: then they are `KernelError::Skipped`.
    fn apply(&self, ops: Vec<Op>, stop_on_error: bool) -> BoxFuture<'_, Vec<Result<(), KernelError>>>;

    /// Makes a pair of links ([`Op::AddVeth`], [`Op::AddNetkit`]; no other operation), and tells of its near end, where that was
    /// not deleted at once.
    fn create(&self, pair: Op) -> BoxFuture<'_, Result<Option<Link>, KernelError>>;

    /// The link of this name; `None` when there is none.
    fn link(&self, name: &str) -> BoxFuture<'_, Result<Option<Link>, KernelError>>;

    /// All links.
    fn links(&self) -> BoxFuture<'_, Result<Vec<Link>, KernelError>>;

    /// Addresses, of one link when given.
    fn addresses(&self, link: Option<u32>) -> BoxFuture<'_, Result<Vec<Address>, KernelError>>;

    /// Routes.
    fn routes(&self, filter: RouteFilter) -> BoxFuture<'_, Result<Vec<Route>, KernelError>>;

    /// Neighbours, of one link when given; proxy entries too. The kernel's own entries for multicast and
    /// loopback (state NOARP) are left out.
    fn neighbours(&self, link: Option<u32>) -> BoxFuture<'_, Result<Vec<Neighbour>, KernelError>>;

    /// Reads a sysctl by its path below /proc/sys, such as `net/ipv4/ip_forward`.
    fn sysctl(&self, key: &str) -> BoxFuture<'_, Result<String, KernelError>>;

    /// Writes sysctls in order; one result each.
    fn set_sysctls(&self, values: Vec<(String, String)>) -> BoxFuture<'_, Vec<Result<(), KernelError>>>;

    /// Follows changes from now on.
    fn events(
        &self,
        groups: EventGroups,
    ) -> BoxFuture<'_, Result<BoxStream<'static, KernelEvent>, KernelError>>;
}

/// Where namespaces are found: the system's by path, or those of an in-memory world by name.
pub trait Namespaces: Send + Sync + 'static {
    /// The kernel of the namespace the caller lives in.
    fn current(&self) -> Result<Arc<dyn Kernel>, KernelError>;

    /// The kernel of the namespace at `path`, such as `/run/netns/blue` or `/proc/42/ns/net`.
    fn open(&self, path: &str) -> Result<Arc<dyn Kernel>, KernelError>;
}
