//! Replay of the recorded corpus against our programs.
//!
//! [`case`] reads the files; [`selection`] says what is replayed yet; [`world`] is the host a case runs on, one a worker;
//! [`compare`] judges each step with the help of [`normal`] (identifiers), [`renaming`] (blocks), [`kernel`] (dumps) and
//! [`meaning`] (texts of Go's); [`differences`] lists what is different on purpose. [`replay`] does it all.

pub mod case;
pub mod compare;
pub mod diff;
pub mod differences;
pub mod kernel;
pub mod meaning;
pub mod normal;
pub mod renaming;
pub mod selection;
#[cfg(test)]
mod tests;
pub mod world;

use crate::binaries::{Build, programs};
use crate::etcd::changes;
use crate::sandbox;
use anyhow::{Context, Result};
use case::{Located, Pair, Step};
use compare::{Comparison, Finding, Outcome};
use differences::{DIFFERENCES, EVERYWHERE};
use renaming::Renaming;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::thread;
use world::World;

/// A step that came out differently.
#[derive(Debug)]
pub struct Report {
    /// Path of the case.
    pub case: String,
    /// Number of the step, from 1.
    pub step: usize,
    /// What was run.
    pub command: String,
    /// What differs.
    pub finding: Finding,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "== {} step {} ({}): {:?}", self.case, self.step, self.command, self.finding.part)?;
        f.write_str(&diff::diff(&self.finding.recorded, &self.finding.ours))
    }
}

/// What a replay found.
#[derive(Debug, Default)]
pub struct Summary {
    /// Cases replayed.
    pub cases: usize,
    /// Steps whose program was run.
    pub steps: usize,
    /// Differences that nobody meant, in the order of the corpus.
    pub unexpected: Vec<Report>,
    /// Lines of the list that no longer hold.
    pub stale: Vec<String>,
}

/// Replays every selected case whose path begins with one of `filter` (all for none) with `workers` hosts at once.
///
/// # Errors
/// Something of the harness fails: not root, no etcd, no programs, a broken corpus.
pub fn replay(filter: &[String], workers: usize) -> Result<Summary> {
    let corpus = case::load(&case::corpus_dir())?;
    let bootstrap = bootstrap(&corpus)?;
    let wanted =
        |path: &str| filter.is_empty() || filter.iter().any(|prefix| path.starts_with(prefix.as_str()));
    let chosen: Vec<&Located> =
        corpus.iter().filter(|located| selection::selected(&located.path) && wanted(&located.path)).collect();
    let programs = programs(Build::Plain)?;
    let queue = Mutex::new(chosen.iter().copied().enumerate().collect::<VecDeque<_>>());
    let results = Mutex::new(Vec::new());
    let work = || -> Result<()> {
        sandbox::enter(world::HOSTNAME, programs)?;
        let world = World::start(bootstrap.clone())?;
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some((place, located)) = next else { return Ok(()) };
            let done = replay_case(&world, located).with_context(|| format!("case {}", located.path))?;
            results.lock().unwrap_or_else(PoisonError::into_inner).push((place, done));
        }
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..workers.max(1)).map(|_| scope.spawn(work)).collect();
        running.into_iter().try_for_each(|worker| match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(place, _)| *place);
    let mut summary = Summary { cases: chosen.len(), ..Summary::default() };
    let mut held = BTreeSet::new();
    let mut everywhere = BTreeSet::new();
    for (_, done) in results {
        summary.steps += done.ran;
        everywhere.extend(done.everywhere);
        for report in done.reports {
            match DIFFERENCES.iter().find(|listed| matches(listed, &report)) {
                Some(listed) => drop(held.insert((listed.case, listed.step, listed.part))),
                None => summary.unexpected.push(report),
            }
        }
    }
    let replayed = |path: &str| chosen.iter().any(|located| located.path == path);
    let gone = |listed: &&differences::Difference| {
        let place = (listed.case, listed.step, listed.part);
        (filter.is_empty() || replayed(listed.case)) && !held.contains(&place)
    };
    let named = |listed: &differences::Difference| {
        format!("{} step {}: {:?} ({})", listed.case, listed.step, listed.part, listed.reason)
    };
    summary.stale = DIFFERENCES.iter().filter(gone).map(named).collect();
    let unseen =
        EVERYWHERE.iter().filter(|intended| filter.is_empty() && !everywhere.contains(intended.reason));
    summary.stale.extend(unseen.map(|intended| intended.reason.to_owned()));
    Ok(summary)
}

