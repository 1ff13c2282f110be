//! Chains that are wanted, and what of them was told.
//!
//! Owners define chains; a chain is in the kernel while a rule that is in the kernel leads to it, as upstream's. The kernel's
//! own chains are the roots. So whoever defines a chain need not know who calls it, and nobody need take it away.

use super::hash;
use super::line::Line;
use super::ruleset::{Hook, Rule, Table, Update};
use delta::DeltaMap;
use model::net::Family;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

/// Which chain.
pub type Key = (Family, Table, Arc<str>);

/// A chain of the kernel.
type HookKey = (Family, Table, &'static str);

/// A chain and where it leads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    rules: Option<Arc<[Rule]>>,
    calls: Vec<Arc<str>>,
}

impl Chain {
    /// A chain of this name with these rules.
    pub fn new(name: &str, lines: &[Line]) -> Arc<Self> {
        let calls = lines.iter().filter_map(|line| line.action.target().cloned()).collect();
        Arc::new(Chain { rules: Some(hash::rules(name, lines)), calls })
    }

    fn rules(&self) -> Arc<[Rule]> {
        self.rules.clone().unwrap_or_default()
    }
}

/// Definitions by an owner.
pub type Definitions = Vec<(Key, Arc<Chain>)>;

/// See the module.
#[derive(Debug)]
pub struct Chains<O> {
    owners: HashMap<O, Definitions>,
    /// With how many owners say so: endpoints share chains of groups, and all say the same.
    defined: HashMap<Key, (u32, Arc<Chain>)>,
    /// What is in the kernel, and how many rules of the kernel lead there.
    called: HashMap<Key, (u32, Arc<Chain>)>,
    hooks: DeltaMap<HookKey, Arc<Hook>>,
    /// Where the hooks lead.
    roots: HashMap<HookKey, Vec<Arc<str>>>,
    told: DeltaMap<Key, Arc<[Rule]>>,
}

impl<O> Default for Chains<O> {
    fn default() -> Self {
        Chains {
            owners: HashMap::new(),
            defined: HashMap::new(),
            called: HashMap::new(),
            hooks: DeltaMap::default(),
            roots: HashMap::new(),
            told: DeltaMap::default(),
        }
    }
}

impl<O: Eq + Hash> Chains<O> {
    /// What an owner defines now, in place of what it defined before.
    pub fn put(&mut self, owner: O, definitions: Definitions) {
        for (key, chain) in &definitions {
            let known = self.defined.entry(key.clone()).or_insert_with(|| (0, chain.clone()));
            known.0 += 1;
            known.1 = chain.clone();
            self.defined_anew(key, chain);
        }
        let before = match definitions.is_empty() {
            true => self.owners.remove(&owner),
            false => self.owners.insert(owner, definitions),
        };
        for (key, _) in before.into_iter().flatten() {
            self.forget(&key);
        }
    }

    /// An owner defines nothing any more.
    pub fn remove(&mut self, owner: O) {
        self.put(owner, Vec::new());
    }

    fn forget(&mut self, key: &Key) {
        match self.defined.get_mut(key) {
            Some((count, _)) if *count > 1 => *count -= 1,
            _ => {
                self.defined.remove(key);
                self.defined_anew(key, &Arc::default());
            }
        }
    }

    /// What we add to a chain of the kernel; `None` where its table is none of ours any more.
    pub fn hook(&mut self, key: HookKey, hook: Option<(Hook, Vec<Arc<str>>)>) {
        let (family, table, _) = key;
        let (hook, calls) = hook.unzip();
        let calls = calls.unwrap_or_default();
        for name in &calls {
            self.call((family, table, name.clone()));
        }
        for name in self.roots.insert(key, calls).into_iter().flatten() {
            self.release((family, table, name));
        }
        match hook {
            Some(hook) => self.hooks.set_desired(key, Arc::new(hook)),
            None => self.hooks.remove_desired(&key),
        }
    }

    /// A chain's definition may be another one.
    fn defined_anew(&mut self, key: &Key, chain: &Arc<Chain>) {
        let Some((_, before)) = self.called.get_mut(key) else { return };
        if before == chain {
            return;
        }
        let before = std::mem::replace(before, chain.clone());
        self.told.set_desired(key.clone(), chain.rules());
        self.call_all(key, chain);
        self.release_all(key, &before);
    }

    fn call_all(&mut self, (family, table, _): &Key, chain: &Chain) {
        for name in &chain.calls {
            self.call((*family, *table, name.clone()));
        }
    }

    fn release_all(&mut self, (family, table, _): &Key, chain: &Chain) {
        for name in &chain.calls {
            self.release((*family, *table, name.clone()));
        }
    }

    /// One more rule of the kernel leads there. Chains never lead back to where they are called from, so this ends.
    fn call(&mut self, key: Key) {
        if let Some((count, _)) = self.called.get_mut(&key) {
            *count += 1;
            return;
        }
        // one that nobody defines is empty
        let chain = self.defined.get(&key).map(|(_, chain)| chain.clone()).unwrap_or_default();
        self.told.set_desired(key.clone(), chain.rules());
        self.called.insert(key.clone(), (1, chain.clone()));
        self.call_all(&key, &chain);
    }

    fn release(&mut self, key: Key) {
        match self.called.get_mut(&key) {
            Some((count, _)) if *count > 1 => *count -= 1,
            _ => {
                let Some((_, chain)) = self.called.remove(&key) else { return };
                self.told.remove_desired(&key);
                self.release_all(&key, &chain);
            }
        }
    }

    /// What has changed since it was asked last.
    pub fn take(&mut self, updates: &mut Vec<Update>) {
        let changed: Vec<(Key, Arc<[Rule]>)> =
            self.told.pending_updates().map(|update| (update.key.clone(), update.desired.clone())).collect();
        for (key, rules) in changed {
            self.told.mark_updated(&key);
            let (family, table, name) = key;
            updates.push(Update::Chain { family, table, name, rules: Some(rules) });
        }
        let changed: Vec<(HookKey, Arc<Hook>)> =
            self.hooks.pending_updates().map(|update| (*update.key, update.desired.clone())).collect();
        for (key @ (family, table, chain), hook) in changed {
            self.hooks.mark_updated(&key);
            updates.push(Update::Hook { family, table, chain, hook });
        }
        let gone: Vec<HookKey> = self.hooks.pending_deletions().map(|(key, _)| *key).collect();
        for key @ (family, table, chain) in gone {
            self.hooks.mark_deleted(&key);
            updates.push(Update::Hook { family, table, chain, hook: Arc::default() });
        }
        let gone: Vec<Key> = self.told.pending_deletions().map(|(key, _)| key.clone()).collect();
        for key in gone {
            self.told.mark_deleted(&key);
            let (family, table, name) = key;
            updates.push(Update::Chain { family, table, name, rules: None });
        }
    }
}
