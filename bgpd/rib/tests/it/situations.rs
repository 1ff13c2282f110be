//! One situation each.

use crate::neighbor::{Neighbor, session};
use bgp_rib::policy::{Condition, LOCAL_PREF_BASE, Operation, Policy, PrefixMatch, Rule, Verdict};
use bgp_rib::{
    Fate, FibRoute, FibTarget, Hop, LimitExceeded, Local, Loop, MaxPrefixAction, MaxPrefixes, NextHop,
    NotSent, PeerSettings, Resolution, Rib, RibConfig, Source, Step, Wanted,
};
use bgp_wire::{AsPath, Attributes, Family, Nlri, Origin, Prefix, RefreshSubtype};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

const ROUTER_ID: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 254);

fn prefix(text: &str) -> Prefix {
    let (addr, len) = text.split_once('/').unwrap();
    Prefix::new(addr.parse().unwrap(), len.parse().unwrap()).unwrap()
}

fn route(text: &str) -> Nlri {
    Nlri { path_id: 0, prefix: prefix(text) }
}

fn path(path: &[u32]) -> Attributes {
    Attributes::new(Origin::Igp, AsPath::sequence(path), [192, 0, 2, 1].into())
}

fn rib() -> Rib {
    Rib::new(RibConfig::new(ROUTER_ID))
}

fn add(rib: &mut Rib, number: u8, external: bool, change: impl FnOnce(&mut PeerSettings)) -> Neighbor {
    let mut settings = PeerSettings::new(format!("peer {number}"), [192, 0, 2, 100 + number].into());
    change(&mut settings);
    let id = rib.add_peer(settings);
    let mut neighbor = Neighbor::new(
        id,
        session(external, if external { 65000 + u32::from(number) } else { 64512 }, number),
    );
    neighbor.up(rib);
    neighbor.read_all(rib);
    neighbor
}

/// Forgets all that nobody needs any more.
fn tidy(rib: &mut Rib) {
    while rib.tidy(1) {}
}

fn accepting(rules: Vec<Rule>) -> Arc<Policy> {
    Arc::new(Policy { rules, otherwise: Verdict::Accept })
}

#[test]
fn external_routes_get_our_as_and_next_hop_on_the_way_out_and_lose_what_is_ours_alone() {
    let mut rib = rib();
    let one = add(&mut rib, 1, true, |_| {});
    let (mut two, mut inside) = (add(&mut rib, 2, true, |_| {}), add(&mut rib, 3, false, |_| {}));
    let mut sent = path(&[65001, 65100]);
    sent.med = Some(7);
    sent.add_community(99);
    one.announce(&mut rib, &[route("10.1.0.0/16")], &sent);
    rib.flush();
    two.read_all(&mut rib);
    inside.read_all(&mut rib);
    let outside = &two.told[&route("10.1.0.0/16")];
    assert_eq!(outside.as_path.numbers().collect::<Vec<_>>(), [64512, 65001, 65100]);
    assert_eq!((outside.med, outside.local_pref), (None, None));
    assert_eq!(outside.next_hop, IpAddr::from([192, 0, 2, 254]));
    assert_eq!(*outside.communities, [99]);
    let inside = &inside.told[&route("10.1.0.0/16")];
    assert_eq!((inside.med, inside.local_pref), (Some(7), Some(100)));
    assert_eq!((inside.next_hop, inside.as_path.hops()), ([192, 0, 2, 1].into(), 2));
}

#[test]
fn routes_of_our_own_carry_the_local_preference_of_their_metric() {
    let mut rib = rib();
    let mut peer = add(&mut rib, 1, false, |_| {});
    rib.originate(prefix("10.1.0.0/26"), Local::block());
    rib.originate(
        prefix("10.2.0.9/32"),
        Local { source: Source::Kernel, metric: Some(512), interface: Some("cali1".into()) },
    );
    rib.flush();
    peer.read_all(&mut rib);
    let local_pref = |text: &str| peer.told[&route(text)].local_pref;
    assert_eq!(local_pref("10.1.0.0/26"), Some(2_147_482_623));
    assert_eq!(local_pref("10.2.0.9/32"), Some(2_147_483_135));
}

