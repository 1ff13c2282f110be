//! Benchmarks: `bench [cni] [parallel] [requests] [ipam] [--rounds N]` (all of them where none is named) and `bench bgp …`
//! ([`bgp`]), `bench felix …` ([`felix`]), `bench node …` ([`node`]) and `bench store …` ([`store`]), as root.
//!
//! Figures of different runs do not compare: the machine changes its speed. So every figure stands beside another of the
//! same run, taken in turns ([`frame`]), and minima come before medians.

// JSON is looked up by name, which cannot panic.
#![allow(clippy::indexing_slicing)]

mod bgp;
mod cni;
mod crowd;
mod felix;
mod frame;
mod ipam;
mod node;
mod parallel;
mod report;
mod store;
mod usage;
mod wanted;

use anyhow::{Context, Result, bail};
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::node::NAME;
use ocicat_tests::sandbox;

fn main() -> Result<()> {
    let mut rounds = 60;
    let mut chosen = Vec::new();
    let mut arguments = std::env::args().skip(1).peekable();
    let mut bgp = None;
    let mut felix = None;
    let mut node = None;
    let mut store = None;
    match arguments.peek().map(String::as_str) {
        // Started by ourselves, in the router's namespace.
        Some("bgp-null") => return bgp::null::serve(),
        Some("bgp") => bgp = Some(bgp::Wanted::parse(arguments.by_ref().skip(1))?),
        Some("store") => store = Some(store::wanted(arguments.by_ref().skip(1))?),
        Some("node") => node = Some(node::wanted(arguments.by_ref().skip(1))?),
        Some("felix") => felix = Some(felix::wanted(arguments.by_ref().skip(1))?),
        _ => {}
    }
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rounds" => rounds = arguments.next().context("--rounds N")?.parse().context("--rounds N")?,
            "cni" | "parallel" | "requests" | "ipam" => chosen.push(argument),
            other => {
                bail!(
                    "{other}: not one of bgp, felix, node, store, cni, parallel, requests, ipam, --rounds N"
                )
            }
        }
    }
    let wanted = |name: &str| chosen.is_empty() || chosen.iter().any(|one| one == name);
    if std::env::var_os("OCICAT_BIN_DIR").is_none() {
        println!("OCICAT_BIN_DIR is not set: these are figures of a debug build");
    }
    let programs = programs(Build::Plain)?;
    if let Some(wanted) = bgp {
        return sandbox::within(NAME, programs, || bgp::bench(&wanted));
    }
    if let Some(wanted) = felix {
        return sandbox::within(NAME, programs, || {
            felix::bench(&wanted);
            Ok(())
        });
    }
    if let Some(wanted) = node {
        return sandbox::within(NAME, programs, || {
            node::bench(&wanted);
            Ok(())
        });
    }
    if let Some(wanted) = store {
        return store::bench(&wanted);
    }
    if wanted("cni") {
        for worker in [cni::Worker::Process, cni::Worker::Agent] {
            sandbox::within(NAME, programs, || cni::one_at_a_time(rounds, worker))?;
            sandbox::within(NAME, programs, || parallel::eight_at_a_time(rounds.div_ceil(10), worker))?;
        }
        sandbox::within(NAME, programs, || crowd::at_once(rounds.div_ceil(10).max(3)))?;
        sandbox::within(NAME, programs, || crowd::first_byte(rounds))?;
    }
    // Of `cni` the part that is profiled most.
    if chosen.iter().any(|one| one == "parallel") {
        sandbox::within(NAME, programs, || parallel::eight_at_a_time(rounds, cni::Worker::Agent))?;
    }
    if wanted("requests") {
        sandbox::within(NAME, programs, cni::requests)?;
    }
    if wanted("ipam") {
        sandbox::within(NAME, programs, ipam::many_clients)?;
    }
    Ok(())
}
