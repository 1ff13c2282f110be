//! From a plan to neighbours, listeners, keys, blocks: only what differs is touched.

use super::{LISTEN_AGAIN, Shell};
use crate::secrets;
use crate::speaker::{Range, Speaker};
use bgp_config::{LogLevel, NodePlan, PlanDiff, SessionKey, SessionPlan, SessionStep};
use bgp_rib::{Local, PeerId, PeerSettings, RibConfig, Source as RibSource};
use bgp_session::{Authentication, Settings, Stop};
use bgp_wire::{Family, Prefix};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::level_filters::LevelFilter;

/// What neighbours were told that a restart may take, unless they were told otherwise.
const RESTART: Duration = Duration::from_secs(120);

impl Shell {
    /// Puts a plan in force.
    pub(super) fn take_plan(&mut self, plan: Arc<NodePlan>) {
        let before = self.plan.replace(Arc::clone(&plan));
        let first = before.is_none();
        let nothing = empty(&plan);
        let diff = PlanDiff::between(before.as_deref().unwrap_or(&nothing), &plan);
        for warning in diff.warnings.iter().flatten() {
            tracing::warn!("{warning}");
        }
        if first || diff.log_level.is_some() {
            observe::log::set_level(shown(plan.log_level));
        }
        self.configure_rib(&plan);
        if first {
            self.kernel.tracker().ignore(plan.ignored_interfaces.clone());
        }
        if let Some(patterns) = &diff.ignored_interfaces {
            self.kernel.tracker().ignore(patterns.clone());
        }
        self.take_static_routes(&diff, &plan);
        for (key, step) in &diff.sessions {
            self.take_step(*key, step);
        }
        if first || diff.listen.is_some() {
            self.listen();
        }
        let now = self.now();
        let Some(speaker) = &mut self.speaker else { return };
        for (block, there) in &diff.blocks {
            match there {
                true => speaker.rib_mut().originate(*block, Local::block()),
                false => speaker.rib_mut().withdraw_origin(*block, RibSource::Static),
            }
        }
        if first {
            self.begin(now);
        } else {
            // Neighbours of the start are started together, once it is known whether this is a restart.
            self.start_new(&diff);
        }
        self.report();
    }

    /// The first plan is in force: a restarted speaker says so before the first session begins.
    fn begin(&mut self, now: Duration) {
        let adopted = self.kernel.fib().adopted();
        let Some(speaker) = &mut self.speaker else { return };
        if adopted > 0 {
            let told = speaker.peers().filter_map(|(_, session)| session.settings().graceful_restart);
            let restart_time =
                told.map(|gr| Duration::from_secs(gr.restart_time.into())).max().unwrap_or(RESTART);
            tracing::info!(
                routes = adopted,
                ?restart_time,
                "routes of an earlier life are kept until confirmed"
            );
            speaker.restarting(restart_time, now);
        } else {
            Family::ALL.into_iter().for_each(|family| self.settle_fib(family));
        }
        let keys: Vec<SessionKey> = self.peers.keys().copied().collect();
        for key in keys {
            self.start(key);
        }
    }

    fn start_new(&mut self, diff: &PlanDiff) {
        for (key, step) in &diff.sessions {
            if matches!(step, SessionStep::Add(_)) {
                self.start(*key);
            }
        }
    }

    /// Wants a session, unless it is held down.
    fn start(&mut self, key: SessionKey) {
        let now = self.now();
        let Some(plan) = self.plan.as_ref().and_then(|plan| plan.sessions.get(&key)) else { return };
        let (Some(peer), Some(speaker)) = (self.peers.get(&key), &mut self.speaker) else { return };
        match &plan.shutdown {
            Some(text) => speaker.stop(*peer, Stop::Shutdown(text.clone()), now),
            None => speaker.start(*peer, now),
        }
    }

