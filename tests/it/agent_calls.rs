//! Calls that the node's agent carries out: what is left when it dies at any step, when the datastore is away, and what STATUS,
//! GC and CHECK say to a runtime that executes the plugin.

use crate::leaks::failpoints_of;
use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::node::{Call, Container, NAME, Node, PATIENCE};
use ocicat_tests::node_agent::{NodeAgent, died_at, log, uplink};
use ocicat_tests::process::{Output, tool, wait_for};
use ocicat_tests::sandbox;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::time::Duration;

fn within(build: Build, work: impl FnOnce(&mut Node) -> Result<()> + Send) {
    let started = || -> Result<()> {
        uplink()?;
        let mut node = Node::start()?;
        work(&mut node).with_context(log)
    };
    sandbox::within(NAME, programs(build).unwrap(), started).unwrap();
}

/// The usual configuration in the newest version, with a bound that a test can wait for.
fn configuration(node: &Node) -> Value {
    let mut configuration = node.configuration();
    configuration["cniVersion"] = json!("1.1.0");
    configuration["agent_timeout_seconds"] = json!(40);
    configuration
}

fn call(node: &Node, verb: &str, container: &Container) -> Call {
    node.call(verb, container).configuration(&configuration(node))
}

/// The error of a call that must fail.
fn error(output: &Output) -> (u64, String) {
    let said: Value = serde_json::from_str(&output.stdout).unwrap_or_default();
    assert!(!output.ok(), "{output:?}");
    (said["code"].as_u64().unwrap_or_default(), output.stdout.clone())
}

/// Waits until nothing is without an owner.
fn whole(node: &Node, when: &str) -> Result<()> {
    let found = wait_for(when, PATIENCE, || node.loose().ok()?.is_empty().then_some(()));
    found.with_context(|| format!("{:?}", node.loose()))
}

/// Nobody holds anything, and what has no owner goes.
fn nothing_held(node: &Node, when: &str) -> Result<()> {
    whole(node, when)?;
    ensure!(node.held()?.is_empty(), "{when}: {:?}", node.held()?);
    Ok(())
}

#[test]
fn an_agent_may_die_at_every_step() {
    let mut reached = BTreeSet::new();
    // those of one way through `ipam` stand for the others, which `leaks` has
    let ipam = ["ipam-claim-before", "ipam-claim-after"];
    let mut all: Vec<String> = failpoints_of(&["agent-", "cni-add-", "ipam-shared-"]);
    all.extend(ipam.map(str::to_owned));
    // with the datastore away: below
    all.retain(|point| point != OWED);
    assert!(all.len() >= 18, "the step tables name only {all:?}");
    within(Build::Failpoints, |node| {
        for point in &all {
            for verb in ["ADD", "DEL"] {
                if dies(node, point, verb).with_context(|| format!("{point} in {verb}"))? {
                    reached.insert(point.clone());
                }
            }
        }
        Ok(())
    });
    let missed: Vec<&String> = all.iter().filter(|point| !reached.contains(*point)).collect();
    assert!(missed.is_empty(), "no execution came by {missed:?}");
}

/// Whether the agent died there; the next one leaves nothing without an owner before anybody asks it, and answers what is asked
/// again.
fn dies(node: &Node, point: &str, verb: &str) -> Result<bool> {
    let in_both = point.starts_with("ipam-shared-");
    let in_add = verb == "ADD";
    if !in_both && in_add != ["add", "claim"].iter().any(|of| point.contains(of)) {
        return Ok(false);
    }
    // what is written for several at once takes blocks that are there
    if !point.contains("shared") {
        forget_blocks(node)?;
    }
    let container = Container::start("pod1")?;
    if in_both && !in_add {
        let before = NodeAgent::start(node, None)?;
        call(node, "ADD", &container).run()?.expect_ok("ADD")?;
        before.kill()?;
    }
    let agent = NodeAgent::start(node, Some(point))?;
    if !in_both && !in_add {
        call(node, "ADD", &container).run()?.expect_ok("ADD")?;
    }
    let mut calling = call(node, verb, &container);
    if point.starts_with("cni-add-") {
        // a given address is no matter of own blocks: the way that asks
        calling = calling.env("CNI_ARGS", "IP=10.64.0.9");
    }
    let died = calling.run()?;
    // the link's deletion comes after the answer
    let reached = if died.ok() { point == "agent-del-link" } else { true };
    if !reached {
        agent.kill()?;
        return Ok(false);
    }
    died_at(point)?;
    agent.kill()?;
    if !died.ok() {
        assert_eq!(error(&died).0, 11, "{died:?}");
    }
    let agent = NodeAgent::start(node, None)?;
    if point != "agent-add-attached" {
        // by the agent itself; until it begins all of it is there
        node.wait_for_nothing("after the restart")?;
    } else {
        whole(node, "after the restart")?;
    }
    if in_add {
        call(node, "ADD", &container).run()?.expect_ok("the ADD again")?;
        whole(node, "after the ADD again")?;
    }
    call(node, "DEL", &container).run()?.expect_ok("the DEL again")?;
    nothing_held(node, "after the DEL again")?;
    agent.kill()?;
    sandbox::del_netns(&container.netns)?;
    Ok(true)
}

