//! What both OPENs together say: our OPEN from the settings, and the session that follows from the answer.

use crate::event::Endpoints;
use crate::settings::{AddPath, Settings, Timers};
use bgp_wire::{AfiSafi, Capability, Codec, Family, Notification, Open, OpenError, PerFamily, capability};
use std::net::Ipv4Addr;

/// What holds on an Established session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// What the bytes after the OPENs depend on; the families in it are those both sides offered.
    pub codec: Codec,
    /// Our AS on this session.
    pub local_as: u32,
    /// The other side's.
    pub remote_as: u32,
    /// The other side's BGP identifier.
    pub router_id: Ipv4Addr,
    /// Hold time in seconds, 0 for none.
    pub hold_time: u16,
    /// Time between KEEPALIVEs in seconds, 0 for none.
    pub keepalive_time: u16,
    /// The other side understands ROUTE-REFRESH.
    pub route_refresh: bool,
    /// Both sides mark beginning and end of a refresh (RFC 7313).
    pub enhanced_refresh: bool,
    /// What the other side said about its restarts; `None` unless both sides know graceful restart.
    pub graceful_restart: Option<PeerRestart>,
    /// Both ends of the connection.
    pub endpoints: Endpoints,
}

/// Graceful restart as the other side announced it (RFC 4724 §3), as far as it concerns the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PeerRestart {
    /// It has just restarted and may be waiting for our End-of-RIB: ours must not wait for its (the R bit).
    pub restarting: bool,
    /// NOTIFICATIONs keep routes: both sides set the N bit (RFC 8538).
    pub notification: bool,
    /// How long its routes are kept while it is away, in seconds.
    pub restart_time: u16,
    /// Families whose routes are kept while it is away.
    pub families: PerFamily<bool>,
    /// Families whose forwarding it has preserved over the restart before this session (the F bit).
    pub forwarding: PerFamily<bool>,
}

/// Our OPEN. `restarting` sets the R bit; without `capabilities` none are offered, for peers that refuse every
/// optional parameter (RFC 5492 §3).
pub(crate) fn our_open(settings: &Settings, restarting: bool, capabilities: bool) -> Open {
    let capabilities = if capabilities { offered(settings, restarting) } else { Vec::new() };
    Open::new(settings.local_as, settings.timers.hold_time, settings.router_id, capabilities)
}

fn offered(settings: &Settings, restarting: bool) -> Vec<Capability> {
    let families = || Family::ALL.into_iter().filter(|f| *settings.families.get(*f));
    let mut offered: Vec<Capability> = families().map(|f| Capability::Multiprotocol(f.into())).collect();
    if settings.route_refresh {
        offered.push(Capability::RouteRefresh);
    }
    if settings.extended_next_hop && settings.families.ipv4 {
        offered.push(Capability::ExtendedNextHop(vec![IPV4_OVER_IPV6]));
    }
    if settings.extended_messages {
        offered.push(Capability::ExtendedMessage);
    }
    if let Some(gr) = settings.graceful_restart {
        offered.push(Capability::GracefulRestart(capability::GracefulRestart {
            restarting,
            notification: gr.notification,
            restart_time: gr.restart_time,
            families: families().map(|f| (f.into(), *gr.forwarding.get(f))).collect(),
        }));
    }
    offered.push(Capability::FourOctetAs(settings.local_as));
    let add_path: Vec<capability::AddPath> = families()
        .map(|f| (f, *settings.add_path.get(f)))
        .filter(|(_, offer)| *offer != AddPath::default())
        .map(|(f, AddPath { receive, send })| capability::AddPath { family: f.into(), receive, send })
        .collect();
    if !add_path.is_empty() {
        offered.push(Capability::AddPath(add_path));
    }
    if settings.route_refresh {
        offered.push(Capability::EnhancedRouteRefresh);
    }
    offered
}

/// IPv4 unicast routes with next hops of AFI 2 (RFC 8950 §4).
const IPV4_OVER_IPV6: (AfiSafi, u16) = (AfiSafi { afi: 1, safi: 1 }, 2);

