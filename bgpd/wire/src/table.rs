//! One table of all path attributes: number, name, flags, what a malformed one does to its message (RFC 7606 §7), how its
//! value is read and written. Decoding, encoding, names and error handling follow from these rows.

use crate::as_path::AsPath;
use crate::attributes::{Aggregator, Attributes, Origin, RareAttributes, UnknownAttribute};
use crate::codec::Codec;
use crate::family::Family;
use crate::open::AS_TRANS;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};

/// Attribute flag: not well-known.
pub const OPTIONAL: u8 = 0x80;
/// Attribute flag: passed on by speakers that do not know it.
pub const TRANSITIVE: u8 = 0x40;
/// Attribute flag: was passed on by a speaker that does not know it.
pub const PARTIAL: u8 = 0x20;
/// Attribute flag: the length has two octets.
pub const EXTENDED_LENGTH: u8 = 0x10;

pub(crate) const NEXT_HOP: u8 = 3;
pub(crate) const MP_REACH_NLRI: u8 = 14;
pub(crate) const MP_UNREACH_NLRI: u8 = 15;

/// What an error in an UPDATE does (RFC 7606 §2), from weak to strong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// The attribute is left out, the routes are used.
    DiscardAttribute,
    /// The routes of the message are taken as withdrawn.
    TreatAsWithdraw,
    /// The session ends.
    Reset,
}

/// From whom an attribute is taken at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    Anyone,
    /// Ignored when an external peer sends it.
    Internal,
    /// Ignored when a peer with four-octet AS numbers sends it (RFC 6793 §4.1).
    TwoOctetAs,
}

/// What has been read of a message's attributes so far.
pub(crate) struct Reading {
    pub attributes: Attributes,
    pub rare: RareAttributes,
    pub as4_path: Option<AsPath>,
    pub as4_aggregator: Option<Aggregator>,
}

type Decode = fn(&mut Reading, &[u8], &Codec) -> Result<(), &'static str>;
/// Appends the value and says whether there is one.
type Encode = fn(&Attributes, Family, &Codec, &mut Vec<u8>) -> bool;

/// One attribute.
pub(crate) struct Row {
    pub code: u8,
    pub name: &'static str,
    /// The values that OPTIONAL and TRANSITIVE must have.
    pub flags: u8,
    pub malformed: Action,
    pub from: From,
    pub decode: Decode,
    pub encode: Encode,
}

use Action::{DiscardAttribute as Discard, Reset, TreatAsWithdraw as Withdraw};

/// Well-known.
const W: u8 = TRANSITIVE;
/// Optional transitive.
const OT: u8 = OPTIONAL | TRANSITIVE;
/// Optional non-transitive.
const ON: u8 = OPTIONAL;

/// In order of their codes, which is the order they are written in.
#[rustfmt::skip]
pub(crate) static ROWS: [Row; 16] = [
    Row { code: 1,  name: "ORIGIN",             flags: W,  malformed: Withdraw, from: From::Anyone,     decode: origin,              encode: put_origin },
    Row { code: 2,  name: "AS_PATH",            flags: W,  malformed: Withdraw, from: From::Anyone,     decode: as_path,             encode: put_as_path },
    Row { code: 3,  name: "NEXT_HOP",           flags: W,  malformed: Withdraw, from: From::Anyone,     decode: next_hop,            encode: put_next_hop },
    Row { code: 4,  name: "MULTI_EXIT_DISC",    flags: ON, malformed: Withdraw, from: From::Anyone,     decode: med,                 encode: put_med },
    Row { code: 5,  name: "LOCAL_PREF",         flags: W,  malformed: Withdraw, from: From::Internal,   decode: local_pref,          encode: put_local_pref },
    Row { code: 6,  name: "ATOMIC_AGGREGATE",   flags: W,  malformed: Discard,  from: From::Anyone,     decode: atomic_aggregate,    encode: put_atomic_aggregate },
    Row { code: 7,  name: "AGGREGATOR",         flags: OT, malformed: Discard,  from: From::Anyone,     decode: aggregator,          encode: put_aggregator },
    Row { code: 8,  name: "COMMUNITIES",        flags: OT, malformed: Withdraw, from: From::Anyone,     decode: communities,         encode: put_communities },
    Row { code: 9,  name: "ORIGINATOR_ID",      flags: ON, malformed: Withdraw, from: From::Internal,   decode: originator_id,       encode: put_originator_id },
    Row { code: 10, name: "CLUSTER_LIST",       flags: ON, malformed: Withdraw, from: From::Internal,   decode: cluster_list,        encode: put_cluster_list },
    Row { code: 14, name: "MP_REACH_NLRI",      flags: ON, malformed: Reset,    from: From::Anyone,     decode: of_the_message,      encode: by_the_message },
    Row { code: 15, name: "MP_UNREACH_NLRI",    flags: ON, malformed: Reset,    from: From::Anyone,     decode: of_the_message,      encode: by_the_message },
    Row { code: 16, name: "EXTENDED_COMMUNITIES", flags: OT, malformed: Withdraw, from: From::Anyone,   decode: extended_communities, encode: put_extended_communities },
    Row { code: 17, name: "AS4_PATH",           flags: OT, malformed: Discard,  from: From::TwoOctetAs, decode: as4_path,            encode: put_as4_path },
    Row { code: 18, name: "AS4_AGGREGATOR",     flags: OT, malformed: Discard,  from: From::TwoOctetAs, decode: as4_aggregator,      encode: put_as4_aggregator },
    Row { code: 32, name: "LARGE_COMMUNITY",    flags: OT, malformed: Withdraw, from: From::Anyone,     decode: large_communities,   encode: put_large_communities },
];

