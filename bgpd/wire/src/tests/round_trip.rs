//! Decoding what was encoded gives it back, for any attributes, any routes and any session.

use super::*;
use proptest::prelude::*;
use proptest::sample::select;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

fn codecs() -> impl Strategy<Value = Codec> {
    prop::array::uniform6(any::<bool>()).prop_map(|[four, add4, add6, long, next_hop, external]| {
        let add_path = PerFamily { ipv4: add4, ipv6: add6 };
        Codec {
            four_octet_as: four,
            families: PerFamily { ipv4: true, ipv6: true },
            add_path_receive: add_path,
            add_path_send: add_path,
            extended_messages: long,
            extended_next_hop: next_hop,
            external,
        }
    })
}

fn number() -> impl Strategy<Value = u32> {
    prop_oneof![1_u32..=70_000, 1_u32.., Just(23456)]
}

/// None, nothing and everything are numbers too.
fn maybe_number() -> impl Strategy<Value = Option<u32>> {
    prop::option::of(prop_oneof![Just(0), Just(u32::MAX), any::<u32>()])
}

fn paths() -> impl Strategy<Value = AsPath> {
    let kind = select(vec![SegmentKind::Sequence, SegmentKind::Sequence, SegmentKind::Set]);
    prop::collection::vec((kind, prop::collection::vec(number(), 1..8)), 0..4).prop_map(|segments| {
        AsPath::from_segments(segments.iter().map(|(kind, numbers)| (*kind, numbers.as_slice())))
    })
}

fn hosts4() -> impl Strategy<Value = Ipv4Addr> {
    (1_u32..0xe000_0000).prop_map(Ipv4Addr::from)
}

fn hosts6() -> impl Strategy<Value = Ipv6Addr> {
    (1_u128..0xff00 << 112).prop_map(Ipv6Addr::from)
}

fn rare() -> impl Strategy<Value = RareAttributes> {
    let large = prop::collection::hash_set(any::<[u32; 3]>(), 0..4);
    let unknown = prop::collection::btree_map(100_u8.., prop::collection::vec(any::<u8>(), 0..300), 0..3);
    (
        prop::option::of((number(), any::<u32>())),
        prop::option::of(any::<u32>()),
        prop::collection::vec(any::<u32>(), 0..4),
        prop::collection::vec(any::<u64>(), 0..4),
        large,
        unknown,
        prop::option::of(any::<u64>()),
        0_u8..16,
    )
        .prop_map(|(aggregator, originator, clusters, extended, large, unknown, link_local, partial)| {
            let mut rare = RareAttributes {
                link_local: link_local.map(|low| Ipv6Addr::from(0xfe80 << 112 | u128::from(low))),
                aggregator: aggregator.map(|(asn, id)| Aggregator { asn, router_id: id.into() }),
                originator_id: originator.map(Ipv4Addr::from),
                cluster_list: clusters.into_iter().map(Ipv4Addr::from).collect(),
                extended_communities: extended.into(),
                large_communities: large.into_iter().collect(),
                unknown: unknown
                    .into_iter()
                    .map(|(code, value)| UnknownAttribute { code, flags: 0xe0, value: value.into() })
                    .collect(),
                partial,
            };
            // A partial bit needs its attribute; COMMUNITIES has none here.
            for (bit, there) in [
                (1, rare.aggregator.is_some()),
                (2, false),
                (4, !rare.extended_communities.is_empty()),
                (8, !rare.large_communities.is_empty()),
            ] {
                rare.partial &= if there { 0xff } else { !bit };
            }
            rare
        })
}

