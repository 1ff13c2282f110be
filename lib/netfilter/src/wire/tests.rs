use super::*;

fn one_message() -> Vec<u8> {
    let mut w = Writer::new();
    w.message(0x0a01, REQUEST | DUMP, 7, 2, 3, |w| {
        w.text(1, "abc");
        w.be32(2, 5);
        w.nested(3, |w| {
            w.u8(1, 9);
            w.be64(2, 1 << 40);
        });
    });
    w.into_bytes()
}

#[test]
fn a_message_reads_back_as_it_was_written() {
    let bytes = one_message();
    let replies: Vec<_> = Replies::new(&bytes).collect();
    let [Reply::Data { kind: 0x0a01, sequence: 7, family: 2, resource: 3, attributes, .. }] =
        replies.as_slice()
    else {
        panic!("{replies:?}")
    };
    let attributes = Attributes::new(attributes);
    assert_eq!(attributes.text(1), Some("abc"));
    assert_eq!(attributes.be32(2), Some(5));
    let inner = attributes.nested(3).unwrap();
    assert_eq!((inner.u8(1), inner.be64(2)), (Some(9), Some(1 << 40)));
    assert_eq!(attributes.get(4), None);
}

#[test]
fn every_attribute_begins_at_a_multiple_of_four() {
    let mut w = Writer::new();
    for len in 0..9usize {
        w.attribute(1, &vec![0xff; len]);
        assert_eq!(w.len() % 4, 0);
    }
    let lengths: Vec<_> = Attributes::new(w.as_bytes()).map(|(_, value)| value.len()).collect();
    assert_eq!(lengths, (0..9).collect::<Vec<_>>());
}

#[test]
fn what_is_cut_off_ends_the_reading_without_a_panic() {
    let bytes = one_message();
    for end in 0..bytes.len() {
        assert_eq!(Replies::new(&bytes[..end]).count(), 0, "a message of {end} bytes");
        let attributes = bytes.get(20..end).unwrap_or_default();
        for (_, value) in Attributes::new(attributes) {
            assert!(value.len() <= attributes.len());
        }
    }
}

#[test]
fn an_acknowledgement_tells_errno_and_the_kernels_words() {
    // error −2, an echoed header of 16 bytes (capped), then the text
    let mut bytes = Vec::new();
    let text = b"no such table\0";
    let tlv = 4 + text.len();
    let length = u32::try_from(16 + 4 + 16 + tlv.next_multiple_of(4)).unwrap();
    bytes.extend(length.to_ne_bytes());
    bytes.extend(NLMSG_ERROR.to_ne_bytes());
    bytes.extend((CAPPED | ACK_TLVS).to_ne_bytes());
    bytes.extend(9u32.to_ne_bytes());
    bytes.extend(0u32.to_ne_bytes());
    bytes.extend((-2i32).to_ne_bytes());
    bytes.extend(100u32.to_ne_bytes());
    bytes.extend([0; 12]);
    bytes.extend(u16::try_from(tlv).unwrap().to_ne_bytes());
    bytes.extend(1u16.to_ne_bytes());
    bytes.extend(text);
    bytes.resize(usize::try_from(length).unwrap(), 0);
    let replies: Vec<_> = Replies::new(&bytes).collect();
    let echo = &bytes[20..36];
    assert_eq!(replies, [Reply::Ack { sequence: 9, errno: 2, words: Some("no such table"), echo }]);
}

#[test]
fn the_end_of_a_dump_tells_whether_it_was_interrupted() {
    for (flags, interrupted) in [(0u16, false), (DUMP_INTERRUPTED, true)] {
        let mut bytes = Vec::new();
        bytes.extend(20u32.to_ne_bytes());
        bytes.extend(NLMSG_DONE.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(4u32.to_ne_bytes());
        bytes.extend([0; 8]);
        assert_eq!(Replies::new(&bytes).next(), Some(Reply::Done { sequence: 4, interrupted }));
    }
}
