//! Which processes one ADD starts: the plugin, `ocicat cni`, and nothing else.

use anyhow::{Context, Result};
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::node::{Call, Container, NAME, Node, PATIENCE};
use ocicat_tests::process::run;
use ocicat_tests::sandbox;
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::Command;

const STRACE: &str = "/usr/bin/strace";

/// Arguments of every successful `execve`, in order.
fn executed(call: &Call) -> Result<Vec<String>> {
    assert!(Path::new(STRACE).exists(), "{STRACE} is missing: install package strace");
    let log = "/run/trace";
    let mut command = Command::new(STRACE);
    command.args(["-f", "-qq", "-e", "trace=execve", "-s", "200", "-o", log]).arg(&call.program);
    command.env_clear().envs(&call.env);
    run(command, &call.stdin, PATIENCE)?.expect_ok("ADD under strace")?;
    let text = fs::read_to_string(log).context("the trace")?;
    let done = text.lines().filter(|line| line.contains("execve(") && line.ends_with("= 0"));
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
