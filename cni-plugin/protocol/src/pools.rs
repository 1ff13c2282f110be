//! The pools a workload may use: CIDRs, whose host bits do not matter, or names (`ipam.md` §9 of the contract).

use crate::text;
use model::net::{Cidr, CidrError, Family};

/// One entry of `ipv4_pools` or `ipv6_pools`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolEntry {
    /// A CIDR, masked.
    Cidr(Cidr),
    /// Anything else; it must be a pool's name.
    Name(String),
}

/// Why an entry cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// Neither a CIDR nor a pool's name.
    #[error("error parsing pool {}: {}", text::quote(.0), CidrError(.0.clone()))]
    Unknown(String),
    /// A pool of the other family.
    #[error("{}", wrong_family(*.0, *.1))]
    Family(Cidr, Family),
}

fn wrong_family(cidr: Cidr, wanted: Family) -> String {
    format!("{} isn't a IPv{} address", text::quote(&cidr.addr().to_string()), wanted.number())
}

impl PoolEntry {
    /// Reads one entry.
    pub fn parse(text: &str) -> PoolEntry {
        match Cidr::parse_masked(text) {
            Ok(cidr) => PoolEntry::Cidr(cidr),
            Err(_) => PoolEntry::Name(text.to_owned()),
        }
    }
}

/// The names among `entries`, to be looked up.
pub fn names(entries: &[String]) -> Vec<String> {
    entries
        .iter()
        .filter_map(|entry| match PoolEntry::parse(entry) {
            PoolEntry::Name(name) => Some(name),
            PoolEntry::Cidr(_) => None,
        })
        .collect()
}

/// The CIDRs of `entries`, in order; `lookup` gives the CIDR of the pool of a name.
///
/// # Errors
/// Names the entry.
pub fn resolve(
    entries: &[String],
    family: Family,
    lookup: &dyn Fn(&str) -> Option<Cidr>,
) -> Result<Vec<Cidr>, PoolError> {
    entries
        .iter()
        .map(|entry| {
            let cidr = match PoolEntry::parse(entry) {
                PoolEntry::Cidr(cidr) => cidr,
                PoolEntry::Name(name) => lookup(&name).ok_or(PoolError::Unknown(name))?,
            };
            if cidr.family() == family { Ok(cidr) } else { Err(PoolError::Family(cidr, family)) }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lookup(name: &str) -> Option<Cidr> {
        match name {
            "four" => Cidr::parse_masked("10.64.0.0/16").ok(),
            "six" => Cidr::parse_masked("fd00::/64").ok(),
            _ => None,
        }
    }

    fn run(entries: &[&str], family: Family) -> Result<Vec<String>, String> {
        let entries: Vec<String> = entries.iter().map(|e| (*e).to_owned()).collect();
        resolve(&entries, family, &lookup)
            .map(|cidrs| cidrs.iter().map(ToString::to_string).collect())
            .map_err(|e| e.to_string())
    }

    #[test]
    fn cidrs_are_masked_and_names_looked_up() {
        assert_eq!(run(&["10.0.0.0/24", "four"], Family::V4).unwrap(), ["10.0.0.0/24", "10.64.0.0/16"]);
        assert_eq!(run(&["2001:db8::1/120", "six"], Family::V6).unwrap(), ["2001:db8::/120", "fd00::/64"]);
        assert_eq!(run(&[], Family::V4).unwrap(), Vec::<String>::new());
        assert_eq!(names(&["10.0.0.0/24".into(), "four".into()]), ["four"]);
    }

    #[test]
    fn refused_entries_are_named() {
        assert_eq!(
            run(&["nosuch"], Family::V4).unwrap_err(),
            r#"error parsing pool "nosuch": invalid CIDR address: nosuch"#
        );
        assert_eq!(
            run(&["10.0.0.0"], Family::V4).unwrap_err(),
            r#"error parsing pool "10.0.0.0": invalid CIDR address: 10.0.0.0"#
        );
        assert_eq!(run(&["fd00:80::/64"], Family::V4).unwrap_err(), r#""fd00:80::" isn't a IPv4 address"#);
        assert_eq!(run(&["four"], Family::V6).unwrap_err(), r#""10.64.0.0" isn't a IPv6 address"#);
    }

    proptest! {
        #[test]
        fn what_is_resolved_has_the_family_and_no_host_bits(entries in proptest::collection::vec(
            prop_oneof!["[0-9]{1,3}\\.0\\.[0-9]{1,3}\\.1/[0-9]{1,2}", "fd0[0-9]::1/[0-9]{1,3}", "four|six|x", "\\PC{0,8}"], 0..4
        )) {
            for family in [Family::V4, Family::V6] {
                if let Ok(cidrs) = resolve(&entries, family, &lookup) {
                    prop_assert_eq!(cidrs.len(), entries.len());
                    for cidr in cidrs {
                        prop_assert_eq!(cidr.family(), family);
                        prop_assert_eq!(cidr.to_string().parse::<Cidr>().unwrap(), cidr);
                    }
                }
            }
        }
    }
}
