//! The one agent of a node: `bench node [ROW…]`.
//!
//! * what it holds and does while nothing happens, with all its parts at work ([`idle`], [`peers`], [`workloads`]);
//! * what the kernel's part of an ADD is, beside the least that gives a pod the same network ([`kernel`], [`floor`], [`ruleset`]).

mod floor;
mod idle;
mod kernel;
mod peers;
mod ruleset;
mod workloads;

use crate::report::{Goal, Report, Row};
use crate::wanted::Wanted;
use anyhow::Result;

const ROWS: [Row; 2] = [("kernel", kernel::run), ("idle", idle::run)];

/// Those of the issue that asked for the agent. Of Calico's parts Felix alone was measured.
const GOALS: &[Goal] = &[
    ("kernel", "least ADD ÷ floor", 1.3, ""),
    ("kernel", "median ADD ÷ floor", 1.3, ""),
    ("idle", "resident MB", 50.0, "110"),
    ("idle", "both, shared once MB", 50.0, ""),
    ("idle", "cpu %", 0.3, "1.5"),
];

/// What is asked for by the words after the benchmark's name.
///
/// # Errors
/// A word is no row.
pub fn wanted(words: impl Iterator<Item = String>) -> Result<Wanted> {
    Wanted::parse(words, ROWS.iter().map(|(name, _)| *name))
}

/// Runs what is wanted inside a sandbox and prints one table.
pub fn bench(wanted: &Wanted) {
    Report::of(&ROWS, wanted, GOALS);
}
