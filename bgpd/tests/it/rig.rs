//! One speaker that does what its resources say, and neighbours that count what they are told.

use bgp_config::{NodePlan, PlanDiff, RouterId, SessionKey, SessionStep, View};
use bgp_rib::{Local, PeerId, PeerSettings, RibConfig, Source};
use bgp_session::{Endpoints, RemoteAs, Settings, Stop};
use bgp_wire::Prefix;
use bgpd::speaker::{Link, Output, Range, Speaker};
use model::document;
use model::schema::decode_strict;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Where the speaker under test is among the speakers.
const OWN: usize = 0;
/// Length of a message's header (RFC 4271 §4.1), and where in it the length and the type are.
const HEADER: usize = 19;
const UPDATE: u8 = 2;

/// What one neighbour saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Sessions with it that ended.
    pub downs: usize,
    /// UPDATEs it got.
    pub updates: usize,
}

/// A speaker of the rig.
struct Station {
    address: IpAddr,
    speaker: Speaker,
}

/// All speakers and the wires between them, which take no time.
pub struct Rig {
    now: Duration,
    stations: Vec<Station>,
    /// The far end of each connection.
    wires: BTreeMap<(usize, Link), (usize, Link)>,
    /// What is left of a message, by receiver.
    rests: BTreeMap<(usize, Link), Vec<u8>>,
    view: View,
    plan: Option<Arc<NodePlan>>,
    peers: BTreeMap<SessionKey, PeerId>,
    /// Of every peer there ever was: that a session is down is told when its peer is gone already.
    addresses: BTreeMap<PeerId, IpAddr>,
    seen: BTreeMap<IpAddr, Seen>,
}

pub fn prefix(text: &str) -> Prefix {
    let (addr, len) = text.split_once('/').unwrap();
    Prefix::new(addr.parse().unwrap(), len.parse().unwrap()).unwrap()
}

impl Rig {
    /// The speaker of `node`, at `address`, with these resources.
    pub fn new(node: &str, address: &str, resources: &str) -> Self {
        let address: IpAddr = address.parse().unwrap();
        let IpAddr::V4(router_id) = address else { panic!("the rig is of IPv4") };
        let own = Station { address, speaker: Speaker::new(RibConfig::new(router_id), 1) };
        let mut rig = Rig {
            now: Duration::ZERO,
            stations: vec![own],
            wires: BTreeMap::new(),
            rests: BTreeMap::new(),
            view: View::new(node, RouterId::Address),
            plan: None,
            peers: BTreeMap::new(),
            addresses: BTreeMap::new(),
            seen: BTreeMap::new(),
        };
        rig.set(resources);
        rig
    }

    /// Adds a neighbour that announces blocks of its own.
    pub fn neighbor(&mut self, address: &str, asn: u32, own_as: u32, blocks: &[&str]) {
        let address: IpAddr = address.parse().unwrap();
        let own = self.stations[OWN].address;
        let IpAddr::V4(router_id) = address else { panic!("the rig is of IPv4") };
        let mut speaker = Speaker::new(RibConfig::new(router_id), 7);
        let mut settings = Settings::new(asn, router_id, RemoteAs::Exactly(own_as), own);
        settings.local_address = Some(address);
        // what the speaker under test sends is then one message for each thing it says
        settings.graceful_restart = None;
        let peer = speaker.add(settings, PeerSettings::new("own", own));
        speaker.start(peer, self.now);
        for block in blocks {
            speaker.rib_mut().originate(prefix(block), Local::block());
        }
        self.stations.push(Station { address, speaker });
        self.seen.insert(address, Seen::default());
    }

    /// Sets resources, without putting the plan in force.
    pub fn set(&mut self, resources: &str) {
        for document in document::parse(resources, "rig").unwrap() {
            for raw in document.resources("rig").unwrap() {
                self.view.set(&decode_strict(raw.kind, raw.value).unwrap());
            }
        }
    }

    pub fn view(&mut self) -> &mut View {
        &mut self.view
    }

