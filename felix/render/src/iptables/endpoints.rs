//! Chains of endpoints that are wanted, each with what it calls. A change of what a policy says is none of theirs.

use super::arp::Arp;
use super::chains::Chains;
use super::endpoint::{self, Parts, Point};
use super::groups::Layout;
use super::owner::Owner;
use super::policies::Policies;
use crate::form::Scope;
use crate::settings::Settings;
use felix_calc::endpoint::Limit;
use felix_calc::policy::Tier;
use std::collections::HashMap;
use std::sync::Arc;

/// Where chains go.
pub struct Target<'a> {
    /// The agent's settings.
    pub settings: &'a Settings,
    /// All chains.
    pub chains: &'a mut Chains<Owner>,
    /// Those of policies and profiles.
    pub policies: &'a mut Policies,
    /// The table of ARP.
    pub arp: &'a mut Arp,
}

/// What the chains of an endpoint at an interface are to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The interface.
    pub interface: Arc<str>,
    /// Where it has chains, and what it may do there at most.
    pub points: Vec<(Point, Limit)>,
    /// Profiles, in order.
    pub profiles: Vec<Arc<str>>,
    /// Whether policies, of either direction, are about what is forwarded.
    pub forwards: bool,
}

#[derive(Debug)]
struct Installed {
    wanted: Wanted,
    /// For each point.
    layouts: Vec<Layout>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Endpoints {
    installed: HashMap<Owner, Installed>,
}

impl Endpoints {
    /// These chains are wanted, with the tiers that apply. `anew`: whatever was there before.
    pub fn put(&mut self, owner: Owner, wanted: Wanted, tiers: &[Tier], anew: bool, target: &mut Target<'_>) {
        let before = self.installed.get(&owner);
        let marks = &target.settings.iptables.marks;
        let known = before.filter(|before| !anew && before.wanted.points == wanted.points);
        let layout = |(place, (point, _)): (usize, &(Point, Limit))| {
            let known = known.and_then(|before| before.layouts.get(place));
            Layout::new(point.scope, point.direction, tiers, marks, known)
        };
        let layouts: Vec<Layout> = wanted.points.iter().enumerate().map(layout).collect();
        if let Some(before) = known.filter(|before| before.calls_the_same(&wanted, &layouts)) {
            let old = before.layouts.iter().flat_map(Layout::policies);
            for (old, new) in old.zip(layouts.iter().flat_map(Layout::policies)) {
                if !Arc::ptr_eq(old, new) {
                    target.policies.replace(new);
                }
            }
            self.installed.insert(owner, Installed { wanted, layouts });
            return;
        }
        let installed = Installed { wanted, layouts };
        installed.acquire(target.policies);
        target.chains.put(owner.clone(), installed.definitions(target.settings));
        if let Some(before) = self.installed.insert(owner, installed) {
            before.release(target.policies);
        }
    }

    /// None are wanted any more.
    pub fn remove(&mut self, owner: Owner, target: &mut Target<'_>) {
        if let Some(before) = self.installed.remove(&owner) {
            before.release(target.policies);
            target.chains.remove(owner);
        }
    }
}

impl Installed {
    /// Whether chains made of these parts would be the same.
    fn calls_the_same(&self, wanted: &Wanted, layouts: &[Layout]) -> bool {
        self.wanted == *wanted
            && self.layouts.iter().zip(layouts).all(|(before, now)| before.calls_the_same(now))
    }

    fn points(&self) -> impl Iterator<Item = (Point, Limit, &Layout)> {
        self.wanted.points.iter().zip(&self.layouts).map(|((point, limit), layout)| (*point, *limit, layout))
    }

    fn profiles(&self, scope: Scope) -> &[Arc<str>] {
        if scope.has_profiles() { &self.wanted.profiles } else { &[] }
    }

    fn acquire(&self, policies: &mut Policies) {
        for (point, _, layout) in self.points() {
            layout.policies().for_each(|policy| policies.acquire(policy, point.direction, point.table));
            for profile in self.profiles(point.scope) {
                policies.acquire_profile(profile, point.direction, point.table);
            }
        }
    }

    fn release(&self, policies: &mut Policies) {
        for (point, _, layout) in self.points() {
            layout.policies().for_each(|policy| policies.release(&policy.key, point.direction, point.table));
            for profile in self.profiles(point.scope) {
                policies.release_profile(profile, point.direction, point.table);
            }
        }
    }

    fn definitions(&self, settings: &Settings) -> super::chains::Definitions {
        let mut definitions = Vec::new();
        for (point, limit, layout) in self.points() {
            let parts = Parts {
                point,
                limit,
                layout,
                forwards: self.wanted.forwards,
                profiles: self.profiles(point.scope),
                settings,
            };
            let own = endpoint::chain(&self.wanted.interface, &parts);
            for (name, chain) in layout.chains().chain([&own]) {
                for family in settings.families() {
                    definitions.push(((family, point.table, name.clone()), chain.clone()));
                }
            }
        }
        definitions
    }
}
