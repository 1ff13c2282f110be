//! Services, as a proxy of another program translates them (its tables are no business of the agent's).

use super::cluster::Cluster;
use super::object::{prefix, texts};
use super::packets::Packet;
use std::fmt::Write as _;
use std::net::IpAddr;

/// Packets of TCP and UDP to an address and port that go elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Service {
    /// The address; `None` for any of the host's own, of the family of the target.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
    /// Address and port behind it.
    pub target: (IpAddr, u16),
}

/// What is not translated, of the same networks: it would leave the node and come back.
pub const UNKNOWN: [&str; 2] = ["10.96.0.99", "fd96::99"];

/// The cluster's services: one workload by a service address and by a port of the node, and something outside.
pub fn all(cluster: &Cluster) -> Vec<Service> {
    let mut all = Vec::new();
    let own = |four: bool| {
        let nets =
            cluster.local_workloads().flat_map(|one| texts(&one["spec"], "ipNetworks")).filter_map(prefix);
        nets.map(|net| net.addr()).find(|address| address.is_ipv4() == four)
    };
    for (four, service, other, outside) in
        [(true, "10.96.0.10", "10.96.0.12", "192.0.2.12"), (false, "fd96::10", "fd96::12", "2001:db8::12")]
    {
        if let Some(workload) = own(four) {
            let target = (workload, 8080);
            all.push(Service { address: service.parse().ok(), port: 80, target });
            all.push(Service { address: None, port: 30080, target });
        }
        if let Ok(outside) = outside.parse() {
            all.push(Service { address: other.parse().ok(), port: 80, target: (outside, 8080) });
        }
    }
    all
}

/// A packet as the proxy leaves it; `own` are the host's addresses.
pub fn translated(services: &[Service], packet: &Packet, own: &[IpAddr]) -> Option<Packet> {
    let (source, port) = packet.ports.filter(|_| matches!(packet.protocol, 6 | 17))?;
    let is_own = own.contains(&packet.destination);
    let about = |service: &&Service| {
        let address = match service.address {
            Some(address) => address == packet.destination,
            None => is_own && service.target.0.is_ipv4() == packet.destination.is_ipv4(),
        };
        address && service.port == port
    };
    let (destination, port) = services.iter().find(about)?.target;
    Some(Packet { destination, ports: Some((source, port)), ..*packet })
}

/// The proxy's tables.
pub fn script(services: &[Service]) -> String {
    let mut script = String::new();
    for (family, four) in [("ip", true), ("ip6", false)] {
        let _ = writeln!(script, "table {family} service-proxy {{\nchain services {{");
        for Service { address, port, target: (to, to_port) } in services {
            if to.is_ipv4() != four {
                continue;
            }
            let about =
                address.map_or("fib daddr type local".to_owned(), |to| format!("{family} daddr {to}"));
            let to = if four { to.to_string() } else { format!("[{to}]") };
            for protocol in ["tcp", "udp"] {
                let _ = writeln!(script, "{about} {protocol} dport {port} dnat to {to}:{to_port}");
            }
        }
        script.push_str("}\n");
        for hook in ["prerouting", "output"] {
            let _ =
                writeln!(script, "chain at-{hook} {{\ntype nat hook {hook} priority -100\njump services\n}}");
        }
        script.push_str("}\n");
    }
    script
}
