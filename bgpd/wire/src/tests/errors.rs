//! RFC 7606 as a table: each kind of error of each attribute, and what it must do to its message.

use super::*;
use Action::{DiscardAttribute as Discard, TreatAsWithdraw as Withdraw};
use std::net::IpAddr;

/// Decodes a message with one route and these attributes besides the mandatory ones that are not replaced.
fn judge(attributes: &[Vec<u8>], codec: &Codec) -> Vec<(u8, Action)> {
    let replaced: Vec<u8> = attributes.iter().map(|attribute| attribute[1]).collect();
    let mut field = Vec::new();
    for (code, value) in [(1, vec![0]), (2, vec![2, 1, 0, 0, 0xfd, 0xe9]), (3, vec![192, 0, 2, 1])] {
        if !replaced.contains(&code) {
            field.extend(attribute(0x40, code, &value));
        }
    }
    field.extend(attributes.concat());
    let bytes = update(&[], &field, TEN);
    let view = decode_update(&bytes, codec).expect("nothing here ends a session");
    let parsed = view.attributes(&view.reaches().next().unwrap());
    assert_eq!(parsed.treat_as_withdraw, parsed.forgiven.iter().any(|error| error.action == Withdraw));
    assert!(parsed.forgiven.iter().all(|error| !error.to_string().is_empty()));
    parsed.forgiven.iter().map(|error| (error.code, error.action)).collect()
}

/// RFC 7606 §7, and the documents that define later attributes: right flags, a value that is malformed.
#[test]
#[expect(clippy::type_complexity, reason = "it is a table")]
fn a_malformed_value_does_what_its_row_says() {
    let cases: &[(u8, u8, &[&[u8]], Action, &str)] = &[
        (0x40, 1, &[&[], &[0, 0], &[3], &[255]], Withdraw, "§7.1"),
        (
            0x40,
            2,
            &[
                &[2],                   // one octet left over
                &[2, 0],                // an empty segment
                &[2, 2, 0, 0, 0, 1],    // overrun
                &[2, 1, 0, 0, 0, 1, 2], // underrun
                &[9, 1, 0, 0, 0, 1],    // unknown segment
                &[0, 1, 0, 0, 0, 1],    // unknown segment
                &[2, 1, 0, 0, 0, 0],    // RFC 7607
            ],
            Withdraw,
            "§7.2",
        ),
        (
            0x40,
            3,
            &[&[], &[1, 2, 3], &[1, 2, 3, 4, 5], &[0, 0, 0, 0], &[224, 0, 0, 1], &[255, 255, 255, 255]],
            Withdraw,
            "§7.3",
        ),
        (0x80, 4, &[&[], &[1, 2, 3], &[1, 2, 3, 4, 5]], Withdraw, "§7.4"),
        (0x40, 5, &[&[], &[1, 2, 3], &[1, 2, 3, 4, 5]], Withdraw, "§7.5"),
        (0x40, 6, &[&[0], &[1, 2]], Discard, "§7.6"),
        (0xc0, 7, &[&[], &[0, 1, 1, 1, 1, 1], &[0; 9], &[0, 0, 0, 0, 1, 1, 1, 1]], Discard, "§7.7"),
        (0xc0, 8, &[&[], &[1], &[1, 2, 3, 4, 5]], Withdraw, "§7.8"),
        (0x80, 9, &[&[], &[1, 2, 3], &[1, 2, 3, 4, 5]], Withdraw, "§7.9"),
        (0x80, 10, &[&[], &[1, 2, 3], &[1, 2, 3, 4, 5]], Withdraw, "§7.10"),
        (0xc0, 16, &[&[], &[1; 7], &[1; 9], &[1; 12]], Withdraw, "§7.14"),
        (0xc0, 32, &[&[], &[1; 11], &[1; 13], &[1; 8]], Withdraw, "RFC 8092 §6"),
    ];
    for (flags, code, values, action, section) in cases {
        assert_eq!(table::row(*code).unwrap().malformed, *action, "{section}");
        for value in *values {
            assert_eq!(
                judge(&[attribute(*flags, *code, value)], &internal()),
                [(*code, *action)],
                "{section}: {value:?}"
            );
        }
    }
}