#[test]
fn the_own_route_of_a_member_is_withdrawn_from_it_alone_when_it_becomes_the_best() {
    let mut rib = rib();
    let (mut one, mut two) = (add(&mut rib, 1, true, |_| {}), add(&mut rib, 2, true, |_| {}));
    let mut three = add(&mut rib, 3, true, |_| {});
    one.announce(&mut rib, &[route("10.1.0.0/16")], &path(&[65001, 65100]));
    rib.flush();
    [&mut one, &mut two, &mut three].into_iter().for_each(|n| n.read_all(&mut rib));
    assert_eq!([one.told.len(), two.told.len(), three.told.len()], [0, 1, 1]);
    two.announce(&mut rib, &[route("10.1.0.0/16")], &path(&[65002]));
    rib.flush();
    [&mut one, &mut two, &mut three].into_iter().for_each(|n| n.read_all(&mut rib));
    assert_eq!([one.told.len(), two.told.len(), three.told.len()], [1, 0, 1]);
    two.withdraw(&mut rib, &[route("10.1.0.0/16")]);
    rib.flush();
    [&mut one, &mut two, &mut three].into_iter().for_each(|n| n.read_all(&mut rib));
    assert_eq!([one.told.len(), two.told.len(), three.told.len()], [0, 1, 1]);
}

#[test]
fn many_routes_of_one_set_share_messages_and_a_change_costs_one() {
    let mut rib = rib();
    let (one, mut two) = (add(&mut rib, 1, true, |_| {}), add(&mut rib, 2, true, |_| {}));
    let routes: Vec<Nlri> = (0..1000u32)
        .map(|n| Nlri {
            path_id: 0,
            prefix: Prefix::new(Ipv4Addr::from(0x0a00_0000 + (n << 8)).into(), 24).unwrap(),
        })
        .collect();
    one.announce(&mut rib, &routes, &path(&[65001]));
    rib.flush();
    two.read_all(&mut rib);
    assert_eq!((two.told.len(), two.updates), (1000, 1));
    // The same again is nothing; a flap between two flushes is nothing either.
    one.announce(&mut rib, &routes, &path(&[65001]));
    one.withdraw(&mut rib, &routes[..10]);
    one.announce(&mut rib, &routes[..10], &path(&[65001]));
    assert!(rib.flush().is_empty());
    one.announce(&mut rib, &routes[..1], &path(&[65001, 65100]));
    rib.flush();
    two.read_all(&mut rib);
    assert_eq!((two.told.len(), two.updates), (1000, 2));
}

#[test]
fn a_changed_export_policy_sends_only_what_differs() {
    let mut rib = rib();
    let (one, mut two) = (add(&mut rib, 1, true, |_| {}), add(&mut rib, 2, true, |_| {}));
    for n in 0..50u8 {
        one.announce(&mut rib, &[route(&format!("10.{n}.0.0/16"))], &path(&[65001, u32::from(n) + 1]));
    }
    rib.flush();
    two.read_all(&mut rib);
    let (before, told) = (two.updates, two.told.clone());
    let rule = Rule {
        name: "no 10.7".into(),
        conditions: vec![Condition::Prefix(vec![PrefixMatch {
            prefix: prefix("10.7.0.0/16"),
            min: 16,
            max: 32,
        }])],
        operations: vec![],
        verdict: Some(Verdict::Reject),
    };
    let mut settings = rib.settings(two.id).clone();
    settings.export.ipv4 = accepting(vec![rule]);
    rib.set_peer(two.id, settings);
    rib.flush();
    two.read_all(&mut rib);
    assert_eq!((two.updates - before, two.told.len()), (1, told.len() - 1));
    let sent = rib.explain(prefix("10.7.0.0/16")).unwrap().sent;
    assert_eq!(
        sent,
        [(one.id, Err(NotSent::Source)), (two.id, Err(NotSent::Policy(Some("no 10.7".into()))))]
    );
}

