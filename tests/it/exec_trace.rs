//! Which processes one ADD starts: the plugin, `ocicat cni`, and nothing else.

use anyhow::{Context, Result};
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::node::{Call, Container, NAME, Node, PATIENCE, PLUGINS};
use ocicat_tests::process::{Background, run, tool, wait_for};
use ocicat_tests::sandbox;
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::Command;

const STRACE: &str = "/usr/bin/strace";

/// Where a trace is written.
const TRACE: &str = "/run/trace";

/// A program under strace, which writes down what it and its children execute.
fn traced(program: &Path) -> Command {
    assert!(Path::new(STRACE).exists(), "{STRACE} is missing: install package strace");
    let mut command = Command::new(STRACE);
    command.args(["-f", "-qq", "-e", "trace=execve,execveat", "-s", "200", "-o", TRACE]).arg(program);
    command
}

/// Arguments of every successful `execve` of a call, in order.
fn executed(call: &Call) -> Result<Vec<String>> {
    let mut command = traced(&call.program);
    command.env_clear().envs(&call.env);
    run(command, &call.stdin, PATIENCE)?.expect_ok("ADD under strace")?;
    found()
}

/// What the trace has.
fn found() -> Result<Vec<String>> {
    let text = fs::read_to_string(TRACE).context("the trace")?;
    let is_execution = |line: &&str| line.contains("execve(") || line.contains("execveat(");
    let done = text.lines().filter(is_execution).filter(|line| line.ends_with("= 0"));
    Ok(done
        .map(|line| {
            let list = line.split_once('[').and_then(|(_, rest)| rest.split_once(']')).expect("arguments").0;
            list.replace(['"', ','], "")
        })
        .collect())
}

#[test]
fn an_add_with_calico_ipam_is_two_programs() {
    sandbox::within(NAME, programs(Build::Plain).unwrap(), || {
        let node = Node::start()?;
        let container = Container::start("pod1")?;
        let seen = executed(&node.call("ADD", &container))?;
        assert_eq!(seen, ["/opt/cni/bin/calico", "/opt/cni/bin/ocicat cni calico"]);
        let seen = executed(&node.call("DEL", &container))?;
        assert_eq!(seen, ["/opt/cni/bin/calico", "/opt/cni/bin/ocicat cni calico"]);
        Ok(())
    })
    .unwrap();
}

#[test]
fn delegated_ipam_is_one_program_more() {
    sandbox::within(NAME, programs(Build::Plain).unwrap(), || {
        let node = Node::start()?;
        let container = Container::start("pod1")?;
        let mut configuration = node.configuration();
        configuration["ipam"] =
            json!({"type": "host-local", "subnet": "10.70.0.0/24", "dataDir": "/run/host-local"});
        let seen = executed(&node.call("ADD", &container).configuration(&configuration))?;
        let expected = ["/opt/cni/bin/calico", "/opt/cni/bin/ocicat cni calico", "/opt/cni/bin/host-local"];
        assert_eq!(seen, expected);
        Ok(())
    })
    .unwrap();
}

/// From start to stop, over the death of an agent, workloads and policy.
#[test]
fn the_agent_executes_nothing() {
    sandbox::within(NAME, programs(Build::Plain).unwrap(), || {
        let node = Node::start()?;
        for line in ["link add eth0 type veth peer name far", "addr add 192.0.2.11/24 dev eth0", "link set eth0 up"] {
            tool("ip", &line.split(' ').collect::<Vec<_>>())?;
        }
        let mut command = traced(&Path::new(PLUGINS).join("ocicat"));
        command.args(["node", "run"]).env("ETCD_ENDPOINTS", node.server().url()).env("NODENAME", NAME);
        let mut agent = Background::start_logging(command, Path::new("/run/agent.log"))?;
        let enforces = |what: &str| {
            wait_for(what, PATIENCE, || {
                let status = node.ocicat(&["felix", "status", "-o", "json"], "").ok()?.stdout;
                let status: serde_json::Value = serde_json::from_str(&status).ok()?;
                (status["waiting"] == "" && status["enforcedRevision"] != 0).then_some(())
            })
        };
        let pid = || fs::read_to_string("/run/ocicat/node.lock").unwrap_or_default();
        enforces("the agent")?;
        let container = Container::start("pod1")?;
        node.add(&container)?;
        let first = pid();
        tool("kill", &["-KILL", &first])?;
        wait_for("the next agent", PATIENCE, || (pid() != first).then_some(()))?;
        enforces("the next agent")?;
        node.apply(
            "{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {name: p}, spec: {selector: all()}}",
        )?;
        node.del(&container)?;
        let parent = fs::read_to_string("/run/ocicat/parent.lock")?;
        tool("kill", &["-TERM", &parent])?;
        wait_for("its end", PATIENCE, || agent.ended())?;
        assert_eq!(found()?, ["/opt/cni/bin/ocicat node run"]);
        Ok(())
    })
    .unwrap();
}
