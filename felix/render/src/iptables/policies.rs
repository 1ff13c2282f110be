//! Policies and profiles that chains of endpoints call, each by how many, and their own chains.

use super::chains::Chains;
use super::owner::Owner;
use super::policy::{Place, of_policy, of_profile, policy_chain, profile_chain};
use super::ruleset::Table;
use crate::form::Direction;
use crate::settings::Settings;
use felix_calc::policy::{Policy, PolicyKey, Profile};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// The chains of one policy or profile that are called, and by how many others.
type Uses = BTreeMap<(Direction, Table), u32>;

/// See the module.
#[derive(Debug, Default)]
pub struct Policies {
    policies: HashMap<PolicyKey, (Arc<Policy>, Uses)>,
    profiles: HashMap<Arc<str>, Arc<Profile>>,
    uses_of_profiles: HashMap<Arc<str>, Uses>,
    dirty_policies: BTreeSet<PolicyKey>,
    dirty_profiles: BTreeSet<Arc<str>>,
}

impl Policies {
    /// A profile came, changed or went.
    pub fn set_profile(&mut self, name: &Arc<str>, profile: Option<&Arc<Profile>>) {
        match profile {
            Some(profile) => self.profiles.insert(name.clone(), profile.clone()),
            None => self.profiles.remove(name),
        };
        self.dirty_profiles.insert(name.clone());
    }

    /// A policy that is called says this now.
    pub fn replace(&mut self, policy: &Arc<Policy>) {
        if let Some((known, _)) = self.policies.get_mut(&policy.key)
            && !Arc::ptr_eq(known, policy)
        {
            *known = policy.clone();
            self.dirty_policies.insert(policy.key.clone());
        }
    }

    /// One chain more calls a policy.
    pub fn acquire(&mut self, policy: &Arc<Policy>, direction: Direction, table: Table) {
        self.replace(policy);
        let uses = match self.policies.get_mut(&policy.key) {
            Some((_, uses)) => uses,
            None => {
                let new = (policy.clone(), Uses::new());
                &mut self.policies.entry(policy.key.clone()).or_insert(new).1
            }
        };
        if count(uses, (direction, table)) {
            self.dirty_policies.insert(policy.key.clone());
        }
    }

    /// One chain less does.
    pub fn release(&mut self, policy: &PolicyKey, direction: Direction, table: Table) {
        let Some((_, uses)) = self.policies.get_mut(policy) else { return };
        if discount(uses, (direction, table)) {
            self.dirty_policies.insert(policy.clone());
        }
    }

    /// One chain more calls a profile.
    pub fn acquire_profile(&mut self, name: &Arc<str>, direction: Direction, table: Table) {
        if count(self.uses_of_profiles.entry(name.clone()).or_default(), (direction, table)) {
            self.dirty_profiles.insert(name.clone());
        }
    }

    /// One chain less does.
    pub fn release_profile(&mut self, name: &Arc<str>, direction: Direction, table: Table) {
        let Some(uses) = self.uses_of_profiles.get_mut(name) else { return };
        if discount(uses, (direction, table)) {
            self.dirty_profiles.insert(name.clone());
        }
    }

    /// Everything has to be rendered again.
    pub fn all_dirty(&mut self) {
        self.dirty_policies.extend(self.policies.keys().cloned());
        self.dirty_profiles.extend(self.uses_of_profiles.keys().cloned());
    }

    /// Renders what has to be, after everything was said.
    pub fn render(&mut self, settings: &Settings, chains: &mut Chains<Owner>) {
        for key in std::mem::take(&mut self.dirty_policies) {
            let Some((policy, uses)) = self.policies.get(&key) else { continue };
            let definitions = of_uses(uses, settings, |direction, place| {
                (policy_chain(direction, &key), of_policy(direction, policy, place))
            });
            if uses.is_empty() {
                self.policies.remove(&key);
            }
            chains.put(Owner::Policy(key), definitions);
        }
        for name in std::mem::take(&mut self.dirty_profiles) {
            let Some(uses) = self.uses_of_profiles.get(&name) else { continue };
            // one that is not there allows nothing
            let profile = self.profiles.get(&name).cloned().unwrap_or_default();
            let definitions = of_uses(uses, settings, |direction, place| {
                (profile_chain(direction, &name), of_profile(direction, &name, &profile, place))
            });
            if uses.is_empty() {
                self.uses_of_profiles.remove(&name);
            }
            chains.put(Owner::Profile(name), definitions);
        }
    }
}

fn of_uses(
    uses: &Uses,
    settings: &Settings,
    chain: impl Fn(Direction, Place<'_>) -> (Arc<str>, Arc<super::chains::Chain>),
) -> super::chains::Definitions {
    let mut definitions = Vec::new();
    for (direction, table) in uses.keys() {
        for family in settings.families() {
            let (name, chain) = chain(*direction, Place { family, table: *table, settings });
            definitions.push(((family, *table, name), chain));
        }
    }
    definitions
}

/// Whether it is the first use.
fn count(uses: &mut Uses, what: (Direction, Table)) -> bool {
    let count = uses.entry(what).or_default();
    *count += 1;
    *count == 1
}

/// Whether it was the last one.
fn discount(uses: &mut Uses, what: (Direction, Table)) -> bool {
    let Some(count) = uses.get_mut(&what) else { return false };
    *count = count.saturating_sub(1);
    let last = *count == 0;
    if last {
        uses.remove(&what);
    }
    last
}