fn matches(listed: &differences::Difference, report: &Report) -> bool {
    listed.case == report.case && listed.step == report.step && listed.part == report.finding.part
}

/// What the first write into an empty store creates besides its own object.
fn bootstrap(corpus: &[Located]) -> Result<BTreeMap<String, String>> {
    let recorded =
        corpus.iter().find(|located| located.path == "store/bootstrap").context("store/bootstrap")?;
    let first = recorded.case.steps.first().and_then(|step| step.etcd.as_ref()).context("its first step")?;
    let pairs = first.put.iter().filter(|pair| !pair.key.ends_with("/warmup"));
    Ok(pairs.map(|pair| (pair.key.clone(), pair.value.clone())).collect())
}

/// One replay of a case.
struct Attempt {
    /// Programs run.
    ran: usize,
    reports: Vec<Report>,
    renaming: Renaming,
    /// Reasons of intended differences in dumps.
    everywhere: BTreeSet<&'static str>,
}

/// Runs a case; where inputs name a block before its counterpart is known, once more with what the first attempt has shown.
fn replay_case(world: &World, located: &Located) -> Result<Attempt> {
    let first = attempt(world, located, Renaming::default())?;
    if first.reports.is_empty() || first.renaming.is_identity() {
        return Ok(first);
    }
    let again = attempt(world, located, first.renaming.clone())?;
    Ok(if again.reports.len() < first.reports.len() { again } else { first })
}

fn attempt(world: &World, located: &Located, known: Renaming) -> Result<Attempt> {
    world.reset(&located.path, &located.case)?;
    let mut comparison = Comparison::new(known);
    let mut reports = Vec::new();
    let mut ran = 0;
    let mut before = world.etcd().snapshot()?;
    for (index, step) in located.case.steps.iter().enumerate() {
        let ours = comparison.carry_over(step);
        prepare(world, &mut comparison, step, &ours)?;
        let mut outcome = Outcome::default();
        let replayed = selection::replayed(step);
        if replayed {
            before = world.etcd().snapshot()?;
            outcome.output = Some(world.run(&ours)?);
            outcome.wrote = world.wrote(&ours)?;
            ran += 1;
        } else {
            stand_in(world, &mut comparison, step)?;
        }
        outcome.after = world.etcd().snapshot()?;
        outcome.changes = if replayed { changes(&before, &outcome.after) } else { Default::default() };
        if let Some(recorded) = &step.kernel {
            for (place, named) in recorded {
                let netns = (place == "container").then(|| world::dumped_container(step));
                for (name, like) in named {
                    let dump = world.dump(netns.as_deref(), name, like)?;
                    outcome.kernel.entry(place.clone()).or_default().insert(name.clone(), dump);
                }
            }
        }
        let judged =
            if replayed { step.clone() } else { Step { etcd: None, wrote: BTreeMap::new(), ..step.clone() } };
        let findings = comparison.step(&judged, &outcome);
        reports.extend(findings.into_iter().map(|finding| Report {
            case: located.path.clone(),
            step: index + 1,
            command: step.run.join(" "),
            finding,
        }));
    }
    let (renaming, everywhere) = (comparison.renaming().clone(), comparison.everywhere().clone());
    Ok(Attempt { ran, reports, renaming, everywhere })
}

fn prepare(world: &World, comparison: &mut Comparison, step: &Step, ours: &Step) -> Result<()> {
    if let Some(script) = &ours.shell {
        world.shell(script)?;
    }
    plant(world, comparison, &step.put, &ours.put)?;
    for key in &ours.del {
        world.etcd().delete(key)?;
    }
    Ok(())
}

/// Does to the store what a program of a later issue would have done.
fn stand_in(world: &World, comparison: &mut Comparison, step: &Step) -> Result<()> {
    comparison.not_replayed(step);
    let Some(change) = &step.etcd else { return Ok(()) };
    let mut carried = change.put.clone();
    for pair in &mut carried {
        pair.key = comparison.input(&pair.key);
        pair.value = comparison.input(&pair.value);
    }
    plant(world, comparison, &change.put, &carried)?;
    change.del.iter().try_for_each(|key| world.etcd().delete(&comparison.input(key)))
}

fn plant(world: &World, comparison: &mut Comparison, recorded: &[Pair], ours: &[Pair]) -> Result<()> {
    for pair in ours {
        world.etcd().put(&pair.key, &pair.value)?;
    }
    comparison.planted(recorded, ours);
    Ok(())
}
