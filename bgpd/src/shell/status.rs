//! Answers to people, from what is there.

use super::Shell;
use crate::fib::Target;
use crate::proto::{FamilyCount, Peer, PeersResponse, Route, RoutesResponse, Session, StatusResponse};
use crate::service::{Answer, Cursor, Destination, Question};
use crate::speaker::Speaker;
use bgp_config::{SessionKey, SessionPlan, SessionType};
use bgp_rib::{Counts, Known, Listed, PeerId};
use bgp_session::{Negotiated, Peer as Machine, RemoteAs};
use bgp_wire::{Attributes, Family, PerFamily, Prefix};
use std::fmt::Write;

mod explain;

/// What a route that came without LOCAL_PREF counts as having, as in Calico's BIRD.
const DEFAULT_LOCAL_PREF: u32 = 100;
/// Paths and places of the table looked at for one page: what one answer may cost the loop.
const PAGE: usize = 10_000;

impl Shell {
    pub(super) fn answer(&mut self, question: &Question) -> Answer {
        match question {
            Question::Status => Answer::Status(self.status()),
            Question::Peers => Answer::Peers(self.all_peers()),
            Question::Routes { within, from } => Answer::Routes(self.page(*within, *from)),
            Question::Explain(destination) => {
                let prefix = match destination {
                    Destination::Prefix(prefix) => Some(*prefix),
                    Destination::Address(address) => self.longest_match(*address),
                };
                Answer::Explain(prefix.and_then(|prefix| self.explain(prefix)))
            }
        }
    }

    fn status(&self) -> StatusResponse {
        let plan = self.plan.as_deref();
        let shown = |id: Option<std::net::Ipv4Addr>| id.map(|id| id.to_string()).unwrap_or_default();
        let rib = self.speaker.as_ref().map(Speaker::rib);
        let mut warnings: Vec<String> =
            plan.iter().flat_map(|plan| &plan.warnings).map(ToString::to_string).collect();
        let problems = self.config.problems.as_ref().map(|problems| problems.borrow().clone());
        warnings.extend(problems.into_iter().flatten().map(|problem| problem.to_string()));
        let snapshot = self.source.snapshot();
        warnings.extend(
            snapshot.in_use.map(|taken| format!("the datastore does not answer: resources are from {taken}")),
        );
        warnings.extend(snapshot.trouble);
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let destinations = rib.map_or(0, |rib| Family::ALL.into_iter().map(|f| rib.len(f)).sum());
        let paths = rib.map_or(0, |rib| Family::ALL.into_iter().map(|f| rib.path_count(f)).sum());
        StatusResponse {
            node: self.config.node.clone(),
            local_as: plan.map_or(0, |plan| plan.local_as),
            router_id: shown(plan.and_then(|plan| plan.router_id)),
            cluster_id: shown(plan.and_then(|plan| plan.cluster_id)),
            listen: self.listeners.keys().map(ToString::to_string).collect(),
            uptime_ms: milliseconds(self.start.elapsed()),
            source: self.config.source.clone(),
            in_sync: self.source.is_in_sync(),
            restarting: self.speaker.as_ref().is_some_and(Speaker::is_restarting),
            programs_kernel: self.kernel.programs(),
            refused_routes: count(self.kernel.fib().refused()),
            destinations: count(destinations),
            paths: count(paths),
            warnings,
        }
    }

    fn all_peers(&self) -> PeersResponse {
        let (Some(plan), Some(speaker)) = (&self.plan, &self.speaker) else {
            return PeersResponse::default();
        };
        let counts = PerFamily::from_fn(|family| speaker.rib().counts(family));
        let mut peers = Vec::new();
        for (key, session) in &plan.sessions {
            match key {
                SessionKey::Peer { .. } => {
                    peers.extend(
                        self.peers.get(key).and_then(|peer| self.peer(speaker, *peer, session, &counts)),
                    );
                }
                SessionKey::Range(prefix) => {
                    let members = speaker.of_range(*prefix);
                    peers.extend(
                        members.into_iter().filter_map(|peer| self.peer(speaker, peer, session, &counts)),
                    );
                    peers.push(range(*prefix, session));
                }
            }
        }
        PeersResponse { peers }
    }

    fn peer(
        &self,
        speaker: &Speaker,
        peer: PeerId,
        plan: &SessionPlan,
        counts: &PerFamily<Vec<Counts>>,
    ) -> Option<Peer> {
        let machine = speaker.session(peer)?;
        let settings = machine.settings();
        let negotiated = machine.established().map(|(_, negotiated)| negotiated);
        let since = self.since.get(&peer).map(tokio::time::Instant::elapsed).unwrap_or_default();
        let last_end = machine.last_end().filter(|_| negotiated.is_none());
        Some(Peer {
            name: speaker.rib().settings(peer).name.to_string(),
            address: settings.remote_address.to_string(),
            port: settings.remote_port.into(),
            r#type: type_name(plan.session_type).to_owned(),
            origin: plan.origin.clone(),
            local_as: settings.local_as,
            remote_as: match (negotiated, settings.remote_as) {
                (Some(negotiated), _) => negotiated.remote_as,
                (None, RemoteAs::Exactly(number)) => number,
                (None, _) => 0,
            },
            state: machine.state().to_string(),
            since_ms: milliseconds(since),
            last_end: last_end.map(|(_, reason)| reason.to_string()).unwrap_or_default(),
            passive: settings.passive,
            dynamic: self.peers.values().all(|known| *known != peer),
            session: negotiated.map(session),
            families: families(counts, peer, machine),
        })
    }

