//! A packet as bytes (RFC 791, 8200, 9293, 768, 9260, 792, 4443, 2784): the first of its flow.

use crate::policy::packets::Packet;
use std::net::IpAddr;

/// What marks a packet as ours, before its number.
const MARK: [u8; 8] = *b"ocicat\xca\x70";

/// The whole packet, IP header first.
pub fn bytes(packet: &Packet, number: u32) -> Vec<u8> {
    let payload: Vec<u8> = MARK.into_iter().chain(number.to_be_bytes()).collect();
    let mut transport = match packet.protocol {
        6 => tcp(packet, number, &payload),
        17 => udp(packet, &payload),
        132 => sctp(packet, number, &payload),
        1 | 58 if packet.icmp.is_some() => icmp(packet, number, &payload),
        // GRE of version 0 without options, or nothing but the payload
        47 => [&[0, 0, 8, 0][..], &payload].concat(),
        _ => payload,
    };
    let place = match packet.protocol {
        6 => Some(16),
        17 => Some(6),
        1 | 58 => Some(2),
        _ => None,
    };
    if let Some(place) = place {
        let pseudo = packet.protocol != 1;
        let sum = checksum(packet, pseudo, &transport);
        if let Some(field) = transport.get_mut(place..place + 2) {
            field.copy_from_slice(&sum.to_be_bytes());
        }
    }
    let mut all = header(packet, transport.len());
    all.append(&mut transport);
    all
}

/// The number in what a packet carries that was heard, its IP header taken off; `None` where it is not one of ours, or only
/// quoted in an error.
pub fn number(protocol: u8, heard: &[u8]) -> Option<u32> {
    // errors quote the IP header behind eight bytes, where ours say something else; redirects of IPv6 further behind
    let is_redirect = protocol == 58 && heard.first() == Some(&137);
    let quotes = matches!(protocol, 1 | 58) && heard.get(8).is_some_and(|byte| matches!(byte >> 4, 4 | 6));
    let place = heard.windows(MARK.len()).position(|window| window == MARK)? + MARK.len();
    heard.get(place..place + 4).filter(|_| !quotes && !is_redirect)?.try_into().ok().map(u32::from_be_bytes)
}

fn header(packet: &Packet, length: usize) -> Vec<u8> {
    let mut header = Vec::new();
    match (packet.source, packet.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            header.extend([0x45, 0]);
            header.extend((length as u16 + 20).to_be_bytes());
            // identification and checksum are the kernel's; do not fragment; 64 hops
            header.extend([0, 0, 0x40, 0, 64, packet.protocol, 0, 0]);
            header.extend(source.octets());
            header.extend(destination.octets());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            header.extend([0x60, 0, 0, 0]);
            header.extend((length as u16).to_be_bytes());
            header.extend([packet.protocol, 64]);
            header.extend(source.octets());
            header.extend(destination.octets());
        }
        _ => {}
    }
    header
}

fn ports(packet: &Packet) -> Vec<u8> {
    let (source, destination) = packet.ports.unwrap_or_default();
    [source.to_be_bytes(), destination.to_be_bytes()].concat()
}

/// A SYN.
fn tcp(packet: &Packet, number: u32, payload: &[u8]) -> Vec<u8> {
    let mut segment = ports(packet);
    segment.extend(number.to_be_bytes());
    segment.extend([0, 0, 0, 0, 5 << 4, 2, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(payload);
    segment
}

fn udp(packet: &Packet, payload: &[u8]) -> Vec<u8> {
    let mut datagram = ports(packet);
    datagram.extend((payload.len() as u16 + 8).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    datagram
}

/// An INIT chunk; the payload is a parameter that every receiver skips.
fn sctp(packet: &Packet, number: u32, payload: &[u8]) -> Vec<u8> {
    let mut init = ports(packet);
    init.extend([0; 8]);
    init.extend([1, 0]);
    init.extend((20 + 4 + payload.len() as u16).to_be_bytes());
    init.extend((number | 1).to_be_bytes());
    init.extend([0, 0, 0xff, 0xff, 0, 1, 0, 1]);
    init.extend(number.to_be_bytes());
    init.extend([0xc0, 0x0a]);
    init.extend((4 + payload.len() as u16).to_be_bytes());
    init.extend(payload);
    let sum = crc32c(&init);
    if let Some(field) = init.get_mut(8..12) {
        field.copy_from_slice(&sum.to_le_bytes());
    }
    init
}

fn icmp(packet: &Packet, number: u32, payload: &[u8]) -> Vec<u8> {
    let (kind, code) = packet.icmp.unwrap_or_default();
    let mut message = vec![kind, code, 0, 0];
    // identifier, which tells flows apart, and sequence number
    message.extend(number.rotate_left(16).to_be_bytes());
    // a node information query (RFC 4620) has a nonce here, a timestamp its times
    message.extend([0; 12]);
    message.extend(payload);
    message
}

/// The Internet checksum (RFC 1071), over the pseudo-header where the protocol has one.
fn checksum(packet: &Packet, pseudo: bool, transport: &[u8]) -> u16 {
    let mut all = Vec::new();
    if pseudo {
        match (packet.source, packet.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                all.extend(source.octets());
                all.extend(destination.octets());
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                all.extend(source.octets());
                all.extend(destination.octets());
            }
            _ => {}
        }
        all.extend([0, packet.protocol]);
        all.extend((transport.len() as u16).to_be_bytes());
    }
    all.extend(transport);
    let mut sum: u32 = all
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    match !(sum as u16) {
        // of UDP, no checksum at all would be zero
        0 => 0xffff,
        sum => sum,
    }
}

/// CRC-32C (RFC 9260 appendix A).
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_the_published_ones() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        // the example of RFC 1071 §3: the sum is ddf2
        let packet = Packet {
            source: IpAddr::from([0, 0, 0, 0]),
            destination: IpAddr::from([0, 0, 0, 0]),
            protocol: 1,
            ports: None,
            icmp: None,
        };
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(checksum(&packet, false, &bytes), !0xddf2);
    }

    #[test]
    fn the_number_comes_back() {
        for (protocol, ports, icmp) in [
            (6, Some((1, 2)), None),
            (17, Some((1, 2)), None),
            (132, Some((1, 2)), None),
            (1, None, Some((8, 0))),
            (47, None, None),
        ] {
            let packet = Packet {
                source: IpAddr::from([10, 0, 0, 1]),
                destination: IpAddr::from([10, 0, 0, 2]),
                protocol,
                ports,
                icmp,
            };
            let bytes = bytes(&packet, 77);
            assert_eq!(number(protocol, &bytes[20..]), Some(77), "{protocol}");
            // type, code, checksum, unused, and the packet
            let error = [&[3, 13, 0, 0, 0, 0, 0, 0][..], &bytes].concat();
            assert_eq!(number(1, &error), None, "{protocol}");
        }
    }
}
