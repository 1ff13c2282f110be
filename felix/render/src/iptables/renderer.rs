//! Changes in, updates out.

use super::arp::Arp;
use super::chains::Chains;
use super::endpoints::Target;
use super::hosts::{self, Hosts};
use super::owner::Owner;
use super::policies::Policies;
use super::ruleset::{SetKind, Update};
use super::sets::{self, Sets};
use super::statics::{self, Facts};
use super::workloads::{self, Workloads};
use crate::settings::Settings;
use crate::{Render, nft};
use felix_calc::Changes;
use felix_calc::endpoint::EndpointKey;
use felix_calc::static_sets::{HOSTS, MASQUERADED_POOLS};
use model::net::{Cidr, Family};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// The desired ruleset of one node.
#[derive(Debug)]
pub struct Renderer {
    settings: Settings,
    sets: Sets,
    chains: Chains<Owner>,
    policies: Policies,
    arp: Arp,
    workloads: Workloads,
    hosts: Hosts,
    services: Arc<[Cidr]>,
    /// Host endpoints have to be rendered; whatever was there before when `Some(true)`.
    hosts_dirty: Option<bool>,
    /// What leads to workloads has to be rendered.
    workloads_dirty: bool,
    /// Chains that depend on no endpoint have to be rendered.
    statics_dirty: bool,
    /// Addresses of the host have changed.
    addresses_dirty: bool,
}

impl Render for Renderer {
    fn set_settings(&mut self, settings: Settings) {
        if settings == self.settings {
            return;
        }
        self.settings = settings;
        self.sets.configure(self.settings.families(), self.settings.iptables.max_set_size);
        // which sets there are of a family depends on settings
        self.sets.all_dirty();
        self.policies.all_dirty();
        let (workloads, _, mut target) = self.split();
        workloads.render_all(&mut target);
        self.hosts_dirty = Some(true);
        self.workloads_dirty = true;
        self.statics_dirty = true;
        self.addresses_dirty = true;
    }

    fn set_interface(&mut self, name: &str, addresses: Option<&[IpAddr]>) {
        if self.hosts.interfaces.set_interface(name, addresses) {
            self.addresses_dirty = true;
            self.hosts_dirty = self.hosts_dirty.or((!self.hosts.interfaces.is_empty()).then_some(false));
        }
    }

    fn apply(&mut self, changes: &Changes) {
        for (id, change) in &changes.sets {
            self.sets.apply(id, change);
            self.statics_dirty |= [MASQUERADED_POOLS, HOSTS].contains(&&**id);
        }
        for (name, profile) in &changes.profiles {
            self.policies.set_profile(name, profile.as_ref());
        }
        for (key, endpoint) in &changes.endpoints {
            match key {
                EndpointKey::Host(_) => {
                    self.hosts.interfaces.set(key, endpoint.as_ref());
                    self.hosts_dirty = self.hosts_dirty.or(Some(false));
                }
                EndpointKey::Workload(..) => {
                    let (workloads, _, mut target) = self.split();
                    let changed = workloads.set(key, endpoint.as_ref(), &mut target);
                    self.workloads_dirty |= changed;
                }
            }
        }
        if let Some(services) = &changes.service_cidrs {
            self.services = services.clone();
            self.statics_dirty = true;
        }
    }

    fn host_interfaces(&self) -> BTreeMap<Arc<str>, EndpointKey> {
        self.hosts.interfaces.resolved(&self.settings)
    }

    fn endpoints_where(&self, holds: &dyn Fn(&str, &[Arc<str>]) -> bool) -> BTreeSet<EndpointKey> {
        let of_host = |interface: &str| holds(interface, &hosts::chains_of(interface));
        let of_workload = |interface: &str| holds(interface, &workloads::chains_of(interface));
        let hosts = self.hosts.interfaces.having(&self.settings, of_host);
        hosts.into_iter().chain(self.workloads.claims.having(of_workload).cloned()).collect()
    }
}

impl Renderer {
    /// Nothing known but the settings.
    pub fn new(settings: Settings) -> Self {
        Renderer {
            sets: Sets::new(settings.families(), settings.iptables.max_set_size),
            settings,
            chains: Chains::default(),
            policies: Policies::default(),
            arp: Arp::default(),
            workloads: Workloads::default(),
            hosts: Hosts::default(),
            services: Arc::new([]),
            hosts_dirty: Some(true),
            workloads_dirty: true,
            statics_dirty: true,
            addresses_dirty: true,
        }
    }

    /// What renders endpoints, and where that goes.
    fn split(&mut self) -> (&mut Workloads, &mut Hosts, Target<'_>) {
        let target = Target {
            settings: &self.settings,
            chains: &mut self.chains,
            policies: &mut self.policies,
            arp: &mut self.arp,
        };
        (&mut self.workloads, &mut self.hosts, target)
    }

    /// The updates since it was asked last: sets and chains before what names them, removals last.
    pub fn take(&mut self) -> Vec<Update> {
        if let Some(anew) = self.hosts_dirty.take() {
            let (_, hosts, mut target) = self.split();
            hosts.render(anew, &mut target);
        }
        if std::mem::take(&mut self.workloads_dirty) {
            let with_dscp = self.workloads.with_dscp().into_keys().collect();
            self.sets.set_addresses(sets::DSCP_SOURCES, SetKind::Net, &with_dscp);
            let (workloads, _, mut target) = self.split();
            workloads.render_shared(&mut target);
        }
        if std::mem::take(&mut self.addresses_dirty) {
            let addresses = self.hosts.interfaces.interfaces(&self.settings).flat_map(|(_, of)| of);
            self.sets.set_addresses(sets::THIS_HOST, SetKind::Ip, &sets::of_host(addresses));
        }
        self.policies.render(&self.settings, &mut self.chains);
        if std::mem::take(&mut self.statics_dirty) {
            self.render_statics();
        }
        let mut updates = Vec::new();
        let spares_hosts = self.settings.nat_excludes_hosts;
        // IPv6 addresses of nodes are asked about only where they are spared
        let wanted = |id: &str, family| id != HOSTS || family == Family::V4 || spares_hosts;
        let removals = self.sets.take(wanted, &mut updates);
        self.chains.take(&mut updates);
        updates.extend(removals);
        updates
    }

    /// The updates of the table of ARP since it was asked last.
    pub fn take_arp(&mut self) -> Vec<nft::Update> {
        self.arp.take()
    }

    fn render_statics(&mut self) {
        let families = self.settings.families();
        let mut definitions = Vec::new();
        for family in &families {
            definitions.extend(statics::chains(&Facts {
                family: *family,
                settings: &self.settings,
                services: &self.services,
                masquerades: self.sets.has_members(MASQUERADED_POOLS, *family),
                // the calculation may not have heard of the setting yet
                spares_hosts: self.settings.nat_excludes_hosts && self.sets.contains(HOSTS),
            }));
        }
        self.chains.put(Owner::Statics, definitions);
        let hooks = statics::hooks(&self.settings);
        for family in [Family::V4, Family::V6] {
            for (table, chain, hook, calls) in &hooks {
                let wanted = families.contains(&family).then(|| (hook.clone(), calls.clone()));
                self.chains.hook((family, *table, *chain), wanted);
            }
        }
    }
}
