//! Which of our blocks stands for which recorded one.
//!
//! The first free block a node claims may be any (README, "May differ"), but from then on everything follows from it. So
//! blocks are renamed, and the same renaming is applied to every recorded text: keys, values, outputs and inputs alike.

use model::net::Cidr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A renaming of blocks; what it does not name keeps its address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Renaming {
    pairs: Vec<(Cidr, Cidr)>,
}

impl Renaming {
    /// Whether nothing is renamed.
    pub fn is_identity(&self) -> bool {
        self.pairs.iter().all(|(recorded, ours)| recorded == ours)
    }

    /// Notes that our block `ours` stands for the recorded one. Returns false where either already stands for another.
    pub fn learn(&mut self, recorded: Cidr, ours: Cidr) -> bool {
        let known = self.pairs.iter().find(|(left, right)| *left == recorded || *right == ours);
        match known {
            Some(pair) => *pair == (recorded, ours),
            None => {
                self.pairs.push((recorded, ours));
                true
            }
        }
    }

    /// Whether the recorded block has its counterpart.
    pub fn knows(&self, recorded: Cidr) -> bool {
        self.pairs.iter().any(|(left, _)| *left == recorded)
    }

    /// Whether our block is a counterpart already.
    pub fn taken(&self, ours: Cidr) -> bool {
        self.pairs.iter().any(|(_, right)| *right == ours)
    }

    /// Both blocks are free again; whoever claims one next may choose anew.
    pub fn forget(&mut self, recorded: Cidr) {
        self.pairs.retain(|(left, _)| *left != recorded);
    }

    /// Our address for a recorded one.
    pub fn address(&self, recorded: IpAddr) -> IpAddr {
        let moved = self.pairs.iter().find(|(left, _)| contains(*left, recorded));
        if let Some((from, to)) = moved {
            return shift(recorded, *from, *to);
        }
        // The block this address lies in was given away as the counterpart of another one: it takes the place that
        // became free at the other end of the chain, so that the whole stays a permutation.
        let Some((_, block)) = self.pairs.iter().find(|(_, right)| contains(*right, recorded)) else {
            return recorded;
        };
        let mut end = *block;
        while let Some((from, _)) = self.pairs.iter().find(|(_, right)| *right == end) {
            end = *from;
        }
        shift(recorded, *block, end)
    }

    /// Renames every address and every block in a text. A prefix shorter than its block is a pool's and stays.
    pub fn apply(&self, text: &str) -> String {
        if self.is_identity() {
            return text.to_owned();
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find(is_address_char) {
            let (before, from) = rest.split_at(start);
            out.push_str(before);
            let end = from.find(|c| !is_address_char(c)).unwrap_or(from.len());
            let (word, after) = from.split_at(end);
            let glued = out.chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_');
            match word.parse::<IpAddr>() {
                Ok(address) if !glued => out.push_str(&self.rename_word(word, address, after)),
                _ => out.push_str(word),
            }
            rest = after;
        }
        out.push_str(rest);
        out
    }

    fn rename_word(&self, word: &str, address: IpAddr, after: &str) -> String {
        let length: String = after
            .strip_prefix(['/', '-'])
            .map(|tail| tail.chars().take_while(char::is_ascii_digit).collect())
            .unwrap_or_default();
        let block = self
            .pairs
            .iter()
            .flat_map(|(left, right)| [*left, *right])
            .find(|block| contains(*block, address));
        match (block, length.parse::<u8>()) {
            (None, _) => word.to_owned(),
            (Some(block), Ok(length)) if length < block.prefix() => word.to_owned(),
            _ => self.address(address).to_string(),
        }
    }
}

fn is_address_char(c: char) -> bool {
    c.is_ascii_hexdigit() || c == '.' || c == ':'
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn contains(block: Cidr, address: IpAddr) -> bool {
    Cidr::new(address, block.prefix()) == Some(block)
}

fn shift(address: IpAddr, from: Cidr, to: Cidr) -> IpAddr {
    let moved = number(to.addr()) + (number(address) - number(from.addr()));
    match address {
        IpAddr::V4(_) => u32::try_from(moved).map_or(address, |bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(_) => Ipv6Addr::from_bits(moved).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cidr(text: &str) -> Cidr {
        Cidr::parse_masked(text).unwrap()
    }

    #[test]
    fn blocks_keys_and_addresses_are_renamed_and_pools_are_not() {
        let mut renaming = Renaming::default();
        assert!(renaming.learn(cidr("10.80.0.240/28"), cidr("10.80.0.16/28")));
        assert!(renaming.learn(cidr("fd00:80::c0/126"), cidr("fd00:80::/126")));
        for (recorded, ours) in [
            ("block/10.80.0.240-28", "block/10.80.0.16-28"),
            ("\"10.80.0.243/32\"", "\"10.80.0.19/32\""),
            ("from 10.80.0.241.", "from 10.80.0.241."),
            ("--ip=10.80.0.241 ", "--ip=10.80.0.17 "),
            ("10.80.0.240/24", "10.80.0.240/24"),
            ("10.80.0.16/28", "10.80.0.240/28"),
            ("ipv6/block/fd00:80::c0-126", "ipv6/block/fd00:80::-126"),
            ("fd00:80::/64", "fd00:80::/64"),
            ("net-a.pod1", "net-a.pod1"),
            ("feed:beef", "feed:beef"),
        ] {
            assert_eq!(renaming.apply(recorded), ours);
        }
    }

    #[test]
    fn a_block_has_one_counterpart() {
        let mut renaming = Renaming::default();
        assert!(renaming.learn(cidr("10.0.0.0/30"), cidr("10.0.0.4/30")));
        assert!(renaming.learn(cidr("10.0.0.0/30"), cidr("10.0.0.4/30")));
        assert!(!renaming.learn(cidr("10.0.0.0/30"), cidr("10.0.0.8/30")));
        assert!(!renaming.learn(cidr("10.0.0.12/30"), cidr("10.0.0.4/30")));
    }

    proptest! {
        #[test]
        fn any_renaming_is_a_permutation(pairs in proptest::collection::vec((0u8..16, 0u8..16), 0..12)) {
            let block = |n: u8| cidr(&format!("10.0.0.{}/28", u32::from(n) * 16));
            let mut renaming = Renaming::default();
            for (from, to) in pairs {
                renaming.learn(block(from), block(to));
            }
            let all: std::collections::BTreeSet<IpAddr> =
                (0..=255u8).map(|n| renaming.address(IpAddr::from([10, 0, 0, n]))).collect();
            prop_assert_eq!(all.len(), 256);
        }
    }
}
