//! What policies cost a connection and a packet, beside a host with conntrack alone.

use super::PATIENCE;
use super::agent::Agent;
use super::flows::{Target, Work, measure};
use super::host::Host;
use super::state::{FIRST_PORT, State};
use super::store::Store;
use crate::report::{Figures, quantile};
use anyhow::Result;
use ocicat_tests::agent::BACKENDS;

/// Rounds of slices.
const ROUNDS: usize = 150;

const BASE: State =
    State { locals: 200, remotes: 50, policies: 0, on_endpoint: 0, blocks: 0, rack: 0, nets: 0 };

/// A host: name, policies on the server's endpoint, elsewhere, and whose figure its own is a multiple of.
type Wanted = (&'static str, usize, usize, usize);

/// With the agent as it comes.
const HOSTS: [Wanted; 7] = [
    ("floor", 0, 0, 0),
    ("10 policies", 10, 0, 0),
    ("1,000 policies", 1000, 0, 0),
    ("10 policies, 10,000 elsewhere", 10, 10_000, 1),
    ("1,000 policies, 10,000 elsewhere", 1000, 10_000, 2),
    // what the method itself is worth
    ("a second floor", 0, 0, 0),
    (BARE, 0, 0, 0),
];

/// With each variant of iptables, which the name begins with.
const VARIANTS: [Wanted; 6] = [
    ("floor", 0, 0, 0),
    ("iptables (legacy)", 10, 0, 0),
    ("iptables (legacy), 1,000 policies elsewhere", 10, 1000, 1),
    ("iptables (nft)", 10, 0, 0),
    ("iptables (nft), 1,000 policies elsewhere", 10, 1000, 3),
    ("a second floor", 0, 0, 0),
];

/// The settings of a host's agent: those of the backend that its name begins with.
fn settings(name: &str) -> &'static [(&'static str, &'static str)] {
    let found = BACKENDS.iter().find(|(backend, _)| name.starts_with(backend));
    found.map_or(&[], |(_, settings)| settings)
}

/// A host that no agent has set up. An agent switches conntrack's accounting on, which costs a connection some 3 %; that
/// is a parameter of the host and none of its rules, so the floor has it too.
const BARE: &str = "floor without accounting";

/// New connections.
///
/// # Errors
/// An agent does not come up, or does not let its client through.
pub fn connections(figures: &mut Figures) -> Result<()> {
    run(&HOSTS, Work::Connections, figures)
}

/// Requests on an established connection.
///
/// # Errors
/// As [`connections`].
pub fn requests(figures: &mut Figures) -> Result<()> {
    let here: Vec<_> = HOSTS.into_iter().filter(|&(_, _, elsewhere, _)| elsewhere == 0).collect();
    run(&here, Work::Requests, figures)
}

/// New connections through the chains of iptables.
///
/// # Errors
/// As [`connections`].
pub fn iptables_connections(figures: &mut Figures) -> Result<()> {
    run(&VARIANTS, Work::Connections, figures)
}

/// Requests on an established connection through the chains of iptables.
///
/// # Errors
/// As [`connections`].
pub fn iptables_requests(figures: &mut Figures) -> Result<()> {
    run(&VARIANTS, Work::Requests, figures)
}

fn run(wanted: &[Wanted], work: Work, figures: &mut Figures) -> Result<()> {
    let mut hosts = Vec::new();
    for (number, &(name, on_endpoint, policies, _)) in (1..).zip(wanted) {
        let host = Host::build(&format!("host{number}"), number, BASE.locals)?;
        hosts.push(match name {
            "floor" | "a second floor" => host.floor(true)?,
            BARE => host.floor(false)?,
            _ => enforced(host, State { on_endpoint, policies, ..BASE }, settings(name))?,
        });
    }
    let targets: Vec<Target<'_>> = hosts
        .iter()
        .zip(wanted)
        // the last policy's port: what is walked is walked to its end
        .map(|(host, &(_, policies, ..))| Target {
            host,
            port: FIRST_PORT + policies.saturating_sub(1) as u16,
        })
        .collect();
    let found = measure(&targets, work, ROUNDS)?;
    for (samples, &(name, _, _, base)) in found.iter().zip(wanted) {
        figures.push((format!("{name} us"), quantile(samples, 0.5)));
        figures.push((format!("{name} fastest us"), quantile(samples, 0.0)));
        if name != "floor" {
            let (of, whose) = (&found[base], wanted[base].0);
            // Of slices that follow each other: what changes slowly is in both.
            let ratios: Vec<f64> = samples.iter().zip(of).map(|(ours, theirs)| ours / theirs).collect();
            figures.push((format!("{name} ÷ {whose}"), quantile(&ratios, 0.5)));
            let fastest = quantile(samples, 0.0) / quantile(of, 0.0);
            figures.push((format!("{name} ÷ {whose}, fastest slices"), fastest));
        }
    }
    Ok(())
}

/// A host on which the agent has enforced a state and was then taken away: what is measured is the kernel's work.
fn enforced(host: Host, state: State, settings: &[(&str, &str)]) -> Result<Host> {
    let store = Store::start(host.store_address(), state)?;
    let mut agent = Agent::start_with(&host, &store.url(), settings)?;
    agent.ready(PATIENCE)?;
    agent.kill()?;
    Ok(host)
}
