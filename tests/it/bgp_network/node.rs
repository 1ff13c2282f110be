//! One simulated node: its speaker in its present life, what it announces, and its kernel, which outlives the speaker.

use super::Shape;
use super::network::Request;
use super::topology::{Topology, address};
use bgp_rib::{FibTarget, Hop, Local, PeerSettings, Resolution, RibConfig, Wanted};
use bgp_session::{Deferred, GracefulRestart, RemoteAs, Settings};
use bgp_wire::{Family, PerFamily, Prefix};
use bgpd::speaker::{Output, Speaker};
use ocicat_tests::random::Random;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

pub const HOLD_TIME: u64 = 90;
pub const RESTART_TIME: u64 = 120;
const AS: u32 = 64512;

/// A session of a node, as it is configured.
#[derive(Debug, Clone)]
struct Neighbor {
    settings: Settings,
    rr_client: bool,
}

/// A route in the node's kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Route {
    next_hops: BTreeSet<IpAddr>,
    /// Of the last life, and not confirmed in this one.
    stale: bool,
}

#[derive(Debug)]
pub struct Node {
    pub name: String,
    pub address: Ipv4Addr,
    pub speaker: Option<Speaker>,
    /// How often it has died.
    pub life: u32,
    /// What it announces.
    pub blocks: BTreeSet<Prefix>,
    neighbors: Vec<Neighbor>,
    reflector: bool,
    fib: BTreeMap<Prefix, Route>,
}

impl Node {
    pub fn all(topology: &Topology, shape: &Shape, random: &mut Random) -> Vec<Node> {
        let mut nodes: Vec<Node> = (0..topology.nodes)
            .map(|node| Node {
                name: format!("node {node}"),
                address: address(node),
                speaker: None,
                life: 0,
                blocks: (node % shape.block_of == 0).then(|| block(node as u32)).into_iter().collect(),
                neighbors: Vec::new(),
                reflector: topology.is_reflector(node),
                fib: BTreeMap::new(),
            })
            .collect();
        for (a, b) in topology.sessions() {
            // one side connects, the other, or both: then they collide
            let passive = random.below(3);
            for (node, other, side) in [(a, b, 0), (b, a, 1)] {
                let mut settings =
                    Settings::new(AS, address(node), RemoteAs::Exactly(AS), address(other).into());
                settings.passive = passive == side;
                settings.timers.hold_time = HOLD_TIME as u16;
                if !shape.add_path {
                    settings.add_path = PerFamily::default();
                }
                settings.graceful_restart = settings
                    .graceful_restart
                    .map(|gr| GracefulRestart { restart_time: RESTART_TIME as u16, ..gr });
                let rr_client = topology.is_reflector(node) && !topology.is_reflector(other);
                nodes[node].neighbors.push(Neighbor { settings, rr_client });
            }
        }
        nodes
    }

    /// Begins a life.
    pub fn boot(&mut self, seed: u64, now: Duration) {
        let config = RibConfig {
            cluster_id: self.reflector.then_some(self.address),
            fib: true,
            track_next_hops: true,
            seed,
            ..RibConfig::new(self.address)
        };
        let mut speaker = Speaker::new(config, seed);
        let peers: Vec<_> = self
            .neighbors
            .iter()
            .map(|neighbor| {
                let remote = neighbor.settings.remote_address;
                let routing = PeerSettings {
                    rr_client: neighbor.rr_client,
                    ..PeerSettings::new(remote.to_string(), remote)
                };
                speaker.add(neighbor.settings.clone(), routing)
            })
            .collect();
        if self.life > 0 {
            speaker.restarting(Duration::from_secs(RESTART_TIME), now);
        }
        self.blocks.iter().for_each(|block| speaker.rib_mut().originate(*block, Local::block()));
        peers.into_iter().for_each(|peer| speaker.start(peer, now));
        self.speaker = Some(speaker);
    }

    /// The speaker is gone; what it put into the kernel stays.
    pub fn die(&mut self) {
        self.speaker = None;
        self.life += 1;
        self.fib.values_mut().for_each(|route| route.stale = true);
    }

    pub fn wake(&mut self, now: Duration) {
        if let Some(speaker) = &mut self.speaker {
            speaker.wake(now);
        }
    }

    pub fn deadline(&self, now: Duration) -> Option<Duration> {
        self.speaker.as_ref()?.deadline(now)
    }

