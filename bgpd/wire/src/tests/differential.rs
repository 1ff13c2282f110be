//! The same messages through another codec: same routes, same attributes, same treatment of errors. Where the two may
//! differ is written down in [`Difference`], with the reason.

use super::*;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng};
use rustbgpd_wire as other;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Why the two need not agree about a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    /// It follows RFC 9774 and takes routes with an AS_SET for withdrawn; we keep them as BIRD, FRR and GoBGP do.
    AsSet,
    /// It knows attributes and families that we pass on or over: it can find errors in them.
    Foreign,
    /// It has no confederation segments.
    Confederation,
    /// RFC 7606 §5.2 ends the session, which it leaves to its caller.
    NoRoutes,
    /// It looks at NEXT_HOP beside MP_REACH_NLRI, misses it only with external peers, refuses loopback addresses, or takes an
    /// IPv6 next hop that was not agreed on.
    NextHop,
    /// It minds the partial bit, which RFC 7606 §3 c does not name; ends the session for wrong flags of an MP attribute, whose
    /// routes can be read all the same; minds flags of what is discarded because it comes from an external peer.
    Flags,
    /// It also judges the second of two AS_PATHs; RFC 7606 §3 g has it discarded.
    Twice,
    /// It restores AS4_PATH elsewhere, and reports what it discards there.
    As4,
}

/// What a codec said of a message: routes withdrawn, announced, the treatment, the attributes where they count.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Reset,
    Withdraw { withdrawn: Vec<Nlri>, announced: Vec<Nlri> },
    Routes { withdrawn: Vec<Nlri>, announced: Vec<Nlri>, attributes: Option<Box<Attributes>> },
}

fn ours(bytes: &[u8], codec: &Codec) -> Said {
    let Ok(view) = decode_update(bytes, codec) else { return Said::Reset };
    let withdrawn = view.withdrawn().flatten().collect();
    let announced = view.reaches().flat_map(|reach| reach.nlri).collect();
    let parsed: Vec<_> = view.reaches().map(|reach| view.attributes(&reach)).collect();
    if parsed.iter().any(|parsed| parsed.treat_as_withdraw) {
        return Said::Withdraw { withdrawn, announced };
    }
    let attributes = parsed.into_iter().next().map(|parsed| {
        let mut attributes = parsed.attributes;
        attributes.edit_rare(|rare| rare.partial = 0);
        Box::new(attributes)
    });
    Said::Routes { withdrawn, announced, attributes }
}

fn route4(entry: &other::Ipv4NlriEntry) -> Nlri {
    let prefix = Prefix::new(entry.prefix.addr.into(), entry.prefix.len).unwrap();
    Nlri { path_id: entry.path_id, prefix }
}

fn route(entry: &other::NlriEntry) -> Nlri {
    let prefix = match entry.prefix {
        other::Prefix::V4(prefix) => Prefix::new(prefix.addr.into(), prefix.len),
        other::Prefix::V6(prefix) => Prefix::new(prefix.addr.into(), prefix.len),
    };
    Nlri { path_id: entry.path_id, prefix: prefix.unwrap() }
}

fn theirs(bytes: &[u8], codec: &Codec) -> Said {
    let body = &bytes[HEADER_LEN..];
    let Ok(message) = other::UpdateMessage::decode(&mut &body[..], body.len()) else { return Said::Reset };
    let mut families = Vec::new();
    if codec.add_path_receive.ipv4 {
        families.push((other::Afi::Ipv4, other::Safi::Unicast));
    }
    if codec.add_path_receive.ipv6 {
        families.push((other::Afi::Ipv6, other::Safi::Unicast));
    }
    let add_path = codec.add_path_receive.ipv4;
    let Ok(parsed) = message.parse_revised(codec.four_octet_as, !codec.external, add_path, &families) else {
        return Said::Reset;
    };
    let update = &parsed.update;
    let mut withdrawn: Vec<Nlri> = update.withdrawn.iter().map(route4).collect();
    let mut announced: Vec<Nlri> = update.announced.iter().map(route4).collect();
    let (mut next_hop, mut link_local) = (None, None);
    for attribute in &update.attributes {
        match attribute {
            other::PathAttribute::MpReachNlri(reach) => {
                if announced.is_empty() {
                    (next_hop, link_local) = (Some(reach.next_hop), reach.link_local_next_hop);
                }
                announced.extend(reach.announced.iter().map(route));
            }
            other::PathAttribute::MpUnreachNlri(unreach) => {
                withdrawn.extend(unreach.withdrawn.iter().map(route))
            }
            other::PathAttribute::NextHop(address) if !update.announced.is_empty() => {
                next_hop = Some((*address).into())
            }
            _ => {}
        }
    }
    let mut withdraw =
        parsed.malformed.iter().any(|error| error.disposition == other::ErrorDisposition::TreatAsWithdraw);
    // Its mandatory attributes include LOCAL_PREF of an internal peer; Calico's BIRD has a default for it.
    let mut attributes = update.attributes.clone();
    if !codec.external && !attributes.iter().any(|attribute| attribute.type_code() == 5) {
        attributes.push(other::PathAttribute::LocalPref(100));
    }
    let valid = other::validate::validate_update_attributes(
        &attributes,
        !announced.is_empty(),
        !update.announced.is_empty(),
        codec.external,
    );
    if let Err(error) = valid {
        match error.disposition {
            other::ErrorDisposition::SessionReset => return Said::Reset,
            other::ErrorDisposition::TreatAsWithdraw => withdraw = true,
            other::ErrorDisposition::AttributeDiscard => {}
        }
    }
    if withdraw {
        return if announced.is_empty() {
            Said::Routes { withdrawn, announced, attributes: None }
        } else {
            Said::Withdraw { withdrawn, announced }
        };
    }
    let attributes =
        (!announced.is_empty()).then(|| Box::new(translated(&update.attributes, next_hop, link_local)));
    Said::Routes { withdrawn, announced, attributes }
}

