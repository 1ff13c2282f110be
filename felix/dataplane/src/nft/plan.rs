//! The next batch: from what is there to what is wanted.
//!
//! One batch is one instant. What decides about packets changes in one batch however large; only what nobody sees is
//! split: sets and chains that are made and filled before anything names them, and those that go after nothing names
//! them any more.

use super::chain::{self, Actual, Difference, Handle};
use super::elements::{Elements, Key};
use super::state::{ChainState, ObjectId, Receipt, Ruleset, SetState, TableState};
use felix_render::nft::ruleset::{Chain, SetShape};
use netfilter::nft::{Change, Element, Family, Table, TableRef};
use std::sync::Arc;

/// What a change costs the kernel, in elements.
const OBJECT_COST: usize = 4;

/// Changes to commit, whose each is, and what is known once they are carried out.
#[derive(Debug, Default)]
pub struct Batch {
    /// In order.
    pub changes: Vec<Change>,
    /// Of each change the object.
    pub owners: Vec<ObjectId>,
    /// In order.
    pub receipts: Vec<Receipt>,
    /// Whether it changes what is in force: all that is fresh may be named afterwards.
    pub in_force: bool,
    cost: usize,
}

impl Batch {
    fn push(&mut self, owner: ObjectId, change: Change) {
        self.cost += match &change {
            Change::AddElements { elements, .. } | Change::DeleteElements { elements, .. } => elements.len(),
            _ => OBJECT_COST,
        };
        self.changes.push(change);
        self.owners.push(owner);
    }
}

/// Makes the next batch; an empty one when there is nothing to do.
pub struct Planner<'a> {
    ruleset: &'a Ruleset,
    /// Cost from which what can wait is left to the next batch.
    limit: usize,
    /// Whether an object may be tried now.
    may: &'a dyn Fn(&ObjectId) -> bool,
    batch: Batch,
}

/// The batch is full.
struct Full;

impl<'a> Planner<'a> {
    /// Plans for this.
    pub fn new(ruleset: &'a Ruleset, limit: usize, may: &'a dyn Fn(&ObjectId) -> bool) -> Self {
        Self { ruleset, limit, may, batch: Batch::default() }
    }

    /// The next batch.
    pub fn plan(mut self) -> Batch {
        // a full batch ends the planning, and is as good as any
        let _ = self.stages();
        self.batch
    }

    fn stages(&mut self) -> Result<(), Full> {
        let ruleset = self.ruleset;
        let pieces = || ruleset.tables().filter(|(_, table)| table.is_wanted() && !table.rebuild);
        for (family, table) in pieces() {
            self.hidden(family, table)?;
        }
        self.batch.in_force = true;
        for (family, table) in ruleset.tables() {
            match (table.is_wanted(), table.exists) {
                (true, _) if table.rebuild => self.rebuild(family, table),
                (true, _) => self.visible(family, table),
                (false, true) => self.unhook_or_remove(family, table),
                (false, false) => {}
            }
        }
        self.room()?;
        for (family, table) in pieces() {
            self.gone(family, table)?;
        }
        Ok(())
    }

    /// A table that is not wanted any more loses its base chains first, alone: a packet that was in one when the kernel went over to the
    /// next generation would no longer find the elements that go with the table, and be dropped as one of an unknown workload.
    fn unhook_or_remove(&mut self, family: Family, table: &TableState) {
        let hooked = dirty_chains(table).filter_map(|(name, state)| Some((name, state.actual.as_ref()?)));
        let hooked: Vec<_> = hooked.filter(|(_, actual)| actual.chain.hook.is_some()).collect();
        if hooked.is_empty() {
            return self.remove_table(family);
        }
        for (name, actual) in hooked {
            self.remove_chain(family, name, actual);
        }
    }

    fn table(&self, family: Family) -> TableRef {
        self.ruleset.ours().table(family)
    }

    fn room(&self) -> Result<(), Full> {
        if self.batch.cost >= self.limit { Err(Full) } else { Ok(()) }
    }

    fn may(&self, object: &ObjectId) -> bool {
        (self.may)(object)
    }

