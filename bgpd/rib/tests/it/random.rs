//! Random histories: whatever the order, and however the neighbours read, everybody ends with what the model says.

use crate::model::{KINDS, Kind, Model, NO_EXPORT, Peer, ROUTER_ID};
use crate::neighbor::{Neighbor, session};
use bgp_rib::{Local, NextHop, NextHopMode, PeerSettings, Resolution, Rib, RibConfig, Source, Wanted};
use bgp_wire::{AsPath, Attributes, Family, Nlri, Origin, Prefix, RefreshSubtype};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// Small numbers, so that things meet.
#[derive(Debug, Clone)]
enum Step {
    Announce { peer: usize, prefixes: u8, path_id: u8, set: u8 },
    Withdraw { peer: usize, prefixes: u8, path_id: u8 },
    Up(usize),
    Down(usize, bool),
    EndOfRib(usize),
    Import(usize, usize),
    Export(usize, usize),
    NextHopMode(usize, bool),
    Refresh(usize),
    RefreshOfTheirs(usize),
    Originate(u8, bool, Option<u8>),
    Unoriginate(u8, bool),
    Reachable(u8, bool),
    Flush,
    Read(usize, usize),
}

const PEERS: usize = 8;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let peer = 0..PEERS;
    let kind = 0..KINDS.len();
    let step = prop_oneof![
        12 => (peer.clone(), any::<u8>(), 0..3u8, 0..24u8)
            .prop_map(|(peer, prefixes, path_id, set)| Step::Announce { peer, prefixes, path_id, set }),
        6 => (peer.clone(), any::<u8>(), 0..3u8)
            .prop_map(|(peer, prefixes, path_id)| Step::Withdraw { peer, prefixes, path_id }),
        4 => peer.clone().prop_map(Step::Up),
        2 => (peer.clone(), any::<bool>()).prop_map(|(peer, keep)| Step::Down(peer, keep)),
        1 => peer.clone().prop_map(Step::EndOfRib),
        1 => (peer.clone(), kind.clone()).prop_map(|(peer, kind)| Step::Import(peer, kind)),
        1 => (peer.clone(), kind).prop_map(|(peer, kind)| Step::Export(peer, kind)),
        1 => (peer.clone(), any::<bool>()).prop_map(|(peer, own)| Step::NextHopMode(peer, own)),
        1 => peer.clone().prop_map(Step::Refresh),
        1 => peer.clone().prop_map(Step::RefreshOfTheirs),
        2 => (0..16u8, any::<bool>(), proptest::option::of(0..4u8))
            .prop_map(|(prefix, kernel, metric)| Step::Originate(prefix, kernel, metric)),
        1 => (0..16u8, any::<bool>()).prop_map(|(prefix, kernel)| Step::Unoriginate(prefix, kernel)),
        1 => (0..3u8, any::<bool>()).prop_map(|(hop, reachable)| Step::Reachable(hop, reachable)),
        8 => Just(Step::Flush),
        8 => (peer, 0..400usize).prop_map(|(peer, octets)| Step::Read(peer, octets)),
    ];
    proptest::collection::vec(step, 1..120)
}

fn prefix(number: u8) -> Prefix {
    if number % 4 == 3 {
        return Prefix::new(IpAddr::from([0x2001, 0xdb8, u16::from(number), 0, 0, 0, 0, 0]), 48).unwrap();
    }
    Prefix::new([10, 0, number, 0].into(), if number.is_multiple_of(2) { 24 } else { 26 }).unwrap()
}

/// Three prefixes close to each other.
fn prefixes(seed: u8, path_id: u32) -> Vec<Nlri> {
    (0..3u8)
        .map(|n| Nlri {
            path_id,
            prefix: prefix((seed.wrapping_mul(7).wrapping_add(n * (seed % 5 + 1))) % 16),
        })
        .collect()
}

fn next_hop(number: u8, family: Family) -> IpAddr {
    match family {
        Family::Ipv4Unicast => IpAddr::from([192, 0, 2, 1 + number % 3]),
        Family::Ipv6Unicast => IpAddr::from([0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, u16::from(1 + number % 3)]),
    }
}

fn attributes(set: u8, family: Family, external: bool, remote_as: u32) -> Attributes {
    let path: &[u32] = match (external, set % 4) {
        (true, 0) => &[remote_as],
        (true, 1) => &[remote_as, 65200],
        (true, 2) => &[remote_as, 64512],
        (true, _) => &[remote_as, 65201],
        (false, 0) => &[],
        (false, 1) => &[65100],
        (false, 2) => &[65100, 65200],
        (false, _) => &[65101, 65200],
    };
    let mut a = Attributes::new(Origin::Igp, AsPath::sequence(path), next_hop(set, family));
    a.med = (!set.is_multiple_of(3)).then_some(u32::from(set % 3));
    if !external {
        a.local_pref = Some(100 + u32::from(set / 8));
        if set == 5 {
            a.edit_rare(|rare| {
                rare.originator_id = Some(Ipv4Addr::new(10, 255, 0, 99));
                rare.cluster_list = [Ipv4Addr::new(10, 255, 9, 9)].into();
            });
        }
        if set == 6 {
            a.edit_rare(|rare| rare.cluster_list = [ROUTER_ID].into());
        }
    }
    match set {
        3 => a.add_community(NO_EXPORT),
        7 | 11 => a.add_community(1),
        13 if family == Family::Ipv4Unicast => a.next_hop = IpAddr::from([192, 0, 2, 254]),
        _ => {}
    }
    a
}

