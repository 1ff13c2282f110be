//! What Calico's resources cannot say: annotations on BGPPeer and BGPConfiguration, all from one table.
//!
//! An annotation on BGPConfiguration `default` holds for every session of every node, the mesh's too; one on
//! `node.<name>` for those of that node; one on a BGPPeer for its sessions. The nearest wins.

mod parse;

use crate::plan::Signing;
use crate::reading::Reading;
use bgp_rib::{MaxPrefixAction, NextHopMode};
use bgp_session::AddPath;
use bgp_wire::{PerFamily, Prefix};
use model::Resource;
use std::net::IpAddr;
use std::time::Duration;

/// What the names of all annotations begin with.
pub const ANNOTATION_PREFIX: &str = "bgp.ocicat.io/";

/// Where an annotation may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// On BGPPeer only.
    Peer,
    /// On BGPConfiguration only.
    Configuration,
    /// On both.
    Both,
}

impl Scope {
    /// The kinds it may stand on.
    pub fn kinds(self) -> &'static str {
        match self {
            Scope::Peer => "BGPPeer",
            Scope::Configuration => "BGPConfiguration",
            Scope::Both => "BGPPeer, BGPConfiguration",
        }
    }

    fn allows(self, on: Scope) -> bool {
        self == Scope::Both || self == on
    }
}

/// One annotation.
#[derive(Debug, Clone, Copy)]
pub struct OptionInfo {
    /// Its name after [`ANNOTATION_PREFIX`].
    pub name: &'static str,
    /// Where it may stand.
    pub scope: Scope,
    /// What its value may be.
    pub values: &'static str,
    /// What holds without it.
    pub default: &'static str,
    /// What it does.
    pub doc: &'static str,
    set: fn(&mut Options, &str) -> bool,
}

/// Which AS a neighbour may have, where the resource names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum RemoteAsOption {
    External,
    Internal,
    Any,
}

