//! AS_PATH (RFC 4271 §4.3, RFC 5065 §3) in the four-octet form of RFC 6793, kept as its bytes: one allocation a path,
//! comparison, hashing and encoding without looking inside.

use std::fmt;

/// Types of path segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SegmentKind {
    /// 1: AS_SET, unordered.
    Set,
    /// 2: AS_SEQUENCE.
    Sequence,
    /// 3: AS_CONFED_SEQUENCE (RFC 5065).
    ConfedSequence,
    /// 4: AS_CONFED_SET (RFC 5065).
    ConfedSet,
}

impl SegmentKind {
    fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(SegmentKind::Set),
            2 => Some(SegmentKind::Sequence),
            3 => Some(SegmentKind::ConfedSequence),
            4 => Some(SegmentKind::ConfedSet),
            _ => None,
        }
    }

    /// Its octet on the wire.
    pub fn number(self) -> u8 {
        match self {
            SegmentKind::Set => 1,
            SegmentKind::Sequence => 2,
            SegmentKind::ConfedSequence => 3,
            SegmentKind::ConfedSet => 4,
        }
    }

    /// Whether it belongs to a confederation and so counts for nothing outside of it.
    pub fn is_confed(self) -> bool {
        matches!(self, SegmentKind::ConfedSequence | SegmentKind::ConfedSet)
    }
}

/// One segment of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment<'a> {
    /// What its numbers mean.
    pub kind: SegmentKind,
    numbers: &'a [[u8; 4]],
}

impl<'a> Segment<'a> {
    /// Its AS numbers, first the nearest.
    pub fn numbers(&self) -> impl DoubleEndedIterator<Item = u32> + ExactSizeIterator + use<'a> {
        self.numbers.iter().map(|n| u32::from_be_bytes(*n))
    }
}

/// An AS path. Invariant: whole segments of known kinds, none empty, no AS number 0.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct AsPath(Box<[u8]>);

/// Most AS numbers of one segment: its count is one octet.
const MAX_SEGMENT: usize = 255;

impl AsPath {
    /// The empty path of a route that has left no AS yet.
    pub fn empty() -> Self {
        AsPath::default()
    }

    /// One AS_SEQUENCE of these, first the nearest; cut into segments where it is over 255 long.
    pub fn sequence(numbers: &[u32]) -> Self {
        AsPath::from_segments([(SegmentKind::Sequence, numbers)])
    }

