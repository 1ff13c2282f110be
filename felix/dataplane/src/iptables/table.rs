//! One table, wanted and there.

use super::saved::{Entry, Saved};
use felix_render::iptables::{Hook, Rule};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A chain of ours.
#[derive(Debug, Default)]
pub struct ChainState {
    /// `None` when it should not be.
    pub wanted: Option<Arc<[Rule]>>,
    /// What is there.
    pub there: There,
}

/// What is there of a chain.
#[derive(Debug, Default)]
pub enum There {
    /// It is not there.
    #[default]
    Nothing,
    /// As it was wanted when it was written.
    Written(Arc<[Rule]>),
    /// As it was read: the hashes of its rules.
    Read(Vec<Option<Arc<str>>>),
}

impl There {
    /// Whether it is there at all.
    pub fn exists(&self) -> bool {
        !matches!(self, Self::Nothing)
    }

    /// Whether it is there and has no rule.
    pub fn is_empty(&self) -> bool {
        self.exists() && self.rules() == 0
    }

    /// How many rules are there.
    pub fn rules(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Written(rules) => rules.len(),
            Self::Read(hashes) => hashes.len(),
        }
    }

    /// Whether it was made to drop everything: that rule has no hash.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Read(hashes) if **hashes == [None])
    }

    fn is(&self, rules: &[Rule]) -> bool {
        match self {
            Self::Nothing => false,
            Self::Written(there) => {
                there.iter().map(|rule| &rule.hash).eq(rules.iter().map(|rule| &rule.hash))
            }
            Self::Read(hashes) => {
                hashes.iter().map(Option::as_ref).eq(rules.iter().map(|rule| Some(&rule.hash)))
            }
        }
    }
}

impl ChainState {
    fn is_in_sync(&self) -> bool {
        match &self.wanted {
            Some(rules) => self.there.is(rules),
            None => !self.there.exists(),
        }
    }
}

/// A chain that is not ours: what we add to it.
#[derive(Debug, Default)]
pub struct HookState {
    /// What we want in it.
    pub wanted: Arc<Hook>,
    /// All its rules.
    pub there: Vec<Entry>,
}

impl HookState {
    /// Whether ours are at the beginning and at the end, and nowhere else.
    pub fn is_in_sync(&self) -> bool {
        let (first, last) = (self.wanted.inserted.len(), self.wanted.appended.len());
        let Some(middle) = self.there.len().checked_sub(first + last) else { return false };
        let alike = |(entry, rule): (&Entry, &Rule)| matches!(entry, Entry::Ours { hash, .. } if hash.as_ref() == Some(&rule.hash));
        self.there.iter().zip(&self.wanted.inserted).all(alike)
            && self.there.iter().skip(first + middle).zip(&self.wanted.appended).all(alike)
            && self.there.iter().skip(first).take(middle).all(|entry| *entry == Entry::Foreign)
    }

    /// Ours are as wanted now.
    fn written(&mut self, wanted: Arc<Hook>) {
        let foreign = self.there.iter().filter(|entry| **entry == Entry::Foreign).count();
        let ours = |rule: &Rule| Entry::Ours { hash: Some(rule.hash.clone()), text: marked(rule).into() };
        let inserted = wanted.inserted.iter().map(ours);
        let middle = std::iter::repeat_n(Entry::Foreign, foreign);
        self.there = inserted.chain(middle).chain(wanted.appended.iter().map(ours)).collect();
    }
}

/// A rule as it is written, without its chain.
pub fn marked(rule: &Rule) -> String {
    let separator = if rule.text.is_empty() { "" } else { " " };
    format!("-m comment --comment \"cali:{}\"{separator}{}", rule.hash, rule.text)
}

/// See the module.
#[derive(Debug, Default)]
pub struct TableState {
    chains: BTreeMap<Arc<str>, ChainState>,
    hooks: BTreeMap<Arc<str>, HookState>,
    /// Chains that are not as wanted.
    dirty: BTreeSet<Arc<str>>,
    /// Other chains that are not as wanted.
    dirty_hooks: BTreeSet<Arc<str>>,
}

/// What a batch did.
#[derive(Debug)]
pub enum Receipt {
    /// The chain has these rules.
    Chain(Arc<str>, Arc<[Rule]>),
    /// The chain is there and lets nothing through, in place of rules that are refused.
    Closed(Arc<str>),
    /// The chain has no rules, and is still there.
    Emptied(Arc<str>),
    /// The chain is gone.
    Gone(Arc<str>),
    /// Our rules in another chain are these.
    Hook(Arc<str>, Arc<Hook>),
}

impl TableState {
    /// Whether all is as wanted.
    pub fn is_in_sync(&self) -> bool {
        self.dirty.is_empty() && self.dirty_hooks.is_empty()
    }

    /// Whether anything is wanted in it.
    pub fn is_wanted(&self) -> bool {
        self.chains.values().any(|chain| chain.wanted.is_some())
    }

    /// Chains that are wanted, with their rules.
    pub fn wanted(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<[Rule]>)> {
        self.chains.iter().filter_map(|(name, chain)| Some((name, chain.wanted.as_ref()?)))
    }

