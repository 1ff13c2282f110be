//! What the plugin does on a node whose agent does not answer: it says so within its bound. It does the work by itself only where there
//! never was an agent, or its configuration says so, and then only before anybody was asked.

use anyhow::{Context, Result, ensure};
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::node::{Container, NAME, Node};
use ocicat_tests::process::Output;
use ocicat_tests::sandbox;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::net::UnixListener;
use std::time::Duration;

/// Where an agent says that it is in charge.
const MARKER: &str = "/var/lib/ocicat/agent";

/// Where it listens.
const SOCKET: &str = "/run/ocicat/cni.sock";

/// Seconds that an agent may take; and how long a call may last on a busy machine.
const BOUND: u64 = 2;
const PATIENCE: Duration = Duration::from_secs(BOUND + 20);

fn within(work: impl FnOnce(&Node, &Container) -> Result<()> + Send) {
    let started = || work(&Node::start()?, &Container::start("pod1")?);
    sandbox::within(NAME, programs(Build::Plain).unwrap(), started).unwrap();
}

fn call(node: &Node, container: &Container, verb: &str, fallback: Option<bool>) -> Result<Output> {
    let mut configuration = node.configuration();
    configuration["cniVersion"] = json!("1.1.0");
    configuration["agent_timeout_seconds"] = json!(BOUND);
    if let Some(fallback) = fallback {
        configuration["agent_fallback"] = json!(fallback);
    }
    let output = node.call(verb, container).configuration(&configuration).run()?;
    ensure!(output.took < PATIENCE, "{verb}: {:?}", output.took);
    Ok(output)
}

/// It is refused with this code, and nobody did anything.
fn refused(node: &Node, output: &Output, code: u64) -> Result<()> {
    let said: Value = serde_json::from_str(&output.stdout).with_context(|| format!("{output:?}"))?;
    ensure!(said["code"] == code, "{said}");
    ensure!(node.held()?.is_empty(), "{:?}", node.held()?);
    Ok(())
}

#[test]
fn where_there_never_was_an_agent_the_plugin_works_by_itself() {
    within(|node, container| {
        for verb in ["ADD", "CHECK", "DEL"] {
            call(node, container, verb, Some(false))?.expect_ok(verb)?;
        }
        node.assert_whole("after DEL")
    });
}

#[test]
fn a_dead_agent_is_asked_again_later_unless_the_configuration_does_without() {
    within(|node, container| {
        fs::create_dir_all("/var/lib/ocicat")?;
        fs::write(MARKER, "")?;
        for fallback in [None, Some(false)] {
            for verb in ["ADD", "DEL", "CHECK", "GC"] {
                refused(node, &call(node, container, verb, fallback)?, 11)?;
            }
        }
        refused(node, &call(node, container, "STATUS", Some(true))?, 51)?;
        call(node, container, "ADD", Some(true))?.expect_ok("ADD")?;
        ensure!(!node.held()?.is_empty(), "nothing was attached");
        call(node, container, "DEL", Some(true))?.expect_ok("DEL")?;
        node.assert_whole("after DEL")
    });
}

#[test]
fn a_hung_agent_is_asked_again_later_whatever_the_configuration_says() {
    within(|node, container| {
        fs::create_dir_all("/run/ocicat")?;
        // it takes the call, and never answers: it may be carried out
        let _hangs = UnixListener::bind(SOCKET)?;
        for fallback in [false, true] {
            for verb in ["ADD", "DEL"] {
                refused(node, &call(node, container, verb, Some(fallback))?, 11)?;
            }
        }
        Ok(())
    });
}
