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
//! * what the agent costs while nothing happens ([`idle`]);
//! * how long until what others do to iptables' chains is undone, and what looking for it costs ([`repair`]).

pub mod agent;
mod calculation;
mod flows;
pub mod host;
pub mod idle;
mod kernel;
mod label;
mod netset;
mod policy;
mod realtime;
mod repair;
mod restart;
mod start;
pub mod state;
pub mod store;
mod traffic;
mod verdict;

use crate::report::{Goal, Report, Row};
use crate::wanted::Wanted;
use anyhow::Result;
use std::time::Duration;

/// Rows in the order of the goals.
const ROWS: [Row; 15] = [
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
    ("repair-legacy", repair::legacy),
    ("repair-nft", repair::nft),
];

/// Those of the issue that asked for felix.
const GOALS: &[Goal] = &[
    ("start", "11 policies, 50 remote endpoints s", 0.1, "0.38"),
    ("start", "10,000 policies, 250,000 remote endpoints s", 4.0, "17"),
    ("start", "10,000 policies, 250,000 remote endpoints peak MB", 300.0, "1300"),
    ("calculation", "10,000 policies, 250,000 remote endpoints s", 2.0, ""),
    ("calculation", "role of a remote endpoint median us", 100.0, ""),
    ("label", "changes of the kernel that are no set elements", 0.0, ""),
    ("policy", "11 policies median ms", 4.0, "9.0"),
    ("policy", "11 policies p99 ms", 10.0, "26"),
    ("policy", "10,000 policies median ms", 5.0, "11.7"),
    ("policy", "10,000 policies p99 ms", 15.0, "32"),
    ("churn", "unused label: policy p99 ms", 50.0, "median 4400"),
    ("churn", "unused label: cpu %", 15.0, "100"),
    ("churn", "role: policy p99 ms", 50.0, "median 4400"),
    ("churn", "role: cpu %", 15.0, "100"),
    ("connect", "10 policies ÷ floor", 1.1, "1.41"),
    ("connect", "1,000 policies ÷ floor", 1.25, "2.95"),
    ("connect", "10 policies, 10,000 elsewhere ÷ 10 policies", 1.05, ""),
    ("connect", "1,000 policies, 10,000 elsewhere ÷ 1,000 policies", 1.05, ""),
    ("request", "10 policies ÷ floor", 1.1, "1.47"),
    ("request", "1,000 policies ÷ floor", 1.1, "1.47"),
    ("restart", "policy followed again s", 0.5, "2.2"),
    ("netset", "whole set ÷ floor", 1.5, ""),
    ("netset", "one change median ms", 1.0, ""),
    ("idle", "resident MB", 40.0, "110"),
    ("idle", "cpu %", 0.2, "1.05"),
    ("idle", "processes started", 0.0, "64 a minute"),
    ("backends", "iptables (nft): 11 policies median ms", 15.0, "29"),
    ("backends", "iptables (nft): 10,000 policies median ms", 60.0, "91"),
    // 95 % of the rate
    ("iptables-connect", "iptables (legacy), 1,000 policies elsewhere ÷ iptables (legacy)", 1.053, ""),
    ("iptables-connect", "iptables (nft), 1,000 policies elsewhere ÷ iptables (nft)", 1.053, ""),
    ("iptables-request", "iptables (legacy), 1,000 policies elsewhere ÷ iptables (legacy)", 1.053, ""),
    ("iptables-request", "iptables (nft), 1,000 policies elsewhere ÷ iptables (nft)", 1.053, ""),
    ("repair-legacy", "slowest ms", 35_000.0, ""),
    ("repair-legacy", "idle: cpu % with its programs", 1.0, ""),
    ("repair-nft", "slowest ms", 1000.0, ""),
    ("repair-nft", "idle: looks that started programs", 0.0, ""),
];

/// No single step takes longer.
pub const PATIENCE: Duration = Duration::from_secs(120);

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
