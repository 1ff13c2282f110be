//! What a lab consists of, as data: nodes, workloads, programs and addresses. Everything else in the lab walks
//! these tables, so that more nodes, another fabric or another program are rows.

use super::fabric;
use super::shape::{Fabric, Shape};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Where the lab lives unless `OCICAT_LAB_DIR` says otherwise.
pub const DIRECTORY: &str = "/run/ocicat-lab";
/// Name of the namespace between the nodes, where the datastore is.
pub const OUTSIDE: &str = "outside";
/// Name of the router between the nodes, which lives in the outside namespace, and its address there.
pub const ROUTER: &str = "tor";
/// Address of the router: also its BGP identifier.
pub const ROUTER_ADDRESS: Ipv4Addr = ETCD_ADDRESS;
/// The same in IPv6.
pub const ROUTER_ADDRESS_V6: Ipv6Addr = Ipv6Addr::new(0xfd0c, 0xa7, 0, 0, 0, 0, 0, 1);
/// Name of the bridge that is a segment, and the host part of its own addresses.
pub const SEGMENT: &str = "segment";
const SEGMENT_GATEWAY: u8 = 254;
/// Name of the one link of a node to the outside.
pub const UPLINK: &str = "eth0";
/// Name of the link of a workload.
pub const WORKLOAD_LINK: &str = "eth0";
/// Programs of a node, within its own /run, hence on no file system of the host.
pub const NODE_PROGRAMS: &str = "/run/ocicat/bin";
/// Resources applied with `ocicat apply -f`.
pub const POOLS: &str = include_str!("pools.yaml");
/// The profile of the lab's network, applied before the first workload comes.
pub const PROFILE: &str = include_str!("profile.yaml");
/// Policies applied with `ocicat apply -f`.
pub const POLICIES: &str = include_str!("policy.yaml");
/// The label that says a workload's name in the lab.
pub const LABEL: &str = "lab";
/// The configuration every workload is attached with; the etcd address alone is replaced.
pub const CNI_TEMPLATE: &str = r#"{"name":"frontend","type":"calico","log_level":"DEBUG","etcd_endpoints":"http://162.105.175.30:2379",
 "ipam":{"type":"calico-ipam","assign_ipv4":"true","assign_ipv6":"true","ipv4_pools":["10.0.0.0/24","20.0.0.0/16"],"ipv6_pools":["2001:db8::1/120"]}}
"#;
const TEMPLATE_ETCD: &str = "http://162.105.175.30:2379";

/// Address of etcd, or of the relays to a given one, on the outside's loopback.
pub const ETCD_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// Client port of etcd and of the first relay; further relays follow.
pub const ETCD_PORT: u16 = 2379;
/// Name of the lab's own store, and of its directory in the lab's.
pub const DATASTORE: &str = "datastore";

/// A node of the lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Calico's name for it.
    pub name: String,
    /// Number from 1.
    pub number: u8,
    /// It shares its link with the other nodes.
    pub on_segment: bool,
    /// AS number; Calico's default when `None`.
    pub as_number: Option<u32>,
}

impl Node {
    /// Name of the outside's end of its uplink.
    pub fn outside_link(&self) -> String {
        format!("to-{}", self.name)
    }

    /// The addresses of its uplink: the outside's, which is the node's gateway, and the node's.
    pub fn ipv4(&self) -> (Ipv4Addr, Ipv4Addr) {
        if self.on_segment {
            let host = |number| Ipv4Addr::new(198, 51, 100, number);
            return (host(SEGMENT_GATEWAY), host(self.number));
        }
        let low = self.number.saturating_mul(2);
        (Ipv4Addr::new(192, 0, 2, low), Ipv4Addr::new(192, 0, 2, low | 1))
    }

