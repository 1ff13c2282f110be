//! The ruleset as it is rendered, in a real kernel, against the oracle: real packets between all places of a node.
//!
//! Routes and parameters are set by hand: this is about rules alone, and needs no agent.

use super::told;
use super::wires::{begins_a_flow, by_hand};
use felix_render::nft::settings::EndpointToHost;
use felix_render::nft::{Renderer, Settings, Update, table};
use kernel::{Netns, Nftables};
use model::felix::FailsafePort;
use netfilter::nft::{Chain, Change, Family, Place, Rule, Set, Table};
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::policy::cluster::{Cluster, HOST_INTERFACES, NODE};
use ocicat_tests::policy::fields;
use ocicat_tests::policy::matching::Coverage;
use ocicat_tests::policy::object::{list, prefix, text};
use ocicat_tests::policy::oracle::Oracle;
use ocicat_tests::policy::packets::{self, Passage};
use ocicat_tests::policy::stage::Stage;
use ocicat_tests::random::{Random, seed};
use ocicat_tests::sandbox;
use std::net::IpAddr;

/// Clusters of a run, and packets tried for each.
const CLUSTERS: u64 = 40;
const PACKETS: usize = 150;

/// What the configuration of a cluster means to the renderer.
fn settings(oracle: &Oracle) -> Settings {
    let endpoint_to_host = match oracle.setting("defaultEndpointToHostAction").as_str() {
        Some("Return") => EndpointToHost::Return,
        Some("Accept") => EndpointToHost::Accept,
        _ => EndpointToHost::Drop,
    };
    let ports = |name: &str| {
        let given = serde_json::json!({ "ports": oracle.setting(name) });
        (!given["ports"].is_null()).then(|| {
            let port = |entry: &serde_json::Value| FailsafePort {
                protocol: text(entry, "protocol").to_lowercase(),
                net: prefix(text(entry, "net")),
                port: entry["port"].as_u64().unwrap() as u16,
            };
            list(&given, "ports").map(port).collect()
        })
    };
    let default = Settings::default();
    Settings {
        endpoint_to_host,
        failsafe_inbound: ports("failsafeInboundHostPorts").unwrap_or(default.failsafe_inbound),
        failsafe_outbound: ports("failsafeOutboundHostPorts").unwrap_or(default.failsafe_outbound),
        ..default
    }
}

/// Puts the ruleset of a cluster into the calling thread's namespace.
fn program(cluster: &Cluster, oracle: &Oracle, random: &mut Random) {
    let mut renderer = Renderer::new(settings(oracle));
    for (interface, addresses) in HOST_INTERFACES {
        let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        renderer.set_interface(interface, Some(&addresses));
    }
    told::changes(cluster, random).iter().for_each(|changes| renderer.apply(changes));
    let updates = renderer.take();
    let mut batch: Vec<Change> = [Family::Ipv4, Family::Ipv6, Family::Arp]
        .map(|family| Change::AddTable(Table { table: table(family), flags: 0, comment: None }))
        .into();
    // sets and chains, then elements, then rules
    for step in 0..3 {
        for update in &updates {
            match (step, update) {
                (0, Update::Set { family, name, shape: Some(shape) }) => batch.push(Change::AddSet(Set {
                    table: table(*family),
                    name: name.to_string(),
                    handle: None,
                    key: shape.key.clone(),
                    data: shape.data.clone(),
                    interval: shape.interval,
                    dynamic: false,
                    timeout: false,
                    counter: shape.counter,
                    size: shape.size,
                    comment: shape.comment.clone(),
                })),
                (0, Update::Chain { family, name, chain: Some(chain) }) => {
                    batch.push(Change::AddChain(Chain {
                        table: table(*family),
                        name: name.to_string(),
                        handle: None,
                        hook: chain.hook.clone(),
                        comment: None,
                    }));
                }
                (1, Update::Elements { family, set, added, .. }) => batch.push(Change::AddElements {
                    table: table(*family),
                    set: set.to_string(),
                    elements: added.clone(),
                }),
                (2, Update::Chain { family, name, chain: Some(chain) }) => {
                    for rule in &chain.rules {
                        let rule = Rule {
                            table: table(*family),
                            chain: name.to_string(),
                            handle: None,
                            expressions: rule.expressions.clone(),
                            comment: rule.comment.clone(),
                        };
                        batch.push(Change::AddRule(rule, Place::Last));
                    }
                }
                _ => {}
            }
        }
    }
    let mut nft = Nftables::open(&Netns::current().unwrap()).unwrap();
    nft.commit(&batch, None).unwrap();
}

