//! The few BGP messages a load generator says, and the one it must understand (RFC 4271 §4). Own code: what is measured
//! must not judge itself.

use anyhow::{Result, ensure};
use std::net::Ipv4Addr;

/// Marker, length and type.
pub const HEADER: usize = 19;

/// Longest message without RFC 8654, which the generator does not offer.
pub const LONGEST: usize = 4096;

/// Message types.
pub const OPEN: u8 = 1;
/// See [`OPEN`].
pub const UPDATE: u8 = 2;
/// See [`OPEN`].
pub const NOTIFICATION: u8 = 3;
/// See [`OPEN`].
pub const KEEPALIVE: u8 = 4;

/// Hold time offered, in seconds: long enough for a daemon that is busy with its worst scenario.
const HOLD_TIME: u16 = 240;

/// AS number that stands for a 4-octet one (RFC 6793 §9).
const AS_TRANS: u16 = 23456;

fn message(kind: u8, body: &[&[u8]]) -> Vec<u8> {
    let length = HEADER + body.iter().map(|part| part.len()).sum::<usize>();
    debug_assert!(length <= LONGEST);
    let mut bytes = vec![0xff; 16];
    bytes.extend_from_slice(&(length as u16).to_be_bytes());
    bytes.push(kind);
    body.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}

/// OPEN with IPv4 unicast, 4-octet AS numbers and route refresh; no graceful restart, so that a drop withdraws.
pub fn open(asn: u32, router_id: Ipv4Addr) -> Vec<u8> {
    let mut capabilities = vec![1, 4, 0, 1, 0, 1, 2, 0, 65, 4];
    capabilities.extend_from_slice(&asn.to_be_bytes());
    let two_octets = u16::try_from(asn).unwrap_or(AS_TRANS);
    let length = capabilities.len() as u8;
    message(
        OPEN,
        &[
            &[4],
            &two_octets.to_be_bytes(),
            &HOLD_TIME.to_be_bytes(),
            &router_id.octets(),
            &[length + 2, 2, length],
            &capabilities,
        ],
    )
}

/// KEEPALIVE.
pub fn keepalive() -> Vec<u8> {
    message(KEEPALIVE, &[])
}

/// UPDATE that announces prefixes (as NLRI bytes) with these path attributes.
pub fn announce(attributes: &[u8], nlri: &[u8]) -> Vec<u8> {
    message(UPDATE, &[&[0, 0], &(attributes.len() as u16).to_be_bytes(), attributes, nlri])
}

/// UPDATE that withdraws prefixes.
pub fn withdraw(nlri: &[u8]) -> Vec<u8> {
    message(UPDATE, &[&(nlri.len() as u16).to_be_bytes(), nlri, &[0, 0]])
}

/// Path attributes of one route or more.
#[derive(Debug, Clone)]
pub struct Attributes {
    /// AS_SEQUENCE, nearest first; empty for a route of this AS.
    pub as_path: Vec<u32>,
    /// NEXT_HOP.
    pub next_hop: Ipv4Addr,
    /// MULTI_EXIT_DISC.
    pub med: u32,
    /// LOCAL_PREF, for internal peers.
    pub local_pref: Option<u32>,
    /// COMMUNITIES; none, no attribute.
    pub communities: Vec<u32>,
}

impl Attributes {
    /// As they stand in an UPDATE, in the order of their types.
    pub fn bytes(&self) -> Vec<u8> {
        let words = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
        let mut path = Vec::new();
        if !self.as_path.is_empty() {
            path.extend([2, self.as_path.len() as u8]);
            path.extend(words(&self.as_path));
        }
        let mut bytes = vec![0x40, 1, 1, 0];
        let mut add = |flags: u8, kind: u8, value: &[u8]| {
            bytes.extend([flags, kind, value.len() as u8]);
            bytes.extend_from_slice(value);
        };
        add(0x40, 2, &path);
        add(0x40, 3, &self.next_hop.octets());
        add(0x80, 4, &self.med.to_be_bytes());
        if let Some(preference) = self.local_pref {
            add(0x40, 5, &preference.to_be_bytes());
        }
        if !self.communities.is_empty() {
            add(0xc0, 8, &words(&self.communities));
        }
        bytes
    }
}

/// The first whole message: its type and all its bytes; `None` when more must be read.
///
/// # Errors
/// The length is impossible.
pub fn first(bytes: &[u8]) -> Result<Option<(u8, &[u8])>> {
    let Some(header) = bytes.get(..HEADER) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([header[16], header[17]]));
    ensure!((HEADER..=LONGEST).contains(&length), "a message of {length} bytes");
    Ok(bytes.get(..length).map(|message| (header[18], message)))
}

/// Withdrawn routes and NLRI of a whole UPDATE.
///
/// # Errors
/// Its lengths do not fit.
pub fn routes(update: &[u8]) -> Result<(&[u8], &[u8])> {
    let fields = || {
        let body = update.get(HEADER..)?;
        let (length, rest) = body.split_first_chunk::<2>()?;
        let (withdrawn, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (_, nlri) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        Some((withdrawn, nlri))
    };
    fields().ok_or_else(|| anyhow::anyhow!("an UPDATE whose lengths do not fit"))
}

/// What a NOTIFICATION says, for a person.
pub fn notification(message: &[u8]) -> String {
    format!("NOTIFICATION {:?}", message.get(HEADER..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_framed_and_taken_apart_again() {
        let attributes = Attributes {
            as_path: vec![65001, 70000],
            next_hop: Ipv4Addr::new(10, 0, 1, 1),
            med: 3,
            local_pref: Some(9),
            communities: vec![1 << 16 | 2],
        };
        let mut bytes = announce(&attributes.bytes(), &[24, 16, 0, 1]);
        bytes.extend(withdraw(&[24, 16, 0, 2]));
        let (kind, one) = first(&bytes).unwrap().unwrap();
        assert_eq!(kind, UPDATE);
        assert_eq!(routes(one).unwrap(), (&[][..], &[24, 16, 0, 1][..]));
        let (_, two) = first(&bytes[one.len()..]).unwrap().unwrap();
        assert_eq!(routes(two).unwrap(), (&[24, 16, 0, 2][..], &[][..]));
        assert!(first(&bytes[..one.len() - 1]).unwrap().is_none());
        assert!(first(&[0; HEADER]).is_err());
    }

    #[test]
    fn the_open_is_the_one_of_rfc_4271_and_6793() {
        let bytes = open(70000, Ipv4Addr::new(10, 0, 1, 1));
        assert_eq!(bytes[HEADER..HEADER + 3], [4, 0x5b, 0xa0]);
        assert_eq!(usize::from(bytes[HEADER + 9]), bytes.len() - HEADER - 10);
        assert!(bytes.ends_with(&[65, 4, 0, 1, 0x11, 0x70]));
    }

    #[test]
    fn an_update_with_lengths_that_do_not_fit_is_refused() {
        assert!(routes(&message(UPDATE, &[&[0, 9], &[0, 0]])).is_err());
        assert!(routes(&message(UPDATE, &[&[0]])).is_err());
    }
}