    pub fn announce(&mut self, number: u32) {
        let block = block(number);
        if self.blocks.insert(block)
            && let Some(speaker) = &mut self.speaker
        {
            speaker.rib_mut().originate(block, Local::block());
        }
    }

    pub fn withdraw_one(&mut self) {
        if let Some(block) = self.blocks.pop_first()
            && let Some(speaker) = &mut self.speaker
        {
            speaker.rib_mut().withdraw_origin(block, bgp_rib::Source::Static);
        }
    }
}

impl Node {
    /// Does what the speaker asks for until it asks for nothing more; what the network has to do.
    pub fn round(&mut self, now: Duration) -> Vec<Request> {
        let mut requests = Vec::new();
        let Some(speaker) = &mut self.speaker else { return requests };
        loop {
            let mut idle = true;
            let mut sweep = false;
            while let Some(output) = speaker.poll() {
                idle = false;
                match output {
                    Output::Connect(link) => {
                        let to = speaker.settings(link.peer).expect("a neighbour").remote_address;
                        requests.push(Request::Connect(link, node_of(to)));
                    }
                    Output::Close(link, last_words) => {
                        requests.push(Request::Close(link, last_words.concat()))
                    }
                    Output::Deferred(Deferred::StaleRoutes(Family::Ipv4Unicast)) => sweep = true,
                    _ => {}
                }
            }
            for wanted in speaker.rib_mut().take_wanted() {
                if let Wanted::Track(next_hop) = wanted {
                    let hops = Arc::from([Hop { gateway: Some(next_hop.address), link: 1, onlink: false }]);
                    speaker.rib_mut().next_hop(next_hop, Resolution::Via { metric: 1, hops });
                }
            }
            speaker.flush();
            let fib = &mut self.fib;
            speaker.rib_mut().drain_fib(|prefix, route| match route.map(|route| route.target) {
                Some(FibTarget::Via(hops)) => {
                    let next_hops = hops.iter().filter_map(|hop| hop.gateway).collect();
                    fib.insert(prefix, Route { next_hops, stale: false });
                }
                // a route of the last life stays until its time is over
                Some(FibTarget::Blackhole) | None => {
                    if fib.get(&prefix).is_some_and(|route| !route.stale) {
                        fib.remove(&prefix);
                    }
                }
            });
            if sweep {
                fib.retain(|_, route| !route.stale);
            }
            for link in speaker.take_writable() {
                idle = false;
                let octets: Vec<u8> = speaker.chunks(link).flat_map(|chunk| chunk.to_vec()).collect();
                speaker.wrote(link, octets.len(), now);
                requests.push(Request::Write(link, octets));
            }
            if idle {
                return requests;
            }
        }
    }

    /// Where its kernel can send packets.
    pub fn destinations(&self) -> impl Iterator<Item = Prefix> + '_ {
        self.fib.keys().copied()
    }

    /// What is wrong in its kernel.
    pub fn differences<'a>(
        &'a self,
        expected: &'a BTreeMap<Prefix, BTreeSet<IpAddr>>,
    ) -> impl Iterator<Item = String> + 'a {
        let missing = expected.keys().filter(|prefix| !self.fib.contains_key(prefix));
        let missing = missing.map(|prefix| format!("{prefix} is missing"));
        let wrong = self.fib.iter().filter_map(move |(prefix, route)| match expected.get(prefix) {
            None => Some(format!("{prefix} is nobody's any more: {route:?}")),
            Some(_) if route.stale => Some(format!("{prefix} is still of the last life")),
            Some(next_hops) if route.next_hops.is_empty() || !route.next_hops.is_subset(next_hops) => {
                Some(format!("{prefix} leads to {:?} instead of {next_hops:?}", route.next_hops))
            }
            Some(_) => None,
        });
        missing.chain(wrong)
    }
}

/// The node with an address.
fn node_of(address: IpAddr) -> usize {
    match address {
        IpAddr::V4(v4) => (u32::from(v4) - u32::from(super::topology::address(0))) as usize,
        IpAddr::V6(v6) => panic!("nobody has {v6}"),
    }
}

/// Block of this number, inside 172.16.0.0/12 and beyond.
fn block(number: u32) -> Prefix {
    let address = Ipv4Addr::from(0x6400_0000 + (number << 6));
    Prefix::new(address.into(), 26).unwrap()
}
