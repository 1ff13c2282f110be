//! Which processes one ADD starts: the plugin, `ocicat cni`, and nothing else.

use crate::lab::Lab;
use anyhow::{Context, Result};
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::node::{Call, Container, NAME, Node, PATIENCE, PLUGINS};
use ocicat_tests::process::{Background, run, tool, wait_for};
use ocicat_tests::sandbox;
use serde_json::json;
use std::collections::BTreeMap;
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

/// Every agent of a lab, from its start to its end: over a whole `lab up` with its workloads, its packets and its policy step, and
/// `lab down`.
#[test]
fn agents_of_a_lab_execute_nothing() {
    let lab = Lab::new();
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    assert!(Path::new(STRACE).exists(), "{STRACE} is missing: install package strace");
    let up = lab.command(&["up", "--nodes", "3"]);
    let mut command = Command::new(STRACE);
    command.args(["-f", "--seccomp-bpf", "-qq", "-s", "200", "-o"]).arg(&trace);
    command.args(["-e", "trace=execve,execveat,clone,clone3,fork,vfork"]);
    command.arg(up.get_program()).args(up.get_args());
    command.envs(up.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut strace = Background::start_logging(command, &folder.path().join("log")).unwrap();
    let log = || fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    wait_for("the lab", PATIENCE * 3, || {
        assert!(strace.ended().is_none(), "{}", log());
        log().contains("What to try next:").then_some(())
    })
    .unwrap();
    let said = log();
    assert!(said.contains("The same packets afterwards:"), "the policy step: {said}");
    lab.good(&["down"]);
    wait_for("the end of all that is traced", PATIENCE, || strace.ended()).unwrap();
    let trace = Trace::of(&fs::read_to_string(&trace).unwrap());
    let agents: Vec<&str> =
        trace.executed.iter().filter(|(_, what)| is_agent(what)).map(|(pid, _)| &**pid).collect();
    assert_eq!(agents.len(), 3, "{:#?}", trace.executed);
    for agent in agents {
        let by_it: Vec<&String> = trace
            .executed
            .iter()
            .filter(|(pid, _)| trace.descends(pid, agent))
            .map(|(_, what)| what)
            .collect();
        assert!(by_it.len() == 1, "its own start only: {by_it:#?}");
    }
}

fn is_agent(line: &str) -> bool {
    line.contains(r#""node", "run""#)
}

/// Who made whom, and who executed what.
#[derive(Debug, Default)]
struct Trace {
    parents: BTreeMap<String, String>,
    executed: Vec<(String, String)>,
}

impl Trace {
    /// Reads what strace wrote: a call may be cut in two by those of others.
    fn of(text: &str) -> Self {
        let mut trace = Self::default();
        for line in text.lines() {
            let Some((pid, rest)) = line.split_once(' ') else { continue };
            let rest = rest.trim_start();
            let result = rest.rsplit_once("= ").map(|(_, result)| result.trim());
            let (made, executes) = (
                ["clone", "fork", "vfork", "<... clone", "<... fork", "<... vfork"]
                    .iter()
                    .any(|word| rest.starts_with(word)),
                rest.starts_with("execve"),
            );
            if made && let Some(child) = result.filter(|result| result.parse::<u32>().is_ok()) {
                trace.parents.insert(child.to_owned(), pid.to_owned());
            }
            // whether it worked or not: nobody may try either
            if executes {
                trace.executed.push((pid.to_owned(), rest.to_owned()));
            }
        }
        trace
    }

    /// Whether a process or thread is `ancestor` or came of it.
    fn descends(&self, pid: &str, ancestor: &str) -> bool {
        let mut at = Some(pid);
        while let Some(pid) = at {
            if pid == ancestor {
                return true;
            }
            at = self.parents.get(pid).map(String::as_str);
        }
        false
    }
}

#[test]
fn a_trace_is_read_as_strace_writes_it() {
    let trace = Trace::of(
        "10 execve(\"/x/ocicat\", [\"ocicat\", \"node\", \"run\"], 0x1 /* 3 vars */) = 0\n\
         10 clone3({flags=CLONE_VM} <unfinished ...>\n\
         12 execve(\"/y\", [\"y\"], 0x1 /* 3 vars */) = -1 ENOENT (No such file)\n\
         10 <... clone3 resumed> => {parent_tid=[11]}, 88) = 11\n\
         11 clone(child_stack=NULL, flags=SIGCHLD) = 12\n\
         9 vfork() = 13\n",
    );
    assert_eq!(trace.executed.len(), 2);
    assert!(trace.descends("12", "10") && trace.descends("10", "10") && !trace.descends("13", "10"));
    assert!(is_agent(&trace.executed[0].1) && !is_agent(&trace.executed[1].1));
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