/// Two external neighbours, two clients, two plain internal ones, one external and one client with ADD-PATH.
fn speaker(log_limit: usize) -> (Rib, Model) {
    let config = RibConfig { log_limit, track_next_hops: true, ..RibConfig::new(ROUTER_ID) };
    let mut rib = Rib::new(config);
    let mut model = Model::default();
    for number in 0..PEERS {
        let external = number < 2 || number == 6;
        let remote_as = if external { 65001 + (number % 2) as u32 } else { 64512 };
        let mut session = session(external, remote_as, number as u8 + 1);
        if number >= 6 {
            session.codec.add_path_send.ipv4 = true;
            session.codec.add_path_receive.ipv4 = true;
        }
        session.enhanced_refresh = number % 2 == 0;
        let mut settings =
            PeerSettings::new(format!("peer {number}"), IpAddr::from([192, 0, 2, 100 + number as u8]));
        settings.rr_client = number == 2 || number == 3 || number == 7;
        settings.local_addresses.ipv6 = Some(IpAddr::from([0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 254]));
        settings.allow_own_as = u32::from(number == 1);
        let neighbor = Neighbor::new(rib.add_peer(settings.clone()), session);
        model.peers.push(Peer {
            neighbor,
            settings,
            import: Kind::Accept,
            export: Kind::Accept,
            announced: Default::default(),
        });
    }
    (rib, model)
}

fn answer(rib: &mut Rib, model: &Model) {
    for wanted in rib.take_wanted() {
        if let Wanted::Track(next_hop) = wanted {
            rib.next_hop(next_hop, resolution(!model.unreachable.contains(&next_hop.address)));
        }
    }
}

fn resolution(reachable: bool) -> Resolution {
    if reachable { Resolution::Via { metric: 0, hops: Arc::new([]) } } else { Resolution::Unreachable }
}

fn apply(rib: &mut Rib, model: &mut Model, step: &Step) {
    match *step {
        Step::Announce { peer, prefixes: seed, path_id, set } => {
            let peer = &mut model.peers[peer];
            if !peer.neighbor.up {
                return;
            }
            let session = peer.neighbor.session;
            for nlri in prefixes(seed, 0) {
                let add_path = *session.codec.add_path_receive.get(nlri.prefix.family());
                let nlri = Nlri { path_id: if add_path { u32::from(path_id) + 1 } else { 0 }, ..nlri };
                let family = nlri.prefix.family();
                let attributes = attributes(set, family, session.codec.external, session.remote_as);
                peer.neighbor.announce(rib, &[nlri], &attributes);
                peer.announced.insert(nlri, (attributes, false));
            }
        }
        Step::Withdraw { peer, prefixes: seed, path_id } => {
            let peer = &mut model.peers[peer];
            if !peer.neighbor.up {
                return;
            }
            for nlri in prefixes(seed, 0) {
                let add_path = *peer.neighbor.session.codec.add_path_receive.get(nlri.prefix.family());
                let nlri = Nlri { path_id: if add_path { u32::from(path_id) + 1 } else { 0 }, ..nlri };
                peer.neighbor.withdraw(rib, &[nlri]);
                peer.announced.remove(&nlri);
            }
        }
        Step::Up(peer) => {
            let peer = &mut model.peers[peer];
            if !peer.neighbor.up {
                peer.neighbor.up(rib);
            }
        }
        Step::Down(peer, keep) => {
            let peer = &mut model.peers[peer];
            if peer.neighbor.up {
                peer.neighbor.down(rib, keep);
                peer.announced.retain(|_, (_, stale)| keep && !std::mem::replace(stale, true));
            }
        }
        Step::EndOfRib(peer) => {
            let peer = &mut model.peers[peer];
            for family in Family::ALL {
                rib.end_of_rib(peer.neighbor.id, family);
            }
            peer.announced.retain(|_, (_, stale)| !*stale);
        }
        Step::Import(peer, kind) => {
            let peer = &mut model.peers[peer];
            peer.import = KINDS[kind];
            peer.settings.import.ipv4 = peer.import.policy();
            peer.settings.import.ipv6 = peer.import.policy();
            rib.set_peer(peer.neighbor.id, peer.settings.clone());
        }
        Step::Export(peer, kind) => {
            let peer = &mut model.peers[peer];
            peer.export = KINDS[kind];
            peer.settings.export.ipv4 = peer.export.policy();
            peer.settings.export.ipv6 = peer.export.policy();
            rib.set_peer(peer.neighbor.id, peer.settings.clone());
        }
        Step::NextHopMode(peer, own) => {
            let peer = &mut model.peers[peer];
            peer.settings.next_hop = if own { NextHopMode::Own } else { NextHopMode::Keep };
            rib.set_peer(peer.neighbor.id, peer.settings.clone());
        }
        Step::Refresh(peer) => {
            let peer = &model.peers[peer];
            if peer.neighbor.up {
                for family in Family::ALL {
                    rib.refresh(peer.neighbor.id, family, RefreshSubtype::Request);
                }
            }
        }
        Step::RefreshOfTheirs(peer) => {
            let peer = &mut model.peers[peer];
            if peer.neighbor.up {
                for family in Family::ALL {
                    rib.refresh(peer.neighbor.id, family, RefreshSubtype::Begin);
                    rib.refresh(peer.neighbor.id, family, RefreshSubtype::End);
                }
                peer.announced.clear();
            }
        }
        Step::Originate(number, kernel, metric) => {
            let source = if kernel { Source::Kernel } else { Source::Static };
            let local = Local { source, metric: metric.map(u32::from), interface: None };
            rib.originate(prefix(number), local.clone());
            model.local.insert((prefix(number), source), local);
        }
        Step::Unoriginate(number, kernel) => {
            let source = if kernel { Source::Kernel } else { Source::Static };
            rib.withdraw_origin(prefix(number), source);
            model.local.remove(&(prefix(number), source));
        }
        Step::Reachable(hop, reachable) => {
            for family in Family::ALL {
                let address = next_hop(hop, family);
                if reachable {
                    model.unreachable.remove(&address);
                } else {
                    model.unreachable.insert(address);
                }
                rib.next_hop(NextHop { address, peer: None }, resolution(reachable));
            }
        }
        Step::Flush => {
            answer(rib, model);
            rib.flush();
        }
        Step::Read(peer, octets) => {
            model.peers[peer].neighbor.read(rib, octets);
        }
    }
}

