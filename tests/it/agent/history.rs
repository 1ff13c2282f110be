//! Where any history ends: as a fresh start on what it came to, whatever others have in their tables.

use super::four::store;
use anyhow::{Context, Result};
use ocicat_tests::agent::{Agent, BACKENDS, NFT, OWN, VARIANTS, backend, dump, tables};
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::etcd::Server;
use ocicat_tests::node::{NAME, Node};
use ocicat_tests::policy::cluster::{Cluster, key};
use ocicat_tests::policy::object::text;
use ocicat_tests::policy::stage::{self, Stage};
use ocicat_tests::process::{run, tool, wait_for};
use ocicat_tests::random::{Random, seed};
use ocicat_tests::sandbox;
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

/// What kube-proxy and Docker have in a table of `iptables`' name that only `nft` can have made.
const NATIVE: &str = r#"
table ip nat {
    chain DOCKER {
    }
    chain KUBE-SVC-TCOU7 {
        meta l4proto udp numgen random mod 2 0 counter dnat to 10.64.0.2:53
    }
    chain KUBE-SERVICES {
        ip daddr 10.96.0.10 udp dport 53 counter jump KUBE-SVC-TCOU7
    }
    chain PREROUTING {
        type nat hook prerouting priority dstnat; policy accept;
        counter jump KUBE-SERVICES
        fib daddr type local counter jump DOCKER
    }
    chain POSTROUTING {
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr 172.17.0.0/16 oifname != "docker0" counter masquerade
    }
}
"#;

/// The same as iptables makes it, with rules in front of ours and behind them.
const WITH_IPTABLES: &str = "\
*nat
:DOCKER - [0:0]
:KUBE-SVC-TCOU7 - [0:0]
:KUBE-SERVICES - [0:0]
-A KUBE-SVC-TCOU7 -p udp -m statistic --mode random --probability 0.5 -j DNAT --to-destination 10.64.0.2:53
-A KUBE-SERVICES -d 10.96.0.10/32 -p udp -m udp --dport 53 -j KUBE-SVC-TCOU7
-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
COMMIT
*filter
:DOCKER-USER - [0:0]
-A DOCKER-USER -i docker0 -m comment --comment \"calico? no\" -j RETURN
-A FORWARD -j DOCKER-USER
COMMIT
";

/// Tables that other programs of a node have beside them.
const FOREIGN: &str = r#"
table inet firewalld {
    set allowed {
        type ipv4_addr
        flags interval
        elements = { 192.0.2.0/24, 198.51.100.0/24 }
    }
    chain filter_FORWARD {
        type filter hook forward priority filter + 10; policy accept;
        ct state { established, related } accept
        ct status dnat accept
    }
}
table ip calico {
    chain filter-cali-FORWARD {
        counter accept comment "cali:of a stranger"
    }
}
"#;

/// A thousand changes, and two deaths between them, end where a fresh start on the same store ends, in an empty namespace;
/// foreign tables stay as they are.
#[test]
fn any_history_ends_where_a_fresh_start_ends() {
    history(OWN, 1000).unwrap();
}

#[test]
fn any_history_with_iptables_ends_where_a_fresh_start_ends() {
    for number in VARIANTS {
        history(number, 300).context(BACKENDS[number].0).unwrap();
    }
}