    fn configure_rib(&mut self, plan: &NodePlan) {
        // Without an identifier there are no sessions; the RIB works all the same.
        let router_id = plan.router_id.unwrap_or(Ipv4Addr::UNSPECIFIED);
        let seed = u64::from(std::process::id())
            ^ u64::from(std::time::UNIX_EPOCH.elapsed().unwrap_or_default().subsec_nanos()) << 32;
        let config = |seed| RibConfig {
            cluster_id: plan.cluster_id,
            normal_priority: plan.normal_priority,
            kernel: plan.kernel.clone(),
            fib: self.kernel.programs(),
            // Who puts nothing into the kernel forwards nothing: whether next hops can be reached from here does not matter.
            track_next_hops: self.kernel.programs(),
            seed,
            ..RibConfig::new(router_id)
        };
        match &mut self.speaker {
            Some(speaker) => speaker.rib_mut().set_config(config(self.seed)),
            None => {
                self.seed = seed;
                self.speaker = Some(Speaker::new(config(seed), seed));
            }
        }
    }

    fn take_step(&mut self, key: SessionKey, step: &SessionStep) {
        match step {
            SessionStep::Add(plan) => self.add(key, plan),
            SessionStep::Change(plan, change) => {
                if change.password {
                    self.authenticate(key, plan);
                }
                self.change(key, plan);
                if change.shutdown {
                    self.start(key);
                }
            }
            SessionStep::Remove => self.remove(key),
        }
    }

    fn add(&mut self, key: SessionKey, plan: &SessionPlan) {
        self.authenticate(key, plan);
        let settings = self.settings(plan);
        let routing = plan.routing.clone();
        let Some(speaker) = &mut self.speaker else { return };
        match key {
            SessionKey::Peer { .. } => {
                let peer = speaker.add(settings, routing);
                self.peers.insert(key, peer);
                self.since.insert(peer, Instant::now());
            }
            SessionKey::Range(prefix) => self.take_range(prefix, settings, plan),
        }
    }

    /// Lets neighbours come from a prefix, or, held down, nobody: those that have come are told why.
    fn take_range(&mut self, prefix: Prefix, settings: Settings, plan: &SessionPlan) {
        let now = self.now();
        let Some(speaker) = &mut self.speaker else { return };
        match &plan.shutdown {
            Some(text) => speaker.remove_range(prefix, Stop::Shutdown(text.clone()), now),
            None => {
                let range = Range { settings, routing: plan.routing.clone(), limit: plan.dynamic_limit };
                speaker.set_range(prefix, range);
            }
        }
    }

    /// Puts a session's settings in force.
    pub(super) fn change(&mut self, key: SessionKey, plan: &SessionPlan) {
        let now = self.now();
        let settings = self.settings(plan);
        let routing = plan.routing.clone();
        let Some(speaker) = &mut self.speaker else { return };
        let mut one = |peer: PeerId, settings: Settings, routing: PeerSettings| {
            speaker.configure(peer, settings, now);
            speaker.rib_mut().set_peer(peer, routing);
        };
        match key {
            SessionKey::Peer { .. } => {
                if let Some(peer) = self.peers.get(&key) {
                    one(*peer, settings, routing);
                }
            }
            SessionKey::Range(prefix) => {
                for peer in speaker.of_range(prefix) {
                    let Some(address) = speaker.settings(peer).map(|settings| settings.remote_address) else {
                        continue;
                    };
                    let own = Settings { remote_address: address, passive: true, ..settings.clone() };
                    let name = Arc::from(format!("{}{address}", routing.name));
                    speaker.configure(peer, own, now);
                    speaker.rib_mut().set_peer(peer, PeerSettings { name, address, ..routing.clone() });
                }
                self.take_range(prefix, settings, plan);
            }
        }
        self.apply_distance(key, plan);
    }

    /// Connections that are up follow a change of the distance allowed.
    fn apply_distance(&mut self, key: SessionKey, plan: &SessionPlan) {
        let Some(speaker) = &self.speaker else { return };
        let peers = match key {
            SessionKey::Peer { .. } => self.peers.get(&key).copied().into_iter().collect(),
            SessionKey::Range(prefix) => speaker.of_range(prefix),
        };
        for (link, socket) in self.sockets.iter().filter(|(link, _)| peers.contains(&link.peer)) {
            if let Err(error) = self.transport.set_distance(*socket, plan.settings.distance) {
                tracing::debug!(?link, %error, "the distance of a connection stays as it was");
            }
        }
    }

    fn remove(&mut self, key: SessionKey) {
        let now = self.now();
        let Some(speaker) = &mut self.speaker else { return };
        match key {
            SessionKey::Peer { .. } => {
                if let Some(peer) = self.peers.remove(&key) {
                    self.since.remove(&peer);
                    speaker.remove(peer, now);
                }
            }
            SessionKey::Range(prefix) => speaker.remove_range(prefix, Stop::Deconfigured, now),
        }
        // Last words are signed like the others.
        self.outputs();
        self.set_key(governed(key), &Authentication::None);
    }

