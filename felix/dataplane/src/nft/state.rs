//! Our tables: what is wanted in them, what is there, and which objects differ.

use super::chain::{Actual, Handle};
use super::elements::{Elements, Key};
use crate::stock::Stock;
use felix_render::nft::ruleset::{Chain, SetShape, Update};
use netfilter::nft::{Family, TableRef};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The families in which we have a table.
const FAMILIES: &[Family] = &[Family::Ipv4, Family::Ipv6, Family::Arp];

/// Which tables are ours: those of this name in these families.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ours {
    /// Their name.
    pub name: &'static str,
    /// Their families.
    pub families: &'static [Family],
}

impl Ours {
    /// Our own ruleset.
    pub const RULES: Self = Self { name: felix_render::nft::ruleset::TABLE, families: FAMILIES };
    /// Calico's table of ARP, beside the iptables backend.
    pub const CALICO_ARP: Self = Self { name: felix_render::iptables::arp::TABLE, families: &[Family::Arp] };

    /// The one of a family.
    pub fn table(&self, family: Family) -> TableRef {
        TableRef { family, name: self.name.to_owned() }
    }
}

/// A chain.
#[derive(Debug, Default)]
pub struct ChainState {
    /// As it is wanted.
    pub desired: Option<Arc<Chain>>,
    /// As it is.
    pub actual: Option<Actual>,
}

impl ChainState {
    fn is_in_sync(&self) -> bool {
        match (&self.desired, &self.actual) {
            (Some(desired), Some(actual)) => {
                Arc::ptr_eq(desired, &actual.chain) || **desired == *actual.chain
            }
            (desired, actual) => desired.is_none() && actual.is_none(),
        }
    }
}

/// A set or map.
#[derive(Debug, Default)]
pub struct SetState {
    /// As it is wanted.
    pub desired: Option<Arc<SetShape>>,
    /// As it is.
    pub actual: Option<Arc<SetShape>>,
    /// Its elements.
    pub elements: Elements,
}

impl SetState {
    fn is_in_sync(&self) -> bool {
        self.desired == self.actual && self.elements.is_in_sync()
    }
}

/// One table.
#[derive(Debug, Default)]
pub struct TableState {
    /// Whether it is there.
    pub exists: bool,
    /// What is there cannot be changed into what is wanted piece by piece: all of it is made anew, at one instant.
    pub rebuild: bool,
    /// Chains, wanted or there.
    pub chains: BTreeMap<Arc<str>, ChainState>,
    /// Sets, wanted or there.
    pub sets: BTreeMap<Arc<str>, SetState>,
    /// Chains that are not as wanted.
    pub dirty_chains: BTreeSet<Arc<str>>,
    /// Sets that are not as wanted.
    pub dirty_sets: BTreeSet<Arc<str>>,
    /// Chains and sets that were made and that nothing in force names yet: changing them changes no verdict.
    pub fresh_chains: BTreeSet<Arc<str>>,
    /// See `fresh_chains`.
    pub fresh_sets: BTreeSet<Arc<str>>,
    /// How many chains and sets are wanted.
    desired: usize,
}

impl TableState {
    /// Whether anything is wanted in it.
    pub fn is_wanted(&self) -> bool {
        self.desired > 0
    }

    /// Whether it is as wanted.
    pub fn is_in_sync(&self) -> bool {
        self.is_wanted() == self.exists
            && !self.rebuild
            && self.dirty_chains.is_empty()
            && self.dirty_sets.is_empty()
    }

    fn set_chain(&mut self, name: Arc<str>, chain: Option<Arc<Chain>>) {
        let state = self.chains.entry(name.clone()).or_default();
        count(&mut self.desired, state.desired.is_some(), chain.is_some());
        state.desired = chain;
        self.check_chain(&name);
    }

    fn set_shape(&mut self, name: Arc<str>, shape: Option<Arc<SetShape>>) {
        let state = self.sets.entry(name.clone()).or_default();
        count(&mut self.desired, state.desired.is_some(), shape.is_some());
        if shape.is_none() {
            state.elements.unwant_all();
        }
        state.desired = shape;
        self.check_set(&name);
    }

    /// Looks whether a chain is as wanted.
    pub fn check_chain(&mut self, name: &Arc<str>) {
        let Some(state) = self.chains.get_mut(name) else { return };
        if !state.is_in_sync() {
            self.dirty_chains.insert(name.clone());
            return;
        }
        self.dirty_chains.remove(name);
        match (&state.desired, &mut state.actual) {
            (Some(desired), Some(actual)) => actual.chain = desired.clone(),
            _ => {
                self.chains.remove(name);
                self.fresh_chains.remove(name);
            }
        }
    }