fn sets() -> impl Strategy<Value = (Attributes, Family)> {
    let family = select(Family::ALL.to_vec());
    let origin = select(vec![Origin::Igp, Origin::Egp, Origin::Incomplete]);
    let optional =
        (any::<bool>(), maybe_number(), maybe_number(), prop::collection::vec(any::<u32>(), 0..80));
    (family, origin, paths(), hosts4(), hosts6(), optional, prop::option::of(rare())).prop_map(
        |(family, origin, path, host4, host6, (atomic, med, local_pref, communities), rare)| {
            let next_hop = match family {
                Family::Ipv4Unicast => IpAddr::V4(host4),
                Family::Ipv6Unicast => IpAddr::V6(host6),
            };
            let mut attributes = Attributes::new(origin, path, next_hop);
            attributes.atomic_aggregate = atomic;
            (attributes.med, attributes.local_pref) = (med, local_pref);
            attributes.communities = communities.into();
            if let Some(mut rare) = rare {
                rare.link_local = rare.link_local.filter(|_| family == Family::Ipv6Unicast);
                attributes.edit_rare(|into| *into = rare);
            }
            (attributes, family)
        },
    )
}

fn routes() -> impl Strategy<Value = Vec<(u32, u128, u8)>> {
    prop::collection::vec(any::<(u32, u128, u8)>(), 1..1500)
}

/// Seeds of routes as routes of a family.
fn of_family(seeds: &[(u32, u128, u8)], family: Family, codec: &Codec) -> Vec<Nlri> {
    let with_ids = *codec.add_path_send.get(family);
    let nlri = |(id, bits, len): &(u32, u128, u8)| {
        let len = len % (family.bits() + 1);
        let address = match family {
            Family::Ipv4Unicast => IpAddr::V4(Ipv4Addr::from((bits >> 96) as u32)),
            Family::Ipv6Unicast => IpAddr::V6(Ipv6Addr::from(*bits)),
        };
        Nlri { path_id: if with_ids { *id } else { 0 }, prefix: Prefix::new(address, len).unwrap() }
    };
    seeds.iter().map(nlri).collect()
}

/// The messages in a buffer.
fn messages<'a>(mut bytes: &'a [u8], codec: &Codec) -> Vec<&'a [u8]> {
    let mut all = Vec::new();
    while let Some(Frame { len, .. }) = frame(bytes, codec.max_len()).unwrap() {
        let (message, rest) = bytes.split_at(len);
        all.push(message);
        bytes = rest;
    }
    assert!(bytes.is_empty());
    all
}

/// What an external peer can be told of a set.
fn told(mut attributes: Attributes, codec: &Codec) -> Attributes {
    if codec.external {
        attributes.local_pref = None;
        attributes.edit_rare(|rare| {
            rare.originator_id = None;
            rare.cluster_list = Box::default();
        });
    }
    attributes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn announcements_come_back((attributes, family) in sets(), seeds in routes(), codec in codecs()) {
        let routes = of_family(&seeds, family, &codec);
        let mut bytes = Vec::new();
        let sent = UpdateEncoder::new().announce(&attributes, family, &codec, routes.iter().copied(), &mut bytes);
        let messages = messages(&bytes, &codec);
        prop_assert_eq!(sent, Ok(messages.len()));
        let expected = told(attributes, &codec);
        let mut found = Vec::new();
        for message in messages {
            prop_assert!(message.len() <= codec.max_len());
            let view = decode_update(message, &codec).unwrap();
            prop_assert_eq!(view.withdrawn().count(), 0);
            for reach in view.reaches() {
                let parsed = view.attributes(&reach);
                prop_assert_eq!(&parsed.forgiven, &[]);
                prop_assert_eq!(&parsed.attributes, &expected);
                found.extend(reach.nlri);
            }
        }
        prop_assert_eq!(found, routes);
    }

    #[test]
    fn withdrawals_come_back(seeds in routes(), codec in codecs(), family in select(Family::ALL.to_vec())) {
        let routes = of_family(&seeds, family, &codec);
        let mut bytes = Vec::new();
        let sent = UpdateEncoder::new().withdraw(family, &codec, routes.iter().copied(), &mut bytes);
        let messages = messages(&bytes, &codec);
        prop_assert_eq!(sent, messages.len());
        let mut found = Vec::new();
        for message in messages {
            prop_assert!(message.len() <= codec.max_len());
            let view = decode_update(message, &codec).unwrap();
            prop_assert_eq!(view.reaches().count(), 0);
            prop_assert_eq!(view.end_of_rib(), None);
            found.extend(view.withdrawn().flatten());
        }
        prop_assert_eq!(found, routes);
    }
}
