//! Constant lists as sets: named after what is in them, so equal lists share one.
//!
//! Elements are disjoint ranges: what overlaps or touches is one, since the kernel's sets of ranges refuse overlaps.

use super::names;
use super::packet::{address_type, bytes, last};
use super::piece::{Elements, shape};
use super::ruleset::SetShape;
use model::net::{Cidr, Family, from_number, to_number};
use netfilter::nft::{DataType, Element};
use std::sync::Arc;

/// Longest list that is written out in its set's name.
const SPELLED_MAX: usize = 64;

/// Ranges of ports, sorted, disjoint and not touching.
pub fn merged(ranges: &[(u16, u16)]) -> Vec<(u16, u16)> {
    let wide = ranges.iter().map(|(first, last)| (u128::from(*first), u128::from(*last))).collect();
    let narrow = |number: u128| u16::try_from(number).unwrap_or(u16::MAX);
    join(wide).into_iter().map(|(first, last)| (narrow(first), narrow(last))).collect()
}

/// A set of ranges of ports.
pub fn ports(ranges: &[(u16, u16)]) -> Elements {
    let text = |(first, last): &(u16, u16)| match first == last {
        true => first.to_string(),
        false => format!("{first}..{last}"),
    };
    let texts: Vec<String> = ranges.iter().map(text).collect();
    let range = |(first, last): &(u16, u16)| {
        (first.to_be_bytes().to_vec(), last.checked_add(1).map(|behind| behind.to_be_bytes().to_vec()))
    };
    set("ports", &texts, DataType::PORT, ranges.iter().map(range))
}

/// A set of networks, all of this family.
pub fn nets(family: Family, nets: &[Cidr]) -> Elements {
    let texts: Vec<String> = nets.iter().map(Cidr::to_string).collect();
    set("nets", &texts, address_type(family), net_ranges(family, nets).into_iter())
}

/// Networks as beginnings, and where the range does not reach the end the first address behind it.
pub fn net_ranges(family: Family, nets: &[Cidr]) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let ranges = nets.iter().map(|net| (to_number(net.addr()), to_number(last(net)))).collect();
    let most = to_number(from_number(family, u128::MAX));
    let at = |number| bytes(from_number(family, number));
    let range = |(first, last): (u128, u128)| (at(first), (last < most).then(|| at(last + 1)));
    join(ranges).into_iter().map(range).collect()
}

/// The networks that no other one covers, sorted.
pub fn without_covered(nets: &[Cidr]) -> Vec<Cidr> {
    let mut sorted = nets.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let covered = |net: &Cidr| sorted.iter().any(|other| other != net && other.covers(net));
    sorted.iter().filter(|net| !covered(net)).copied().collect()
}

/// Ranges as the elements of a set of intervals.
pub fn intervals(ranges: impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)>) -> Vec<Element> {
    let mut elements = Vec::new();
    for (first, behind) in ranges {
        elements.push(Element::key(first));
        elements.extend(behind.map(|key| Element { interval_end: true, ..Element::key(key) }));
    }
    elements
}

fn join(mut ranges: Vec<(u128, u128)>) -> Vec<(u128, u128)> {
    ranges.sort_unstable();
    let mut joined: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match joined.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => joined.push((first, last)),
        }
    }
    joined
}

fn set(
    kind: &str,
    texts: &[String],
    key: DataType,
    ranges: impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)>,
) -> Elements {
    let all = texts.join("-");
    // what an identifier cannot hold (IPv6) or nobody would read is a hash
    let name = match all.len() <= SPELLED_MAX && !all.contains(':') {
        true => format!("{kind}-{all}"),
        false => format!("{kind}-{}", names::digest(&all)),
    };
    let plain = shape(&[key], None, false, &format!("{kind} {}", texts.join(" ")));
    Elements {
        set: name.into(),
        shape: Arc::new(SetShape { interval: true, ..plain }),
        elements: intervals(ranges),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidrs(texts: &[&str]) -> Vec<Cidr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn what_overlaps_or_touches_is_one_range() {
        assert_eq!(merged(&[(90, 100), (80, 80), (81, 85), (95, 200)]), [(80, 85), (90, 200)]);
        assert_eq!(merged(&[(0, 65535), (5, 5)]), [(0, 65535)]);
        assert_eq!(without_covered(&cidrs(&["10.1.0.0/16", "10.0.0.0/8"])), cidrs(&["10.0.0.0/8"]));
        let halves = net_ranges(Family::V4, &cidrs(&["128.0.0.0/1", "0.0.0.0/1"]));
        assert_eq!(halves, [(vec![0; 4], None)]);
        let end = net_ranges(Family::V6, &cidrs(&["ff00::/8"]));
        assert_eq!(end.len(), 1);
        assert_eq!(end[0].1, None);
    }

    #[test]
    fn a_name_tells_what_is_in_it_or_a_hash_of_that() {
        assert_eq!(ports(&[(80, 80), (8000, 8100)]).set.as_ref(), "ports-80-8000..8100");
        // 80 to 443 is something else than 80 and 443
        assert_ne!(ports(&[(80, 80), (443, 443)]).set, ports(&[(80, 443)]).set);
        let v4 = nets(Family::V4, &cidrs(&["10.0.0.0/8", "192.0.2.1/32"]));
        assert_eq!(v4.set.as_ref(), "nets-10.0.0.0/8-192.0.2.1/32");
        assert_eq!(v4.elements.len(), 4);
        assert!(!nets(Family::V6, &cidrs(&["fd00::/8", "fe80::/10"])).set.contains(':'));
    }
}
