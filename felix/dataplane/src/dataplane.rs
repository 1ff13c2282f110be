//! The whole: what the calculation says goes in, what the kernel tells is taken in, and one apply after the other makes
//! the kernel what it should be.
//!
//! An apply works in this order: rules (sets before what names them, removals last: one batch where it can be), the
//! host's and the interfaces' parameters, routes and neighbours, connections of addresses that left, statuses, and the
//! acknowledgement. Rules come before routes: an address is reached only once its policy is in force.

mod routing;

use crate::backend::{Backends, Choice};
use crate::endpoints::{self, Endpoints, Status};
use crate::links::Links;
use crate::meters::{Batch, Meters};
use crate::routes::MAIN;
use crate::routes::neighbours::Neighbours;
use crate::routes::table::RouteTable;
use crate::routes::wanted::{Want, Wanted};
use crate::settings::Settings;
use crate::stock::Stock;
use crate::sysctls::{Needs, Sysctls};
use delta::Retries;
use felix_calc::Changes;
use felix_calc::endpoint::{Endpoint, EndpointKey, Workload};
use futures::future::FutureExt;
use futures::stream::{BoxStream, StreamExt};
use kernel::{EventGroups, Flows, Kernel, KernelError, KernelEvent, Netfilter, RouteFilter};
use model::net::Cidr;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The main routing table, by its number, as metrics name it.
const MAIN_NAME: &str = "254";

/// Events taken at one go.
const EVENTS: usize = 1024;

/// See the module.
pub struct Dataplane {
    kernel: Arc<dyn Kernel>,
    flows: Box<dyn Flows>,
    events: Option<BoxStream<'static, KernelEvent>>,
    start: Instant,
    settings: Settings,
    backends: Backends,
    links: Links,
    wanted: Wanted,
    routes: RouteTable,
    neighbours: Neighbours,
    /// The neighbour each destination has.
    hardware: BTreeMap<Cidr, (u32, IpAddr)>,
    sysctls: Sysctls,
    endpoints: Endpoints,
    /// Links, addresses, routes and neighbours have to be listed.
    wants_look: bool,
    /// They were listed once. What is wanted depends on links: before they are known nothing is, and what a life before
    /// left is not touched.
    looked: bool,
    looks: Retries<()>,
    forgetting: Retries<()>,
    /// Not before then, unless an address that left is wanted again.
    next_forgetting: Duration,
    /// Packets have been judged.
    guarded: bool,
    /// Connections of addresses that nobody has were forgotten once.
    swept: bool,
    /// What was told is the store's state of this revision.
    told: Option<i64>,
    /// Something was told that is of no revision yet.
    changed: bool,
    enforced: Option<i64>,
    meters: Meters,
    /// What the metrics showed last.
    shown: Stock,
}

impl std::fmt::Debug for Dataplane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dataplane")
            .field("told", &self.told)
            .field("enforced", &self.enforced)
            .finish_non_exhaustive()
    }
}

impl Dataplane {
    /// Looks at the kernel, and changes nothing yet. Within a tokio runtime.
    ///
    /// # Errors
    /// The kernel cannot be followed. When it cannot be listed, that is tried again.
    pub async fn open(
        kernel: Arc<dyn Kernel>,
        netfilter: Box<dyn Netfilter>,
        flows: Box<dyn Flows>,
        settings: Settings,
    ) -> Result<Self, KernelError> {
        // follow first: what changes during the look is told
        let events = Some(follow(&*kernel).await?);
        let sysctls = Sysctls::open(&*kernel).await;
        let mut dataplane = Self {
            backends: Backends::open(netfilter, settings.rules.clone(), settings.backend).await?,
            kernel,
            flows,
            events,
            start: Instant::now(),
            settings,
            links: Links::default(),
            wanted: Wanted::default(),
            routes: RouteTable::default(),
            neighbours: Neighbours::default(),
            hardware: BTreeMap::new(),
            sysctls,
            endpoints: Endpoints::default(),
            wants_look: true,
            looked: false,
            looks: Retries::default(),
            forgetting: Retries::default(),
            next_forgetting: Duration::ZERO,
            guarded: false,
            swept: false,
            told: None,
            changed: true,
            enforced: None,
            meters: Meters::new(),
            shown: Stock::default(),
        };
        dataplane.look_if_wanted().await;
        Ok(dataplane)
    }