#[test]
fn reflection_names_originator_and_cluster_and_stops_what_comes_back() {
    let mut rib = rib();
    let client = add(&mut rib, 1, false, |s| s.rr_client = true);
    let mut other = add(&mut rib, 2, false, |_| {});
    let mut third = add(&mut rib, 3, false, |_| {});
    client.announce(&mut rib, &[route("10.1.0.0/16")], &path(&[]));
    other.announce(&mut rib, &[route("10.2.0.0/16")], &path(&[]));
    rib.flush();
    other.read_all(&mut rib);
    third.read_all(&mut rib);
    let reflected = &other.told[&route("10.1.0.0/16")];
    assert_eq!(reflected.originator_id(), Some(Ipv4Addr::new(10, 255, 0, 1)));
    assert_eq!(reflected.cluster_list(), [ROUTER_ID]);
    assert_eq!(reflected.next_hop, IpAddr::from([192, 0, 2, 1]));
    assert_eq!(
        third.told.keys().copied().collect::<Vec<_>>(),
        [route("10.1.0.0/16")],
        "nothing from one internal peer to the other"
    );
    let mut back = path(&[]);
    back.edit_rare(|rare| rare.cluster_list = [ROUTER_ID].into());
    other.announce(&mut rib, &[route("10.3.0.0/16")], &back);
    rib.flush();
    let explained = rib.explain(prefix("10.3.0.0/16")).unwrap();
    assert_eq!(explained.paths[0].1, Fate::Looped(Loop::Cluster));
    let sent = rib.explain(prefix("10.2.0.0/16")).unwrap().sent;
    assert_eq!(sent[2], (third.id, Err(NotSent::NotReflected)));
}

#[test]
fn every_step_of_the_decision_is_named() {
    type Change = fn(&mut Attributes);
    let cases: [(Change, Change, Step); 6] = [
        (|a| a.local_pref = Some(200), |_| {}, Step::LocalPref),
        (|_| {}, |a| a.as_path = AsPath::sequence(&[65001, 65002]), Step::AsPath),
        (|_| {}, |a| a.origin = Origin::Incomplete, Step::Origin),
        (|a| a.med = Some(1), |a| a.med = Some(2), Step::Med),
        (|_| {}, |a| a.edit_rare(|r| r.originator_id = Some(Ipv4Addr::new(99, 0, 0, 1))), Step::RouterId),
        (
            |a| a.edit_rare(|r| r.originator_id = Some(Ipv4Addr::new(9, 0, 0, 1))),
            |a| {
                a.edit_rare(|r| {
                    r.originator_id = Some(Ipv4Addr::new(9, 0, 0, 1));
                    r.cluster_list = [Ipv4Addr::new(9, 0, 0, 2)].into();
                });
            },
            Step::ClusterList,
        ),
    ];
    for (winner, loser, step) in cases {
        for reversed in [false, true] {
            let mut rib = rib();
            // The loser has the lower address and identifier, so that no later step makes it win.
            let (low, high) = (add(&mut rib, 1, false, |_| {}), add(&mut rib, 2, false, |_| {}));
            let (loser_at, winner_at) = if step == Step::RouterId { (&high, &low) } else { (&low, &high) };
            let (mut good, mut bad) = (path(&[65001]), path(&[65001]));
            winner(&mut good);
            loser(&mut bad);
            let mut announcements = [(winner_at, &good), (loser_at, &bad)];
            if reversed {
                announcements.reverse();
            }
            for (peer, attributes) in announcements {
                peer.announce(&mut rib, &[route("10.1.0.0/16")], attributes);
            }
            let explained = rib.explain(prefix("10.1.0.0/16")).unwrap();
            assert_eq!(explained.paths[0].0.peer, winner_at.id, "{step}");
            assert_eq!(explained.paths[0].1, Fate::Best);
            let fate = &explained.paths[1].1;
            assert!([Fate::Lost(step), Fate::Shares(step)].contains(fate), "{step}: {fate:?}");
        }
    }
}

#[test]
fn external_paths_come_before_internal_ones_and_the_sources_in_the_order_of_bird() {
    let mut rib = rib();
    let (inside, outside) = (add(&mut rib, 1, false, |_| {}), add(&mut rib, 2, true, |_| {}));
    inside.announce(&mut rib, &[route("10.1.0.0/16")], &path(&[65002]));
    outside.announce(&mut rib, &[route("10.1.0.0/16")], &path(&[65002]));
    let step = |rib: &Rib| {
        let explained = rib.explain(prefix("10.1.0.0/16")).unwrap();
        (explained.paths[0].0.peer, explained.paths[1].1.clone())
    };
    assert_eq!(step(&rib), (outside.id, Fate::Lost(Step::External)));
    rib.originate(prefix("10.1.0.0/16"), Local { source: Source::Kernel, metric: None, interface: None });
    assert_eq!(step(&rib).0, outside.id, "an alien kernel route has preference 10");
    for source in [Source::Static, Source::Direct] {
        rib.originate(prefix("10.1.0.0/16"), Local { source, metric: None, interface: None });
        let explained = rib.explain(prefix("10.1.0.0/16")).unwrap();
        assert_eq!(explained.paths[0].0.local.as_ref().map(|local| local.source), Some(source));
    }
}

