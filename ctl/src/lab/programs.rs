//! The table of programs that run as long as the lab does.

use super::plan::{
    DATASTORE, ETCD_ADDRESS, ETCD_PORT, Etcd, NODE_PROGRAMS, OUTSIDE, Plan, ROUTER, relay_address,
};
use super::state::Identity;
use std::path::{Path, PathBuf};

/// Where an agent's socket lies, seen from its node.
const AGENT_SOCKET: &str = "run/ocicat/felix.sock";
/// Where a speaker's socket lies, seen from its node.
const SPEAKER_SOCKET: &str = "run/ocicat/bgpd.sock";

/// Where a program of the lab runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Where {
    /// In the host's namespaces.
    Host,
    /// In the namespace between the nodes, with the host's files.
    Outside,
    /// In a node.
    Node(String),
}

/// How a program is asked whether it is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ready {
    /// It is an etcd, or leads to one, at this address as seen from the outside namespace.
    Etcd(String),
    /// It is a node agent with this socket, as seen from the host.
    Agent(PathBuf),
    /// It is a BGP speaker with this socket, as seen from the host.
    Speaker(PathBuf),
}

impl std::fmt::Display for Ready {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ready::Etcd(address) => f.write_str(address),
            Ready::Agent(socket) | Ready::Speaker(socket) => write!(f, "{}", socket.display()),
        }
    }
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
    /// Who answers once it is ready.
    pub ready: Ready,
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

impl Plan {
    /// All programs, in the order in which they are started.
    pub fn programs(&self, directory: &Path, own: &Path) -> Vec<Program> {
        let mut all = self.datastore_programs(directory, own);
        all.extend(self.agents(directory));
        all.extend(self.speakers(directory, own));
        all
    }

    /// The datastore, or the way to it. `own` is this program, which is store and relay too.
    pub fn datastore_programs(&self, directory: &Path, own: &Path) -> Vec<Program> {
        match &self.etcd {
            Etcd::Own => vec![store(directory, own)],
            Etcd::Given(targets) => targets
                .iter()
                .enumerate()
                .map(|(number, target)| {
                    let netns = directory.join("ns").join(OUTSIDE).display().to_string();
                    let listen = relay_address(number);
                    let words = ["lab", "relay", "--netns", &netns, "--listen", &listen, "--to", target];
                    Program {
                        name: format!("etcd-relay-{}", number + 1),
                        place: Where::Host,
                        path: own.to_path_buf(),
                        args: words.map(str::to_string).to_vec(),
                        ready: Ready::Etcd(listen),
                    }
                })
                .collect(),
        }
    }

    /// The agents: one a node.
    pub fn agents(&self, directory: &Path) -> Vec<Program> {
        let agent = |name: &str| Program {
            name: format!("felix-{name}"),
            place: Where::Node(name.to_string()),
            path: Path::new(NODE_PROGRAMS).join("ocicat"),
            args: ["felix", "--node", name].map(str::to_string).to_vec(),
            ready: Ready::Agent(directory.join("nodes").join(name).join(AGENT_SOCKET)),
        };
        self.nodes.iter().map(|one| agent(&one.name)).collect()
    }

    /// The BGP speakers: one a node, and that of the router.
    pub fn speakers(&self, directory: &Path, own: &Path) -> Vec<Program> {
        let node = |name: &str| Program {
            name: format!("bgpd-{name}"),
            place: Where::Node(name.to_string()),
            path: Path::new(NODE_PROGRAMS).join("ocicat"),
            args: ["bgpd", "--node", name].map(str::to_string).to_vec(),
            ready: Ready::Speaker(directory.join("nodes").join(name).join(SPEAKER_SOCKET)),
        };
        let mut all: Vec<Program> = self.nodes.iter().map(|one| node(&one.name)).collect();
        if self.shape.fabric.has_router() {
            let socket = directory.join(ROUTER).join("bgpd.sock");
            let resources = router_resources(directory).display().to_string();
            let shown = socket.display().to_string();
            let words = ["bgpd", "--node", ROUTER, "--resources", &resources, "--socket", &shown];
            all.push(Program {
                name: format!("bgpd-{ROUTER}"),
                place: Where::Outside,
                path: own.to_path_buf(),
                args: words.map(str::to_string).to_vec(),
                ready: Ready::Speaker(socket),
            });
        }
        all
    }
}

impl Plan {
    /// How many sessions a speaker of the lab has with others of it: one a family.
    pub fn sessions_of(&self, place: &Where) -> usize {
        let neighbours = match (self.shape.fabric.has_router(), place) {
            (false, _) => self.nodes.len().saturating_sub(1),
            (true, Where::Node(_)) => 1,
            (true, _) => self.nodes.len(),
        };
        neighbours * 2
    }
}

/// Where the router's resources lie.
pub fn router_resources(directory: &Path) -> PathBuf {
    directory.join(ROUTER).join("resources")
}

/// The embedded store, served by this program.
fn store(directory: &Path, own: &Path) -> Program {
    let data = directory.join(DATASTORE).display().to_string();
    let listen = format!("http://{ETCD_ADDRESS}:{ETCD_PORT}");
    Program {
        name: DATASTORE.to_string(),
        place: Where::Outside,
        path: own.to_path_buf(),
        args: ["datastore", "--data-dir", &data, "--listen", &listen].map(str::to_string).to_vec(),
        ready: Ready::Etcd(relay_address(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::shape::{Fabric, Shape};

    #[test]
    fn given_endpoints_are_seen_through_relays() {
        let etcd = Etcd::parse("http://127.0.0.1:2379,http://[::1]:4001/").unwrap();
        assert_eq!(etcd.endpoints(), ["http://192.0.2.1:2379", "http://192.0.2.1:2380"]);
        let programs =
            Plan::new(etcd, Shape::default()).datastore_programs(Path::new("/lab"), Path::new("/b/ocicat"));
        assert_eq!(programs.len(), 2);
        assert_eq!(programs[1].name, "etcd-relay-2");
        let expected = "lab relay --netns /lab/ns/outside --listen 192.0.2.1:2380 --to [::1]:4001";
        assert_eq!(programs[1].args.join(" "), expected);
        assert_eq!(programs[1].place, Where::Host);
        assert_eq!(programs[1].ready, Ready::Etcd("192.0.2.1:2380".into()));
    }

    #[test]
    fn the_labs_own_store_keeps_to_itself() {
        let programs = Plan::new(Etcd::Own, Shape::default()).programs(Path::new("/lab"), Path::new("/b"));
        let line = programs[0].args.join(" ");
        assert_eq!(line, "datastore --data-dir /lab/datastore --listen http://192.0.2.1:2379");
        assert!(!line.contains("0.0.0.0") && programs[0].place == Where::Outside);
    }

    #[test]
    fn every_node_has_a_speaker_and_so_has_the_router() {
        let names = |fabric| {
            let plan = Plan::new(Etcd::Own, Shape { nodes: 2, fabric });
            let speakers = plan.speakers(Path::new("/lab"), Path::new("/b/ocicat"));
            speakers.into_iter().map(|program| (program.name, program.args.join(" "))).collect::<Vec<_>>()
        };
        assert_eq!(
            names(Fabric::Segment),
            [
                ("bgpd-node-1".to_string(), "bgpd --node node-1".to_string()),
                ("bgpd-node-2".to_string(), "bgpd --node node-2".to_string())
            ]
        );
        let router = "bgpd --node tor --resources /lab/tor/resources --socket /lab/tor/bgpd.sock";
        assert_eq!(names(Fabric::Routed)[2], ("bgpd-tor".to_string(), router.to_string()));
    }
}
