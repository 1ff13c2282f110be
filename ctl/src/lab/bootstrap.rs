//! What `calico/node` writes when a node starts (`bgp.md` §14 and `datamodel.md` §9 of the contract):
//! ClusterInformation and tiers, default pools, default configurations, and the Node itself.

use super::fabric;
use super::plan::{Etcd, Node, Plan};
use super::shape::Fabric;
use super::state::Created;
use anyhow::{Context, Result, bail};
use datastore::{Bootstrap, Client, ClientError, ConnectConfig, Datastore, ListOptions};
use model::{Kind, Resource};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// Added to the cluster's type.
const CLUSTER_TYPE: &str = "ocicat";
/// The private /16 taken for the default pool unless the host uses it, then the others in this order.
const DEFAULT_POOLS: [[u8; 2]; 5] = [[192, 168], [172, 16], [172, 17], [172, 18], [10, 244]];

/// What others make after us, from the pools of the lab to its policies: noted as the lab's unless it
/// is there already.
pub const MADE_LATER: [(&str, Kind, &str); 6] = [
    ("ippool", Kind::IPPool, "lab-small"),
    ("ippool", Kind::IPPool, "lab-large"),
    ("ippool", Kind::IPPool, "lab-ipv6"),
    ("profile", Kind::Profile, "frontend"),
    ("networkpolicy", Kind::NetworkPolicy, "lab-w2-from-w1"),
    ("globalnetworkpolicy", Kind::GlobalNetworkPolicy, "lab-w3-to-w1"),
];

/// A resource to make unless it is there, with the word `ocicat delete` knows its kind by.
struct Wanted {
    word: &'static str,
    kind: Kind,
    name: String,
    spec: Value,
}

/// Brings the datastore to where a node can start; to be called inside the node's namespaces. `note` is told of
/// each resource before it is made.
///
/// # Errors
/// The datastore cannot be reached or refuses; a fabric with a router is wanted where others have a mesh.
pub fn run(plan: &Plan, mut note: impl FnMut(Created) -> Result<()>) -> Result<()> {
    let (nodes, shape) = (&plan.nodes, plan.shape);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = Client::new(connect(&plan.etcd)?);
        if shape.fabric.has_router() {
            no_mesh_of_others(&client, shape.fabric).await?;
        }
        let kind = Bootstrap { cluster_type: CLUSTER_TYPE.to_string(), version: String::new() };
        client.ensure_initialized(kind).await?;
        let mut wanted = nodes.iter().flat_map(of_node).collect::<Vec<_>>();
        wanted.extend(of_cluster(shape.fabric));
        let pools = client.list(Kind::IPPool, ListOptions::default()).await?;
        let cidrs: Vec<String> = pools.items.iter().filter_map(cidr).collect();
        wanted.extend(default_pools(&cidrs, &own_addresses(nodes), uuid::Uuid::new_v4().as_bytes()));
        for wanted in wanted {
            make(&client, wanted, &mut note).await?;
        }
        let peers = fabric::peer_names(plan);
        let peers = peers.iter().map(|name| ("bgppeer", Kind::BGPPeer, name.as_str()));
        for (word, kind, name) in MADE_LATER.into_iter().chain(peers) {
            if !exists(&client, kind, name).await? {
                note(Created { kind: word.to_string(), name: name.to_string() })?;
            }
        }
        Ok(())
    })
}

/// Nodes around a router have no mesh, and whether there is one is said once for all nodes of a datastore: where others
/// have one it stays.
async fn no_mesh_of_others(client: &Client, fabric: Fabric) -> Result<()> {
    match client.get(Kind::BGPConfiguration, "", "default").await {
        Ok(found) if found.spec().get("nodeToNodeMeshEnabled") != Some(&Value::Bool(false)) => bail!(
            "--fabric {fabric} needs a datastore without a node-to-node mesh, and BGPConfiguration default of this one leaves it \
             on for all its nodes: set nodeToNodeMeshEnabled to false there, or give an etcd without that resource"
        ),
        Ok(_) | Err(ClientError::DoesNotExist { .. }) => Ok(()),
        Err(error) => Err(error).context("look for BGPConfiguration default"),
    }
}