    /// The settings are these now. Where they ask for another backend [`Dataplane::wants_whole`] says so.
    pub async fn set_settings(&mut self, settings: Settings) {
        if settings == self.settings {
            return;
        }
        self.backends.set_settings(&settings.rules);
        self.settings = settings;
        let others = self.links.iter().filter(|(_, link)| !self.settings.is_workload(&link.name));
        let interfaces: Vec<_> =
            others.map(|(_, link)| (link.name.clone(), link.addresses.iter().copied().collect())).collect();
        self.backends.set_wish(self.settings.backend, &interfaces).await;
        // whose routes are ours may have changed, and so may which interfaces are workloads'
        self.routes.want_look();
        let floating = self.settings.rules.floating_ips;
        for (key, workload) in self.endpoints.workloads() {
            self.wanted.set_workload(key, Some(workload), floating);
        }
        self.wanted.all_dirty();
        let names: Vec<Arc<str>> = self.links.iter().map(|(_, link)| link.name.clone()).collect();
        names.iter().for_each(|name| self.link_changed(name));
        self.endpoints.all_dirty();
    }

    /// Whether there is a backend that comes, and has to be told everything that was told so far.
    pub fn wants_whole(&self) -> bool {
        self.backends.wants_whole()
    }

    /// Everything that was told so far and decides about packets, as to somebody who knows nothing.
    pub fn on_whole(&mut self, whole: &Changes) {
        self.backends.on_whole(whole);
    }

    /// The backend in force, and why it is.
    pub fn backend(&self) -> (Choice, &str) {
        self.backends.choice()
    }

    /// What the calculation says; [`Dataplane::apply`] carries it out.
    pub fn on_changes(&mut self, changes: &Changes) {
        self.changed = true;
        self.backends.on_changes(changes);
        for (key, endpoint) in &changes.endpoints {
            let endpoint = endpoint.as_ref().map(|local| &local.endpoint);
            // a change of policy alone is the renderer's affair
            if self.endpoints.is_known(key, endpoint) {
                continue;
            }
            let before = self.endpoints.set(key, endpoint);
            let workload = endpoint.and_then(|endpoint| endpoints::as_workload(endpoint));
            self.wanted.set_workload(key, workload, self.settings.rules.floating_ips);
            let was = before.as_deref().and_then(endpoints::as_workload);
            for interface in [was, workload].into_iter().flatten().map(|of| of.interface.clone()) {
                self.set_parameters(&interface);
            }
        }
        for (block, route) in &changes.routes {
            self.wanted.set_block(*block, *route);
        }
    }

    /// Everything told so far is what the store held at this revision, whole. Before it was said once nothing is put into
    /// the kernel. Where nothing else was told since the last time, what is enforced is of this revision too.
    pub fn told(&mut self, revision: i64) {
        if !std::mem::take(&mut self.changed) && self.enforced == self.told {
            self.enforced = Some(revision);
        }
        self.told = Some(revision);
    }

    /// The revision of the store that the kernel enforces, but for what [`Dataplane::refused`] tells: what is concerned by
    /// that is closed, and its endpoints are down.
    pub fn enforced(&self) -> Option<i64> {
        self.enforced
    }

    /// Whether an endpoint works as it was when [`Dataplane::apply`] began: its routes and its policy are in the kernel. What
    /// the kernel refuses of others does not matter.
    pub fn is_in_force(&self, endpoint: &EndpointKey) -> bool {
        self.backends.is_settled() && self.endpoints.status(endpoint) == Some(Status::Up)
    }

    /// What the kernel refuses, with its words.
    pub fn refused(&self) -> impl Iterator<Item = (String, &str)> {
        self.backends.refused()
    }

    /// Statuses that changed since it was asked last; `None` for an endpoint that is gone.
    pub fn take_statuses(&mut self) -> Vec<(EndpointKey, Option<Status>)> {
        self.endpoints.take()
    }

    /// Brings the metrics up to date that are counted for readers alone.
    pub fn measure(&mut self) {
        let mut stock = Stock::default();
        self.backends.measure(&mut stock);
        stock.of_routes("felix_route_table_num_routes", MAIN_NAME, self.routes.count());
        stock.of_routes("felix_route_table_num_ifaces", MAIN_NAME, self.links.iter().count());
        stock.show(&mut self.shown);
    }