#[test]
fn elevated_priority_beats_the_nodes_own_routes() {
    let mut rib = rib();
    let rule = Rule {
        name: "elevated".into(),
        conditions: vec![Condition::LocalPrefAbove(LOCAL_PREF_BASE - 1024)],
        operations: vec![Operation::Prefer(200)],
        verdict: None,
    };
    let peer = add(&mut rib, 1, false, |s| s.import.ipv4 = accepting(vec![rule]));
    rib.originate(
        prefix("10.1.0.9/32"),
        Local { source: Source::Kernel, metric: Some(1024), interface: None },
    );
    let mut attributes = path(&[]);
    attributes.local_pref = Some(LOCAL_PREF_BASE - 1024);
    peer.announce(&mut rib, &[route("10.1.0.9/32")], &attributes);
    let best = |rib: &Rib| rib.explain(prefix("10.1.0.9/32")).unwrap().paths[0].0.clone();
    assert_eq!((best(&rib).peer, best(&rib).preference), (peer.id, 100));
    attributes.local_pref = Some(LOCAL_PREF_BASE - 512);
    peer.announce(&mut rib, &[route("10.1.0.9/32")], &attributes);
    assert_eq!((best(&rib).peer, best(&rib).preference), (peer.id, 200));
}

#[test]
fn a_limit_blocks_or_warns_and_is_told_once() {
    for (action, taken) in [(MaxPrefixAction::Block, 2), (MaxPrefixAction::Warn, 5)] {
        let max = MaxPrefixes { limit: 2, action };
        let mut rib = rib();
        let peer = add(&mut rib, 1, true, |s| s.max_prefixes = Some(max));
        let routes: Vec<Nlri> = (0..5).map(|n| route(&format!("10.{n}.0.0/16"))).collect();
        let codec = bgp_wire::Codec::default();
        let mut bytes = Vec::new();
        let mut encoder = bgp_wire::UpdateEncoder::new();
        encoder
            .announce(&path(&[65001]), Family::Ipv4Unicast, &codec, routes.iter().copied(), &mut bytes)
            .unwrap();
        let told = peer.send(&mut rib, &bytes);
        assert_eq!(told, Some(LimitExceeded { family: Family::Ipv4Unicast, max }));
        assert_eq!(peer.send(&mut rib, &bytes), None);
        rib.flush();
        assert_eq!(
            (rib.len(Family::Ipv4Unicast), rib.counts(Family::Ipv4Unicast)[peer.id.index()].received),
            (taken, taken)
        );
        peer.withdraw(&mut rib, &routes);
        rib.flush();
        assert!(rib.is_empty());
        assert!(peer.send(&mut rib, &bytes).is_some(), "told again after it was below");
    }
}

#[test]
fn routes_kept_over_a_restart_go_with_the_end_of_rib_or_the_second_restart() {
    let mut rib = rib();
    let (mut one, mut two) = (add(&mut rib, 1, true, |_| {}), add(&mut rib, 2, true, |_| {}));
    one.announce(&mut rib, &[route("10.1.0.0/16"), route("10.2.0.0/16")], &path(&[65001]));
    rib.flush();
    two.read_all(&mut rib);
    let before = two.updates;
    one.down(&mut rib, true);
    one.up(&mut rib);
    one.announce(&mut rib, &[route("10.1.0.0/16")], &path(&[65001]));
    rib.flush();
    two.read_all(&mut rib);
    assert_eq!((two.updates, two.told.len()), (before, 2), "nobody hears of a restart");
    let stale = |rib: &Rib| rib.routes(Family::Ipv4Unicast).filter(|(_, known)| known.stale).count();
    assert_eq!(stale(&rib), 1);
    rib.end_of_rib(one.id, Family::Ipv4Unicast);
    rib.flush();
    two.read_all(&mut rib);
    assert_eq!((two.told.len(), stale(&rib)), (1, 0));
    one.down(&mut rib, true);
    one.up(&mut rib);
    one.down(&mut rib, true);
    rib.flush();
    assert!(rib.is_empty());
}

