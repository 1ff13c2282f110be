//! Addresses that must not be handed out by themselves.

use model::net::{Cidr, family_of, to_number};
use std::net::IpAddr;

/// The union of all reserved CIDRs, as disjoint ranges in ascending order, a list a family.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reservations {
    v4: Vec<(u128, u128)>,
    v6: Vec<(u128, u128)>,
}

/// First and last address as numbers.
pub(crate) fn span(cidr: &Cidr) -> (u128, u128) {
    let first = to_number(cidr.addr());
    (first, first.saturating_add(cidr.size() - 1))
}

impl FromIterator<Cidr> for Reservations {
    fn from_iter<I: IntoIterator<Item = Cidr>>(cidrs: I) -> Self {
        let mut sorted: Vec<Cidr> = cidrs.into_iter().collect();
        sorted.sort_unstable();
        let mut union = Reservations::default();
        for cidr in sorted {
            let (first, last) = span(&cidr);
            let ranges = union.ranges_mut(&cidr);
            match ranges.last_mut() {
                Some(range) if first <= range.1.saturating_add(1) => range.1 = range.1.max(last),
                _ => ranges.push((first, last)),
            }
        }
        union
    }
}

impl Reservations {
    fn ranges_mut(&mut self, cidr: &Cidr) -> &mut Vec<(u128, u128)> {
        match cidr.family() {
            model::net::Family::V4 => &mut self.v4,
            model::net::Family::V6 => &mut self.v6,
        }
    }

    fn ranges(&self, family: model::net::Family) -> &[(u128, u128)] {
        match family {
            model::net::Family::V4 => &self.v4,
            model::net::Family::V6 => &self.v6,
        }
    }

    fn range_at(&self, family: model::net::Family, number: u128) -> Option<(u128, u128)> {
        let ranges = self.ranges(family);
        let after = ranges.partition_point(|range| range.0 <= number);
        ranges.get(after.checked_sub(1)?).copied().filter(|range| number <= range.1)
    }

    /// Whether an address is reserved.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.range_at(family_of(address), to_number(address)).is_some()
    }

    /// If every address of `cidr` is reserved: the last address, as a number, of the reserved range it lies in.
    pub(crate) fn cover(&self, cidr: &Cidr) -> Option<u128> {
        let (first, last) = span(cidr);
        self.range_at(cidr.family(), first).map(|range| range.1).filter(|end| *end >= last)
    }

    /// How many addresses of `cidr` are reserved.
    pub(crate) fn count_in(&self, cidr: &Cidr) -> u128 {
        let (first, last) = span(cidr);
        self.ranges(cidr.family())
            .iter()
            .filter(|range| range.0 <= last && range.1 >= first)
            .map(|range| (range.1.min(last) - range.0.max(first)).saturating_add(1))
            .sum()
    }
}