    /// The same in IPv6.
    pub fn ipv6(&self) -> (Ipv6Addr, Ipv6Addr) {
        if self.on_segment {
            let host = |number: u8| Ipv6Addr::new(0xfd0c, 0xa7, 0, 1, 0, 0, 0, number.into());
            return (host(SEGMENT_GATEWAY), host(self.number));
        }
        let low = u16::from(self.number.saturating_mul(2));
        (Ipv6Addr::new(0xfd0c, 0xa7, 0, 0, 0, 0, 0, low), Ipv6Addr::new(0xfd0c, 0xa7, 0, 0, 0, 0, 0, low | 1))
    }
}

impl Node {
    /// Prefix lengths of its uplink: IPv4, IPv6.
    pub fn prefix_lengths(&self) -> (u8, u8) {
        if self.on_segment { (24, 64) } else { (31, 127) }
    }
}

/// A workload of the lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Its name in the lab, and of its namespace.
    pub name: String,
    /// Name of its node.
    pub node: String,
}

impl Workload {
    /// Its namespace as the node's container runtime would name it, within the node's own /run.
    pub fn netns(&self) -> String {
        format!("/run/netns/{}", self.name)
    }
}

/// Where the datastore is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Etcd {
    /// The lab starts one.
    Own,
    /// Given: `host:port` each, reached through relays, because the nodes have no way out.
    Given(Vec<String>),
}

impl Etcd {
    /// Reads what `--etcd` was given.
    ///
    /// # Errors
    /// An URL that is not `http://host:port`, in words.
    pub fn parse(urls: &str) -> Result<Self, String> {
        let one = |url: &str| {
            let url = url.trim();
            if url.starts_with("https://") {
                return Err(format!(
                    "--etcd {url}: the nodes reach etcd through a relay at an address no certificate names; \
                     give an http:// endpoint"
                ));
            }
            let rest =
                url.strip_prefix("http://").ok_or(format!("--etcd {url:?}: expected http://HOST:PORT"))?;
            let rest = rest.trim_end_matches('/');
            let port = rest
                .rsplit_once(':')
                .filter(|(host, _)| !host.is_empty())
                .map(|(_, port)| port.parse::<u16>());
            match port {
                Some(Ok(port)) if port > 0 => Ok(rest.to_string()),
                _ => {
                    Err(format!("--etcd {url}: expected http://HOST:PORT, for example http://127.0.0.1:2379"))
                }
            }
        };
        let all = urls.split(',').map(one).collect::<Result<Vec<_>, _>>()?;
        Ok(Etcd::Given(all))
    }

    /// How many addresses it has.
    fn count(&self) -> usize {
        match self {
            Etcd::Own => 1,
            Etcd::Given(all) => all.len(),
        }
    }

    /// Its addresses as seen from the nodes.
    pub fn endpoints(&self) -> Vec<String> {
        (0..self.count()).map(|number| format!("http://{}", relay_address(number))).collect()
    }

    /// The configuration of the CNI plugin for it.
    pub fn cni_config(&self) -> String {
        CNI_TEMPLATE.replace(TEMPLATE_ETCD, &self.endpoints().join(","))
    }
}

/// Where etcd, or the way to one of them, is seen from the outside namespace.
pub fn relay_address(number: usize) -> String {
    let port = usize::from(ETCD_PORT) + number;
    format!("{ETCD_ADDRESS}:{port}")
}

/// Everything the lab consists of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The workloads.
    pub workloads: Vec<Workload>,
    /// The datastore.
    pub etcd: Etcd,
    /// What was asked for.
    pub shape: Shape,
}

