//! Parts of a node's agent that do not hurt each other: each of them panics while everything works. That is told, the part
//! alone is started again, the kernel keeps what it has, and the others their sessions and their work.

use crate::hitless::{FAR, LOG, PEER, is_established, wire};
use crate::monitor::Monitor;
use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::node::{Container, NAME, Node, PATIENCE, PLUGINS};
use ocicat_tests::node_agent::{NodeAgent, enforces, log, uplink};
use ocicat_tests::process::{Background, run, tool, wait_for};
use ocicat_tests::router::{Kind, Router};
use ocicat_tests::sandbox;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// While it is there, the part panics.
const ARMED: &str = "/run/armed";
const BIRD: &str = "
router id 192.0.2.2;
protocol device {}
protocol static { ipv4; route 198.18.1.0/24 blackhole; }
protocol bgp node {
    local 192.0.2.2 as 65002;
    neighbor 192.0.2.11 as 64512;
    graceful restart on;
    ipv4 { import all; export where source = RTS_STATIC; };
}
";

fn agent(node: &Node, point: &str) -> Result<NodeAgent> {
    let armed = format!("{point}@{ARMED}=panic");
    let variables = [("OCICAT_FAILPOINT", armed.as_str()), ("CALICO_NETWORKING_BACKEND", "bird")];
    NodeAgent::start_with(node, &variables)
}

fn pid() -> Result<u32> {
    Ok(fs::read_to_string("/run/ocicat/node.lock")?.trim().parse()?)
}

/// `ocicat` of this node.
fn ocicat(arguments: &[&str], stdin: &str) -> Result<String> {
    let mut command = Command::new(Path::new(PLUGINS).join("ocicat"));
    command.args(arguments).env("ETCD_ENDPOINTS", "http://127.0.0.1:2379");
    run(command, stdin, PATIENCE)?.expect_ok("ocicat")
}

/// What the agent tells of each part that is kept running: whether it is well, and why not.
fn parts() -> Result<BTreeMap<String, (bool, String)>> {
    let mut command = Command::new(Path::new(PLUGINS).join("ocicat"));
    command.args(["status", "--json"]);
    let status: Value = serde_json::from_str(&run(command, "", PATIENCE)?.stdout)?;
    let parts = status["parts"].as_array().context("parts")?;
    let kept = parts.iter().filter_map(|part| {
        let name = part["name"].as_str()?.strip_prefix("part ")?;
        Some((name.to_owned(), (part["ready"].as_bool()?, part["reason"].as_str()?.to_owned())))
    });
    Ok(kept.collect())
}

fn all_are_well() -> Result<()> {
    wait_for("all parts to be well", PATIENCE, || {
        parts().is_ok_and(|parts| parts.len() >= 3 && parts.values().all(|(ready, _)| *ready)).then_some(())
    })
    .with_context(|| format!("{:?}\n{}", parts(), log()))
}

/// `part` panics as long as it is armed, and is well again afterwards: it alone.
fn alone(part: &str, point: &str, provoke: impl FnOnce() -> Result<()>) -> Result<()> {
    let before = pid()?;
    fs::write(LOG, "")?;
    fs::write(ARMED, "")?;
    provoke()?;
    let told = format!("failpoint {point}");
    let again = || -> Vec<String> {
        log().lines().filter(|line| line.contains("is started again")).map(str::to_owned).collect()
    };
    wait_for("its panic to be told", PATIENCE, || (!again().is_empty()).then_some(())).with_context(log)?;
    for (other, (ready, reason)) in parts()? {
        ensure!(other == part || ready, "{part} panicked, and {other} is not well: {reason}");
    }
    fs::remove_file(ARMED)?;
    all_are_well()?;
    ensure!(pid()? == before, "the process is another");
    ensure!(again().iter().all(|line| line.contains(&format!("part=\"{part}\""))), "{:?}", again());
    ensure!(log().contains(&told), "{}", log());
    Ok(())
}

fn learnt() -> Result<String> {
    tool("ip", &["route", "show", "198.18.1.0/24"])
}