    /// What nothing in force names.
    fn hidden(&mut self, family: Family, table: &TableState) -> Result<(), Full> {
        if !table.exists {
            let id = ObjectId::Table(family);
            if !self.may(&id) {
                return Ok(());
            }
            self.add_table(family, id);
        }
        let new_sets = dirty_sets(table).filter(|(_, state)| state.actual.is_none());
        for (name, shape) in new_sets.filter_map(|(name, state)| Some((name, state.desired.as_ref()?))) {
            self.room()?;
            self.add_set(family, name, shape);
        }
        for (name, state) in dirty_chains(table).filter(|(_, state)| state.actual.is_none()) {
            let Some(wanted) = state.desired.as_ref().filter(|wanted| wanted.hook.is_none()) else {
                continue;
            };
            self.room()?;
            self.add_chain(family, name, wanted);
        }
        for (name, state) in dirty_sets(table) {
            let hidden = state.actual.is_none() || table.fresh_sets.contains(name);
            if let Some(shape) = state.desired.as_ref().filter(|_| hidden) {
                self.room()?;
                self.fill_hidden(family, name, shape, state);
            }
        }
        for (name, state) in dirty_chains(table) {
            let Some(wanted) = state.desired.as_ref().filter(|wanted| wanted.hook.is_none()) else {
                continue;
            };
            match &state.actual {
                None => {
                    self.room()?;
                    self.change_rules(family, name, &empty(wanted), wanted);
                }
                Some(actual) if table.fresh_chains.contains(name) => {
                    self.room()?;
                    self.change_rules(family, name, actual, wanted);
                }
                Some(_) => {}
            }
        }
        // a set that is filled in part is still hidden
        self.room()
    }

    /// What decides about packets.
    fn visible(&mut self, family: Family, table: &TableState) {
        for (name, state) in dirty_chains(table) {
            self.visible_chain(family, table, name, state);
        }
        for (name, state) in dirty_sets(table) {
            let Some(shape) = state.actual.as_ref().filter(|_| state.desired.is_some()) else { continue };
            if !table.fresh_sets.contains(name) {
                self.change_elements(family, name, shape, &state.elements);
            }
        }
    }

    fn visible_chain(&mut self, family: Family, table: &TableState, name: &Arc<str>, state: &ChainState) {
        let id = ObjectId::Chain(family, name.clone());
        let hidden = table.fresh_chains.contains(name)
            && state.desired.as_ref().is_some_and(|wanted| wanted.hook.is_none());
        if hidden || !self.may(&id) {
            return;
        }
        let same_hook = |wanted: &Chain, actual: &Chain| match (&wanted.hook, &actual.hook) {
            (None, None) => true,
            (Some(a), Some(b)) => (a.number, a.priority, a.kind) == (b.number, b.priority, b.kind),
            _ => false,
        };
        match (&state.desired, &state.actual) {
            (Some(wanted), Some(actual)) if same_hook(wanted, &actual.chain) => {
                if wanted.hook != actual.chain.hook {
                    self.batch.push(id, Change::AddChain(wanted.in_kernel(self.table(family), name)));
                }
                self.change_rules(family, name, actual, wanted);
            }
            (Some(wanted), actual) if wanted.hook.is_some() || actual.is_some() => {
                if let Some(actual) = actual {
                    self.remove_chain(family, name, actual);
                }
                self.add_chain(family, name, wanted);
                self.change_rules(family, name, &empty(wanted), wanted);
            }
            (None, Some(actual)) if actual.chain.hook.is_some() => self.remove_chain(family, name, actual),
            _ => {}
        }
    }

