//! A cluster's node set up in namespaces: its interfaces, what is beyond them, and its workloads, as a container runtime
//! and an administrator would leave them; everything else is the agent's to do.

use super::cluster::{Cluster, HOST_INTERFACES, OUTSIDERS};
use super::object::{identity, prefix, text, texts};
use super::packets::{Packet, Passage, Place, interface_of};
use super::services;
use crate::process::{run, wait_for};
use crate::sandbox;
use crate::wire::{Ear, Heard};
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

/// The MAC address of every host end, as the plugin gives it.
const HOST_END: &str = "ee:ee:ee:ee:ee:ee";
/// The link-local address made from it.
const HOST_END_LOCAL: &str = "fe80::ecee:eeff:feee:eeee";

/// How long packets that should arrive are waited for, and how long it is listened for those that should not.
const PATIENCE: Duration = Duration::from_secs(2);
const SILENCE: Duration = Duration::from_millis(60);

/// How often a packet that should arrive is sent: the first may be lost to neighbour discovery.
const ATTEMPTS: u32 = 3;

/// The node and everything around it. Lives on a thread inside a sandbox, whose network is the node's.
#[derive(Debug)]
pub struct Stage {
    ears: Vec<(Place, Ear)>,
    number: u32,
    used: BTreeSet<String>,
}

impl Stage {
    /// Sets a cluster's node up.
    ///
    /// # Errors
    /// `ip` or the kernel refuses a step.
    pub fn set(cluster: &Cluster) -> Result<Self> {
        quiet()?;
        let mut ears = vec![(Place::Host, Ear::open(None)?)];
        let mut here = String::new();
        for (interface, addresses) in HOST_INTERFACES {
            let beyond = format!("beyond-{interface}");
            fresh(&beyond)?;
            writeln!(here, "link add {interface} type veth peer name {interface} netns {beyond}")?;
            for address in addresses {
                writeln!(here, "addr add {address}/{} dev {interface} nodad", length(address))?;
            }
            writeln!(here, "link set {interface} address {} up", mac(interface, false))?;
            for (_, address) in OUTSIDERS.iter().filter(|(through, _)| *through == interface) {
                let neighbour = format!("lladdr {} dev {interface} nud permanent", mac(interface, true));
                writeln!(here, "neigh add {address} {neighbour}")?;
            }
        }
        for route in [
            "203.0.113.0/24 via 192.0.2.12",
            "10.64.1.0/24 via 192.0.2.12",
            "198.18.0.0/15 via 198.51.100.12",
            "fd5f:64:1::/64 via 2001:db8::12",
            "2001:db8:ff::/48 via 2001:db8::12",
            "2001:db8:2::/48 via 2001:db8:1::12",
            "10.96.0.0/16 via 192.0.2.12",
            "fd96::/112 via 2001:db8::12",
        ] {
            writeln!(here, "{}route add {route}", if route.contains("::") { "-6 " } else { "" })?;
        }
        for endpoint in cluster.local_workloads() {
            fresh(&netns_of(endpoint))?;
            here.push_str(&outside(endpoint)?);
        }
        batch(None, &here)?;
        for (interface, own) in HOST_INTERFACES {
            batch(Some(&format!("beyond-{interface}")), &beyond(interface, own)?)?;
            ears.push((Place::Beyond(interface), Ear::open(Some(&format!("beyond-{interface}")))?));
        }
        for endpoint in cluster.local_workloads() {
            let netns = netns_of(endpoint);
            batch(Some(&netns), &inside(endpoint)?)?;
            let (_, namespace, name) = identity(endpoint);
            ears.push((Place::Workload(namespace.to_owned(), name.to_owned()), Ear::open(Some(&netns))?));
        }
        Ok(Self { ears, number: 0, used: BTreeSet::new() })
    }

    /// Translates the cluster's services, as the proxy of a node does.
    ///
    /// # Errors
    /// `nft` refuses the rules.
    pub fn serve(&self, cluster: &Cluster) -> Result<()> {
        let mut command = Command::new("nft");
        command.args(["-f", "-"]);
        let script = services::script(&services::all(cluster));
        run(command, &script, Duration::from_secs(10))?.expect_ok("nft").map(drop)
    }

    fn ear(&self, place: &Place) -> Result<&Ear> {
        let found = self.ears.iter().find(|(here, _)| here == place);
        found.map(|(_, ear)| ear).with_context(|| format!("nobody listens at {place:?}"))
    }

