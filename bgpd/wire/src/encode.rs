//! Writing UPDATEs: as many routes into a message as fit, attributes written once.

use crate::attributes::Attributes;
use crate::codec::Codec;
use crate::family::Family;
use crate::header::{self, HEADER_LEN, MessageType};
use crate::nlri;
use crate::prefix::Nlri;
use crate::table::{self, EXTENDED_LENGTH, MP_REACH_NLRI, MP_UNREACH_NLRI, OPTIONAL};
use std::net::IpAddr;

/// The attributes leave no room for a route in a message of this session (RFC 8654 §4): it must not have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("path attributes of {len} octets leave no room for a route in messages of {max}")]
pub struct TooLong {
    /// Octets of the attributes.
    pub len: usize,
    /// Longest message of the session.
    pub max: usize,
}

/// Writes UPDATEs; keeps its scratch space from one to the next.
#[derive(Debug, Default)]
pub struct UpdateEncoder {
    attributes: Vec<u8>,
    head: Vec<u8>,
}

impl UpdateEncoder {
    /// With nothing in its scratch space.
    pub fn new() -> Self {
        UpdateEncoder::default()
    }

    /// Appends messages that announce `routes` of `family`, all with these attributes; answers how many messages. LOCAL_PREF,
    /// ORIGINATOR_ID and CLUSTER_LIST are left out for an external peer, whatever the set says.
    ///
    /// IPv4 routes with an IPv4 next hop stand at the message's end, all others in MP_REACH_NLRI, which comes first
    /// (RFC 7606 §5.1). An IPv4 next hop of IPv6 routes is written as the mapped address.
    ///
    /// # Errors
    /// When not even one route fits; nothing is appended then.
    pub fn announce(
        &mut self,
        attributes: &Attributes,
        family: Family,
        codec: &Codec,
        routes: impl IntoIterator<Item = Nlri>,
        out: &mut Vec<u8>,
    ) -> Result<usize, TooLong> {
        self.attributes.clear();
        table::encode(attributes, family, codec, &mut self.attributes);
        let form = match (family, attributes.next_hop) {
            (Family::Ipv4Unicast, IpAddr::V4(_)) => Form::Plain,
            _ => Form::Reach(attributes),
        };
        let add_path = *codec.add_path_send.get(family);
        self.head.clear();
        form.head(family, &mut self.head);
        let fixed = HEADER_LEN + 4 + self.head.len() + self.attributes.len();
        let max = codec.max_len();
        if fixed + nlri::MAX_NLRI > max {
            return Err(TooLong { len: self.head.len() + self.attributes.len(), max });
        }
        let room = max - fixed;
        let before = |out: &mut Vec<u8>| {
            let start = header::begin(out, MessageType::Update);
            out.extend_from_slice(&[0, 0, 0, 0]);
            out.extend_from_slice(&self.head);
            if matches!(form, Form::Plain) {
                out.extend_from_slice(&self.attributes);
            }
            start
        };
        let after = |out: &mut Vec<u8>, start: usize| {
            let routes = out.len() - start - HEADER_LEN - 4 - self.head.len();
            if let Form::Reach(_) = form {
                header::patch(out, start + HEADER_LEN + 4 + 2, self.head.len() - 4 + routes);
                out.extend_from_slice(&self.attributes);
                header::patch(out, start + HEADER_LEN + 2, self.head.len() + routes + self.attributes.len());
            } else {
                header::patch(out, start + HEADER_LEN + 2, self.attributes.len());
            }
        };
        Ok(fill(routes, add_path, room, out, before, after))
    }

