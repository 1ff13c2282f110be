//! UPDATEs: where routes stand, keys of attributes, End-of-RIB, how many routes fit into a message.

use super::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

fn mp_reach(afi: u16, next_hop: &[u8], nlri: &[u8]) -> Vec<u8> {
    let [high, low] = afi.to_be_bytes();
    let len = u8::try_from(next_hop.len()).unwrap();
    attribute(0x80, 14, &[&[high, low, 1, len], next_hop, &[0], nlri].concat())
}

fn mp_unreach(afi: u16, nlri: &[u8]) -> Vec<u8> {
    let [high, low] = afi.to_be_bytes();
    attribute(0x80, 15, &[&[high, low, 1], nlri].concat())
}

const GLOBAL: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

#[test]
fn routes_stand_in_four_places() {
    let attributes =
        [mp_reach(2, &GLOBAL.octets(), &[16, 0xfd, 1]), mandatory(), mp_unreach(2, &[16, 0xfd, 2])];
    let bytes = update(&[24, 10, 1, 1], &attributes.concat(), &[12, 10, 0xff]);
    let view = decode_update(&bytes, &internal()).unwrap();
    let withdrawn: Vec<_> = view.withdrawn().map(texts).collect();
    assert_eq!(withdrawn, [["10.1.1.0/24"], ["fd02::/16"]]);
    let reaches: Vec<_> =
        view.reaches().map(|reach| (reach.nlri.family(), texts(reach.nlri), reach.next_hop)).collect();
    assert_eq!(
        reaches,
        [
            (Family::Ipv4Unicast, vec!["10.240.0.0/12".to_owned()], None),
            (Family::Ipv6Unicast, vec!["fd01::/16".to_owned()], Some(GLOBAL.into())),
        ]
    );
    let next_hops: Vec<_> = view.reaches().map(|reach| view.attributes(&reach).attributes.next_hop).collect();
    assert_eq!(next_hops, [IpAddr::from([192, 0, 2, 1]), GLOBAL.into()]);
    assert_eq!(view.end_of_rib(), None);
}

#[test]
fn path_identifiers_are_read_by_family() {
    let mut codec = internal();
    codec.add_path_receive.ipv6 = true;
    let attributes =
        [mp_reach(2, &GLOBAL.octets(), &[0, 0, 0, 9, 16, 0xfd, 1, 0, 0, 0, 7, 0]), mandatory()].concat();
    let bytes = update(&[], &attributes, TEN);
    let view = decode_update(&bytes, &codec).unwrap();
    let all: Vec<_> = view.reaches().flat_map(|reach| texts(reach.nlri)).collect();
    assert_eq!(all, ["10.0.0.0/8", "9@fd01::/16", "7@::/0"]);
}

#[test]
fn next_hops_of_ipv6_come_in_three_forms() {
    let both = [GLOBAL.octets(), LINK_LOCAL.octets()].concat();
    let only_local = [[0; 16], LINK_LOCAL.octets()].concat();
    let with_nothing = [GLOBAL.octets(), [0; 16]].concat();
    let cases: &[(&[u8], Ipv6Addr, Option<Ipv6Addr>)] = &[
        (&GLOBAL.octets(), GLOBAL, None),
        (&both, GLOBAL, Some(LINK_LOCAL)),
        (&only_local, LINK_LOCAL, None),
        (&with_nothing, GLOBAL, None),
    ];
    for (octets, next_hop, link_local) in cases {
        let bytes = update(&[], &[mp_reach(2, octets, &[0]), mandatory()].concat(), &[]);
        let view = decode_update(&bytes, &internal()).unwrap();
        let reach = view.reaches().next().unwrap();
        let attributes = view.attributes(&reach).attributes;
        assert_eq!((attributes.next_hop, attributes.rare().link_local), (IpAddr::V6(*next_hop), *link_local));
    }
}

#[test]
fn ipv4_routes_have_an_ipv6_next_hop_where_that_was_agreed() {
    let bytes = update(&[], &[mp_reach(1, &GLOBAL.octets(), TEN), mandatory()].concat(), &[]);
    assert!(decode_update(&bytes, &internal()).is_err(), "RFC 7606 §7.11");
    let codec = Codec { extended_next_hop: true, ..internal() };
    let view = decode_update(&bytes, &codec).unwrap();
    let reach = view.reaches().next().unwrap();
    assert_eq!(reach.nlri.family(), Family::Ipv4Unicast);
    let attributes = view.attributes(&reach).attributes;
    assert_eq!(attributes.next_hop, IpAddr::V6(GLOBAL));
    let mut out = Vec::new();
    let sent = UpdateEncoder::new().announce(&attributes, Family::Ipv4Unicast, &codec, reach.nlri, &mut out);
    assert_eq!(sent, Ok(1));
    let back = decode_update(&out, &codec).unwrap();
    let reach = back.reaches().next().unwrap();
    assert_eq!(
        (back.attributes(&reach).attributes, texts(reach.nlri)),
        (attributes, vec!["10.0.0.0/8".to_owned()])
    );
}

