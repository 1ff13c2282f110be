//! What a lab consists of, as data: nodes, workloads, programs and addresses. Everything else in the lab walks
//! these tables, so that more nodes, another fabric or another program are rows.

use super::state::Identity;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

/// Where the lab lives unless `OCICAT_LAB_DIR` says otherwise.
pub const DIRECTORY: &str = "/run/ocicat-lab";
/// Name of the namespace between the nodes, where etcd is.
pub const OUTSIDE: &str = "outside";
/// Name of the one link of a node to the outside.
pub const UPLINK: &str = "eth0";
/// Name of the link of a workload.
pub const WORKLOAD_LINK: &str = "eth0";
/// Programs of a node, within its own /run, hence on no file system of the host.
pub const NODE_PROGRAMS: &str = "/run/ocicat/bin";
/// Resources applied with `ocicat apply -f`.
pub const POOLS: &str = include_str!("pools.yaml");
/// The configuration every workload is attached with; the etcd address alone is replaced.
pub const CNI_TEMPLATE: &str = r#"{"name":"frontend","type":"calico","log_level":"DEBUG","etcd_endpoints":"http://162.105.175.30:2379",
 "ipam":{"type":"calico-ipam","assign_ipv4":"true","assign_ipv6":"true","ipv4_pools":["10.0.0.0/24","20.0.0.0/16"],"ipv6_pools":["2001:db8::1/120"]}}
"#;
const TEMPLATE_ETCD: &str = "http://162.105.175.30:2379";

/// Address of etcd, or of the relays to a given one, on the outside's loopback.
pub const ETCD_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// Client port of etcd and of the first relay; further relays follow.
pub const ETCD_PORT: u16 = 2379;
/// Port etcd insists on having for other members, of which there are none.
pub const ETCD_PEER_PORT: u16 = 2380;

/// A node of the lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Calico's name for it.
    pub name: String,
    /// Number from 1.
    pub number: u8,
}

impl Node {
    /// Name of the outside's end of its uplink.
    pub fn outside_link(&self) -> String {
        format!("to-{}", self.name)
    }

    /// The /31 of its uplink: the outside's address, the node's.
    pub fn ipv4(&self) -> (Ipv4Addr, Ipv4Addr) {
        let low = self.number.saturating_mul(2);
        (Ipv4Addr::new(192, 0, 2, low), Ipv4Addr::new(192, 0, 2, low | 1))
    }

    /// The /127 of its uplink: the outside's address, the node's.
    pub fn ipv6(&self) -> (Ipv6Addr, Ipv6Addr) {
        let low = u16::from(self.number.saturating_mul(2));
        (Ipv6Addr::new(0xfd0c, 0xa7, 0, 0, 0, 0, 0, low), Ipv6Addr::new(0xfd0c, 0xa7, 0, 0, 0, 0, 0, low | 1))
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

fn relay_address(number: usize) -> String {
    let port = usize::from(ETCD_PORT) + number;
    format!("{ETCD_ADDRESS}:{port}")
}

/// Where a program of the lab runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Where {
    /// In the host's namespaces.
    Host,
    /// In the namespace between the nodes.
    Outside,
}

/// A program that runs as long as the lab does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Its name in the state file, in `status`, and of its log.
    pub name: String,
    /// Where it runs.
    pub place: Where,
    /// The program.
    pub path: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// The address that answers once it is ready, as seen from the outside namespace.
    pub ready: String,
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
}

impl Plan {
    /// One node with four workloads.
    pub fn new(etcd: Etcd) -> Self {
        let nodes = vec![Node { name: "node-1".to_string(), number: 1 }];
        let workloads = nodes
            .iter()
            .flat_map(|node| (1..=4).map(|n| Workload { name: format!("w{n}"), node: node.name.clone() }))
            .collect();
        Self { nodes, workloads, etcd }
    }

