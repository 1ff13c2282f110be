//! What one session is told: resources laid over options, options over Calico's defaults.
//! Source: `bgp.md` §3, §4.1, §4.4, §4.5 of the contract.

use crate::build::Policies;
use crate::options::Options;
use crate::peer::{NextHopChoice, PeerFacts};
use crate::plan::{SessionKey, SessionPlan, SessionType};
use crate::reading::family;
use crate::sessions::{Wanted, World};
use bgp_rib::{MaxPrefixes, NextHopMode, PeerSettings};
use bgp_session::{AddPath, Distance, GracefulRestart, Settings};
use bgp_wire::PerFamily;
use std::net::{IpAddr, Ipv4Addr};

/// Longest restart time that an OPEN can say (RFC 4724), in seconds.
const MAX_RESTART_TIME: u16 = 4095;
/// TTL of sessions that do not bound the distance.
const FAR: u8 = 255;

/// What is the same for all sessions of a node.
#[derive(Debug)]
pub(crate) struct Told<'a> {
    pub(crate) world: World<'a>,
    pub(crate) router_id: Ipv4Addr,
    /// Options of the node and the cluster.
    pub(crate) under: Options,
}

impl Told<'_> {
    /// The plan of a session.
    pub(crate) fn session(&self, key: SessionKey, wanted: &Wanted<'_>, policies: Policies) -> SessionPlan {
        // of a local workload's BGPPeer only AS numbers and filters count
        let peer = wanted.peer.filter(|_| wanted.session_type != SessionType::LocalWorkload);
        let options = peer.map_or_else(|| self.under.clone(), |peer| peer.options.over(&self.under));
        let mesh = wanted.peer.is_none();
        let settings = self.settings(key, wanted, peer, &options);
        let routing = self.routing(&settings, wanted, peer, &options, policies);
        SessionPlan {
            name: wanted.name.clone(),
            session_type: wanted.session_type,
            origin: wanted.origin(),
            settings,
            interface: options.interface.clone().or_else(|| wanted.interface.clone()),
            password: match peer {
                Some(peer) => peer.password.clone(),
                None if mesh => self.world.configurations.global(|c| c.mesh_password.clone()),
                None => None,
            },
            signing: options.tcp_ao.unwrap_or_default(),
            routing,
            dynamic_limit: options.dynamic_limit,
            shutdown: options.shutdown,
        }
    }

    fn settings(
        &self,
        key: SessionKey,
        wanted: &Wanted<'_>,
        peer: Option<&PeerFacts>,
        options: &Options,
    ) -> Settings {
        let address = key.address();
        let mut settings = Settings::new(wanted.local_as, self.router_id, wanted.remote_as, address);
        if let SessionKey::Peer { port, .. } = key {
            settings.remote_port = port;
        }
        settings.passive = wanted.passive || options.passive == Some(true);
        if options.passive == Some(false) && matches!(key, SessionKey::Peer { .. }) {
            settings.passive = false;
        }
        settings.local_address = self.source(address, wanted, peer, options);
        settings.distance = match peer.and_then(|peer| peer.ttl_security) {
            Some(hops) => Distance::Within(hops),
            None => Distance::Multihop(options.ttl.unwrap_or(FAR)),
        };
        if let Some(families) = options.families {
            settings.families = families;
        }
        let families = settings.families;
        let add_path = options.add_path.unwrap_or(AddPath { receive: true, send: true });
        settings.add_path =
            PerFamily::from_fn(|f| if *families.get(f) { add_path } else { AddPath::default() });
        settings.extended_next_hop = options.extended_next_hop.unwrap_or(families.ipv4 && address.is_ipv6());
        settings.extended_messages = options.extended_messages.unwrap_or(settings.extended_messages);
        settings.route_refresh = options.route_refresh.unwrap_or(settings.route_refresh);
        settings.graceful_restart = match options.graceful_restart {
            Some(false) => None,
            _ => settings.graceful_restart.map(|default| GracefulRestart {
                restart_time: self.restart_time(wanted, peer).unwrap_or(default.restart_time),
                forwarding: families,
                stale_time: options.stale_time.unwrap_or(default.stale_time),
                ..default
            }),
        };
        let timers = &mut settings.timers;
        timers.hold_time = options.hold_time.unwrap_or(timers.hold_time);
        timers.keepalive_time = peer.and_then(|peer| peer.keepalive_time).or(options.keepalive_time);
        timers.connect_delay = options.connect_delay.unwrap_or(timers.connect_delay);
        timers.connect_retry = options.connect_retry.unwrap_or(timers.connect_retry);
        if let Some((first, longest)) = options.error_wait {
            (timers.error_wait_min, timers.error_wait_max) = (first, longest);
        }
        timers.delay_open = options.delay_open;
        settings
    }

    /// The address we connect from; a workload's session and a `sourceAddress` of None leave it to the kernel.
    fn source(
        &self,
        address: IpAddr,
        wanted: &Wanted<'_>,
        peer: Option<&PeerFacts>,
        options: &Options,
    ) -> Option<IpAddr> {
        let from_node = wanted.session_type != SessionType::LocalWorkload
            && peer.is_none_or(|peer| peer.from_node_address);
        let given = options.local_address.filter(|given| given.is_ipv4() == address.is_ipv4());
        given.or_else(|| self.world.own.address_like(address).filter(|_| from_node))
    }

    fn restart_time(&self, wanted: &Wanted<'_>, peer: Option<&PeerFacts>) -> Option<u16> {
        let seconds = match (peer, wanted.session_type) {
            (Some(peer), _) => peer.restart_time,
            (None, SessionType::Mesh) => self.world.configurations.global(|c| c.mesh_restart_time),
            (None, _) => None,
        };
        seconds.map(|seconds| seconds.min(MAX_RESTART_TIME))
    }

    fn routing(
        &self,
        settings: &Settings,
        wanted: &Wanted<'_>,
        peer: Option<&PeerFacts>,
        options: &Options,
        (import, export): Policies,
    ) -> PeerSettings {
        let own = self.world.own;
        let external = wanted.external();
        let of_another_cluster = own.cluster_id.is_some() && wanted.remote_cluster != own.cluster_id;
        PeerSettings {
            name: wanted.routing_name().into(),
            address: settings.remote_address,
            rr_client: external != Some(true) && options.rr_client.unwrap_or(of_another_cluster),
            next_hop: match peer.map_or(NextHopChoice::Default, |peer| peer.next_hop) {
                NextHopChoice::Mode(mode) => mode,
                NextHopChoice::KeepExternal if external != Some(false) => NextHopMode::Keep,
                NextHopChoice::KeepExternal => NextHopMode::Auto,
                NextHopChoice::Default => options.next_hop.unwrap_or_default(),
            },
            // in the session's own family, it is the address we connect from that stands for us
            local_addresses: PerFamily::from_fn(|f| match f == family(settings.remote_address) {
                true => settings.local_address,
                false => own.addresses.get(f).map(|own| own.addr),
            }),
            allow_own_as: match wanted.allow_own_as {
                0 => options.allow_own_as.unwrap_or(0),
                given => given,
            },
            max_prefixes: options
                .max_prefixes
                .map(|limit| MaxPrefixes { limit, action: options.max_prefixes_action.unwrap_or_default() }),
            import,
            export,
        }
    }
}
