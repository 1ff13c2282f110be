use super::*;
use crate::wire::Replies;

/// A message as the kernel lists a connection: attributes as `conntrack -L` would decode them.
fn listed(source: IpAddr, reply: IpAddr, zone: bool) -> Vec<u8> {
    let mut w = Writer::new();
    w.message(SUBSYSTEM << 8 | NEW, 0, 7, family(source), 0, |w| {
        for (tuple, from) in [(TUPLE_ORIGINAL, source), (TUPLE_REPLY, reply)] {
            w.nested(tuple, |w| {
                w.nested(TUPLE_IP, |w| address(w, from));
                w.nested(2, |w| w.u8(1, 6));
            });
        }
        w.be32(ID, 4711);
        if zone {
            w.be16(ZONE, 9);
        }
    });
    w.into_bytes()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn first(bytes: &[u8]) -> Reply<'_> {
    Replies::new(bytes).next().unwrap()
}

#[test]
fn what_is_listed_can_be_named_in_its_removal() {
    for (source, reply, zone) in [("10.0.0.1", "10.0.0.2", false), ("fd00::1", "fd00::2", true)] {
        let bytes = listed(ip(source), ip(reply), zone);
        let connection = read(&first(&bytes)).unwrap();
        assert_eq!((connection.source, connection.reply_source), (ip(source), ip(reply)));
        let removal = delete([&connection, &connection], 100);
        let messages: Vec<Reply<'_>> = Replies::new(&removal).collect();
        assert_eq!(messages.len(), 2);
        for (count, message) in messages.iter().enumerate() {
            let Reply::Data { kind, sequence, attributes, family: af, .. } = message else {
                panic!("{message:?}")
            };
            assert_eq!((*kind, *sequence, *af), (0x102, 100 + count as u32, family(ip(source))));
            let Reply::Data { attributes: original, .. } = first(&bytes) else { panic!() };
            for wanted in [TUPLE_ORIGINAL, ID, ZONE] {
                let (said, known) =
                    (Attributes::new(attributes).get(wanted), Attributes::new(original).get(wanted));
                assert_eq!(said, known, "attribute {wanted}");
            }
            assert_eq!(Attributes::new(attributes).get(TUPLE_REPLY), None);
        }
    }
}

#[test]
fn a_filter_names_the_source_of_one_direction() {
    for (direction, tuple, flags) in [(Direction::Original, 1, 1), (Direction::Reply, 2, 2)] {
        let bytes = list(ip("10.0.0.1"), direction, 5);
        let Reply::Data { kind, attributes, .. } = first(&bytes) else { panic!() };
        assert_eq!(kind, 0x101);
        let a = Attributes::new(attributes);
        let source = a.nested(tuple).unwrap().nested(1).unwrap().get(1).unwrap();
        assert_eq!(source, [10, 0, 0, 1]);
        assert_eq!(a.nested(25).unwrap().get(flags).unwrap(), 1u32.to_ne_bytes());
    }
}

#[test]
fn other_messages_and_torn_ones_are_none() {
    let bytes = listed(ip("10.0.0.1"), ip("10.0.0.2"), true);
    for cut in 20..bytes.len() {
        let mut torn = bytes[..cut].to_vec();
        torn[..4].copy_from_slice(&(cut as u32).to_ne_bytes());
        if let Some(reply) = Replies::new(&torn).next() {
            let _ = read(&reply);
        }
    }
    let mut other = bytes;
    other[4] = 2;
    assert_eq!(read(&first(&other)), None);
}
