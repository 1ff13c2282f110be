//! BGP speakers side by side: `bench bgp [SCENARIO…] [--daemons NAME,…] [--runs N] [--patience SECONDS]`.
//!
//! One thread of this process plays all neighbours ([`generator`]) of a router in a namespace of its own ([`subject`]):
//! it opens the sessions, says what was prepared ([`scenario`]) and counts the distinct prefixes each session is told
//! ([`table`]). Time runs from the first byte sent until every session holds all it should. Subjects take turns, each run
//! starts a fresh one, and what counts is the ratio of medians. [`null`] is the floor of the harness itself.

mod fib;
pub mod generator;
pub mod message;
pub mod null;
mod report;
mod scenario;
mod subject;
pub mod table;

use anyhow::{Context, Result, bail};
use report::Report;
use scenario::SCENARIOS;
use std::time::Duration;
use subject::Subject;

/// What is asked for on the command line.
#[derive(Debug)]
pub struct Wanted {
    scenarios: Vec<String>,
    subjects: Vec<Subject>,
    runs: usize,
    patience: Duration,
}

impl Wanted {
    /// From the words after `bgp`.
    ///
    /// # Errors
    /// A word is none of ours.
    pub fn parse(words: impl Iterator<Item = String>) -> Result<Self> {
        let mut wanted = Self {
            scenarios: Vec::new(),
            subjects: Subject::ALL.into_iter().filter(|&one| one != Subject::Gobgp).collect(),
            runs: 5,
            patience: Duration::from_secs(200),
        };
        let mut words = words;
        let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).chain(["fib"]).collect();
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} wants a value"));
            match word.as_str() {
                "--runs" => wanted.runs = value()?.parse().context("--runs N")?,
                "--patience" => {
                    wanted.patience = Duration::from_secs(value()?.parse().context("--patience SECONDS")?)
                }
                "--daemons" => {
                    let by_name = |name: &str| Subject::ALL.into_iter().find(|one| one.name() == name);
                    wanted.subjects = value()?
                        .split(',')
                        .map(|name| by_name(name).with_context(|| format!("{name}: no such daemon")))
                        .collect::<Result<_>>()?;
                }
                name if names.contains(&name) => wanted.scenarios.push(name.to_owned()),
                other => bail!("{other}: not one of {}, --daemons, --runs, --patience", names.join(", ")),
            }
        }
        Ok(wanted)
    }

    fn wants(&self, scenario: &str) -> bool {
        self.scenarios.is_empty() || self.scenarios.iter().any(|one| one == scenario)
    }
}

/// Runs what is wanted inside a sandbox and prints one table.
///
/// # Errors
/// The namespaces cannot be made. A subject that fails is told in the table.
pub fn bench(wanted: &Wanted) -> Result<()> {
    let mut report = Report::default();
    for scenario in SCENARIOS.iter().filter(|scenario| wanted.wants(scenario.name)) {
        println!("\n{}: {}", scenario.name, scenario.about);
        for run in 1..=wanted.runs {
            for &subject in &wanted.subjects {
                report.add(scenario.name, subject, run, |figures| {
                    scenario.run(subject, wanted.patience, figures)
                });
            }
        }
    }
    if wanted.wants("fib") {
        println!("\nfib: 100,000 routes into the kernel");
        for run in 1..=wanted.runs {
            report.add("fib", Subject::Null, run, fib::floor);
            for &subject in
                wanted.subjects.iter().filter(|&&one| matches!(one, Subject::Bird | Subject::Ocicat))
            {
                report.add("fib", subject, run, |figures| fib::run(subject, wanted.patience, figures));
            }
        }
    }
    report.print(&wanted.subjects);
    Ok(())
}
