//! From the write of a policy to the first packet judged by it.

use super::PATIENCE;
use super::agent::Agent;
use super::host::Host;
use super::start::{LARGE, POLICIES, SMALL};
use super::state::{CLIENT, Labels, SERVER, State, probe_policy};
use super::store::Store;
use super::verdict::Verdicts;
use crate::report::{Figures, quantile};
use anyhow::Result;
use ocicat_tests::agent::BACKENDS;
use std::thread;
use std::time::{Duration, Instant};

/// How often the policy comes, turns, turns back and goes, at rest: four samples each.
const CYCLES: usize = 50;

/// How long endpoints change.
const CHURN: Duration = Duration::from_secs(30);

/// Endpoint updates a second.
const RATE: u32 = 1000;

/// Times from the begin of the write to the packet, and etcd's own part of them, in milliseconds.
#[derive(Debug, Default)]
struct Latencies {
    total: Vec<f64>,
    etcd: Vec<f64>,
}

impl Latencies {
    fn tell(&self, about: &str, figures: &mut Figures) {
        for (name, samples, part) in [
            ("median ms", &self.total, 0.5),
            ("p99 ms", &self.total, 0.99),
            ("slowest ms", &self.total, 1.0),
            ("etcd's acknowledgement median ms", &self.etcd, 0.5),
            ("etcd's acknowledgement p99 ms", &self.etcd, 0.99),
        ] {
            figures.push((format!("{about} {name}"), quantile(samples, part)));
        }
        figures.push((format!("{about} samples"), self.total.len() as f64));
    }

    /// The policy comes, turns, turns back and goes.
    fn cycle(&mut self, store: &Store, verdicts: &Verdicts) -> Result<()> {
        for (action, allowed) in
            [(Some("Allow"), true), (Some("Deny"), false), (Some("Allow"), true), (None, false)]
        {
            // Not in step with anything.
            let number = self.total.len() as u64;
            thread::sleep(Duration::from_micros(20_000 + number * 7919 % 10_000));
            let begun = Instant::now();
            let acknowledged = match action {
                Some(action) => store.client().put(&probe_policy(action))?,
                None => store.client().delete(&probe_policy("Allow").0)?,
            };
            self.total.push(millis(verdicts.wait(begun, allowed, PATIENCE)?));
            self.etcd.push(millis(acknowledged));
        }
        Ok(())
    }
}

/// The row at rest.
///
/// # Errors
/// A policy is not followed.
pub fn run(figures: &mut Figures) -> Result<()> {
    for (state, about) in [
        (SMALL, "11 policies"),
        (POLICIES, "10,000 policies"),
        (LARGE, "10,000 policies, 250,000 remote endpoints"),
    ] {
        at_rest(state, about, &[], figures)?;
    }
    Ok(())
}

/// The row at rest, each backend beside the others.
///
/// # Errors
/// As [`run`].
pub fn backends(figures: &mut Figures) -> Result<()> {
    let thousand = State { policies: 1000, ..POLICIES };
    for (state, about) in
        [(SMALL, "11 policies"), (thousand, "1,000 policies"), (POLICIES, "10,000 policies")]
    {
        for (backend, settings) in BACKENDS {
            at_rest(state, &format!("{backend}: {about}"), settings, figures)?;
        }
    }
    Ok(())
}

fn at_rest(state: State, about: &str, settings: &[(&str, &str)], figures: &mut Figures) -> Result<()> {
    let host = Host::build("node", 1, state.locals)?;
    let store = Store::start(host.store_address(), state)?;
    let mut agent = Agent::start_with(&host, &store.url(), settings)?;
    agent.ready(PATIENCE)?;
    let verdicts = Verdicts::start(&host)?;
    let mut latencies = Latencies::default();
    for _ in 0..CYCLES {
        latencies.cycle(&store, &verdicts)?;
    }
    latencies.tell(about, figures);
    Ok(())
}

/// The row while labels of the local endpoints change, 1,000 a second: a label that no selector uses, then the role.
///
/// # Errors
/// A policy is not followed, or etcd does not take the updates.
pub fn churn(figures: &mut Figures) -> Result<()> {
    let host = Host::build("node", 1, POLICIES.locals)?;
    let store = Store::start(host.store_address(), POLICIES)?;
    let mut agent = Agent::start(&host, &store.url())?;
    agent.ready(PATIENCE)?;
    let verdicts = Verdicts::start(&host)?;
    let unused: fn(usize) -> Labels = |turn| Labels { turn: 0, unused: Some(turn) };
    let role: fn(usize) -> Labels = |turn| Labels { turn, unused: None };
    for (about, labels) in [("unused label:", unused), ("role:", role)] {
        let churn = store.churn(RATE, move |n| {
            let (turn, local) = changing(POLICIES, n);
            POLICIES.endpoint(local, labels(turn))
        })?;
        let mut latencies = Latencies::default();
        let (begun, cpu) = (Instant::now(), agent.cpu()?);
        while begun.elapsed() < CHURN {
            latencies.cycle(&store, &verdicts)?;
        }
        let spent = (agent.cpu()? - cpu) / begun.elapsed().as_secs_f64();
        let rate = churn.stop()?;
        latencies.tell(&format!("{about} policy"), figures);
        figures.push((format!("{about} cpu %"), spent * 100.0));
        figures.push((format!("{about} updates a second"), rate));
        figures.push((format!("{about} resident MB"), agent.memory("VmRSS")?));
    }
    Ok(())
}

/// The `n`-th update: which time round, and which endpoint. The two that probe stay as they are.
fn changing(state: State, n: usize) -> (usize, usize) {
    let others = state.locals - 2;
    let (turn, at) = (n / others + 1, n % others);
    let skipped = [SERVER, CLIENT - 1].iter().filter(|&&skip| at >= skip).count();
    (turn, at + skipped)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn all_endpoints_change_but_those_that_probe() {
        let changed: BTreeSet<usize> = (0..198).map(|n| changing(SMALL, n)).map(|(_, local)| local).collect();
        let all: BTreeSet<usize> = (0..200).filter(|n| ![SERVER, CLIENT].contains(n)).collect();
        assert_eq!(changed, all);
        assert_eq!(changing(SMALL, 198), (2, 1));
    }
}