    /// This node's endpoints, and what they are.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Whether something about links changed since it was asked last.
    pub fn take_other_links(&mut self) -> bool {
        self.links.take_other()
    }

    /// The smallest MTU of the host's interfaces that work and whose names `carries` says yes to (`mtuIfacePattern`).
    pub fn host_mtu(&self, carries: impl Fn(&str) -> bool) -> u32 {
        self.links.mtu(carries)
    }

    /// Waits for something that asks for an apply: what others did, or the time of another try. Nothing is lost when the
    /// returned future is dropped.
    pub async fn next(&mut self) {
        let now = self.now();
        let at = self.next_try().map(|at| self.start + at.max(now));
        tokio::select! {
            event = next_event(&mut self.events) => self.take_events(event),
            () = self.backends.changed() => {}
            () = tokio::time::sleep_until(at.unwrap_or(self.start)), if at.is_some() => {}
        }
    }

    fn next_try(&self) -> Option<Duration> {
        self.told?;
        let wants_look = self.wants_look || self.routes.wants_look();
        let tries = [
            wants_look.then(|| self.looks.next().unwrap_or_default()),
            self.backends.next_try(),
            self.routes.next_try(),
            self.neighbours.next_try(),
            self.sysctls.next_try(),
            self.routes.has_left().then(|| self.forgetting.next().unwrap_or(self.next_forgetting)),
        ];
        tries.into_iter().flatten().min()
    }

