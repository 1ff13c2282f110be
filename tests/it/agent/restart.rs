//! Deaths, starts and changes under traffic, and where any history ends.

use super::four::{CLIENT, SERVER, four, opened, put, store, to_server, traffic, udp};
use super::traffic::Kind;
use crate::monitor::Monitor;
use anyhow::{Context, Result};
use ocicat_tests::agent::between::{Between, Faults};
use ocicat_tests::agent::{Agent, BACKENDS, NFT, OWN, VARIANTS, backend, dump, tables};
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::etcd::Server;
use ocicat_tests::node::{NAME, Node};
use ocicat_tests::policy::cluster::{Cluster, key, resource};
use ocicat_tests::policy::object::{identity, text};
use ocicat_tests::policy::stage::{self, Stage};
use ocicat_tests::process::{run, tool, wait_for};
use ocicat_tests::random::{Random, seed};
use ocicat_tests::sandbox;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

#[test]
fn a_death_and_a_start_lose_no_packet_and_change_nothing() {
    deaths_and_starts(OWN, 3).unwrap();
}

#[test]
fn a_death_and_a_start_with_iptables_lose_no_packet_and_change_nothing() {
    for number in VARIANTS {
        deaths_and_starts(number, 1).context(BACKENDS[number].0).unwrap();
    }
}

fn deaths_and_starts(number: usize, deaths: usize) -> Result<()> {
    sandbox::within(NAME, programs(Build::Plain)?, || {
        let cluster = four(&[53]);
        let node = Node::without_resources()?;
        store(&node, &cluster)?;
        let _stage = Stage::set(&cluster)?;
        let url = node.server().url();
        let between = Between::make(Faults::None)?;
        let settings: Vec<_> = backend(number).1.into_iter().chain([between.path()]).collect();
        let mut agent = Agent::start(NAME, &url, &settings)?;
        // allowed there and back, and one that never is
        let back = Kind { packet: udp(SERVER, CLIENT, (0, 53)), forth: false };
        let mut traffic = traffic(&cluster, vec![to_server(53), back, to_server(54)])?;
        traffic.run(Duration::from_secs(2))?;
        let monitors = [Monitor::of_rules()?, Monitor::of_links()?];
        monitors.iter().try_for_each(|monitor| monitor.mark("first-mark").map(drop))?;
        let (begun, called) = (traffic.rounds(), between.calls().len());
        for _ in 0..deaths {
            traffic.run(Duration::from_secs(3))?;
            agent.kill()?;
            traffic.run(Duration::from_secs(1))?;
            agent = Agent::begin(NAME, &url, &settings)?;
            traffic.run(Duration::from_secs(4))?;
            agent = agent.ready()?;
            traffic.run(Duration::from_secs(2))?;
        }
        for (kind, allowed) in [(0, true), (1, true), (2, false)] {
            let arrived = traffic.arrived(kind, begun);
            let wrong = arrived.iter().filter(|one| **one != allowed).count();
            assert!(arrived.len() > 5000, "only {} packets", arrived.len());
            assert_eq!(
                wrong,
                0,
                "of {} packets of kind {kind} (allowed: {allowed}); {}",
                arrived.len(),
                agent.log()
            );
        }
        for monitor in monitors {
            let said = monitor.said_between("first-mark", "second-mark")?;
            assert!(said.is_empty(), "{}: {said:#?}", monitor.log);
        }
        // tables of the legacy variant tell nobody of a change: nothing that could change them was called
        let calls = between.calls().split_off(called);
        assert_eq!(calls.is_empty(), number == OWN, "{calls:?}");
        assert!(calls.iter().all(|program| program.ends_with("-save")), "{calls:?}");
        Ok(())
    })
}

/// The state before a change, or the one after it, and nothing between.
#[test]
fn packets_get_the_verdict_of_before_or_after_a_change() {
    for (backend, settings) in (0..BACKENDS.len()).map(backend) {
        let changed = changes_under_traffic(&[], &settings, None, 8, Duration::from_secs(5), seed());
        changed.context(backend).unwrap();
    }
}

