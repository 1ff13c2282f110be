//! The embedded store beside a real etcd, on the same disk, in turns: `bench store [ROW…]`.
//!
//! * [`rates`]: requests a second of clients that wait for each answer, and events a second to many watchers;
//! * [`start`]: time from the start of the program to its first answer, and what is resident then.
//!
//! Both servers are programs, reached over loopback by the same clients ([`watchers`] are of our own). With two processors
//! clients and server get in each other's way, so each rate stands beside the processor time that the server took for one
//! request, what came before the clock ran included.

mod rates;
mod start;
mod watchers;

use crate::wanted::Wanted;
use anyhow::{Context, Result};
use datastore::etcd::EtcdOptions;
use ocicat_tests::etcd::{Server, Store};
use std::path::Path;
use std::time::Duration;

/// Both, in the order of the columns.
const BOTH: [Store; 2] = [Store::Etcd, Store::Embedded];
/// Bytes of a value, where a row says nothing else.
const VALUE: usize = 256;
/// No single request takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A row: its name, and what prints its lines; the folder lies on the disk that is measured.
type Row = (&'static str, fn(&Path) -> Result<()>);

const ROWS: [Row; 7] = [
    ("put-1", |folder| rates::print(folder, rates::puts_of_one)),
    ("put-64", |folder| rates::print(folder, rates::puts_of_many)),
    ("txn-64", |folder| rates::print(folder, rates::assignments)),
    ("watch", |folder| rates::print(folder, rates::watchers_sharing_connections)),
    ("watch-alone", |folder| rates::print(folder, rates::watchers_alone)),
    ("start-100k", |folder| start::print(folder, 100_000, true)),
    ("start-1m", |folder| start::print(folder, 1_000_000, false)),
];

/// What is asked for by the words after the benchmark's name.
///
/// # Errors
/// A word is no row.
pub fn wanted(words: impl Iterator<Item = String>) -> Result<Wanted> {
    Wanted::parse(words, ROWS.iter().map(|(name, _)| *name))
}

/// Runs what is wanted, in a folder of the disk that the build lies on.
pub fn bench(wanted: &Wanted) -> Result<()> {
    let folder = tempfile::tempdir_in(".").context("a folder here")?;
    println!("\n{:<44} {:>11} {:>11} {:>7}  goal", "", "etcd", "embedded", "ratio");
    for (name, run) in ROWS {
        if wanted.has(name) {
            run(folder.path())?;
        }
    }
    Ok(())
}

fn line(name: &str, etcd: f64, embedded: f64, digits: usize, goal: &str) {
    let ratio = embedded / etcd;
    println!("{name:<44} {etcd:>11.digits$} {embedded:>11.digits$} {ratio:>7.2}  {goal}");
}

fn options(server: &Server) -> EtcdOptions {
    EtcdOptions { endpoints: vec![server.url()], timeout: PATIENCE, ..EtcdOptions::default() }
}

/// One line of `/proc/PID/status`, in kB.
fn memory(server: &Server, field: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process().pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).context("a line of the status")?;
    Ok(line.trim_matches([':', ' ', '\t', 'k', 'B']).parse()?)
}