#[test]
fn attributes_of_two_octet_neighbours_are_discarded_when_malformed() {
    let codec = Codec { four_octet_as: false, ..internal() };
    let path = attribute(0x40, 2, &[2, 1, 0xfd, 0xe9]);
    // RFC 6793 §6.
    for value in [&[2_u8, 0][..], &[2, 1, 0, 0], &[9, 1, 0, 0, 0, 1], &[2, 1, 0, 0, 0, 0]] {
        assert_eq!(judge(&[path.clone(), attribute(0xc0, 17, value)], &codec), [(17, Discard)], "{value:?}");
    }
    for value in [&[][..], &[1; 6], &[1; 9], &[0, 0, 0, 0, 1, 1, 1, 1]] {
        assert_eq!(judge(&[path.clone(), attribute(0xc0, 18, value)], &codec), [(18, Discard)], "{value:?}");
    }
    for value in [&[][..], &[1; 5], &[1; 8], &[0, 0, 1, 1, 1, 1]] {
        assert_eq!(judge(&[path.clone(), attribute(0xc0, 7, value)], &codec), [(7, Discard)], "{value:?}");
    }
}

/// RFC 7606 §3 c: wrong Optional or Transitive bits are treat-as-withdraw, even where a bad value is only discarded.
#[test]
fn wrong_flags_are_treat_as_withdraw_for_every_attribute() {
    let good: &[(u8, &[u8])] = &[
        (1, &[0]),
        (2, &[2, 1, 0, 0, 0xfd, 0xe9]),
        (3, &[192, 0, 2, 1]),
        (4, &[0; 4]),
        (5, &[0; 4]),
        (6, &[]),
        (7, &[0, 0, 0, 1, 1, 1, 1, 1]),
        (8, &[0; 4]),
        (9, &[1; 4]),
        (10, &[1; 4]),
        (16, &[0; 8]),
        (32, &[0; 12]),
    ];
    for (code, value) in good {
        let row = table::row(*code).unwrap();
        for flags in [0, 0x40, 0x80, 0xc0] {
            let expected: &[(u8, Action)] = if flags == row.flags { &[] } else { &[(*code, Withdraw)] };
            // Partial and the unused bits say nothing about the attribute.
            for unused in [0, 0x20, 0x0f] {
                assert_eq!(
                    judge(&[attribute(flags | unused, *code, value)], &internal()),
                    expected,
                    "{}",
                    row.name
                );
            }
        }
    }
}

/// RFC 7606 §7.5, §7.9, §7.10: from an external peer they are discarded whatever is in them.
#[test]
fn internal_attributes_of_an_external_peer_are_discarded_unread() {
    for (flags, code) in [(0x40, 5), (0x80, 9), (0x80, 10)] {
        for value in [&[][..], &[1, 2, 3, 4], &[1]] {
            assert_eq!(judge(&[attribute(flags, code, value)], &external()), [(code, Discard)]);
        }
    }
    let bytes = update(&[], &[mandatory(), attribute(0x40, 5, &[0, 0, 0, 9])].concat(), TEN);
    let view = decode_update(&bytes, &external()).unwrap();
    assert_eq!(view.attributes(&view.reaches().next().unwrap()).attributes.local_pref, None);
}

/// RFC 6793 §4.1: a four-octet neighbour must not send them.
#[test]
fn as4_attributes_of_a_four_octet_neighbour_are_discarded() {
    for (code, value) in [(17, &[2, 1, 0, 0, 0, 9][..]), (18, &[0, 0, 0, 9, 1, 1, 1, 1])] {
        assert_eq!(judge(&[attribute(0xc0, code, value)], &internal()), [(code, Discard)]);
    }
}

/// RFC 5065 §5: we are in no confederation.
#[test]
fn confederation_segments_are_kept_inside_and_refused_from_outside() {
    let path = attribute(0x40, 2, &[3, 1, 0, 0, 0xfd, 0xe9, 2, 1, 0, 0, 0, 9]);
    assert_eq!(judge(std::slice::from_ref(&path), &internal()), []);
    assert_eq!(judge(&[path], &external()), [(2, Withdraw)]);
}

/// RFC 7606 §3 d.
#[test]
fn a_missing_mandatory_attribute_is_treat_as_withdraw() {
    for missing in [1, 2, 3] {
        let all = [(1, vec![0]), (2, vec![]), (3, vec![192, 0, 2, 1])];
        let field: Vec<u8> = all
            .into_iter()
            .filter(|(code, _)| *code != missing)
            .flat_map(|(code, value)| attribute(0x40, code, &value))
            .collect();
        let bytes = update(&[], &field, TEN);
        let view = decode_update(&bytes, &internal()).unwrap();
        let parsed = view.attributes(&view.reaches().next().unwrap());
        assert!(parsed.treat_as_withdraw);
        assert_eq!(parsed.forgiven.iter().map(|error| error.code).collect::<Vec<_>>(), [missing]);
    }
}

