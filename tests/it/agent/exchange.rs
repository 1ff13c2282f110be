//! The backend is exchanged under traffic and changes of policy.

use super::four::{CLIENT, SERVER, four, opened, put, store, to_server, traffic, udp};
use super::traffic::Kind;
use anyhow::{Context, Result};
use ocicat_tests::agent::Agent;
use ocicat_tests::agent::tables;
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::node::{NAME, Node};
use ocicat_tests::policy::cluster::resource;
use ocicat_tests::policy::stage::Stage;
use ocicat_tests::process::{tool, wait_for};
use ocicat_tests::sandbox;
use serde_json::{Value, json};
use std::time::Duration;

/// What judges packets, as status says it.
const OWN: &str = "nftables";
const LEGACY: &str = "iptables (legacy)";
const NFT: &str = "iptables (nft)";

/// Each to each other one.
const EXCHANGES: [&str; 7] = [LEGACY, OWN, NFT, LEGACY, NFT, OWN, LEGACY];

/// FelixConfiguration that asks for a backend.
fn wish(backend: &str) -> Value {
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

fn status(node: &Node) -> Option<Value> {
    let text = node.ocicat(&["status", "-o", "json"], "").ok()?.expect_ok("ocicat status").ok()?;
    serde_json::from_str(&text).ok()
}

/// Which backends have something in the kernel.
fn there() -> Result<Vec<&'static str>> {
    let own = tool("nft", &["list", "tables"])?.contains("ocicat");
    let all = [(OWN, own), (LEGACY, tables::is_left("legacy")?), (NFT, tables::is_left("nft")?)];
    Ok(all.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect())
}

#[test]
fn backends_are_exchanged_under_traffic_and_nothing_of_the_other_is_left() {
    sandbox::within(NAME, programs(Build::Plain).unwrap(), || {
        let cluster = four(&[53]);
        let node = Node::without_resources()?;
        store(&node, &cluster)?;
        put(&node, &wish(OWN))?;
        let _stage = Stage::set(&cluster)?;
        let agent = Agent::start(NAME, &node.server().url(), &[])?;
        // allowed there and back, one that never is, and one that is now and then
        let back = Kind { packet: udp(SERVER, CLIENT, (0, 53)), forth: false };
        let mut traffic = traffic(&cluster, vec![to_server(53), back, to_server(54), to_server(55)])?;
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
        for (kind, allowed) in [(0, true), (1, true), (2, false)] {
            let arrived = traffic.arrived(kind, begun);
            let wrong = arrived.iter().filter(|one| **one != allowed).count();
            assert!(arrived.len() > 8_000, "only {} packets", arrived.len());
            let count = arrived.len();
            assert_eq!(wrong, 0, "of {count} packets of kind {kind} (allowed: {allowed}); {}", agent.log());
        }
        assert!(traffic.arrived(3, begun).iter().any(|one| *one), "policy was changed meanwhile");
        Ok(())
    })
    .unwrap();
}
