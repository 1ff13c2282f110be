//! Framing, OPEN, NOTIFICATION, ROUTE-REFRESH, KEEPALIVE.

use super::*;
use std::net::Ipv4Addr;

fn encoded(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

#[test]
fn a_frame_is_found_when_it_is_whole() {
    let bytes = message(4, &[]);
    for cut in 0..bytes.len() {
        assert_eq!(frame(&bytes[..cut], MAX_LEN), Ok(None), "{cut}");
    }
    let found = Frame { len: 19, kind: MessageType::Keepalive };
    assert_eq!(frame(&bytes, MAX_LEN), Ok(Some(found)));
    assert_eq!(frame(&[bytes.clone(), vec![1, 2, 3]].concat(), MAX_LEN), Ok(Some(found)));
}

#[test]
fn a_bad_header_is_answered_as_rfc_4271_6_1_says() {
    let header = |marker: u8, len: u16, kind: u8| {
        let mut bytes = vec![marker; 16];
        bytes.extend(len.to_be_bytes());
        bytes.push(kind);
        bytes
    };
    let cases: &[(Vec<u8>, usize, HeaderError, &[u8])] = &[
        (header(0, 19, 4), MAX_LEN, HeaderError::NotSynchronized, &[]),
        (header(0xff, 18, 4), MAX_LEN, HeaderError::BadLength, &[0, 18]),
        (header(0xff, 4097, 2), MAX_LEN, HeaderError::BadLength, &[0x10, 1]),
        (header(0xff, 22, 2), MAX_LEN, HeaderError::BadLength, &[0, 22]),
        (header(0xff, 28, 1), MAX_LEN, HeaderError::BadLength, &[0, 28]),
        (header(0xff, 20, 3), MAX_LEN, HeaderError::BadLength, &[0, 20]),
        (header(0xff, 20, 4), MAX_LEN, HeaderError::BadLength, &[0, 20]),
        (header(0xff, 22, 5), MAX_LEN, HeaderError::BadLength, &[0, 22]),
        // RFC 8654 §4: OPEN and KEEPALIVE do not grow.
        (header(0xff, 4097, 1), MAX_EXTENDED_LEN, HeaderError::BadLength, &[0x10, 1]),
        (header(0xff, 19, 6), MAX_LEN, HeaderError::BadType, &[6]),
        (header(0xff, 19, 0), MAX_LEN, HeaderError::BadType, &[0]),
    ];
    for (bytes, max, error, data) in cases {
        assert_eq!(frame(bytes, *max), Err(Notification::header(*error, data.to_vec())), "{bytes:?}");
    }
    assert_eq!(frame(&header(0xff, 4097, 2), MAX_EXTENDED_LEN), Ok(None));
    assert_eq!(frame(&header(0xff, 4096, 2), MAX_LEN), Ok(None));
}

#[test]
fn every_capability_comes_back() {
    let ipv4 = AfiSafi { afi: 1, safi: 1 };
    let ipv6 = AfiSafi { afi: 2, safi: 1 };
    let open = Open::new(
        4_200_000_001,
        90,
        Ipv4Addr::new(10, 0, 0, 1),
        vec![
            Capability::Multiprotocol(ipv4),
            Capability::Multiprotocol(AfiSafi { afi: 25, safi: 70 }),
            Capability::RouteRefresh,
            Capability::ExtendedNextHop(vec![(ipv4, 2), (AfiSafi { afi: 1, safi: 128 }, 2)]),
            Capability::ExtendedMessage,
            Capability::GracefulRestart(GracefulRestart {
                restarting: true,
                notification: true,
                restart_time: 4095,
                families: vec![(ipv4, true), (ipv6, false)],
            }),
            Capability::FourOctetAs(4_200_000_001),
            Capability::AddPath(vec![
                AddPath { family: ipv4, receive: true, send: false },
                AddPath { family: ipv6, receive: true, send: true },
            ]),
            Capability::EnhancedRouteRefresh,
            Capability::Unknown { code: 73, value: b"\x04tor1\x00".to_vec() },
        ],
    );
    let bytes = encoded(|out| open.encode(out));
    let Ok(Message::Open(back)) = decode(&bytes, &Codec::default()) else { panic!() };
    assert_eq!(back, open);
    assert_eq!((back.my_as, back.asn()), (AS_TRANS, 4_200_000_001));
}

#[test]
fn a_capability_of_impossible_length_is_kept_unknown_and_its_neighbours_live() {
    for (code, value) in
        [(1, vec![0, 1, 0]), (2, vec![1]), (6, vec![0]), (64, vec![1]), (64, vec![0, 1, 0, 1, 1])]
            .into_iter()
            .chain([(65, vec![1, 2, 3]), (69, vec![0, 1, 1]), (70, vec![0]), (5, vec![0; 5])])
    {
        let mut capabilities = vec![code, u8::try_from(value.len()).unwrap()];
        capabilities.extend(&value);
        capabilities.extend([2, 0]);
        let len = u8::try_from(capabilities.len()).unwrap();
        let body = [&[4, 0xfd, 0xe9, 0, 90, 1, 1, 1, 1, len + 2, 2, len], &capabilities[..]].concat();
        let bytes = message(1, &body);
        let Ok(Message::Open(open)) = decode(&bytes, &Codec::default()) else { panic!("{code}") };
        assert_eq!(open.capabilities, [Capability::Unknown { code, value }, Capability::RouteRefresh]);
    }
}

#[test]
fn an_add_path_entry_of_unknown_direction_is_ignored() {
    let body = [4, 0xfd, 0xe9, 0, 90, 1, 1, 1, 1, 12, 2, 10, 69, 8, 0, 1, 1, 4, 0, 2, 1, 2];
    let bytes = message(1, &body);
    let Ok(Message::Open(open)) = decode(&bytes, &Codec::default()) else { panic!() };
    let ipv6 = AfiSafi { afi: 2, safi: 1 };
    assert_eq!(
        open.capabilities,
        [Capability::AddPath(vec![AddPath { family: ipv6, receive: false, send: true }])]
    );
}

#[test]
fn an_open_with_many_capabilities_uses_the_extended_form() {
    let value = vec![7; 200];
    let capabilities: Vec<_> =
        (0..4).map(|i| Capability::Unknown { code: 200 + i, value: value.clone() }).collect();
    let open = Open::new(65001, 0, Ipv4Addr::new(1, 1, 1, 1), capabilities);
    let bytes = encoded(|out| open.encode(out));
    assert_eq!(bytes[28..30], [255, 255], "RFC 9072 §2");
    let Ok(Message::Open(back)) = decode(&bytes, &Codec::default()) else { panic!() };
    assert_eq!(back, open);
}

#[test]
fn a_bad_open_is_answered_as_rfc_4271_6_2_says() {
    let cases: &[(&[u8], OpenError, &[u8])] = &[
        (&[3, 0xfd, 0xe9, 0, 90, 1, 1, 1, 1, 0], OpenError::UnsupportedVersion, &[0, 4]),
        (&[4, 0, 0, 0, 90, 1, 1, 1, 1, 0], OpenError::BadPeerAs, &[]),
        (&[4, 0xfd, 0xe9, 0, 90, 1, 1, 1, 1, 8, 2, 6, 65, 4, 0, 0, 0, 0], OpenError::BadPeerAs, &[]),
        (&[4, 0xfd, 0xe9, 0, 90, 0, 0, 0, 0, 0], OpenError::BadIdentifier, &[]),
        (&[4, 0xfd, 0xe9, 0, 1, 1, 1, 1, 1, 0], OpenError::UnacceptableHoldTime, &[]),
        (&[4, 0xfd, 0xe9, 0, 2, 1, 1, 1, 1, 0], OpenError::UnacceptableHoldTime, &[]),
        (&[4, 0xfd, 0xe9, 0, 90, 1, 1, 1, 1, 3, 1, 1, 0], OpenError::UnsupportedParameter, &[]),
        (&[4, 0xfd, 0xe9, 0, 90, 1, 1, 1, 1, 1], OpenError::Unspecific, &[]),
        (&[4, 0xfd, 0xe9, 0, 90, 1, 1, 1, 1, 2, 2, 1], OpenError::Unspecific, &[]),
        (&[4, 0xfd, 0xe9, 0, 90, 1, 1, 1, 1, 3, 2, 1, 65], OpenError::Unspecific, &[]),
        (&[4, 0xfd, 0xe9, 0, 90, 1, 1, 1, 1, 4, 2, 2, 65, 1], OpenError::Unspecific, &[]),
    ];
    for (body, error, data) in cases {
        let said = decode(&message(1, body), &Codec::default()).unwrap_err();
        assert_eq!(said.notification, Notification::open(*error, data.to_vec()), "{body:?}: {said}");
        assert!(said.detail.starts_with("OPEN: "), "{said}");
    }
    for hold_time in [0, 3, 65535_u16] {
        let open = Open::new(65001, hold_time, Ipv4Addr::new(1, 1, 1, 1), vec![]);
        assert!(decode(&encoded(|out| open.encode(out)), &Codec::default()).is_ok());
    }
}

#[test]
fn a_shutdown_says_its_text_and_names_its_reason() {
    let said = Notification::shutdown(Cease::AdministrativeShutdown, "rack 4 löscht");
    let bytes = encoded(|out| said.encode(out));
    let Ok(Message::Notification(heard)) = decode(&bytes, &Codec::default()) else { panic!() };
    assert_eq!(heard.shutdown_text().as_deref(), Some("rack 4 löscht"));
    assert_eq!(heard.to_string(), "Cease: Administrative Shutdown \"rack 4 löscht\"");
    assert!(heard.is_cease(Cease::AdministrativeShutdown));

    let long = "ü".repeat(200);
    let cut = Notification::shutdown(Cease::AdministrativeReset, &long).shutdown_text().unwrap();
    assert_eq!(cut, "ü".repeat(127), "cut at a character");
    assert_eq!(Notification::cease(Cease::AdministrativeReset).shutdown_text(), None);
    let mut garbled = Notification::shutdown(Cease::AdministrativeReset, "abc");
    garbled.data[0] = 200;
    assert_eq!(garbled.shutdown_text(), None, "a length over the end says nothing");
}

#[test]
fn a_hard_reset_carries_what_it_is_about() {
    let inside = Notification::shutdown(Cease::AdministrativeShutdown, "bye");
    let hard = inside.hard_reset();
    assert_eq!(hard.inside_hard_reset(), Some(inside));
    assert_eq!(hard.to_string(), "Cease: Hard Reset (Cease: Administrative Shutdown \"bye\")");
    assert_eq!(Notification::hold_timer_expired().inside_hard_reset(), None);
}

#[test]
fn notifications_have_the_names_of_their_rfcs() {
    let cases = [
        (
            Notification::update(UpdateError::MalformedAsPath, vec![]),
            "UPDATE Message Error: Malformed AS_PATH",
        ),
        (Notification::hold_timer_expired(), "Hold Timer Expired"),
        (
            Notification::fsm(FsmError::InOpenSent),
            "Finite State Machine Error: Receive Unexpected Message in OpenSent State",
        ),
        (Notification::open(OpenError::BadPeerAs, vec![]), "OPEN Message Error: Bad Peer AS"),
        (Notification::new(2, 11), "OPEN Message Error, subcode 11"),
        (Notification::new(99, 0), "Unknown Error"),
    ];
    for (notification, text) in cases {
        assert_eq!(notification.to_string(), text);
    }
}

#[test]
fn a_notification_too_long_is_cut() {
    let long = Notification { code: 3, subcode: 1, data: vec![9; 70_000] };
    let bytes = encoded(|out| long.encode(out));
    assert_eq!(bytes.len(), MAX_LEN);
    assert!(decode(&bytes, &Codec::default()).is_ok());
}

#[test]
fn route_refresh_comes_back_and_markers_have_one_length() {
    for subtype in
        [RefreshSubtype::Request, RefreshSubtype::Begin, RefreshSubtype::End, RefreshSubtype::Other(9)]
    {
        let refresh = RouteRefresh { family: AfiSafi { afi: 2, safi: 1 }, subtype };
        let bytes = encoded(|out| refresh.encode(out));
        let Ok(Message::RouteRefresh(back)) = decode(&bytes, &Codec::default()) else { panic!() };
        assert_eq!(back, refresh);
    }
    // RFC 7313 §5: the whole message is the data; a request may carry filters (RFC 5291).
    let long = message(5, &[0, 1, 1, 1, 0]);
    let said = decode(&long, &Codec::default()).unwrap_err();
    assert_eq!(said.notification, Notification::refresh(RefreshError::InvalidLength, &long));
    assert!(decode(&message(5, &[0, 1, 0, 1, 0, 1, 2, 3]), &Codec::default()).is_ok());
}

#[test]
fn a_keepalive_is_nineteen_octets() {
    let bytes = encoded(keepalive);
    assert_eq!(bytes, message(4, &[]));
    assert!(matches!(decode(&bytes, &Codec::default()), Ok(Message::Keepalive)));
}

#[test]
fn a_message_shorter_or_longer_than_its_buffer_is_no_panic() {
    let bytes = message(4, &[]);
    assert!(decode(&bytes[..18], &Codec::default()).is_err());
    assert!(decode(&[bytes, vec![0; 4]].concat(), &Codec::default()).is_ok());
}

#[test]
fn the_corpus_decodes_without_a_complaint() {
    let corpus = corpus();
    let kinds: std::collections::BTreeSet<u8> = corpus.iter().map(|recorded| recorded.bytes[18]).collect();
    assert_eq!(kinds, [1, 2, 3, 4, 5].into(), "every type of message is in it");
    for recorded in &corpus {
        let from = &recorded.from;
        match decode(&recorded.bytes, &recorded.codec).unwrap_or_else(|error| panic!("{from}: {error}")) {
            Message::Update(view) => {
                for reach in view.reaches() {
                    let parsed = view.attributes(&reach);
                    assert!(parsed.forgiven.is_empty(), "{from}: {:?}", parsed.forgiven);
                    assert!(reach.nlri.iter().count() > 0);
                }
            }
            Message::Open(open) => assert_eq!(open.asn(), 64512, "{from}"),
            Message::Notification(notification) => {
                assert!(matches!(notification.code, 4 | 6), "{from}: {notification}");
            }
            Message::Keepalive | Message::RouteRefresh(_) => {}
        }
    }
    let said = |text: &str| {
        corpus.iter().any(|recorded| match decode(&recorded.bytes, &recorded.codec) {
            Ok(Message::Notification(notification)) => notification.shutdown_text().as_deref() == Some(text),
            _ => false,
        })
    };
    assert!(said("maintenance of the rack"));
}