impl Plan {
    /// One node with four workloads, or several with two each.
    pub fn new(etcd: Etcd, shape: Shape) -> Self {
        let several = shape.nodes > 1;
        let node = |number: u8| Node {
            name: format!("node-{number}"),
            number,
            on_segment: several && shape.fabric == Fabric::Segment,
            as_number: fabric::node_as(shape.fabric, number),
        };
        let nodes: Vec<Node> = (1..=shape.nodes).map(node).collect();
        let each = if several { 2 } else { 4 };
        let homes = nodes.iter().flat_map(|node| std::iter::repeat_n(&node.name, each));
        let workload = |(number, node): (usize, &String)| Workload {
            name: format!("w{}", number + 1),
            node: node.clone(),
        };
        let workloads = homes.enumerate().map(workload).collect();
        Self { nodes, workloads, etcd, shape }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_node_with_four_workloads() {
        let plan = Plan::new(Etcd::Own, Shape::default());
        assert_eq!(plan.nodes.len(), 1);
        let names: Vec<_> = plan.workloads.iter().map(|w| (w.name.as_str(), w.node.as_str())).collect();
        assert_eq!(names, [("w1", "node-1"), ("w2", "node-1"), ("w3", "node-1"), ("w4", "node-1")]);
        let (outside, node) = plan.nodes[0].ipv4();
        assert_eq!((outside.to_string(), node.to_string()), ("192.0.2.2".into(), "192.0.2.3".into()));
        assert_eq!(plan.nodes[0].ipv6().1.to_string(), "fd0c:a7::3");
        assert!(plan.nodes[0].outside_link().len() <= 15);
    }

    #[test]
    fn the_configuration_differs_from_the_issues_in_the_etcd_address_alone() {
        let ours = Etcd::Own.cni_config();
        assert_eq!(ours.replace("http://192.0.2.1:2379", TEMPLATE_ETCD), CNI_TEMPLATE);
        assert!(!ours.contains("162.105.175.30"));
        let parsed: serde_json::Value = serde_json::from_str(&ours).unwrap();
        assert_eq!(parsed["etcd_endpoints"], "http://192.0.2.1:2379");
        assert_eq!(parsed["ipam"]["ipv6_pools"][0], "2001:db8::1/120");
    }

    #[test]
    fn several_nodes_have_two_workloads_each_and_share_a_link_or_do_not() {
        let plan = |fabric| Plan::new(Etcd::Own, Shape { nodes: 3, fabric, ..Shape::default() });
        let segment = plan(Fabric::Segment);
        let names: Vec<_> = segment.workloads.iter().map(|w| (w.name.as_str(), w.node.as_str())).collect();
        assert_eq!(names[1..4], [("w2", "node-1"), ("w3", "node-2"), ("w4", "node-2")]);
        let addresses: Vec<_> = segment.nodes.iter().map(|node| node.ipv4().1.to_string()).collect();
        assert_eq!(addresses, ["198.51.100.1", "198.51.100.2", "198.51.100.3"]);
        assert_eq!(segment.nodes[0].ipv4().0, segment.nodes[2].ipv4().0, "one gateway for all");
        let routed = plan(Fabric::Routed);
        assert_eq!(routed.nodes[2].ipv4().1.to_string(), "192.0.2.7");
        assert_eq!(
            routed.nodes.iter().map(|node| node.as_number).collect::<Vec<_>>(),
            [Some(65101), Some(65102), Some(65103)]
        );
    }

    #[test]
    fn endpoints_that_cannot_be_used_are_refused_with_the_reason() {
        for (bad, says) in [
            ("https://10.0.0.1:2379", "certificate"),
            ("10.0.0.1:2379", "http://HOST:PORT"),
            ("http://10.0.0.1", "http://127.0.0.1:2379"),
            ("http://:2379", "http://127.0.0.1:2379"),
            ("http://10.0.0.1:0", "http://127.0.0.1:2379"),
            ("http://10.0.0.1:2379,", "http://HOST:PORT"),
            ("", "http://HOST:PORT"),
        ] {
            let error = Etcd::parse(bad).unwrap_err();
            assert!(error.contains(says), "{bad}: {error}");
        }
    }

    #[test]
    fn the_pools_cover_the_configurations_ranges() {
        for cidr in ["10.0.0.0/24", "20.0.0.0/16", "2001:db8::/120"] {
            assert!(POOLS.contains(&format!("cidr: {cidr}")), "{cidr}");
        }
        assert_eq!(POOLS.matches("kind: IPPool").count(), 3);
    }
}