    /// Whether packets, as they are on the way, begin flows that none before has touched. One that would be taken for a
    /// known flow, or for its answer, says nothing about policy.
    pub fn is_new(&mut self, packets: &[Packet]) -> bool {
        let flow = |packet: &Packet, there: bool| {
            let (one, other) = match packet.ports {
                Some((source, destination)) => {
                    (format!("{} {source}", packet.source), format!("{} {destination}", packet.destination))
                }
                None => (packet.source.to_string(), packet.destination.to_string()),
            };
            let (from, to) = if there { (one, other) } else { (other, one) };
            format!("{} {from} {to}", packet.protocol)
        };
        // each message has an identifier of its own
        let flows = || packets.iter().filter(|packet| packet.icmp.is_none());
        let known =
            |packet: &Packet| [true, false].iter().any(|there| self.used.contains(&flow(packet, *there)));
        if flows().any(known) {
            return false;
        }
        self.used.extend(flows().map(|packet| flow(packet, true)));
        true
    }

    /// Sends all packets, and says of each that arrived how it looked. Those that `wanted` says should are sent again when
    /// they do not.
    ///
    /// # Errors
    /// One cannot be sent, or a place does not exist.
    pub fn send(&mut self, passages: &[Passage], wanted: &[bool]) -> Result<Vec<Option<Heard>>> {
        let mut arrived = vec![None; passages.len()];
        let mut numbers: BTreeMap<u32, usize> = BTreeMap::new();
        for attempt in 0..ATTEMPTS {
            let mut sent = 0;
            for (index, passage) in passages.iter().enumerate() {
                let again = attempt > 0 && !wanted.get(index).copied().unwrap_or(false);
                if arrived[index].is_some() || again {
                    continue;
                }
                self.number += 1;
                numbers.insert(self.number, index);
                self.ear(&passage.from)?.send(&passage.packet, self.number)?;
                sent += 1;
                if sent % 32 == 0 {
                    self.listen(&numbers, passages, &mut arrived);
                }
            }
            if sent == 0 {
                break;
            }
            let all = |arrived: &[Option<Heard>]| {
                arrived.iter().zip(wanted).all(|(arrived, wanted)| arrived.is_some() || !wanted)
            };
            let patience = if attempt == 0 { PATIENCE / 4 } else { PATIENCE };
            let _ = wait_for("packets", patience, || {
                self.listen(&numbers, passages, &mut arrived);
                all(&arrived).then_some(())
            });
        }
        // what should not arrive is given the time to do so
        thread::sleep(SILENCE);
        self.listen(&numbers, passages, &mut arrived);
        Ok(arrived)
    }

    fn listen(&self, numbers: &BTreeMap<u32, usize>, passages: &[Passage], arrived: &mut [Option<Heard>]) {
        for (place, ear) in &self.ears {
            for heard in ear.heard() {
                let Some(index) = numbers.get(&heard.number) else { continue };
                // an answer that repeats the packet is heard where the packet came from
                if passages.get(*index).is_some_and(|passage| passage.to == *place) {
                    arrived[*index].get_or_insert(heard);
                }
            }
        }
    }
}

/// The network namespace of a workload.
pub fn netns_of(endpoint: &serde_json::Value) -> String {
    format!("in-{}", interface_of(endpoint))
}

fn length(address: &str) -> u8 {
    if address.contains(':') { 64 } else { 24 }
}

/// What waits for nothing and does nobody's work: no duplicate address detection and no filtering by reverse path in the
/// calling thread's namespace. Redirects are not believed: the kernel sends them before it asks a rule, and a workload that
/// sends to its own floating address what is not translated would look for it on its link from then on.
fn quiet() -> Result<()> {
    for scope in ["all", "default"] {
        fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/accept_dad"), "0")?;
        fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/router_solicitations"), "0")?;
        fs::write(format!("/proc/sys/net/ipv4/conf/{scope}/rp_filter"), "0")?;
        for family in ["ipv4", "ipv6"] {
            fs::write(format!("/proc/sys/net/{family}/conf/{scope}/accept_redirects"), "0")?;
        }
    }
    Ok(())
}

fn fresh(netns: &str) -> Result<()> {
    sandbox::add_netns(netns)?;
    sandbox::in_netns(netns, quiet)?
}

