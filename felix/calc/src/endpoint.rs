//! Endpoints of the node itself, as the dataplane needs them.

use crate::policy::Tier;
use crate::sets::{ContentPort, Contents};
use model::net::Cidr;
use std::net::IpAddr;
use std::sync::Arc;

/// Which endpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointKey {
    /// A workload's: namespace and name.
    Workload(String, String),
    /// A host's: name.
    Host(String),
}

/// An endpoint of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// Of a workload.
    Workload(Workload),
    /// Of the host.
    Host(Host),
}

/// A workload's interface (`resources.md` §1.8 of the contract).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Workload {
    /// How status keys and files call it.
    pub id: WorkloadId,
    /// Interface on the host.
    pub interface: Arc<str>,
    /// MAC address inside the workload; none where it is not stored or cannot be read.
    pub mac: Option<[u8; 6]>,
    /// Its addresses, single ones, as stored.
    pub addresses: Box<[IpAddr]>,
    /// Addresses others may use for one of its own.
    pub floating: Box<[FloatingAddress]>,
    /// Foreign source addresses it may use, where the settings admit any.
    pub source_prefixes: Box<[Cidr]>,
    /// Named ports.
    pub ports: Box<[ContentPort]>,
    /// Profiles, in the order they apply.
    pub profiles: Box<[Arc<str>]>,
    /// What it may receive at most.
    pub ingress_limit: Limit,
    /// What it may send at most.
    pub egress_limit: Limit,
    /// DSCP of what it sends out of the cluster, where it is set.
    pub dscp: Option<u8>,
}

/// Most packets and connections of a workload in one direction (`felix.md` §15 of the contract).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Limit {
    /// Packets a second, and how many may come at once.
    pub packets: Option<(u64, u32)>,
    /// TCP connections at a time.
    pub connections: Option<u32>,
}

/// What a workload's endpoint is called in status keys (`datamodel.md` §5 of the contract), unescaped.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadId {
    /// `k8s`, `cni` or another.
    pub orchestrator: String,
    /// Namespace and the name's third segment: `<namespace>/<pod or container>`.
    pub workload: String,
    /// The interface's name inside the workload, such as `eth0`.
    pub endpoint: String,
}

/// A floating address: packets to `external` go to `internal`. Both are of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FloatingAddress {
    /// What others use.
    pub external: IpAddr,
    /// An address of the workload.
    pub internal: IpAddr,
}

/// Interfaces of the host under policy (`resources.md` §1.7 of the contract).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Which interfaces are meant.
    pub interface: HostInterface,
    /// Addresses by which the interface is found, where it has no name.
    pub expected: Box<[IpAddr]>,
    /// Named ports.
    pub ports: Box<[ContentPort]>,
    /// Profiles, in the order they apply.
    pub profiles: Box<[Arc<str>]>,
}

/// Which interfaces a host endpoint is about (`felix.md` §3.4 of the contract).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostInterface {
    /// The interface of this name.
    Named(Arc<str>),
    /// Those that have one of [`Host::expected`].
    ByAddress,
    /// `*`: all that no other host endpoint is about.
    All,
}

impl Endpoint {
    /// The profiles it names, in order.
    pub fn profiles(&self) -> &[Arc<str>] {
        match self {
            Endpoint::Workload(workload) => &workload.profiles,
            Endpoint::Host(host) => &host.profiles,
        }
    }

    /// What a workload has to offer to sets.
    pub(crate) fn contents(&self) -> Option<Contents> {
        match self {
            Endpoint::Workload(workload) => Some(Contents::of_workload(&workload.addresses, &workload.ports)),
            Endpoint::Host(_) => None,
        }
    }
}

/// A local endpoint and the policies that apply to it.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalEndpoint {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// Tiers with policies for it, staged ones included, in the order they apply.
    pub tiers: Vec<Tier>,
}
