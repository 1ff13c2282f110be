//! What a node's agent bounds (`node/DESIGN.md`): callers that say nothing, more of them than it has places or descriptors for, and
//! a calculation that takes long. What is asked gets its answer, and nothing is lost.

use crate::hitless::{PEER, hasty_neighbour, is_established, learnt, wire};
use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::node::{Container, NAME, Node, PATIENCE, PLUGINS};
use ocicat_tests::node_agent::{NodeAgent, enforces, log, uplink};
use ocicat_tests::process::{Background, wait_for};
use ocicat_tests::sandbox;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

const SOCKET: &str = "/run/ocicat/cni.sock";
/// Calls that are carried out at a time (`cni_host::server`).
const PLACES: usize = 64;

/// An agent that may open so many descriptors.
fn short_of_descriptors(node: &Node, most: u32) -> Result<Background> {
    let mut command = Command::new("/bin/sh");
    let script = format!("ulimit -n {most}; exec {PLUGINS}/ocicat node run --name {NAME}");
    command.args(["-c", &script]).env_remove("HOSTNAME").env_remove("NODENAME");
    command.env("ETCD_ENDPOINTS", node.server().url()).env("NO_DEFAULT_POOLS", "true");
    command.env("CALICO_NETWORKING_BACKEND", "none");
    let agent = Background::start_logging(command, Path::new("/run/agent.log"))?;
    enforces(node)?;
    Ok(agent)
}

