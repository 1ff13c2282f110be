//! BGPPeers about local workloads (`resources.md` §1.16 of the contract). All else of them is the BGP speaker's.

use super::object::{Object, Refusal};
use crate::graph::Graph;
use model::kind::Kind;
use model::v3::BGPPeerSpec;
use selector::Selector;
use std::collections::BTreeMap;

/// Such peers, and this node's labels, by which they are its own or not.
#[derive(Debug, Default)]
pub(super) struct WorkloadPeers {
    labels: BTreeMap<String, String>,
    peers: BTreeMap<String, Peer>,
}

#[derive(Debug)]
struct Peer {
    node: String,
    /// Goes before `node`.
    node_selector: Option<Selector>,
    workloads: Selector,
}

impl Peer {
    /// `None` where it is about something else.
    fn read(value: &[u8]) -> Result<Option<Self>, Refusal> {
        let mut spare = Vec::new();
        let mut object: Object<'_, BGPPeerSpec> = Object::read(Kind::BGPPeer, value, &mut spare)?;
        let spec = object.take_spec();
        let parse = |field: &str, text: &str| {
            Selector::parse(text).map_err(|error| Refusal(format!("spec.{field}: {error}")))
        };
        if spec.local_workload_selector.is_empty() {
            return Ok(None);
        }
        let of_nodes = Some(spec.node_selector.as_str()).filter(|text| !text.is_empty());
        Ok(Some(Peer {
            node: spec.node,
            node_selector: of_nodes.map(|text| parse("nodeSelector", text)).transpose()?,
            workloads: parse("localWorkloadSelector", &spec.local_workload_selector)?,
        }))
    }

    fn is_of(&self, node: &str, labels: &BTreeMap<String, String>) -> bool {
        match &self.node_selector {
            Some(selector) => selector.matches(labels),
            None => self.node.is_empty() || self.node == node,
        }
    }
}

impl WorkloadPeers {
    /// A peer came or changed, or with no value went.
    pub(super) fn set(
        &mut self,
        graph: &mut Graph,
        node: &str,
        name: &str,
        value: Option<&[u8]>,
    ) -> Result<(), Refusal> {
        match value.map(Peer::read).transpose()?.flatten() {
            Some(peer) => {
                let own = peer.is_of(node, &self.labels).then_some(&peer.workloads);
                graph.set_bgp_peer(name, own);
                self.peers.insert(name.to_owned(), peer);
            }
            None => {
                self.peers.remove(name);
                graph.set_bgp_peer(name, None);
            }
        }
        Ok(())
    }

    /// This node has these labels.
    pub(super) fn set_labels(&mut self, graph: &mut Graph, node: &str, labels: BTreeMap<String, String>) {
        if self.labels == labels {
            return;
        }
        self.labels = labels;
        for (name, peer) in &self.peers {
            graph.set_bgp_peer(name, peer.is_of(node, &self.labels).then_some(&peer.workloads));
        }
    }
}
