//! What it takes until a change that others made to the chains of iptables is undone, and what looking for one costs while
//! nothing happens.

use super::PATIENCE;
use super::agent::Agent;
use super::host::Host;
use super::start::SMALL;
use super::state::State;
use super::store::Store;
use crate::report::{Figures, quantile};
use anyhow::{Context, Result, ensure};
use ocicat_tests::agent::{BACKENDS, LEGACY, NFT};
use ocicat_tests::process::tool;
use ocicat_tests::sandbox::in_netns;
use std::thread;
use std::time::{Duration, Instant};

/// A thousand policies in force: one of five selects a local endpoint.
const STATE: State = State { policies: 5000, ..SMALL };
/// What an agent does on its own when it has come up shall be over.
const SETTLE: Duration = Duration::from_secs(5);
/// Two looks, at least.
const WATCHED: Duration = Duration::from_secs(66);
/// How often is looked whether a process has ended.
const SAMPLE: Duration = Duration::from_millis(20);
/// Programs of one look start one after another, or together.
const ONE_LOOK: Duration = Duration::from_secs(3);

/// The row of the legacy variant.
///
/// # Errors
/// The agent does not come up, or repairs nothing.
pub fn legacy(figures: &mut Figures) -> Result<()> {
    of(LEGACY, 3, figures)
}

/// The row of the nft variant.
///
/// # Errors
/// As [`legacy`].
pub fn nft(figures: &mut Figures) -> Result<()> {
    of(NFT, 20, figures)
}

fn of(number: usize, samples: u64, figures: &mut Figures) -> Result<()> {
    let (_, settings) = BACKENDS[number];
    let variant = if number == NFT { "nft" } else { "legacy" };
    let host = Host::build("node", 1, STATE.locals)?;
    let store = Store::start(host.store_address(), STATE)?;
    let mut agent = Agent::start_with(&host, &store.url(), settings)?;
    agent.ready(PATIENCE)?;
    thread::sleep(SETTLE);
    let mut push = |about: &str, figure: f64| figures.push((about.to_owned(), figure));
    idle(&agent, &mut push)?;
    let mut times = Vec::new();
    for sample in 0..samples {
        // not in step with the looks
        thread::sleep(Duration::from_millis(200 + sample * 173 % 100));
        times.push(repaired(&host, variant)?.as_secs_f64() * 1000.0);
    }
    push("median ms", quantile(&times, 0.5));
    push("slowest ms", quantile(&times, 1.0));
    agent.kill()
}

/// Processor time of the agent and of the programs it started, and when it started some.
fn idle(agent: &Agent<'_>, push: &mut impl FnMut(&str, f64)) -> Result<()> {
    let (cpu, of_children) = (agent.cpu()?, agent.cpu_of_children()?);
    let mut seen = agent.faults_of_children()?;
    let mut ends: Vec<Instant> = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < WATCHED {
        thread::sleep(SAMPLE);
        let now = agent.faults_of_children()?;
        if now != seen {
            ends.push(Instant::now());
        }
        seen = now;
    }
    let watched = begun.elapsed().as_secs_f64();
    let gaps: Vec<f64> = ends
        .iter()
        .zip(ends.iter().skip(1))
        .map(|(one, next)| next.duration_since(*one))
        .filter(|gap| *gap > ONE_LOOK)
        .map(|gap| gap.as_secs_f64())
        .collect();
    push(
        "idle: cpu % with its programs",
        (agent.cpu()? - cpu + agent.cpu_of_children()? - of_children) / watched * 100.0,
    );
    push("idle: cpu % of its programs", (agent.cpu_of_children()? - of_children) / watched * 100.0);
    push("idle: looks that started programs", (gaps.len() + usize::from(!ends.is_empty())) as f64);
    if let Some(least) = gaps.into_iter().reduce(f64::min) {
        push("idle: s between two of them without a process, at least", least);
    }
    Ok(())
}

/// A chain that all packets of workloads pass is emptied: the time until it is as before.
fn repaired(host: &Host, variant: &str) -> Result<Duration> {
    in_netns(host.name(), || {
        let (save, iptables) = (format!("iptables-{variant}-save"), format!("iptables-{variant}"));
        let rules = || -> Result<Vec<String>> {
            let text = tool(&save, &["-t", "filter"])?;
            Ok(text.lines().filter(|line| line.starts_with("-A cali-FORWARD ")).map(str::to_owned).collect())
        };
        let before = rules()?;
        ensure!(!before.is_empty(), "there is no chain cali-FORWARD");
        tool(&iptables, &["-F", "cali-FORWARD"])?;
        let begun = Instant::now();
        while rules()? != before {
            ensure!(begun.elapsed() < PATIENCE, "not repaired after {PATIENCE:?}");
            // each look of ours costs as much as one of the agent's
            thread::sleep(if variant == "legacy" {
                Duration::from_millis(200)
            } else {
                Duration::from_millis(5)
            });
        }
        Ok(begun.elapsed())
    })
    .and_then(|result| result)
    .with_context(|| variant.to_owned())
}
