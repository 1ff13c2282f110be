//! How fast the RIB and the codec are by themselves, without sockets. Run with `--release`; a name runs one scenario.

// A program for whoever measures: what does not fit ends it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use bgp_wire::{
    AsPath, Attributes, Codec, Family, Message, Nlri, Origin, Prefix, RefreshSubtype, UpdateEncoder,
};
use ocicat_bgp_rib::{PeerId, PeerSettings, Rib, RibConfig, Session};
use std::net::{IpAddr, Ipv4Addr};

/// Octets a socket gives at once, after which changes are told.
const READ: usize = 64 << 10;

/// Time on a processor: other programs do not count.
struct Cpu(f64);

impl Cpu {
    fn now() -> Self {
        let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap();
        Cpu(stat.split_whitespace().next().unwrap().parse().unwrap())
    }

    fn elapsed_ms(&self) -> f64 {
        (Cpu::now().0 - self.0) / 1e6
    }
}

/// Prefixes one after the other are no neighbours, as in the Internet's table.
fn prefix(number: u32) -> Prefix {
    let place = number.wrapping_mul(647_453) & 0xf_ffff;
    Prefix::new(IpAddr::V4(Ipv4Addr::from(0x1000_0000 + (place << 8))), 24).unwrap()
}

fn set(source: u32, number: u32) -> Attributes {
    let path = [65000 + source, 1 + number % 60_000, 1 + number / 7 % 50_000, 70_000 + number];
    let mut a = Attributes::new(Origin::Igp, AsPath::sequence(&path), Ipv4Addr::new(192, 0, 2, 1).into());
    a.communities = [number, number / 3].into();
    a
}

/// Messages that announce prefixes `from..to`, so many a set.
fn announcements(source: u32, from: u32, to: u32, a_set: u32, internal: bool) -> Vec<u8> {
    let (mut out, mut encoder) = (Vec::new(), UpdateEncoder::new());
    let mut at = from;
    while at < to {
        let end = (at + a_set).min(to);
        let mut attributes = set(source, at / a_set);
        if internal {
            attributes.local_pref = Some(2_147_482_623);
            attributes.as_path = AsPath::empty();
            attributes.next_hop = Ipv4Addr::from(0x0a00_0000 + source).into();
            attributes.communities = Box::default();
        }
        let routes = (at..end).map(|n| Nlri { path_id: 0, prefix: prefix(n) });
        encoder.announce(&attributes, Family::Ipv4Unicast, &Codec::default(), routes, &mut out).unwrap();
        at = end;
    }
    out
}

fn withdrawals(from: u32, to: u32) -> Vec<u8> {
    let mut out = Vec::new();
    let routes = (from..to).map(|n| Nlri { path_id: 0, prefix: prefix(n) });
    UpdateEncoder::new().withdraw(Family::Ipv4Unicast, &Codec::default(), routes, &mut out);
    out
}

struct World {
    rib: Rib,
    peers: Vec<PeerId>,
    octets: usize,
}

impl World {
    fn new(peers: usize, external: bool, client: bool) -> Self {
        let mut rib = Rib::new(RibConfig::new(Ipv4Addr::new(10, 0, 0, 1)));
        let peers = (0..peers).map(|n| {
            let address = Ipv4Addr::from(0x7f00_0001 + n as u32);
            let mut settings = PeerSettings::new(format!("{n}"), address.into());
            settings.rr_client = client;
            let peer = rib.add_peer(settings);
            let session = Session {
                codec: Codec { external, ..Codec::default() },
                local_as: 64512,
                remote_as: if external { 65000 + n as u32 } else { 64512 },
                router_id: address,
                local_address: Ipv4Addr::new(127, 0, 0, 99).into(),
                enhanced_refresh: false,
            };
            rib.peer_up(peer, session);
            peer
        });
        let peers = peers.collect();
        let mut world = World { rib, peers, octets: 0 };
        world.write();
        world
    }

