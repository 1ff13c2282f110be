//! The calculation alone, in this process: no etcd, no kernel, one thread.

use super::start::LARGE;
use super::state::{Labels, NODE, Pair, State, probe_policy};
use crate::report::{Figures, quantile};
use anyhow::Result;
use felix_calc::{Feed, Options};
use std::time::Instant;

/// How often the whole state is taken in.
const RUNS: usize = 3;

/// Single changes of each sort.
const CHANGES: usize = 2000;

/// The row: the large state from nothing, then one change at a time.
///
/// # Errors
/// None.
pub fn run(figures: &mut Figures) -> Result<()> {
    let pairs: Vec<Pair> = LARGE.pairs().collect();
    let mut whole = Vec::new();
    let mut feed = Feed::new(NODE, Options::default());
    for _ in 0..RUNS {
        feed = Feed::new(NODE, Options::default());
        let mut values: Vec<Pair> = pairs.clone();
        let begun = Instant::now();
        for (key, value) in values.drain(..) {
            feed.push(key.into(), Some(value.into()));
        }
        feed.work(usize::MAX);
        drop(feed.take());
        whole.push(begun.elapsed().as_secs_f64());
    }
    figures.push(("10,000 policies, 250,000 remote endpoints s".to_owned(), quantile(&whole, 0.5)));
    figures.push(("10,000 policies, 250,000 remote endpoints fastest s".to_owned(), quantile(&whole, 0.0)));
    let local = |n: usize| 1 + n % (LARGE.locals - 1);
    let remote = |n: usize| LARGE.locals + n * 97 % LARGE.remotes;
    let role = |n: usize| Labels { turn: 1 + n / 199, unused: None };
    let unused = |n: usize| Labels { turn: 0, unused: Some(n) };
    type Changed = fn(State, usize, Labels) -> Pair;
    let endpoint: Changed = State::endpoint;
    for (about, change) in [
        ("role of a remote endpoint", &(|n| endpoint(LARGE, remote(n), role(0))) as &dyn Fn(usize) -> Pair),
        ("unused label of a local endpoint", &|n| endpoint(LARGE, local(n), unused(n))),
        ("role of a local endpoint", &|n| endpoint(LARGE, local(n), role(n))),
        ("policy", &|n| probe_policy(if n % 2 == 0 { "Allow" } else { "Deny" })),
    ] {
        let times: Vec<f64> = (0..CHANGES)
            .map(|n| {
                let (key, value) = change(n);
                let begun = Instant::now();
                feed.push(key.into(), Some(value.into()));
                feed.work(usize::MAX);
                drop(feed.take());
                begun.elapsed().as_secs_f64() * 1e6
            })
            .collect();
        figures.push((format!("{about} median us"), quantile(&times, 0.5)));
        figures.push((format!("{about} p99 us"), quantile(&times, 0.99)));
    }
    Ok(())
}