    /// Our rules in other chains.
    pub fn hooked(&self) -> impl Iterator<Item = &Rule> {
        self.hooks.values().flat_map(|hook| hook.wanted.inserted.iter().chain(&hook.wanted.appended))
    }

    /// What we want in other chains.
    pub fn hooks(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Hook>)> {
        self.hooks.iter().map(|(name, hook)| (name, &hook.wanted))
    }

    /// A chain of ours.
    pub fn chain(&self, name: &str) -> Option<(&Arc<str>, &ChainState)> {
        self.chains.get_key_value(name)
    }

    /// Chains that are not as wanted.
    pub fn dirty_chains(&self) -> impl Iterator<Item = (&Arc<str>, &ChainState)> {
        self.dirty.iter().filter_map(|name| self.chains.get_key_value(name))
    }

    /// Other chains that are not as wanted.
    pub fn dirty_hooks(&self) -> impl Iterator<Item = (&Arc<str>, &HookState)> {
        self.dirty_hooks.iter().filter_map(|name| self.hooks.get_key_value(name))
    }

    /// How many chains and rules of ours are there, rules in chains of others among them.
    pub fn count(&self) -> (usize, usize) {
        let chains = self.chains.values().filter(|chain| chain.there.exists());
        let ours = |hook: &HookState| hook.there.iter().filter(|entry| **entry != Entry::Foreign).count();
        let in_others: usize = self.hooks.values().map(ours).sum();
        chains.fold((0, in_others), |(chains, rules), chain| (chains + 1, rules + chain.there.rules()))
    }

    /// Whether a chain of this name is among those that we know.
    pub fn knows(&self, chain: &str) -> bool {
        self.hooks.contains_key(chain)
    }

    /// The chain should be so.
    pub fn want_chain(&mut self, name: Arc<str>, rules: Option<Arc<[Rule]>>) {
        self.chains.entry(name.clone()).or_default().wanted = rules;
        self.check_chain(&name);
    }

    /// Our rules in another chain should be so.
    pub fn want_hook(&mut self, name: Arc<str>, hook: Arc<Hook>) {
        self.hooks.entry(name.clone()).or_default().wanted = hook;
        self.check_hook(&name);
    }

    /// Nothing is wanted any more.
    pub fn unwant_all(&mut self) {
        let chains: Vec<Arc<str>> = self.wanted().map(|(name, _)| name.clone()).collect();
        chains.into_iter().for_each(|name| self.want_chain(name, None));
        let hooks: Vec<Arc<str>> = self.hooks.keys().cloned().collect();
        hooks.into_iter().for_each(|name| self.want_hook(name, Arc::default()));
    }

    /// This is there, and nothing else.
    pub fn read_back(&mut self, saved: Saved) {
        let Saved { mut chains, mut others } = saved;
        let known: BTreeSet<Arc<str>> = self.chains.keys().chain(chains.keys()).cloned().collect();
        for name in known {
            let state = self.chains.entry(name.clone()).or_default();
            state.there = chains.remove(&name).map_or(There::Nothing, There::Read);
            self.check_chain(&name);
        }
        let ours = |rules: &Vec<Entry>| rules.iter().any(|entry| *entry != Entry::Foreign);
        others.retain(|name, rules| self.hooks.contains_key(name) || ours(rules));
        let known: BTreeSet<Arc<str>> = self.hooks.keys().chain(others.keys()).cloned().collect();
        for name in known {
            let state = self.hooks.entry(name.clone()).or_default();
            state.there = others.remove(&name).unwrap_or_default();
            self.check_hook(&name);
        }
    }

    /// Takes what a batch did.
    pub fn carried_out(&mut self, receipts: Vec<Receipt>) {
        for receipt in receipts {
            let (name, there) = match receipt {
                Receipt::Chain(name, rules) => (name, There::Written(rules)),
                Receipt::Closed(name) => (name, There::Read(vec![None])),
                Receipt::Emptied(name) => (name, There::Read(Vec::new())),
                Receipt::Gone(name) => (name, There::Nothing),
                Receipt::Hook(name, hook) => {
                    self.hooks.entry(name.clone()).or_default().written(hook);
                    self.check_hook(&name);
                    continue;
                }
            };
            self.chains.entry(name.clone()).or_default().there = there;
            self.check_chain(&name);
        }
    }

    fn check_chain(&mut self, name: &Arc<str>) {
        let Some(state) = self.chains.get_mut(name) else { return };
        if !state.is_in_sync() {
            self.dirty.insert(name.clone());
            return;
        }
        self.dirty.remove(name);
        match &state.wanted {
            // what is there and wanted is kept once
            Some(rules) => state.there = There::Written(rules.clone()),
            None => drop(self.chains.remove(name)),
        }
    }

    fn check_hook(&mut self, name: &Arc<str>) {
        let in_sync = self.hooks.get(name).is_none_or(HookState::is_in_sync);
        match in_sync {
            true => self.dirty_hooks.remove(name),
            false => self.dirty_hooks.insert(name.clone()),
        };
    }
}
