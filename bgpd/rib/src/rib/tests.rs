use super::*;
use bgp_wire::{Message, UpdateEncoder};

fn external(rib: &mut Rib, number: u8) -> PeerId {
    let peer = rib.add_peer(PeerSettings::new(format!("peer {number}"), [192, 0, 2, number].into()));
    let session = Session {
        codec: Codec { external: true, ..Codec::default() },
        local_as: 64512,
        remote_as: 65000 + u32::from(number),
        router_id: Ipv4Addr::new(192, 0, 2, number),
        local_address: IpAddr::from([192, 0, 2, 254]),
        enhanced_refresh: false,
    };
    rib.peer_up(peer, session);
    read_all(rib, peer);
    peer
}

fn read_all(rib: &mut Rib, peer: PeerId) {
    rib.flush();
    let octets = rib.pending(peer).map(<[u8]>::len).sum();
    rib.advance(peer, octets);
}

fn prefix(number: u8) -> Nlri {
    Nlri { path_id: 0, prefix: Prefix::new([10, 1, number, 0].into(), 24).unwrap() }
}

/// A message of these routes; without attributes, they are withdrawn.
fn update(rib: &mut Rib, peer: PeerId, attributes: Option<&Attributes>, routes: &[Nlri]) {
    let codec = Codec { external: true, ..Codec::default() };
    let (mut out, mut encoder, routes) = (Vec::new(), UpdateEncoder::new(), routes.iter().copied());
    match attributes {
        Some(set) => encoder.announce(set, Family::Ipv4Unicast, &codec, routes, &mut out).unwrap(),
        None => encoder.withdraw(Family::Ipv4Unicast, &codec, routes, &mut out),
    };
    let Ok(Message::Update(view)) = bgp_wire::decode(&out, &codec) else { panic!("our own UPDATE") };
    rib.update(peer, &view);
}

fn from_65001() -> Attributes {
    Attributes::new(Origin::Igp, AsPath::sequence(&[65001]), [192, 0, 2, 1].into())
}

fn octets_in_logs(rib: &Rib) -> usize {
    rib.v4.groups.iter().map(|group| group.log.len()).sum()
}

#[test]
fn who_only_tells_does_not_hold_up_the_log() {
    let mut rib = Rib::new(RibConfig::new(Ipv4Addr::new(10, 255, 0, 254)));
    let (teller, listener) = (external(&mut rib, 1), external(&mut rib, 2));
    assert_eq!(rib.v4.groups.iter().count(), 1, "both are told the same");
    for number in 0..10 {
        update(&mut rib, teller, Some(&from_65001()), &[prefix(number)]);
        assert_eq!(rib.flush(), [listener]);
        assert!(octets_in_logs(&rib) > 0);
        read_all(&mut rib, listener);
        assert_eq!(octets_in_logs(&rib), 0, "everybody has read everything");
    }
}

#[test]
fn a_prefix_that_stands_twice_in_a_message_is_one_destination() {
    let mut rib = Rib::new(RibConfig::new(Ipv4Addr::new(10, 255, 0, 254)));
    let teller = external(&mut rib, 1);
    let routes = [prefix(7), prefix(8), prefix(7), prefix(7)];
    update(&mut rib, teller, Some(&from_65001()), &routes);
    rib.flush();
    assert_eq!((rib.v4.table.len(), rib.shared.peers.get(teller).paths.ipv4), (2, 2));
    update(&mut rib, teller, None, &routes);
    rib.flush();
    assert_eq!((rib.v4.table.len(), rib.shared.peers.get(teller).paths.ipv4), (0, 0));
}