#[test]
fn a_family_not_agreed_on_is_passed_over() {
    let only_ipv4 = Codec::default();
    let attributes = [mp_reach(2, &GLOBAL.octets(), &[200]), mandatory(), mp_unreach(2, &[200])].concat();
    let bytes = update(&[], &attributes, TEN);
    let view = decode_update(&bytes, &only_ipv4).unwrap();
    assert_eq!(view.reaches().flat_map(|reach| texts(reach.nlri)).collect::<Vec<_>>(), ["10.0.0.0/8"]);
    // Nothing of it is known, so nothing about its other attributes ends the session.
    let bytes = update(&[], &[mp_reach(25, &[1, 2, 3], &[200]), attribute(0x40, 1, &[77])].concat(), &[]);
    assert_eq!(decode_update(&bytes, &internal()).unwrap().reaches().count(), 0);
}

#[test]
fn end_of_rib_is_recognised_by_family() {
    for family in Family::ALL {
        let mut bytes = Vec::new();
        end_of_rib(family, &mut bytes);
        assert_eq!(decode_update(&bytes, &internal()).unwrap().end_of_rib(), Some(family));
    }
    let other_form = update(&[], &mp_unreach(1, &[]), &[]);
    assert_eq!(decode_update(&other_form, &internal()).unwrap().end_of_rib(), Some(Family::Ipv4Unicast));
    for not in
        [update(&[], &mandatory(), &[]), update(&[8, 10], &[], &[]), update(&[], &mp_unreach(25, &[]), &[])]
    {
        assert_eq!(decode_update(&not, &internal()).unwrap().end_of_rib(), None);
    }
}

#[test]
fn keys_are_equal_exactly_when_attributes_are() {
    let of = |bytes: &[u8]| {
        let view = decode_update(bytes, &internal()).unwrap();
        let reach = view.reaches().next().unwrap();
        view.attribute_key(&reach).concat()
    };
    let v6 = |next_hop: Ipv6Addr, nlri: &[u8], more: &[u8]| {
        update(&[], &[&mp_reach(2, &next_hop.octets(), nlri)[..], &mandatory(), more].concat(), &[])
    };
    let med = attribute(0x80, 4, &[0, 0, 0, 1]);
    let many: Vec<u8> = (0..100).flat_map(|i| [16, 0xfd, i]).collect();
    assert_eq!(
        of(&v6(GLOBAL, &[0], &[])),
        of(&v6(GLOBAL, &many, &[])),
        "another number of routes, another length"
    );
    assert_ne!(of(&v6(GLOBAL, &[0], &[])), of(&v6(LINK_LOCAL, &[0], &[])));
    assert_ne!(of(&v6(GLOBAL, &[0], &[])), of(&v6(GLOBAL, &[0], &med)));
    let v4 = |nlri: &[u8], more: &[u8]| update(&[], &[&mandatory(), more].concat(), nlri);
    assert_eq!(of(&v4(TEN, &[])), of(&v4(&[0, 8, 11], &[])));
    assert_ne!(of(&v4(TEN, &[])), of(&v4(TEN, &med)));
    // An MP_REACH_NLRI with wrong flags is treated as withdraw: its key is nobody else's.
    let mut wrong = v6(GLOBAL, &[0], &[]);
    wrong[23] |= 0x40;
    assert_ne!(of(&wrong), of(&v6(GLOBAL, &[0], &[])));
}

#[test]
fn host_bits_in_a_message_are_cleared() {
    let bytes = update(&[], &mandatory(), &[12, 10, 0xff, 8, 10, 0]);
    let view = decode_update(&bytes, &internal()).unwrap();
    assert_eq!(
        view.reaches().flat_map(|reach| texts(reach.nlri)).collect::<Vec<_>>(),
        ["10.240.0.0/12", "10.0.0.0/8", "0.0.0.0/0"]
    );
}

#[test]
fn as_many_routes_as_fit_are_put_into_a_message() {
    let attributes =
        Attributes::new(Origin::Igp, AsPath::sequence(&[65001]), Ipv4Addr::new(192, 0, 2, 1).into());
    let routes = |count: u32| (0..count).map(|i| nlri(i, 32));
    let mut encoder = UpdateEncoder::new();
    for (codec, per_message) in [(internal(), 810), (Codec { extended_messages: true, ..internal() }, 13098)]
    {
        // 4096 − 19 − 4 − (4 + 9 + 7) octets of attributes, 5 each.
        for count in [1, per_message, per_message + 1, 3 * per_message] {
            let mut out = Vec::new();
            let messages =
                encoder.announce(&attributes, Family::Ipv4Unicast, &codec, routes(count), &mut out).unwrap();
            assert_eq!(messages, count.div_ceil(per_message) as usize, "{count}");
            let mut rest: &[u8] = &out;
            let mut found = 0;
            while let Some(Frame { len, .. }) = frame(rest, codec.max_len()).unwrap() {
                let view = decode_update(&rest[..len], &codec).unwrap();
                found += view.reaches().map(|reach| reach.nlri.iter().count()).sum::<usize>();
                rest = &rest[len..];
            }
            assert_eq!((found, rest.len()), (count as usize, 0));
        }
    }
    let mut out = Vec::new();
    assert_eq!(encoder.announce(&attributes, Family::Ipv4Unicast, &internal(), [], &mut out), Ok(0));
    assert!(out.is_empty());
}

