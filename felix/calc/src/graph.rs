//! The calculation: what is stored goes in one object at a time, what the dataplane has to know comes out as the
//! difference to what it was told before.
//!
//! State decides, never history: whatever the order of changes, the outputs add up to what a fresh start on the final
//! state would say.

use crate::changes::Changes;
use crate::counts::{Counts, Evaluations};
use crate::endpoint::{Endpoint, EndpointKey, LocalEndpoint};
use crate::items::Items;
use crate::known::Known;
use crate::label_index::{ItemId, LabelIndex, SelectorId, sort_labels};
use crate::peers::Peers;
use crate::policy::{Policy, PolicyKey, Profile, Tier, compare_tiers};
use crate::rule::SetDefinition;
use crate::sets::{Contents, Sets};
use foldhash::HashMap;
use model::v3::{Action, TierSpec};
use selector::Selector;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The graph of one node.
#[derive(Debug, Default)]
pub struct Graph {
    index: LabelIndex,
    sets: Sets,
    items: Items,
    /// Which item a local endpoint is.
    by_endpoint: HashMap<EndpointKey, ItemId>,
    /// Local endpoints.
    locals: HashMap<ItemId, Local>,
    known: Known,
    policies: HashMap<PolicyKey, PolicyState>,
    /// Policies that apply to a local endpoint.
    active_policies: usize,
    by_selector: HashMap<SelectorId, BTreeSet<PolicyKey>>,
    tiers: BTreeMap<String, TierSpec>,
    profiles: HashMap<Arc<str>, ProfileState>,
    peers: Peers,
    dirty_endpoints: BTreeSet<EndpointKey>,
    dirty_profiles: BTreeSet<Arc<str>>,
}

#[derive(Debug)]
struct Local {
    key: EndpointKey,
    endpoint: Arc<Endpoint>,
}

#[derive(Debug)]
struct PolicyState {
    policy: Arc<Policy>,
    selector: SelectorId,
    /// Local endpoints it applies to; its sets are in use while there are any.
    locals: u32,
}

#[derive(Debug, Default)]
struct ProfileState {
    /// `None` where it is named and not there: denies everything.
    profile: Option<Arc<Profile>>,
    /// Local endpoints that name it.
    locals: u32,
}

impl Graph {
    /// Nothing known.
    pub fn new() -> Self {
        Self::default()
    }

    /// An item, something with labels and addresses that selectors are about, came or changed. `name` is its own among
    /// all items; `local` is the endpoint itself where it is one of this node.
    pub fn set_item(
        &mut self,
        name: &str,
        labels: &mut Vec<(&str, &str)>,
        parents: &[&str],
        contents: Contents,
        local: Option<(EndpointKey, Endpoint)>,
    ) {
        let id = self.items.find_or_add(name);
        sort_labels(labels);
        if let Some((key, _)) = &local {
            self.known.set(key, labels);
        }
        self.set_local(id, local);
        let mut events = Vec::new();
        self.index.set_item(id, labels, parents, &mut |selector, item, begins| {
            events.push((selector, item, begins))
        });
        let was = self.items.set_contents(id, contents);
        if let (Some(was), Some(is)) = (&was, self.items.contents(id))
            && was != is
        {
            let begun = |selector: &SelectorId| events.contains(&(*selector, id, true));
            for selector in self.index.selectors_of(id).iter().filter(|selector| !begun(selector)) {
                self.sets.replace(*selector, was, is);
            }
        }
        self.follow(events, was.as_ref());
    }

    /// An item went.
    pub fn remove_item(&mut self, name: &str) {
        let Some(id) = self.items.find(name) else { return };
        let mut events = Vec::new();
        self.index.remove_item(id, &mut |selector, item, begins| events.push((selector, item, begins)));
        self.follow(events, None);
        self.set_local(id, None);
        self.items.remove(id);
    }

