//! Chains of policy: one for each tier of an endpoint, one for each profile, and the endpoint's own, which calls them.
//!
//! Endpoints with the same policies in a tier share its chain. It is called after the first of them, so its name is a
//! function of the state: a change of a policy is a difference inside of one chain, however many endpoints have it.

use super::grouping::{self, Place};
use super::names;
use super::objects::Objects;
use super::packet::{deny, jump, table};
use super::piece::{Piece, rule};
use super::sets::Sets;
use super::steps::{Step, steps};
use crate::form::{self, Direction, Origin, Scope, Verdict, effective, end_of_tier};
use crate::settings::{Deny, Settings};
use felix_calc::policy::{Policy, Profile, Tier};
use felix_calc::rule::SetId;
use model::net::Family;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Who wants what in the ruleset.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Owner {
    /// A tier's chain.
    Tier(u64),
    /// A profile's chain.
    Profile(ProfileKey),
    /// An endpoint's chain, by its name.
    Endpoint(Arc<str>),
    /// What leads to a workload, by its interface.
    Workload(Arc<str>),
    /// The translation of a floating address.
    Floating(std::net::IpAddr),
    /// The way back of a workload's packets to itself.
    Hairpin(std::net::IpAddr),
    /// What leads to host endpoints.
    Hosts,
    /// Chains the kernel calls.
    Base,
    /// Networks of services.
    Services,
}

/// Which chain of a profile.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProfileKey {
    name: Arc<str>,
    direction: Direction,
    deny: Deny,
}

/// An endpoint's chain as it is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// What the endpoint is called in comments.
    pub subject: String,
    /// Which policies.
    pub scope: Scope,
    /// Of which direction.
    pub direction: Direction,
    /// How it denies.
    pub deny: Deny,
    /// What comes before policy.
    pub steps: Vec<Step>,
    /// Profiles after the tiers, where they have a say.
    pub profiles: Vec<Arc<str>>,
}

/// A policy by identity: the calculation hands out one object for each policy in force.
#[derive(Debug, Clone)]
struct Same(Arc<Policy>);

impl PartialEq for Same {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Same {}

impl Hash for Same {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

/// What decides about the rules of a tier's chain.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct TierKey {
    scope: Scope,
    direction: Direction,
    deny: Deny,
    tier: String,
    end: Verdict,
    policies: Vec<Same>,
}

#[derive(Debug)]
struct TierChain {
    key: Arc<TierKey>,
    tier: Tier,
    /// Endpoint chains that call it.
    users: BTreeSet<Arc<str>>,
    uses: BTreeSet<SetId>,
}

#[derive(Debug, PartialEq)]
struct EndpointChain {
    wanted: Wanted,
    tiers: Vec<u64>,
}

#[derive(Debug, Default)]
struct ProfileChain {
    users: u32,
    uses: BTreeSet<SetId>,
}

/// All chains of policy.
#[derive(Debug, Default)]
pub struct Chains {
    profiles: HashMap<Arc<str>, Arc<Profile>>,
    profile_chains: BTreeMap<ProfileKey, ProfileChain>,
    endpoints: BTreeMap<Arc<str>, EndpointChain>,
    tiers: HashMap<u64, TierChain>,
    by_key: HashMap<Arc<TierKey>, u64>,
    next: u64,
    /// Which chains look a set up.
    users_of_sets: HashMap<SetId, BTreeSet<Chain>>,
    dirty: BTreeSet<Chain>,
}

/// A chain that may have to be rendered again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Chain {
    Tier(u64),
    Profile(ProfileKey),
    Endpoint(Arc<str>),
}

impl Chains {
    /// A profile came, changed or went.
    pub fn set_profile(&mut self, name: &Arc<str>, profile: Option<&Arc<Profile>>) {
        match profile {
            Some(profile) => self.profiles.insert(name.clone(), profile.clone()),
            None => self.profiles.remove(name),
        };
        let of_name = self.profile_chains.keys().filter(|key| key.name == *name).cloned();
        self.dirty.extend(of_name.map(Chain::Profile));
    }

    /// An endpoint's chain is wanted so, with the tiers that apply to it.
    pub fn set(&mut self, name: &Arc<str>, wanted: Wanted, tiers: &[Tier]) {
        let ids: Vec<u64> = tiers.iter().filter_map(|tier| self.tier(name, &wanted, tier)).collect();
        for key in wanted.profile_keys() {
            let chain = self.profile_chains.entry(key.clone()).or_default();
            chain.users += 1;
            if chain.users == 1 {
                self.dirty.insert(Chain::Profile(key));
            }
        }
        let chain = EndpointChain { wanted, tiers: ids };
        let same = self.endpoints.get(name) == Some(&chain);
        let before = self.endpoints.insert(name.clone(), chain);
        self.release(name, before);
        if !same {
            self.dirty.insert(Chain::Endpoint(name.clone()));
        }
    }

