//! What a BGPPeer asks for. Source: `bgp.md` §4.3, `resources.md` §1.16 of the contract.

use crate::configuration::one_of;
use crate::options::{Options, RemoteAsOption, Scope};
use crate::plan::SecretRef;
use crate::reading::{Absent, Reading, family};
use bgp_rib::NextHopMode;
use bgp_session::RemoteAs;
use bgp_wire::Prefix;
use model::Resource;
use model::v3::BGPPeerSpec;
use selector::Selector;
use std::net::{IpAddr, SocketAddr};

/// Which nodes have the sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Locals {
    All,
    Named(String),
    Matching(Selector),
}

/// Whom they have them with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Remotes {
    /// One address.
    Address { addr: IpAddr, port: Option<u16>, remote_as: RemoteAsChoice },
    /// All matching nodes.
    Nodes(Selector),
    /// Workloads of the own node whose status names this BGPPeer.
    Workloads { remote_as: u32 },
    /// Whoever connects from these.
    Ranges { prefixes: Vec<Prefix>, remote_as: RemoteAsChoice },
}

/// The other side's AS; the own one is not known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RemoteAsChoice {
    Exactly(u32),
    External,
    Internal,
    Any,
}

impl RemoteAsChoice {
    /// What it means for a session on which we are `local_as`.
    pub(crate) fn with(self, local_as: u32) -> RemoteAs {
        match self {
            RemoteAsChoice::Exactly(number) => RemoteAs::Exactly(number),
            RemoteAsChoice::External => RemoteAs::External,
            RemoteAsChoice::Internal => RemoteAs::Exactly(local_as),
            RemoteAsChoice::Any => RemoteAs::Any,
        }
    }
}

/// Next hops, as far as the resource says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextHopChoice {
    /// Nothing is said.
    Default,
    Mode(NextHopMode),
    /// Kept on external sessions only (`keepOriginalNextHop`).
    KeepExternal,
}

/// A BGPPeer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PeerFacts {
    pub(crate) name: String,
    pub(crate) locals: Locals,
    pub(crate) remotes: Remotes,
    pub(crate) local_as: Option<u32>,
    pub(crate) next_hop: NextHopChoice,
    pub(crate) password: Option<SecretRef>,
    /// Connect from the node's address.
    pub(crate) from_node_address: bool,
    pub(crate) restart_time: Option<u16>,
    pub(crate) keepalive_time: Option<u16>,
    pub(crate) allow_own_as: u32,
    /// Most hops to the other side, which GTSM enforces.
    pub(crate) ttl_security: Option<u8>,
    pub(crate) reachable_by: Option<IpAddr>,
    pub(crate) filters: Vec<String>,
    /// The far end has the session too, if it is a node.
    pub(crate) reverse: bool,
    pub(crate) options: Options,
}

impl PeerFacts {
    pub(crate) fn read(resource: &Resource, reading: &mut Reading) -> Result<Self, Absent> {
        let spec: BGPPeerSpec = reading.spec(resource)?;
        let options = Options::read(resource, Scope::Peer, reading);
        let remotes = remotes(reading, &spec, &options)?;
        let reachable_by = reachable_by(reading, &spec, &remotes)?;
        Ok(PeerFacts {
            name: resource.name().to_owned(),
            locals: locals(reading, &spec)?,
            local_as: match spec.local_as_number {
                Some(0) => return reading.refuse("spec.localASNumber", 0, "is no AS number (RFC 7607)"),
                number => number,
            },
            next_hop: next_hop(reading, &spec),
            password: reading.secret("spec.password", spec.password.as_ref()),
            from_node_address: one_of(
                reading,
                "spec.sourceAddress",
                &spec.source_address,
                &["UseNodeIP", "None"],
            ) != Some("None"),
            restart_time: reading.seconds("spec.maxRestartTime", spec.max_restart_time.as_ref()),
            keepalive_time: reading
                .seconds("spec.keepaliveTime", spec.keepalive_time.as_ref())
                .filter(|seconds| *seconds > 0),
            allow_own_as: spec.num_allowed_local_as_numbers.and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
            ttl_security: spec.ttl_security.filter(|hops| *hops > 0),
            reachable_by,
            reverse: one_of(reading, "spec.reversePeering", &spec.reverse_peering, &["Auto", "Manual"])
                != Some("Manual"),
            filters: spec.filters,
            remotes,
            options,
        })
    }
}