    /// Looks whether a set is as wanted.
    pub fn check_set(&mut self, name: &Arc<str>) {
        let Some(state) = self.sets.get_mut(name) else { return };
        if let (Some(desired), Some(actual)) = (&state.desired, &state.actual)
            && desired != actual
        {
            self.rebuild = true;
        }
        if !state.is_in_sync() {
            self.dirty_sets.insert(name.clone());
            return;
        }
        self.dirty_sets.remove(name);
        if state.desired.is_none() {
            self.sets.remove(name);
            self.fresh_sets.remove(name);
        }
    }

    /// The table is not there, with everything in it.
    pub fn vanished(&mut self) {
        self.exists = false;
        self.rebuild = false;
        self.fresh_chains.clear();
        self.fresh_sets.clear();
        let chains: Vec<Arc<str>> = self.chains.keys().cloned().collect();
        for name in chains {
            if let Some(state) = self.chains.get_mut(&name) {
                state.actual = None;
            }
            self.check_chain(&name);
        }
        let sets: Vec<Arc<str>> = self.sets.keys().cloned().collect();
        for name in sets {
            if let Some(state) = self.sets.get_mut(&name) {
                state.actual = None;
                state.elements.forget_actual();
            }
            self.check_set(&name);
        }
    }
}

fn count(desired: &mut usize, before: bool, now: bool) {
    match (before, now) {
        (false, true) => *desired += 1,
        (true, false) => *desired = desired.saturating_sub(1),
        _ => {}
    }
}

/// An object of our tables, as one that the kernel refuses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectId {
    /// A table.
    Table(Family),
    /// A chain with its rules.
    Chain(Family, Arc<str>),
    /// A set with its plain elements.
    Set(Family, Arc<str>),
    /// An element of a map.
    Element(Family, Arc<str>, Key),
}

impl ObjectId {
    /// Of which family's table.
    pub fn family(&self) -> Family {
        match self {
            ObjectId::Table(family)
            | ObjectId::Chain(family, _)
            | ObjectId::Set(family, _)
            | ObjectId::Element(family, _, _) => *family,
        }
    }
}

impl ObjectId {
    /// In words.
    pub fn describe(&self, ours: Ours) -> String {
        let family = match self.family() {
            Family::Ipv4 => "ip",
            Family::Ipv6 => "ip6",
            Family::Arp => "arp",
            _ => "other",
        };
        let table = ours.name;
        match self {
            ObjectId::Table(_) => format!("table {family} {table}"),
            ObjectId::Chain(_, name) => format!("chain {family} {table} {name}"),
            ObjectId::Set(_, name) => format!("set {family} {table} {name}"),
            ObjectId::Element(_, name, key) => format!("element {key} of map {family} {table} {name}"),
        }
    }
}

/// What is known of an object once a batch was carried out.
#[derive(Debug)]
pub enum Receipt {
    /// The table is there.
    Table(Family),
    /// The table is gone.
    TableGone(Family),
    /// The chain is so.
    Chain(Family, Arc<str>, Arc<Chain>, Vec<Handle>),
    /// The chain is gone.
    ChainGone(Family, Arc<str>),
    /// The set is there.
    Set(Family, Arc<str>, Arc<SetShape>),
    /// The set is gone.
    SetGone(Family, Arc<str>),
    /// All elements of the set went.
    Flushed(Family, Arc<str>),
    /// These elements were added.
    Added(Family, Arc<str>, Vec<Key>),
    /// These elements were removed.
    Removed(Family, Arc<str>, Vec<Key>),
}

impl Receipt {
    /// Whether it is about a set, or elements of one.
    pub fn is_of_sets(&self) -> bool {
        match self {
            Self::Table(_) | Self::TableGone(_) | Self::Chain(..) | Self::ChainGone(..) => false,
            Self::Set(..) | Self::SetGone(..) | Self::Flushed(..) | Self::Added(..) | Self::Removed(..) => {
                true
            }
        }
    }
}

/// All our tables.
#[derive(Debug)]
pub struct Ruleset {
    ours: Ours,
    tables: BTreeMap<Family, TableState>,
}

impl Ruleset {
    /// Nothing is wanted, and nothing known.
    pub fn new(ours: Ours) -> Self {
        let tables = ours.families.iter().map(|family| (*family, TableState::default())).collect();
        Self { ours, tables }
    }

    /// Which tables it is about.
    pub fn ours(&self) -> Ours {
        self.ours
    }

    /// Each family with its table.
    pub fn tables(&self) -> impl Iterator<Item = (Family, &TableState)> {
        self.tables.iter().map(|(family, table)| (*family, table))
    }

    /// Whether the kernel calls this chain, as it is wanted.
    pub fn is_base_chain(&self, family: Family, name: &str) -> bool {
        let chain = self.tables.get(&family).and_then(|table| table.chains.get(name));
        chain.and_then(|chain| chain.desired.as_ref()).is_some_and(|chain| chain.hook.is_some())
    }

    /// A family's table.
    pub fn table(&mut self, family: Family) -> &mut TableState {
        self.tables.entry(family).or_default()
    }

