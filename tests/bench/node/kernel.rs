//! What the kernel's part of an ADD takes, beside the least that gives a pod the same network ([`super::floor`]).
//!
//! Ours is what the agent counts of itself: all the time it was in the kernel by netlink, for namespaces and for parameters, from
//! before the plugin is started until it has answered. Besides the changes that is the way into the namespace, all that is looked
//! up, and all events that are read; of two parts that wait for each other's locks both count. The floor is the changes alone.
//! Both are taken in turns, each after the links of the last one are gone.

use super::floor::{Floor, Network};
use super::ruleset::Ruleset;
use crate::cni::{ours, timed, warm};
use crate::report::{Figures, quantile};
use anyhow::{Context, Result, ensure};
use kernel::{Netns, Nftables};
use ocicat_tests::node::Container;
use ocicat_tests::node_agent::{NodeAgent, enforces, uplink};
use ocicat_tests::process::{tool, wait_for};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const ROUNDS: usize = 40;

/// Where the agent's metrics are.
const METRICS: &str = "127.0.0.1:9091";

/// The host's end, of a container that is named `pod`.
const NEAR: &str = "calipod";

/// What the last one leaves behind is gone by then.
const PATIENCE: Duration = Duration::from_secs(20);

/// The row.
///
/// # Errors
/// The agent does not come up, an ADD fails, or the floor makes something else.
pub fn run(figures: &mut Figures) -> Result<()> {
    let node = &warm()?;
    uplink()?;
    let settings = [("FELIX_PROMETHEUSMETRICSENABLED", "true"), ("FELIX_PROMETHEUSMETRICSHOST", "127.0.0.1")];
    let _agent = NodeAgent::start_with(node, &settings)?;
    enforces(node)?;
    let container = &Container::start("pod")?;
    let configuration = ours(node, true, false);
    let call = |verb| node.call(verb, container).configuration(&configuration);
    let mut nft = Nftables::open(&Netns::current()?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // what the first one of a network makes for all
    timed(&call("ADD"))?;
    timed(&call("DEL"))?;
    nothing_of_it()?;
    enforces(node)?;
    let before = Ruleset::read(&mut nft)?;
    timed(&call("ADD"))?;
    let network = Network::read(&runtime, (None, NEAR), (Some(&container.netns), "eth0"))?;
    let mut floor = Floor::prepare(network, NEAR, &before, &Ruleset::read(&mut nft)?)?;
    timed(&call("DEL"))?;
    let (mut adds, mut floors) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        nothing_of_it()?;
        wait_for("policy without it", PATIENCE, || {
            Ruleset::read(&mut nft).is_ok_and(|now| now == before).then_some(())
        })?;
        let least = floor.once()?.as_secs_f64();
        let begun = Spent::now()?;
        timed(&call("ADD"))?;
        let spent = Spent::now()?.since(&begun);
        timed(&call("DEL"))?;
        if round > 0 {
            adds.push(spent);
            floors.push(least);
        }
    }
    // nor is anything owed to a datastore that ends with this row
    nothing_of_it()?;
    let totals: Vec<f64> = adds.iter().map(Spent::seconds).collect();
    for (name, part) in [("least", 0.0), ("median", 0.5)] {
        let (add, least) = (quantile(&totals, part), quantile(&floors, part));
        figures.push((format!("ADD {name} ms"), add * 1000.0));
        figures.push((format!("floor {name} ms"), least * 1000.0));
        figures.push((format!("{name} ADD ÷ floor"), add / least));
    }
    let kinds: BTreeSet<&String> = adds.iter().flat_map(|add| add.0.keys()).collect();
    for kind in kinds {
        let median = |of: fn(&(f64, f64)) -> f64| {
            let all: Vec<f64> = adds.iter().map(|add| add.0.get(kind).map_or(0.0, of)).collect();
            quantile(&all, 0.5)
        };
        figures.push((format!("{kind}: calls"), median(|(calls, _)| *calls)));
        figures.push((format!("{kind}: median ms"), median(|(_, seconds)| *seconds) * 1000.0));
    }
    Ok(())
}

/// Waits until no link of a pod is left, nor one that is to be deleted.
fn nothing_of_it() -> Result<()> {
    wait_for("the links' deletion", PATIENCE, || {
        let links = tool("ip", &["-o", "link"]).ok()?;
        (!links.contains(NEAR) && !links.contains("ocidel-")).then_some(())
    })
}

/// How much the agent has been in the kernel so far, by kind of call: calls and seconds.
#[derive(Debug, Clone, Default)]
struct Spent(BTreeMap<String, (f64, f64)>);

impl Spent {
    fn now() -> Result<Self> {
        let mut stream = TcpStream::connect(METRICS).context("the agent's metrics")?;
        write!(stream, "GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let mut all = Self::default();
        for line in text.lines() {
            let Some((metric, rest)) = line.split_once("{kind=\"") else { continue };
            let Some((kind, value)) = rest.split_once("\"} ") else { continue };
            let (calls, seconds) = all.0.entry(kind.to_owned()).or_default();
            match metric {
                "ocicat_kernel_calls" => *calls = value.parse()?,
                "ocicat_kernel_nanoseconds" => *seconds = value.parse::<f64>()? / 1e9,
                _ => {}
            }
        }
        ensure!(!all.0.is_empty(), "the agent does not tell its calls");
        Ok(all)
    }

    fn since(mut self, before: &Self) -> Self {
        for (kind, (calls, seconds)) in &mut self.0 {
            let (calls_before, seconds_before) = before.0.get(kind).copied().unwrap_or_default();
            *calls -= calls_before;
            *seconds -= seconds_before;
        }
        self
    }

    fn seconds(&self) -> f64 {
        self.0.values().map(|(_, seconds)| seconds).sum()
    }
}