    /// A policy came, changed or went. One that could not be read went.
    pub fn set_policy(&mut self, key: &PolicyKey, policy: Option<Policy>) {
        let same = self.policies.get(key).map(|state| &*state.policy) == policy.as_ref();
        if same {
            return;
        }
        let before = self.policies.remove(key);
        // what both name stays in use: nothing of it is told
        if let Some(policy) = policy {
            let (selector, _) = self.index.add_selector(&policy.selector);
            let locals = self.mark_locals_of(selector);
            if locals > 0 {
                self.active_policies += 1;
                self.acquire_sets(&policy.sets);
            }
            self.by_selector.entry(selector).or_default().insert(key.clone());
            self.policies.insert(key.clone(), PolicyState { policy: Arc::new(policy), selector, locals });
        }
        let Some(before) = before else { return };
        self.mark_locals_of(before.selector);
        let selector = self.policies.get(key).map(|state| state.selector);
        if selector != Some(before.selector)
            && let Some(keys) = self.by_selector.get_mut(&before.selector)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.by_selector.remove(&before.selector);
            }
        }
        if before.locals > 0 {
            self.active_policies -= 1;
            self.release_sets(&before.policy.sets);
        }
        self.index.release_selector(before.selector);
    }

    /// A tier came, changed or went.
    pub fn set_tier(&mut self, name: &str, tier: Option<TierSpec>) {
        if self.tiers.get(name) == tier.as_ref() {
            return;
        }
        match tier {
            Some(tier) => self.tiers.insert(name.to_owned(), tier),
            None => self.tiers.remove(name),
        };
        let of_tier: BTreeSet<SelectorId> = self
            .policies
            .values()
            .filter(|state| state.locals > 0 && state.policy.tier == name)
            .map(|state| state.selector)
            .collect();
        for selector in of_tier {
            self.mark_locals_of(selector);
        }
    }

    /// A profile came, changed or went: its rules (none when they could not be read) and the labels it gives.
    pub fn set_profile(
        &mut self,
        name: &str,
        profile: Option<Profile>,
        labels: Option<&BTreeMap<String, String>>,
    ) {
        let mut events = Vec::new();
        self.index
            .set_parent(name, labels, &mut |selector, item, begins| events.push((selector, item, begins)));
        self.follow(events, None);
        let profile = profile.map(Arc::new);
        let name: Arc<str> = name.into();
        let state = self.profiles.entry(name.clone()).or_default();
        if state.profile == profile {
            self.forget_profile_if_unused(&name);
            return;
        }
        let before = std::mem::replace(&mut state.profile, profile.clone());
        if state.locals > 0 {
            self.dirty_profiles.insert(name.clone());
            if let Some(profile) = &profile {
                self.acquire_sets(&profile.sets);
            }
            if let Some(before) = before {
                self.release_sets(&before.sets);
            }
        }
        self.forget_profile_if_unused(&name);
    }

    /// A BGPPeer about workloads that this selector matches came or changed, or with `None` is none any more.
    pub fn set_bgp_peer(&mut self, name: &str, selector: Option<&Selector>) {
        let is = selector.map(|selector| self.index.add_selector(selector).0);
        let was = self.peers.set(name, is);
        let concerned = |selectors: &[SelectorId]| {
            is.iter().chain(&was).any(|selector| selectors.binary_search(selector).is_ok())
        };
        for (id, local) in &self.locals {
            if concerned(self.index.selectors_of(*id)) {
                self.peers.touch(&local.key);
            }
        }
        if let Some(was) = was {
            self.index.release_selector(was);
        }
    }

    /// What the dataplane has to be told.
    pub fn take(&mut self) -> Changes {
        let endpoints = std::mem::take(&mut self.dirty_endpoints);
        let endpoints = endpoints.into_iter().map(|key| {
            let resolved = self.resolve(&key);
            self.known.told(&key, resolved.as_ref());
            (key, resolved)
        });
        let endpoints = endpoints.collect();
        let profiles = std::mem::take(&mut self.dirty_profiles);
        let profiles = profiles.into_iter().map(|name| {
            let state = self.profiles.get(&name).filter(|state| state.locals > 0);
            // a profile that is not there allows nothing
            let profile = state.map(|state| state.profile.clone().unwrap_or_else(Profile::missing));
            (name, profile)
        });
        let profiles = profiles.collect();
        let (index, by_endpoint) = (&self.index, &self.by_endpoint);
        let selectors_of =
            |key: &EndpointKey| by_endpoint.get(key).map(|id| index.selectors_of(*id)).unwrap_or_default();
        let bgp_peers = self.peers.take(selectors_of);
        Changes { sets: self.sets.take(), profiles, endpoints, bgp_peers, ..Changes::default() }
    }

    /// Whether the policies told for a local endpoint are those of one like this.
    pub fn knows(&self, key: &EndpointKey, endpoint: &Endpoint, labels: &mut Vec<(&str, &str)>) -> bool {
        sort_labels(labels);
        self.known.is_like(key, endpoint, labels)
    }

    /// A local endpoint as it is now under the policies told for it, for a consumer that does not wait for [`Graph::take`]:
    /// where it has its addresses, its new ones are, too. `None` where its labels or profiles are others than those told.
    pub fn take_known(&mut self, key: &EndpointKey) -> Option<Changes> {
        let is = &self.locals.get(self.by_endpoint.get(key)?)?.endpoint;
        let told = self.known.alike(key, is)?;
        if told.endpoint == *is {
            return Some(Changes::default());
        }
        let sets = match (told.endpoint.contents(), is.contents()) {
            (Some(was), Some(is)) => self.sets.tell_ahead(&was, &is),
            _ => Vec::new(),
        };
        let local = Arc::new(LocalEndpoint { endpoint: is.clone(), tiers: told.tiers.clone() });
        // it has changed since the last `take`, so that the next one tells it anew
        self.known.told(key, Some(&local));
        Some(Changes { sets, endpoints: vec![(key.clone(), Some(local))], ..Changes::default() })
    }

    /// Sets, profiles and endpoints, as to somebody who knows nothing.
    pub fn whole(&self) -> Changes {
        let used = self.profiles.iter().filter(|(_, state)| state.locals > 0);
        let profile = |state: &ProfileState| state.profile.clone().unwrap_or_else(Profile::missing);
        let profiles = used.map(|(name, state)| (name.clone(), Some(profile(state)))).collect();
        let keys = self.by_endpoint.keys();
        let endpoints = keys.map(|key| (key.clone(), self.resolve(key))).collect();
        Changes { sets: self.sets.whole(), profiles, endpoints, ..Changes::default() }
    }

    /// How many items have a name that begins with this character.
    pub fn items_beginning(&self, first: u8) -> usize {
        self.items.beginning(first)
    }

    /// Times that selectors were tried.
    pub fn evaluations(&self) -> Evaluations {
        self.index.evaluations()
    }

    /// How many there are of what; nodes, and of which kind items are, are not known here.
    pub fn counts(&self) -> Counts {
        Counts {
            items: self.items.len(),
            identities: self.index.identities(),
            local_endpoints: self.locals.len(),
            policies: self.policies.len(),
            active_policies: self.active_policies,
            tiers: self.tiers.len(),
            profiles: self.profiles.values().filter(|state| state.profile.is_some()).count(),
            sets: self.sets.len(),
            narrow_selectors: self.index.selectors() - self.index.broad_selectors(),
            broad_selectors: self.index.broad_selectors(),
            ..Counts::default()
        }
    }

    /// Index events: sets first, because what policies acquire afterwards counts members as they are now. `was` is what
    /// the item of all of them had to offer before, where it is another thing now.
    fn follow(&mut self, events: Vec<(SelectorId, ItemId, bool)>, was: Option<&Contents>) {
        for (selector, item, begins) in &events {
            let contents = self.items.contents(*item);
            if let Some(contents) = was.filter(|_| !begins).or(contents) {
                self.sets.offer(*selector, contents, *begins);
            }
        }
        for (selector, item, begins) in events {
            if self.peers.has(selector)
                && let Some(local) = self.locals.get(&item)
            {
                self.peers.touch(&local.key);
            }
            let Some(keys) = self.by_selector.get(&selector) else { continue };
            let Some(local) = self.locals.get(&item) else { continue };
            self.dirty_endpoints.insert(local.key.clone());
            for key in keys.clone() {
                self.count_local(&key, begins);
            }
        }
    }

    fn count_local(&mut self, key: &PolicyKey, begins: bool) {
        let Some(state) = self.policies.get_mut(key) else { return };
        state.locals = if begins { state.locals + 1 } else { state.locals.saturating_sub(1) };
        let policy = state.policy.clone();
        match (begins, state.locals) {
            (true, 1) => {
                self.active_policies += 1;
                self.acquire_sets(&policy.sets);
            }
            (false, 0) => {
                self.active_policies -= 1;
                self.release_sets(&policy.sets);
            }
            _ => {}
        }
    }

    fn acquire_sets(&mut self, definitions: &[SetDefinition]) {
        let items = &self.items;
        let contents = |item: ItemId| items.contents(item);
        for definition in definitions {
            self.sets.acquire(definition, &mut self.index, &contents);
        }
    }

    fn release_sets(&mut self, definitions: &[SetDefinition]) {
        for definition in definitions {
            self.sets.release(&definition.id, &mut self.index);
        }
    }

    /// Makes an item a local endpoint, another one, or none. Its labels are those of before.
    fn set_local(&mut self, id: ItemId, local: Option<(EndpointKey, Endpoint)>) {
        let was = self.locals.get(&id);
        if local.as_ref().map(|(key, endpoint)| (key, endpoint)) == was.map(|was| (&was.key, &*was.endpoint))
        {
            return;
        }
        let is_local = local.is_some();
        let was = self.locals.remove(&id);
        if let Some((key, endpoint)) = local {
            self.dirty_endpoints.insert(key.clone());
            self.peers.touch(&key);
            endpoint.profiles().iter().for_each(|name| self.use_profile(name, true));
            self.by_endpoint.insert(key.clone(), id);
            self.locals.insert(id, Local { key, endpoint: Arc::new(endpoint) });
        }
        let was_local = was.is_some();
        if let Some(was) = was {
            was.endpoint.profiles().iter().for_each(|name| self.use_profile(name, false));
            if !is_local {
                self.by_endpoint.remove(&was.key);
                self.known.remove(&was.key);
            }
            self.peers.touch(&was.key);
            self.dirty_endpoints.insert(was.key);
        }
        if is_local != was_local {
            let policies: Vec<PolicyKey> = self
                .index
                .selectors_of(id)
                .iter()
                .filter_map(|selector| self.by_selector.get(selector))
                .flatten()
                .cloned()
                .collect();
            for key in policies {
                self.count_local(&key, is_local);
            }
        }
    }

    fn use_profile(&mut self, name: &Arc<str>, begins: bool) {
        let name = name.clone();
        let state = self.profiles.entry(name.clone()).or_default();
        state.locals = if begins { state.locals + 1 } else { state.locals.saturating_sub(1) };
        let profile = state.profile.clone();
        match (begins, state.locals) {
            (true, 1) => {
                self.dirty_profiles.insert(name);
                if let Some(profile) = profile {
                    self.acquire_sets(&profile.sets);
                }
            }
            (false, 0) => {
                self.dirty_profiles.insert(name.clone());
                if let Some(profile) = profile {
                    self.release_sets(&profile.sets);
                }
                self.forget_profile_if_unused(&name);
            }
            _ => {}
        }
    }

    fn forget_profile_if_unused(&mut self, name: &Arc<str>) {
        if self.profiles.get(name).is_some_and(|state| state.profile.is_none() && state.locals == 0) {
            self.profiles.remove(name);
        }
    }

    /// Marks the local endpoints a selector matches; how many there are.
    fn mark_locals_of(&mut self, selector: SelectorId) -> u32 {
        let mut count = 0;
        // a node has few endpoints of its own, a cluster many
        for (id, local) in &self.locals {
            if self.index.selectors_of(*id).binary_search(&selector).is_ok() {
                self.dirty_endpoints.insert(local.key.clone());
                count += 1;
            }
        }
        count
    }

    fn resolve(&self, key: &EndpointKey) -> Option<Arc<LocalEndpoint>> {
        let id = self.by_endpoint.get(key)?;
        let local = self.locals.get(id)?;
        let mut by_tier: BTreeMap<&str, Vec<Arc<Policy>>> = BTreeMap::new();
        let keys = self
            .index
            .selectors_of(*id)
            .iter()
            .filter_map(|selector| self.by_selector.get(selector))
            .flatten();
        for policy in keys.filter_map(|key| self.policies.get(key)).map(|state| &state.policy) {
            by_tier.entry(&policy.tier).or_default().push(policy.clone());
        }
        let mut names: Vec<(&str, Option<&TierSpec>)> =
            by_tier.keys().map(|name| (*name, self.tiers.get(*name))).collect();
        names.sort_by(|a, b| compare_tiers(*a, *b));
        let tier = |(name, spec): (&str, Option<&TierSpec>)| {
            let mut policies = by_tier.remove(name).unwrap_or_default();
            policies.sort_by(|a, b| a.compare(b));
            let default_action = spec.map_or(Action::Deny, |spec| spec.default_action);
            Tier { name: name.to_owned(), default_action, policies }
        };
        let tiers = names.into_iter().map(tier).collect();
        Some(Arc::new(LocalEndpoint { endpoint: local.endpoint.clone(), tiers }))
    }
}
