//! What is around policy: known connections, and the addresses a workload may speak for on its link.

use super::four::{CLIENT, OTHER, SERVER, endpoint, four, netns, opened, put, udp, with_agent};
use anyhow::{Context, Result, bail};
use ocicat_tests::agent::{Agent, BACKENDS, OWN};
use ocicat_tests::policy::cluster::key;
use ocicat_tests::policy::packets::{Packet, interface_of};
use ocicat_tests::process::{tool, wait_for};
use ocicat_tests::wire::Ear;
use std::fs;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// Two ends that send to each other.
pub struct Ends {
    client: Ear,
    server: Ear,
    number: u32,
}

impl Ends {
    pub fn open(cluster: &ocicat_tests::policy::cluster::Cluster) -> Result<Self> {
        let ear = |name: &str| Ear::open(Some(&netns(cluster, name)?));
        Ok(Self { client: ear("client")?, server: ear("server")?, number: 0 })
    }

    /// Whether a packet arrives; given time to.
    pub fn passes(&mut self, packet: &Packet) -> Result<bool> {
        let forth = packet.source == CLIENT.parse::<std::net::IpAddr>()?;
        let (from, to) = if forth { (&self.client, &self.server) } else { (&self.server, &self.client) };
        self.number += 1;
        from.send(packet, self.number)?;
        let heard = || to.heard().iter().any(|heard| heard.number == self.number).then_some(());
        Ok(wait_for("a packet", Duration::from_millis(150), heard).is_ok())
    }

    /// Waits until a packet fares like this.
    pub fn until(&mut self, packet: &Packet, passes: bool, agent: &Agent) -> Result<()> {
        let begun = Instant::now();
        while self.passes(packet)? != passes {
            if begun.elapsed() > PATIENCE {
                bail!("{packet:?} passes: not {passes} in time; {}", agent.log());
            }
        }
        Ok(())
    }
}

/// A connection that was allowed once goes on when policy changes, in both directions, and no longer than its endpoint is there.
#[test]
fn a_known_connection_goes_on_until_its_endpoint_leaves() {
    for (number, (name, _)) in BACKENDS.iter().enumerate() {
        known_connections(number).context(*name).unwrap();
    }
}

fn known_connections(number: usize) -> Result<()> {
    let cluster = four(&[53]);
    with_agent(number, &cluster, |node, _stage, agent| {
        let mut ends = Ends::open(&cluster)?;
        let (known, answer) = (udp(CLIENT, SERVER, (40000, 53)), udp(SERVER, CLIENT, (53, 40000)));
        assert!(ends.passes(&known)? && ends.passes(&answer)?, "{}", agent.log());
        // each attempt is a flow of its own
        let new = |port: u16| udp(CLIENT, SERVER, (port, 53));
        put(node, &opened(&[]))?;
        let mut ports = 41000..60000;
        let begun = Instant::now();
        while ends.passes(&new(ports.next().context("ports")?))? {
            assert!(begun.elapsed() < PATIENCE, "{}", agent.log());
        }
        assert!(ends.passes(&known)? && ends.passes(&answer)?, "a known connection goes on");
        // what is no connection, and no beginning of one
        let reset = Packet { protocol: 1, ports: None, icmp: Some((0, 0)), ..known };
        put(node, &opened(&[53]))?;
        ends.until(&new(ports.next().context("ports")?), true, &agent)
            .or_else(|_| ends.until(&new(ports.next().context("ports")?), true, &agent))?;
        assert!(!ends.passes(&reset)?, "an answer to nothing passes");
        put(node, &opened(&[]))?;
        let begun = Instant::now();
        while ends.passes(&new(ports.next().context("ports")?))? {
            assert!(begun.elapsed() < PATIENCE, "{}", agent.log());
        }
        assert!(ends.passes(&known)?, "a known connection goes on");
        // the endpoint leaves, and one with its address comes
        let server = endpoint(&cluster, "server")?;
        node.server().client.delete(&key(server))?;
        let route = || tool("ip", &["route", "show", SERVER]).unwrap_or_default();
        wait_for("the route to go", PATIENCE, || route().is_empty().then_some(()))?;
        put(node, server)?;
        wait_for("the route to come", PATIENCE, || (!route().is_empty()).then_some(()))?;
        assert!(!ends.passes(&known)?, "the connection of an endpoint that left: {}", agent.log());
        Ok(())
    })
}

