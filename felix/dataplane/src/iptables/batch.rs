//! The next batch of a table, as `iptables-restore --noflush` reads it.
//!
//! A table's batch is one instant, however large: chains are written whole, rules in the kernel's chains are removed one by
//! one and put where they belong, chains that go do so after nothing of ours names them.

use super::objects::{ObjectId, Place, target};
use super::saved::Entry;
use super::table::{ChainState, HookState, Receipt, TableState, marked};
use felix_render::iptables::{Rule, Table};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;

/// A chain's name and its rules.
type Named<'a> = (&'a Arc<str>, &'a Arc<[Rule]>);

/// What to hand to the program, whose each line is, and what is known once it is carried out.
#[derive(Debug, Default)]
pub struct Batch {
    /// The input.
    pub text: String,
    /// Of each line the object.
    owners: Vec<Option<ObjectId>>,
    /// In order.
    pub receipts: Vec<Receipt>,
}

impl Batch {
    /// What has to change in a table, of that what `may` be tried; `None` for nothing.
    pub fn of(place: Place, table: &TableState, may: &dyn Fn(&ObjectId) -> bool) -> Option<Self> {
        let mut batch = Self::default();
        // what rules that stay for now lead to keeps its rules too
        let stays = |(name, state): (&Arc<str>, &ChainState)| {
            state.wanted.is_some() && state.there.exists() && !may(&ObjectId::Chain(place, name.clone()))
        };
        let keeps = table.dirty_chains().any(stays);
        batch.line(None, format_args!("*{}", place.1.name()));
        batch.chains(place, table, keeps, may);
        for (name, hook) in table.dirty_hooks() {
            let id = ObjectId::Hook(place, name.clone());
            let mut rules = hook.wanted.inserted.iter().chain(&hook.wanted.appended);
            if may(&id) && !rules.any(|rule| leads_to_closed(place, table, rule, may)) {
                batch.hook(&id, name, hook);
            }
        }
        if !keeps {
            batch.leftovers(place, table, may);
        }
        batch.line(None, format_args!("COMMIT"));
        (!batch.receipts.is_empty()).then_some(batch)
    }

    /// Whose this line is, counted from 1.
    pub fn owner(&self, line: usize) -> Option<&ObjectId> {
        self.owners.get(line.checked_sub(1)?)?.as_ref()
    }

    /// All that it writes as it is wanted, each once.
    pub fn objects(&self) -> BTreeSet<&ObjectId> {
        self.all().filter(|object| !self.closes(object)).collect()
    }

    /// All that it changes.
    pub fn all(&self) -> impl Iterator<Item = &ObjectId> {
        self.owners.iter().flatten()
    }

    /// Whether a chain of a policy comes that was not there.
    pub fn brings_policy(&self) -> bool {
        self.receipts.iter().any(|receipt| {
            matches!(receipt, Receipt::Chain(name, _) if name.starts_with("cali-pi-") || name.starts_with("cali-po-"))
        })
    }

    /// Whether it closes a chain in place of writing its rules.
    pub fn closes(&self, object: &ObjectId) -> bool {
        let ObjectId::Chain(_, chain) = object else { return false };
        self.receipts.iter().any(|receipt| matches!(receipt, Receipt::Closed(name) if name == chain))
    }

    /// How many lines it has.
    pub fn lines(&self) -> usize {
        self.owners.len()
    }

    fn line(&mut self, owner: Option<&ObjectId>, text: std::fmt::Arguments<'_>) {
        // a text in memory takes everything
        let _ = writeln!(self.text, "{text}");
        self.owners.push(owner.cloned());
    }

    fn chains(&mut self, place: Place, table: &TableState, keeps: bool, may: &dyn Fn(&ObjectId) -> bool) {
        let mut written: Vec<(ObjectId, Named<'_>)> = Vec::new();
        let mut closed = Vec::new();
        for (name, state) in table.dirty_chains() {
            let id = match &state.wanted {
                Some(_) => ObjectId::Chain(place, name.clone()),
                None => ObjectId::Leftover(place, name.clone()),
            };
            match &state.wanted {
                Some(rules) if may(&id) => {
                    self.declare(&id, name);
                    self.receipts.push(Receipt::Chain(name.clone(), rules.clone()));
                    written.push((id, (name, rules)));
                }
                // others name it, and cannot be written without it
                Some(_) if !state.there.exists() => {
                    self.declare(&id, name);
                    self.receipts.push(Receipt::Closed(name.clone()));
                    closed.push((id, name));
                }
                Some(_) => {}
                // what is to go loses its rules even where it cannot go itself
                None if !keeps && !state.there.is_empty() => {
                    self.declare(&id, name);
                    self.receipts.push(Receipt::Emptied(name.clone()));
                }
                None => {}
            }
        }
        for (id, (name, rules)) in written {
            for rule in rules.iter() {
                self.line(Some(&id), format_args!("-A {name} {}", marked(rule)));
            }
        }
        // the table of translations knows no verdicts: there an empty chain does no harm
        for (id, name) in closed.iter().filter(|_| place.1 != Table::Nat) {
            self.line(Some(id), format_args!("-A {name} --jump DROP"));
        }
    }

    /// Makes it, or empties the one that is there.
    fn declare(&mut self, id: &ObjectId, name: &str) {
        self.line(Some(id), format_args!(":{name} - [0:0]"));
    }

    /// Rules of ours go by what they say, never by their place: others may have come meanwhile.
    fn hook(&mut self, id: &ObjectId, chain: &Arc<str>, hook: &HookState) {
        for entry in &hook.there {
            if let Entry::Ours { text, .. } = entry {
                self.line(Some(id), format_args!("-D {chain} {text}"));
            }
        }
        for rule in hook.wanted.inserted.iter().rev() {
            self.line(Some(id), format_args!("-I {chain} {}", marked(rule)));
        }
        for rule in &hook.wanted.appended {
            self.line(Some(id), format_args!("-A {chain} {}", marked(rule)));
        }
        self.receipts.push(Receipt::Hook(chain.clone(), hook.wanted.clone()));
    }

    fn leftovers(&mut self, place: Place, table: &TableState, may: &dyn Fn(&ObjectId) -> bool) {
        for (name, state) in table.dirty_chains().filter(|(_, state)| state.wanted.is_none()) {
            let id = ObjectId::Leftover(place, name.clone());
            if state.there.exists() && may(&id) {
                self.line(Some(&id), format_args!("-X {name}"));
                self.receipts.push(Receipt::Gone(name.clone()));
            }
        }
    }
}

/// A chain that every packet comes to is not closed in place of rules that are refused, which would shut out whoever looks
/// after the node: nothing leads to it until it is as wanted.
fn leads_to_closed(place: Place, table: &TableState, rule: &Rule, may: &dyn Fn(&ObjectId) -> bool) -> bool {
    let Some((name, state)) = target(&rule.text).and_then(|name| table.chain(name)) else { return false };
    let refused = state.wanted.is_some() && !may(&ObjectId::Chain(place, name.clone()));
    place.1 != Table::Nat && refused && (!state.there.exists() || state.there.is_closed())
}