    /// The table of programs. `own` is this program, which is also the relay.
    pub fn programs(&self, directory: &Path, etcd: &Path, own: &Path) -> Vec<Program> {
        match &self.etcd {
            Etcd::Own => vec![etcd_server(directory, etcd)],
            Etcd::Given(targets) => targets
                .iter()
                .enumerate()
                .map(|(number, target)| {
                    let netns = directory.join("ns").join(OUTSIDE).display().to_string();
                    let words = [
                        "lab",
                        "relay",
                        "--netns",
                        &netns,
                        "--listen",
                        &relay_address(number),
                        "--to",
                        target,
                    ];
                    Program {
                        name: format!("etcd-relay-{}", number + 1),
                        place: Where::Host,
                        path: own.to_path_buf(),
                        args: words.map(str::to_string).to_vec(),
                        ready: relay_address(number),
                    }
                })
                .collect(),
        }
    }
}

fn etcd_server(directory: &Path, path: &Path) -> Program {
    let client = format!("http://{ETCD_ADDRESS}:{ETCD_PORT}");
    let peer = format!("http://{ETCD_ADDRESS}:{ETCD_PEER_PORT}");
    let args = [
        ("--name", "ocicat-lab".to_string()),
        ("--data-dir", directory.join("etcd").display().to_string()),
        ("--listen-client-urls", client.clone()),
        ("--advertise-client-urls", client),
        ("--listen-peer-urls", peer.clone()),
        ("--initial-advertise-peer-urls", peer.clone()),
        ("--initial-cluster", format!("ocicat-lab={peer}")),
        // One member elects itself; there is nothing to wait for.
        ("--heartbeat-interval", "20".to_string()),
        ("--election-timeout", "100".to_string()),
    ];
    Program {
        name: "etcd".to_string(),
        place: Where::Outside,
        path: path.to_path_buf(),
        args: args.into_iter().flat_map(|(flag, value)| [flag.to_string(), value]).collect(),
        ready: relay_address(0),
    }
}

/// A program that was started.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Started {
    /// Its name in the table.
    pub name: String,
    /// Which process it is.
    #[serde(flatten)]
    pub identity: Identity,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_node_with_four_workloads() {
        let plan = Plan::new(Etcd::Own);
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
    fn given_endpoints_are_seen_through_relays() {
        let etcd = Etcd::parse("http://127.0.0.1:2379,http://[::1]:4001/").unwrap();
        assert_eq!(etcd, Etcd::Given(vec!["127.0.0.1:2379".into(), "[::1]:4001".into()]));
        assert_eq!(etcd.endpoints(), ["http://192.0.2.1:2379", "http://192.0.2.1:2380"]);
        let programs =
            Plan::new(etcd).programs(Path::new("/lab"), Path::new("/usr/bin/etcd"), Path::new("/b/ocicat"));
        assert_eq!(programs.len(), 2);
        assert_eq!(programs[1].name, "etcd-relay-2");
        let expected = "lab relay --netns /lab/ns/outside --listen 192.0.2.1:2380 --to [::1]:4001";
        assert_eq!(programs[1].args.join(" "), expected);
        assert_eq!((&programs[1].place, programs[1].ready.as_str()), (&Where::Host, "192.0.2.1:2380"));
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
    fn the_labs_own_etcd_keeps_to_itself() {
        let program =
            Plan::new(Etcd::Own).programs(Path::new("/lab"), Path::new("/usr/bin/etcd"), Path::new("/b"));
        let line = program[0].args.join(" ");
        assert!(
            line.contains("--data-dir /lab/etcd")
                && line.contains("--listen-client-urls http://192.0.2.1:2379")
        );
        assert!(!line.contains("0.0.0.0") && program[0].place == Where::Outside);
    }

    #[test]
    fn the_pools_cover_the_configurations_ranges() {
        for cidr in ["10.0.0.0/24", "20.0.0.0/16", "2001:db8::/120"] {
            assert!(POOLS.contains(&format!("cidr: {cidr}")), "{cidr}");
        }
        assert_eq!(POOLS.matches("kind: IPPool").count(), 3);
    }
}
