//! The recorded corpus against our programs.
//!
//! `OCICAT_GOLDEN=cni/basic,errors/IPPool` replays only cases whose path begins so and prints every difference;
//! `OCICAT_GOLDEN_STATUS=FILE` writes one line a failing case.

use ocicat_tests::golden::compare::Part;
use ocicat_tests::golden::replay;
use std::collections::BTreeMap;
use std::fmt::Write;

/// How many differences are printed in full.
const SHOWN: usize = 40;

#[test]
fn corpus_is_replayed() {
    let filter: Vec<String> = std::env::var("OCICAT_GOLDEN")
        .unwrap_or_default()
        .split(',')
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect();
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let summary = replay(&filter, workers).expect("the harness works");
    let mut first = BTreeMap::new();
    for report in &summary.unexpected {
        let told = first.entry(report.case.clone()).or_insert(report);
        // Where a program fails that should not, what it said tells more than the code.
        if told.step == report.step && report.finding.part == Part::Stderr {
            *told = report;
        }
    }
    let mut status = String::new();
    for (case, report) in &first {
        let line = ocicat_tests::golden::diff::diff(&report.finding.recorded, &report.finding.ours);
        let changed: Vec<&str> = line.lines().filter(|line| !line.starts_with("  ")).take(2).collect();
        writeln!(
            status,
            "{case} step {} [{}] {:?}: {}",
            report.step,
            report.command,
            report.finding.part,
            changed.join(" | ")
        )
        .expect("a string takes it");
    }
    if let Ok(file) = std::env::var("OCICAT_GOLDEN_STATUS") {
        let head = format!("{} of {} cases differ\n", first.len(), summary.cases);
        std::fs::write(file, head + &status).expect("the status file can be written");
    }
    for report in summary.unexpected.iter().take(if filter.is_empty() { SHOWN } else { usize::MAX }) {
        println!("{report}");
    }
    for listed in &summary.stale {
        println!("== listed as different on purpose, but equal: {listed}");
    }
    println!("{} cases, {} programs run", summary.cases, summary.steps);
    assert!(
        summary.cases > 0 && summary.unexpected.is_empty() && summary.stale.is_empty(),
        "{} of {} cases differ, {} listed differences are gone:\n{status}",
        first.len(),
        summary.cases,
        summary.stale.len()
    );
}