fn neighbour(netns: Option<&str>, address: &str) -> Result<String> {
    let mut arguments: Vec<&str> = netns.iter().flat_map(|name| ["-n", *name]).collect();
    arguments.extend(["neigh", "show", address]);
    tool("ip", &arguments)
}

/// A workload resolves by ARP with its own address, and with nobody else's; nobody answers a question for its own.
#[test]
fn nobody_speaks_for_another_on_the_link() {
    let cluster = four(&[53]);
    // the other backend has Calico's table of ARP, as it was recorded (`scenarios`)
    with_agent(OWN, &cluster, |_node, _stage, agent| {
        let (inside, interface) =
            (netns(&cluster, "client")?, interface_of(endpoint(&cluster, "client")?).to_owned());
        // proxy ARP answers for what is reached elsewhere
        tool("ip", &["route", "add", "default", "via", "192.0.2.12"])?;
        let ip = |arguments: &[&str]| tool("ip", &[&["-n", &inside], arguments].concat());
        let ear = Ear::open(Some(&inside))?;
        let ask = |source: &str, target: &str, number: u32| -> Result<()> {
            let _ = ip(&["neigh", "del", "169.254.1.1", "dev", "eth0"]);
            ip(&["neigh", "flush", "dev", "eth0"])?;
            ear.send(&udp(source, target, (40000, 53)), number)
        };
        // with its own address: the gateway answers
        ask(CLIENT, SERVER, 1)?;
        let answered =
            || neighbour(Some(&inside), "169.254.1.1").ok()?.contains("ee:ee:ee:ee:ee:ee").then_some(());
        wait_for("an answer", PATIENCE, answered).with_context(|| agent.log())?;
        let tables = || tool("nft", &["list", "table", "arp", "ocicat"]);
        println!("{}", tables()?);
        // with another's: no answer, and the host learns nothing
        let accept = format!("/proc/sys/net/ipv4/conf/{interface}/arp_accept");
        fs::write(&accept, "1")?;
        ip(&["address", "add", &format!("{OTHER}/32"), "dev", "lo"])?;
        ask(OTHER, SERVER, 2)?;
        let failed = || neighbour(Some(&inside), "169.254.1.1").ok()?.contains("FAILED").then_some(());
        wait_for("no answer", PATIENCE, failed)?;
        let learnt = |address: &str| tool("ip", &["neigh", "show", address, "dev", &interface]);
        assert_eq!(learnt(OTHER)?, "", "the host believes it");
        // nor by an announcement; one of an own address that is no endpoint's yet would be believed without the table
        ip(&["address", "add", "10.64.0.99/32", "dev", "eth0"])?;
        let announce = |mac: &str| -> Result<()> {
            let sysctl = "/proc/sys/net/ipv4/conf/eth0/arp_notify";
            ocicat_tests::sandbox::in_netns(&inside, move || fs::write(sysctl, "1"))??;
            ip(&["link", "set", "eth0", "address", mac]).map(drop)
        };
        announce("0a:00:00:00:00:77")?;
        let counted = || {
            let rule = tables().ok()?;
            let line = rule.lines().find(|line| line.contains("sender's address is none"))?.to_owned();
            let packets = line.split("packets ").nth(1)?.split(' ').next()?.parse::<u64>().ok()?;
            (packets > 1).then_some(())
        };
        wait_for("the announcement to be dropped", PATIENCE, counted)
            .with_context(|| tables().unwrap_or_default())?;
        assert_eq!(learnt("10.64.0.99")?, "", "the host believes an announcement");
        announce("0a:00:00:00:00:02")?;
        // whoever asks for its own address hears nobody, even where the host has that address too
        tool("ip", &["address", "add", &format!("{CLIENT}/32"), "dev", "lo"])?;
        ip(&["address", "flush", "dev", "eth0", "scope", "global"])?;
        ip(&["address", "del", &format!("{OTHER}/32"), "dev", "lo"])?;
        ip(&["route", "add", CLIENT, "dev", "eth0", "scope", "link"])?;
        ear.send(&udp(CLIENT, CLIENT, (40000, 53)), 3)?;
        let failed = || neighbour(Some(&inside), CLIENT).ok()?.contains("FAILED").then_some(());
        wait_for("nobody to answer", PATIENCE, failed)
            .with_context(|| neighbour(Some(&inside), CLIENT).unwrap_or_default())?;
        Ok(())
    })
    .unwrap();
}
