//! A network of a thousand speakers in one process and in virtual time: sessions and RIBs are the daemon's own, sockets,
//! kernels and clocks are not there.
//!
//! Reflectors and clients come up, change what they announce, die and come back, are torn apart and joined. After each
//! of these, once the network has had the time its timers need, every FIB must hold exactly what the topology says: no
//! route is missing, and none is stale. The seed of a run is printed; `OCICAT_SEED` runs one again.

mod network;
mod node;
mod topology;

use network::Network;
use node::Node;
use ocicat_tests::random::{Random, seed};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use topology::{Topology, expected};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Restart time and hold time have passed, and a session is up again.
const LONG: Duration = secs(node::RESTART_TIME + node::HOLD_TIME + 60);

/// What a network is like.
struct Shape {
    nodes: usize,
    reflectors: usize,
    /// One of so many nodes has a block from the start.
    block_of: usize,
    add_path: bool,
}

struct Run {
    topology: Topology,
    network: Network,
    started: Instant,
}

impl Run {
    fn new(shape: Shape) -> Self {
        let seed = seed();
        let mut random = Random::new(seed);
        let topology = Topology::new(shape.nodes, shape.reflectors, &mut random);
        let nodes = Node::all(&topology, &shape, &mut random);
        Run { network: Network::new(nodes, random.below(u64::MAX)), topology, started: Instant::now() }
    }

    /// Compares every FIB with the model.
    fn check(&self, when: &str) {
        let mut wrong = Vec::new();
        for (node, expected) in expected(&self.topology, &self.network).into_iter().enumerate() {
            let Some(expected) = expected else { continue };
            wrong.extend(
                self.network.nodes[node].differences(&expected).map(|text| format!("node {node}: {text}")),
            );
        }
        let count = wrong.len();
        wrong.truncate(20);
        assert!(wrong.is_empty(), "{when}, at {:?}: {count} wrong, such as {wrong:#?}", self.network.now());
        println!(
            "{when}: right everywhere, at {:?} of virtual and {:?} of real time, {} MB carried",
            self.network.now(),
            self.started.elapsed(),
            self.network.carried >> 20
        );
    }

    fn some_nodes(&mut self, count: usize) -> BTreeSet<usize> {
        let nodes = self.topology.nodes as u64;
        (0..count).map(|_| self.network.random.below(nodes) as usize).collect()
    }

    fn clients(&mut self, count: usize) -> BTreeSet<usize> {
        let reflectors = self.topology.reflectors;
        self.some_nodes(count).into_iter().filter(|node| *node >= reflectors).collect()
    }

    fn change_blocks(&mut self, count: usize) {
        for node in self.some_nodes(count) {
            let number = self.network.random.below(1 << 16) as u32;
            let remove = self.network.random.below(2) == 0;
            self.network
                .change(node, |node| if remove { node.withdraw_one() } else { node.announce(number) });
        }
    }

    /// Everything that can happen, once.
    fn all(&mut self) {
        self.network.run(secs(60));
        self.check("all up");

        self.change_blocks(self.topology.nodes / 20);
        self.network.run(secs(2));
        self.check("blocks came and went");

        // A reflector and some clients at once; while they are away nobody loses a route (RFC 4724).
        // Where there is only one, it alone: two neighbours that restart at once do not wait for each other.
        let mut dying = self.clients(self.topology.nodes / 50);
        if self.topology.reflectors == 1 {
            dying.clear();
        }
        dying.insert(0);
        let before: Vec<BTreeSet<_>> =
            self.network.nodes.iter().map(|node| node.destinations().collect()).collect();
        for node in &dying {
            self.network.restart(*node, secs(5));
        }
        for pause in [1, 3, 2, 1, 3, 30] {
            self.network.run(secs(pause));
            for (node, before) in self.network.nodes.iter().zip(&before) {
                let now: BTreeSet<_> = node.destinations().collect();
                assert!(
                    now == *before,
                    "at {:?} {} lost {:?} and won {:?} over a restart of {dying:?}",
                    self.network.now(),
                    node.name,
                    before.difference(&now).collect::<Vec<_>>(),
                    now.difference(before).collect::<Vec<_>>(),
                );
            }
        }
        self.network.run(LONG);
        self.check("a reflector and clients restarted");

        // Two halves, each with reflectors; changes on both sides meanwhile.
        let groups = (0..self.topology.nodes).map(|_| self.network.random.below(2) as u32).collect();
        self.network.partition(groups);
        self.network.run(secs(5));
        self.change_blocks(self.topology.nodes / 20);
        self.network.run(LONG);
        self.check("torn apart");
        self.network.heal();
        self.network.run(secs(120));
        self.check("joined");

        // Some die for longer than anybody waits.
        for node in self.clients(self.topology.nodes / 50) {
            self.network.restart(node, LONG * 2);
        }
        self.network.run(LONG);
        self.check("some are dead");
        self.network.run(LONG * 2);
        self.check("and back");
    }
}

#[test]
fn a_thousand_nodes_with_reflectors_converge_whatever_happens() {
    // a block of every fifth keeps a run short: what is carried grows with nodes times blocks
    Run::new(Shape { nodes: 1000, reflectors: 6, block_of: 5, add_path: false }).all();
}

#[test]
fn small_networks_converge_with_any_seed() {
    for reflectors in [1, 2, 3, 5] {
        for add_path in [true, false, true, false] {
            Run::new(Shape { nodes: 20, reflectors, block_of: 1, add_path }).all();
        }
    }
}
