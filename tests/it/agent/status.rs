//! What is told about an endpoint: its file with the BGPPeer it is for, one line of log a change, and the revision in force.

use anyhow::{Context, Result};
use ocicat_tests::agent::Agent;
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::node::{NAME, Node};
use ocicat_tests::policy::stage::batch;
use ocicat_tests::process::{tool, wait_for};
use ocicat_tests::sandbox;
use serde_json::Value;
use std::fs;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

const CLUSTER: &str = "
apiVersion: projectcalico.org/v3
kind: Profile
metadata: {name: open}
spec: {ingress: [{action: Allow}], egress: [{action: Allow}]}
---
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {name: node--1-cni-web1-eth0, namespace: default, labels: {app: web}}
spec:
  node: node-1
  orchestrator: cni
  containerID: web1
  endpoint: eth0
  interfaceName: caliweb1
  mac: 0a:00:00:00:01:6f
  ipNetworks: [10.64.0.2/32, 'fd5f:64::2/128']
  profiles: [open]
---
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
        node.apply(CLUSTER)?;
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
    sandbox::within(NAME, programs(Build::Plain).unwrap(), || {
        let node = Node::start()?;
        node.apply(CLUSTER)?;
        batch(None, "link add caliweb1 type veth peer name far\nlink set far up\nlink set caliweb1 up\n")?;
        let agent = Agent::start(NAME, &node.server().url(), &[])?;
        let revision_of = |key: &str| -> Result<i64> {
            Ok(node.server().client.snapshot()?.get(key).context("the key")?.revision)
        };
        let enforced = || -> Result<i64> {
            let status = node.ocicat(&["status", "-o", "json"], "")?.expect_ok("status")?;
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
            let rules = tool("nft", &["list", "ruleset"])?;
            assert!(rules.contains(&format!("dport {port} ")), "revision {written}: {rules}");
            // what is written elsewhere is in force at once: it changes nothing
            node.server().client.put("/calico/ipam/v2/handle/none", "{}")?;
            let elsewhere = revision_of("/calico/ipam/v2/handle/none")?;
            wait_for("a revision of elsewhere", PATIENCE, || (enforced().ok()? >= elsewhere).then_some(()))
                .with_context(|| agent.log())?;
        }
        Ok(())
    })
    .unwrap();
}