#[test]
fn a_refresh_of_theirs_sweeps_what_they_do_not_send_again() {
    let mut rib = rib();
    let one = add(&mut rib, 1, true, |_| {});
    one.announce(&mut rib, &[route("10.1.0.0/16"), route("10.2.0.0/16")], &path(&[65001]));
    rib.refresh(one.id, Family::Ipv4Unicast, RefreshSubtype::Begin);
    one.announce(&mut rib, &[route("10.2.0.0/16")], &path(&[65001]));
    rib.refresh(one.id, Family::Ipv4Unicast, RefreshSubtype::End);
    rib.flush();
    assert_eq!(rib.routes(Family::Ipv4Unicast).map(|(p, _)| p).collect::<Vec<_>>(), [prefix("10.2.0.0/16")]);
}

#[test]
fn the_fib_gets_all_ways_of_equal_paths_and_blackholes_for_blocks() {
    let config = RibConfig { fib: true, track_next_hops: true, ..RibConfig::new(ROUTER_ID) };
    let mut rib = Rib::new(config);
    let (one, two) = (add(&mut rib, 1, false, |_| {}), add(&mut rib, 2, false, |_| {}));
    let mut attributes = path(&[]);
    attributes.local_pref = Some(2_147_482_623);
    one.announce(&mut rib, &[route("10.1.0.0/26")], &attributes);
    attributes.next_hop = [192, 0, 2, 2].into();
    two.announce(&mut rib, &[route("10.1.0.0/26")], &attributes);
    rib.originate(prefix("10.9.0.0/26"), Local::block());
    rib.originate(prefix("10.8.0.1/32"), Local { source: Source::Kernel, metric: Some(7), interface: None });
    let drained = |rib: &mut Rib| {
        rib.flush();
        let mut all = Vec::new();
        rib.drain_fib(|prefix, route| all.push((prefix, route)));
        all
    };
    let hop = |last| Hop { gateway: Some([192, 0, 2, last].into()), link: 3, onlink: false };
    let via = |lasts: &[u8]| FibRoute {
        target: FibTarget::Via(lasts.iter().copied().map(hop).collect()),
        metric: 1024,
        device: None,
    };
    let blackhole = FibRoute { target: FibTarget::Blackhole, metric: 0, device: None };
    assert_eq!(
        drained(&mut rib),
        [
            (prefix("10.1.0.0/26"), None),
            (prefix("10.9.0.0/26"), Some(blackhole)),
            (prefix("10.8.0.1/32"), None)
        ],
        "next hops are not known yet"
    );
    let wanted = rib.take_wanted();
    let key = |last: u8| NextHop { address: [192, 0, 2, last].into(), peer: None };
    assert_eq!(wanted, [Wanted::Track(key(1)), Wanted::Track(key(2))]);
    for last in [1, 2] {
        rib.next_hop(key(last), Resolution::Via { metric: 0, hops: [hop(last)].into() });
    }
    assert_eq!(drained(&mut rib), [(prefix("10.1.0.0/26"), Some(via(&[1, 2])))]);
    rib.next_hop(key(1), Resolution::Unreachable);
    assert_eq!(drained(&mut rib), [(prefix("10.1.0.0/26"), Some(via(&[2])))]);
    let fates: Vec<Fate> =
        rib.explain(prefix("10.1.0.0/26")).unwrap().paths.into_iter().map(|(_, fate)| fate).collect();
    assert_eq!(fates, [Fate::Best, Fate::Unreachable(key(1))]);
    two.withdraw(&mut rib, &[route("10.1.0.0/26")]);
    rib.flush();
    assert_eq!(drained(&mut rib), [(prefix("10.1.0.0/26"), None)]);
    tidy(&mut rib);
    assert_eq!(rib.take_wanted(), [Wanted::Forget(key(2))]);
    one.withdraw(&mut rib, &[route("10.1.0.0/26")]);
    drained(&mut rib);
    tidy(&mut rib);
    assert_eq!(rib.take_wanted(), [Wanted::Forget(key(1))]);
    assert_eq!(rib.explain(prefix("10.1.0.0/26")), None);
}

