//! All tables of one variant of iptables, read and written.

use super::batch::Batch;
use super::objects::{ObjectId, Place, Refusals, target};
use super::saved::{self, Saved};
use super::search::{Found, Search};
use super::sets::of_kernel;
use super::table::TableState;
use crate::stock::{Stock, digit};
use failpoint::failpoint;
use felix_render::iptables::{Table, Update};
use futures::future::join_all;
use kernel::{Variant, XTables, XTablesError};
use model::net::Family;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// See the module.
#[derive(Debug)]
pub struct Tables {
    variant: Variant,
    tables: BTreeMap<Place, TableState>,
    /// What is there has to be read.
    unread: BTreeSet<Place>,
    /// Where the kernel refused a batch and did not say what of it.
    searches: BTreeMap<Place, Search>,
}

/// What one family's programs did, one batch after the other.
type Done = Vec<(Place, Batch, Result<kernel::Restored, XTablesError>)>;

impl Tables {
    /// Nothing known yet.
    pub fn new(variant: Variant) -> Self {
        let places: Vec<Place> =
            FAMILIES.iter().flat_map(|family| Table::ALL.map(|table| (*family, table))).collect();
        places.iter().for_each(|place| show_counters(*place));
        Self {
            variant,
            tables: places.iter().map(|place| (*place, TableState::default())).collect(),
            unread: places.into_iter().collect(),
            searches: BTreeMap::new(),
        }
    }

    /// Which variant.
    pub fn variant(&self) -> Variant {
        self.variant
    }

    /// Each table.
    pub fn all(&self) -> &BTreeMap<Place, TableState> {
        &self.tables
    }

    /// A chain or a hook should be otherwise.
    pub fn update(&mut self, update: &Update) {
        match update {
            Update::Chain { family, table, name, rules } => {
                self.table((*family, *table)).want_chain(name.clone(), rules.clone());
            }
            Update::Hook { family, table, chain, hook } => {
                self.table((*family, *table)).want_hook(Arc::from(*chain), hook.clone());
            }
            Update::Set { .. } | Update::Members { .. } => {}
        }
    }

    /// What the other variant's tables hold is wanted here.
    pub fn take_over(&mut self, other: &Self) {
        for (place, table) in &other.tables {
            let mine = self.table(*place);
            for (name, rules) in table.wanted() {
                mine.want_chain(name.clone(), Some(rules.clone()));
            }
            for (name, hook) in table.hooks() {
                mine.want_hook(name.clone(), hook.clone());
            }
        }
        self.doubt_all();
    }

    /// Nothing is wanted any more.
    pub fn unwant_all(&mut self) {
        self.tables.values_mut().for_each(TableState::unwant_all);
    }

    /// Whether anything is wanted.
    pub fn is_wanted(&self) -> bool {
        self.tables.values().any(TableState::is_wanted)
    }

    /// Counts what of ours is there.
    pub fn measure(&self, stock: &mut Stock) {
        for ((family, table), state) in &self.tables {
            let (chains, rules) = state.count();
            stock.of_table("felix_iptables_chains", *family, table.name(), chains);
            stock.of_table("felix_iptables_rules", *family, table.name(), rules);
        }
    }

    /// Whether all is as wanted, as far as is known.
    pub fn is_in_sync(&self) -> bool {
        self.unread.is_empty() && self.tables.values().all(TableState::is_in_sync)
    }

    /// Whether something has to be read.
    pub fn is_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// What is known of a table may be wrong.
    pub fn doubt(&mut self, place: Place) {
        self.unread.insert(place);
    }

    /// What is known of tables in which something is wanted may be wrong.
    pub fn doubt_wanted(&mut self) {
        let wanted = self.tables.iter().filter(|(_, table)| table.is_wanted());
        self.unread.extend(wanted.map(|(place, _)| *place));
    }

    /// Nothing known is certain.
    pub fn doubt_all(&mut self) {
        self.unread.extend(self.tables.keys());
    }