    /// Counts what is there. ARP is IPv4's.
    pub fn measure(&self, stock: &mut Stock) {
        for (family, state) in &self.tables {
            let family =
                if *family == Family::Ipv6 { model::net::Family::V6 } else { model::net::Family::V4 };
            let chains: Vec<&Actual> =
                state.chains.values().filter_map(|chain| chain.actual.as_ref()).collect();
            let rules = chains.iter().map(|chain| chain.chain.rules.len()).sum();
            stock.of_table("felix_nft_chains", family, self.ours.name, chains.len());
            stock.of_table("felix_nft_rules", family, self.ours.name, rules);
            let (maps, sets): (Vec<_>, Vec<_>) = state
                .sets
                .values()
                .filter_map(|set| set.actual.as_ref())
                .partition(|shape| shape.data.is_some());
            stock.of_sets("felix_nft_sets", family, sets.len());
            stock.of_sets("felix_nft_maps", family, maps.len());
        }
    }

    /// Whether all is as wanted.
    pub fn is_in_sync(&self) -> bool {
        self.tables.values().all(TableState::is_in_sync)
    }

    /// A batch was carried out that changed what is in force: all that was made may be named now.
    pub fn all_in_force(&mut self) {
        for table in self.tables.values_mut() {
            table.fresh_chains.clear();
            table.fresh_sets.clear();
        }
    }

    /// Nothing is wanted any more.
    pub fn unwant_all(&mut self) {
        for table in self.tables.values_mut() {
            let chains: Vec<Arc<str>> = table.chains.keys().cloned().collect();
            chains.into_iter().for_each(|name| table.set_chain(name, None));
            let sets: Vec<Arc<str>> = table.sets.keys().cloned().collect();
            sets.into_iter().for_each(|name| table.set_shape(name, None));
        }
    }

    /// Takes a change of what is wanted.
    pub fn update(&mut self, update: Update) {
        match update {
            Update::Chain { family, name, chain } => self.table(family).set_chain(name, chain),
            Update::Set { family, name, shape } => self.table(family).set_shape(name, shape),
            Update::Elements { family, set, added, removed } => {
                let table = self.table(family);
                let elements = &mut table.sets.entry(set.clone()).or_default().elements;
                removed.iter().for_each(|element| elements.unwant(element));
                elements.reserve(added.len());
                added.into_iter().for_each(|element| elements.want(element));
                table.check_set(&set);
            }
        }
    }

    /// Takes what a batch did. `handle` finds the handle of a rule that a change of the batch added; a chain with one
    /// that cannot be told is returned: it has to be read.
    #[must_use]
    pub fn carried_out(
        &mut self,
        receipts: Vec<Receipt>,
        handle: &dyn Fn(usize) -> Option<u64>,
    ) -> Vec<(Family, Arc<str>)> {
        let mut untold = Vec::new();
        for receipt in receipts {
            match receipt {
                Receipt::Table(family) => self.table(family).exists = true,
                Receipt::TableGone(family) => self.table(family).vanished(),
                Receipt::Chain(family, name, chain, handles) => {
                    let told: Option<Vec<u64>> = handles
                        .iter()
                        .map(|source| match source {
                            Handle::Known(known) => Some(*known),
                            Handle::New(change) => handle(*change),
                        })
                        .collect();
                    if told.is_none() {
                        untold.push((family, name.clone()));
                    }
                    let table = self.table(family);
                    let state = table.chains.entry(name.clone()).or_default();
                    if state.actual.is_none() && chain.hook.is_none() {
                        table.fresh_chains.insert(name.clone());
                    }
                    state.actual = Some(Actual { chain, handles: told.unwrap_or_default() });
                    table.check_chain(&name);
                }
                Receipt::ChainGone(family, name) => {
                    let table = self.table(family);
                    if let Some(state) = table.chains.get_mut(&name) {
                        state.actual = None;
                    }
                    table.check_chain(&name);
                }
                Receipt::Set(family, name, shape) => {
                    let table = self.table(family);
                    table.sets.entry(name.clone()).or_default().actual = Some(shape);
                    table.fresh_sets.insert(name.clone());
                    table.check_set(&name);
                }
                Receipt::SetGone(family, name) => {
                    let table = self.table(family);
                    if let Some(state) = table.sets.get_mut(&name) {
                        state.actual = None;
                        state.elements.forget_actual();
                    }
                    table.check_set(&name);
                }
                Receipt::Flushed(family, name) => self.elements(family, &name, Elements::forget_actual),
                Receipt::Added(family, name, keys) => self.elements(family, &name, |all| all.added(keys)),
                Receipt::Removed(family, name, keys) => {
                    self.elements(family, &name, |all| all.removed(&keys))
                }
            }
        }
        untold
    }

    fn elements(&mut self, family: Family, name: &Arc<str>, change: impl FnOnce(&mut Elements)) {
        let table = self.table(family);
        if let Some(state) = table.sets.get_mut(name) {
            change(&mut state.elements);
        }
        table.check_set(name);
    }
}
