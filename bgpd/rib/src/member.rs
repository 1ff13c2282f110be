//! One neighbour as a reader of its group.
//!
//! Mostly it reads the group's log. A neighbour that is new, asked for a refresh, changed its group, or fell behind has
//! messages of its own for a while, made from the table bit by bit as it reads them: first the whole table if it wants
//! that ([`Lag::walk`]), then what changed meanwhile ([`Lag::mark`]). When nothing is left it reads the log from its end.

use crate::log::{self, Cursor};
use bgp_wire::Nlri;

/// What a member misses that does not read the log.
#[derive(Debug, Default)]
pub(crate) struct Lag {
    /// Destinations from this one on have not been sent yet; `None` once all are.
    pub walk: Option<u32>,
    /// The walk sends what the member was told before, so that it does not find what is to be withdrawn.
    pub again: bool,
    /// Destinations that changed since they were sent, as bits.
    dirty: Vec<u64>,
    dirty_count: usize,
    /// Routes to withdraw whose destinations are no more.
    pub gone: Vec<Nlri>,
    /// At the end, say that this was all (RFC 4724 §2).
    pub end_of_rib: bool,
    /// At the end, say that the refresh is complete (RFC 7313 §4).
    pub end_of_refresh: bool,
}

impl Lag {
    /// A session that has just begun: wants the whole table and its end.
    pub fn whole() -> Self {
        Lag { walk: Some(1), end_of_rib: true, ..Lag::default() }
    }

    /// A destination changed; one that is still to be sent need not be noted, unless the member knows it from before.
    pub fn mark(&mut self, dest: u32) {
        if !self.again && self.walk.is_some_and(|walk| dest >= walk) {
            return;
        }
        let word = dest as usize / 64;
        if self.dirty.len() <= word {
            self.dirty.resize(word + 1, 0);
        }
        if let Some(bits) = self.dirty.get_mut(word)
            && *bits >> (dest % 64) & 1 == 0
        {
            *bits |= 1 << (dest % 64);
            self.dirty_count += 1;
        }
    }

    /// Whether a destination is marked.
    pub fn is_marked(&self, dest: u32) -> bool {
        self.dirty.get(dest as usize / 64).is_some_and(|bits| bits >> (dest % 64) & 1 == 1)
    }

    /// Takes a mark away.
    pub fn unmark(&mut self, dest: u32) {
        if self.is_marked(dest)
            && let Some(bits) = self.dirty.get_mut(dest as usize / 64)
        {
            *bits &= !(1 << (dest % 64));
            self.dirty_count -= 1;
        }
    }

    /// Takes at most `most` marked destinations.
    pub fn take_marked(&mut self, most: usize) -> Vec<u32> {
        let mut taken = Vec::new();
        if self.dirty_count == 0 {
            return taken;
        }
        for (word, bits) in self.dirty.iter_mut().enumerate() {
            while *bits != 0 && taken.len() < most {
                taken.push(word as u32 * 64 + bits.trailing_zeros());
                *bits &= *bits - 1;
            }
        }
        self.dirty_count -= taken.len();
        taken
    }

    /// Whether there is nothing left to send but the closing marks.
    pub fn is_done(&self) -> bool {
        self.walk.is_none() && self.dirty_count == 0 && self.gone.is_empty()
    }
}

/// Messages for one member only.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    /// How much of it has been read.
    at: usize,
    /// How much at its start belongs to a message that began elsewhere.
    tail: usize,
}

impl Outbox {
    /// What has not been read.
    pub fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Messages are appended to this.
    pub fn open(&mut self) -> &mut Vec<u8> {
        if self.at > 0 {
            self.tail = self.unfinished();
            self.bytes.drain(..self.at);
            self.at = 0;
        }
        &mut self.bytes
    }

    /// Appends pieces of a log; `tail` octets of them end a message that the member began to read there.
    pub fn append<'a>(&mut self, tail: usize, pieces: impl Iterator<Item = &'a [u8]>) {
        let bytes = self.open();
        let empty = bytes.is_empty();
        pieces.for_each(|piece| bytes.extend_from_slice(piece));
        if empty {
            self.tail = tail;
        }
    }

    /// Takes note that `octets` were read; answers how many were not from here.
    pub fn advance(&mut self, octets: usize) -> usize {
        let read = octets.min(self.bytes.len() - self.at);
        self.at += read;
        if self.at == self.bytes.len() {
            *self = Outbox::default();
        }
        octets - read
    }

    /// Octets left of the message that the member is in the middle of.
    pub fn unfinished(&self) -> usize {
        match self.at.checked_sub(self.tail) {
            Some(at) => log::unfinished(self.bytes.get(self.tail..).unwrap_or_default(), at),
            None if self.at == 0 && self.tail == 0 => 0,
            None => self.tail - self.at,
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Member {
    /// Read first.
    pub outbox: Outbox,
    /// Where it reads the log, while it does not lag.
    pub cursor: Cursor,
    pub lag: Option<Box<Lag>>,
}

#[cfg(test)]
mod tests;