/// Commands of the other end of an interface: everybody who is there, and the way back.
fn beyond(interface: &str, own: &[&str]) -> Result<String> {
    let mut text = format!("link set {interface} address {} up\n", mac(interface, true));
    for (_, address) in OUTSIDERS.iter().filter(|(through, _)| *through == interface) {
        let net = own.iter().filter_map(|own| model::net::Cidr::new(own.parse().ok()?, length(own)));
        let on_link = net.clone().any(|net| prefix(address).is_some_and(|one| net.covers(&one)));
        let (device, length) =
            if on_link { (interface, length(address)) } else { ("lo", host_length(address)) };
        writeln!(text, "addr add {address}/{length} dev {device} nodad")?;
    }
    for own in own {
        let six = if own.contains(':') { "-6 " } else { "" };
        writeln!(text, "{six}route add default via {own}")?;
        writeln!(text, "neigh add {own} lladdr {} dev {interface} nud permanent", mac(interface, false))?;
    }
    Ok(text)
}

/// The MAC address of an end of an interface. Neighbours are known beforehand: a host endpoint that does not allow it
/// drops neighbour discovery too, and this is not about that.
fn mac(interface: &str, beyond: bool) -> String {
    let number = if interface == "eth0" { 0x10 } else { 0x11 };
    format!("02:00:00:00:{:02x}:{number:02x}", u8::from(beyond))
}

fn host_length(address: &str) -> u8 {
    if address.contains(':') { 128 } else { 32 }
}

/// Puts a workload's interface where it should be, with nobody who listens.
///
/// # Errors
/// `ip` refuses a step.
pub fn plug(endpoint: &serde_json::Value) -> Result<()> {
    fresh(&netns_of(endpoint))?;
    batch(None, &outside(endpoint)?)?;
    batch(Some(&netns_of(endpoint)), &inside(endpoint)?)
}

/// Takes a workload's interface away.
///
/// # Errors
/// It is not there.
pub fn unplug(endpoint: &serde_json::Value) -> Result<()> {
    batch(None, &format!("link del {}\n", interface_of(endpoint)))
}

/// Commands of the host's end of a workload's interface.
fn outside(endpoint: &serde_json::Value) -> Result<String> {
    let (interface, netns) = (interface_of(endpoint), netns_of(endpoint));
    let mut all = format!("link add {interface} type veth peer name eth0 netns {netns}\n");
    writeln!(all, "link set {interface} address {HOST_END} up")?;
    let six = |net: &&str| net.contains(':');
    for address in texts(&endpoint["spec"], "ipNetworks").filter(six).filter_map(prefix) {
        let mac = text(&endpoint["spec"], "mac");
        writeln!(all, "neigh add {} lladdr {mac} dev {interface} nud permanent", address.addr())?;
    }
    Ok(all)
}

/// Commands of a workload's end, as the plugin leaves it.
fn inside(endpoint: &serde_json::Value) -> Result<String> {
    let spec = &endpoint["spec"];
    let mut all = format!("link set eth0 address {} up\n", text(spec, "mac"));
    for net in texts(spec, "ipNetworks") {
        writeln!(all, "addr add {net} dev eth0 nodad")?;
    }
    for gateway in ["169.254.1.1", HOST_END_LOCAL] {
        writeln!(all, "neigh add {gateway} lladdr {HOST_END} dev eth0 nud permanent")?;
    }
    writeln!(all, "route add 169.254.1.1 dev eth0 scope link\nroute add default via 169.254.1.1 dev eth0")?;
    writeln!(all, "-6 route add default via {HOST_END_LOCAL} dev eth0")?;
    Ok(all)
}

/// Runs commands of `ip`, in a namespace or here.
///
/// # Errors
/// One is refused; the text shows which.
pub fn batch(netns: Option<&str>, commands: &str) -> Result<()> {
    for chosen in [false, true] {
        let mut text = String::new();
        for line in commands.lines() {
            let six = line.strip_prefix("-6 ");
            if six.is_some() == chosen {
                writeln!(text, "{}", six.unwrap_or(line))?;
            }
        }
        let mut command = Command::new("ip");
        if let Some(netns) = netns {
            command.args(["-n", netns]);
        }
        // without a family `addr` and `neigh` find it themselves
        if chosen {
            command.arg("-6");
        }
        command.args(["-batch", "-"]);
        let output = run(command, &text, Duration::from_secs(20))?;
        if !output.ok() {
            bail!("ip -batch in {netns:?}: {}\n{text}", output.stderr);
        }
    }
    Ok(())
}
