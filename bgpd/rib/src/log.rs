//! The log of a group: messages encoded once, read by every member at its own pace.
//!
//! A segment is what one flush wrote. Its messages hold routes of one source each, so that a member which is the source
//! skips them as byte ranges; what only one member has to be told lies in a part of its own, which that member reads
//! first (within a segment no two messages are about the same route of a member, so the order does not matter). A segment
//! is dropped when the last member has read it.

use bgp_wire::HEADER_LEN;
use std::collections::VecDeque;

/// What one flush wrote, or a piece of it.
#[derive(Debug, Default)]
pub(crate) struct Segment {
    bytes: Box<[u8]>,
    /// Ranges of `bytes` not for the peer of this number; in order.
    skips: Box<[(u16, u32, u32)]>,
    /// For this peer only; in order of their numbers.
    private: Box<[(u16, Box<[u8]>)]>,
    /// Members that have not read it to its end.
    waiting: u32,
}

/// How far a member has read. `at` counts the private part first, then the shared one, skipped ranges included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Cursor {
    segment: u64,
    at: usize,
}

/// Length of the message that starts here.
fn message_len(bytes: &[u8]) -> usize {
    match bytes.get(16..18) {
        Some(&[high, low]) => usize::from(u16::from_be_bytes([high, low])).max(HEADER_LEN),
        _ => bytes.len().max(1),
    }
}

/// How much of the message is left in which position `at` lies; 0 at a boundary. `bytes` starts with a message.
pub(crate) fn unfinished(bytes: &[u8], at: usize) -> usize {
    let mut end = 0;
    while end < at {
        end += bytes.get(end..).map_or(1, message_len);
    }
    end - at
}

/// The messages in `bytes`, which starts with one.
pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (message, rest) = bytes.split_at_checked(message_len(bytes))?;
        bytes = rest;
        (!message.is_empty()).then_some(message)
    })
}

impl Segment {
    /// `skips` in order of their positions, `private` in any order.
    pub fn new(bytes: Vec<u8>, mut skips: Vec<(u16, u32, u32)>, mut private: Vec<(u16, Box<[u8]>)>) -> Self {
        skips.sort_unstable();
        private.sort_unstable_by_key(|(peer, _)| *peer);
        Segment { bytes: bytes.into(), skips: skips.into(), private: private.into(), waiting: 0 }
    }

    fn private(&self, peer: u16) -> &[u8] {
        let found = self.private.binary_search_by_key(&peer, |(peer, _)| *peer).ok();
        found.and_then(|at| self.private.get(at)).map_or(&[], |(_, bytes)| bytes)
    }

    fn skips(&self, peer: u16) -> &[(u16, u32, u32)] {
        let from = self.skips.partition_point(|(other, ..)| *other < peer);
        let rest = self.skips.get(from..).unwrap_or_default();
        rest.get(..rest.partition_point(|(other, ..)| *other == peer)).unwrap_or_default()
    }

    /// The first piece for this peer at or behind `at`, and where it starts.
    fn piece(&self, peer: u16, at: usize) -> Option<(usize, &[u8])> {
        let private = self.private(peer);
        let Some(mut from) = at.checked_sub(private.len()) else { return Some((at, private.get(at..)?)) };
        for (_, start, end) in self.skips(peer) {
            let (start, end) = (*start as usize, *end as usize);
            if from < start {
                return Some((from + private.len(), self.bytes.get(from..start)?));
            }
            from = from.max(end);
        }
        let piece = self.bytes.get(from..).filter(|piece| !piece.is_empty())?;
        Some((from + private.len(), piece))
    }

    fn unfinished(&self, peer: u16, at: usize) -> usize {
        let private = self.private(peer);
        match at.checked_sub(private.len()) {
            None => unfinished(private, at),
            Some(at) => unfinished(&self.bytes, at),
        }
    }

