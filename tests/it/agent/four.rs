//! A node with four workloads, of which two speak, and packets between them.

use super::traffic::{Kind, Traffic};
use anyhow::{Context, Result};
use ocicat_tests::agent::{Agent, backend};
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::node::{NAME, Node};
use ocicat_tests::policy::cluster::{Cluster, key, resource};
use ocicat_tests::policy::fields;
use ocicat_tests::policy::object::identity;
use ocicat_tests::policy::packets::Packet;
use ocicat_tests::policy::stage::{Stage, netns_of};
use ocicat_tests::sandbox;
use ocicat_tests::wire::Ear;
use serde_json::{Value, json};

pub const CLIENT: &str = "10.64.0.2";
pub const OTHER: &str = "10.64.0.3";
pub const SERVER: &str = "10.64.0.4";

/// Four workloads; what the server lets in is [`opened`].
pub fn four(ports: &[u16]) -> Cluster {
    let mut cluster = fields::cases().remove(0).cluster();
    cluster.resources.retain(|one| identity(one).2 != "judged");
    cluster.resources.push(opened(ports));
    cluster
}

/// A workload's endpoint, by what it is called.
pub fn endpoint<'a>(cluster: &'a Cluster, name: &str) -> Result<&'a Value> {
    let mut all = cluster.local_workloads();
    all.find(|one| one["metadata"]["labels"]["app"] == name).context("no such workload")
}

/// The network namespace of a workload.
pub fn netns(cluster: &Cluster, name: &str) -> Result<String> {
    endpoint(cluster, name).map(netns_of)
}

/// Stores all of it.
pub fn store(node: &Node, cluster: &Cluster) -> Result<()> {
    cluster.stored().try_for_each(|(key, value)| node.server().client.put(&key, &value.to_string()))
}

/// Stores one.
pub fn put(node: &Node, resource: &Value) -> Result<()> {
    node.server().client.put(&key(resource), &resource.to_string())
}

/// What the server lets in.
pub fn opened(ports: &[u16]) -> Value {
    let rule = json!({"action": "Allow", "protocol": "UDP", "destination": {"ports": ports}});
    let ingress: Vec<Value> = if ports.is_empty() { Vec::new() } else { vec![rule] };
    let spec =
        json!({"tier": "default", "selector": "app == 'server'", "types": ["Ingress"], "ingress": ingress});
    resource("GlobalNetworkPolicy", None, "judged", json!({}), spec)
}

/// A datagram.
pub fn udp(from: &str, to: &str, ports: (u16, u16)) -> Packet {
    let address = |text: &str| text.parse().unwrap();
    Packet { source: address(from), destination: address(to), protocol: 17, ports: Some(ports), icmp: None }
}

/// What a kind of traffic to the server is.
pub fn to_server(port: u16) -> Kind {
    Kind { packet: udp(CLIENT, SERVER, (0, port)), forth: true }
}

/// Traffic between client and server.
pub fn traffic(cluster: &Cluster, kinds: Vec<Kind>) -> Result<Traffic> {
    let ear = |name: &str| Ear::open(Some(&netns(cluster, name)?));
    Ok(Traffic::new([ear("client")?, ear("server")?], kinds))
}

/// Runs work in a sandbox with a cluster's node, its agent ready, on the backend with this number.
pub fn with_agent(
    number: usize,
    cluster: &Cluster,
    work: impl FnOnce(&Node, &mut Stage, Agent) -> Result<()> + Send,
) -> Result<()> {
    sandbox::within(NAME, programs(Build::Plain)?, || {
        let node = Node::without_resources()?;
        store(&node, cluster)?;
        let mut stage = Stage::set(cluster)?;
        let agent = Agent::start(NAME, &node.server().url(), &backend(number).1)?;
        work(&node, &mut stage, agent)
    })
}
