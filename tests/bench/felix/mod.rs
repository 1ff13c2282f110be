//! The node agent: `bench felix [ROW…]`.
//!
//! An etcd holds a cluster of a given size ([`state`], [`store`]); a host in a namespace of its own has the workloads of one
//! of its nodes ([`host`]) and runs the agent ([`agent`]). Rows differ in what is then asked:
//!
//! * what the calculation takes without etcd and kernel ([`calculation`]);
//! * how long until everything is enforced ([`start`]), and again after a restart ([`restart`]);
//! * how long until a policy that is written is in force, by packets ([`verdict`]), at rest and while endpoints change
//!   ([`policy`]), and what one change brings into the kernel ([`label`], [`netset`], by its own events: [`kernel`]);
//! * what the rules cost a connection and a packet, beside a host with conntrack alone ([`flows`], [`traffic`]);
//! * what the agent costs while nothing happens ([`idle`]).

mod agent;
mod calculation;
mod flows;
mod host;
mod idle;
mod kernel;
mod label;
mod netset;
mod policy;
mod realtime;
mod report;
mod restart;
mod start;
mod state;
mod store;
mod traffic;
mod verdict;

use crate::wanted::Wanted;
use anyhow::Result;
use report::{Figures, Report};
use std::time::Duration;

/// A row's name and what it does.
type Row = (&'static str, fn(&mut Figures) -> Result<()>);

/// Rows in the order of the goals.
const ROWS: [Row; 13] = [
    ("calculation", calculation::run),
    ("start", start::run),
    ("label", label::run),
    ("policy", policy::run),
    ("churn", policy::churn),
    ("connect", traffic::connections),
    ("request", traffic::requests),
    ("restart", restart::run),
    ("netset", netset::run),
    ("idle", idle::run),
    ("backends", policy::backends),
    ("iptables-connect", traffic::iptables_connections),
    ("iptables-request", traffic::iptables_requests),
];

/// No single step takes longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is asked for by the words after the benchmark's name.
///
/// # Errors
/// A word is no row.
pub fn wanted(words: impl Iterator<Item = String>) -> Result<Wanted> {
    Wanted::parse(words, ROWS.iter().map(|(name, _)| *name))
}

/// Runs what is wanted inside a sandbox and prints one table. A row that fails is told in it.
pub fn bench(wanted: &Wanted) -> Result<()> {
    let mut report = Report::default();
    for (name, run) in ROWS {
        if wanted.has(name) {
            println!("\n{name}");
            report.add(name, run);
        }
    }
    report.print();
    Ok(())
}