/// The step that only a datastore that is away leads to.
const OWED: &str = "agent-owed";

#[test]
fn an_agent_may_die_as_soon_as_it_has_noted_what_it_owes() {
    assert!(failpoints_of(&["agent-"]).iter().any(|point| point == OWED));
    within(Build::Failpoints, |node| {
        let container = Container::start("pod1")?;
        let agent = NodeAgent::start(node, Some(OWED))?;
        call(node, "ADD", &container).run()?.expect_ok("ADD")?;
        node.server().process().signal(Signal::SIGKILL)?;
        let (code, said) = error(&call(node, "DEL", &container).run()?);
        ensure!(code == 11, "{said}");
        died_at(OWED)?;
        agent.kill()?;
        node.restart_store()?;
        let agent = NodeAgent::start(node, None)?;
        // by the agent itself; until it begins all of it is there
        node.wait_for_nothing("after the restart")?;
        call(node, "DEL", &container).run()?.expect_ok("the DEL again")?;
        agent.kill()
    });
}

/// Lets the next ADD claim a block again.
fn forget_blocks(node: &Node) -> Result<()> {
    let client = &node.server().client;
    for key in client.snapshot()?.into_keys().filter(|key| key.contains("/ipam/v2/")) {
        client.delete(&key)?;
    }
    Ok(())
}

#[test]
fn what_the_datastore_is_owed_survives_a_kill_and_comes_before_any_other_write() {
    within(Build::Plain, |node| {
        let agent = NodeAgent::start(node, None)?;
        let [first, second, third] = ["pod1", "pod2", "pod3"].map(Container::start);
        let (first, second, third) = (first?, second?, third?);
        for container in [&first, &second] {
            call(node, "ADD", container).run()?.expect_ok("ADD")?;
        }
        node.server().process().signal(Signal::SIGKILL)?;
        call(node, "DEL", &first).run()?.expect_ok("DEL without a datastore")?;
        ensure!(!tool("ip", &["-br", "link"])?.contains("calipod1"), "the host's end is gone");
        agent.kill()?;
        let agent = NodeAgent::start(node, None)?;
        call(node, "DEL", &second).run()?.expect_ok("DEL by the next agent")?;
        let (code, said) = error(&call(node, "ADD", &third).run()?);
        ensure!(code == 11 && said.contains("try again later"), "{said}");
        let (code, said) = error(&call(node, "STATUS", &third).run()?);
        ensure!(code == 50, "{said}");
        agent.kill()?;
        node.restart_store()?;
        ensure!(node.held()?.len() == 4, "both are owed: {:?}", node.held()?);
        let before = node.server().client.revision()?;
        let agent = NodeAgent::start(node, None)?;
        let added = wait_for("the ADD", PATIENCE, || {
            let output = call(node, "ADD", &third).run().ok()?;
            output.ok().then_some(output)
        })?;
        let held = node.held()?;
        ensure!(
            held.len() == 2 && held.iter().all(|key| key.contains("pod3")),
            "{held:?} {before} {added:?}"
        );
        call(node, "DEL", &third).run()?.expect_ok("DEL")?;
        nothing_held(node, "in the end")?;
        agent.kill()
    });
}

