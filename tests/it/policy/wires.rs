//! The harness itself: without an agent and with routes by hand, every packet arrives that no kernel rule stops.

use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::policy::cluster::{Cluster, NODE};
use ocicat_tests::policy::object::{list, text, texts};
use ocicat_tests::policy::oracle::Oracle;
use ocicat_tests::policy::packets::{self, Packet, Passage, interface_of};
use ocicat_tests::policy::passage::begins_a_flow;
use ocicat_tests::policy::stage::{self, Stage};
use ocicat_tests::process::run;
use ocicat_tests::random::Random;
use ocicat_tests::sandbox;
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Duration;

/// What an agent would do beside rules: routes to workloads, neighbours, forwarding.
pub fn by_hand(cluster: &Cluster) -> anyhow::Result<()> {
    let mut routes = String::new();
    let oracle = Oracle::new(NODE, cluster.resources.clone());
    let floats = oracle.setting("floatingIPs").as_str() == Some("Enabled");
    for endpoint in cluster.local_workloads() {
        let external = list(&endpoint["spec"], "ipNATs").map(|nat| text(nat, "externalIP"));
        let external: Vec<&str> = external.filter(|_| floats).collect();
        for net in texts(&endpoint["spec"], "ipNetworks").chain(external) {
            let six = if net.contains(':') { "-6 " } else { "" };
            routes.push_str(&format!("{six}route add {net} dev {}\n", interface_of(endpoint)));
            let neighbour = format!(
                "lladdr {} dev {} nud permanent",
                text(&endpoint["spec"], "mac"),
                interface_of(endpoint)
            );
            if let Some((address, "32")) = net.split_once('/') {
                routes.push_str(&format!("neigh add {address} {neighbour}\n"));
            }
        }
        fs::write(format!("/proc/sys/net/ipv4/conf/{}/proxy_arp", interface_of(endpoint)), "1")?;
    }
    stage::batch(None, &routes)?;
    for path in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        fs::write(format!("/proc/sys/net/{path}"), "1")?;
    }
    Ok(())
}

#[test]
fn every_kind_of_packet_arrives_and_a_rule_stops_it() {
    sandbox::within(NODE, programs(Build::Plain).unwrap(), || {
        let cluster = Cluster::new(3);
        let mut stage = Stage::set(&cluster)?;
        by_hand(&cluster)?;
        let mut random = Random::new(7);
        let oracle = Oracle::new(NODE, cluster.resources.clone());
        let places = |packet: &Packet| oracle.place_of(packet.destination);
        let passages: Vec<Passage> = std::iter::repeat_with(|| packets::passage(&cluster, &mut random))
            .take(300)
            .flatten()
            .filter(|passage| begins_a_flow(&passage.packet))
            // the kernel itself drops what seems to come from its own address
            .filter(|passage| !packets::is_spoofed(&cluster, passage))
            // nobody translates
            .filter(|passage| places(&passage.packet) == Some(passage.to.clone()))
            .collect();
        let passages: Vec<_> = passages.into_iter().filter(|one| stage.is_new(&[one.packet])).collect();
        let arrived = stage.send(&passages, &vec![true; passages.len()])?;
        let mut kinds: BTreeMap<(u8, u8), u32> = BTreeMap::new();
        for (passage, arrived) in passages.iter().zip(arrived) {
            let arrived = arrived.unwrap_or_else(|| panic!("{}", packets::describe(passage)));
            let port = passage.packet.ports.map(|(source, _)| source);
            assert_eq!((arrived.source, arrived.port), (passage.packet.source, port));
            *kinds.entry((passage.packet.version(), passage.packet.protocol)).or_default() += 1;
        }
        println!("packets by version and protocol: {kinds:?}");
        for kind in [(4, 1), (4, 6), (4, 17), (4, 47), (4, 132), (6, 58), (6, 6), (6, 17), (6, 47), (6, 132)]
        {
            assert!(kinds.contains_key(&kind), "no packet of {kind:?}");
        }
        // with a rule that drops everything nothing arrives, and what connection tracking calls invalid would be counted
        let mut rules = String::from("table inet stop {\ncounter bad { }\n");
        for hook in ["prerouting", "output"] {
            rules.push_str(&format!("chain at-{hook} {{\ntype filter hook {hook} priority filter\n"));
            rules.push_str("ct state invalid counter name bad\ndrop\n}\n");
        }
        rules.push('}');
        run_nft(&rules)?;
        let arrived = stage.send(&passages, &vec![false; passages.len()])?;
        assert!(arrived.iter().all(Option::is_none), "a rule that drops all does not");
        let counter = run_nft("list counter inet stop bad")?;
        assert!(counter.contains("packets 0 "), "connection tracking calls some invalid: {counter}");
        Ok(())
    })
    .unwrap();
}

fn run_nft(script: &str) -> anyhow::Result<String> {
    let mut command = Command::new("nft");
    command.args(["-f", "-"]);
    run(command, script, Duration::from_secs(10))?.expect_ok("nft -f -")
}
