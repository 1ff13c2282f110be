//! The table of programs that run as long as the lab does.

use super::plan::{
    DATASTORE, ETCD_ADDRESS, ETCD_PORT, Etcd, NODE_PROGRAMS, Node, OUTSIDE, Plan, ROUTER, relay_address,
};
use super::state::Identity;
use std::path::{Path, PathBuf};

/// What the name of a node's agent begins with; the node's name follows.
pub const AGENT: &str = "agent-";
/// Added to the cluster's type.
const CLUSTER_TYPE: &str = "ocicat";

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
    /// It is a node's agent, with these sockets of its parts, as seen from the host.
    Agent {
        /// Felix's.
        felix: PathBuf,
        /// The BGP speaker's.
        speaker: PathBuf,
    },
    /// It is a BGP speaker with this socket, as seen from the host.
    Speaker(PathBuf),
}

impl std::fmt::Display for Ready {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ready::Etcd(address) => f.write_str(address),
            Ready::Agent { felix: socket, .. } | Ready::Speaker(socket) => write!(f, "{}", socket.display()),
        }
    }
}

impl Ready {
    /// The socket of its BGP speaker, where it has one.
    pub fn speaker(&self) -> Option<&Path> {
        match self {
            Ready::Agent { speaker, .. } | Ready::Speaker(speaker) => Some(speaker),
            Ready::Etcd(_) => None,
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
    /// What its environment says besides what all of a node's programs are told.
    pub environment: Vec<(&'static str, String)>,
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
        all.extend(self.router(directory, own));
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
                        environment: Vec::new(),
                        ready: Ready::Etcd(listen),
                    }
                })
                .collect(),
        }
    }

    /// The agents: one a node. Each finds its own addresses.
    pub fn agents(&self, directory: &Path) -> Vec<Program> {
        let agent = |node: &Node| {
            let socket = |name: &str| directory.join("nodes").join(&node.name).join("run/ocicat").join(name);
            let mut environment = vec![
                ("NODENAME", node.name.clone()),
                ("IP", "autodetect".to_owned()),
                ("IP6", "autodetect".to_owned()),
                ("CLUSTER_TYPE", CLUSTER_TYPE.to_owned()),
            ];
            environment.extend(self.shape.backend.mode().map(|mode| ("FELIX_NFTABLESMODE", mode.to_owned())));
            environment.extend(node.as_number.map(|number| ("AS", number.to_string())));
            Program {
                name: format!("{AGENT}{}", node.name),
                place: Where::Node(node.name.clone()),
                path: Path::new(NODE_PROGRAMS).join("ocicat"),
                args: ["node", "run"].map(str::to_string).to_vec(),
                environment,
                ready: Ready::Agent { felix: socket("felix.sock"), speaker: socket("bgpd.sock") },
            }
        };
        self.nodes.iter().map(agent).collect()
    }

    /// The BGP speaker of the router, in a fabric that has one.
    pub fn router(&self, directory: &Path, own: &Path) -> Option<Program> {
        let socket = directory.join(ROUTER).join("bgpd.sock");
        let resources = router_resources(directory).display().to_string();
        let shown = socket.display().to_string();
        let words = ["bgpd", "--node", ROUTER, "--resources", &resources, "--socket", &shown];
        self.shape.fabric.has_router().then(|| Program {
            name: format!("bgpd-{ROUTER}"),
            place: Where::Outside,
            path: own.to_path_buf(),
            args: words.map(str::to_string).to_vec(),
            environment: Vec::new(),
            ready: Ready::Speaker(socket),
        })
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
        environment: Vec::new(),
        ready: Ready::Etcd(relay_address(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::shape::{Backend, Fabric, Shape};

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
    fn every_node_has_an_agent_and_the_router_a_speaker() {
        let lines = |fabric| {
            let plan = Plan::new(Etcd::Own, Shape { nodes: 2, fabric, ..Shape::default() });
            let mut all = plan.agents(Path::new("/lab"));
            all.extend(plan.router(Path::new("/lab"), Path::new("/b/ocicat")));
            let line = |program: Program| {
                let variables = program.environment.iter().map(|(name, value)| format!("{name}={value} "));
                format!("{} {}{}", program.name, variables.collect::<String>(), program.args.join(" "))
            };
            all.into_iter().map(line).collect::<Vec<_>>()
        };
        let agent = "IP=autodetect IP6=autodetect CLUSTER_TYPE=ocicat";
        assert_eq!(
            lines(Fabric::Segment),
            [
                format!("agent-node-1 NODENAME=node-1 {agent} node run"),
                format!("agent-node-2 NODENAME=node-2 {agent} node run"),
            ]
        );
        let routed = lines(Fabric::Routed);
        assert_eq!(routed[1], format!("agent-node-2 NODENAME=node-2 {agent} AS=65102 node run"));
        let router = "bgpd-tor bgpd --node tor --resources /lab/tor/resources --socket /lab/tor/bgpd.sock";
        assert_eq!(routed[2], router);
    }

    #[test]
    fn a_backend_that_was_asked_for_is_told_to_the_agents() {
        let asked = |backend| {
            let plan = Plan::new(Etcd::Own, Shape { backend, ..Shape::default() });
            let agents = plan.agents(Path::new("/lab"));
            let mode = agents[0].environment.iter().find(|(name, _)| *name == "FELIX_NFTABLESMODE");
            mode.map(|(_, value)| value.clone())
        };
        let all = [Backend::Auto, Backend::Nftables, Backend::Iptables].map(asked);
        assert_eq!(all, [None, Some("Enabled".to_owned()), Some("Disabled".to_owned())]);
    }
}
