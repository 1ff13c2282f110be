//! What is told: an endpoint's file with the BGPPeer it is for, one line of log a change, the revision in force, metrics and a
//! log file where the settings say so.

use anyhow::{Context, Result};
use ocicat_tests::agent::{Agent, BACKENDS, backend};
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::node::{NAME, Node, WEB};
use ocicat_tests::policy::stage::batch;
use ocicat_tests::process::{tool, wait_for};
use ocicat_tests::sandbox;
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

const PEERS: &str = "
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: {name: of-web}
spec: {localWorkloadSelector: app == 'web', asNumber: 64512}
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: {name: of-others}
spec: {localWorkloadSelector: app == 'db', asNumber: 64513}
";

const FILE: &str = "/run/calico/endpoint-status/cni default%2Fweb1 eth0";

fn file() -> Option<Value> {
    serde_json::from_str(&fs::read_to_string(FILE).ok()?).ok()
}

fn set_link(state: &str) -> Result<()> {
    batch(None, &format!("link set caliweb1 {state}\n"))
}

#[test]
fn an_endpoints_file_names_its_peer_and_each_change_is_one_line_of_log() {
    sandbox::within(NAME, programs(Build::Plain).unwrap(), || {
        let node = Node::start()?;
        node.apply(WEB)?;
        node.apply(PEERS)?;
        batch(None, "link add caliweb1 type veth peer name far\nlink set far up\nlink set caliweb1 up\n")?;
        let agent = Agent::start(NAME, &node.server().url(), &[])?;
        let wait = |what: &str, right: &dyn Fn(Option<Value>) -> bool| {
            wait_for(what, PATIENCE, || right(file()).then_some(())).with_context(|| agent.log())
        };
        wait("the file", &|file| file.is_some())?;
        let found = file().context("the file")?;
        assert_eq!(found["bgpPeerName"], "of-web", "{found}");
        assert_eq!(found["ipv6Nets"][0], "fd5f:64::2/128", "{found}");
        node.ocicat(&["delete", "bgppeer", "of-web"], "")?.expect_ok("delete")?;
        wait("the peer is not named", &|file| file.is_some_and(|file| file["bgpPeerName"].is_null()))?;
        node.apply(
            "{apiVersion: projectcalico.org/v3, kind: BGPPeer, metadata: {name: of-others}, \
             spec: {localWorkloadSelector: \"has(app)\", asNumber: 64513}}",
        )?;
        wait("the other peer is named", &|file| file.is_some_and(|file| file["bgpPeerName"] == "of-others"))?;
        set_link("down")?;
        wait("no file", &|file| file.is_none())?;
        set_link("up")?;
        wait("the file again", &|file| file.is_some())?;
        node.ocicat(&["delete", "wep", "node--1-cni-web1-eth0"], "")?.expect_ok("delete")?;
        wait("no file", &|file| file.is_none())?;
        let log = fs::read_to_string("/run/felix.log").unwrap_or_default();
        let said: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("WorkloadEndpoint default/node--1-cni-web1-eth0"))
            .map(|line| {
                ["status=\"up\"", "status=\"down\"", "is gone"]
                    .into_iter()
                    .find(|word| line.contains(word))
                    .unwrap_or(line)
            })
            .collect();
        assert_eq!(said, ["status=\"up\"", "status=\"down\"", "status=\"up\"", "is gone"], "{log}");
        Ok(())
    })
    .unwrap();
}

/// "This node enforces what the store held at revision R": whenever it says so of a write, the write is in the kernel, and it
/// says so soon, whatever else is written where.
#[test]
fn the_revision_told_is_in_force() {
    for (number, (name, _)) in BACKENDS.iter().enumerate() {
        revisions(number).context(*name).unwrap();
    }
}