    /// Puts the plan in force, as the daemon does.
    pub fn apply(&mut self) {
        let plan = self.view.plan();
        let before = self.plan.replace(Arc::clone(&plan));
        let nothing = View::new("", RouterId::Address).plan();
        let diff = PlanDiff::between(before.as_deref().unwrap_or(&nothing), &plan);
        let now = self.now;
        let speaker = &mut self.stations[OWN].speaker;
        speaker.rib_mut().set_config(RibConfig {
            cluster_id: plan.cluster_id,
            normal_priority: plan.normal_priority,
            kernel: plan.kernel.clone(),
            ..RibConfig::new(plan.router_id.unwrap_or(Ipv4Addr::UNSPECIFIED))
        });
        for (key, step) in &diff.sessions {
            match (key, step) {
                (SessionKey::Range(range), SessionStep::Add(new)) => {
                    let (settings, routing) = (new.settings.clone(), new.routing.clone());
                    speaker.set_range(*range, Range { settings, routing, limit: new.dynamic_limit });
                }
                (SessionKey::Range(range), SessionStep::Remove) => {
                    speaker.remove_range(*range, Stop::Deconfigured, now)
                }
                (SessionKey::Range(_), SessionStep::Change(..)) => panic!("no scenario changes a range"),
                (SessionKey::Peer { .. }, SessionStep::Add(new)) => {
                    let peer = speaker.add(new.settings.clone(), new.routing.clone());
                    speaker.start(peer, now);
                    self.peers.insert(*key, peer);
                    self.addresses.insert(peer, key.address());
                }
                (SessionKey::Peer { .. }, SessionStep::Change(new, change)) => {
                    let peer = self.peers[key];
                    speaker.configure(peer, new.settings.clone(), now);
                    speaker.rib_mut().set_peer(peer, new.routing.clone());
                    match (&new.shutdown, change.shutdown) {
                        (_, false) => {}
                        (Some(text), true) => speaker.stop(peer, Stop::Shutdown(text.clone()), now),
                        (None, true) => speaker.start(peer, now),
                    }
                }
                (SessionKey::Peer { .. }, SessionStep::Remove) => {
                    speaker.remove(self.peers.remove(key).unwrap(), now);
                }
            }
        }
        for (block, there) in &diff.blocks {
            match there {
                true => speaker.rib_mut().originate(*block, Local::block()),
                false => speaker.rib_mut().withdraw_origin(*block, Source::Static),
            }
        }
    }

    /// Lets time pass and everything happen that then happens.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle();
            let next = self.stations.iter().filter_map(|station| station.speaker.deadline(self.now)).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = next.max(self.now);
            for station in &mut self.stations {
                station.speaker.wake(self.now);
            }
        }
        self.now = end;
    }

    /// What the neighbours saw since this was asked last, by address.
    pub fn take_seen(&mut self) -> BTreeMap<IpAddr, Seen> {
        let fresh = self.seen.keys().map(|address| (*address, Seen::default())).collect();
        std::mem::replace(&mut self.seen, fresh)
    }

    /// How many sessions of the speaker under test are up.
    pub fn established(&self) -> usize {
        self.stations[OWN].speaker.peers().filter(|(_, session)| session.established().is_some()).count()
    }

    fn settle(&mut self) {
        loop {
            let mut quiet = true;
            for at in 0..self.stations.len() {
                while let Some(output) = self.stations[at].speaker.poll() {
                    quiet = false;
                    self.output(at, output);
                }
                self.stations[at].speaker.flush();
                for link in self.stations[at].speaker.take_writable() {
                    quiet = false;
                    self.write(at, link);
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn output(&mut self, at: usize, output: Output) {
        match output {
            Output::Connect(link) => self.connect(at, link),
            Output::Close(link, last_words) => {
                let Some(far) = self.wires.remove(&(at, link)) else { return };
                self.wires.remove(&far);
                for octets in last_words {
                    self.deliver(at, far, &octets);
                }
                self.stations[far.0].speaker.closed(far.1, "closed", self.now);
            }
            Output::Down(peer, _) if at == OWN => {
                if let Some(seen) = self.addresses.get(&peer).and_then(|address| self.seen.get_mut(address)) {
                    seen.downs += 1;
                }
            }
            _ => {}
        }
    }

    fn connect(&mut self, at: usize, link: Link) {
        let settings = self.stations[at].speaker.settings(link.peer).unwrap().clone();
        let local = SocketAddr::new(self.stations[at].address, 40_000);
        let remote = SocketAddr::new(settings.remote_address, settings.remote_port);
        let other = self.stations.iter().position(|station| station.address == remote.ip());
        let ends = Endpoints { local: remote, remote: local };
        let accepted =
            other.and_then(|other| Some((other, self.stations[other].speaker.accept(ends, self.now)?)));
        match accepted {
            Some(far) => {
                self.wires.insert((at, link), far);
                self.wires.insert(far, (at, link));
                self.stations[at].speaker.connected(link, Endpoints { local, remote }, self.now);
            }
            None => self.stations[at].speaker.closed(link, "refused", self.now),
        }
    }

    fn write(&mut self, at: usize, link: Link) {
        loop {
            let speaker = &mut self.stations[at].speaker;
            let octets: Vec<u8> = speaker.chunks(link).flat_map(|chunk| chunk.to_vec()).collect();
            if octets.is_empty() {
                return;
            }
            speaker.wrote(link, octets.len(), self.now);
            if let Some(far) = self.wires.get(&(at, link)).copied() {
                self.deliver(at, far, &octets);
            }
        }
    }

    fn deliver(&mut self, from: usize, to: (usize, Link), octets: &[u8]) {
        if from == OWN {
            let rest = self.rests.entry(to).or_default();
            rest.extend_from_slice(octets);
            let seen = self.seen.get_mut(&self.stations[to.0].address).unwrap();
            while let Some(length) = length(rest).filter(|length| rest.len() >= *length) {
                seen.updates += usize::from(rest[HEADER - 1] == UPDATE);
                rest.drain(..length);
            }
        }
        self.stations[to.0].speaker.received(to.1, octets, self.now);
    }
}

/// Length of the message that begins here.
fn length(octets: &[u8]) -> Option<usize> {
    let header = octets.get(..HEADER)?;
    Some(usize::from(u16::from_be_bytes([header[16], header[17]])))
}