/// Its attributes in our form.
fn translated(
    theirs: &[other::PathAttribute],
    next_hop: Option<IpAddr>,
    link_local: Option<std::net::Ipv6Addr>,
) -> Attributes {
    use other::PathAttribute as A;
    let next_hop = next_hop.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
    let mut ours = Attributes::new(Origin::Igp, AsPath::empty(), next_hop);
    let mut rare = RareAttributes { link_local, ..RareAttributes::default() };
    for attribute in theirs {
        match attribute {
            A::Origin(origin) => ours.origin = Origin::from_number(*origin as u8).unwrap(),
            A::AsPath(path) => {
                ours.as_path = AsPath::from_segments(path.segments.iter().map(|segment| match segment {
                    other::AsPathSegment::AsSet(numbers) => (SegmentKind::Set, numbers.as_slice()),
                    other::AsPathSegment::AsSequence(numbers) => (SegmentKind::Sequence, numbers.as_slice()),
                }));
            }
            A::Aggregator(aggregator) => {
                rare.aggregator = Some(Aggregator { asn: aggregator.asn, router_id: aggregator.router_id });
            }
            A::AtomicAggregate => ours.atomic_aggregate = true,
            A::LocalPref(value) => ours.local_pref = Some(*value),
            A::Med(value) => ours.med = Some(*value),
            A::Communities(values) | A::CommunitiesPartial(values) => {
                ours.communities = values.as_slice().into()
            }
            A::ExtendedCommunities(values) | A::ExtendedCommunitiesPartial(values) => {
                rare.extended_communities = values.iter().map(|value| value.as_u64()).collect();
            }
            A::LargeCommunities(values) | A::LargeCommunitiesPartial(values) => {
                let large = |c: &other::LargeCommunity| [c.global_admin, c.local_data1, c.local_data2];
                rare.large_communities = values.iter().map(large).collect();
            }
            A::OriginatorId(id) => rare.originator_id = Some(*id),
            A::ClusterList(list) => rare.cluster_list = list.as_slice().into(),
            A::Unknown(raw) if raw.flags & 0xc0 == 0xc0 => {
                let mut all = std::mem::take(&mut rare.unknown).into_vec();
                let flags = raw.flags & !0x10 | 0x20;
                all.push(UnknownAttribute { code: raw.type_code, flags, value: raw.data.to_vec().into() });
                rare.unknown = all.into();
            }
            _ => {}
        }
    }
    ours.edit_rare(|into| *into = rare);
    ours
}

/// Whether the partial bit stands where RFC 4271 §4.3 has no use for it, the flags of MP attributes are wrong, or those of
/// an attribute that is discarded anyway.
fn has_odd_flags(bytes: &[u8], codec: &Codec) -> bool {
    field(bytes).iter().any(|(flags, code, _)| {
        let partial = flags & 0xe0 != 0xe0 && flags & 0x20 != 0;
        partial
            || match code {
                14 | 15 => flags & 0xe0 != 0x80,
                5 => codec.external && flags & 0xe0 != 0x40,
                9 | 10 => codec.external && flags & 0xe0 != 0x80,
                _ => false,
            }
    })
}

/// Flags, codes and values of a field's attributes, as far as they can be read.
fn field(bytes: &[u8]) -> Vec<(u8, u8, Vec<u8>)> {
    let body = &bytes[HEADER_LEN..];
    let number = |at: usize| body.get(at..at + 2).map(|n| usize::from(u16::from_be_bytes([n[0], n[1]])));
    let Some(withdrawn) = number(0) else { return Vec::new() };
    let Some(len) = number(2 + withdrawn) else { return Vec::new() };
    let mut rest = body.get(4 + withdrawn..).unwrap_or_default();
    rest = rest.get(..len).unwrap_or(rest);
    let mut all = Vec::new();
    while let [flags, code, ..] = rest {
        let (head, len) = match rest {
            [_, _, high, low, ..] if flags & 0x10 != 0 => (4, usize::from(u16::from_be_bytes([*high, *low]))),
            [_, _, len, ..] => (3, usize::from(*len)),
            _ => break,
        };
        let value = rest.get(head..).unwrap_or_default();
        all.push((*flags, *code, value.get(..len).unwrap_or(value).to_vec()));
        rest = value.get(len..).unwrap_or_default();
    }
    all
}

