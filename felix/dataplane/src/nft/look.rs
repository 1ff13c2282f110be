//! What is there in our tables, read back: all of it, or what somebody else touched.

use super::chain::Actual;
use super::state::{Ours, Ruleset, TableState};
use felix_render::nft::ruleset::{Chain, Rule, SetShape};
use kernel::{KernelError, NftEvent, NftKernel};
use netfilter::nft::{self, Family, Object, Presence, Query, TableRef};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// `ENOENT`: went between two questions.
const GONE: i32 = 2;

/// Objects of ours that somebody else touched.
#[derive(Debug, Default)]
pub struct Touched {
    tables: BTreeMap<Family, TouchedTable>,
}

#[derive(Debug, Default)]
struct TouchedTable {
    all: bool,
    chains: BTreeSet<Arc<str>>,
    sets: BTreeSet<Arc<str>>,
}

impl Touched {
    /// Everything: nothing is known.
    pub fn everything(ours: Ours) -> Self {
        let all = || TouchedTable { all: true, ..TouchedTable::default() };
        Self { tables: ours.families.iter().map(|family| (*family, all())).collect() }
    }

    /// Whether nothing was.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// A chain.
    pub fn chain(&mut self, family: Family, name: &Arc<str>) {
        self.tables.entry(family).or_default().chains.insert(name.clone());
    }

    /// A set.
    pub fn set(&mut self, family: Family, name: &Arc<str>) {
        self.tables.entry(family).or_default().sets.insert(name.clone());
    }

    /// All of a table.
    pub fn table(&mut self, family: Family) {
        self.tables.entry(family).or_default().all = true;
    }

    /// Takes an event; what is in tables of others is passed over.
    pub fn event(&mut self, event: NftEvent, ours: Ours) {
        let NftEvent::Change { object, presence, .. } = event else {
            *self = Touched::everything(ours);
            return;
        };
        let (of, name) = match &object {
            Object::Table(object) => (&object.table, ""),
            Object::Chain(object) => (&object.table, object.name.as_str()),
            Object::Rule(object) => (&object.table, object.chain.as_str()),
            Object::Set(object) => (&object.table, object.name.as_str()),
            Object::Elements { table, set, .. } => (table, set.as_str()),
            Object::Generation { .. } => return,
        };
        if !ours.families.contains(&of.family) || of.name != ours.name {
            return;
        }
        let family = of.family;
        match object {
            Object::Table(_) if presence == Presence::Gone => self.table(family),
            Object::Table(_) => self.table(family),
            Object::Chain(_) | Object::Rule(_) => self.chain(family, &name.into()),
            Object::Set(_) | Object::Elements { .. } => self.set(family, &name.into()),
            Object::Generation { .. } => {}
        }
    }
}

/// Reads what was touched.
///
/// # Errors
/// The kernel's; what was touched then still has to be read.
pub fn read(nft: &mut dyn NftKernel, ruleset: &mut Ruleset, touched: &Touched) -> Result<(), KernelError> {
    for (family, touched) in &touched.tables {
        let of = ruleset.ours().table(*family);
        read_table(nft, of, ruleset.table(*family), touched)?;
    }
    Ok(())
}

fn read_table(
    nft: &mut dyn NftKernel,
    of: TableRef,
    state: &mut TableState,
    touched: &TouchedTable,
) -> Result<(), KernelError> {
    let tables = nft.read(&Query::Tables(Some(of.family)))?;
    let found = tables.into_iter().find_map(|object| match object {
        Object::Table(found) if found.table == of => Some(found),
        _ => None,
    });
    let Some(found) = found else {
        state.vanished();
        return Ok(());
    };
    state.exists = true;
    // a dormant table decides about nothing
    state.rebuild |= found.flags != 0;
    read_chains(nft, &of, state, touched)?;
    read_sets(nft, &of, state, touched)
}