/// RFC 7606 §3 g.
#[test]
fn an_attribute_that_stands_twice_counts_once() {
    let twice = [attribute(0x80, 4, &[0, 0, 0, 1]), attribute(0x80, 4, &[0, 0, 0, 2])];
    assert_eq!(judge(&twice, &internal()), [(4, Discard)]);
    let bytes = update(&[], &[mandatory(), twice.concat()].concat(), TEN);
    let view = decode_update(&bytes, &internal()).unwrap();
    assert_eq!(view.attributes(&view.reaches().next().unwrap()).attributes.med, Some(1));
    // Unknown ones too.
    let unknown = [attribute(0xc0, 200, &[1]), attribute(0xc0, 200, &[2])];
    assert_eq!(judge(&unknown, &internal()), [(200, Discard)]);
}

/// RFC 7606 §4: the routes at the end can still be found.
#[test]
fn an_attribute_over_the_end_is_treat_as_withdraw() {
    for rest in [&[0x80, 4, 5, 0, 0][..], &[0x80, 4], &[0x80], &[0x90, 4, 0], &[0x90, 4, 1, 0, 9]] {
        let bytes = update(&[], &[&mandatory(), rest].concat(), TEN);
        let view = decode_update(&bytes, &internal()).unwrap();
        let parsed = view.attributes(&view.reaches().next().unwrap());
        assert!(parsed.treat_as_withdraw, "{rest:?}");
    }
}

/// RFC 4271 §6.3 with RFC 7606; RFC 4271 §9.
#[test]
fn unknown_attributes_are_refused_dropped_or_passed_on() {
    assert_eq!(judge(&[attribute(0x40, 200, &[1])], &internal()), [(200, Withdraw)]);
    let field = [mandatory(), attribute(0x80, 201, &[1]), attribute(0xc0, 202, &[2; 300])].concat();
    let bytes = update(&[], &field, TEN);
    let view = decode_update(&bytes, &internal()).unwrap();
    let parsed = view.attributes(&view.reaches().next().unwrap());
    assert!(parsed.forgiven.is_empty());
    let kept = UnknownAttribute { code: 202, flags: 0xe0, value: vec![2; 300].into() };
    assert_eq!(*parsed.attributes.rare().unknown, [kept]);
}