    /// An endpoint's chain is not wanted any more.
    pub fn remove(&mut self, name: &Arc<str>) {
        if let Some(before) = self.endpoints.remove(name) {
            self.release(name, Some(before));
            self.dirty.insert(Chain::Endpoint(name.clone()));
        }
    }

    /// A set lies elsewhere than before, or came, or went.
    pub fn set_moved(&mut self, id: &SetId) {
        self.dirty.extend(self.users_of_sets.get(id).into_iter().flatten().cloned());
    }

    /// Everything has to be rendered again.
    pub fn all_dirty(&mut self) {
        self.dirty.extend(self.tiers.keys().map(|id| Chain::Tier(*id)));
        self.dirty.extend(self.profile_chains.keys().cloned().map(Chain::Profile));
        self.dirty.extend(self.endpoints.keys().cloned().map(Chain::Endpoint));
    }

    /// The chain of a tier, which this endpoint chain calls from now on; `None` where the tier says nothing.
    fn tier(&mut self, user: &Arc<str>, wanted: &Wanted, tier: &Tier) -> Option<u64> {
        let policies: Vec<Same> =
            effective(wanted.scope, wanted.direction, tier).map(|(policy, _)| Same(policy.clone())).collect();
        if policies.is_empty() {
            return None;
        }
        let key = TierKey {
            scope: wanted.scope,
            direction: wanted.direction,
            deny: wanted.deny,
            tier: tier.name.clone(),
            end: end_of_tier(wanted.scope, tier),
            policies,
        };
        let id = match self.by_key.get(&key) {
            Some(id) => *id,
            None => {
                self.next += 1;
                let key = Arc::new(key);
                self.by_key.insert(key.clone(), self.next);
                let chain =
                    TierChain { key, tier: tier.clone(), users: BTreeSet::new(), uses: BTreeSet::new() };
                self.tiers.insert(self.next, chain);
                self.dirty.insert(Chain::Tier(self.next));
                self.next
            }
        };
        self.change_users(id, |users| {
            users.insert(user.clone());
        });
        Some(id)
    }

    /// Changes who calls a tier's chain; where that changes its name, all who call it are concerned.
    fn change_users(&mut self, id: u64, change: impl FnOnce(&mut BTreeSet<Arc<str>>)) {
        let Some(chain) = self.tiers.get_mut(&id) else { return };
        let before = chain.users.first().cloned();
        change(&mut chain.users);
        if chain.users.first() != before.as_ref() {
            self.dirty.insert(Chain::Tier(id));
            self.dirty.extend(chain.users.iter().cloned().map(Chain::Endpoint));
        }
    }

    fn release(&mut self, name: &Arc<str>, before: Option<EndpointChain>) {
        let Some(before) = before else { return };
        let now: BTreeSet<u64> =
            self.endpoints.get(name).map(|chain| chain.tiers.iter().copied().collect()).unwrap_or_default();
        for id in before.tiers.iter().filter(|id| !now.contains(id)) {
            self.change_users(*id, |users| {
                users.remove(name);
            });
        }
        for key in before.wanted.profile_keys() {
            let Some(chain) = self.profile_chains.get_mut(&key) else { continue };
            chain.users -= 1;
            if chain.users == 0 {
                self.dirty.insert(Chain::Profile(key));
            }
        }
    }

    /// Renders what has to be, after everything was said.
    pub fn render(
        &mut self,
        families: &[Family],
        settings: &Settings,
        sets: &Sets,
        into: &mut Objects<Owner>,
    ) {
        for chain in std::mem::take(&mut self.dirty) {
            let (owner, pieces) = match &chain {
                Chain::Tier(id) => (Owner::Tier(*id), self.render_tier(*id, families, settings, sets)),
                Chain::Profile(key) => {
                    (Owner::Profile(key.clone()), self.render_profile(key, families, settings, sets))
                }
                Chain::Endpoint(name) => {
                    (Owner::Endpoint(name.clone()), self.render_endpoint(name, families, settings))
                }
            };
            into.put(owner, pieces);
        }
    }

    fn render_tier(&mut self, id: u64, families: &[Family], settings: &Settings, sets: &Sets) -> Pieces {
        let Some(chain) = self.tiers.get_mut(&id) else { return Vec::new() };
        let Some(name) = chain.name() else {
            let chain = self.tiers.remove(&id);
            let (key, uses) = chain.map(|chain| (chain.key, chain.uses)).unzip();
            key.map(|key| self.by_key.remove(&key));
            self.note_uses(Chain::Tier(id), &uses.unwrap_or_default(), &BTreeSet::new());
            return Vec::new();
        };
        let key = chain.key.clone();
        let rules = form::tier_rules(key.scope, key.direction, &chain.tier);
        let rules = rules.map(|tier| tier.rules).unwrap_or_default();
        let uses = used_sets(&rules);
        let before = std::mem::replace(&mut chain.uses, uses.clone());
        self.note_uses(Chain::Tier(id), &before, &uses);
        let end = |family| {
            let origin = Origin::EndOfTier(key.tier.as_str().into());
            (key.end == Verdict::Deny).then(|| rule([], [deny(family, key.deny)], &origin.to_string()))
        };
        let one = |family: &Family| {
            let place = Place { family: *family, scope: key.scope, deny: key.deny, settings, sets };
            let mut piece = Piece::default();
            grouping::chain(&mut piece, &name, &rules, end(*family), place);
            (table(*family), piece)
        };
        families.iter().map(one).collect()
    }