fn nlri(i: u32, len: u8) -> Nlri {
    Nlri { path_id: i, prefix: Prefix::new(Ipv4Addr::from(0x0a00_0000 + i).into(), len).unwrap() }
}

#[test]
fn attributes_that_leave_no_room_are_refused_whole() {
    let mut attributes = Attributes::new(Origin::Igp, AsPath::empty(), Ipv4Addr::new(192, 0, 2, 1).into());
    attributes.communities = (0..1100).collect();
    let (mut out, mut encoder) = (vec![1, 2, 3], UpdateEncoder::new());
    let error =
        encoder.announce(&attributes, Family::Ipv4Unicast, &internal(), [nlri(0, 8)], &mut out).unwrap_err();
    assert_eq!((error.max, out.len()), (4096, 3));
    let extended = Codec { extended_messages: true, ..internal() };
    assert_eq!(encoder.announce(&attributes, Family::Ipv4Unicast, &extended, [nlri(0, 8)], &mut out), Ok(1));
    let view = decode_update(&out[3..], &extended).unwrap();
    let reach = view.reaches().next().unwrap();
    assert_eq!(view.attributes(&reach).attributes, attributes);
}

#[test]
fn an_external_peer_is_not_told_internal_attributes() {
    let mut attributes = Attributes::new(Origin::Igp, AsPath::empty(), Ipv4Addr::new(192, 0, 2, 1).into());
    attributes.local_pref = Some(7);
    attributes.edit_rare(|rare| {
        rare.originator_id = Some(Ipv4Addr::new(1, 1, 1, 1));
        rare.cluster_list = [Ipv4Addr::new(2, 2, 2, 2)].into();
    });
    for (codec, kept) in [(internal(), true), (external(), false)] {
        let mut out = Vec::new();
        UpdateEncoder::new()
            .announce(&attributes, Family::Ipv4Unicast, &codec, [nlri(0, 8)], &mut out)
            .unwrap();
        let view = decode_update(&out, &internal()).unwrap();
        let parsed = view.attributes(&view.reaches().next().unwrap());
        assert_eq!(parsed.attributes == attributes, kept);
        assert_eq!(parsed.attributes.local_pref.is_some(), kept);
    }
}

#[test]
fn equal_sets_are_equal_however_they_were_made() {
    let plain = Attributes::new(Origin::Igp, AsPath::empty(), Ipv4Addr::LOCALHOST.into());
    let mut touched = plain.clone();
    touched.add_large_community([1, 2, 3]);
    touched.add_large_community([1, 2, 3]);
    assert_eq!(touched.large_communities(), [[1, 2, 3]]);
    assert_ne!(touched, plain);
    touched.edit_rare(|rare| rare.large_communities = Box::default());
    assert_eq!(touched, plain);
    touched.add_community(9);
    touched.add_community(9);
    assert_eq!(*touched.communities, [9]);
    assert!(touched.heap_size() > plain.heap_size());
    assert!(size_of::<Attributes>() <= 80, "{}", size_of::<Attributes>());
}

#[test]
fn names_are_those_of_the_registry() {
    assert_eq!(attribute_name(2), Some("AS_PATH"));
    assert_eq!(attribute_name(32), Some("LARGE_COMMUNITY"));
    assert_eq!(attribute_name(99), None);
    for (i, row) in table::ROWS.iter().enumerate() {
        assert!(std::ptr::eq(table::row(row.code).unwrap(), &table::ROWS[i]), "{}", row.name);
    }
}

#[test]
fn routes_come_in_pieces_too() {
    let attributes = [mp_reach(2, &GLOBAL.octets(), &[16, 0xfd, 1]), mandatory()];
    let bytes = update(&[], &attributes.concat(), &[24, 10, 1, 1, 12, 10, 0xff]);
    let view = decode_update(&bytes, &internal()).unwrap();
    for reach in view.reaches() {
        let (mut pieces, mut other) = (reach.nlri.iter(), reach.nlri.iter());
        for route in reach.nlri {
            let next = match route.prefix {
                Prefix::V4(_) => {
                    pieces.next_v4().map(|(id, addr, len)| (id, Ipv4Addr::from(addr).into(), len))
                }
                Prefix::V6(_) => {
                    pieces.next_v6().map(|(id, addr, len)| (id, Ipv6Addr::from(addr).into(), len))
                }
            };
            assert_eq!(next, Some((route.path_id, route.prefix.addr(), route.prefix.len())));
        }
        assert_eq!((pieces.next_v4(), pieces.next_v6()), (None, None), "the end");
        match reach.nlri.family() {
            Family::Ipv4Unicast => assert_eq!(other.next_v6(), None),
            Family::Ipv6Unicast => assert_eq!(other.next_v4(), None),
        }
    }
}
