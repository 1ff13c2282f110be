//! What a fabric is in Calico's resources: those of the nodes, which lie in the datastore, and those of the router,
//! which has a directory of files and no etcd.

use super::plan::{Node, POOLS, Plan, ROUTER, ROUTER_ADDRESS, ROUTER_ADDRESS_V6};
use super::shape::Fabric;
use std::fmt::Write;

/// AS number of the router where it has one of its own.
pub const ROUTER_AS: u32 = 65000;
/// AS number of all nodes that share one, and the one before those that have one each.
const NODES_AS: u32 = 65100;
/// What Calico's nodes have unless told otherwise.
const DEFAULT_AS: u32 = 64512;

/// The AS number a node is told; none for Calico's default.
pub fn node_as(fabric: Fabric, number: u8) -> Option<u32> {
    match fabric {
        Fabric::Segment | Fabric::Reflector => None,
        Fabric::Routed => Some(NODES_AS + u32::from(number)),
        Fabric::SameAs => Some(NODES_AS),
    }
}

fn router_as(fabric: Fabric) -> u32 {
    if fabric == Fabric::Reflector { DEFAULT_AS } else { ROUTER_AS }
}

const MESH_OFF: &str = "apiVersion: projectcalico.org/v3
kind: BGPConfiguration
metadata: {name: default}
spec: {nodeToNodeMeshEnabled: false}
";

/// The BGPPeers of a node to its router: name and far end.
fn to_router(node: &Node) -> [(String, String); 2] {
    let name = |family: u8| format!("{}-to-router-ipv{family}", node.name);
    [(name(4), node.ipv4().0.to_string()), (name(6), node.ipv6().0.to_string())]
}

/// Names of the BGPPeers that [`of_nodes`] makes.
pub fn peer_names(plan: &Plan) -> Vec<String> {
    let nodes = plan.nodes.iter().filter(|_| plan.shape.fabric.has_router());
    nodes.flat_map(to_router).map(|(name, _)| name).collect()
}

/// What is put into the datastore besides the pools; empty for a segment. That nodes have no mesh around a router is said when
/// the datastore is made ready.
pub fn of_nodes(plan: &Plan) -> String {
    let mut text = String::new();
    for node in plan.nodes.iter().filter(|_| plan.shape.fabric.has_router()) {
        for (peer, address) in to_router(node) {
            // All nodes have one AS number: what comes from another node carries it.
            let own = if plan.shape.fabric == Fabric::SameAs { ", numAllowedLocalASNumbers: 1" } else { "" };
            let (name, asn) = (&node.name, router_as(plan.shape.fabric));
            // Written to a string, which takes everything.
            let _ = write!(
                text,
                "---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: {{name: {peer}}}
spec: {{node: {name}, peerIP: '{address}', asNumber: {asn}{own}}}
"
            );
        }
    }
    text
}

/// The files of the router's directory: name and text. None without a router.
pub fn of_router(plan: &Plan) -> Vec<(&'static str, String)> {
    let fabric = plan.shape.fabric;
    if !fabric.has_router() {
        return Vec::new();
    }
    let reflector = if fabric == Fabric::Reflector {
        format!(", routeReflectorClusterID: {ROUTER_ADDRESS}")
    } else {
        String::new()
    };
    let router = format!(
        "{MESH_OFF}---
apiVersion: projectcalico.org/v3
kind: Node
metadata: {{name: {ROUTER}}}
spec: {{bgp: {{ipv4Address: {ROUTER_ADDRESS}/32, ipv6Address: '{ROUTER_ADDRESS_V6}/128', asNumber: {}{reflector}}}}}
",
        router_as(fabric)
    );
    let peers = plan.nodes.iter().map(|node| of_peer(node, fabric)).collect::<Vec<_>>().join("---\n");
    // The router tells what lies in a pool, as every node does.
    vec![("10-router.yaml", router), ("20-nodes.yaml", peers), ("30-pools.yaml", POOLS.to_string())]
}

fn of_peer(node: &Node, fabric: Fabric) -> String {
    let asn = node_as(fabric, node.number).unwrap_or(DEFAULT_AS);
    let one = |family: u8, address: String| {
        format!(
            "apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: {{name: {}-ipv{family}}}
# Each node is on a link of its own: the address to speak from is the link's.
spec: {{node: {ROUTER}, peerIP: '{address}', asNumber: {asn}, sourceAddress: None}}
",
            node.name
        )
    };
    [one(4, node.ipv4().1.to_string()), one(6, node.ipv6().1.to_string())].join("---\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::plan::Etcd;
    use crate::lab::shape::Shape;

    fn plan(nodes: u8, fabric: Fabric) -> Plan {
        Plan::new(Etcd::Own, Shape { nodes, fabric, ..Shape::default() })
    }

    #[test]
    fn a_segment_needs_nothing() {
        assert_eq!(of_nodes(&plan(3, Fabric::Segment)), "");
        assert!(peer_names(&plan(3, Fabric::Segment)).is_empty());
        assert!(of_router(&plan(3, Fabric::Segment)).is_empty());
    }

    #[test]
    fn each_node_and_the_router_name_each_other() {
        for (fabric, node, router) in [
            (Fabric::Routed, [65101, 65102], 65000),
            (Fabric::Reflector, [64512, 64512], 64512),
            (Fabric::SameAs, [65100, 65100], 65000),
        ] {
            let plan = plan(2, fabric);
            let nodes = of_nodes(&plan);
            let files = of_router(&plan);
            let all: String = files.iter().map(|(_, text)| text.as_str()).collect();
            assert_eq!(nodes.matches("kind: BGPPeer").count(), 4);
            assert_eq!(nodes.matches(&format!("asNumber: {router}")).count(), 4, "{nodes}");
            assert_eq!(nodes.contains("numAllowedLocalASNumbers"), fabric == Fabric::SameAs);
            for (number, asn) in node.into_iter().enumerate() {
                let address = plan.nodes[number].ipv4().1;
                assert!(all.contains(&format!("peerIP: '{address}', asNumber: {asn},")), "{all}");
            }
            assert_eq!(all.contains("routeReflectorClusterID"), fabric == Fabric::Reflector);
            assert!(all.contains("nodeToNodeMeshEnabled: false"));
            let names = peer_names(&plan);
            assert_eq!(names.len(), 4);
            assert!(names.iter().all(|name| nodes.contains(&format!("{{name: {name}}}"))), "{names:?}");
        }
    }

    #[test]
    fn every_document_is_one() {
        for fabric in [Fabric::Routed, Fabric::Reflector, Fabric::SameAs] {
            let plan = plan(4, fabric);
            let texts = of_router(&plan).into_iter().map(|(_, text)| text).chain([of_nodes(&plan)]);
            for text in texts {
                for document in model::document::parse(&text, "x.yaml").unwrap() {
                    assert!(document.value.to_string().contains("projectcalico.org/v3"), "{text}");
                }
            }
        }
    }
}