/// What still ends a session, and with which subcode (RFC 7606 §3, §5.3, §7.11; RFC 4271 §6.3).
#[test]
fn what_hides_routes_ends_the_session() {
    use UpdateError::{InvalidNetwork, MalformedAttributeList, OptionalAttribute};
    let mp = |code: u8, value: &[u8]| update(&[], &attribute(0x80, code, value), &[]);
    let v6: &[u8] = &[0, 2, 1, 16, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    let reach = attribute(0x80, 14, v6);
    let unreach = attribute(0x80, 15, &[0, 2, 1]);
    let cases: Vec<(Vec<u8>, UpdateError, &str)> = vec![
        (message(2, &[0, 9, 0, 0]), MalformedAttributeList, "withdrawn length over the end"),
        (message(2, &[0, 0, 0, 9]), MalformedAttributeList, "attribute length over the end"),
        (message(2, &[0, 3, 8, 10, 0, 0]), MalformedAttributeList, "no room for the second length"),
        (update(&[33, 1, 2, 3, 4, 5], &[], &[]), InvalidNetwork, "withdrawn prefix too long"),
        (update(&[24, 1, 2], &[], &[]), InvalidNetwork, "withdrawn prefix cut"),
        (update(&[], &mandatory(), &[33, 1, 2, 3, 4, 5]), InvalidNetwork, "prefix too long"),
        (update(&[], &mandatory(), &[8]), InvalidNetwork, "prefix cut"),
        (update(&[], &[reach.clone(), reach.clone()].concat(), &[]), MalformedAttributeList, "reach twice"),
        (update(&[], &[unreach.clone(), unreach].concat(), &[]), MalformedAttributeList, "unreach twice"),
        (mp(14, &[0, 2, 1]), OptionalAttribute, "reach without next hop length"),
        (mp(14, &[0, 2, 1, 16, 1, 2]), OptionalAttribute, "next hop cut"),
        (mp(14, &v6[..20]), OptionalAttribute, "reserved octet missing"),
        (mp(14, &[0, 2, 1, 4, 1, 2, 3, 4, 0]), OptionalAttribute, "IPv6 with a next hop of four octets"),
        (mp(14, &[&v6[..3], &[24], &[1; 24], &[0]].concat()), OptionalAttribute, "next hop of 24 octets"),
        (mp(14, &[v6, &[129]].concat()), OptionalAttribute, "IPv6 prefix too long"),
        (mp(14, &[v6, &[64, 1]].concat()), OptionalAttribute, "IPv6 prefix cut"),
        (mp(15, &[0, 2]), OptionalAttribute, "unreach without a family"),
        (mp(15, &[0, 2, 1, 129]), OptionalAttribute, "withdrawn IPv6 prefix too long"),
        (update(&[], &[0x80, 14, 200, 0], &[]), OptionalAttribute, "reach over the end"),
        (update(&[], &[0x80, 15, 200, 0], TEN), OptionalAttribute, "unreach over the end"),
        // RFC 7606 §5.2: an error beyond discarding in a message that announces nothing.
        (update(&[], &attribute(0x40, 1, &[9]), &[]), MalformedAttributeList, "no routes, bad ORIGIN"),
        (update(TEN, &[0x40, 1, 9], &[]), MalformedAttributeList, "no routes, overrun"),
    ];
    for (bytes, error, what) in cases {
        let said = decode_update(&bytes, &internal()).err().unwrap_or_else(|| panic!("{what}: accepted"));
        assert_eq!(
            (said.notification.code, said.notification.subcode),
            (3, error.number()),
            "{what}: {said}"
        );
    }
    let harmless = update(TEN, &attribute(0x40, 6, &[9]), &[]);
    assert!(decode_update(&harmless, &internal()).is_ok(), "discarding an attribute ends nothing");
}

/// With ADD-PATH the same bytes are read otherwise; a cut path identifier hides routes.
#[test]
fn a_cut_path_identifier_ends_the_session() {
    let mut codec = internal();
    codec.add_path_receive.ipv4 = true;
    let said = decode_update(&update(&[], &mandatory(), &[0, 0, 0, 1]), &codec).unwrap_err();
    assert_eq!(said.notification.subcode, UpdateError::InvalidNetwork.number());
    assert!(decode_update(&update(&[], &mandatory(), &[0, 0, 0, 1, 8, 10]), &codec).is_ok());
}

/// RFC 4271 §6.3, RFC 4760 §3.
#[test]
fn a_next_hop_nobody_can_reach_is_treat_as_withdraw() {
    for next_hop in ["::", "ff02::1"] {
        let octets = next_hop.parse::<std::net::Ipv6Addr>().unwrap().octets();
        let value = [&[0, 2, 1, 16], &octets[..], &[0, 16, 0xfd, 0]].concat();
        let bytes = update(&[], &[attribute(0x80, 14, &value), mandatory()].concat(), &[]);
        let view = decode_update(&bytes, &internal()).unwrap();
        let parsed = view.attributes(&view.reaches().next().unwrap());
        assert!(parsed.treat_as_withdraw, "{next_hop}");
    }
    // NEXT_HOP beside MP_REACH_NLRI alone is not looked at.
    let value = [&[0, 2, 1, 16, 0xfd], &[0; 15][..], &[0, 16, 0xfd, 0]].concat();
    let mut field = attribute(0x80, 14, &value);
    field.extend(attribute(0x40, 1, &[0]));
    field.extend(attribute(0x40, 2, &[]));
    field.extend(attribute(0x40, 3, &[0, 0, 0]));
    let bytes = update(&[], &field, &[]);
    let view = decode_update(&bytes, &internal()).unwrap();
    let parsed = view.attributes(&view.reaches().next().unwrap());
    assert!(!parsed.treat_as_withdraw && parsed.attributes.next_hop == IpAddr::V6("fd00::".parse().unwrap()));
}

/// RFC 7606 §3 h: the strongest error of a message decides, wherever it stands.
#[test]
fn the_strongest_error_decides() {
    let weak = attribute(0x40, 6, &[1]);
    let strong = attribute(0x80, 4, &[1]);
    assert_eq!(judge(&[weak.clone(), strong.clone()], &internal()), [(6, Discard), (4, Withdraw)]);
    assert_eq!(judge(&[strong, weak], &internal()), [(4, Withdraw), (6, Discard)]);
}