/// The row of a code, if it is an attribute we know.
#[inline]
pub(crate) fn row(code: u8) -> Option<&'static Row> {
    ROWS.get(usize::from(*INDEX.get(usize::from(code))?))
}

/// Code → place in [`ROWS`]; one past its end for the unknown ones.
static INDEX: [u8; 256] = index();

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn index() -> [u8; 256] {
    let codes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17, 18, 32];
    let (mut index, mut i) = ([codes.len() as u8; 256], 0);
    while i < codes.len() {
        index[codes[i]] = i as u8;
        i += 1;
    }
    index
}

/// The name of an attribute (IANA), for people.
pub fn attribute_name(code: u8) -> Option<&'static str> {
    row(code).map(|row| row.name)
}

/// The bit of [`RareAttributes::partial`] for the known attributes that may be partial.
pub(crate) fn partial_bit(code: u8) -> u8 {
    match code {
        7 => 1,
        8 => 2,
        16 => 4,
        32 => 8,
        _ => 0,
    }
}

fn number(value: &[u8]) -> Result<u32, &'static str> {
    value.try_into().map(u32::from_be_bytes).map_err(|_| "the length is not 4")
}

/// A list that must not be empty.
fn list<'a, const N: usize>(value: &'a [u8], wrong: &'static str) -> Result<&'a [[u8; N]], &'static str> {
    match value.as_chunks::<N>() {
        ([], _) => Err(wrong),
        (entries, []) => Ok(entries),
        _ => Err(wrong),
    }
}

fn origin(reading: &mut Reading, value: &[u8], _: &Codec) -> Result<(), &'static str> {
    let &[value] = value else { return Err("the length is not 1") };
    reading.attributes.origin = Origin::from_number(value).ok_or("not IGP, EGP or INCOMPLETE")?;
    Ok(())
}

fn put_origin(attributes: &Attributes, _: Family, _: &Codec, out: &mut Vec<u8>) -> bool {
    out.push(attributes.origin.number());
    true
}

fn as_path(reading: &mut Reading, value: &[u8], codec: &Codec) -> Result<(), &'static str> {
    let path = AsPath::decode(value, codec.four_octet_as)?;
    if codec.external && path.segments().any(|segment| segment.kind.is_confed()) {
        return Err("a confederation segment from outside of any confederation");
    }
    reading.attributes.as_path = path;
    Ok(())
}

fn put_as_path(attributes: &Attributes, _: Family, codec: &Codec, out: &mut Vec<u8>) -> bool {
    attributes.as_path.encode(codec.four_octet_as, out);
    true
}

fn next_hop(reading: &mut Reading, value: &[u8], _: &Codec) -> Result<(), &'static str> {
    let octets: [u8; 4] = value.try_into().map_err(|_| "the length is not 4")?;
    let address = IpAddr::from(octets);
    reading.attributes.next_hop = address;
    if is_host(address) { Ok(()) } else { Err("not the address of a host") }
}

/// Whether a packet can be sent to it (RFC 4271 §6.3).
pub(crate) fn is_host(address: IpAddr) -> bool {
    !address.is_unspecified() && !address.is_multicast() && address != IpAddr::V4(Ipv4Addr::BROADCAST)
}

fn put_next_hop(attributes: &Attributes, family: Family, _: &Codec, out: &mut Vec<u8>) -> bool {
    match (family, attributes.next_hop) {
        (Family::Ipv4Unicast, IpAddr::V4(address)) => out.extend_from_slice(&address.octets()),
        _ => return false,
    }
    true
}