    /// Whether every packet of a kind comes to this chain.
    pub fn is_hooked(&self, place: Place, chain: &str) -> bool {
        let mut rules = self.tables.get(&place).into_iter().flat_map(TableState::hooked);
        rules.any(|rule| target(&rule.text) == Some(chain))
    }

    /// Whether a change of this chain by others may concern us.
    pub fn concerns(&self, place: Place, chain: &str) -> bool {
        saved::is_ours(chain) || self.tables.get(&place).is_some_and(|table| table.knows(chain))
    }

    /// Reads what is there, both families at a time.
    ///
    /// # Errors
    /// The programs'. A family that has nothing to show because its program or kernel module is missing counts as empty
    /// where nothing is wanted in it.
    pub async fn read(&mut self, programs: &dyn XTables) -> Result<(), String> {
        let unread = std::mem::take(&mut self.unread);
        let of = |family: Family| {
            let tables: Vec<Table> =
                unread.iter().filter(|(of, _)| *of == family).map(|(_, table)| *table).collect();
            let all = tables.len() == Table::ALL.len();
            let asked: Vec<Option<&'static str>> = match all {
                true => vec![None],
                false => tables.iter().map(|table| Some(table.name())).collect(),
            };
            let saves = asked.into_iter().map(|table| programs.save(of_kernel(family), self.variant, table));
            let saves = join_all(saves.collect::<Vec<_>>());
            async move { (family, tables, saves.await) }
        };
        let all = join_all(FAMILIES.map(of)).await;
        let mut failed = None;
        for (family, tables, saves) in all {
            if tables.is_empty() {
                continue;
            }
            let name = digit(family);
            metrics::counter!("felix_iptables_save_calls", "ip_version" => name).increment(1);
            match join(saves) {
                Ok(mut found) => {
                    for table in tables {
                        self.table((family, table)).read_back(found.remove(&table).unwrap_or_default());
                    }
                }
                Err(error) => {
                    metrics::counter!("felix_iptables_save_errors", "ip_version" => name).increment(1);
                    let is_wanted = tables.iter().any(|table| self.table((family, *table)).is_wanted());
                    if is_wanted {
                        self.unread.extend(tables.into_iter().map(|table| (family, table)));
                        failed = Some(error);
                    } else {
                        tracing::debug!(variant = %self.variant, %error, "tables that cannot be shown are left alone");
                        tables
                            .iter()
                            .for_each(|table| self.table((family, *table)).read_back(Saved::default()));
                    }
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Writes what is not as wanted: both families at a time, a family's tables one after the other. Whether there was
    /// something; ports are those of the programs that wrote.
    pub async fn write(
        &mut self,
        programs: &dyn XTables,
        refusals: &mut Refusals,
        ports: &mut Vec<u32>,
        now: Duration,
    ) -> bool {
        let batches = self.batches(refusals, now);
        if batches.values().all(Vec::is_empty) {
            return false;
        }
        let variant = self.variant;
        let runs = batches.into_iter().map(|(family, batches)| run(programs, family, variant, batches));
        let all: Vec<Done> = join_all(runs).await;
        for (place, batch, result) in all.into_iter().flatten() {
            match result {
                Ok(restored) => {
                    ports.push(restored.port);
                    self.carried_out(place, batch, refusals);
                }
                Err(error) => self.refused(place, &batch, &error, refusals, now),
            }
        }
        true
    }

    /// What has to change, in the order of writing: a policy that moves from one table to another is judged by in the one
    /// before it leaves the other.
    fn batches(&mut self, refusals: &Refusals, now: Duration) -> BTreeMap<Family, Vec<(Place, Batch)>> {
        let may = |object: &ObjectId| refusals.may(object, now);
        let mut batches: BTreeMap<Family, Vec<(Place, Batch)>> = BTreeMap::new();
        for (place, table) in &self.tables {
            if table.is_in_sync() || !may(&ObjectId::Table(*place)) {
                continue;
            }
            let search = self.searches.entry(*place).or_default();
            let batch = loop {
                let part = search.part();
                let now = |object: &ObjectId| may(object) && part.is_none_or(|part| part.contains(object));
                match Batch::of(*place, table, &now) {
                    None if part.is_some() => search.done(),
                    batch => break batch,
                }
            };
            if let Some(batch) = batch {
                batches.entry(place.0).or_default().push((*place, batch));
            }
        }
        batches.values_mut().for_each(|all| all.sort_by_key(|(_, batch)| !batch.brings_policy()));
        batches
    }

    fn carried_out(&mut self, place: Place, batch: Batch, refusals: &mut Refusals) {
        if !refusals.is_empty() {
            refusals.carried_out(&ObjectId::Table(place));
            let done: BTreeSet<ObjectId> = batch.all().cloned().collect();
            for object in done {
                // one in whose place another thing was written is refused still
                if !batch.closes(&object) {
                    refusals.carried_out(&object);
                }
            }
        }
        self.searches.entry(place).or_default().done();
        self.table(place).carried_out(batch.receipts);
    }

    fn refused(
        &mut self,
        place: Place,
        batch: &Batch,
        error: &XTablesError,
        refusals: &mut Refusals,
        now: Duration,
    ) {
        metrics::counter!("felix_iptables_restore_errors", &labels(place)).increment(1);
        let line = match error {
            XTablesError::Failed { line, .. } => *line,
            _ => None,
        };
        let owner = match line {
            // the kernel's word about all of it
            Some(line) if line == batch.lines() => {
                let search = self.searches.entry(place).or_default();
                match search.refused(batch.objects().into_iter().cloned().collect()) {
                    Found::Narrowed => return,
                    Found::Object(object) => Some(object),
                    Found::Everything => None,
                }
            }
            line => line.and_then(|line| batch.owner(line)).cloned(),
        };
        let owner = owner.unwrap_or(ObjectId::Table(place));
        // what is known may be wrong: others may have changed it
        if refusals.refused(owner, &error.to_string(), now) || matches!(error, XTablesError::Uncertain { .. })
        {
            self.unread.insert(place);
        }
    }

    fn table(&mut self, place: Place) -> &mut TableState {
        self.tables.entry(place).or_default()
    }
}

async fn run(programs: &dyn XTables, family: Family, variant: Variant, batches: Vec<(Place, Batch)>) -> Done {
    let mut done = Done::new();
    for (place, batch) in batches {
        let labels = labels(place);
        metrics::counter!("felix_iptables_restore_calls", &labels).increment(1);
        let lines = u64::try_from(batch.lines()).unwrap_or(0);
        metrics::counter!("felix_iptables_lines_executed", &labels).increment(lines);
        let result = programs.restore(of_kernel(family), variant, batch.text.clone()).await;
        let failed = result.is_err();
        if failpoint::ENABLED && !failed {
            failpoint(&format!("felix-iptables-{}", place.1.name()));
        }
        done.push((place, batch, result));
        // what comes later may rely on it
        if failed {
            break;
        }
    }
    done
}

fn join(saves: Vec<Result<String, XTablesError>>) -> Result<BTreeMap<Table, Saved>, String> {
    let mut all = BTreeMap::new();
    for save in saves {
        all.extend(saved::parse(&save.map_err(|error| error.to_string())?)?);
    }
    Ok(all)
}

/// As Calico's metrics name it.
fn labels((family, table): Place) -> [(&'static str, &'static str); 2] {
    [("ip_version", digit(family)), ("table", table.name())]
}

/// Counters of a table are shown from the start.
fn show_counters(place: Place) {
    for name in ["felix_iptables_save_calls", "felix_iptables_save_errors"] {
        let _ = metrics::counter!(name, "ip_version" => digit(place.0));
    }
    for name in
        ["felix_iptables_restore_calls", "felix_iptables_restore_errors", "felix_iptables_lines_executed"]
    {
        let _ = metrics::counter!(name, &labels(place));
    }
}