/// The datastore as a node sees it.
///
/// # Errors
/// Its addresses are none.
pub fn connect(etcd: &Etcd) -> Result<Arc<dyn Datastore>> {
    let endpoints = etcd.endpoints().join(",");
    let variable = |name: &str| (name == "ETCD_ENDPOINTS").then(|| endpoints.clone());
    Ok(datastore::connect(&ConnectConfig::from_env(&variable))?)
}

async fn make(client: &Client, wanted: Wanted, note: &mut impl FnMut(Created) -> Result<()>) -> Result<()> {
    if exists(client, wanted.kind, &wanted.name).await? {
        return Ok(());
    }
    note(Created { kind: wanted.word.to_string(), name: wanted.name.clone() })?;
    let mut resource = Resource::new(wanted.kind, "", &wanted.name);
    if let Value::Object(spec) = wanted.spec {
        *resource.spec_mut() = spec;
    }
    match client.create(resource).await {
        Ok(_) | Err(ClientError::AlreadyExists { .. }) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("create {} {}", wanted.word, wanted.name)),
    }
}

async fn exists(client: &Client, kind: Kind, name: &str) -> Result<bool> {
    let namespace = if kind.namespaced() { "default" } else { "" };
    match client.get(kind, namespace, name).await {
        Ok(_) => Ok(true),
        Err(ClientError::DoesNotExist { .. }) => Ok(false),
        Err(error) => Err(error).with_context(|| format!("look for {name}")),
    }
}

/// What a node writes of itself.
fn of_node(node: &Node) -> [Wanted; 2] {
    let (four, six) = node.prefix_lengths();
    let ipv4 = format!("{}/{four}", node.ipv4().1);
    let ipv6 = format!("{}/{six}", node.ipv6().1);
    let addresses =
        json!([{"address": ipv4, "type": "CalicoNodeIP"}, {"address": ipv6, "type": "CalicoNodeIP"}]);
    let mut bgp = json!({"ipv4Address": ipv4, "ipv6Address": ipv6});
    if let (Some(number), Some(bgp)) = (node.as_number, bgp.as_object_mut()) {
        bgp.insert("asNumber".to_string(), number.into());
    }
    [
        Wanted {
            word: "node",
            kind: Kind::Node,
            name: node.name.clone(),
            spec: json!({"addresses": addresses, "bgp": bgp}),
        },
        Wanted {
            word: "felixconfiguration",
            kind: Kind::FelixConfiguration,
            name: format!("node.{}", node.name),
            spec: json!({"defaultEndpointToHostAction": "Return"}),
        },
    ]
}

/// What the first node writes for all.
fn of_cluster(fabric: Fabric) -> [Wanted; 3] {
    let mesh = if fabric.has_router() { json!({"nodeToNodeMeshEnabled": false}) } else { json!({}) };
    let default = |word, kind, spec| Wanted { word, kind, name: "default".to_string(), spec };
    let ipam = json!({
        "strictAffinity": false,
        "autoAllocateBlocks": true,
        "maxBlocksPerHost": 0,
        "kubeVirtVMAddressPersistence": "Enabled"
    });
    [
        default(
            "felixconfiguration",
            Kind::FelixConfiguration,
            json!({"reportingInterval": "0s", "logSeverityScreen": "Info"}),
        ),
        default("bgpconfiguration", Kind::BGPConfiguration, mesh),
        default("ipamconfiguration", Kind::IPAMConfiguration, ipam),
    ]
}