fn history(number: usize, changes: u32) -> Result<()> {
    let seed = seed();
    let (_, settings) = backend(number);
    let programs = programs(Build::Plain)?;
    sandbox::within(NAME, programs, || {
        let mut random = Random::new(seed);
        let clusters: Vec<Cluster> =
            (0..6).map(|more| Cluster::with_hosts(seed.wrapping_add(more))).collect();
        let changing: Vec<Value> = clusters
            .iter()
            .flat_map(|cluster| cluster.resources.clone())
            .filter(|one| !matches!(text(one, "kind"), "ClusterInformation" | "FelixConfiguration" | "Node"))
            .collect();
        let make = |program: &str, arguments: &[&str], input: &str| -> Result<()> {
            let mut command = Command::new(program);
            command.args(arguments);
            run(command, input, Duration::from_secs(10))?.expect_ok(program).map(drop)
        };
        make("nft", &["-f", "-"], FOREIGN)?;
        // one kind in the nft variant's tables, the other in those of the variant there is
        let variant = if number == NFT { "nft" } else { "legacy" };
        make(&format!("iptables-{variant}-restore"), &["--noflush"], WITH_IPTABLES)?;
        let mut theirs = vec!["inet firewalld", "ip calico"];
        if number != NFT {
            make("nft", &["-f", "-"], NATIVE)?;
            theirs.push("ip nat");
        }
        let node = Node::without_resources()?;
        store(&node, &clusters[0])?;
        let _stage = Stage::set(&clusters[0])?;
        let foreign = || -> Result<String> {
            let list = |table: &&str| {
                tool("nft", &[&["-s", "list", "table"][..], &table.split(' ').collect::<Vec<_>>()].concat())
            };
            let all: String = theirs.iter().map(list).collect::<Result<_>>()?;
            Ok(all + &tables::foreign(variant)?)
        };
        let before = foreign()?;
        let url = node.server().url();
        let mut agent = Some(Agent::start(NAME, &url, &settings)?);
        let mut plugged: Vec<Value> = clusters[0].local_workloads().cloned().collect();
        for turn in 0..changes {
            // it dies in the middle of some, and others happen while there is none
            if turn == changes * 30 / 100 || turn == changes * 65 / 100 {
                agent.take().map(Agent::kill).transpose()?;
            }
            if turn == changes * 35 / 100 || turn == changes * 65 / 100 + 1 {
                agent = Some(Agent::begin(NAME, &url, &settings)?);
            }
            change(node.server(), random.pick(&changing), &changing, &mut plugged, &mut random)?;
        }
        let agent = agent.context("an agent")?.ready()?;
        let pairs = node.server().client.snapshot()?;
        let mut last = clusters[0].clone();
        last.resources = plugged;
        let fresh = sandbox::within(NAME, programs, || {
            let node = Node::without_resources()?;
            for (key, stored) in pairs.iter().filter(|(key, _)| key.starts_with("/calico/resources/")) {
                node.server().client.put(key, &stored.value)?;
            }
            let _stage = Stage::set(&last)?;
            let agent = Agent::start(NAME, &node.server().url(), &settings)?;
            dump::canonical().with_context(|| agent.log())
        })?;
        // a neighbour stays until its link goes, as with Calico's agent
        let stays = |line: &String| line.starts_with("ip -j neigh");
        let mut last = Vec::new();
        let equal = wait_for("the same state as of a fresh start", Duration::from_secs(30), || {
            let now = dump::canonical().ok()?;
            let more = now.iter().filter(|line| !fresh.contains(*line) && !stays(line));
            last = more.map(|line| format!("+ {line}")).collect();
            last.extend(fresh.iter().filter(|line| !now.contains(*line)).map(|line| format!("- {line}")));
            last.is_empty().then_some(())
        });
        last.truncate(30);
        assert!(equal.is_ok(), "history (+) and fresh start (-):\n{}\n{}", last.join("\n"), agent.log());
        assert_eq!(foreign()?, before, "tables of others");
        Ok(())
    })
}

/// One change of a history: an object comes, changes or goes, and with an endpoint its link, before it or behind it.
fn change(
    server: &Server,
    one: &Value,
    all: &[Value],
    plugged: &mut Vec<Value>,
    random: &mut Random,
) -> Result<()> {
    let has_link = |one: &Value| {
        text(one, "kind") == "WorkloadEndpoint"
            && text(&one["spec"], "node") == NAME
            && !one["spec"]["ipNetworks"].is_null()
    };
    let same = |one: &Value, other: &Value| one["spec"]["interfaceName"] == other["spec"]["interfaceName"];
    let unplug = |plugged: &mut Vec<Value>, one: &Value| -> Result<()> {
        if plugged.iter().any(|other| same(one, other)) {
            stage::unplug(one)?;
            plugged.retain(|other| !same(one, other));
        }
        Ok(())
    };
    let link_first = random.chance(50);
    let had = has_link(one) && plugged.iter().any(|other| key(other) == key(one));
    if random.chance(65) {
        // the same workload, said otherwise, or another one on a link of its own
        let comes = has_link(one) && !(had && random.chance(50));
        if comes {
            unplug(plugged, one)?;
            // an interface is one workload's at a time
            for other in all.iter().filter(|other| has_link(other) && same(one, other)) {
                server.client.delete(&key(other))?;
            }
            plugged.push(one.clone());
        }
        if comes && link_first {
            stage::plug(one)?;
        }
        server.client.put(&key(one), &one.to_string())?;
        if comes && !link_first {
            stage::plug(one)?;
        }
        return Ok(());
    }
    if had && link_first {
        unplug(plugged, one)?;
    }
    server.client.delete(&key(one))?;
    if had {
        unplug(plugged, one)?;
    }
    Ok(())
}
