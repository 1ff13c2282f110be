//! Pools with an encapsulation that is not carried: no path in clear, and everybody is told. And whose cluster routes are.

use anyhow::{Context, Result};
use ocicat_tests::agent::Agent;
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::node::{NAME, Node};
use ocicat_tests::policy::stage::batch;
use ocicat_tests::process::{tool, wait_for};
use ocicat_tests::sandbox;
use serde_json::{Value, json};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

/// Three nodes, the second in the first one's subnet.
const NODES: &str = "
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: node-1}
spec: {bgp: {ipv4Address: 192.0.2.11/24}}
---
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: node-2}
spec: {bgp: {ipv4Address: 192.0.2.12/24}}
---
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: node-3}
spec: {bgp: {ipv4Address: 203.0.113.5/24}}
";

fn pool(name: &str, third: u8, mode: &str) -> String {
    format!(
        "{{apiVersion: projectcalico.org/v3, kind: IPPool, metadata: {{name: {name}}}, \
         spec: {{cidr: 10.{third}.0.0/16, blockSize: 26{mode}}}}}"
    )
}

/// A block of each node in a pool: `10.<second>.<node - 1>.0/26`.
fn blocks(node: &Node, second: u8) -> Result<()> {
    for (third, owner) in ["node-1", "node-2", "node-3"].iter().enumerate() {
        let value = json!({
            "cidr": format!("10.{second}.{third}.0/26"),
            "affinity": format!("host:{owner}"),
            "allocations": vec![Value::Null; 64],
            "unallocated": (0..64).collect::<Vec<u8>>(),
            "attributes": [],
            "deleted": false,
        });
        let key = format!("/calico/ipam/v2/assignment/ipv4/block/10.{second}.{third}.0-26");
        node.server().client.put(&key, &value.to_string())?;
    }
    Ok(())
}

/// Where the kernel sends packets to workloads of each node of a pool.
fn paths(second: u8) -> [String; 3] {
    [0, 1, 2].map(|third| {
        // a route that forbids is an error of the question
        let told = tool("ip", &["-o", "route", "get", &format!("10.{second}.{third}.9")]);
        let Ok(told) = told else { return "none".to_owned() };
        let mut words = told.split_whitespace().skip_while(|word| *word != "via");
        words.nth(1).map_or_else(|| told.clone(), str::to_owned)
    })
}

fn wait_paths(second: u8, wanted: [&str; 3], agent: &Agent) -> Result<()> {
    let mut last = paths(second);
    wait_for("the paths of a pool", PATIENCE, || {
        last = paths(second);
        (last == wanted).then_some(())
    })
    .with_context(|| format!("10.{second}: wanted {wanted:?}, are {last:?}\n{}", agent.log()))
}

const DEFAULT: &str = "192.0.2.1";

fn configure(node: &Node, spec: &str) -> Result<()> {
    node.apply(&format!(
        "{{apiVersion: projectcalico.org/v3, kind: FelixConfiguration, metadata: {{name: default}}, spec: {spec}}}"
    ))
}

#[test]
fn what_is_not_carried_has_no_path_in_clear_and_is_named() {
    sandbox::within(NAME, programs(Build::Plain).unwrap(), || {
        let node = Node::without_resources()?;
        sandbox::add_netns("outside")?;
        batch(
            None,
            "link add eth0 type veth peer name eth0 netns outside\naddr add 192.0.2.11/24 dev eth0\nlink set eth0 up\n",
        )?;
        batch(Some("outside"), "link set eth0 up\n")?;
        batch(None, &format!("route add default via {DEFAULT}\n"))?;
        node.apply(NODES)?;
        for (name, second, mode) in
            [("plain", 60, ""), ("near", 61, ", ipipMode: CrossSubnet"), ("tunnelled", 62, ", vxlanMode: Always")]
        {
            node.apply(&pool(name, second, mode))?;
            blocks(&node, second)?;
        }
        let agent = Agent::start(NAME, &node.server().url(), &[])?;
        // as by default: what has no encapsulation is the BGP speaker's
        wait_paths(60, [DEFAULT; 3], &agent)?;
        wait_paths(61, ["none", "192.0.2.12", "none"], &agent)?;
        wait_paths(62, ["none"; 3], &agent)?;
        let kinds = tool("ip", &["route", "show", "proto", "80"])?;
        for line in ["blackhole 10.61.0.0/26", "unreachable 10.61.2.0/26", "unreachable 10.62.1.0/26"] {
            assert!(kinds.contains(line), "{kinds}");
        }

        // who asks is told
        let status = node.ocicat(&["felix", "status", "-o", "json"], "")?.expect_ok("status")?;
        let status: Value = serde_json::from_str(&status)?;
        let objects = status["objects"].to_string();
        let metrics = node.ocicat(&["felix", "metrics"], "")?.expect_ok("metrics")?;
        let log = agent.log();
        for (name, field) in [("near", "ipipMode"), ("tunnelled", "vxlanMode")] {
            assert!(objects.contains(&format!("IPPool {name}: spec.{field}")), "{objects}");
            assert!(log.contains(&format!("IPPool {name}: spec.{field}")), "{log}");
            let metric = format!("felix_pool_not_carried{{pool=\"{name}\"}} 1");
            assert!(metrics.lines().any(|line| line == metric), "{metrics}");
        }
        assert!(!objects.contains("IPPool plain"), "{objects}");
        assert!(metrics.lines().any(|line| line == "felix_pools_not_carried 2"), "{metrics}");

        // whose routes are whose
        configure(&node, "{programClusterRoutes: Enabled}")?;
        wait_paths(60, ["none", "192.0.2.12", "203.0.113.5"], &agent)?;
        wait_paths(61, ["none", "192.0.2.12", "none"], &agent)?;
        configure(&node, "{programClusterRoutes: Disabled}")?;
        wait_paths(60, [DEFAULT; 3], &agent)?;
        // the near ones are the speaker's then; the far ones stay closed
        wait_paths(61, [DEFAULT, DEFAULT, "none"], &agent)?;
        wait_paths(62, ["none"; 3], &agent)?;

        // a pool that needs no tunnel any more
        node.apply(&pool("tunnelled", 62, ", vxlanMode: Never"))?;
        wait_paths(62, [DEFAULT; 3], &agent)?;
        wait_for("the metric", PATIENCE, || {
            let metrics = node.ocicat(&["felix", "metrics"], "").ok()?.expect_ok("metrics").ok()?;
            metrics.lines().any(|line| line == "felix_pool_not_carried{pool=\"tunnelled\"} 0").then_some(())
        })?;
        Ok(())
    })
    .unwrap();
}