    /// A page of best paths.
    fn page(&self, within: Option<Prefix>, from: Cursor) -> RoutesResponse {
        let Some(speaker) = &self.speaker else { return RoutesResponse::default() };
        let (found, next) = speaker.rib().page(from.family, within, from.place, PAGE);
        let routes = found.into_iter().map(|listed| self.route(speaker, listed)).collect();
        let next = match (next, from.family) {
            (Some(place), family) => Some(Cursor { family, place }),
            (None, Family::Ipv4Unicast) => Some(Cursor { family: Family::Ipv6Unicast, place: 0 }),
            (None, Family::Ipv6Unicast) => None,
        };
        RoutesResponse { routes, next: next.map(|next| next.to_string()).unwrap_or_default() }
    }

    fn route(&self, speaker: &Speaker, Listed { prefix, paths, best }: Listed) -> Route {
        let paths = u32::try_from(paths).unwrap_or(u32::MAX);
        let Some(best) = best else {
            let source = "no path can be used".to_owned();
            return Route { prefix: prefix.to_string(), source, paths, ..Route::default() };
        };
        let attributes = &best.attributes;
        Route {
            prefix: prefix.to_string(),
            source: source(speaker, &best),
            next_hop: match best.local {
                Some(_) => String::new(),
                None => attributes.next_hop.to_string(),
            },
            as_path: attributes.as_path.to_string(),
            local_pref: match best.local {
                Some(_) => 0,
                None => attributes.local_pref.unwrap_or(DEFAULT_LOCAL_PREF),
            },
            med: attributes.med.unwrap_or_default(),
            communities: communities(attributes),
            kernel: self.in_kernel(prefix),
            paths,
        }
    }

    /// What the kernel has of a destination from us.
    fn in_kernel(&self, prefix: Prefix) -> String {
        let routes = self.kernel.fib().installed(prefix);
        routes.map(|(metric, target)| self.in_words(target, metric)).collect::<Vec<_>>().join("; ")
    }

    fn in_words(&self, target: &Target, metric: u32) -> String {
        let mut text = match target {
            Target::Blackhole => "blackhole".to_owned(),
            Target::Via(hops) => {
                let hop = |hop: &bgp_rib::Hop| {
                    let gateway = hop.gateway.map(|gateway| format!("via {gateway} ")).unwrap_or_default();
                    let name = self.kernel.tracker_ref().link_name(hop.link);
                    let link = name.map_or_else(|| hop.link.to_string(), ToString::to_string);
                    format!("{gateway}dev {link}")
                };
                hops.iter().map(hop).collect::<Vec<_>>().join(", ")
            }
        };
        if metric > 0 {
            // Written to a string, which takes everything.
            let _ = write!(text, " metric {metric}");
        }
        text
    }
}

fn milliseconds(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// As calicoctl calls it.
fn type_name(kind: SessionType) -> &'static str {
    match kind {
        SessionType::Mesh => "node-to-node mesh",
        SessionType::Global => "global",
        SessionType::Node => "node specific",
        SessionType::LocalWorkload => "local workload",
    }
}

/// A range as such, besides those that have come from it.
fn range(prefix: Prefix, plan: &SessionPlan) -> Peer {
    Peer {
        name: plan.name.clone(),
        address: prefix.to_string(),
        r#type: type_name(plan.session_type).to_owned(),
        origin: plan.origin.clone(),
        local_as: plan.settings.local_as,
        state: if plan.shutdown.is_some() { "Idle" } else { "Listening" }.to_owned(),
        passive: true,
        dynamic: true,
        ..Peer::default()
    }
}

fn session(negotiated: &Negotiated) -> Session {
    let codec = &negotiated.codec;
    let any = |of: &bgp_wire::PerFamily<bool>| of.ipv4 || of.ipv6;
    Session {
        router_id: negotiated.router_id.to_string(),
        local_address: negotiated.endpoints.local.to_string(),
        hold_time: negotiated.hold_time.into(),
        keepalive_time: negotiated.keepalive_time.into(),
        graceful_restart: negotiated.graceful_restart.is_some(),
        route_refresh: negotiated.route_refresh,
        enhanced_refresh: negotiated.enhanced_refresh,
        extended_messages: codec.extended_messages,
        four_octet_as: codec.four_octet_as,
        add_path_receive: any(&codec.add_path_receive),
        add_path_send: any(&codec.add_path_send),
    }
}

fn families(counts: &PerFamily<Vec<Counts>>, peer: PeerId, machine: &Machine) -> Vec<FamilyCount> {
    let families =
        machine.established().map(|(_, n)| n.codec.families).unwrap_or(machine.settings().families);
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let one = |family: Family| {
        let counts = counts.get(family).get(peer.index()).copied().unwrap_or_default();
        FamilyCount {
            family: family.to_string(),
            received: count(counts.received),
            best: count(counts.best),
            sent: count(counts.sent),
            stale: machine.keeps_stale(family),
        }
    };
    Family::ALL.into_iter().filter(|family| *families.get(*family)).map(one).collect()
}

/// Who a path is from.
fn source(speaker: &Speaker, known: &Known) -> String {
    match &known.local {
        None => speaker.rib().settings(known.peer).name.to_string(),
        Some(local) => {
            let kind = match local.source {
                bgp_rib::Source::Static => "block of this node",
                bgp_rib::Source::Kernel => "kernel",
                bgp_rib::Source::Direct => "direct",
            };
            local.interface.as_ref().map_or_else(|| kind.to_owned(), |name| format!("{kind} {name}"))
        }
    }
}

/// As they are written everywhere.
fn communities(attributes: &Attributes) -> String {
    let standard = attributes.communities.iter().map(|c| format!("{}:{}", c >> 16, c & 0xffff));
    let large = attributes.large_communities().iter().map(|[a, b, c]| format!("{a}:{b}:{c}"));
    standard.chain(large).collect::<Vec<_>>().join(" ")
}