    /// What nothing in force names any more.
    fn gone(&mut self, family: Family, table: &TableState) -> Result<(), Full> {
        let dying = || dirty_chains(table).filter(|(_, state)| state.desired.is_none());
        let dying = || dying().filter_map(|(name, state)| Some((name, state.actual.as_ref()?)));
        let dying = || dying().filter(|(_, actual)| actual.chain.hook.is_none());
        for (name, actual) in dying().filter(|(_, actual)| !actual.chain.rules.is_empty()) {
            let id = ObjectId::Chain(family, name.clone());
            if self.may(&id) {
                self.room()?;
                self.batch.push(id, flush_chain(self.table(family), name));
                self.batch.receipts.push(Receipt::Chain(
                    family,
                    name.clone(),
                    empty(&actual.chain).chain,
                    vec![],
                ));
            }
        }
        for (name, state) in dirty_sets(table) {
            let id = ObjectId::Set(family, name.clone());
            if state.desired.is_none() && state.actual.is_some() && self.may(&id) {
                self.room()?;
                let table = self.table(family);
                self.batch.push(id, Change::DeleteSet { table, name: name.to_string() });
                self.batch.receipts.push(Receipt::SetGone(family, name.clone()));
            }
        }
        for (name, _) in dying() {
            let id = ObjectId::Chain(family, name.clone());
            if self.may(&id) {
                self.room()?;
                self.batch.push(id, delete_chain(self.table(family), name));
                self.batch.receipts.push(Receipt::ChainGone(family, name.clone()));
            }
        }
        Ok(())
    }

    /// The whole table, at one instant.
    fn rebuild(&mut self, family: Family, table: &TableState) {
        let id = ObjectId::Table(family);
        if !self.may(&id) {
            return;
        }
        if table.exists {
            self.remove_table(family);
        }
        self.add_table(family, id);
        let sets =
            || table.sets.iter().filter_map(|(name, state)| Some((name, state.desired.as_ref()?, state)));
        let chains = || table.chains.iter().filter_map(|(name, state)| Some((name, state.desired.as_ref()?)));
        sets().for_each(|(name, shape, _)| self.add_set(family, name, shape));
        chains().for_each(|(name, wanted)| self.add_chain(family, name, wanted));
        for (name, shape, state) in sets() {
            let wanted = state.elements.wanted();
            self.add_elements(family, name, shape, wanted.into_iter());
        }
        chains().for_each(|(name, wanted)| self.change_rules(family, name, &empty(wanted), wanted));
    }

    fn add_table(&mut self, family: Family, id: ObjectId) {
        let table = self.table(family);
        self.batch.push(id, Change::AddTable(Table { table, flags: 0, comment: None }));
        self.batch.receipts.push(Receipt::Table(family));
    }

    fn remove_table(&mut self, family: Family) {
        let id = ObjectId::Table(family);
        if self.may(&id) {
            self.batch.push(id, Change::DeleteTable(self.table(family)));
            self.batch.receipts.push(Receipt::TableGone(family));
        }
    }

    fn add_set(&mut self, family: Family, name: &Arc<str>, shape: &Arc<SetShape>) {
        let id = ObjectId::Set(family, name.clone());
        if self.may(&id) {
            self.batch.push(id, Change::AddSet(shape.in_kernel(self.table(family), name)));
            self.batch.receipts.push(Receipt::Set(family, name.clone(), shape.clone()));
        }
    }

    /// Without its rules.
    fn add_chain(&mut self, family: Family, name: &Arc<str>, wanted: &Arc<Chain>) {
        let id = ObjectId::Chain(family, name.clone());
        if self.may(&id) {
            self.batch.push(id, Change::AddChain(wanted.in_kernel(self.table(family), name)));
            self.batch.receipts.push(Receipt::Chain(family, name.clone(), empty(wanted).chain, Vec::new()));
        }
    }

    fn remove_chain(&mut self, family: Family, name: &Arc<str>, actual: &Actual) {
        let id = ObjectId::Chain(family, name.clone());
        if !actual.chain.rules.is_empty() {
            self.batch.push(id.clone(), flush_chain(self.table(family), name));
        }
        self.batch.push(id, delete_chain(self.table(family), name));
        self.batch.receipts.push(Receipt::ChainGone(family, name.clone()));
    }

    fn change_rules(&mut self, family: Family, name: &Arc<str>, actual: &Actual, wanted: &Arc<Chain>) {
        let id = ObjectId::Chain(family, name.clone());
        if !self.may(&id) {
            return;
        }
        let first = self.batch.changes.len();
        let Difference { changes, handles } = chain::difference(&self.table(family), name, actual, wanted);
        changes.into_iter().for_each(|change| self.batch.push(id.clone(), change));
        let placed = |handle: Handle| match handle {
            Handle::New(place) => Handle::New(first + place),
            known => known,
        };
        let handles = handles.into_iter().map(placed).collect();
        self.batch.receipts.push(Receipt::Chain(family, name.clone(), wanted.clone(), handles));
    }