fn med(reading: &mut Reading, value: &[u8], _: &Codec) -> Result<(), &'static str> {
    reading.attributes.med = Some(number(value)?);
    Ok(())
}

fn put_med(attributes: &Attributes, _: Family, _: &Codec, out: &mut Vec<u8>) -> bool {
    put_number(attributes.med, out)
}

fn local_pref(reading: &mut Reading, value: &[u8], _: &Codec) -> Result<(), &'static str> {
    reading.attributes.local_pref = Some(number(value)?);
    Ok(())
}

fn put_local_pref(attributes: &Attributes, _: Family, codec: &Codec, out: &mut Vec<u8>) -> bool {
    put_number(attributes.local_pref.filter(|_| !codec.external), out)
}

fn atomic_aggregate(reading: &mut Reading, value: &[u8], _: &Codec) -> Result<(), &'static str> {
    reading.attributes.atomic_aggregate = value.is_empty();
    if value.is_empty() { Ok(()) } else { Err("the length is not 0") }
}

fn put_atomic_aggregate(attributes: &Attributes, _: Family, _: &Codec, _: &mut Vec<u8>) -> bool {
    attributes.atomic_aggregate
}

fn aggregator(reading: &mut Reading, value: &[u8], codec: &Codec) -> Result<(), &'static str> {
    let aggregator = match *value {
        [a, b, i, j, k, l] if !codec.four_octet_as => {
            Aggregator { asn: u16::from_be_bytes([a, b]).into(), router_id: Ipv4Addr::new(i, j, k, l) }
        }
        _ if codec.four_octet_as => wide_aggregator(value)?,
        _ => return Err("the length is not 6"),
    };
    if aggregator.asn == 0 {
        return Err("AS number 0");
    }
    reading.rare.aggregator = Some(aggregator);
    Ok(())
}

fn wide_aggregator(value: &[u8]) -> Result<Aggregator, &'static str> {
    let [a, b, c, d, i, j, k, l] = *value else { return Err("the length is not 8") };
    let asn = u32::from_be_bytes([a, b, c, d]);
    Ok(Aggregator { asn, router_id: Ipv4Addr::new(i, j, k, l) })
}

fn put_aggregator(attributes: &Attributes, _: Family, codec: &Codec, out: &mut Vec<u8>) -> bool {
    let Some(Aggregator { asn, router_id }) = attributes.rare().aggregator else { return false };
    if codec.four_octet_as {
        out.extend_from_slice(&asn.to_be_bytes());
    } else {
        out.extend_from_slice(&u16::try_from(asn).unwrap_or(AS_TRANS).to_be_bytes());
    }
    out.extend_from_slice(&router_id.octets());
    true
}

fn communities(reading: &mut Reading, value: &[u8], _: &Codec) -> Result<(), &'static str> {
    let entries = list::<4>(value, "the length is not a multiple of 4 above 0")?;
    reading.attributes.communities = entries.iter().map(|entry| u32::from_be_bytes(*entry)).collect();
    Ok(())
}

fn put_communities(attributes: &Attributes, _: Family, _: &Codec, out: &mut Vec<u8>) -> bool {
    out.extend(attributes.communities.iter().flat_map(|community| community.to_be_bytes()));
    !attributes.communities.is_empty()
}

fn originator_id(reading: &mut Reading, value: &[u8], _: &Codec) -> Result<(), &'static str> {
    reading.rare.originator_id = Some(number(value)?.into());
    Ok(())
}

fn put_originator_id(attributes: &Attributes, _: Family, codec: &Codec, out: &mut Vec<u8>) -> bool {
    put_number(attributes.originator_id().filter(|_| !codec.external).map(u32::from), out)
}

fn cluster_list(reading: &mut Reading, value: &[u8], _: &Codec) -> Result<(), &'static str> {
    let entries = list::<4>(value, "the length is not a multiple of 4 above 0")?;
    reading.rare.cluster_list = entries.iter().map(|entry| Ipv4Addr::from(*entry)).collect();
    Ok(())
}

fn put_cluster_list(attributes: &Attributes, _: Family, codec: &Codec, out: &mut Vec<u8>) -> bool {
    if codec.external {
        return false;
    }
    out.extend(attributes.cluster_list().iter().flat_map(|cluster| cluster.octets()));
    !attributes.cluster_list().is_empty()
}

fn extended_communities(reading: &mut Reading, value: &[u8], _: &Codec) -> Result<(), &'static str> {
    let entries = list::<8>(value, "the length is not a multiple of 8 above 0")?;
    reading.rare.extended_communities = entries.iter().map(|entry| u64::from_be_bytes(*entry)).collect();
    Ok(())
}

