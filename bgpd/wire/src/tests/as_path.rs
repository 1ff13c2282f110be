//! AS paths: lengths, loops, prepending, two-octet neighbours.

use super::*;
use proptest::prelude::*;

fn path(text: &str) -> AsPath {
    // "1 2 {3 4} (5) [6]": as Display writes it.
    let mut segments: Vec<(SegmentKind, Vec<u32>)> = Vec::new();
    let mut open = false;
    for word in text.split_whitespace() {
        let kind = match word.chars().next().unwrap() {
            '{' => Some(SegmentKind::Set),
            '(' => Some(SegmentKind::ConfedSequence),
            '[' => Some(SegmentKind::ConfedSet),
            _ => None,
        };
        let number = word.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
        match kind {
            Some(kind) => {
                segments.push((kind, vec![number]));
                open = true;
            }
            None if open => segments.last_mut().unwrap().1.push(number),
            None => match segments.last_mut() {
                Some((SegmentKind::Sequence, numbers)) => numbers.push(number),
                _ => segments.push((SegmentKind::Sequence, vec![number])),
            },
        }
        if word.ends_with(['}', ')', ']']) {
            open = false;
        }
    }
    AsPath::from_segments(segments.iter().map(|(kind, numbers)| (*kind, numbers.as_slice())))
}

#[test]
fn a_path_prints_counts_and_finds() {
    let cases: &[(&str, u32, Option<u32>, Option<u32>)] = &[
        ("", 0, None, None),
        ("65001 65002", 2, Some(65001), Some(65002)),
        ("65001 {1 2 3}", 2, Some(65001), None),
        ("{1 2} 65001", 2, None, Some(65001)),
        ("(64600 64601) 65001 4200000000", 2, Some(65001), Some(4_200_000_000)),
        ("(64600) [64601 64602]", 0, None, None),
    ];
    for (text, hops, neighbor, origin) in cases {
        let path = path(text);
        assert_eq!((&path.to_string(), path.hops()), (&(*text).to_owned(), *hops));
        assert_eq!(path.neighbor(), *neighbor, "{text}");
        if !text.starts_with('(') || text.contains(") 65001") {
            assert_eq!(path.origin(), *origin, "{text}");
        }
        assert_eq!(path.is_empty(), text.is_empty());
        for number in path.numbers() {
            assert!(path.contains(number) && path.occurrences(number) == 1);
        }
        assert!(!path.contains(7));
    }
    assert_eq!(path("1 2 1 {1 3}").occurrences(1), 3);
    assert_eq!(path("(64600) 65001 [64601]").without_confed(), path("65001"));
}

#[test]
fn prepending_opens_a_segment_where_it_must() {
    assert_eq!(AsPath::empty().prepend(1, 2), path("1 1"));
    assert_eq!(path("2 3").prepend(1, 1), path("1 2 3"));
    assert_eq!(path("{2 3}").prepend(1, 1), path("1 {2 3}"));
    assert_eq!(path("(2) 3").prepend(1, 1), path("1 (2) 3"));
    let long = AsPath::sequence(&[7; 255]).prepend(1, 2);
    let lengths: Vec<usize> = long.segments().map(|segment| segment.numbers().len()).collect();
    assert_eq!((lengths, long.hops(), long.neighbor()), (vec![2, 255], 257, Some(1)));
}

#[test]
fn a_path_through_a_two_octet_neighbour_is_restored() {
    // RFC 6793 §4.2.3: leading numbers of AS_PATH that AS4_PATH lacks are kept.
    let cases = [
        ("65001 23456 23456", "70000 80000", "65001 70000 80000"),
        ("65001 65002", "70000 80000 90000", "65001 65002"),
        ("65001 23456 {1 2}", "70000 {1 2}", "65001 70000 {1 2}"),
        ("(64600) 65001 23456", "70000", "(64600) 65001 70000"),
        ("65001 23456", "(64600) 70000", "65001 70000"),
        ("23456", "", "23456"),
    ];
    for (narrow, as4, whole) in cases {
        let restored = path(narrow).restored(&path(as4));
        assert_eq!(restored.to_string(), path(whole).to_string(), "{narrow} with {as4}");
    }
}

#[test]
fn what_is_no_path_is_told() {
    let cases: &[(&[u8], &str)] = &[
        (&[5, 1, 0, 0, 0, 1], "a segment of unknown type"),
        (&[2, 0], "an empty segment"),
        (&[2, 2, 0, 0, 0, 1], "a segment runs over the end of the attribute"),
        (&[2], "one octet is left over"),
        (&[2, 1, 0, 0, 0, 1, 9], "one octet is left over"),
        (&[2, 1, 0, 0, 0, 0], "AS number 0"),
    ];
    for (value, error) in cases {
        assert_eq!(AsPath::decode(value, true), Err(*error), "{value:?}");
    }
    assert_eq!(AsPath::decode(&[2, 1, 0, 0], false), Err("AS number 0"));
    assert_eq!(AsPath::decode(&[2, 1, 0xfd, 0xe9], false), Ok(path("65001")));
}

proptest! {
    #[test]
    fn a_path_comes_back_with_four_octets_and_prepending_is_prepending(
        numbers in prop::collection::vec(1_u32.., 0..600),
        asn in 1_u32..,
        times in 0_usize..5,
    ) {
        let path = AsPath::sequence(&numbers);
        let mut bytes = Vec::new();
        path.encode(true, &mut bytes);
        prop_assert_eq!(AsPath::decode(&bytes, true).unwrap(), path.clone());
        let longer: Vec<u32> = std::iter::repeat_n(asn, times).chain(numbers.iter().copied()).collect();
        let prepended = path.prepend(asn, times);
        prop_assert_eq!(prepended.numbers().collect::<Vec<_>>(), longer);
        prop_assert_eq!(prepended.hops() as usize, numbers.len() + times);
    }
}