    /// Elements of a set that nothing names, as many as there is room for.
    fn fill_hidden(&mut self, family: Family, name: &Arc<str>, shape: &SetShape, state: &SetState) {
        let elements = &state.elements;
        if state.actual.is_some() && (shape.interval || elements.to_remove().next().is_some()) {
            return self.change_elements(family, name, shape, elements);
        }
        if shape.interval {
            return self.add_elements(family, name, shape, elements.wanted().into_iter());
        }
        let room = self.limit.saturating_sub(self.batch.cost).max(1);
        self.add_elements(family, name, shape, elements.to_add().take(room));
    }

    fn change_elements(&mut self, family: Family, name: &Arc<str>, shape: &SetShape, elements: &Elements) {
        if elements.is_in_sync() || !self.may(&ObjectId::Set(family, name.clone())) {
            return;
        }
        // the two ends of a range are elements of their own: the list is short, and written anew
        if shape.interval {
            let id = ObjectId::Set(family, name.clone());
            let (table, set) = (self.table(family), name.to_string());
            self.batch.push(id, Change::FlushSet { table, set });
            self.batch.receipts.push(Receipt::Flushed(family, name.clone()));
            return self.add_elements(family, name, shape, elements.wanted().into_iter());
        }
        let gone: Vec<(&Key, Element)> = elements.to_remove().collect();
        self.elements(family, name, shape, gone.into_iter(), false);
        self.add_elements(family, name, shape, elements.to_add());
    }

    fn add_elements<'k>(
        &mut self,
        family: Family,
        name: &Arc<str>,
        shape: &SetShape,
        elements: impl Iterator<Item = (&'k Key, Element)>,
    ) {
        if self.may(&ObjectId::Set(family, name.clone())) {
            self.elements(family, name, shape, elements, true);
        }
    }

    /// Elements of a map are one change each, so that one which the kernel refuses holds no other back.
    fn elements<'k>(
        &mut self,
        family: Family,
        name: &Arc<str>,
        shape: &SetShape,
        elements: impl Iterator<Item = (&'k Key, Element)>,
        added: bool,
    ) {
        let of = self.table(family);
        let change = |elements: Vec<Element>| {
            let (table, set) = (of.clone(), name.to_string());
            match added {
                true => Change::AddElements { table, set, elements },
                false => Change::DeleteElements { table, set, elements },
            }
        };
        let mut keys = Vec::new();
        if shape.data.is_some() {
            for (key, element) in elements {
                let id = ObjectId::Element(family, name.clone(), key.clone());
                if self.may(&id) {
                    keys.push(key.clone());
                    self.batch.push(id, change(vec![element]));
                }
            }
        } else {
            let mut all = Vec::new();
            for (key, element) in elements {
                keys.push(key.clone());
                all.push(element);
            }
            if !all.is_empty() {
                self.batch.push(ObjectId::Set(family, name.clone()), change(all));
            }
        }
        if !keys.is_empty() {
            let receipt = if added { Receipt::Added } else { Receipt::Removed };
            self.batch.receipts.push(receipt(family, name.clone(), keys));
        }
    }
}

fn dirty_sets(table: &TableState) -> impl Iterator<Item = (&Arc<str>, &SetState)> {
    table.dirty_sets.iter().filter_map(|name| Some((name, table.sets.get(name)?)))
}

fn dirty_chains(table: &TableState) -> impl Iterator<Item = (&Arc<str>, &ChainState)> {
    table.dirty_chains.iter().filter_map(|name| Some((name, table.chains.get(name)?)))
}

/// The same chain without rules.
fn empty(chain: &Chain) -> Actual {
    let chain = Arc::new(Chain { hook: chain.hook.clone(), rules: Vec::new() });
    Actual { chain, handles: Vec::new() }
}

fn flush_chain(table: TableRef, name: &str) -> Change {
    Change::DeleteRule { table, chain: name.to_owned(), handle: None }
}

fn delete_chain(table: TableRef, name: &str) -> Change {
    Change::DeleteChain { table, name: name.to_owned() }
}