/// The session that two OPENs make, or what to tell the other side instead.
pub(crate) fn negotiate(
    settings: &Settings,
    ours: &Open,
    theirs: &Open,
    endpoints: Endpoints,
) -> Result<Negotiated, Notification> {
    let (our, their) = (Said::by(ours), Said::by(theirs));
    let (local_as, remote_as) = (settings.local_as, theirs.asn());
    if !settings.remote_as.allows(remote_as, local_as) {
        return Err(Notification::open(OpenError::BadPeerAs, Vec::new()));
    }
    // An identifier need only be unlike ours inside the AS (RFC 6286 §2.2).
    if remote_as == local_as && theirs.router_id == settings.router_id {
        return Err(Notification::open(OpenError::BadIdentifier, Vec::new()));
    }
    let both = |f: fn(&Said) -> bool| f(&our) && f(&their);
    let families = PerFamily::from_fn(|f| *our.families.get(f) && *their.families.get(f));
    if !families.ipv4 && !families.ipv6 {
        let mut wanted = Vec::new();
        for family in Family::ALL.into_iter().filter(|f| *our.families.get(*f)) {
            Capability::Multiprotocol(family.into()).encode(&mut wanted);
        }
        return Err(Notification::open(OpenError::UnsupportedCapability, wanted));
    }
    let hold_time = settings.timers.hold_time.min(theirs.hold_time);
    let route_refresh = both(|s| s.route_refresh);
    let codec = Codec {
        four_octet_as: both(|s| s.four_octet_as),
        families,
        add_path_receive: PerFamily::from_fn(|f| {
            *families.get(f) && our.add_path.get(f).receive && their.add_path.get(f).send
        }),
        add_path_send: PerFamily::from_fn(|f| {
            *families.get(f) && our.add_path.get(f).send && their.add_path.get(f).receive
        }),
        extended_messages: both(|s| s.extended_messages),
        extended_next_hop: families.ipv4 && both(|s| s.extended_next_hop),
        external: remote_as != local_as,
    };
    Ok(Negotiated {
        codec,
        local_as,
        remote_as,
        router_id: theirs.router_id,
        hold_time,
        keepalive_time: keepalive_time(&settings.timers, hold_time),
        route_refresh,
        enhanced_refresh: route_refresh && both(|s| s.enhanced_refresh),
        graceful_restart: our.graceful_restart.zip(their.graceful_restart).map(|(our, their)| PeerRestart {
            notification: our.notification && their.notification,
            families: PerFamily::from_fn(|f| *families.get(f) && *their.families.get(f)),
            ..their
        }),
        endpoints,
    })
}

/// A third of the hold time, or less where the settings say so (RFC 4271 §4.4).
pub(crate) fn keepalive_time(timers: &Timers, hold_time: u16) -> u16 {
    match hold_time / 3 {
        0 => 0,
        third => timers.keepalive_time.unwrap_or(third).clamp(1, third),
    }
}

/// What the capabilities of one OPEN say. Of one that stands there twice the last counts (RFC 5492 §4 leaves it open).
#[derive(Default)]
struct Said {
    four_octet_as: bool,
    families: PerFamily<bool>,
    add_path: PerFamily<AddPath>,
    route_refresh: bool,
    enhanced_refresh: bool,
    extended_messages: bool,
    extended_next_hop: bool,
    graceful_restart: Option<PeerRestart>,
}

impl Said {
    fn by(open: &Open) -> Self {
        let mut said = Said::default();
        let mut multiprotocol = false;
        for capability in &open.capabilities {
            match capability {
                Capability::Multiprotocol(family) => {
                    multiprotocol = true;
                    if let Some(family) = family.family() {
                        *said.families.get_mut(family) = true;
                    }
                }
                Capability::RouteRefresh => said.route_refresh = true,
                Capability::EnhancedRouteRefresh => said.enhanced_refresh = true,
                Capability::ExtendedMessage => said.extended_messages = true,
                Capability::ExtendedNextHop(entries) => {
                    said.extended_next_hop = entries.contains(&IPV4_OVER_IPV6);
                }
                Capability::FourOctetAs(_) => said.four_octet_as = true,
                Capability::GracefulRestart(gr) => said.graceful_restart = Some(restart(gr)),
                Capability::AddPath(entries) => {
                    for capability::AddPath { family, receive, send } in entries {
                        if let Some(family) = family.family() {
                            *said.add_path.get_mut(family) = AddPath { receive: *receive, send: *send };
                        }
                    }
                }
                Capability::Unknown { .. } => {}
            }
        }
        if !multiprotocol {
            // RFC 4760 §8: without the capability a speaker is one of IPv4 only.
            said.families.ipv4 = true;
        }
        said
    }
}

fn restart(said: &capability::GracefulRestart) -> PeerRestart {
    let mut restart = PeerRestart {
        restarting: said.restarting,
        notification: said.notification,
        restart_time: said.restart_time,
        ..PeerRestart::default()
    };
    for (family, forwarding) in &said.families {
        if let Some(family) = family.family() {
            *restart.families.get_mut(family) = true;
            *restart.forwarding.get_mut(family) = *forwarding;
        }
    }
    restart
}