macro_rules! options {
    ($($field:ident: $type:ty, $name:literal, $scope:ident, $values:literal, $default:literal, $parse:path, $doc:literal;)*) => {
        /// The options of one resource, or of several laid over each other.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
        pub(crate) struct Options { $(#[doc = $doc] pub(crate) $field: Option<$type>,)* }

        /// Every annotation there is, in the order in which they are printed.
        pub const OPTIONS: &[OptionInfo] = &[$(OptionInfo {
            name: $name, scope: Scope::$scope, values: $values, default: $default, doc: $doc,
            set: |options, text| { options.$field = $parse(text); options.$field.is_some() },
        },)*];

        impl Options {
            /// These, and where they say nothing, `under`.
            pub(crate) fn over(&self, under: &Options) -> Options {
                Options { $($field: self.$field.clone().or_else(|| under.$field.clone()),)* }
            }
        }
    };
}

options! {
    families: PerFamily<bool>, "families", Peer, "ipv4, ipv6 or both with a comma", "the family of the neighbour's address",
        parse::families, "Address families offered on the session. Calico runs one session a family; other speakers take both on one.";
    passive: bool, "passive", Peer, "true or false", "Calico's rule",
        parse::flag, "Only wait for the neighbour to connect, never connect to it.";
    hold_time: u16, "hold-time", Both, "0 or 3 to 65535 seconds (90, 1m30s)", "240",
        parse::hold_time, "Hold time offered in the OPEN; 0 sends no keepalives.";
    keepalive_time: u16, "keepalive-time", Configuration, "1 to 65535 seconds", "a third of the hold time",
        parse::seconds, "Time between keepalives of sessions whose BGPPeer has no keepaliveTime, and of the mesh.";
    connect_delay: Duration, "connect-delay-time", Both, "duration", "2s",
        parse::duration, "Wait before the first attempt to connect.";
    connect_retry: Duration, "connect-retry-time", Both, "duration from 1s", "5s",
        parse::wait, "Wait between two attempts to connect, and the longest that one may take.";
    error_wait: (Duration, Duration), "error-wait-time", Both, "two durations with a comma", "5s,30s",
        parse::two_waits, "Wait after a first error, and the longest wait after further ones.";
    delay_open: Duration, "delay-open-time", Both, "duration", "none",
        parse::duration, "Wait between a connection and our OPEN, for the neighbour's to come first.";
    add_path: AddPath, "add-path", Both, "both, receive, send or none", "both",
        parse::add_path, "Several paths of one prefix on the session (RFC 7911).";
    extended_next_hop: bool, "extended-next-hop", Both, "true or false", "true where IPv4 routes go between IPv6 addresses",
        parse::flag, "IPv4 routes may have IPv6 next hops (RFC 8950).";
    extended_messages: bool, "extended-messages", Both, "true or false", "true",
        parse::flag, "Messages of up to 65535 octets (RFC 8654).";
    route_refresh: bool, "route-refresh", Both, "true or false", "true",
        parse::flag, "Route refresh and enhanced route refresh (RFC 2918, RFC 7313).";
    graceful_restart: bool, "graceful-restart", Both, "true or false", "true",
        parse::flag, "Graceful restart in both roles (RFC 4724, RFC 8538).";
    stale_time: Duration, "stale-time", Both, "duration from 1s", "6m",
        parse::wait, "How long routes of a neighbour that restarted may stay stale if it never ends its announcements.";
    max_prefixes: u32, "max-prefixes", Both, "number from 1", "no limit",
        parse::count, "Most prefixes of one family a neighbour may announce.";
    max_prefixes_action: MaxPrefixAction, "max-prefixes-action", Both, "warn, block, restart or disable", "restart",
        parse::max_prefixes_action, "Beyond the limit: log it; take no more; end the session and try again; end it for good.";
    next_hop: NextHopMode, "next-hop-mode", Configuration, "auto, self or keep", "auto",
        parse::next_hop, "Next hop of routes sent where no BGPPeer says otherwise, as in the mesh.";
    allow_own_as: u32, "allow-own-as", Both, "number", "0",
        parse::number, "How often our own AS may stand in a path we take, where numAllowedLocalASNumbers is not given or not carried.";
    ttl: u8, "ttl", Both, "1 to 255", "255",
        parse::hops, "TTL of what we send on sessions without ttlSecurity.";
    local_address: IpAddr, "local-address", Peer, "IP address", "the node's, by sourceAddress",
        parse::address, "Address we connect from.";
    interface: String, "interface", Peer, "name of an interface", "none",
        parse::interface, "Interface of a neighbour with a link-local address.";
    dynamic_neighbors: Vec<Prefix>, "dynamic-neighbors", Peer, "prefixes with commas", "none",
        parse::prefixes, "Instead of peerIP: take every neighbour that connects from one of these prefixes.";
    dynamic_limit: u32, "dynamic-neighbors-limit", Peer, "number from 1", "no limit",
        parse::count, "Most neighbours of one such prefix at once.";
    remote_as: RemoteAsOption, "remote-as", Peer, "external, internal or any", "asNumber",
        parse::remote_as, "Which AS a neighbour may have, instead of the one asNumber.";
    rr_client: bool, "route-reflector-client", Peer, "true or false", "Calico's rule",
        parse::flag, "Whether an internal neighbour is a client of this route reflector.";
    tcp_ao: Signing, "tcp-ao", Both, "two key IDs with a comma (send,receive)", "TCP-MD5",
        parse::tcp_ao, "Sign with TCP-AO (RFC 5925) by the session's password instead of TCP-MD5.";
    listen_addresses: Vec<IpAddr>, "listen-addresses", Configuration, "IP addresses with commas", "by bindMode",
        parse::addresses, "Addresses to listen at.";
    shutdown: String, "shutdown", Peer, "text of up to 255 octets", "none",
        parse::shutdown, "Hold the sessions down, and tell the neighbour why (RFC 9003).";
}

impl Options {
    /// The options among a resource's annotations. Other prefixes are none of our business; what is unknown under
    /// ours, or has a wrong value, is reported and left out.
    pub(crate) fn read(resource: &Resource, on: Scope, reading: &mut Reading) -> Self {
        let mut options = Options::default();
        for (annotation, value) in resource.annotations() {
            let Some(name) = annotation.strip_prefix(ANNOTATION_PREFIX) else { continue };
            let Some(info) = OPTIONS.iter().find(|info| info.name == name) else {
                let reason =
                    "is no option of this version and is left out: `ocicat bgp options` lists them all";
                reading.warn(annotation, value, reason);
                continue;
            };
            if !info.scope.allows(on) {
                reading.warn(
                    annotation,
                    value,
                    format!("may stand on {} only and is left out", info.scope.kinds()),
                );
            } else if !(info.set)(&mut options, value.trim()) {
                reading.warn(annotation, value, format!("is left out: it can be {}", info.values));
            }
        }
        options
    }
}