fn read_chains(
    nft: &mut dyn NftKernel,
    of: &TableRef,
    state: &mut TableState,
    touched: &TouchedTable,
) -> Result<(), KernelError> {
    if !touched.all && touched.chains.is_empty() {
        return Ok(());
    }
    let mut hooks: BTreeMap<Arc<str>, Option<nft::Hook>> = BTreeMap::new();
    for object in nft.read(&Query::Chains(of.family))? {
        if let Object::Chain(chain) = object
            && chain.table == *of
        {
            hooks.insert(chain.name.into(), chain.hook);
        }
    }
    let names: BTreeSet<Arc<str>> = match touched.all {
        true => state.chains.keys().chain(hooks.keys()).cloned().collect(),
        false => touched.chains.clone(),
    };
    let mut rules: BTreeMap<Arc<str>, Actual> = BTreeMap::new();
    let mut take = |objects: Vec<Object>| {
        for object in objects {
            let Object::Rule(rule) = object else { continue };
            let actual = match rules.get_mut(rule.chain.as_str()) {
                Some(actual) => actual,
                None => rules.entry(rule.chain.as_str().into()).or_insert_with(nothing),
            };
            // a rule of a chain is alone in its Arc until the chain is whole
            if let Some(chain) = Arc::get_mut(&mut actual.chain) {
                actual.handles.push(rule.handle.unwrap_or_default());
                chain.rules.push(Rule::of_kernel(rule));
            }
        }
    };
    if touched.all {
        take(nft.read(&Query::Rules(of.clone()))?);
    } else {
        for name in names.iter().filter(|name| hooks.contains_key(*name)) {
            take(or_nothing(nft.read(&Query::RulesOf { table: of.clone(), chain: name.to_string() }))?);
        }
    }
    for name in names {
        let actual = hooks.remove(&name).map(|hook| {
            let mut actual = rules.remove(&name).unwrap_or_else(nothing);
            if let Some(chain) = Arc::get_mut(&mut actual.chain) {
                chain.hook = hook;
            }
            actual
        });
        state.chains.entry(name.clone()).or_default().actual = actual;
        state.fresh_chains.remove(&name);
        state.check_chain(&name);
    }
    Ok(())
}

fn nothing() -> Actual {
    Actual { chain: Arc::new(Chain::default()), handles: Vec::new() }
}

fn read_sets(
    nft: &mut dyn NftKernel,
    of: &TableRef,
    state: &mut TableState,
    touched: &TouchedTable,
) -> Result<(), KernelError> {
    if !touched.all && touched.sets.is_empty() {
        return Ok(());
    }
    let mut shapes: BTreeMap<Arc<str>, Arc<SetShape>> = BTreeMap::new();
    for object in nft.read(&Query::Sets(of.clone()))? {
        let Object::Set(set) = object else { continue };
        // one that rules or time change is none of ours, whatever its name
        state.rebuild |= set.dynamic || set.timeout;
        shapes.insert(set.name.as_str().into(), Arc::new(SetShape::of_kernel(set)));
    }
    let names: BTreeSet<Arc<str>> = match touched.all {
        true => state.sets.keys().chain(shapes.keys()).cloned().collect(),
        false => touched.sets.clone(),
    };
    for name in names {
        let shape = shapes.remove(&name);
        let elements = match &shape {
            None => Vec::new(),
            Some(_) => or_nothing(nft.read(&Query::Elements { table: of.clone(), set: name.to_string() }))?,
        };
        let set = state.sets.entry(name.clone()).or_default();
        // equal shapes are one value
        set.actual = match &set.desired {
            Some(desired) if shape.as_ref() == Some(desired) => Some(desired.clone()),
            _ => shape,
        };
        set.elements.forget_actual();
        for object in elements {
            if let Object::Elements { elements, .. } = object {
                elements.into_iter().for_each(|element| set.elements.found(element));
            }
        }
        state.fresh_sets.remove(&name);
        state.check_set(&name);
    }
    Ok(())
}

/// What went between two questions is told by an event.
fn or_nothing(read: Result<Vec<Object>, KernelError>) -> Result<Vec<Object>, KernelError> {
    match read {
        Err(error) if error.errno() == Some(GONE) => Ok(Vec::new()),
        read => read,
    }
}