    /// A path of these segments; an empty one is left out, one of over 255 numbers is cut.
    pub fn from_segments<'n>(segments: impl IntoIterator<Item = (SegmentKind, &'n [u32])>) -> Self {
        let mut bytes = Vec::new();
        for (kind, numbers) in segments {
            for chunk in numbers.chunks(MAX_SEGMENT) {
                bytes.extend_from_slice(&[kind.number(), u8::try_from(chunk.len()).unwrap_or(u8::MAX)]);
                bytes.extend(chunk.iter().flat_map(|number| number.to_be_bytes()));
            }
        }
        AsPath(bytes.into())
    }

    /// Whether there is no segment.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The segments in order.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        let mut bytes: &[u8] = &self.0;
        std::iter::from_fn(move || {
            let (segment, rest) = split_segment(bytes)?;
            bytes = rest;
            Some(segment)
        })
    }

    /// Length for the decision (RFC 4271 §9.1.2.2 a, RFC 5065 §5.3): a set counts one, confederation segments nothing.
    pub fn hops(&self) -> u32 {
        self.segments().fold(0, |hops, segment| match segment.kind {
            SegmentKind::Sequence => {
                hops.saturating_add(u32::try_from(segment.numbers.len()).unwrap_or(u32::MAX))
            }
            SegmentKind::Set => hops.saturating_add(1),
            SegmentKind::ConfedSequence | SegmentKind::ConfedSet => hops,
        })
    }

    /// How often this AS stands in the path, sets and confederation segments included.
    pub fn occurrences(&self, asn: u32) -> usize {
        self.segments().flat_map(|segment| segment.numbers()).filter(|number| *number == asn).count()
    }

    /// Whether this AS stands anywhere in the path (RFC 4271 §9: the loop test).
    pub fn contains(&self, asn: u32) -> bool {
        self.segments().any(|segment| segment.numbers().any(|number| number == asn))
    }

    /// The AS the path was received from: the first of its first segment if that is an AS_SEQUENCE, confederation segments
    /// before it left out (RFC 4271 §9.1.2.2 c: what MED is compared within).
    pub fn neighbor(&self) -> Option<u32> {
        let first = self.segments().find(|segment| !segment.kind.is_confed())?;
        first.numbers().next().filter(|_| first.kind == SegmentKind::Sequence)
    }

    /// The AS that originated the route: the last number, if the path ends with a sequence.
    pub fn origin(&self) -> Option<u32> {
        let last = self.segments().last()?;
        last.numbers().next_back().filter(|_| last.kind == SegmentKind::Sequence)
    }

    /// Every AS number in order, whatever its segment.
    pub fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        self.segments().flat_map(|segment| segment.numbers())
    }

    /// This path with `asn` put `times` before it (RFC 4271 §5.1.2).
    pub fn prepend(&self, asn: u32, times: usize) -> AsPath {
        let mut numbers = vec![asn; times];
        let mut rest: &[u8] = &self.0;
        if let Some((first, after)) = split_segment(rest)
            && first.kind == SegmentKind::Sequence
        {
            numbers.extend(first.numbers());
            rest = after;
        }
        let mut bytes = Vec::with_capacity(2 + 4 * numbers.len() + rest.len());
        // The overlong part is put first so that the second segment keeps 255, as RFC 4271 §5.1.2 describes prepending.
        let head = numbers.len() % MAX_SEGMENT;
        let (head, tail) = numbers.split_at_checked(head).unwrap_or_default();
        for chunk in std::iter::once(head).chain(tail.chunks(MAX_SEGMENT)).filter(|chunk| !chunk.is_empty()) {
            bytes.extend_from_slice(&[2, u8::try_from(chunk.len()).unwrap_or(u8::MAX)]);
            bytes.extend(chunk.iter().flat_map(|number| number.to_be_bytes()));
        }
        bytes.extend_from_slice(rest);
        AsPath(bytes.into())
    }

    /// This path without confederation segments, as it leaves a confederation or goes into AS4_PATH (RFC 6793 §3).
    pub fn without_confed(&self) -> AsPath {
        let mut bytes = Vec::with_capacity(self.0.len());
        self.segments()
            .filter(|segment| !segment.kind.is_confed())
            .for_each(|s| push(&mut bytes, s.kind, s.numbers));
        AsPath(bytes.into())
    }

    pub(crate) fn heap_size(&self) -> usize {
        self.0.len()
    }

    /// Whether a number needs four octets.
    pub(crate) fn is_wide(&self) -> bool {
        self.numbers().any(|number| number > u32::from(u16::MAX))
    }

    /// Reads the value of AS_PATH with numbers of four or two octets (RFC 7606 §7.2, RFC 7607).
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn decode(value: &[u8], four_octet: bool) -> Result<Self, &'static str> {
        let (mut rest, width) = (value, if four_octet { 4 } else { 2 });
        let mut wide = Vec::with_capacity(if four_octet { 0 } else { value.len() * 2 });
        while let [kind, count, after @ ..] = rest {
            SegmentKind::from_number(*kind).ok_or("a segment of unknown type")?;
            if *count == 0 {
                return Err("an empty segment");
            }
            let (numbers, after) = after
                .split_at_checked(usize::from(*count) * width)
                .ok_or("a segment runs over the end of the attribute")?;
            if four_octet {
                if numbers.as_chunks::<4>().0.contains(&[0; 4]) {
                    return Err("AS number 0");
                }
            } else {
                wide.extend_from_slice(&[*kind, *count]);
                for number in numbers.as_chunks::<2>().0 {
                    if *number == [0; 2] {
                        return Err("AS number 0");
                    }
                    wide.extend_from_slice(&[0, 0]);
                    wide.extend_from_slice(number);
                }
            }
            rest = after;
        }
        match rest {
            [] if four_octet => Ok(AsPath(value.into())),
            [] => Ok(AsPath(wide.into())),
            _ => Err("one octet is left over"),
        }
    }

    /// Appends the value of AS_PATH; a number that does not fit into two octets becomes AS_TRANS (RFC 6793 §4.2.2).
    pub(crate) fn encode(&self, four_octet: bool, out: &mut Vec<u8>) {
        if four_octet {
            out.extend_from_slice(&self.0);
            return;
        }
        for segment in self.segments() {
            let count = u8::try_from(segment.numbers.len()).unwrap_or(u8::MAX);
            out.extend_from_slice(&[segment.kind.number(), count]);
            for number in segment.numbers() {
                let narrow = u16::try_from(number).unwrap_or(crate::open::AS_TRANS);
                out.extend_from_slice(&narrow.to_be_bytes());
            }
        }
    }

    /// Restores the path of a two-octet neighbour from its AS_PATH (`self`) and AS4_PATH (RFC 6793 §4.2.3).
    pub(crate) fn restored(self, as4: &AsPath) -> AsPath {
        let as4 = as4.without_confed();
        let Some(mut missing) = self.hops().checked_sub(as4.hops()) else { return self };
        let mut bytes = Vec::with_capacity(self.0.len());
        for segment in self.segments() {
            let take = match segment.kind {
                SegmentKind::ConfedSequence | SegmentKind::ConfedSet => segment.numbers.len(),
                _ if missing == 0 => break,
                SegmentKind::Set => segment.numbers.len(),
                SegmentKind::Sequence => segment.numbers.len().min(missing as usize),
            };
            if !segment.kind.is_confed() {
                let hops = if segment.kind == SegmentKind::Set { 1 } else { take };
                missing = missing.saturating_sub(u32::try_from(hops).unwrap_or(u32::MAX));
            }
            push(&mut bytes, segment.kind, segment.numbers.get(..take).unwrap_or_default());
        }
        bytes.extend_from_slice(&as4.0);
        AsPath(bytes.into())
    }
}

