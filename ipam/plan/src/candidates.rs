//! In which order an owner goes through the blocks of a pool.
//!
//! The order is the pool's, begun at a place that depends on the owner's name and wrapped round, so that owners that
//! look for blocks at the same time rarely meet, and an owner's blocks lie side by side. Upstream begins elsewhere;
//! any place will do (`ipam.md` §5.1 of the contract).

use crate::pool::Pool;
use crate::reservations::{Reservations, span};
use jiff::Timestamp;
use model::net::{Cidr, from_number};
use std::collections::BTreeMap;

/// The blocks that exist, of one family, as ranges: first address → last address. A pool's candidate counts as taken
/// when it shares an address with any of them, also with one of another size left by an earlier pool.
#[derive(Debug, Clone, Default)]
pub(crate) struct Taken(BTreeMap<u128, (u128, Cidr)>);

impl FromIterator<Cidr> for Taken {
    fn from_iter<I: IntoIterator<Item = Cidr>>(blocks: I) -> Self {
        let mut taken = Taken::default();
        blocks.into_iter().for_each(|block| taken.insert(block));
        taken
    }
}

impl Taken {
    /// Adds a block.
    pub(crate) fn insert(&mut self, block: Cidr) {
        let (first, last) = span(&block);
        self.0.insert(first, (last, block));
    }

    /// The last address of a block that shares an address with `cidr`.
    fn overlap(&self, cidr: &Cidr) -> Option<u128> {
        let (first, last) = span(cidr);
        self.0.range(..=last).next_back().map(|(_, (end, _))| *end).filter(|end| *end >= first)
    }

    /// The blocks of a pool, of its size, in the owner's order.
    pub(crate) fn in_pool(&self, pool: &Pool, walk: &Walk) -> Vec<Cidr> {
        let (first, last) = span(&pool.cidr);
        let mut blocks: Vec<(u128, Cidr)> = self
            .0
            .range(first..=last)
            .filter(|(_, (_, block))| block.prefix() == pool.block_prefix)
            .filter_map(|(_, (_, block))| Some((walk.distance(block)?, *block)))
            .collect();
        blocks.sort_unstable();
        blocks.into_iter().map(|(_, block)| block).collect()
    }
}

/// One owner's way through one pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Walk {
    pool: Cidr,
    /// Size of a block as a power of two.
    shift: u32,
    /// Number of blocks.
    count: u128,
    start: u128,
}

impl Walk {
    /// The way of the owner called `name`; `None` for a pool smaller than its blocks.
    pub(crate) fn new(pool: &Pool, name: &str, now: Timestamp) -> Option<Walk> {
        let bits = pool.cidr.family().bits();
        let shift = u32::from(bits.checked_sub(pool.block_prefix)?);
        let count = 1u128.checked_shl(u32::from(pool.block_prefix.checked_sub(pool.cidr.prefix())?))?;
        // blocks of one address fill up at once: beginning where the last search began would walk past all of them
        let seed = match shift {
            0 => u64::try_from(now.as_nanosecond()).unwrap_or(0),
            _ => u64::from(fnv1_32(name.as_bytes())),
        };
        Some(Walk { pool: pool.cidr, shift, count, start: spread(seed) % count })
    }

    fn block(&self, index: u128) -> Option<Cidr> {
        let family = self.pool.family();
        let prefix = family.bits().checked_sub(u8::try_from(self.shift).ok()?)?;
        let (first, _) = span(&self.pool);
        Cidr::new(from_number(family, first + (index << self.shift)), prefix)
    }

    fn index(&self, number: u128) -> Option<u128> {
        let (first, _) = span(&self.pool);
        Some(number.checked_sub(first)? >> self.shift)
    }

    /// How many steps into the way a block comes.
    fn distance(&self, block: &Cidr) -> Option<u128> {
        let index = self.index(span(block).0)?;
        Some(if index >= self.start { index - self.start } else { index + (self.count - self.start) })
    }

    /// The first block on the way that does not exist and is not wholly reserved. Steps over ranges, not blocks: a
    /// /64 with a huge reservation costs no more than a /24.
    pub(crate) fn first_free(&self, taken: &Taken, reserved: &Reservations) -> Option<Cidr> {
        self.scan(self.start, self.count, taken, reserved)
            .or_else(|| self.scan(0, self.start, taken, reserved))
    }

    fn scan(&self, from: u128, to: u128, taken: &Taken, reserved: &Reservations) -> Option<Cidr> {
        let mut index = from;
        while index < to {
            let block = self.block(index)?;
            let Some(end) = taken.overlap(&block).max(reserved.cover(&block)) else { return Some(block) };
            // a range may end within a block, of which the rest is free
            index = self.index(end.checked_add(1)?)?.max(index + 1);
        }
        None
    }
}

/// FNV-1, 32 bits (not 1a).
fn fnv1_32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash: u32, byte| hash.wrapping_mul(0x0100_0193) ^ u32::from(*byte))
}

/// Spreads a seed over 128 bits: two steps of SplitMix64.
fn spread(seed: u64) -> u128 {
    let mix = |n: u64| {
        let z = seed.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    (u128::from(mix(1)) << 64) | u128::from(mix(2))
}
