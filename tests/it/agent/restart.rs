//! Deaths, starts, changes and errors under traffic.

use super::four::{CLIENT, SERVER, four, opened, put, store, to_server, traffic, udp};
use super::traffic::Kind;
use crate::monitor::Monitor;
use anyhow::{Context, Result, ensure};
use ocicat_tests::agent::between::{Between, Faults};
use ocicat_tests::agent::{Agent, BACKENDS, OWN, VARIANTS, backend, is_ready};
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::node::{NAME, Node};
use ocicat_tests::policy::cluster::{Cluster, key, resource};
use ocicat_tests::policy::object::{identity, text};
use ocicat_tests::policy::stage::Stage;
use ocicat_tests::process::wait_for;
use ocicat_tests::random::{Random, seed};
use ocicat_tests::sandbox;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
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
        asked_meanwhile(seed, || {
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
                    ensure!(begun.elapsed() < bound, "{open} is not open after {bound:?}: {}", agent.log());
                }
            }
            Ok(())
        })?;
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

/// Asks the agent how it is, as a kubelet does but at any moment, while `work` goes on: its answers are system calls too, so that
/// errors of every so many calls do not meet the same one of each new try.
fn asked_meanwhile(seed: u64, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = Random::new(seed);
            while !over.load(Ordering::Relaxed) {
                is_ready();
                thread::sleep(Duration::from_micros(random.below(10_000)));
            }
        });
        let done = work();
        over.store(true, Ordering::Relaxed);
        done
    })
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