    fn len(&self) -> usize {
        self.bytes.len() + self.private.iter().map(|(_, bytes)| bytes.len()).sum::<usize>()
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Log {
    segments: VecDeque<Segment>,
    /// Number of the first segment.
    first: u64,
    bytes: usize,
}

impl Log {
    /// Octets somebody still has to read.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// The end: where a new member starts to read.
    pub fn end(&self) -> Cursor {
        Cursor { segment: self.first + self.segments.len() as u64, at: 0 }
    }

    /// Whether this cursor is in the oldest segment.
    pub fn is_last(&self, cursor: Cursor) -> bool {
        cursor.segment == self.first && cursor != self.end()
    }

    /// Whether one cursor is in an older segment than another.
    pub fn is_before(&self, cursor: Cursor, other: Cursor) -> bool {
        cursor.segment < other.segment
    }

    /// Appends a segment that `readers` members will read.
    pub fn push(&mut self, mut segment: Segment, readers: u32) {
        if readers > 0 && segment.len() > 0 {
            segment.waiting = readers;
            self.bytes += segment.len();
            self.segments.push_back(segment);
        }
    }

    fn segment(&self, number: u64) -> Option<&Segment> {
        self.segments.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// What a member has not read, in pieces.
    pub fn rest(&self, peer: u16, mut cursor: Cursor) -> impl Iterator<Item = &[u8]> {
        std::iter::from_fn(move || {
            loop {
                let segment = self.segment(cursor.segment)?;
                match segment.piece(peer, cursor.at) {
                    Some((start, piece)) => {
                        cursor.at = start + piece.len();
                        return Some(piece);
                    }
                    None => cursor = Cursor { segment: cursor.segment + 1, at: 0 },
                }
            }
        })
    }

    /// Moves a cursor over `octets` read and over everything behind them that is not for this peer; answers how many
    /// octets were not from here.
    pub fn advance(&mut self, peer: u16, cursor: &mut Cursor, mut octets: usize) -> usize {
        while let Some(segment) = self.segment(cursor.segment) {
            match segment.piece(peer, cursor.at) {
                Some(_) if octets == 0 => return 0,
                Some((start, piece)) => {
                    let read = octets.min(piece.len());
                    octets -= read;
                    cursor.at = start + read;
                }
                None => {
                    self.read(cursor.segment);
                    *cursor = Cursor { segment: cursor.segment + 1, at: 0 };
                }
            }
        }
        octets
    }

    /// Takes a member out that will not read on from here.
    pub fn leave(&mut self, cursor: Cursor) {
        let end = self.end();
        for segment in cursor.segment..end.segment {
            self.read(segment);
        }
    }

    /// Whole messages that these members have not read, each once, with the places of those in `members` that it is for.
    /// No cursor may be in the middle of a message.
    pub fn unread(&self, members: &[(u16, Cursor)], mut each: impl FnMut(&[u8], &[usize])) {
        let mut readers = Vec::new();
        for (number, segment) in (self.first..).zip(&self.segments) {
            // Of each: its place, where it is in the shared part, and what it skips of what comes.
            let mut here = Vec::new();
            for (place, (peer, cursor)) in
                members.iter().enumerate().filter(|(_, (_, c))| c.segment <= number)
            {
                let at = if cursor.segment == number { cursor.at } else { 0 };
                let private = segment.private(*peer);
                messages(private.get(at..).unwrap_or_default()).for_each(|message| each(message, &[place]));
                here.push((place, at.saturating_sub(private.len()), segment.skips(*peer)));
            }
            if here.is_empty() {
                continue;
            }
            let mut start = 0;
            for message in messages(&segment.bytes) {
                readers.clear();
                for (place, at, skips) in &mut here {
                    while let Some(((.., end), behind)) = skips.split_first()
                        && *end as usize <= start
                    {
                        *skips = behind;
                    }
                    let skipped = skips.first().is_some_and(|(_, from, _)| *from as usize <= start);
                    if start >= *at && !skipped {
                        readers.push(*place);
                    }
                }
                if !readers.is_empty() {
                    each(message, &readers);
                }
                start += message.len();
            }
        }
    }

    fn read(&mut self, number: u64) {
        let Some(at) = number.checked_sub(self.first) else { return };
        if let Some(segment) = self.segments.get_mut(at as usize) {
            segment.waiting = segment.waiting.saturating_sub(1);
        }
        while self.segments.front().is_some_and(|segment| segment.waiting == 0) {
            self.first += 1;
            self.bytes -= self.segments.pop_front().map_or(0, |segment| segment.len());
        }
    }

    /// Octets left of the message a member is in the middle of.
    pub fn unfinished(&self, peer: u16, cursor: Cursor) -> usize {
        self.segment(cursor.segment).map_or(0, |segment| segment.unfinished(peer, cursor.at))
    }
}

#[cfg(test)]
mod tests;
