//! Hosts: a network namespace each, joined to the caller's, with veth pairs of workloads. A host runs the agent, or is the
//! floor that it is measured against.

use super::state::{CLIENT, SERVER, address, interface, mac};
use anyhow::{Context, Result};
use ocicat_tests::process::{run, tool};
use ocicat_tests::sandbox::{add_netns, del_netns, in_netns};
use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

/// MAC address of every host end, as the CNI plugin sets it.
const HOST_MAC: &str = "ee:ee:ee:ee:ee:ee";

/// One host. Workloads [`SERVER`] and [`CLIENT`] have namespaces of their own, the others' ends share one.
#[derive(Debug)]
pub struct Host {
    name: String,
    number: u8,
    locals: usize,
}

impl Host {
    /// A host with `locals` workloads; `number` is its own among all hosts.
    ///
    /// # Errors
    /// Those of `ip`.
    pub fn build(name: &str, number: u8, locals: usize) -> Result<Self> {
        let host = Self { name: name.to_owned(), number, locals };
        host.remove()?;
        for netns in host.namespaces() {
            add_netns(&netns)?;
        }
        let (uplink, others) = (host.uplink(), host.others());
        tool("ip", &["link", "add", &uplink, "type", "veth", "peer", "name", "eth0", "netns", name])?;
        tool("ip", &["addr", "add", &format!("10.255.{number}.1/24"), "dev", &uplink])?;
        tool("ip", &["link", "set", &uplink, "up"])?;
        let mut lines = format!("addr add 10.255.{number}.2/24 dev eth0\nlink set eth0 up\n");
        let mut far = String::new();
        for n in 0..locals {
            let (interface, mac) = (interface(n), mac(n));
            let (netns, peer) = match host.netns_of(n) {
                Some(netns) => (netns, "eth0".to_owned()),
                None => (others.clone(), format!("w{n}")),
            };
            writeln!(
                lines,
                "link add {interface} address {HOST_MAC} type veth peer name {peer} address {mac} netns {netns}\n\
                 link set {interface} up"
            )?;
            if netns == others {
                writeln!(far, "link set {peer} up")?;
            }
        }
        batch(name, &lines)?;
        batch(&others, &far)?;
        for n in [SERVER, CLIENT].into_iter().filter(|n| *n < locals) {
            let netns = host.netns_of(n).context("a namespace")?;
            batch(
                &netns,
                &format!(
                    "addr add {}/32 dev eth0\nlink set eth0 up\nroute add 169.254.1.1 dev eth0 scope link\n\
                     neigh add 169.254.1.1 lladdr {HOST_MAC} dev eth0 nud permanent\nroute add default via 169.254.1.1\n",
                    address(n)
                ),
            )?;
        }
        in_netns(name, || fs::write("/proc/sys/net/ipv4/ip_forward", "1"))?.context("ip_forward")?;
        Ok(host)
    }

    /// Makes it the floor: routes to its workloads, and one forward rule that accepts ESTABLISHED, that is conntrack
    /// alone. With `accounting` conntrack counts packets and bytes of each connection, as an agent sets its host up
    /// (`felix.md` §10 of the contract): what is measured against it then is the rules.
    ///
    /// # Errors
    /// Those of `ip` and `nft`, and of the parameter.
    pub fn floor(self, accounting: bool) -> Result<Self> {
        let mut lines = String::new();
        for n in 0..self.locals {
            writeln!(lines, "route add {}/32 dev {} scope link", address(n), interface(n))?;
        }
        batch(&self.name, &lines)?;
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, "nft", "-f", "-"]);
        let rules = "table ip floor {\n chain forward {\n  type filter hook forward priority 0; policy accept;\n  \
                     ct state established,related accept\n }\n}\n";
        run(command, rules, Duration::from_secs(20))?.expect_ok("nft -f -")?;
        let value = if accounting { "1" } else { "0" };
        in_netns(&self.name, || fs::write("/proc/sys/net/netfilter/nf_conntrack_acct", value))?
            .context("nf_conntrack_acct")?;
        Ok(self)
    }

    /// Its namespace.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The caller's end of its uplink.
    pub fn uplink(&self) -> String {
        format!("up{}", self.number)
    }

    /// Where etcd listens for it.
    pub fn store_address(&self) -> SocketAddr {
        SocketAddr::from(([10, 255, self.number, 1], 2379))
    }

    /// Namespace of the workload that receives.
    pub fn server(&self) -> String {
        format!("{}-server", self.name)
    }

    /// Namespace of the workload that sends.
    pub fn client(&self) -> String {
        format!("{}-client", self.name)
    }

    fn others(&self) -> String {
        format!("{}-others", self.name)
    }

    fn netns_of(&self, n: usize) -> Option<String> {
        match n {
            SERVER => Some(self.server()),
            CLIENT => Some(self.client()),
            _ => None,
        }
    }

    fn namespaces(&self) -> [String; 4] {
        [self.name.clone(), self.server(), self.client(), self.others()]
    }

    fn remove(&self) -> Result<()> {
        let _ = tool("ip", &["link", "del", &self.uplink()]);
        self.namespaces().iter().try_for_each(|netns| del_netns(netns))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.remove();
    }
}

fn batch(netns: &str, lines: &str) -> Result<()> {
    let mut command = Command::new("ip");
    command.args(["-n", netns, "-batch", "-"]);
    run(command, lines, Duration::from_secs(60))?.expect_ok(&format!("ip -n {netns} -batch -")).map(drop)
}