/// A default pool of each family that has none yet.
fn default_pools(present: &[String], own: &[IpAddr], random: &[u8; 16]) -> Vec<Wanted> {
    let pool = |name: &str, cidr: String, block_size: u8, nat: bool| {
        let mut spec = json!({
            "cidr": cidr,
            "vxlanMode": "Never",
            "ipipMode": "Never",
            "blockSize": block_size,
            "nodeSelector": "all()",
            "allowedUses": ["Workload", "Tunnel"],
            "assignmentMode": "Automatic"
        });
        if let (true, Some(spec)) = (nat, spec.as_object_mut()) {
            spec.insert("natOutgoing".to_string(), true.into());
        }
        Wanted { word: "ippool", kind: Kind::IPPool, name: name.to_string(), spec }
    };
    let mut pools = Vec::new();
    if !present.iter().any(|cidr| !cidr.contains(':')) {
        let used = |[a, b]: [u8; 2]| {
            own.iter().any(|ip| matches!(ip, IpAddr::V4(ip) if ip.octets().starts_with(&[a, b])))
        };
        let free = DEFAULT_POOLS.into_iter().find(|prefix| !used(*prefix)).unwrap_or([192, 168]);
        let [a, b] = free;
        pools.push(pool("default-ipv4-ippool", format!("{}/16", Ipv4Addr::new(a, b, 0, 0)), 26, true));
    }
    if !present.iter().any(|cidr| cidr.contains(':')) {
        // RFC 4193: fd, 40 random bits, a subnet of zero.
        let [a, b, c, d, e, ..] = *random;
        let words = [u16::from_be_bytes([0xfd, a]), u16::from_be_bytes([b, c]), u16::from_be_bytes([d, e])];
        let [x, y, z] = words;
        pools.push(pool(
            "default-ipv6-ippool",
            format!("{}/48", Ipv6Addr::new(x, y, z, 0, 0, 0, 0, 0)),
            122,
            false,
        ));
    }
    pools
}

fn own_addresses(nodes: &[Node]) -> Vec<IpAddr> {
    nodes.iter().flat_map(|node| [node.ipv4().1.into(), node.ipv6().1.into()]).collect()
}

fn cidr(pool: &Resource) -> Option<String> {
    pool.spec().get("cidr").and_then(Value::as_str).map(str::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidrs(present: &[&str], own: &[&str]) -> Vec<(String, String)> {
        let present: Vec<String> = present.iter().map(|text| text.to_string()).collect();
        let own: Vec<IpAddr> = own.iter().map(|text| text.parse().unwrap()).collect();
        default_pools(&present, &own, &[0x11; 16])
            .into_iter()
            .map(|wanted| (wanted.name, wanted.spec["cidr"].as_str().unwrap().to_string()))
            .collect()
    }

    #[test]
    fn each_family_without_a_pool_gets_the_default_one() {
        let v4 = ("default-ipv4-ippool".to_string(), "192.168.0.0/16".to_string());
        let v6 = ("default-ipv6-ippool".to_string(), "fd11:1111:1111::/48".to_string());
        assert_eq!(cidrs(&[], &["192.0.2.3"]), [v4.clone(), v6.clone()]);
        assert_eq!(cidrs(&["10.0.0.0/24"], &[]), [v6]);
        assert_eq!(cidrs(&["2001:db8::/120"], &[]), [v4]);
        assert_eq!(cidrs(&["10.0.0.0/24", "fd00::/48"], &[]), []);
    }

    #[test]
    fn every_pool_of_the_file_is_noted() {
        let pools = super::super::plan::POOLS;
        let named: Vec<&str> = pools.lines().filter_map(|line| line.strip_prefix("  name: ")).collect();
        let noted: Vec<&str> =
            MADE_LATER.iter().filter(|(word, ..)| *word == "ippool").map(|(_, _, n)| *n).collect();
        assert_eq!(named, noted);
    }

    #[test]
    fn a_range_the_node_is_in_is_avoided() {
        assert_eq!(cidrs(&["fd00::/48"], &["192.168.7.1"])[0].1, "172.16.0.0/16");
        assert_eq!(cidrs(&["fd00::/48"], &["192.168.7.1", "172.16.0.1", "172.17.0.1"])[0].1, "172.18.0.0/16");
    }

    #[test]
    fn only_the_ipv4_pool_is_translated() {
        let pools = default_pools(&[], &[], &[0; 16]);
        assert_eq!(pools[0].spec["natOutgoing"], true);
        assert_eq!(pools[1].spec.get("natOutgoing"), None);
        assert_eq!((&pools[0].spec["blockSize"], &pools[1].spec["blockSize"]), (&json!(26), &json!(122)));
    }

    #[test]
    fn a_node_says_where_it_is() {
        let node = Node { name: "node-1".into(), number: 1, on_segment: false, as_number: None };
        let [own, felix] = of_node(&node);
        assert_eq!(own.spec["bgp"], json!({"ipv4Address": "192.0.2.3/31", "ipv6Address": "fd0c:a7::3/127"}));
        assert_eq!(
            (felix.name.as_str(), &felix.spec["defaultEndpointToHostAction"]),
            ("node.node-1", &json!("Return"))
        );
    }
}
