//! Tests of the whole codec: by message, by RFC 7606's table, there and back, beside another codec.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod as_path;
mod differential;
mod errors;
mod messages;
mod round_trip;
mod updates;

use crate::*;

/// A session of both families, AS numbers of four octets, internal.
pub fn internal() -> Codec {
    Codec { families: PerFamily { ipv4: true, ipv6: true }, ..Codec::default() }
}

/// The same with an external peer.
pub fn external() -> Codec {
    Codec { external: true, ..internal() }
}

/// A message of this type.
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![0xff; 16];
    out.extend(u16::try_from(body.len() + HEADER_LEN).unwrap().to_be_bytes());
    out.push(kind);
    out.extend(body);
    out
}

/// An attribute with a length of one octet, or two where it must.
pub fn attribute(flags: u8, code: u8, value: &[u8]) -> Vec<u8> {
    let mut out = match u8::try_from(value.len()) {
        Ok(len) => vec![flags, code, len],
        Err(_) => {
            let [high, low] = u16::try_from(value.len()).unwrap().to_be_bytes();
            vec![flags | 0x10, code, high, low]
        }
    };
    out.extend(value);
    out
}

/// An UPDATE of its three fields.
pub fn update(withdrawn: &[u8], attributes: &[u8], nlri: &[u8]) -> Vec<u8> {
    let len = |part: &[u8]| u16::try_from(part.len()).unwrap().to_be_bytes().to_vec();
    message(2, &[&len(withdrawn), withdrawn, &len(attributes), attributes, nlri].concat())
}

/// ORIGIN IGP, AS_PATH 65001, NEXT_HOP 192.0.2.1.
pub fn mandatory() -> Vec<u8> {
    [
        attribute(0x40, 1, &[0]),
        attribute(0x40, 2, &[2, 1, 0, 0, 0xfd, 0xe9]),
        attribute(0x40, 3, &[192, 0, 2, 1]),
    ]
    .concat()
}

/// 10.0.0.0/8 as NLRI.
pub const TEN: &[u8] = &[8, 10];

/// Decodes what must be an UPDATE.
pub fn decode_update<'a>(message: &'a [u8], codec: &Codec) -> Result<UpdateView<'a>, MessageError> {
    decode(message, codec).map(|message| match message {
        Message::Update(view) => view,
        other => panic!("{other:?}"),
    })
}

/// The routes of a part, as text.
pub fn texts(nlri: NlriBytes<'_>) -> Vec<String> {
    nlri.iter()
        .map(|nlri| match nlri.path_id {
            0 => nlri.prefix.to_string(),
            id => format!("{id}@{}", nlri.prefix),
        })
        .collect()
}

/// One recorded message: who sent it, on what session.
pub struct Recorded {
    pub from: String,
    pub codec: Codec,
    pub bytes: Vec<u8>,
}

/// The corpus: messages of BIRD, FRR and GoBGP.
pub fn corpus() -> Vec<Recorded> {
    include_str!("../../corpus/messages.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let [from, session, hex] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
            let add_path = PerFamily { ipv4: session.contains('p'), ipv6: session.contains('p') };
            let codec = Codec {
                four_octet_as: session.starts_with('4'),
                families: PerFamily { ipv4: true, ipv6: true },
                add_path_receive: add_path,
                add_path_send: add_path,
                extended_messages: true,
                extended_next_hop: session.contains('n'),
                external: session.ends_with('e'),
            };
            let bytes = (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap());
            Recorded { from: format!("{from} {session}"), codec, bytes: bytes.collect() }
        })
        .collect()
}