/// Sends packets through a cluster's rules; the verdicts that are not the oracle's, and how many there were in all.
fn judge(
    cluster: &Cluster,
    passages: Vec<Passage>,
    random: &mut Random,
    coverage: &mut Coverage,
) -> (Vec<String>, usize) {
    let oracle = Oracle::new(NODE, cluster.resources.clone());
    let mut stage = Stage::set(cluster).unwrap();
    by_hand(cluster).unwrap();
    program(cluster, &oracle, random);
    let passages: Vec<Passage> =
        passages.into_iter().filter(begins_a_flow).filter(|one| stage.is_new(&one.packet)).collect();
    let mut outcomes = Vec::new();
    for passage in &passages {
        coverage.trail.clear();
        let outcome = oracle.passage(passage, coverage);
        coverage.event(if outcome.arrives { "arrives" } else { "dropped" });
        outcomes.push((outcome, coverage.trail.join(", ")));
    }
    let wanted: Vec<bool> = outcomes.iter().map(|(outcome, _)| outcome.arrives).collect();
    let arrived = stage.send(&passages, &wanted).unwrap();
    let wrong = passages
        .iter()
        .zip(&outcomes)
        .zip(arrived)
        .filter(|((_, (outcome, _)), arrived)| outcome.arrives != *arrived);
    let wrong = wrong.map(|((passage, (outcome, trail)), arrived)| {
        format!(
            "cluster {}: {}\n  oracle: {} by {} ({trail})\n  kernel: {}",
            cluster.seed,
            packets::describe(passage),
            if outcome.arrives { "arrives" } else { "dropped" },
            outcome.why,
            if arrived { "arrives" } else { "dropped" },
        )
    });
    (wrong.collect(), passages.len())
}

/// Runs clusters in sandboxes of their own, two at a time; fails with the first few wrong verdicts.
fn all(clusters: Vec<(Cluster, Vec<Passage>)>) -> (Coverage, usize) {
    let programs = programs(Build::Plain).unwrap();
    let work = std::sync::Mutex::new(clusters.into_iter());
    let sum = std::sync::Mutex::new((Coverage::default(), Vec::new(), 0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some((cluster, passages)) = work.lock().unwrap().next() else { break };
                    let mut coverage = Coverage::default();
                    let judged = sandbox::within(NODE, programs, || {
                        Ok(judge(&cluster, passages, &mut Random::new(cluster.seed), &mut coverage))
                    });
                    let (wrong, count) = judged.unwrap();
                    let mut sum = sum.lock().unwrap();
                    sum.0.add(&coverage);
                    sum.1.extend(wrong);
                    sum.2 += count;
                }
            });
        }
    });
    let (coverage, wrong, count) = sum.into_inner().unwrap();
    let some: Vec<&str> = wrong.iter().take(12).map(String::as_str).collect();
    assert!(
        wrong.is_empty(),
        "{} of {count} verdicts are not the oracle's:\n{}",
        wrong.len(),
        some.join("\n")
    );
    (coverage, count)
}

#[test]
fn real_packets_meet_the_oracles_verdicts() {
    let base = seed();
    let clusters = (0..CLUSTERS).map(|index| {
        let seed = base.wrapping_add(index);
        let cluster = if index % 4 == 0 { Cluster::with_hosts(seed) } else { Cluster::new(seed) };
        let mut random = Random::new(cluster.seed ^ 0xace);
        let some = std::iter::repeat_with(|| packets::passage(&cluster, &mut random)).take(PACKETS).flatten();
        let passages = some.collect();
        (cluster, passages)
    });
    let (coverage, count) = all(clusters.collect());
    println!("{count} packets");
    for (name, count) in &coverage.events {
        println!("{name}: {count}");
    }
    for name in [
        "arrives",
        "dropped",
        "forwarded",
        "forward policy",
        "untracked",
        "preDNAT",
        "failsafe",
        "host endpoint",
        "no host endpoint",
        "endpoint to host drops",
        "endpoint to host accepts",
        "endpoint to host returns",
        "spoofed source",
        "tunnelled by a workload",
        "end of tier denies",
        "rule allows",
        "rule denies",
        "missing profile denies",
    ] {
        assert!(coverage.events.get(name).copied().unwrap_or_default() > 0, "{name} never happened");
    }
    assert!(count >= 3000, "only {count} packets");
}

#[test]
fn every_match_field_decides_in_the_kernel() {
    let cases = fields::cases().into_iter().map(|case| (case.cluster(), vec![case.hit, case.miss]));
    all(cases.collect());
}