fn put_extended_communities(attributes: &Attributes, _: Family, _: &Codec, out: &mut Vec<u8>) -> bool {
    out.extend(attributes.extended_communities().iter().flat_map(|community| community.to_be_bytes()));
    !attributes.extended_communities().is_empty()
}

fn as4_path(reading: &mut Reading, value: &[u8], _: &Codec) -> Result<(), &'static str> {
    reading.as4_path = Some(AsPath::decode(value, true)?);
    Ok(())
}

fn put_as4_path(attributes: &Attributes, _: Family, codec: &Codec, out: &mut Vec<u8>) -> bool {
    let needed = !codec.four_octet_as && attributes.as_path.is_wide();
    if needed {
        attributes.as_path.without_confed().encode(true, out);
    }
    needed
}

fn as4_aggregator(reading: &mut Reading, value: &[u8], _: &Codec) -> Result<(), &'static str> {
    let aggregator = wide_aggregator(value)?;
    if aggregator.asn == 0 {
        return Err("AS number 0");
    }
    reading.as4_aggregator = Some(aggregator);
    Ok(())
}

fn put_as4_aggregator(attributes: &Attributes, _: Family, codec: &Codec, out: &mut Vec<u8>) -> bool {
    match attributes.rare().aggregator {
        Some(Aggregator { asn, router_id }) if !codec.four_octet_as && asn > u32::from(u16::MAX) => {
            out.extend_from_slice(&asn.to_be_bytes());
            out.extend_from_slice(&router_id.octets());
            true
        }
        _ => false,
    }
}

fn large_communities(reading: &mut Reading, value: &[u8], _: &Codec) -> Result<(), &'static str> {
    let entries = list::<12>(value, "the length is not a multiple of 12 above 0")?;
    let community = |[a, b, c, d, e, f, g, h, i, j, k, l]: &[u8; 12]| {
        [[*a, *b, *c, *d], [*e, *f, *g, *h], [*i, *j, *k, *l]].map(u32::from_be_bytes)
    };
    // RFC 8092 §3: duplicates are silently removed. A message of 64 KiB holds thousands, so no search for each.
    let mut seen = HashSet::with_capacity(entries.len());
    reading.rare.large_communities =
        entries.iter().map(community).filter(|entry| seen.insert(*entry)).collect();
    Ok(())
}

fn put_large_communities(attributes: &Attributes, _: Family, _: &Codec, out: &mut Vec<u8>) -> bool {
    out.extend(attributes.large_communities().iter().flatten().flat_map(|part| part.to_be_bytes()));
    !attributes.large_communities().is_empty()
}

/// MP_REACH_NLRI and MP_UNREACH_NLRI are read with the message, before the others.
fn of_the_message(_: &mut Reading, _: &[u8], _: &Codec) -> Result<(), &'static str> {
    Ok(())
}

/// MP_REACH_NLRI and MP_UNREACH_NLRI are written with the message, before the others.
fn by_the_message(_: &Attributes, _: Family, _: &Codec, _: &mut Vec<u8>) -> bool {
    false
}

fn put_number(value: Option<u32>, out: &mut Vec<u8>) -> bool {
    out.extend(value.into_iter().flat_map(u32::to_be_bytes));
    value.is_some()
}

/// Appends flags, code, length and value for every attribute there is, in order of their codes.
pub(crate) fn encode(attributes: &Attributes, family: Family, codec: &Codec, out: &mut Vec<u8>) {
    let rare = attributes.rare();
    for row in &ROWS {
        let partial = if rare.partial & partial_bit(row.code) == 0 { 0 } else { PARTIAL };
        attribute(out, row.flags | partial, row.code, |out| (row.encode)(attributes, family, codec, out));
    }
    for UnknownAttribute { code, flags, value } in &rare.unknown {
        attribute(out, *flags, *code, |out| {
            out.extend_from_slice(value);
            true
        });
    }
}

/// Appends one attribute, if `value` writes one.
fn attribute(out: &mut Vec<u8>, flags: u8, code: u8, value: impl FnOnce(&mut Vec<u8>) -> bool) {
    let start = out.len();
    out.extend_from_slice(&[flags, code, 0]);
    if !value(out) {
        out.truncate(start);
        return;
    }
    let len = out.len() - start - 3;
    match u8::try_from(len) {
        Ok(len) => {
            if let Some(field) = out.get_mut(start + 2) {
                *field = len;
            }
        }
        Err(_) => {
            out.insert(start + 2, 0);
            crate::header::patch(out, start + 2, len);
            if let Some(field) = out.get_mut(start) {
                *field |= EXTENDED_LENGTH;
            }
        }
    }
}
