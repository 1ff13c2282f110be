//! Who is sent what, and with which next hop: well-known communities, next hop modes, IPv6 next hops, loops.

use crate::neighbor::{Neighbor, session};
use bgp_rib::{
    Fate, Hop, Loop, NextHop, NextHopMode, NotSent, PeerSettings, Resolution, Rib, RibConfig, Wanted,
};
use bgp_wire::{AsPath, Attributes, Family, Nlri, Origin, Prefix, SegmentKind};
use std::net::{IpAddr, Ipv4Addr};

const ROUTER_ID: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 254);
const INSIDE: u32 = 64512;

fn prefix(text: &str) -> Prefix {
    let (addr, len) = text.split_once('/').unwrap();
    Prefix::new(addr.parse().unwrap(), len.parse().unwrap()).unwrap()
}

fn route(text: &str) -> Nlri {
    Nlri { path_id: 0, prefix: prefix(text) }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn from(asn: u32) -> Attributes {
    Attributes::new(Origin::Igp, AsPath::sequence(&[asn]), ip("192.0.2.1"))
}

/// A neighbour of this AS, with its settings and session changed.
fn add(
    rib: &mut Rib,
    number: u8,
    asn: u32,
    change: impl FnOnce(&mut PeerSettings, &mut bgp_rib::Session),
) -> Neighbor {
    let mut settings = PeerSettings::new(format!("peer {number}"), [192, 0, 2, 100 + number].into());
    let mut session = session(asn != INSIDE, asn, number);
    change(&mut settings, &mut session);
    let id = rib.add_peer(settings);
    let mut neighbor = Neighbor::new(id, session);
    neighbor.up(rib);
    neighbor.read_all(rib);
    neighbor
}

fn told(neighbor: &mut Neighbor, rib: &mut Rib) -> Option<Attributes> {
    rib.flush();
    neighbor.read_all(rib);
    neighbor.told.get(&route("10.1.0.0/16")).cloned()
}

#[test]
fn well_known_communities_say_how_far_a_route_goes() {
    const NO_EXPORT: u32 = 0xffff_ff01;
    const NO_ADVERTISE: u32 = 0xffff_ff02;
    const NO_EXPORT_SUBCONFED: u32 = 0xffff_ff03;
    for (community, inside_too) in [(NO_EXPORT, true), (NO_EXPORT_SUBCONFED, true), (NO_ADVERTISE, false)] {
        let mut rib = Rib::new(RibConfig::new(ROUTER_ID));
        let one = add(&mut rib, 1, 65001, |_, _| {});
        let mut outside = add(&mut rib, 2, 65002, |_, _| {});
        let mut inside = add(&mut rib, 3, INSIDE, |_, _| {});
        let mut attributes = from(65001);
        attributes.add_community(community);
        one.announce(&mut rib, &[route("10.1.0.0/16")], &attributes);
        assert_eq!(told(&mut outside, &mut rib), None, "{community:x}");
        assert_eq!(told(&mut inside, &mut rib).is_some(), inside_too, "{community:x}");
        let sent = rib.explain(prefix("10.1.0.0/16")).unwrap().sent;
        assert_eq!(sent[1], (outside.id, Err(NotSent::Community)));
        // Without it, the same route goes out.
        one.announce(&mut rib, &[route("10.1.0.0/16")], &from(65001));
        assert!(told(&mut outside, &mut rib).is_some());
    }
}

#[test]
fn next_hops_are_those_of_the_mode_and_of_the_kind_of_neighbour() {
    use NextHopMode::{Auto, Keep, Own};
    let (theirs, ours) = (ip("192.0.2.1"), ip("192.0.2.254"));
    let cases = [
        (65002, Auto, ours),
        (65002, Keep, theirs),
        (65002, Own, ours),
        (INSIDE, Auto, theirs),
        (INSIDE, Keep, theirs),
        (INSIDE, Own, ours),
    ];
    for (asn, mode, expected) in cases {
        let mut rib = Rib::new(RibConfig::new(ROUTER_ID));
        let one = add(&mut rib, 1, 65001, |_, _| {});
        let mut two = add(&mut rib, 2, asn, |settings, _| settings.next_hop = mode);
        one.announce(&mut rib, &[route("10.1.0.0/16")], &from(65001));
        assert_eq!(told(&mut two, &mut rib).unwrap().next_hop, expected, "{asn} {mode:?}");
    }
    // The address that stands for us may be another than the session's end.
    let mut rib = Rib::new(RibConfig::new(ROUTER_ID));
    let one = add(&mut rib, 1, 65001, |_, _| {});
    let mut two =
        add(&mut rib, 2, 65002, |settings, _| settings.local_addresses.ipv4 = Some(ip("198.51.100.1")));
    one.announce(&mut rib, &[route("10.1.0.0/16")], &from(65001));
    assert_eq!(told(&mut two, &mut rib).unwrap().next_hop, ip("198.51.100.1"));
}

/// RFC 8950: an IPv4 route with an IPv6 next hop goes only to whom agreed on it, or with another next hop.
#[test]
fn an_ipv6_next_hop_of_an_ipv4_route_goes_to_whom_understands_it() {
    let mut rib = Rib::new(RibConfig::new(ROUTER_ID));
    let one = add(&mut rib, 1, 65001, |_, session| {
        session.codec.extended_next_hop = true;
        session.local_address = ip("2001:db8::254");
    });
    let mut knows = add(&mut rib, 2, INSIDE, |_, session| session.codec.extended_next_hop = true);
    let mut does_not = add(&mut rib, 3, INSIDE, |_, _| {});
    let mut with_ours = add(&mut rib, 4, INSIDE, |settings, _| settings.next_hop = NextHopMode::Own);
    let mut attributes = from(65001);
    attributes.next_hop = ip("2001:db8::1");
    one.announce(&mut rib, &[route("10.1.0.0/16")], &attributes);
    assert_eq!(told(&mut knows, &mut rib).unwrap().next_hop, ip("2001:db8::1"));
    assert_eq!(told(&mut does_not, &mut rib), None);
    assert_eq!(told(&mut with_ours, &mut rib).unwrap().next_hop, ip("192.0.2.254"));
    let sent = rib.explain(prefix("10.1.0.0/16")).unwrap().sent;
    assert_eq!(sent[2], (does_not.id, Err(NotSent::NotSendable)));
}

/// The same link-local address on two links is two next hops.
#[test]
fn a_link_local_next_hop_is_the_neighbours() {
    let mut rib = Rib::new(RibConfig { track_next_hops: true, fib: true, ..RibConfig::new(ROUTER_ID) });
    let near = ip("fe80::1");
    let link = |rib: &mut Rib, number: u8| {
        add(rib, number, 65000 + u32::from(number), |_, session| session.local_address = ip("fe80::254"))
    };
    let (one, two) = (link(&mut rib, 1), link(&mut rib, 2));
    for (neighbor, text) in [(&one, "2001:db8:1::/48"), (&two, "2001:db8:2::/48")] {
        let path = AsPath::sequence(&[neighbor.session.remote_as]);
        neighbor.announce(&mut rib, &[route(text)], &Attributes::new(Origin::Igp, path, near));
    }
    rib.flush();
    let keys = [one.id, two.id].map(|peer| NextHop { address: near, peer: Some(peer) });
    assert_eq!(rib.take_wanted(), keys.map(Wanted::Track));
    let hop = Hop { gateway: Some(near), link: 7, onlink: false };
    rib.next_hop(keys[0], Resolution::Via { metric: 0, hops: [hop].into() });
    rib.flush();
    let mut programmed = Vec::new();
    rib.drain_fib(|prefix, route| programmed.extend(route.map(|_| prefix)));
    assert_eq!(programmed, [prefix("2001:db8:1::/48")], "the other's link is not known yet");
    let fate = |rib: &Rib| rib.explain(prefix("2001:db8:2::/48")).unwrap().paths.remove(0).1;
    assert_eq!(fate(&rib), Fate::Unreachable(keys[1]));
}

#[test]
fn what_came_from_us_is_not_taken_back() {
    let mut rib = Rib::new(RibConfig::new(ROUTER_ID));
    let outside = add(&mut rib, 1, 65001, |_, _| {});
    let inside = add(&mut rib, 2, INSIDE, |_, _| {});
    let fate = |rib: &mut Rib| {
        rib.flush();
        rib.explain(prefix("10.1.0.0/16")).unwrap().paths.remove(0).1
    };
    let mut through_us = from(65001);
    through_us.as_path = AsPath::sequence(&[65001, INSIDE, 65009]);
    outside.announce(&mut rib, &[route("10.1.0.0/16")], &through_us);
    assert_eq!(fate(&mut rib), Fate::Looped(Loop::AsPath));
    // numAllowedLocalASNumbers, on the running session.
    let settings = PeerSettings { allow_own_as: 1, ..rib.settings(outside.id).clone() };
    rib.set_peer(outside.id, settings);
    assert_eq!(fate(&mut rib), Fate::Best);
    through_us.as_path = AsPath::sequence(&[65001, INSIDE, INSIDE]);
    outside.announce(&mut rib, &[route("10.1.0.0/16")], &through_us);
    assert_eq!(fate(&mut rib), Fate::Looped(Loop::AsPath), "twice is more than once");
    let mut of_ours = from(65001);
    of_ours.next_hop = ip("192.0.2.254");
    outside.announce(&mut rib, &[route("10.1.0.0/16")], &of_ours);
    assert_eq!(fate(&mut rib), Fate::Looped(Loop::NextHop));
    outside.withdraw(&mut rib, &[route("10.1.0.0/16")]);
    let mut reflected = Attributes::new(Origin::Igp, AsPath::empty(), ip("192.0.2.1"));
    reflected.edit_rare(|rare| rare.originator_id = Some(ROUTER_ID));
    inside.announce(&mut rib, &[route("10.1.0.0/16")], &reflected);
    assert_eq!(fate(&mut rib), Fate::Looped(Loop::Originator));
}

/// RFC 5065 §5.3 and RFC 4456 §8: what is a matter of one AS does not leave it.
#[test]
fn matters_of_one_as_stay_inside() {
    let mut rib = Rib::new(RibConfig::new(ROUTER_ID));
    let client = add(&mut rib, 1, INSIDE, |settings, _| settings.rr_client = true);
    let mut other = add(&mut rib, 2, INSIDE, |_, _| {});
    let mut outside = add(&mut rib, 3, 65003, |_, _| {});
    let path = AsPath::from_segments([
        (SegmentKind::ConfedSequence, [65530].as_slice()),
        (SegmentKind::Sequence, [65100].as_slice()),
    ]);
    let mut attributes = Attributes::new(Origin::Igp, path, ip("192.0.2.1"));
    (attributes.local_pref, attributes.med) = (Some(200), Some(5));
    client.announce(&mut rib, &[route("10.1.0.0/16")], &attributes);
    let inside = told(&mut other, &mut rib).unwrap();
    assert_eq!(inside.originator_id(), Some(client.session.router_id));
    assert_eq!((inside.local_pref, inside.med), (Some(200), Some(5)));
    assert!(inside.as_path.segments().any(|segment| segment.kind.is_confed()));
    let outside = told(&mut outside, &mut rib).unwrap();
    assert_eq!((outside.originator_id(), outside.cluster_list()), (None, [].as_slice()));
    assert_eq!((outside.local_pref, outside.med), (None, None));
    assert_eq!(outside.as_path.numbers().collect::<Vec<_>>(), [INSIDE, 65100]);
    assert_eq!(rib.len(Family::Ipv4Unicast), 1);
}
