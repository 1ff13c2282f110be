//! Changes in, updates out.

use super::base::{self, Facts, SERVICES};
use super::constants::{intervals, net_ranges};
use super::hosts::{self, Hosts};
use super::objects::Objects;
use super::packet::{address_type, table};
use super::piece::{Elements, Piece, shape};
use super::policy::{Chains, Owner};
use super::ruleset::{SetShape, Update};
use super::sets::Sets;
use super::workloads::{self, Target, Workloads};
use super::{arp, nat};
use crate::Render;
use crate::settings::Settings;
use felix_calc::Changes;
use felix_calc::endpoint::EndpointKey;
use felix_calc::static_sets::{HOSTS, MASQUERADED_POOLS, POOLS};
use model::net::{Cidr, Family};
use netfilter::nft::Family as Table;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// The desired ruleset of one node.
#[derive(Debug)]
pub struct Renderer {
    settings: Settings,
    sets: Sets,
    chains: Chains,
    workloads: Workloads,
    hosts: Hosts,
    services: Arc<[Cidr]>,
    objects: Objects<Owner>,
    /// Host endpoints have to be rendered.
    hosts_dirty: bool,
    /// The chains the kernel calls have to be rendered.
    base_dirty: bool,
}

impl Render for Renderer {
    fn set_settings(&mut self, settings: Settings) {
        if settings == self.settings {
            return;
        }
        self.settings = settings;
        self.sets.set_families(self.settings.families());
        let families = self.settings.families();
        let mut target = Target {
            families: &families,
            settings: &self.settings,
            chains: &mut self.chains,
            objects: &mut self.objects,
        };
        self.workloads.render_all(&mut target);
        self.chains.all_dirty();
        self.put_services();
        self.hosts_dirty = true;
        self.base_dirty = true;
    }

    fn set_interface(&mut self, name: &str, addresses: Option<&[IpAddr]>) {
        let news = self.hosts.interfaces.set_interface(name, addresses);
        self.hosts_dirty |= news && !self.hosts.interfaces.is_empty();
    }

    fn apply(&mut self, changes: &Changes) {
        for (id, change) in &changes.sets {
            self.sets.apply(id, change);
        }
        for (name, profile) in &changes.profiles {
            self.sets.describe(profile.iter().flat_map(|profile| &profile.sets));
            self.chains.set_profile(name, profile.as_ref());
        }
        let families = self.settings.families();
        for (key, endpoint) in &changes.endpoints {
            let tiers = endpoint.iter().flat_map(|endpoint| &endpoint.tiers);
            self.sets.describe(tiers.flat_map(|tier| &tier.policies).flat_map(|policy| &policy.sets));
            match key {
                EndpointKey::Host(_) => {
                    self.hosts.interfaces.set(key, endpoint.as_ref());
                    self.hosts_dirty = true;
                }
                EndpointKey::Workload(..) => {
                    let mut target = Target {
                        families: &families,
                        settings: &self.settings,
                        chains: &mut self.chains,
                        objects: &mut self.objects,
                    };
                    self.base_dirty |= self.workloads.set(key, endpoint.as_ref(), &mut target);
                }
            }
        }
        if let Some(services) = &changes.service_cidrs {
            self.services = services.clone();
            self.put_services();
            self.base_dirty = true;
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
            sets: Sets::new(settings.families()),
            settings,
            chains: Chains::default(),
            workloads: Workloads::default(),
            hosts: Hosts::default(),
            services: Arc::new([]),
            objects: Objects::default(),
            hosts_dirty: true,
            base_dirty: true,
        }
    }

    /// The updates since it was asked last; committed as one.
    pub fn take(&mut self) -> Vec<Update> {
        let families = self.settings.families();
        if std::mem::take(&mut self.hosts_dirty) {
            self.hosts.render(&families, &self.settings, &mut self.chains, &mut self.objects);
            self.base_dirty = true;
        }
        for id in self.sets.settle() {
            self.chains.set_moved(&id);
            self.base_dirty |= [POOLS, MASQUERADED_POOLS, HOSTS].contains(&&*id);
        }
        self.chains.render(&families, &self.settings, &self.sets, &mut self.objects);
        if std::mem::take(&mut self.base_dirty) {
            let pieces = self.base();
            self.objects.put(Owner::Base, pieces);
        }
        let mut updates = Vec::new();
        self.sets.take(&mut updates);
        self.objects.take(&mut updates);
        updates
    }

    fn base(&self) -> Vec<(Table, Piece)> {
        let facts = Facts { settings: &self.settings, hosts: &self.hosts, objects: &self.objects };
        let of_family = |family: Family| {
            let mut piece = base::filter(family, &facts);
            piece.extend(nat::chains(family, &self.settings, &self.sets, &self.objects));
            (table(family), piece)
        };
        let ip = self.settings.families().into_iter().map(of_family);
        ip.chain([(Table::Arp, arp::chains(&self.settings))]).collect()
    }

    fn put_services(&mut self) {
        let piece = |family: Family| {
            let nets: Vec<Cidr> =
                self.services.iter().filter(|net| net.family() == family).copied().collect();
            let plain = shape(&[address_type(family)], None, false, "networks of services");
            let elements = intervals(net_ranges(family, &nets).into_iter());
            let shape = Arc::new(SetShape { interval: true, ..plain });
            let sets = match nets.is_empty() {
                true => Vec::new(),
                false => vec![Elements { set: SERVICES.into(), shape, elements }],
            };
            (table(family), Piece { chains: Vec::new(), sets })
        };
        let pieces = self.settings.families().into_iter().map(piece).collect();
        self.objects.put(Owner::Services, pieces);
    }
}
