//! The backend is exchanged under traffic and changes of policy.

use super::four::{CLIENT, SERVER, four, opened, put, store, to_server, traffic, udp};
use super::traffic::{Kind, Traffic};
use anyhow::{Context, Result};
use ocicat_tests::agent::Agent;
use ocicat_tests::agent::tables;
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::node::{NAME, Node};
use ocicat_tests::policy::cluster::{Cluster, NODE, resource};
use ocicat_tests::policy::stage::Stage;
use ocicat_tests::process::{tool, wait_for};
use ocicat_tests::sandbox;
use ocicat_tests::wire::Ear;
use serde_json::{Value, json};
use std::time::Duration;

/// What judges packets, as status says it.
const OWN: &str = "nftables";
const LEGACY: &str = "iptables (legacy)";
const NFT: &str = "iptables (nft)";

/// The node on its link, and who is there beside it.
const HOST: &str = "192.0.2.11";
const NEIGHBOUR: &str = "192.0.2.12";

/// Each to each other one.
const EXCHANGES: [&str; 7] = [LEGACY, OWN, NFT, LEGACY, NFT, OWN, LEGACY];

/// FelixConfiguration that asks for a backend.
pub fn wish(backend: &str) -> Value {
    let (mode, variant) = match backend {
        OWN => ("Enabled", "Auto"),
        LEGACY => ("Disabled", "Legacy"),
        _ => ("Disabled", "NFT"),
    };
    resource(
        "FelixConfiguration",
        None,
        "default",
        json!({}),
        json!({"nftablesMode": mode, "iptablesBackend": variant}),
    )
}

pub fn status(node: &Node) -> Option<Value> {
    let text = node.ocicat(&["status", "-o", "json"], "").ok()?.expect_ok("ocicat status").ok()?;
    serde_json::from_str(&text).ok()
}

/// Which backends have something in the kernel.
fn there() -> Result<Vec<&'static str>> {
    let own = tool("nft", &["list", "tables"])?.contains("ocicat");
    let all = [(OWN, own), (LEGACY, tables::is_left("legacy")?), (NFT, tables::is_left("nft")?)];
    Ok(all.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect())
}

/// Kinds of traffic, each always allowed, never, or now and then.
type Kinds = Vec<(Kind, Option<bool>)>;

#[test]
fn backends_are_exchanged_under_traffic_and_nothing_of_the_other_is_left() {
    let back = Kind { packet: udp(SERVER, CLIENT, (0, 53)), forth: false };
    let kinds = vec![
        (to_server(53), Some(true)),
        (back, Some(true)),
        (to_server(54), Some(false)),
        (to_server(55), None),
    ];
    exchanged(&four(&[53]), kinds, traffic).unwrap();
}

/// Policies that are judged before connections are tracked and before destinations are translated say something to those
/// that are judged later, by a bit of the mark that both backends have in common.
#[test]
fn early_policies_of_the_host_are_in_force_while_backends_are_exchanged() {
    let mut cluster = four(&[53]);
    let endpoint = json!({"node": NODE, "interfaceName": "eth0", "expectedIPs": [HOST]});
    cluster.resources.push(resource("HostEndpoint", None, "uplink", json!({"host": "yes"}), endpoint));
    let rule = |action: &str, port: u16| json!({"action": action, "protocol": "UDP", "destination": {"ports": [port]}});
    let mut policy = |name: &str, more: Value, ports: [u16; 2]| {
        let mut spec = json!({
            "tier": "default", "selector": "host == 'yes'", "types": ["Ingress"],
            "ingress": [rule("Allow", ports[0]), rule("Deny", ports[1])],
        });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        cluster.resources.push(resource("GlobalNetworkPolicy", None, name, json!({}), spec));
    };
    policy("untracked", json!({"doNotTrack": true, "applyOnForward": true}), [153, 154]);
    policy("before-dnat", json!({"preDNAT": true, "applyOnForward": true}), [155, 156]);
    policy("usual", json!({}), [157, 158]);
    let to = |port: u16| Kind { packet: udp(NEIGHBOUR, HOST, (0, port)), forth: true };
    let kinds = (153..160).map(|port| (to(port), Some(matches!(port, 153 | 155 | 157)))).collect();
    exchanged(&cluster, kinds, |_, kinds| {
        Ok(Traffic::new([Ear::open(Some("beyond-eth0"))?, Ear::open(None)?], kinds))
    })
    .unwrap();
}

fn exchanged(
    cluster: &Cluster,
    kinds: Kinds,
    traffic: impl FnOnce(&Cluster, Vec<Kind>) -> Result<Traffic> + Send,
) -> Result<()> {
    sandbox::within(NAME, programs(Build::Plain)?, || {
        let node = Node::without_resources()?;
        store(&node, cluster)?;
        put(&node, &wish(OWN))?;
        let _stage = Stage::set(cluster)?;
        let agent = Agent::start(NAME, &node.server().url(), &[])?;
        let mut traffic = traffic(cluster, kinds.iter().map(|(kind, _)| *kind).collect())?;
        traffic.run(Duration::from_secs(1))?;
        let begun = traffic.rounds();
        for backend in EXCHANGES {
            put(&node, &wish(backend))?;
            for turn in 0..8 {
                put(&node, &opened(if turn % 2 == 0 { &[53, 55] } else { &[53] }))?;
                traffic.run(Duration::from_millis(150))?;
            }
            let mut last = (None, Vec::new());
            let done = wait_for("the backend to be exchanged", Duration::from_secs(30), || {
                traffic.run(Duration::from_millis(50)).ok()?;
                last = (status(&node), there().ok()?);
                let told = &last.0.as_ref()?["dataplane"]["backend"];
                (*told == backend && last.1 == [backend]).then_some(())
            });
            done.with_context(|| format!("{backend}: {last:?}\n{}", agent.log()))?;
            assert_eq!(tool("ipset", &["list", "-n"])?.is_empty(), backend == OWN);
        }
        for (number, (kind, allowed)) in kinds.iter().enumerate() {
            let arrived = traffic.arrived(number, begun);
            assert!(arrived.len() > 8_000, "only {} packets", arrived.len());
            let count = arrived.len();
            let Some(allowed) = allowed else {
                assert!(arrived.contains(&true), "policy was changed meanwhile");
                continue;
            };
            let wrong = arrived.iter().filter(|one| *one != allowed).count();
            assert_eq!(wrong, 0, "of {count} of {kind:?} (allowed: {allowed}); {}", agent.log());
        }
        Ok(())
    })
}
