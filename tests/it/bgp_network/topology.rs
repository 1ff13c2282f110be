//! Who speaks with whom in the simulated network, and what everybody must know in the end.

use super::network::Network;
use bgp_wire::Prefix;
use ocicat_tests::random::Random;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

/// Reflectors in a mesh, each a cluster of its own; clients with two of them.
#[derive(Debug, Clone)]
pub struct Topology {
    pub nodes: usize,
    /// The first nodes are reflectors.
    pub reflectors: usize,
    /// Reflectors of each client.
    pub of_client: Vec<BTreeSet<usize>>,
}

impl Topology {
    pub fn new(nodes: usize, reflectors: usize, random: &mut Random) -> Self {
        let mut pick = || random.below(reflectors as u64) as usize;
        let of_client = (0..nodes)
            .map(|node| {
                let mut chosen = BTreeSet::new();
                while node >= reflectors && chosen.len() < 2.min(reflectors) {
                    chosen.insert(pick());
                }
                chosen
            })
            .collect();
        Topology { nodes, reflectors, of_client }
    }

    pub fn is_reflector(&self, node: usize) -> bool {
        node < self.reflectors
    }

    /// Pairs with a session, each once.
    pub fn sessions(&self) -> Vec<(usize, usize)> {
        let mesh = (0..self.reflectors).flat_map(|a| (a + 1..self.reflectors).map(move |b| (a, b)));
        let clients = self.of_client.iter().enumerate();
        mesh.chain(clients.flat_map(|(client, of)| of.iter().map(move |r| (*r, client)))).collect()
    }

    fn speak(&self, a: usize, b: usize) -> bool {
        match (self.is_reflector(a), self.is_reflector(b)) {
            (true, true) => a != b,
            (true, false) => self.of_client[b].contains(&a),
            (false, true) => self.of_client[a].contains(&b),
            (false, false) => false,
        }
    }
}

/// Address of a node, which is also its BGP identifier and the next hop of what it announces.
pub fn address(node: usize) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0001 + node as u32)
}

/// What each node that is up must have in its FIB: to each prefix of others, the possible next hops.
///
/// RFC 4456 in one sentence: what a node announces reaches the reflectors it speaks with, those that speak with one of
/// them, and whoever speaks with any of these.
pub fn expected(topology: &Topology, network: &Network) -> Vec<Option<BTreeMap<Prefix, BTreeSet<IpAddr>>>> {
    let up = |node: usize| network.nodes[node].speaker.is_some();
    let speak = |a: usize, b: usize| up(a) && up(b) && topology.speak(a, b) && network.connected(a, b);
    let mut fibs: Vec<_> = (0..topology.nodes).map(|node| up(node).then(BTreeMap::new)).collect();
    for origin in (0..topology.nodes).filter(|node| up(*node)) {
        let direct: Vec<usize> =
            (0..topology.reflectors).filter(|r| *r == origin || speak(*r, origin)).collect();
        let knowing: BTreeSet<usize> = if topology.is_reflector(origin) {
            // its own routes go to the mesh, which does not pass them on inside itself
            (0..topology.reflectors).filter(|r| *r == origin || speak(*r, origin)).collect()
        } else {
            (0..topology.reflectors).filter(|r| direct.iter().any(|d| d == r || speak(*d, *r))).collect()
        };
        for (node, fib) in fibs.iter_mut().enumerate() {
            let Some(fib) = fib.as_mut().filter(|_| node != origin) else { continue };
            let knows = knowing.contains(&node)
                || !topology.is_reflector(node)
                    && topology.of_client[node].iter().any(|r| knowing.contains(r) && speak(*r, node));
            if knows {
                for block in &network.nodes[origin].blocks {
                    if !network.nodes[node].blocks.contains(block) {
                        fib.entry(*block).or_insert_with(BTreeSet::new).insert(address(origin).into());
                    }
                }
            }
        }
    }
    fibs
}
