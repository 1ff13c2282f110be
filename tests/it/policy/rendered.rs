//! The ruleset as it is rendered, in a real kernel, against the oracle: real packets between all places of a node.
//!
//! Routes and parameters are set by hand: this is about rules alone, and needs no agent.

use super::told;
use super::wires::by_hand;
use felix_render::Render;
use felix_render::nft::{Renderer, Update, table};
use kernel::{Netns, Nftables};
use netfilter::nft::{Change, Family, Place, Table};
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::policy::cluster::{Cluster, HOST_INTERFACES, NODE};
use ocicat_tests::policy::fields;
use ocicat_tests::policy::matching::Coverage;
use ocicat_tests::policy::oracle::Oracle;
use ocicat_tests::policy::packets::{self, Passage};
use ocicat_tests::policy::stage::Stage;
use ocicat_tests::policy::{services, trial};
use ocicat_tests::random::{Random, seed};
use ocicat_tests::sandbox;
use std::net::IpAddr;

/// Clusters of a run, and packets tried for each.
const CLUSTERS: u64 = 40;
const PACKETS: usize = 150;
/// How often as many clusters again are judged for what has not occurred.
const ROUNDS: u64 = 3;

/// Puts the ruleset of a cluster into the calling thread's namespace.
fn program(cluster: &Cluster, random: &mut Random) {
    let mut renderer = Renderer::new(told::settings(cluster).rules);
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
                (0, Update::Set { family, name, shape: Some(shape) }) => {
                    batch.push(Change::AddSet(shape.in_kernel(table(*family), name)));
                }
                (0, Update::Chain { family, name, chain: Some(chain) }) => {
                    batch.push(Change::AddChain(chain.in_kernel(table(*family), name)));
                }
                (1, Update::Elements { family, set, added, .. }) => batch.push(Change::AddElements {
                    table: table(*family),
                    set: set.to_string(),
                    elements: added.clone(),
                }),
                (2, Update::Chain { family, name, chain: Some(chain) }) => {
                    let rules = chain.rules.iter().map(|rule| rule.in_kernel(table(*family), name));
                    batch.extend(rules.map(|rule| Change::AddRule(rule, Place::Last)));
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
) -> anyhow::Result<(Vec<String>, usize)> {
    let oracle = Oracle::new(NODE, cluster.resources.clone()).beside(services::all(cluster));
    let mut stage = Stage::set(cluster)?;
    stage.serve(cluster)?;
    by_hand(cluster)?;
    program(cluster, random);
    let (wrong, count) = trial::judge(&oracle, &mut stage, passages, coverage)?;
    Ok((wrong.into_iter().map(|text| format!("cluster {}: {text}", cluster.seed)).collect(), count))
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
                        judge(&cluster, passages, &mut Random::new(cluster.seed), &mut coverage)
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

/// What must have happened to packets.
const EVENTS: [&str; 65] = [
    "arrives",
    "dropped",
    "forwarded",
    "forwarded by a host endpoint, inbound, allowed",
    "forwarded by a host endpoint, inbound, denied",
    "forwarded by a host endpoint, outbound, allowed",
    "forwarded by a host endpoint, outbound, denied",
    "to the host, allowed",
    "to the host, denied",
    "from the host, allowed",
    "from the host, denied",
    "untracked, inbound, accepted",
    "untracked, inbound, dropped",
    "untracked, outbound, accepted",
    "untracked, outbound, dropped",
    "untracked, undecided",
    "untracked policy of all interfaces, without effect",
    "failsafe, untracked",
    "preDNAT, accepted",
    "preDNAT, dropped",
    "preDNAT, undecided",
    "preDNAT of what is translated",
    "preDNAT of all interfaces",
    "failsafe, preDNAT",
    "failsafe, inbound",
    "failsafe, outbound",
    "host endpoint by name",
    "host endpoint by address",
    "host endpoint of all interfaces",
    "no host endpoint",
    "endpoint to host drops",
    "endpoint to host accepts",
    "endpoint to host returns",
    "spoofed source",
    "foreign source granted",
    "foreign source not granted",
    "tunnelled by a workload",
    "tunnelled by a workload that may",
    "invalid",
    "invalid, not checked",
    "invalid, forwarded without forward policy",
    "floating address",
    "workload to itself by its floating address",
    "service",
    "service loop",
    "translated and forwarded",
    "translated from the host to outside",
    "outgoing NAT",
    "outgoing NAT to the given address",
    "outgoing NAT to the given ports",
    "outgoing NAT spares a pool",
    "outgoing NAT spares a node",
    "outgoing NAT spares an external node",
    "outgoing NAT to a pool of load balancers",
    "outgoing NAT of another interface",
    "rule allows",
    "rule denies",
    "rule passes",
    "rule logs",
    "end of tier denies",
    "end of tier passes",
    "profile allows",
    "profile denies",
    "missing profile denies",
    "no profile allows",
];

#[test]
fn real_packets_meet_the_oracles_verdicts() {
    let base = seed();
    let (mut coverage, mut count) = (Coverage::default(), 0);
    let missing = |coverage: &Coverage| -> Vec<&str> {
        let happened = |name: &&str| coverage.events.get(*name).copied().unwrap_or_default() > 0;
        EVENTS.into_iter().chain(trial::PROTOCOLS).chain(trial::ENDS).filter(|name| !happened(name)).collect()
    };
    // what is rare by chance gets more chances
    for round in 0..=ROUNDS {
        if round > 0 && missing(&coverage).is_empty() {
            break;
        }
        let clusters = (0..CLUSTERS).map(|index| {
            let seed = base.wrapping_add(round * CLUSTERS + index);
            let cluster = if index % 4 == 0 { Cluster::with_hosts(seed) } else { Cluster::new(seed) };
            let mut random = Random::new(cluster.seed ^ 0xace);
            let some =
                std::iter::repeat_with(|| packets::passage(&cluster, &mut random)).take(PACKETS).flatten();
            let passages = some.collect();
            (cluster, passages)
        });
        let (found, sent) = all(clusters.collect());
        coverage.add(&found);
        count += sent;
    }
    println!("{count} packets");
    for (name, count) in &coverage.events {
        println!("{name}: {count}");
    }
    let missing = missing(&coverage);
    assert!(missing.is_empty(), "never happened: {missing:?}");
    assert!(count >= 3000, "only {count} packets");
}

#[test]
fn every_match_field_decides_in_the_kernel() {
    let cases = fields::cases().into_iter().map(|case| (case.cluster(), vec![case.hit, case.miss]));
    all(cases.collect());
}