    /// Appends messages that withdraw `routes` of `family`; answers how many messages.
    pub fn withdraw(
        &mut self,
        family: Family,
        codec: &Codec,
        routes: impl IntoIterator<Item = Nlri>,
        out: &mut Vec<u8>,
    ) -> usize {
        let add_path = *codec.add_path_send.get(family);
        let plain = family == Family::Ipv4Unicast;
        let head: &[u8] = if plain { &[] } else { &mp_unreach(family) };
        let room = codec.max_len() - HEADER_LEN - 4 - head.len();
        let before = |out: &mut Vec<u8>| {
            let start = header::begin(out, MessageType::Update);
            out.extend_from_slice(if plain { &[0, 0] } else { &[0, 0, 0, 0] });
            out.extend_from_slice(head);
            start
        };
        let after = |out: &mut Vec<u8>, start: usize| {
            let len = out.len() - start - HEADER_LEN;
            if plain {
                header::patch(out, start + HEADER_LEN, len - 2);
                out.extend_from_slice(&[0, 0]);
            } else {
                header::patch(out, start + HEADER_LEN + 2, len - 4);
                header::patch(out, start + HEADER_LEN + 4 + 2, len - 8);
            }
        };
        fill(routes, add_path, room, out, before, after)
    }
}

/// Appends the End-of-RIB marker of a family (RFC 4724 §2).
pub fn end_of_rib(family: Family, out: &mut Vec<u8>) {
    header::write(out, MessageType::Update, |out| match family {
        Family::Ipv4Unicast => out.extend_from_slice(&[0; 4]),
        Family::Ipv6Unicast => {
            let [.., high, low, safi] = mp_unreach(family);
            out.extend_from_slice(&[0, 0, 0, 6, OPTIONAL, MP_UNREACH_NLRI, 3, high, low, safi]);
        }
    });
}

/// Appends a KEEPALIVE.
pub fn keepalive(out: &mut Vec<u8>) {
    header::write(out, MessageType::Keepalive, |_| {});
}

/// Where announced routes stand.
#[derive(Clone, Copy)]
enum Form<'a> {
    Plain,
    Reach(&'a Attributes),
}

impl Form<'_> {
    /// What stands in MP_REACH_NLRI before its routes, the length left 0.
    fn head(self, family: Family, out: &mut Vec<u8>) {
        let Form::Reach(attributes) = self else { return };
        let [high, low] = family.afi().to_be_bytes();
        out.extend_from_slice(&[OPTIONAL | EXTENDED_LENGTH, MP_REACH_NLRI, 0, 0, high, low, family.safi()]);
        let global = match attributes.next_hop {
            IpAddr::V6(address) => address,
            IpAddr::V4(address) => address.to_ipv6_mapped(),
        };
        match attributes.rare().link_local {
            Some(link_local) => {
                out.push(32);
                out.extend_from_slice(&global.octets());
                out.extend_from_slice(&link_local.octets());
            }
            None => {
                out.push(16);
                out.extend_from_slice(&global.octets());
            }
        }
        out.push(0);
    }
}

/// What stands in MP_UNREACH_NLRI before its routes, the length left 0.
fn mp_unreach(family: Family) -> [u8; 7] {
    let [high, low] = family.afi().to_be_bytes();
    [OPTIONAL | EXTENDED_LENGTH, MP_UNREACH_NLRI, 0, 0, high, low, family.safi()]
}

/// Writes routes into messages of at most `room` octets of routes; `before` begins a message, `after` ends it.
fn fill(
    routes: impl IntoIterator<Item = Nlri>,
    add_path: bool,
    room: usize,
    out: &mut Vec<u8>,
    before: impl Fn(&mut Vec<u8>) -> usize,
    after: impl Fn(&mut Vec<u8>, usize),
) -> usize {
    let mut messages = 0;
    let mut open: Option<(usize, usize)> = None;
    for route in routes {
        let len = nlri::encoded_len(&route, add_path);
        let fits = |(_, end): &(usize, usize)| out.len() + len <= *end;
        if !open.as_ref().is_some_and(fits) {
            if let Some((start, _)) = open {
                close(out, start, &after);
            }
            let start = before(out);
            open = Some((start, out.len() + room));
            messages += 1;
        }
        nlri::encode(&route, add_path, out);
    }
    if let Some((start, _)) = open {
        close(out, start, &after);
    }
    messages
}

fn close(out: &mut Vec<u8>, start: usize, after: &impl Fn(&mut Vec<u8>, usize)) {
    after(out, start);
    header::finish(out, start);
}