#[test]
fn the_kernel_policy_rejects_and_names_its_device() {
    let rule = |name: &str, net: &str, operations, verdict| Rule {
        name: name.into(),
        conditions: vec![Condition::Prefix(vec![PrefixMatch { prefix: prefix(net), min: 0, max: 32 }])],
        operations,
        verdict: Some(verdict),
    };
    let kernel = accepting(vec![
        rule("vxlan pool", "10.1.0.0/16", vec![], Verdict::Reject),
        rule("ipip pool", "10.2.0.0/16", vec![Operation::Tunnel("tunl0".into())], Verdict::Accept),
    ]);
    let mut config = RibConfig { fib: true, track_next_hops: true, ..RibConfig::new(ROUTER_ID) };
    config.kernel.ipv4 = kernel;
    let mut rib = Rib::new(config);
    let one = add(&mut rib, 1, false, |_| {});
    one.announce(&mut rib, &[route("10.1.0.0/26"), route("10.2.0.0/26")], &path(&[]));
    let hops: Arc<[Hop]> = [Hop { gateway: None, link: 1, onlink: false }].into();
    rib.next_hop(NextHop { address: [192, 0, 2, 1].into(), peer: None }, Resolution::Via { metric: 0, hops });
    rib.flush();
    let first = rib.explain(prefix("10.1.0.0/26")).unwrap();
    assert_eq!((first.fib, first.kernel_rule.as_deref()), (None, Some("vxlan pool")));
    let second = rib.explain(prefix("10.2.0.0/26")).unwrap().fib.unwrap();
    assert_eq!((second.device.as_deref(), second.metric), (Some("tunl0"), LOCAL_PREF_BASE - 100));
}

#[test]
fn a_neighbour_that_does_not_read_costs_a_bounded_log_and_gets_everything_later() {
    let config = RibConfig { log_limit: 1000, ..RibConfig::new(ROUTER_ID) };
    let mut rib = Rib::new(config);
    let one = add(&mut rib, 1, true, |_| {});
    let (mut quick, mut slow) = (add(&mut rib, 2, true, |_| {}), add(&mut rib, 3, true, |_| {}));
    for round in 0..1000u32 {
        for n in 0..4u32 {
            let net = route(&format!("10.{}.0.0/16", (round + n) % 50));
            one.announce(&mut rib, &[net], &path(&[65001, round + 1, n + 1]));
        }
        one.withdraw(&mut rib, &[route(&format!("10.{}.0.0/16", (round * 7) % 50))]);
        rib.flush();
        quick.read_all(&mut rib);
        let held: usize = rib.pending(slow.id).map(<[u8]>::len).sum();
        assert!(held < 50_000, "{held} octets for one who does not read");
    }
    slow.read_all(&mut rib);
    assert_eq!(slow.told, quick.told);
    assert!(slow.updates < quick.updates / 4, "{} and {}", slow.updates, quick.updates);
}

#[test]
fn attributes_that_fill_a_message_are_not_sent_but_withdrawn() {
    let mut rib = rib();
    let mut one = add(&mut rib, 1, true, |_| {});
    one.session.codec.extended_messages = true;
    one.down(&mut rib, false);
    one.up(&mut rib);
    let mut two = add(&mut rib, 2, true, |_| {});
    one.announce(&mut rib, &[route("10.1.0.0/16")], &path(&[65001]));
    rib.flush();
    two.read_all(&mut rib);
    assert_eq!(two.told.len(), 1);
    let mut huge = path(&[65001]);
    huge.communities = (0..2000).collect();
    one.announce(&mut rib, &[route("10.1.0.0/16")], &huge);
    rib.flush();
    two.read_all(&mut rib);
    assert_eq!(two.told.len(), 0);
    let sent = rib.explain(prefix("10.1.0.0/16")).unwrap().sent;
    assert_eq!(sent[1], (two.id, Err(NotSent::NotSendable)));
}

#[test]
fn a_soft_change_of_import_policy_asks_nothing_of_the_neighbour() {
    let mut rib = rib();
    let one = add(&mut rib, 1, true, |s| s.import.ipv4 = Arc::new(Policy::reject_all()));
    let mut two = add(&mut rib, 2, false, |_| {});
    one.announce(&mut rib, &[route("10.1.0.0/16")], &path(&[65001]));
    rib.flush();
    two.read_all(&mut rib);
    assert!(two.told.is_empty());
    assert_eq!(rib.explain(prefix("10.1.0.0/16")).unwrap().paths[0].1, Fate::Rejected(None));
    for priority in [500, 600] {
        let operations = vec![Operation::SetPriority(priority)];
        let rule = Rule { name: "r".into(), conditions: vec![], operations, verdict: None };
        let mut settings = rib.settings(one.id).clone();
        settings.import.ipv4 = accepting(vec![rule]);
        rib.set_peer(one.id, settings);
        rib.flush();
        two.read_all(&mut rib);
        assert_eq!(two.told[&route("10.1.0.0/16")].local_pref, Some(LOCAL_PREF_BASE - priority));
    }
}