    fn render_profile(
        &mut self,
        key: &ProfileKey,
        families: &[Family],
        settings: &Settings,
        sets: &Sets,
    ) -> Pieces {
        let Some(chain) = self.profile_chains.get_mut(key) else { return Vec::new() };
        // a profile that is not there allows nothing
        let profile = self.profiles.get(&key.name).filter(|_| chain.users > 0).cloned().unwrap_or_default();
        let rules = form::profile_rules(key.direction, &key.name, &profile);
        let uses = used_sets(&rules);
        let before = std::mem::replace(&mut chain.uses, uses.clone());
        let unused = chain.users == 0;
        self.note_uses(Chain::Profile(key.clone()), &before, &uses);
        if unused {
            self.profile_chains.remove(key);
            return Vec::new();
        }
        let name = key.chain(settings);
        let one = |family: &Family| {
            let place = Place { family: *family, scope: Scope::Workload, deny: key.deny, settings, sets };
            let mut piece = Piece::default();
            grouping::chain(&mut piece, &name, &rules, None, place);
            (table(*family), piece)
        };
        families.iter().map(one).collect()
    }

    fn render_endpoint(&self, name: &Arc<str>, families: &[Family], settings: &Settings) -> Pieces {
        let Some(EndpointChain { wanted, tiers }) = self.endpoints.get(name) else { return Vec::new() };
        let one = |family: &Family| {
            let mut piece = Piece::default();
            let mut rules = steps(&mut piece, *family, wanted, settings);
            for chain in tiers.iter().filter_map(|id| self.tiers.get(id)) {
                let text = format!("{}, tier {}", wanted.subject, chain.key.tier);
                rules.extend(chain.name().map(|chain| rule([], [jump(&chain)], &text)));
            }
            if wanted.scope.has_profiles() {
                for key in wanted.profile_keys() {
                    let text = format!("{}, Profile {}", wanted.subject, key.name);
                    rules.push(rule([], [jump(&key.chain(settings))], &text));
                }
                let text = format!("{}, {}", wanted.subject, Origin::NoProfile);
                rules.push(rule([], [deny(*family, wanted.deny)], &text));
            }
            piece.chain(name, rules);
            (table(*family), piece)
        };
        families.iter().map(one).collect()
    }

    fn note_uses(&mut self, chain: Chain, before: &BTreeSet<SetId>, now: &BTreeSet<SetId>) {
        for id in before.difference(now) {
            if let Some(users) = self.users_of_sets.get_mut(id) {
                users.remove(&chain);
                if users.is_empty() {
                    self.users_of_sets.remove(id);
                }
            }
        }
        for id in now.difference(before) {
            self.users_of_sets.entry(id.clone()).or_default().insert(chain.clone());
        }
    }
}

type Pieces = Vec<(netfilter::nft::Family, Piece)>;

impl Wanted {
    fn profile_keys(&self) -> impl Iterator<Item = ProfileKey> {
        let has = self.scope.has_profiles();
        self.profiles.iter().filter(move |_| has).map(|name| ProfileKey {
            name: name.clone(),
            direction: self.direction,
            deny: self.deny,
        })
    }
}

impl TierChain {
    /// After the first endpoint that calls it; `None` where none does.
    fn name(&self) -> Option<Arc<str>> {
        let first = self.users.first()?;
        Some(names::name(format!("{first}/tier-{}", names::piece(&self.key.tier))))
    }
}

impl ProfileKey {
    fn chain(&self, settings: &Settings) -> Arc<str> {
        // where packets are rejected, there are hooks that can only drop
        let variant = if self.deny == settings.nft.deny { "" } else { "-drop" };
        names::name(format!("profile-{}/{}{variant}", names::piece(&self.name), self.direction))
    }
}

fn used_sets(rules: &[form::Rule]) -> BTreeSet<SetId> {
    let of = |one: &form::Match| match one {
        form::Match::Set { id, .. } => vec![id.clone()],
        form::Match::Ports { sets, .. } => sets.clone(),
        _ => Vec::new(),
    };
    rules.iter().flat_map(|rule| rule.matches.iter().flat_map(of)).collect()
}