/// Whether the message holds something the two are known to treat differently.
fn known(bytes: &[u8], codec: &Codec, ours: &Said) -> Option<Difference> {
    if has_odd_flags(bytes, codec) {
        return Some(Difference::Flags);
    }
    let attributes: Vec<(u8, Vec<u8>)> =
        field(bytes).into_iter().map(|(_, code, value)| (code, value)).collect();
    if attributes.iter().filter(|(code, _)| *code == 2).count() > 1 {
        return Some(Difference::Twice);
    }
    let has = |code: u8| attributes.iter().any(|(found, _)| *found == code);
    let paths = attributes.iter().filter(|(code, _)| matches!(code, 2 | 17));
    let width = |code: u8| if code == 17 || codec.four_octet_as { 4 } else { 2 };
    for (code, value) in paths {
        let mut rest: &[u8] = value;
        while let [kind, count, after @ ..] = rest {
            match kind {
                1 => return Some(Difference::AsSet),
                3 | 4 => return Some(Difference::Confederation),
                _ => {}
            }
            rest = after.get(usize::from(*count) * width(*code)..).unwrap_or_default();
        }
    }
    let mp_family =
        |value: &[u8]| value.first_chunk::<3>().is_some_and(|family| matches!(family, [0, 1 | 2, 1]));
    if attributes.iter().any(|(code, value)| match code {
        1..=10 | 16 | 32 => false,
        14 | 15 => !mp_family(value),
        17 | 18 => false,
        _ => other_knows(*code),
    }) {
        return Some(Difference::Foreign);
    }
    if has(17) || has(18) {
        return Some(Difference::As4);
    }
    let next_hop = |value: &[u8]| match value {
        // RFC 4760 length, RFC 8950 without agreement, addresses of no host.
        [_, afi, _, len, next_hop @ ..] => {
            !(*afi == 2 && (*len == 16 || *len == 32)) || next_hop.len() < 32 || is_strange(next_hop, *len)
        }
        _ => false,
    };
    if attributes.iter().any(|(code, value)| *code == 14 && next_hop(value)) {
        return Some(Difference::NextHop);
    }
    if has(14) == has(3) {
        return Some(Difference::NextHop);
    }
    if attributes.iter().any(|(code, value)| {
        *code == 3 && value.first().is_some_and(|first| *first == 0 || *first == 127 || *first >= 224)
    }) {
        return Some(Difference::NextHop);
    }
    if *ours == Said::Reset && attributes.iter().any(|(code, _)| *code != 15) {
        return Some(Difference::NoRoutes);
    }
    None
}

/// Attributes it decodes that we only pass on.
fn other_knows(code: u8) -> bool {
    matches!(code, 11..=13 | 19..=31 | 33..=60 | 128 | 129 | 255)
}

fn is_strange(next_hop: &[u8], len: u8) -> bool {
    let first = next_hop.first().copied().unwrap_or(0);
    first == 0 || first >= 0xfe || len == 32 && next_hop.get(16..18) != Some(&[0xfe, 0x80])
}

fn compare(bytes: &[u8], codec: &Codec, tally: &mut BTreeMap<Option<Difference>, u32>) {
    let (ours, theirs) = (ours(bytes, codec), theirs(bytes, codec));
    if ours == theirs {
        *tally.entry(None).or_default() += 1;
        return;
    }
    let reason = known(bytes, codec, &ours);
    assert!(reason.is_some(), "{codec:?}\n{bytes:02x?}\nours {ours:?}\ntheirs {theirs:?}");
    *tally.entry(reason).or_default() += 1;
}

fn updates() -> Vec<Recorded> {
    corpus().into_iter().filter(|recorded| recorded.bytes[18] == 2 && recorded.bytes.len() < 600).collect()
}

#[test]
fn recorded_messages_are_read_alike() {
    let mut tally = BTreeMap::new();
    for recorded in corpus().iter().filter(|recorded| recorded.bytes[18] == 2) {
        compare(&recorded.bytes, &recorded.codec, &mut tally);
    }
    let agreed = tally[&None];
    let all: u32 = tally.values().sum();
    assert!(agreed * 10 >= all * 6, "{tally:?}");
}

#[test]
fn damaged_messages_are_read_alike() {
    let corpus = updates();
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut tally = BTreeMap::new();
    for _ in 0..200_000 {
        let recorded = &corpus[rng.random_range(0..corpus.len())];
        let mut bytes = recorded.bytes.clone();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(HEADER_LEN..bytes.len());
            bytes[at] = match rng.random_range(0..4) {
                0 => bytes[at].wrapping_add(1),
                1 => bytes[at].wrapping_sub(1),
                2 => bytes[at] ^ (1 << rng.random_range(0..8)),
                _ => rng.random(),
            };
        }
        compare(&bytes, &recorded.codec, &mut tally);
    }
    let agreed = tally[&None];
    let all: u32 = tally.values().sum();
    assert!(agreed * 10 >= all * 5, "{tally:?}");
}