    /// Takes what a connection brought, in pieces as sockets give them.
    fn read(&mut self, peer: usize, bytes: &[u8], external: bool) {
        let codec = Codec { external, ..Codec::default() };
        let (mut rest, mut since) = (bytes, 0);
        while let Some(frame) = bgp_wire::frame(rest, 4096).unwrap() {
            let (message, after) = rest.split_at(frame.len);
            let Message::Update(update) = bgp_wire::decode(message, &codec).unwrap() else { unreachable!() };
            self.rib.update(self.peers[peer], &update);
            rest = after;
            since += frame.len;
            if since >= READ {
                since = 0;
                self.write();
            }
        }
        self.write();
    }

    fn write(&mut self) {
        loop {
            let ready = self.rib.flush();
            for peer in &ready {
                let octets = self.rib.pending(*peer).map(<[u8]>::len).sum();
                self.octets += octets;
                self.rib.advance(*peer, octets);
            }
            if !self.rib.wants_flush() {
                return;
            }
        }
    }

    fn report(&mut self, what: &str, since: Cpu) {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        println!("{what:44} {:8.1} ms {:7.1} MB out  {peak}", since.elapsed_ms(), self.octets as f64 / 1e6);
        self.octets = 0;
    }
}

fn a() {
    let mut world = World::new(2, true, false);
    let (announce, withdraw) = (announcements(0, 0, 1_000_000, 8, false), withdrawals(0, 1_000_000));
    for round in ["first", "again"] {
        let start = Cpu::now();
        world.read(0, &announce, true);
        world.report(&format!("A  1,000,000 in 125,000 sets, {round}"), start);
        let start = Cpu::now();
        world.read(0, &withdraw, true);
        world.report("A' all withdrawn", start);
    }
    let start = Cpu::now();
    while world.rib.tidy(256) {}
    world.report("A' tidied up", start);
    let start = Cpu::now();
    world.read(0, &announce, true);
    world.report("A  a third time", start);
    let start = Cpu::now();
    world.rib.refresh(world.peers[1], Family::Ipv4Unicast, RefreshSubtype::Request);
    world.write();
    world.report("A  refresh of the receiver", start);
}

fn b() {
    let mut world = World::new(60, true, false);
    let inputs: Vec<Vec<u8>> =
        (0..50).map(|n| announcements(n, n * 10_000, (n + 1) * 10_000, 8, false)).collect();
    let start = Cpu::now();
    for (peer, input) in inputs.iter().enumerate() {
        world.read(peer, input, true);
    }
    world.report("B  50 x 10,000, 60 members", start);
}

fn reflector(clients: usize) {
    let mut world = World::new(clients, false, true);
    let inputs: Vec<Vec<u8>> =
        (0..clients as u32).map(|n| announcements(n, n * 4, (n + 1) * 4, 4, true)).collect();
    let start = Cpu::now();
    for (peer, input) in inputs.iter().enumerate() {
        let Message::Update(update) = bgp_wire::decode(input, &Codec::default()).unwrap() else {
            unreachable!()
        };
        world.rib.update(world.peers[peer], &update);
        if peer % 50 == 49 {
            world.write();
        }
    }
    world.write();
    world.report(&format!("C/D reflector, {clients} clients x 4"), start);
    let start = Cpu::now();
    world.rib.peer_down(world.peers[7], Default::default());
    world.write();
    world.report("C' one client gone", start);
    let start = Cpu::now();
    for n in 0..100 {
        let input = announcements(9000 + n, 36, 40, 4, true);
        world.read(9, &input, false);
    }
    world.report("   100 x one client's routes change", start);
}

fn main() {
    let wanted = std::env::args().nth(1);
    let scenarios: [(&str, fn()); 4] =
        [("a", a), ("b", b), ("c", || reflector(500)), ("d", || reflector(1000))];
    for (name, run) in scenarios {
        if wanted.as_deref().is_none_or(|wanted| wanted == name) {
            run();
        }
    }
}
