use super::*;
use crate::wire::{Attributes, Replies, Reply, Writer};
use proptest::prelude::*;
use std::net::IpAddr;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn net(text: &str, length: u8) -> Member {
    Member::Net { address: ip(text), length }
}

fn first(bytes: &[u8]) -> Reply<'_> {
    Replies::new(bytes).next().unwrap()
}

/// The attributes of a request, with its command and flags.
fn parts(bytes: &[u8]) -> (u16, u16, Attributes<'_>) {
    let Reply::Data { kind, flags, attributes, .. } = first(bytes) else { panic!() };
    (kind, flags, Attributes::new(attributes))
}

/// A set as the kernel lists it: with the member attributes of an `Add`, and a header.
fn listed(members: &[Member], header: bool) -> Vec<u8> {
    let request = Change::Add { set: "s", members }.request(1);
    let (_, _, sent) = parts(&request);
    let mut w = Writer::new();
    w.message(wire::SUBSYSTEM << 8 | wire::command::LIST, 2, 7, 2, 0, |w| {
        w.u8(wire::VERSION, 7);
        w.text(wire::SET_NAME, "cali40s:abc");
        if header {
            w.text(wire::TYPE_NAME, "hash:net");
            w.u8(wire::FAMILY, 2);
            w.nested(wire::DATA, |w| {
                wire::be32(w, wire::MAX, 1_048_576);
                wire::be32(w, wire::REFERENCES, 3);
            });
        }
        w.nested(wire::MEMBERS, |w| w.raw(sent.get(wire::MEMBERS).unwrap()));
    });
    w.into_bytes()
}

fn member() -> impl Strategy<Value = Member> {
    let address =
        prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from),];
    let of_net = || {
        (address.clone(), any::<u8>())
            .prop_map(|(ip, length)| (ip, length % if ip.is_ipv4() { 33 } else { 129 }))
    };
    prop_oneof![
        of_net().prop_map(|(address, length)| Member::Net { address, length }),
        (address.clone(), any::<u8>(), any::<u16>()).prop_map(|(address, protocol, port)| Member::Port {
            address,
            protocol,
            port
        }),
        (of_net(), of_net()).prop_map(|(from, to)| Member::Pair { from, to }),
    ]
}

proptest! {
    #[test]
    fn members_read_back_as_they_were_written(members in prop::collection::vec(member(), 0..600)) {
        let members = &members[..members.len().min(Change::MEMBERS)];
        let bytes = listed(members, true);
        let Some(Answer::Set(Some(header), read)) = read(&first(&bytes)) else { panic!("{bytes:?}") };
        prop_assert_eq!(read, members);
        let SetHeader { name, kind, family, max, references } = header;
        prop_assert_eq!(name, "cali40s:abc");
        prop_assert_eq!((kind, family, max, references), (Some(SetKind::Net), Some(Family::V4), 1_048_576, 3));
        let bytes = listed(members, false);
        prop_assert!(matches!(super::read(&first(&bytes)), Some(Answer::Set(None, more)) if more == members));
    }

    #[test]
    fn nothing_makes_the_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), command in 0u16..20) {
        let mut w = Writer::new();
        w.message(wire::SUBSYSTEM << 8 | command, 0, 1, 2, 0, |w| w.raw(&bytes));
        let mut bytes = w.into_bytes();
        for length in 20..bytes.len() {
            let short = u32::try_from(length).unwrap();
            bytes[..4].copy_from_slice(&short.to_ne_bytes());
            Replies::new(&bytes[..length]).for_each(|reply| drop((read(&reply), refused_line(&reply))));
        }
    }
}

#[test]
fn the_longest_change_fits_its_attribute() {
    let pair = (ip("2001:db8::1"), 64);
    let members = vec![Member::Pair { from: pair, to: pair }; Change::MEMBERS];
    let bytes = Change::Add { set: "a-name-that-has-31-bytes-in-all", members: &members }.request(1);
    let (_, _, attributes) = parts(&bytes);
    assert_eq!(attributes.nested(wire::MEMBERS).unwrap().count(), Change::MEMBERS);
}

#[test]
fn a_creation_says_what_ipset_says() {
    let change = Change::Create {
        name: "cali40this-host",
        kind: SetKind::Ip,
        revision: 6,
        family: Family::V4,
        max: 1000,
    };
    let bytes = change.request(5);
    let (kind, flags, attributes) = parts(&bytes);
    // the command, and NLM_F_REQUEST, ACK, EXCL and CREATE
    assert_eq!((kind, flags), (6 << 8 | 2, 0x605));
    assert_eq!(attributes.u8(1), Some(7));
    assert_eq!(attributes.text(2), Some("cali40this-host"));
    assert_eq!(attributes.text(3), Some("hash:ip"));
    assert_eq!((attributes.u8(4), attributes.u8(5)), (Some(6), Some(2)));
    assert_eq!(attributes.nested(7).unwrap().be32(19), Some(1000));
    // numbers are marked as being in network order: the kernel asks for it
    let place = bytes.windows(4).position(|window| window == [8, 0, 19, 0x40]);
    assert!(place.is_some(), "{bytes:?}");
}

#[test]
fn the_line_of_a_refused_member_is_read_from_what_comes_back() {
    let members = [net("10.0.0.0", 8), net("10.1.0.0", 16)];
    let mut request = Change::Add { set: "s", members: &members }.request(9);
    let place = request.windows(4).position(|window| window == [8, 0, 9, 0x40]).unwrap() + 4;
    request[place..place + 4].copy_from_slice(&2u32.to_be_bytes());
    let mut bytes = Vec::new();
    let length = 16 + 4 + request.len();
    bytes.extend(u32::try_from(length).unwrap().to_ne_bytes());
    // NLMSG_ERROR, not capped
    bytes.extend([2, 0, 0, 0]);
    bytes.extend(9u32.to_ne_bytes());
    bytes.extend(0u32.to_ne_bytes());
    bytes.extend((-4352i32).to_ne_bytes());
    bytes.extend(&request);
    let reply = first(&bytes);
    assert!(matches!(reply, Reply::Ack { errno: 4352, sequence: 9, .. }), "{reply:?}");
    assert_eq!(refused_line(&reply), Some(1));
    assert_eq!(words(4352).map(|words| words.starts_with("the set is full")), Some(true));
    assert_eq!(words(2), None);
}

#[test]
fn members_are_shown_as_ipset_shows_them() {
    let port = |protocol| Member::Port { address: ip("10.0.0.1"), protocol, port: 80 };
    let pair = Member::Pair { from: (ip("10.0.0.0"), 8), to: (ip("fd00::1"), 128) };
    let shown: Vec<String> = [net("10.0.0.0", 8), net("10.0.0.1", 32), port(6), port(132), port(50), pair]
        .iter()
        .map(ToString::to_string)
        .collect();
    let expected = [
        "10.0.0.0/8",
        "10.0.0.1",
        "10.0.0.1,tcp:80",
        "10.0.0.1,sctp:80",
        "10.0.0.1,50:80",
        "10.0.0.0/8,fd00::1",
    ];
    assert_eq!(shown, expected);
}
