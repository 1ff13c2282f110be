//! What a node's agent bounds (`node/DESIGN.md`): callers that say nothing, more of them than it has places or descriptors for, and
//! a calculation that takes long. What is asked gets its answer, and nothing is lost.

use crate::hitless::{PEER, hasty_neighbour, is_established, learnt, wire};
use anyhow::{Context, Result, ensure};
use datastore::ConnectConfig;
use mvcc::{Op, PutRequest, Txn};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::node::{Container, NAME, Node, PATIENCE, PLUGINS};
use ocicat_tests::node_agent::{NodeAgent, enforces, log, uplink};
use ocicat_tests::process::{Background, tool, wait_for};
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

/// Objects whose calculation takes long, and longer than all of them together take to be stored.
const HEAVY: usize = 2000;

/// Many objects that have to be calculated.
fn heavy() -> String {
    let set = |n: usize| {
        let (high, low) = (n / 256, n % 256);
        format!(
            "---\n{{apiVersion: projectcalico.org/v3, kind: GlobalNetworkSet, metadata: {{name: s{n}}}, spec: {{nets: [198.{high}.{low}.0/24]}}}}\n"
        )
    };
    (0..HEAVY).map(set).collect()
}

/// What the agent knows of the datastore, and what it enforces.
fn revisions(node: &Node) -> Result<(i64, i64)> {
    let status = node.ocicat(&["felix", "status", "-o", "json"], "")?.expect_ok("felix status")?;
    let status: serde_json::Value = serde_json::from_str(&status)?;
    let revision = |name: &str| status[name].as_i64().with_context(|| format!("{name}: {status}"));
    Ok((revision("knownRevision")?, revision("enforcedRevision")?))
}

#[test]
fn an_add_of_an_endpoint_already_known_does_not_wait_for_a_calculation() {
    sandbox::within(NAME, programs(Build::Failpoints).unwrap(), || {
        uplink()?;
        let node = Node::start()?;
        // between a few values and the next
        let slow = format!("felix-calculation@{IS_SLOW}=100");
        let agent = NodeAgent::start(&node, Some(&slow))?;
        enforces(&node)?;
        let [stays, again] = ["stays", "again"].map(Container::start);
        let (stays, again) = (stays?, again?);
        node.add(&stays)?;
        let before = node.add(&again)?;
        enforces(&node)?;
        fs::write(IS_SLOW, "")?;
        node.apply(&heavy())?;
        let stored = node.server().client.revision()?;
        wait_for("the agent to have read all that", PATIENCE, || {
            revisions(&node).is_ok_and(|(known, _)| known >= stored).then_some(())
        })
        .with_context(log)?;
        // recreated under its name
        node.del(&again)?;
        let after = node.add(&again)?;
        let (_, enforced) = revisions(&node)?;
        ensure!(enforced < stored, "the calculation was over before the ADD: it shows nothing");
        ensure!(
            after != before,
            "another address: the old one is not given out again before its link is gone"
        );
        for address in &after {
            let family = if address.is_ipv4() { "-4" } else { "-6" };
            let route = tool("ip", &[family, "route", "show", &address.to_string()])?;
            ensure!(route.contains(" dev cali") && route.contains("proto 80"), "{address}: {route}");
        }
        fs::remove_file(IS_SLOW)?;
        enforces(&node)?;
        node.assert_whole("when the calculation is over")?;
        for container in [&stays, &again] {
            node.del(container)?;
        }
        ensure!(node.held()?.is_empty(), "{:?}", node.held()?);
        agent.kill()
    })
    .unwrap();
}

/// Values that may wait for felix's calculation (`felix::shell`).
const AHEAD: usize = 1 << 14;
/// Objects that one transaction stores.
const AT_ONCE: usize = 100;

/// Stores more objects than may wait, many in a transaction each; what none of them matters to.
fn flood(node: &Node) -> Result<i64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let transactions = 2 * AHEAD / AT_ONCE;
    runtime.block_on(async {
        let url = node.server().url();
        let config = ConnectConfig::from_env(&|name| (name == "ETCD_ENDPOINTS").then(|| url.clone()));
        let store = datastore::connect(&config)?;
        for first in 0..transactions {
            let put = |n: usize| {
                let name = format!("s{}", first * AT_ONCE + n);
                let key = format!("/calico/resources/v3/projectcalico.org/globalnetworksets/{name}");
                let value = format!(r#"{{"kind":"GlobalNetworkSet","metadata":{{"name":"{name}"}},"spec":{{"nets":["198.18.0.0/24"]}}}}"#);
                Op::Put(PutRequest::new(key, value))
            };
            store.txn(Txn { success: (0..AT_ONCE).map(put).collect(), ..Txn::default() }).await?;
        }
        anyhow::Ok(())
    })?;
    Ok(i64::try_from(transactions)?)
}

#[test]
fn what_waits_to_be_calculated_is_bounded() {
    sandbox::within(NAME, programs(Build::Failpoints).unwrap(), || {
        uplink()?;
        let node = Node::start()?;
        let slow = format!("felix-calculation@{IS_SLOW}=50");
        let agent = NodeAgent::start(&node, Some(&slow))?;
        enforces(&node)?;
        let before = node.server().client.revision()?;
        fs::write(IS_SLOW, "")?;
        let stored = flood(&node)?;
        let most = i64::try_from(AHEAD / AT_ONCE)?;
        wait_for("it to have read as much as may wait", PATIENCE, || {
            revisions(&node).is_ok_and(|(known, _)| known >= before + most).then_some(())
        })
        .with_context(log)?;
        // each answer is another round of its loop
        for _ in 0..20 {
            let (known, enforced) = revisions(&node)?;
            ensure!(enforced <= before, "the calculation was over: it shows nothing");
            ensure!(
                known < before + (most + stored) / 2,
                "{} of {stored} transactions are read",
                known - before
            );
        }
        fs::remove_file(IS_SLOW)?;
        enforces(&node)?;
        agent.kill()
    })
    .unwrap();
}