fn revisions(number: usize) -> Result<()> {
    sandbox::within(NAME, programs(Build::Plain)?, || {
        let node = Node::start()?;
        node.apply(WEB)?;
        batch(None, "link add caliweb1 type veth peer name far\nlink set far up\nlink set caliweb1 up\n")?;
        let agent = Agent::start(NAME, &node.server().url(), &backend(number).1)?;
        let revision_of = |key: &str| -> Result<i64> {
            Ok(node.server().client.snapshot()?.get(key).context("the key")?.revision)
        };
        let enforced = || -> Result<i64> {
            let status = node.ocicat(&["felix", "status", "-o", "json"], "")?.expect_ok("status")?;
            let status: Value = serde_json::from_str(&status)?;
            status["enforcedRevision"].as_i64().context("a revision")
        };
        let policy_key = "/calico/resources/v3/projectcalico.org/globalnetworkpolicies/default.judged";
        for port in 1000..1012 {
            // kinds in turn, and keys that no agent looks at
            node.server().client.put("/calico/ipam/v2/handle/none", &format!("{{\"port\": {port}}}"))?;
            node.apply(&format!(
                "{{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {{name: judged}}, spec: \
                 {{selector: \"app == 'web'\", types: [Ingress], ingress: [{{action: Allow, protocol: TCP, \
                 destination: {{ports: [{port}]}}}}]}}}}"
            ))?;
            let written = revision_of(policy_key).or_else(|_| {
                revision_of("/calico/resources/v3/projectcalico.org/globalnetworkpolicies/judged")
            })?;
            wait_for("the revision is enforced", PATIENCE, || (enforced().ok()? >= written).then_some(()))
                .with_context(|| agent.log())?;
            let rules = match BACKENDS[number].0 {
                "nftables" => tool("nft", &["list", "ruleset"])?,
                "iptables (legacy)" => tool("iptables-legacy-save", &[])?,
                _ => tool("iptables-nft-save", &[])?,
            };
            let says = |word: &str| rules.contains(&format!("{word} {port} "));
            assert!(says("dport") || says("--dports"), "revision {written}: {rules}");
            // what is written elsewhere is in force at once: it changes nothing
            node.server().client.put("/calico/ipam/v2/handle/none", "{}")?;
            let elsewhere = revision_of("/calico/ipam/v2/handle/none")?;
            wait_for("a revision of elsewhere", PATIENCE, || (enforced().ok()? >= elsewhere).then_some(()))
                .with_context(|| agent.log())?;
        }
        Ok(())
    })
}

/// A page of the agent's, as Prometheus or a kubelet asks for it.
pub(super) fn get(port: u16, page: &str) -> Option<String> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {page} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.starts_with("HTTP/1.1 20").then_some(answer)
}

/// Metrics and a log file where the settings say so, while running; a rule that cannot be enforced is named everywhere.
#[test]
fn metrics_and_a_log_file_come_with_the_settings_and_name_what_is_not_enforced() {
    sandbox::within(NAME, programs(Build::Plain).unwrap(), || {
        let node = Node::start()?;
        node.apply(WEB)?;
        let agent = Agent::start(NAME, &node.server().url(), &[])?;
        assert!(get(9099, "/readiness").is_some(), "{}", agent.log());
        assert!(get(9191, "/metrics").is_none());
        node.apply(
            "{apiVersion: projectcalico.org/v3, kind: FelixConfiguration, metadata: {name: default}, spec: \
             {prometheusMetricsEnabled: true, prometheusMetricsHost: localhost, prometheusMetricsPort: 9191, \
             logFilePath: /run/logs/felix.log, logSeverityFile: Warning}}",
        )?;
        wait_for("metrics", PATIENCE, || get(9191, "/metrics")).with_context(|| agent.log())?;
        node.apply(
            "{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {name: l7}, spec: \
             {selector: all(), types: [Ingress, Egress], ingress: [{action: Allow, http: {methods: [GET]}}], \
             egress: [{action: Allow}, {action: Deny, destination: {services: {name: db, namespace: shop}}}]}}",
        )?;
        wait_for("the metric", PATIENCE, || {
            get(9191, "/metrics")?.lines().any(|line| line == "felix_rules_not_enforced 2").then_some(())
        })
        .with_context(|| agent.log())?;
        let status = node.ocicat(&["status"], "")?.expect_ok("status")?;
        let file = fs::read_to_string("/run/logs/felix.log")?;
        for rule in ["spec.ingress[0].http", "spec.egress[1].services"] {
            let wanted = format!("GlobalNetworkPolicy l7: {rule} is not enforced");
            for said in [&status, &file, &agent.log()] {
                assert!(said.contains(&wanted), "{wanted}: {said}");
            }
        }
        assert!(!file.contains(" INFO "), "{file}");
        Ok(())
    })
    .unwrap();
}
