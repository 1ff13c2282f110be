//! ADD and DEL of the plugin, beside Debian's `ptp` with `host-local`.

use crate::frame::{Subject, in_turns, print};
use anyhow::{Context, Result, bail};
use ocicat_tests::node::{Call, Container, Node};
use ocicat_tests::node_agent::{NodeAgent, uplink};
use serde_json::{Value, json};
use std::io::Write;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

/// Plugins at once in the parallel measurement.
const WORKERS: usize = 8;

/// ADD and DEL of each worker in one round.
const PAIRS: usize = 5;

/// The reference's network configuration.
pub fn reference() -> Value {
    json!({"cniVersion": "1.0.0", "name": "reference", "type": "ptp",
        "ipam": {"type": "host-local", "subnet": "10.99.0.0/16", "dataDir": "/run/host-local"}})
}

/// Ours, with the families asked for.
fn ours(node: &Node, v4: bool, v6: bool) -> Value {
    let mut configuration = node.configuration();
    configuration["ipam"] =
        json!({"type": "calico-ipam", "assign_ipv4": v4.to_string(), "assign_ipv6": v6.to_string()});
    configuration
}

/// Executes a plugin and returns its wall time, without the poll of [`ocicat_tests::process::run`].
fn timed(call: &Call) -> Result<Duration> {
    let started = Instant::now();
    let mut child = call
        .command()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("start the plugin")?;
    child.stdin.take().context("its input")?.write_all(call.stdin.as_bytes())?;
    let output = child.wait_with_output()?;
    let took = started.elapsed();
    if !output.status.success() {
        bail!("the plugin failed: {}", String::from_utf8_lossy(&output.stdout));
    }
    Ok(took)
}

fn pair(node: &Node, container: &Container, program: &str, configuration: &Value) -> Result<Vec<Duration>> {
    let call = |verb| node.call(verb, container).program(program).configuration(configuration);
    Ok(vec![timed(&call("ADD"))?, timed(&call("DEL"))?])
}

/// A node whose block is owned and whose profile is there, as on any node that runs a workload already.
fn warm() -> Result<Node> {
    let node = Node::start()?;
    node.add(&Container::start("resident")?)?;
    Ok(node)
}

/// Who carries out what the plugin is called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worker {
    /// A process of its own, each time.
    Process,
    /// The node's agent, for the life of the returned value.
    Agent,
}

impl Worker {
    fn start(self, node: &Node) -> Result<Option<NodeAgent>> {
        if self == Worker::Process {
            return Ok(None);
        }
        uplink()?;
        NodeAgent::start(node, None).map(Some)
    }

    fn name(self) -> &'static str {
        match self {
            Worker::Process => "without an agent",
            Worker::Agent => "through the agent",
        }
    }
}

/// ADD and DEL one after another.
pub fn one_at_a_time(rounds: usize, worker: Worker) -> Result<()> {
    let node = &warm()?;
    let _agent = worker.start(node)?;
    let container = &Container::start("pod")?;
    let (four, both, ptp) = (ours(node, true, false), ours(node, true, true), reference());
    let subject = |name, program: &'static str, configuration: Value| Subject {
        name,
        sample: Box::new(move || pair(node, container, program, &configuration)),
    };
    let mut subjects = [
        subject("calico, IPv4", "calico", four),
        subject("calico, IPv4 and IPv6", "calico", both),
        subject("ptp + host-local", "ptp", ptp),
    ];
    let samples = in_turns(rounds, &mut subjects)?;
    print(
        &format!("one at a time, {}, {rounds} rounds", worker.name()),
        &["ADD", "DEL"],
        &subjects,
        &samples,
    );
    Ok(())
}

/// ADD and DEL by eight workers at once: pairs a second.
pub fn eight_at_a_time(rounds: usize, worker: Worker) -> Result<()> {
    let node = &warm()?;
    let _agent = worker.start(node)?;
    let containers: &Vec<Container> =
        &(0..WORKERS).map(|n| Container::start(&format!("pod{n}"))).collect::<Result<_>>()?;
    let together = |program: &'static str, configuration: &Value| -> Result<Duration> {
        let started = Instant::now();
        thread::scope(|scope| {
            let running: Vec<_> = containers
                .iter()
                .map(|container| {
                    scope.spawn(move || -> Result<()> {
                        for _ in 0..PAIRS {
                            pair(node, container, program, configuration)?;
                        }
                        Ok(())
                    })
                })
                .collect();
            running.into_iter().try_for_each(|worker| match worker.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })?;
        // Given as the time of one pair, so that its inverse is the rate.
        Ok(started.elapsed() / u32::try_from(WORKERS * PAIRS)?)
    };
    let subject = |name, program: &'static str, configuration: Value| Subject {
        name,
        sample: Box::new(move || Ok(vec![together(program, &configuration)?])),
    };
    let mut subjects = [
        subject("calico, IPv4", "calico", ours(node, true, false)),
        subject("ptp + host-local", "ptp", reference()),
    ];
    let samples = in_turns(rounds.max(3), &mut subjects)?;
    print(
        &format!("eight at a time, {}, time of one ADD+DEL pair", worker.name()),
        &["pair"],
        &subjects,
        &samples,
    );
    for (subject, samples) in subjects.iter().zip(&samples) {
        if let Some(samples) = samples.first() {
            let rate = |time: Duration| 1.0 / time.as_secs_f64();
            println!(
                "{:<28} {:.0} pairs/s at best, {:.0} median",
                subject.name,
                rate(samples.minimum()),
                rate(samples.median())
            );
        }
    }
    Ok(())
}

/// Requests to etcd that one ADD and one DEL make, by method, from the server's own count.
pub fn requests() -> Result<()> {
    let node = warm()?;
    let container = Container::start("pod")?;
    println!("\nrequests to etcd, by the server's count");
    for (name, configuration) in
        [("calico, IPv4", ours(&node, true, false)), ("calico, IPv4 and IPv6", ours(&node, true, true))]
    {
        for verb in ["ADD", "DEL"] {
            let store = &node.server().client;
            let before = store.handled()?;
            timed(&node.call(verb, &container).configuration(&configuration))?;
            let mut counts = store.handled()?;
            for (method, count) in &before {
                *counts.entry(method.clone()).or_default() -= count;
            }
            counts.retain(|_, count| *count > 0);
            println!("{name:<28} {verb}: {} {counts:?}", counts.values().sum::<u64>());
        }
    }
    Ok(())
}