fn push(bytes: &mut Vec<u8>, kind: SegmentKind, numbers: &[[u8; 4]]) {
    bytes.extend_from_slice(&[kind.number(), u8::try_from(numbers.len()).unwrap_or(u8::MAX)]);
    bytes.extend_from_slice(numbers.as_flattened());
}

fn split_segment(bytes: &[u8]) -> Option<(Segment<'_>, &[u8])> {
    let [kind, count, rest @ ..] = bytes else { return None };
    let (numbers, rest) = rest.split_at_checked(usize::from(*count) * 4)?;
    Some((Segment { kind: SegmentKind::from_number(*kind)?, numbers: numbers.as_chunks::<4>().0 }, rest))
}

impl fmt::Display for AsPath {
    /// `64512 65001 {1 2}`: sets in braces, confederation sequences in parentheses, confederation sets in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, segment) in self.segments().enumerate() {
            let (open, close) = match segment.kind {
                SegmentKind::Sequence => ("", ""),
                SegmentKind::Set => ("{", "}"),
                SegmentKind::ConfedSequence => ("(", ")"),
                SegmentKind::ConfedSet => ("[", "]"),
            };
            write!(f, "{}{open}", if i == 0 { "" } else { " " })?;
            for (j, number) in segment.numbers().enumerate() {
                write!(f, "{}{number}", if j == 0 { "" } else { " " })?;
            }
            f.write_str(close)?;
        }
        Ok(())
    }
}

impl fmt::Debug for AsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}