#[test]
fn a_panic_of_felix_bgpd_or_the_cni_server_is_told_and_hurts_no_other() {
    sandbox::within(NAME, programs(Build::Failpoints).unwrap(), || {
        wire()?;
        let node = Node::start()?;
        node.apply(PEER)?;
        let stays = Container::start("stays")?;
        for (part, point) in [("felix", "felix-calculation"), ("bgpd", "bgpd-fib"), ("cni", "agent-add-begun")] {
            let bird = Router::start(Kind::Bird, Some(FAR), BIRD)?;
            let agent = agent(&node, point)?;
            enforces(&node)?;
            node.add(&stays)?;
            enforces(&node)?;
            wait_for("the session", PATIENCE, || is_established(&bird).then_some(()))?;
            wait_for("its route", PATIENCE, || learnt().is_ok_and(|text| text.contains("proto 81")).then_some(()))
                .with_context(log)?;
            let (links, rules) = (Monitor::of_links()?, Monitor::of_rules()?);
            links.mark("mark-begin")?;
            rules.mark("mark-begin")?;
            let since = bird.query("show protocols node")?;
            alone(part, point, || match part {
                "felix" => node.apply("{apiVersion: projectcalico.org/v3, kind: GlobalNetworkSet, metadata: {name: s}, spec: {nets: [198.18.9.0/24]}}"),
                // the kernel loses a route, and it is put back
                "bgpd" => tool("ip", &["route", "del", "198.18.1.0/24"]).map(drop),
                _ => {
                    let output = node.call("ADD", &Container::start("falls")?).run()?;
                    ensure!(!output.ok(), "it was answered by a part that panicked: {}", output.stdout);
                    Ok(())
                }
            })?;
            enforces(&node)?;
            if part == "bgpd" {
                wait_for("the route", PATIENCE, || learnt().is_ok_and(|text| text.contains("proto 81")).then_some(()))?;
            } else {
                ensure!(bird.query("show protocols node")? == since, "{part} panicked, and the session was another");
                let said: Vec<String> =
                    [links.said_between("mark-begin", "mark-end")?, rules.said_between("mark-begin", "mark-end")?].concat();
                ensure!(said.is_empty(), "{part} panicked, and the kernel was changed: {said:?}");
            }
            // and everything works
            let comes = Container::start("comes")?;
            node.add(&comes)?;
            for container in [&comes, &stays] {
                node.del(container)?;
            }
            if part == "cni" {
                node.del(&Container { id: "falls".into(), netns: "falls".into() })?;
            }
            ensure!(node.held()?.is_empty(), "{:?}", node.held()?);
            sandbox::del_netns("comes")?;
            // links go a little later than DEL returns, and the next round listens
            wait_for("the last link to go", PATIENCE, || {
                let loose = node.loose().ok()?;
                loose.iter().all(|loose| loose.contains(" in far:")).then_some(())
            })
            .with_context(|| format!("{:?}", node.loose()))?;
            agent.kill()?;
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_panic_of_the_embedded_datastore_is_told_and_hurts_no_other() {
    sandbox::within(NAME, programs(Build::Failpoints).unwrap(), || {
        uplink()?;
        fs::create_dir_all("/var/lib/calico")?;
        let mut command = Command::new(Path::new(PLUGINS).join("ocicat"));
        command.args(["node", "run", "--datastore", "embedded", "--name", NAME]);
        command.env("OCICAT_FAILPOINT", format!("datastore-commit@{ARMED}=panic"));
        command.env_remove("HOSTNAME").env_remove("NODENAME");
        let mut agent = Background::start_logging(command, Path::new(LOG))?;
        all_are_well()?;
        let set = |name: &str| {
            format!("{{apiVersion: projectcalico.org/v3, kind: GlobalNetworkSet, metadata: {{name: {name}}}, spec: {{nets: [198.18.9.0/24]}}}}")
        };
        ocicat(&["apply", "-f", "-"], &set("before"))?;
        // what is there for as long as it takes asks the store
        let asking = std::cell::Cell::new(None);
        alone("datastore", "datastore-commit", || {
            let mut command = Command::new(Path::new(PLUGINS).join("ocicat"));
            command.args(["get", "nodes"]).env("ETCD_ENDPOINTS", "http://127.0.0.1:2379");
            asking.set(Some(Background::start(command)?));
            Ok(())
        })?;
        ocicat(&["apply", "-f", "-"], &set("after"))?;
        let sets = ocicat(&["get", "globalnetworksets"], "")?;
        ensure!(sets.contains("before") && sets.contains("after"), "{sets}");
        killpg(Pid::from_raw(agent.pid().cast_signed()), Signal::SIGKILL)?;
        wait_for("its end", PATIENCE, || agent.ended()).map(drop)
    })
    .unwrap();
}
