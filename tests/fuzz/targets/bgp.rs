//! What must hold for any octets as a BGP message. Shared by the fuzz target and the mutations on the stable toolchain.

#![allow(clippy::expect_used, clippy::panic)] // a broken expectation is a finding

use bgp_wire::{Codec, Message, PerFamily, UpdateEncoder, UpdateView, decode, frame};

/// The first octet says what was negotiated; the rest is what the peer sent.
pub fn run(data: &[u8]) {
    let Some((flags, bytes)) = data.split_first() else { return };
    let bit = |n: u8| flags & (1 << n) != 0;
    let add_path = PerFamily { ipv4: bit(1), ipv6: bit(1) };
    let codec = Codec {
        four_octet_as: !bit(0),
        families: PerFamily { ipv4: !bit(5), ipv6: !bit(6) },
        add_path_receive: add_path,
        add_path_send: add_path,
        extended_messages: !bit(4),
        extended_next_hop: bit(2),
        external: bit(3),
    };
    hold(bytes, &codec);
}

/// Reads messages until one is refused or the octets end.
pub fn hold(mut bytes: &[u8], codec: &Codec) {
    while let Ok(Some(found)) = frame(bytes, codec.max_len()) {
        let (message, rest) = bytes.split_at(found.len);
        bytes = rest;
        match decode(message, codec) {
            Err(error) => {
                // It can be sent, and says something.
                let mut out = Vec::new();
                error.notification.encode(&mut out);
                assert!(out.len() <= codec.max_len() && !error.to_string().is_empty());
            }
            Ok(Message::Update(view)) => update(&view, codec),
            Ok(Message::Open(open)) => {
                let mut out = Vec::new();
                open.encode(&mut out);
                let Ok(Message::Open(back)) = decode(&out, codec) else {
                    panic!("{open:?} does not come back")
                };
                assert_eq!(back, open);
            }
            Ok(Message::Notification(notification)) => {
                let mut out = Vec::new();
                notification.encode(&mut out);
                assert!(!notification.to_string().is_empty());
                if found.len <= 4096 {
                    assert_eq!(out, message);
                }
            }
            Ok(Message::RouteRefresh(refresh)) => {
                let mut out = Vec::new();
                refresh.encode(&mut out);
                assert!(message.starts_with(&out) || message.len() > out.len());
            }
            Ok(Message::Keepalive) => {}
        }
    }
}

/// Routes and attributes can be read, and come back when they are sent on.
fn update(view: &UpdateView<'_>, codec: &Codec) {
    let mut encoder = UpdateEncoder::new();
    for withdrawn in view.withdrawn() {
        let mut out = Vec::new();
        encoder.withdraw(withdrawn.family(), codec, withdrawn, &mut out);
        let mut routes = withdrawn.iter();
        each(&out, codec, |back| {
            back.withdrawn().flatten().for_each(|route| assert_eq!(Some(route), routes.next()));
        });
        assert_eq!(routes.next(), None);
    }
    for reach in view.reaches() {
        let parsed = view.attributes(&reach);
        // Confederation segments do not survive a two-octet neighbour (RFC 6793 §3).
        let confed = parsed.attributes.as_path.segments().any(|segment| segment.kind.is_confed());
        if parsed.treat_as_withdraw || confed && !codec.four_octet_as {
            continue;
        }
        let mut out = Vec::new();
        let family = reach.nlri.family();
        if encoder.announce(&parsed.attributes, family, codec, reach.nlri, &mut out).is_err() {
            continue;
        }
        let mut routes = reach.nlri.iter();
        each(&out, codec, |back| {
            for reach in back.reaches() {
                reach.nlri.iter().for_each(|route| assert_eq!(Some(route), routes.next()));
                let again = back.attributes(&reach);
                assert_eq!(again.forgiven, []);
                assert_eq!(again.attributes, parsed.attributes);
            }
        });
        assert_eq!(routes.next(), None);
    }
}

/// Each message of what we wrote.
fn each(mut bytes: &[u8], codec: &Codec, mut look: impl FnMut(&UpdateView<'_>)) {
    while !bytes.is_empty() {
        let found = frame(bytes, codec.max_len()).expect("our own header").expect("a whole message");
        let (message, rest) = bytes.split_at(found.len);
        let Ok(Message::Update(view)) = decode(message, codec) else {
            panic!("our own UPDATE: {message:02x?}")
        };
        look(&view);
        bytes = rest;
    }
}