#[test]
fn a_power_cut_leaves_records_of_links_that_are_no_more() {
    within(Build::Plain, |node| {
        let agent = NodeAgent::start(node, None)?;
        let container = Container::start("pod1")?;
        call(node, "ADD", &container).run()?.expect_ok("ADD")?;
        agent.kill()?;
        sandbox::del_netns(&container.netns)?;
        let agent = NodeAgent::start(node, None)?;
        call(node, "DEL", &container).run()?.expect_ok("DEL")?;
        nothing_held(node, "after DEL")?;
        agent.kill()
    });
}

#[test]
fn status_gc_and_check_as_a_runtime_has_them() {
    within(Build::Plain, |node| {
        let agent = NodeAgent::start(node, None)?;
        let containers: Vec<Container> =
            ["pod1", "pod2", "pod3"].into_iter().map(Container::start).collect::<Result<_>>()?;
        let nobody = Container { id: String::new(), netns: String::new() };
        call(node, "STATUS", &nobody).run()?.expect_ok("STATUS")?;
        for container in &containers {
            call(node, "ADD", container).run()?.expect_ok("ADD")?;
            let said = call(node, "CHECK", container).run()?.expect_ok("CHECK")?;
            assert_eq!(said, "OK\n");
        }
        let gc = |valid: &[&str]| {
            let mut configuration = configuration(node);
            let valid: Vec<Value> =
                valid.iter().map(|id| json!({"containerID": id, "ifname": "eth0"})).collect();
            configuration["cni.dev/valid-attachments"] = json!(valid);
            let call = node.call("GC", &nobody).configuration(&configuration);
            call.run()
        };
        // leaked: its namespace is gone, and nobody has called DEL
        sandbox::del_netns("pod1")?;
        wait_for("the end of its link", PATIENCE, || {
            (!tool("ip", &["-br", "link"]).ok()?.contains("calipod1")).then_some(())
        })?;
        gc(&["pod2", "pod3"])?.expect_ok("GC")?;
        let held = node.held()?;
        ensure!(held.len() == 4 && !held.iter().any(|key| key.contains("pod1")), "{held:?}");
        let (code, said) = error(&gc(&["pod2"])?);
        ensure!(code == 999 && said.contains("its namespace still holds its link"), "{said}");
        ensure!(node.held()?.len() == 4, "{:?}", node.held()?);
        tool("ip", &["-n", "pod3", "addr", "flush", "dev", "eth0"])?;
        let (code, said) = error(&call(node, "CHECK", &containers[2]).run()?);
        ensure!(code == 999 && said.contains("does not have"), "{said}");
        for container in &containers {
            call(node, "DEL", container).run()?.expect_ok("DEL")?;
        }
        nothing_held(node, "after the DELs")?;
        agent.kill()?;
        let (code, said) = error(&call(node, "STATUS", &nobody).run()?);
        ensure!(code == 51 && said.contains("limited connectivity"), "{said}");
        Ok(())
    });
}

/// A container is cut off when DEL returns, whatever the kernel still has to take apart.
#[test]
fn nothing_leaves_a_container_after_del() {
    within(Build::Plain, |node| {
        let agent = NodeAgent::start(node, None)?;
        let container = Container::start("pod1")?;
        call(node, "ADD", &container).run()?.expect_ok("ADD")?;
        let host = UdpSocket::bind("192.0.2.11:0")?;
        host.set_read_timeout(Some(Duration::from_millis(200)))?;
        let address = host.local_addr()?;
        let inside = sandbox::in_netns("pod1", || UdpSocket::bind("0.0.0.0:0"))??;
        let mut heard = [0; 16];
        wait_for("a packet from inside", PATIENCE, || {
            inside.send_to(b"before", address).ok()?;
            host.recv(&mut heard).ok()
        })?;
        call(node, "DEL", &container).run()?.expect_ok("DEL")?;
        while host.recv(&mut heard).is_ok() {}
        for _ in 0..5 {
            let _ = inside.send_to(b"after", address);
        }
        ensure!(host.recv(&mut heard).is_err(), "a packet came after DEL");
        let links = tool("ip", &["-n", "pod1", "-br", "link"])?;
        ensure!(!links.contains("eth0"), "{links}");
        // the same again, at once, in the same namespace
        for _ in 0..5 {
            call(node, "ADD", &container).run()?.expect_ok("ADD")?;
            call(node, "DEL", &container).run()?.expect_ok("DEL")?;
        }
        nothing_held(node, "after the last DEL")?;
        agent.kill()
    });
}