fn selector(reading: &mut Reading, field: &str, text: &str) -> Result<Selector, Absent> {
    match Selector::parse(text) {
        Ok(selector) => Ok(selector),
        Err(error) => reading.refuse(field, text, format!("is no selector: {error}")),
    }
}

fn locals(reading: &mut Reading, spec: &BGPPeerSpec) -> Result<Locals, Absent> {
    if !spec.node_selector.is_empty() {
        return Ok(Locals::Matching(selector(reading, "spec.nodeSelector", &spec.node_selector)?));
    }
    Ok(match spec.node.as_str() {
        "" => Locals::All,
        name => Locals::Named(name.to_owned()),
    })
}

fn remotes(reading: &mut Reading, spec: &BGPPeerSpec, options: &Options) -> Result<Remotes, Absent> {
    if !spec.local_workload_selector.is_empty() {
        selector(reading, "spec.localWorkloadSelector", &spec.local_workload_selector)?;
        return match spec.as_number {
            0 => reading.refuse("spec.asNumber", "", "is missing: localWorkloadSelector needs it"),
            remote_as => Ok(Remotes::Workloads { remote_as }),
        };
    }
    if !spec.peer_selector.is_empty() {
        return Ok(Remotes::Nodes(selector(reading, "spec.peerSelector", &spec.peer_selector)?));
    }
    let remote_as = match (options.remote_as, spec.as_number) {
        (Some(RemoteAsOption::External), _) => RemoteAsChoice::External,
        (Some(RemoteAsOption::Internal), _) => RemoteAsChoice::Internal,
        (Some(RemoteAsOption::Any), _) => RemoteAsChoice::Any,
        (None, 0) => {
            return reading.refuse("spec.asNumber", "", "is missing: give the neighbour's AS number");
        }
        (None, number) => RemoteAsChoice::Exactly(number),
    };
    if spec.peer_ip.is_empty() {
        return match &options.dynamic_neighbors {
            Some(prefixes) => Ok(Remotes::Ranges { prefixes: prefixes.clone(), remote_as }),
            None => {
                reading.refuse("spec.peerIP", "", "is missing: give the neighbour's address, or peerSelector")
            }
        };
    }
    match peer_address(&spec.peer_ip) {
        Some((addr, port)) => Ok(Remotes::Address { addr, port, remote_as }),
        None => reading.refuse(
            "spec.peerIP",
            &spec.peer_ip,
            "is no address: write 192.0.2.1, 192.0.2.1:179, 2001:db8::1 or [2001:db8::1]:179",
        ),
    }
}

/// An address, with the port where one is given.
fn peer_address(text: &str) -> Option<(IpAddr, Option<u16>)> {
    if let Ok(addr) = text.parse() {
        return Some((addr, None));
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Some(addr) = bare.and_then(|addr| addr.parse().ok()) {
        return Some((IpAddr::V6(addr), None));
    }
    let both: SocketAddr = text.parse().ok()?;
    Some((both.ip(), Some(both.port()).filter(|port| *port != 0)))
}

/// A gateway that cannot be one makes the peer absent: without it, the session would run another way.
fn reachable_by(
    reading: &mut Reading,
    spec: &BGPPeerSpec,
    remotes: &Remotes,
) -> Result<Option<IpAddr>, Absent> {
    let (false, Remotes::Address { addr, .. }) = (spec.reachable_by.is_empty(), remotes) else {
        return Ok(None);
    };
    match spec.reachable_by.parse::<IpAddr>() {
        Ok(gateway) if family(gateway) == family(*addr) => Ok(Some(gateway)),
        _ => reading.refuse(
            "spec.reachableBy",
            &spec.reachable_by,
            format!("is no gateway to {addr}: give an address of the same family"),
        ),
    }
}

fn next_hop(reading: &mut Reading, spec: &BGPPeerSpec) -> NextHopChoice {
    match one_of(reading, "spec.nextHopMode", &spec.next_hop_mode, &["Auto", "Self", "Keep"]) {
        Some("Auto") => NextHopChoice::Mode(NextHopMode::Auto),
        Some("Self") => NextHopChoice::Mode(NextHopMode::Own),
        Some("Keep") => NextHopChoice::Mode(NextHopMode::Keep),
        _ if spec.keep_original_next_hop => NextHopChoice::KeepExternal,
        _ => NextHopChoice::Default,
    }
}