fn agents_pid() -> Option<u32> {
    fs::read_to_string("/run/ocicat/node.lock").ok()?.trim().parse().ok()
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Callers that connect and say nothing.
fn silent(count: usize) -> Vec<UnixStream> {
    let connect = |_| {
        let stream = UnixStream::connect(SOCKET).ok()?;
        Some(stream)
    };
    // the queue takes what the agent has no place for; beyond that nobody can connect
    thread::spawn(move || (0..count).filter_map(connect).collect()).join().unwrap()
}

#[test]
fn callers_beyond_all_places_wait_and_are_answered() {
    sandbox::within(NAME, programs(Build::Plain).unwrap(), || {
        uplink()?;
        let node = Node::start()?;
        let agent = NodeAgent::start(&node, None)?;
        enforces(&node)?;
        let pid = agents_pid().context("an agent")?;
        let before = descriptors(pid);
        // as many as there are places, and some that wait in the queue
        let nobody = silent(PLACES + 32);
        wait_for("all places to be taken", PATIENCE, || (descriptors(pid) >= before + PLACES).then_some(()))?;
        ensure!(descriptors(pid) < before + PLACES + 16, "{} and {before}", descriptors(pid));
        // one that has something to say is behind them, within its time
        let container = Container::start("pod1")?;
        node.add(&container)?;
        drop(nobody);
        wait_for("their descriptors", PATIENCE, || (descriptors(pid) <= before + 16).then_some(()))
            .with_context(|| format!("{} and {before}", descriptors(pid)))?;
        node.del(&container)?;
        ensure!(agents_pid() == Some(pid), "{}", log());
        agent.kill()
    })
    .unwrap();
}

#[test]
fn an_agent_short_of_descriptors_says_so_and_recovers() {
    sandbox::within(NAME, programs(Build::Plain).unwrap(), || {
        uplink()?;
        let node = Node::start()?;
        let mut agent = short_of_descriptors(&node, 80)?;
        let pid = agents_pid().context("an agent")?;
        let stays = Container::start("stays")?;
        node.add(&stays)?;
        let nobody = silent(PLACES);
        wait_for("the end of its descriptors", PATIENCE, || {
            log().contains("no more calls over the CNI socket can be taken for now").then_some(())
        })
        .with_context(log)?;
        drop(nobody);
        let containers: Vec<Container> =
            (0..8).map(|n| Container::start(&format!("pod{n}"))).collect::<Result<_>>()?;
        for container in &containers {
            // what fails meanwhile says that another try helps, and leaves nothing
            wait_for("an ADD that works", PATIENCE, || {
                let output = node.call("ADD", container).run().ok()?;
                if !output.ok() {
                    node.del(container).ok()?;
                }
                output.ok().then_some(())
            })
            .with_context(log)?;
        }
        ensure!(agents_pid() == Some(pid), "the agent died: {}", log());
        node.assert_whole("when it has recovered")?;
        for container in containers.iter().chain([&stays]) {
            node.del(container)?;
        }
        ensure!(node.held()?.is_empty(), "{:?}", node.held()?);
        enforces(&node)?;
        killpg(Pid::from_raw(agent.pid().cast_signed()), Signal::SIGKILL)?;
        wait_for("its end", PATIENCE, || agent.ended()).map(drop)
    })
    .unwrap();
}

/// Longer than a neighbour waits for a word.
const SLOW: u64 = 4000;
/// While it is there, every calculation of felix is slow.
const IS_SLOW: &str = "/run/slow";

#[test]
fn a_calculation_that_takes_long_delays_no_keepalive_and_no_del() {
    sandbox::within(NAME, programs(Build::Failpoints).unwrap(), || {
        wire()?;
        let node = Node::start()?;
        node.apply(PEER)?;
        let slow = format!("felix-calculation@{IS_SLOW}={SLOW}");
        let agent = NodeAgent::start_with(
            &node,
            &[("OCICAT_FAILPOINT", slow.as_str()), ("CALICO_NETWORKING_BACKEND", "bird")],
        )?;
        enforces(&node)?;
        let bird = hasty_neighbour()?;
        wait_for("the session", PATIENCE, || is_established(&bird).then_some(()))?;
        let [first, second, third] = ["one", "two", "three"].map(Container::start);
        let (first, second, third) = (first?, second?, third?);
        node.add(&first)?;
        node.add(&second)?;
        wait_for("the neighbour to route", PATIENCE, || learnt().ok()?.contains("10.64.").then_some(()))?;
        let since = bird.query("show protocols node")?;
        fs::write(IS_SLOW, "")?;
        let begin = Instant::now();
        let mut calculations = 0;
        let deleted = thread::scope(|scope| -> Result<Duration> {
            let del = scope.spawn(|| -> Result<Duration> {
                // while a calculation is under way
                thread::sleep(Duration::from_millis(500));
                let begun = Instant::now();
                node.del(&first)?;
                Ok(begun.elapsed())
            });
            while begin.elapsed() < Duration::from_millis(3 * SLOW) {
                let text = format!(
                    "{{apiVersion: projectcalico.org/v3, kind: GlobalNetworkSet, metadata: {{name: s}}, spec: {{nets: [198.18.{calculations}.0/24]}}}}"
                );
                node.apply(&text)?;
                calculations += 1;
                thread::sleep(Duration::from_millis(200));
                ensure!(is_established(&bird), "the session: {}\n{}", bird.query("show protocols node")?, log());
            }
            del.join().unwrap()
        })?;
        ensure!(calculations > 10 && deleted < Duration::from_millis(SLOW), "{calculations} {deleted:?}");
        // what waits for policy waits for the calculation, and no longer
        let mut configuration = node.configuration();
        configuration["dataplane_timeout_seconds"] = serde_json::json!(30);
        node.call("ADD", &third).configuration(&configuration).run()?.expect_ok("ADD")?;
        fs::remove_file(IS_SLOW)?;
        enforces(&node)?;
        ensure!(bird.query("show protocols node")? == since, "the session was another: {since}");
        // the neighbour's namespace is no workload's
        let loose = node.loose()?.into_iter().filter(|loose| !loose.contains(" in far:"));
        ensure!(loose.clone().next().is_none(), "{:?}", loose.collect::<Vec<_>>());
        for container in [&second, &third] {
            node.del(container)?;
        }
        ensure!(node.held()?.is_empty(), "{:?}", node.held()?);
        agent.kill()
    })
    .unwrap();
}