/// Every seventh, eleventh, … request to the kernel, or answer of it, is an error: of all sockets of the agent's, the datastore's
/// among them. No packet gets another verdict, and what is wanted comes about.
#[test]
fn errors_of_the_kernel_open_nothing_and_drop_nothing() {
    let all = [
        ("sendto,sendmsg", "ENOBUFS", 7),
        ("sendto,sendmsg", "ENOBUFS", 11),
        ("recvfrom,recvmsg", "ENOBUFS", 11),
        ("recvfrom,recvmsg", "ENOBUFS", 17),
    ];
    errors_of_the_kernel(OWN, &all);
}

#[test]
fn errors_of_the_kernel_with_iptables_open_nothing_and_drop_nothing() {
    // the kernel's list of IP sets is a message a set, and of use only as a whole
    let all = [("sendto,sendmsg", "ENOBUFS", 11), ("recvfrom,recvmsg", "ENOBUFS", 41)];
    VARIANTS.into_iter().for_each(|number| errors_of_the_kernel(number, &all));
}

fn errors_of_the_kernel(number: usize, errors: &[(&str, &str, usize)]) {
    assert!(Path::new("/usr/bin/strace").exists(), "strace is missing: install package strace");
    let seed = seed();
    for (calls, error, often) in errors {
        let inject = format!("inject={calls}:error={error}:when={often}+{often}");
        let trace = format!("trace={calls}");
        // iptables' programs fail in ways of their own
        let strace = ["strace", "-f", "-b", "execve", "-qq", "-o", "/run/injected"];
        let strace: Vec<&str> = strace.into_iter().chain(["-e", &trace, "-e", &inject]).collect();
        let (backend, settings) = backend(number);
        changes_under_traffic(&strace, &settings, None, 6, Duration::from_secs(60), seed)
            .with_context(|| format!("{backend}: {inject}"))
            .unwrap();
    }
}

/// Of ten calls of iptables' programs four fail: for want of the lock, killed before or behind their work, for want of the
/// kernel's module.
#[test]
fn failures_of_iptables_programs_open_nothing_and_drop_nothing() {
    let seed = seed();
    for (backend, settings) in VARIANTS.map(backend) {
        changes_under_traffic(&[], &settings, Some(Faults::Some), 6, Duration::from_secs(60), seed)
            .context(backend)
            .unwrap();
    }
}

/// Random changes while packets are sent that every state lets through, that none does, and that the last one does; the last
/// one is in force for good within `bound`. The agent is started by `wrapper`, and iptables' programs fail as `faults` say.
fn changes_under_traffic(
    wrapper: &[&str],
    settings: &[(String, String)],
    faults: Option<Faults>,
    changes: u32,
    bound: Duration,
    seed: u64,
) -> Result<()> {
    sandbox::within(NAME, programs(Build::Plain)?, || {
        let cluster = four(&[53, 56]);
        let node = Node::without_resources()?;
        store(&node, &cluster)?;
        let _stage = Stage::set(&cluster)?;
        let between = faults.map(Between::make).transpose()?;
        let settings: Vec<_> = settings.iter().cloned().chain(between.iter().map(Between::path)).collect();
        let agent = Agent::begin_under(wrapper, NAME, &node.server().url(), &settings)?.ready()?;
        let mut traffic =
            traffic(&cluster, vec![to_server(53), to_server(54), to_server(55), to_server(56)])?;
        let mut random = Random::new(seed);
        let others: Vec<Value> = (0..8)
            .flat_map(|more| Cluster::new(seed.wrapping_add(more)).resources)
            .filter(|one| matches!(text(one, "kind"), "GlobalNetworkPolicy" | "GlobalNetworkSet"))
            .map(|mut one| {
                // about workloads that say nothing here
                if text(&one, "kind") == "GlobalNetworkPolicy" {
                    one["spec"]["selector"] = json!("app == 'spare'");
                }
                one["metadata"]["name"] = json!(format!("other-{}", identity(&one).2));
                one
            })
            .collect();
        for _ in 0..changes {
            let open = *random.pick(&[53, 54]);
            put(&node, &opened(&[open, 56]))?;
            for _ in 0..4 {
                let other = random.pick(&others);
                if random.chance(70) {
                    put(&node, other)?;
                } else {
                    node.server().client.delete(&key(other))?;
                }
            }
            let changed = traffic.rounds();
            let begun = Instant::now();
            loop {
                traffic.run(Duration::from_millis(300))?;
                let mut settled = true;
                for (kind, port) in [(0, 53), (1, 54)] {
                    let arrived = traffic.arrived(kind, changed);
                    let last =
                        arrived.iter().rposition(|one| *one != (port == open)).map_or(0, |last| last + 1);
                    settled &= last + 100 < arrived.len();
                }
                if settled {
                    break;
                }
                assert!(begun.elapsed() < bound, "{open} is not open after {bound:?}: {}", agent.log());
            }
        }
        let never = traffic.arrived(2, 0);
        assert!(!never.contains(&true), "a packet that no state allows arrived");
        let always = traffic.arrived(3, 0);
        let lost = always.iter().filter(|one| !**one).count();
        assert_eq!(lost, 0, "of {} packets that every state allows; {}", always.len(), agent.log());
        let calls = between.map_or(0, |between| between.calls().len());
        assert!(faults.is_none() || calls > 20, "only {calls} calls, some of which failed");
        println!("{} packets of each kind, {wrapper:?}, {calls} calls", always.len());
        Ok(())
    })
}

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
            run(command(program, arguments), input, Duration::from_secs(10))?.expect_ok(program).map(drop)
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

