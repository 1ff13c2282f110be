//! ADD and DEL of the plugin, beside Debian's `ptp` with `host-local`.

use crate::frame::{Subject, in_turns, print};
use anyhow::{Context, Result, bail};
use ocicat_tests::node::{Call, Container, NAME, Node, Pool, documents};
use ocicat_tests::node_agent::{NodeAgent, uplink};
use serde_json::{Value, json};
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// The reference's network configuration.
pub fn reference() -> Value {
    json!({"cniVersion": "1.0.0", "name": "reference", "type": "ptp",
        "ipam": {"type": "host-local", "subnet": "10.99.0.0/16", "dataDir": "/run/host-local"}})
}

/// Ours, with the families asked for.
pub fn ours(node: &Node, v4: bool, v6: bool) -> Value {
    let mut configuration = node.configuration();
    configuration["ipam"] =
        json!({"type": "calico-ipam", "assign_ipv4": v4.to_string(), "assign_ipv6": v6.to_string()});
    configuration
}

/// Executes a plugin and returns its wall time, without the poll of [`ocicat_tests::process::run`].
pub fn timed(call: &Call) -> Result<Duration> {
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

pub fn pair(
    node: &Node,
    container: &Container,
    program: &str,
    configuration: &Value,
) -> Result<Vec<Duration>> {
    let call = |verb| node.call(verb, container).program(program).configuration(configuration);
    Ok(vec![timed(&call("ADD"))?, timed(&call("DEL"))?])
}

/// Pools with blocks as large as they are unless somebody says otherwise.
const POOLS: [Pool<'_>; 2] = [("four", "10.64.0.0/16", 26), ("six", "fd5f:64::/112", 122)];

/// A node whose block is owned and whose profile is there, as on any node that runs a workload already.
pub fn warm() -> Result<Node> {
    let node = Node::without_resources()?;
    node.apply(&documents(&[NAME], &POOLS))?;
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
    pub fn start(self, node: &Node) -> Result<Option<NodeAgent>> {
        if self == Worker::Process {
            return Ok(None);
        }
        uplink()?;
        NodeAgent::start(node, None).map(Some)
    }

    pub fn name(self) -> &'static str {
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
