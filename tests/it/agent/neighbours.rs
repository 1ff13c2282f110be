//! ARP of a workload: the host answers for everybody else, not for the workload itself, and believes no false sender.

use anyhow::{Context, Result};
use ocicat_tests::agent::Agent;
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::node::{NAME, Node};
use ocicat_tests::policy::packets::Packet;
use ocicat_tests::policy::stage::batch;
use ocicat_tests::process::{tool, wait_for};
use ocicat_tests::sandbox;
use ocicat_tests::wire::Ear;
use serde_json::Value;
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
metadata: {name: node--1-cni-one-eth0, namespace: default}
spec: {node: node-1, orchestrator: cni, containerID: one, endpoint: eth0, interfaceName: calione,
  mac: '0a:00:00:00:00:01', ipNetworks: [10.64.0.2/32, 10.64.0.9/32], profiles: [open]}
---
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {name: node--1-cni-two-eth0, namespace: default}
spec: {node: node-1, orchestrator: cni, containerID: two, endpoint: eth0, interfaceName: calitwo,
  mac: '0a:00:00:00:00:02', ipNetworks: [10.64.0.3/32], profiles: [open]}
";

/// A workload's pair, without what the plugin sets permanently: here addresses are asked for.
fn workload(name: &str, mac: &str, addresses: &[&str]) -> Result<()> {
    sandbox::add_netns(name)?;
    batch(
        None,
        &format!(
            "link add cali{name} type veth peer name eth0 netns {name}\n\
             link set cali{name} address ee:ee:ee:ee:ee:ee up\n"
        ),
    )?;
    let given: String = addresses.iter().map(|address| format!("addr add {address}/32 dev eth0\n")).collect();
    let first = addresses.first().context("an address")?;
    batch(
        Some(name),
        &format!(
            "link set eth0 address {mac}\nlink set eth0 up\n{given}route add 169.254.1.1 dev eth0 scope link\n\
             route add default via 169.254.1.1 dev eth0 src {first}\n"
        ),
    )
}

/// How many messages met the rule of the ARP table with this in its comment.
fn dropped(comment: &str) -> Option<u64> {
    let table: Value =
        serde_json::from_str(&tool("nft", &["-j", "list", "table", "arp", "ocicat"]).ok()?).ok()?;
    let rules = table["nftables"].as_array()?.iter().map(|object| &object["rule"]);
    let rule =
        rules.into_iter().find(|rule| rule["comment"].as_str().is_some_and(|text| text.contains(comment)))?;
    rule["expr"].as_array()?.iter().find_map(|one| one["counter"]["packets"].as_u64())
}

fn udp(from: &str, to: &str) -> Result<Packet> {
    Ok(Packet {
        source: from.parse()?,
        destination: to.parse()?,
        protocol: 17,
        ports: Some((1000, 2000)),
        icmp: None,
    })
}

#[test]
fn the_host_answers_for_others_and_believes_no_false_sender() {
    sandbox::within(NAME, programs(Build::Plain).unwrap(), || {
        let node = Node::start()?;
        node.apply(CLUSTER)?;
        workload("one", "0a:00:00:00:00:01", &["10.64.0.2", "10.64.0.9"])?;
        workload("two", "0a:00:00:00:00:02", &["10.64.0.3"])?;
        // the host answers for what it would send elsewhere
        batch(
            None,
            "link add up0 type veth peer name up1\nlink set up1 up\nlink set up0 up\nroute add default dev up0\n",
        )?;
        let agent = Agent::start(NAME, &node.server().url(), &[])?;
        wait_for("both are up", PATIENCE, || {
            let routes = tool("ip", &["route", "show", "proto", "80"]).ok()?;
            (routes.contains("calione") && routes.contains("calitwo")).then_some(())
        })
        .with_context(|| agent.log())?;

        // the gateway is found, and a packet arrives
        let (one, two) = (Ear::open(Some("one"))?, Ear::open(Some("two"))?);
        wait_for("a packet arrives", PATIENCE, || {
            one.send(&udp("10.64.0.2", "10.64.0.3").ok()?, 7).ok()?;
            std::thread::sleep(Duration::from_millis(20));
            two.heard().iter().any(|heard| heard.number == 7).then_some(())
        })
        .with_context(|| agent.log())?;
        let gateway = tool("ip", &["-n", "one", "neigh", "show", "169.254.1.1"])?;
        assert!(gateway.contains("ee:ee:ee:ee:ee:ee"), "{gateway}");

        // a workload says that it has another's address: once for each of its addresses, of which one is not its own
        let spoofed = "sender's address is none of the workload's";
        assert_eq!(dropped(spoofed), Some(0), "so far all senders were true");
        batch(Some("one"), "addr add 10.64.0.3/32 dev eth0\n")?;
        tool(
            "ip",
            &["netns", "exec", "one", "sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/eth0/arp_notify"],
        )?;
        batch(Some("one"), "link set eth0 address 0a:00:00:00:00:01\n")?;
        wait_for("a false sender is dropped", PATIENCE, || dropped(spoofed).filter(|count| *count > 0))?;
        assert_eq!(dropped(spoofed), Some(1));
        batch(Some("one"), "addr del 10.64.0.3/32 dev eth0\n")?;

        // it asks for an address of its own, which the host seems to have elsewhere
        let own = "its own address";
        assert_eq!(dropped(own), Some(0));
        batch(None, "route add 10.64.0.9/32 dev up0 metric 1\n")?;
        batch(
            Some("one"),
            "addr del 10.64.0.9/32 dev eth0\nroute add 10.64.0.9/32 dev eth0 scope link src 10.64.0.2\n",
        )?;
        one.send(&udp("10.64.0.2", "10.64.0.9")?, 8)?;
        wait_for("the answer is dropped", PATIENCE, || dropped(own).filter(|count| *count > 0))?;
        let asked = tool("ip", &["-n", "one", "neigh", "show", "10.64.0.9"])?;
        assert!(!asked.contains("lladdr"), "{asked}");
        Ok(())
    })
    .unwrap();
}