/// Waits until the agent says that it enforces all that has been stored.
fn enforced(node: &Node, agent: &Agent) -> Result<()> {
    // what goes leaves no revision to look for
    let last = resource("GlobalNetworkSet", None, "last", json!({}), json!({"nets": []}));
    put(node, &last)?;
    let revision = node.server().client.snapshot()?.get(&key(&last)).map(|stored| stored.revision);
    let caught_up = || {
        let text =
            node.ocicat(&["felix", "status", "-o", "json"], "").ok()?.expect_ok("ocicat status").ok()?;
        let status: Value = serde_json::from_str(&text).ok()?;
        (status["enforcedRevision"].as_i64() >= revision).then_some(())
    };
    wait_for("all to be enforced", Duration::from_secs(60), caught_up).with_context(|| agent.log())
}

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// Nothing is executed by a running agent but iptables' programs where they are the backend, whatever changes.
#[test]
fn an_agent_starts_no_process() {
    for (number, (name, _)) in BACKENDS.iter().enumerate() {
        executes_nothing_else(number).context(*name).unwrap();
    }
}

fn executes_nothing_else(number: usize) -> Result<()> {
    sandbox::within(NAME, programs(Build::Plain)?, || {
        let cluster = Cluster::with_hosts(5);
        let node = Node::without_resources()?;
        store(&node, &cluster)?;
        let _stage = Stage::set(&cluster)?;
        assert!(Path::new("/usr/bin/strace").exists(), "strace is missing: install package strace");
        // what it starts is not followed: its own process alone
        let strace = ["strace", "-f", "-b", "execve", "-qq", "-e", "trace=execve", "-o", "/run/executed"];
        let (_, settings) = backend(number);
        let agent = Agent::begin_under(&strace, NAME, &node.server().url(), &settings)?.ready()?;
        for more in 6..10 {
            for (key, value) in Cluster::with_hosts(more).stored() {
                node.server().client.put(&key, &value.to_string())?;
            }
        }
        for endpoint in cluster.local_workloads() {
            node.server().client.delete(&key(endpoint))?;
        }
        enforced(&node, &agent)?;
        let text = fs::read_to_string("/run/executed")?;
        let executed: Vec<&str> = text.lines().filter(|line| line.contains("execve(")).collect();
        let (iptables, others): (Vec<&str>, Vec<&str>) = executed
            .into_iter()
            .partition(|line| ["tables-legacy-", "tables-nft-"].iter().any(|name| line.contains(name)));
        assert_eq!(
            (others.len(), iptables.is_empty()),
            (1, number == OWN),
            "{others:?} {iptables:?}\n{}",
            agent.log()
        );
        Ok(())
    })
}
