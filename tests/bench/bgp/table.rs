//! Which prefixes a scenario has, and which of them a session holds.

use anyhow::{Context, Result};
use std::net::Ipv4Addr;
use std::ops::Range;

/// A power of two of prefixes of one length, side by side. Routes are numbered in an order that scatters them over the
/// range: those of one message are no neighbours, as in the Internet's table.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    base: u32,
    length: u8,
    order: u8,
}

impl Table {
    /// 2^20 prefixes /24 inside 16.0.0.0/4.
    pub const INTERNET: Self = Self { base: 0x1000_0000, length: 24, order: 20 };

    /// 2^12 blocks /26, as Calico gives them to nodes.
    pub const BLOCKS: Self = Self { base: 0x0a80_0000, length: 26, order: 12 };

    /// How many there are.
    pub fn size(self) -> usize {
        1 << self.order
    }

    /// Place of a route in the range.
    fn slot(self, route: usize) -> usize {
        // Any odd factor permutes a power of two; this one is near its golden section.
        (route * 647_453) & (self.size() - 1)
    }

    /// Network address of a route.
    pub fn address(self, route: usize) -> Ipv4Addr {
        Ipv4Addr::from(self.base + ((self.slot(route) as u32) << (32 - self.length)))
    }

    /// A route as NLRI.
    pub fn nlri(self, route: usize, to: &mut Vec<u8>) {
        to.push(self.length);
        to.extend_from_slice(&self.address(route).octets()[..usize::from(self.length.div_ceil(8))]);
    }
}

/// The routes of a table that a session was told of and not told to forget.
#[derive(Debug, Clone)]
pub struct Held {
    table: Table,
    bits: Vec<u64>,
    /// Routes that count.
    counted: Vec<u64>,
    count: usize,
}

impl Held {
    /// None. Routes of `own` will never count: some daemons tell a speaker what it said itself.
    pub fn new(table: Table, own: Range<usize>) -> Self {
        let words = table.size().div_ceil(64);
        let mut counted = vec![u64::MAX; words];
        for slot in own.map(|route| table.slot(route)) {
            counted[slot / 64] &= !(1 << (slot % 64));
        }
        Self { table, bits: vec![0; words], counted, count: 0 }
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.count
    }

    /// None any more.
    pub fn clear(&mut self) {
        self.bits.fill(0);
        self.count = 0;
    }

    /// Forgets one route, as if it were withdrawn.
    pub fn forget(&mut self, route: usize) {
        self.set(self.table.slot(route), false);
    }

    fn set(&mut self, slot: usize, held: bool) {
        let word = &mut self.bits[slot / 64];
        let bit = 1 << (slot % 64) & self.counted[slot / 64];
        if (*word & bit != 0) != held && bit != 0 {
            *word ^= bit;
            self.count = if held { self.count + 1 } else { self.count - 1 };
        }
    }

    /// Takes a run of prefixes as they stand in an UPDATE. Prefixes that are not of the table are none of ours.
    ///
    /// # Errors
    /// The run is cut.
    pub fn take(&mut self, mut nlri: &[u8], held: bool) -> Result<()> {
        let Table { base, length, order } = self.table;
        while let Some((&bits, rest)) = nlri.split_first() {
            let (prefix, rest) = rest.split_at_checked(usize::from(bits.div_ceil(8))).context("cut NLRI")?;
            nlri = rest;
            let address = match *prefix {
                [a, b, c] => u32::from_be_bytes([a, b, c, 0]),
                [a, b, c, d] => u32::from_be_bytes([a, b, c, d]),
                _ => continue,
            };
            let slot = address.wrapping_sub(base) >> (32 - length);
            if bits == length && slot >> order == 0 {
                self.set(slot as usize, held);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_route_has_a_prefix_of_its_own() {
        for table in [Table::INTERNET, Table::BLOCKS] {
            let all: BTreeSet<_> = (0..table.size()).map(|route| table.address(route)).collect();
            assert_eq!(all.len(), table.size());
        }
        assert_eq!(Table::INTERNET.address(0), Ipv4Addr::new(16, 0, 0, 0));
    }

    #[test]
    fn held_routes_are_counted_once_and_strangers_not_at_all() {
        for table in [Table::INTERNET, Table::BLOCKS] {
            let mut held = Held::new(table, 3..5);
            let mut nlri = Vec::new();
            [7, 4, 8, 7].iter().for_each(|&route| table.nlri(route, &mut nlri));
            nlri.extend([16, 10, 0, 0, 24, 192, 0, 2]);
            held.take(&nlri, true).unwrap();
            assert_eq!(held.count(), 2);
            [8, 8, 9, 3].iter().for_each(|&route| held.forget(route));
            assert_eq!(held.count(), 1);
            held.take(&nlri, false).unwrap();
            assert_eq!(held.count(), 0);
            assert!(held.take(&[24, 16], true).is_err());
        }
    }
}