/// Lets everything settle, then compares.
fn compare(rib: &mut Rib, model: &mut Model) {
    answer(rib, model);
    rib.flush();
    for peer in 0..model.peers.len() {
        model.peers[peer].neighbor.read_all(rib);
    }
    assert!(!rib.wants_flush());
    for peer in 0..model.peers.len() {
        let neighbor = &model.peers[peer].neighbor;
        let mut expected = if neighbor.up { model.expected(peer) } else { Vec::new() };
        let mut told: Vec<(Prefix, Attributes)> =
            neighbor.told.iter().map(|(nlri, attributes)| (nlri.prefix, attributes.clone())).collect();
        let by_text = |(prefix, attributes): &(Prefix, Attributes)| format!("{prefix} {attributes:?}");
        expected.sort_by_key(by_text);
        told.sort_by_key(by_text);
        assert_eq!(
            told, expected,
            "peer {peer}; left: what it was told, right: what it should have been told"
        );
        let mut sent: Vec<(Prefix, Attributes)> = Family::ALL
            .into_iter()
            .flat_map(|family| rib.sent(neighbor.id, family))
            .map(|(nlri, attributes)| (nlri.prefix, attributes.clone()))
            .collect();
        sent.sort_by_key(by_text);
        assert_eq!(sent, expected, "peer {peer}: Adj-RIB-Out");
        if neighbor.up {
            assert_eq!(neighbor.ends_of_rib, 2, "one End-of-RIB a family");
        }
    }
    for number in 0..16 {
        let explained = rib.explain(prefix(number));
        let best = explained.and_then(|e| e.paths.into_iter().find(|(known, _)| known.best));
        assert_eq!(best.map(|(known, _)| known.peer), model.best_peer(prefix(number)), "{}", prefix(number));
    }
}

fn run(steps: &[Step], log_limit: usize) {
    let (mut rib, mut model) = speaker(log_limit);
    for step in steps {
        apply(&mut rib, &mut model, step);
    }
    compare(&mut rib, &mut model);
    // And once more after everybody has asked for everything again.
    for peer in 0..PEERS {
        apply(&mut rib, &mut model, &Step::Refresh(peer));
    }
    compare(&mut rib, &mut model);
    for peer in &model.peers {
        rib.remove_peer(peer.neighbor.id);
    }
    for (prefix, source) in model.local.keys() {
        rib.withdraw_origin(*prefix, *source);
    }
    rib.flush();
    rib.drain_fib(|_, _| {});
    rib.flush();
    assert!(rib.is_empty(), "before it is tidy, too");
    while rib.tidy(7) {}
    assert!(!rib.is_untidy());
    assert_eq!(rib.set_count(), 0, "sets that nobody has");
    assert!(rib.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_ends_with_what_the_model_says(steps in steps(), limit in prop_oneof![Just(0usize), Just(150), Just(1 << 20)]) {
        run(&steps, limit);
    }
}