    /// A plan's settings, with what only the system knows: the password, and the number of an interface.
    fn settings(&mut self, plan: &SessionPlan) -> Settings {
        let mut settings = plan.settings.clone();
        settings.authentication = self.key_of(plan);
        if let Some(interface) = &plan.interface {
            settings.scope = self.kernel.tracker().link_index(interface);
        }
        settings
    }

    fn key_of(&self, plan: &SessionPlan) -> Authentication {
        let password = plan.password.as_ref().and_then(|secret| secrets::read(&self.config.secrets, secret));
        plan.signing.with(password)
    }

    fn authenticate(&mut self, key: SessionKey, plan: &SessionPlan) {
        let authentication = self.key_of(plan);
        if let (Some(secret), Authentication::None) = (&plan.password, &authentication) {
            tracing::warn!(
                peer = plan.name,
                secret = secret.name,
                key = secret.key,
                directory = %self.config.secrets.display(),
                "the password is not there: the session runs unsigned until it is"
            );
        }
        self.set_key(governed(key), &authentication);
    }

    fn set_key(&mut self, peers: Prefix, key: &Authentication) {
        if let Err(error) = self.transport.authenticate(peers, key) {
            tracing::error!(%peers, %error, "a key cannot be set");
        }
    }

    /// Files with passwords may have changed.
    pub(super) fn renew_passwords(&mut self) {
        let Some(plan) = self.plan.clone() else { return };
        for (key, session) in plan.sessions.iter().filter(|(_, session)| session.password.is_some()) {
            self.authenticate(*key, session);
            self.change(*key, session);
        }
    }

    /// Listens where the plan says, and nowhere else.
    pub(super) fn listen(&mut self) {
        self.listen_again = None;
        let Some(plan) = self.plan.clone() else { return };
        let wanted: BTreeSet<SocketAddr> = match plan.router_id {
            // Nobody can be answered without an identifier.
            None => BTreeSet::new(),
            Some(_) if plan.listen.addresses.is_empty() => {
                let all = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
                all.map(|address| SocketAddr::new(address, plan.listen.port)).into()
            }
            Some(_) => plan.listen.addresses.iter().map(|a| SocketAddr::new(*a, plan.listen.port)).collect(),
        };
        let gone: Vec<SocketAddr> =
            self.listeners.keys().filter(|at| !wanted.contains(at)).copied().collect();
        for address in gone {
            if let Some(socket) = self.listeners.remove(&address) {
                self.transport.close(socket);
            }
        }
        for address in wanted {
            if self.listeners.contains_key(&address) {
                continue;
            }
            match self.transport.listen(address) {
                Ok(socket) => drop(self.listeners.insert(address, socket)),
                Err(error) => {
                    tracing::warn!(%address, %error, "cannot listen, trying again");
                    self.listen_again = Some(Instant::now() + LISTEN_AGAIN);
                }
            }
        }
    }

    fn take_static_routes(&mut self, diff: &PlanDiff, plan: &NodePlan) {
        for (prefix, gateway) in &diff.static_routes {
            if let (None, Some(fib)) = (gateway, self.kernel.fib_mut()) {
                fib.remove(*prefix);
            }
        }
        if !diff.static_routes.is_empty() {
            self.kernel.tracker().set_static(plan.static_routes.clone());
            self.static_routes();
        }
    }
}

/// The least severe level shown. BIRD's errors are told whatever `logSeverityScreen` says, and so are ours.
fn shown(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::None => LevelFilter::WARN,
    }
}

/// Whose segments a session's key signs.
fn governed(key: SessionKey) -> Prefix {
    match key {
        SessionKey::Peer { address, .. } => Prefix::host(address),
        SessionKey::Range(prefix) => prefix,
    }
}

/// A plan of which everything of `plan` differs.
fn empty(plan: &NodePlan) -> NodePlan {
    NodePlan {
        sessions: Default::default(),
        blocks: Default::default(),
        static_routes: Default::default(),
        warnings: Vec::new(),
        ..plan.clone()
    }
}