    /// Puts what is wanted into the kernel. What it refuses is tried again later; [`Dataplane::next`] says when.
    pub async fn apply(&mut self) {
        self.look_if_wanted().await;
        self.links_changed();
        if self.told.is_none() || !self.looked {
            return;
        }
        let start = self.start;
        self.backends.apply(|| start.elapsed()).await;
        // before packets are judged for the first time nothing is opened
        self.guarded |= self.backends.guards();
        if self.guarded {
            self.apply_sysctls().await;
            self.apply_routes().await;
            // an earlier life may have ended between taking an address away and forgetting its connections
            if !std::mem::replace(&mut self.swept, true) {
                self.routes.put_back_left(self.wanted.vacant());
            }
            self.forget_flows();
        }
        self.check_statuses();
        if self.backends.is_in_force() && self.routes.is_in_sync() && self.neighbours.is_in_sync() {
            self.enforced = self.told;
        }
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Takes an event and all that wait behind it.
    fn take_events(&mut self, first: Option<KernelEvent>) {
        let mut next = first;
        if next.is_none() {
            self.events = None;
            self.wants_look = true;
        }
        let mut taken = 0;
        let mut batch = Batch::default();
        while let Some(event) = next {
            batch.add(&event);
            self.event(&event);
            taken += 1;
            next = match taken < EVENTS {
                true => self.events.as_mut().and_then(|events| events.next().now_or_never().flatten()),
                false => None,
            };
        }
        self.meters.took(&batch);
    }

    fn event(&mut self, event: &KernelEvent) {
        match event {
            KernelEvent::Route(route) => self.routes.appeared(route, &self.links, &self.settings),
            KernelEvent::RouteGone(route) => self.routes.vanished(route),
            KernelEvent::Overrun => self.wants_look = true,
            event => self.links.event(event, self.start.elapsed()),
        }
    }

    async fn look_if_wanted(&mut self) {
        let now = self.now();
        if !(self.wants_look || self.routes.wants_look()) || !self.looks.may(&(), now) {
            return;
        }
        match self.look().await {
            Ok(()) => {
                // a look that asks for another one is not repeated without a pause
                if self.routes.wants_look() {
                    self.looks.refused((), now);
                } else {
                    self.looks.clear();
                }
            }
            Err(error) => {
                if self.looks.refused((), now) {
                    tracing::warn!(%error, "the kernel cannot be listed, trying again");
                }
            }
        }
    }

    async fn look(&mut self) -> Result<(), KernelError> {
        if self.events.is_none() {
            self.events = Some(follow(&*self.kernel).await?);
        }
        let links = self.kernel.links().await?;
        let addresses = self.kernel.addresses(None).await?;
        let main = RouteFilter { table: Some(MAIN), ..RouteFilter::default() };
        let begun = Instant::now();
        let routes = self.kernel.routes(main).await?;
        self.meters.looked(begun.elapsed());
        let neighbours = self.kernel.neighbours(None).await?;
        (self.wants_look, self.looked) = (false, true);
        let now = self.now();
        self.links.replace(&links, &addresses, now);
        // the lists are newer than what the links lost
        self.links.take_flushed();
        self.routes.read_back(&routes, &self.links, &self.settings);
        self.neighbours.read_back(&neighbours);
        Ok(())
    }

    fn links_changed(&mut self) {
        for link in self.links.take_flushed() {
            self.routes.flushed(link);
            self.neighbours.flushed(link);
        }
        let changed = self.links.take_changed();
        if !changed.is_empty() {
            self.routes.try_again();
        }
        changed.iter().for_each(|name| self.link_changed(name));
        for (dst, want) in self.wanted.take(&self.links, &self.settings) {
            self.want(dst, want);
        }
    }

    fn link_changed(&mut self, name: &Arc<str>) {
        let is_workload = self.settings.is_workload(name);
        self.wanted.link_changed(name, is_workload);
        self.endpoints.interface_changed(name, is_workload);
        if is_workload {
            self.set_parameters(name);
        } else {
            let link = self.links.named(name);
            let addresses: Option<Vec<IpAddr>> =
                link.map(|(_, link)| link.addresses.iter().copied().collect());
            self.backends.set_interface(name, addresses.as_deref());
        }
    }

    fn set_parameters(&mut self, interface: &Arc<str>) {
        let rules = &self.settings.rules;
        let grants = |workload: &Workload| rules.source_spoofing && !workload.source_prefixes.is_empty();
        let mut workloads = self.endpoints.workloads_of(interface).peekable();
        let working = self.links.named(interface).filter(|(_, link)| link.up && workloads.peek().is_some());
        let needs =
            working.map(|(link, _)| Needs { link, ipv6: rules.ipv6, spoofing: workloads.any(grants) });
        self.sysctls.set(interface, needs);
    }

    fn want(&mut self, dst: Cidr, want: Option<Want>) {
        let neighbour = want.as_ref().and_then(|want| Some(((want.target.link()?, dst.addr()), want.mac?)));
        let before = match &neighbour {
            Some((neighbour, _)) => self.hardware.insert(dst, *neighbour),
            None => self.hardware.remove(&dst),
        };
        if let Some((link, address)) = before.filter(|before| neighbour.is_none_or(|(now, _)| now != *before))
        {
            self.neighbours.unwant(link, address);
        }
        if let Some(((link, address), mac)) = neighbour {
            self.neighbours.want(link, address, mac);
        }
        self.routes.want(dst, want.map(|want| (want.key, want.target)));
    }

    fn check_statuses(&mut self) {
        // what waits for a look or an answer may concern anybody
        let settled = self.backends.is_settled();
        let hosts = self.backends.host_interfaces();
        self.endpoints.set_refused(self.backends.concerned());
        let (links, routes, sysctls, settings) = (&self.links, &self.routes, &self.sysctls, &self.settings);
        let is_up = |name: &str| links.named(name).is_some_and(|(_, link)| link.up);
        let wanted = &self.wanted;
        self.endpoints.check(|key, endpoint| match endpoint {
            Endpoint::Workload(workload) => {
                let name = &*workload.interface;
                let reached = |address: IpAddr| routes.is_installed(&Cidr::host(address));
                let works = settled
                    && is_up(name)
                    && sysctls.is_applied(name)
                    && (!settings.route_sync || wanted.addresses_of(key).all(reached));
                if works { Status::Up } else { Status::Down }
            }
            Endpoint::Host(host) => {
                let about = hosts.iter().filter(|(_, of)| *of == key);
                endpoints::of_host(host, about.map(|(name, _)| is_up(name)))
            }
        });
    }
}

async fn follow(kernel: &dyn Kernel) -> Result<BoxStream<'static, KernelEvent>, KernelError> {
    let groups =
        EventGroups { links: true, addresses: true, routes: true, neighbours: false, others_only: true };
    kernel.events(groups).await
}

/// The next event; `None` when the stream ends. Without a stream nothing comes.
async fn next_event(events: &mut Option<BoxStream<'static, KernelEvent>>) -> Option<KernelEvent> {
    match events {
        Some(events) => events.next().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
