//! Many allocators at once, over a simulated store in virtual time, with everything that goes wrong.
//!
//! A *history* is some clients on some nodes, each working through operations one after another. A scheduler picks who
//! goes on; what goes on is one transaction of one operation. At each it may let the client crash before or after the
//! store has seen the transaction, or lose the answer, which for the client is the same; it moves the clock, compacts
//! the store, changes labels and settings. Some clients are not ours: `upstream` follows Calico's own steps, one key
//! at a time, and leaves its half states behind when it crashes.
//!
//! After every write `check` holds the invariants of `ipam.md` §1 against what was written. At the end of a history
//! all is given back, and every address must be there to be had again.
//!
//! `OCICAT_HISTORIES` says how many histories run, `OCICAT_SEED` where to begin; both are printed. A failing history
//! names its own seed: run it alone with `OCICAT_HISTORIES=1 OCICAT_SEED=<seed>`; `OCICAT_TRACE=1` prints its
//! writes.

mod check;
mod history;
mod random;
mod upstream;

use history::History;
use random::Random;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Histories where the environment does not say: enough to notice that something broke while working on it.
const HISTORIES: u64 = 200;

/// Histories from which on every situation must have occurred.
const TELLING: u64 = 1_000;

/// What happened in all histories together; a run that never got into one of these situations has proved nothing about
/// it.
#[derive(Debug, Default)]
struct Coverage(BTreeMap<String, u64>);

impl Coverage {
    fn note(&mut self, situation: impl Into<String>) {
        *self.0.entry(situation.into()).or_default() += 1;
    }
}

/// Every kind of write of ours; after each, a client must have crashed.
const WRITES: [&str; 12] = [
    "assign",
    "resume",
    "claim",
    "borrow",
    "steal",
    "repair",
    "assign-ip",
    "claim-ip",
    "release",
    "release-handle",
    "claim-affinity",
    "release-affinity",
];

/// Other situations.
const SITUATIONS: [&str; 12] = [
    "lost race",
    "lost answer",
    "borrow",
    "steal",
    "affinity release",
    "cool-down",
    "cooled down",
    "compaction",
    "upstream crash",
    "half state resumed",
    "node not selected any more",
    "both families at once",
];

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn nothing_is_given_twice_or_lost() {
    let histories = from_environment("OCICAT_HISTORIES").unwrap_or(HISTORIES);
    let base = from_environment("OCICAT_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(1, |now| Random::new(u64::from(now.subsec_nanos())).next())
    });
    println!("{histories} histories from OCICAT_SEED={base}");
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(4) as u64;
    let coverage = std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..threads).map(|first| scope.spawn(move || work(base, first, threads, histories))).collect();
        let mut all = Coverage::default();
        for worker in workers {
            for (situation, count) in worker.join().expect("a worker ends").0 {
                *all.0.entry(situation).or_default() += count;
            }
        }
        all
    });
    println!("{coverage:#?}");
    if histories < TELLING {
        return;
    }
    let crashes = WRITES.iter().map(|step| format!("crash after {step}"));
    let missing: Vec<String> = crashes
        .chain(SITUATIONS.iter().map(ToString::to_string))
        .filter(|situation| !coverage.0.contains_key(situation))
        .collect();
    assert!(missing.is_empty(), "never happened: {missing:?}");
}

fn work(base: u64, first: u64, step: u64, histories: u64) -> Coverage {
    let mut coverage = Coverage::default();
    let mut index = first;
    while index < histories {
        let seed = base.wrapping_add(index);
        let result = catch_unwind(AssertUnwindSafe(|| History::new(seed).run(&mut coverage)));
        assert!(result.is_ok(), "replay it with OCICAT_HISTORIES=1 OCICAT_SEED={seed}");
        index += step;
    }
    coverage
}
