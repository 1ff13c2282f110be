//! The variables, understood. Every wrong value is told at once, each with the variable, what it says and what it may say.

use crate::detect::Method;
use crate::variables::{Origin, Variables};
use model::net::{Cidr, Family, family_of};
use model::schema::scalar::as_number_from_text;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// What `IP` or `IP6` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// What is stored, or else what is detected.
    Stored,
    /// What is detected, now and later.
    Detect,
    /// No address of this family.
    Off,
    /// This address; the length is looked up on the host where it is not given.
    Given(IpAddr, Option<u8>),
}

/// A family's address.
#[derive(Debug, Clone)]
pub struct Address {
    /// What is asked for.
    pub choice: Choice,
    /// How one is detected.
    pub method: Method,
}

/// A default pool of a family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Its CIDR; a free private one where nobody says.
    pub cidr: Option<Cidr>,
    /// Length of its blocks.
    pub block_size: u8,
    /// Its `ipipMode`.
    pub ipip: &'static str,
    /// Its `vxlanMode`.
    pub vxlan: &'static str,
    /// Its `natOutgoing`.
    pub nat_outgoing: bool,
    /// Its `disableBGPExport`.
    pub disable_export: bool,
    /// Its `nodeSelector`.
    pub node_selector: String,
}

/// What a start is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// BGP is spoken and the node's addresses are looked after.
    pub networking: bool,
    /// The IPv4 address.
    pub ipv4: Address,
    /// The IPv6 address.
    pub ipv6: Address,
    /// How often detected addresses are looked at again; never where none.
    pub poll: Option<Duration>,
    /// The AS number to store.
    pub as_number: Option<u32>,
    /// Another node with an address of ours is a conflict.
    pub check_conflicts: bool,
    /// The node's name in Kubernetes.
    pub node_ref: Option<String>,
    /// Added to the cluster's type.
    pub cluster_type: String,
    /// A datastore that does not answer is waited for.
    pub wait_for_datastore: bool,
    /// The default IPv4 pool; none is made where none.
    pub pool4: Option<Pool>,
    /// The default IPv6 pool.
    pub pool6: Option<Pool>,
}

/// A value that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}={value:?} ({origin}): {reason}")]
pub struct SettingError {
    /// The variable.
    pub name: String,
    /// What it says.
    pub value: String,
    /// Who said it.
    pub origin: Origin,
    /// What it may say.
    pub reason: String,
}

/// All that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingErrors(pub Vec<SettingError>);

impl Settings {
    /// Reads all variables.
    ///
    /// # Errors
    /// Every value that means nothing.
    pub fn read(variables: &Variables) -> Result<Self, SettingErrors> {
        let mut read = Reader { variables, wrong: Vec::new() };
        let backend = ["bird", "vxlan", "none"];
        let settings = Self {
            networking: read.word("CALICO_NETWORKING_BACKEND", &backend).is_none_or(|word| word == "bird"),
            ipv4: read.address(Family::V4, "IP", "IP_AUTODETECTION_METHOD", Choice::Stored),
            ipv6: read.address(Family::V6, "IP6", "IP6_AUTODETECTION_METHOD", Choice::Off),
            poll: read.parsed("AUTODETECT_POLL_INTERVAL", duration).unwrap_or(Some(Duration::from_secs(60))),
            as_number: read.parsed("AS", as_number_from_text),
            check_conflicts: !read.flag("DISABLE_NODE_IP_CHECK", false),
            node_ref: variables.get("CALICO_K8S_NODE_REF").map(str::to_owned),
            cluster_type: variables.get("CLUSTER_TYPE").unwrap_or_default().to_owned(),
            wait_for_datastore: read.flag("WAIT_FOR_DATASTORE", false),
            pool4: read.pool(Family::V4),
            pool6: read.pool(Family::V6),
        };
        if read.wrong.is_empty() { Ok(settings) } else { Err(SettingErrors(read.wrong)) }
    }

    /// What is asked for in a family.
    pub fn address(&self, family: Family) -> &Address {
        match family {
            Family::V4 => &self.ipv4,
            Family::V6 => &self.ipv6,
        }
    }
}

/// A duration as Go writes it, such as `60s` or `1m30s`; none for zero.
fn duration(text: &str) -> Result<Option<Duration>, String> {
    let wrong = || "expected a duration such as 60s, 5m or 0".to_owned();
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() && rest != "0" {
        let digits =
            rest.find(|sign: char| !sign.is_ascii_digit()).filter(|end| *end > 0).ok_or_else(wrong)?;
        let (number, after) = rest.split_at(digits);
        let number: u32 = number.parse().map_err(|_| wrong())?;
        let units = [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];
        let (unit, ms) = units.into_iter().find(|(unit, _)| after.starts_with(unit)).ok_or_else(wrong)?;
        total = total.saturating_add(Duration::from_millis(ms).saturating_mul(number));
        rest = after.strip_prefix(unit).unwrap_or_default();
    }
    Ok(Some(total).filter(|total| !total.is_zero()))
}

struct Reader<'a> {
    variables: &'a Variables,
    wrong: Vec<SettingError>,
}

impl Reader<'_> {
    fn parsed<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let (value, origin) = self.variables.look(name)?;
        match parse(value) {
            Ok(parsed) => Some(parsed),
            Err(reason) => {
                let (name, value) = (name.to_owned(), value.to_owned());
                self.wrong.push(SettingError { name, value, origin, reason });
                None
            }
        }
    }

    /// One of some words, in any case.
    fn word(&mut self, name: &str, words: &[&'static str]) -> Option<&'static str> {
        self.parsed(name, |value| {
            let found = words.iter().copied().find(|word| word.eq_ignore_ascii_case(value));
            found.ok_or_else(|| format!("expected {}", words.join(", ")))
        })
    }

    /// Only these words are no (`bgp.md` §14 of the contract).
    fn flag(&self, name: &str, default: bool) -> bool {
        let no = |value: &str| ["false", "0", "no", "n", "f"].contains(&value.to_ascii_lowercase().as_str());
        self.variables.get(name).map_or(default, |value| !no(value))
    }

    fn address(&mut self, family: Family, name: &str, method: &str, silent: Choice) -> Address {
        let choice = self.parsed(name, |value| choice(family, value)).unwrap_or(silent);
        Address { choice, method: self.parsed(method, Method::parse).unwrap_or(Method::FirstFound) }
    }

    fn pool(&mut self, family: Family) -> Option<Pool> {
        let name = |rest: &str| format!("CALICO_{}POOL_{rest}", family.name().to_ascii_uppercase());
        let named = name("CIDR");
        let cidr = match self.variables.get(&named) {
            Some("none") => return None,
            Some(_) if self.flag("NO_DEFAULT_POOLS", false) => {
                self.parsed(&named, |_| {
                    Err::<(), _>("NO_DEFAULT_POOLS forbids it: unset one of them".to_owned())
                });
                return None;
            }
            None if self.flag("NO_DEFAULT_POOLS", false) => return None,
            _ => self.parsed(&named, |value| pool_cidr(family, value)),
        };
        let (shortest, longest, usual) = match family {
            Family::V4 => (20, 32, 26),
            Family::V6 => (116, 128, 122),
        };
        let block_size = self.parsed(&name("BLOCK_SIZE"), |value| {
            let size = value.parse().ok().filter(|size| (shortest..=longest).contains(size));
            size.ok_or_else(|| format!("expected a number from {shortest} to {longest}"))
        });
        Some(Pool {
            cidr,
            block_size: block_size.unwrap_or(usual),
            // IPIP carries IPv4 only
            ipip: if family == Family::V4 { self.mode(&name("IPIP")) } else { "Never" },
            vxlan: self.mode(&name("VXLAN")),
            nat_outgoing: self.flag(&name("NAT_OUTGOING"), family == Family::V4),
            disable_export: self.flag(&name("DISABLE_BGP_EXPORT"), false),
            node_selector: self.variables.get(&name("NODE_SELECTOR")).unwrap_or("all()").to_owned(),
        })
    }

    /// When packets are wrapped.
    fn mode(&mut self, name: &str) -> &'static str {
        match self.word(name, &["never", "off", "crosssubnet", "cross-subnet", "always"]) {
            Some("always") => "Always",
            Some("crosssubnet" | "cross-subnet") => "CrossSubnet",
            _ => "Never",
        }
    }
}

fn choice(family: Family, value: &str) -> Result<Choice, String> {
    let name = family.name();
    let wrong = || format!("expected an {name} address with or without /LENGTH, autodetect, or none");
    match value {
        "autodetect" => return Ok(Choice::Detect),
        "none" => return Ok(Choice::Off),
        _ => {}
    }
    let (address, length) =
        value.split_once('/').map_or((value, None), |(address, length)| (address, Some(length)));
    let address: IpAddr = address.parse().ok().filter(|ip| family_of(*ip) == family).ok_or_else(wrong)?;
    let length = length
        .map(|text| text.parse::<u8>().ok().filter(|length| *length <= family.bits()).ok_or_else(wrong))
        .transpose()?;
    Ok(Choice::Given(address, length))
}

fn pool_cidr(family: Family, value: &str) -> Result<Cidr, String> {
    let cidr = Cidr::parse_masked(value).map_err(|error| error.to_string())?;
    if cidr.family() == family {
        Ok(cidr)
    } else {
        Err(format!("expected an {} CIDR, or none", family.name()))
    }
}

impl fmt::Display for SettingErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(SettingError::to_string).collect();
        f.write_str(&texts.join("\n"))
    }
}

impl std::error::Error for SettingErrors {}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, SettingErrors> {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::read(&Variables::new(pairs))
    }

    #[test]
    fn silence_means_calicos_defaults() {
        let settings = read(&[]).unwrap();
        assert!(settings.networking && settings.check_conflicts && !settings.wait_for_datastore);
        assert_eq!((settings.ipv4.choice, settings.ipv6.choice), (Choice::Stored, Choice::Off));
        assert!(matches!(settings.ipv4.method, Method::FirstFound));
        assert_eq!(settings.poll, Some(Duration::from_secs(60)));
        let pool = settings.pool4.unwrap();
        assert_eq!((pool.cidr, pool.block_size, pool.nat_outgoing), (None, 26, true));
        let pool = settings.pool6.unwrap();
        assert_eq!((pool.cidr, pool.block_size, pool.nat_outgoing), (None, 122, false));
    }

    #[test]
    fn every_word_is_understood() {
        let settings = read(&[
            ("CALICO_NETWORKING_BACKEND", "none"),
            ("IP", "192.0.2.1/24"),
            ("IP6", "2001:db8::1"),
            ("AUTODETECT_POLL_INTERVAL", "1m30s"),
            ("AS", "1.2"),
            ("DISABLE_NODE_IP_CHECK", "True"),
            ("CALICO_IPV4POOL_CIDR", "10.1.2.3/16"),
            ("CALICO_IPV4POOL_BLOCK_SIZE", "28"),
            ("CALICO_IPV4POOL_IPIP", "Cross-Subnet"),
            ("CALICO_IPV4POOL_NAT_OUTGOING", "No"),
            ("CALICO_IPV6POOL_CIDR", "none"),
        ])
        .unwrap();
        assert!(!settings.networking && !settings.check_conflicts);
        assert_eq!(settings.ipv4.choice, Choice::Given("192.0.2.1".parse().unwrap(), Some(24)));
        assert_eq!(settings.ipv6.choice, Choice::Given("2001:db8::1".parse().unwrap(), None));
        assert_eq!((settings.poll, settings.as_number), (Some(Duration::from_secs(90)), Some(65538)));
        let pool = settings.pool4.unwrap();
        assert_eq!(pool.cidr.unwrap().to_string(), "10.1.0.0/16");
        assert_eq!((pool.block_size, pool.ipip, pool.nat_outgoing), (28, "CrossSubnet", false));
        assert_eq!(settings.pool6, None);
    }

    #[test]
    fn a_poll_of_zero_is_none() {
        for (text, expected) in [("0", None), ("0s", None), ("250ms", Some(250)), ("2h", Some(7_200_000))] {
            let poll = read(&[("AUTODETECT_POLL_INTERVAL", text)]).unwrap().poll;
            assert_eq!(poll, expected.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let errors = read(&[
            ("CALICO_NETWORKING_BACKEND", "frr"),
            ("IP", "2001:db8::1"),
            ("IP6", "2001:db8::1/129"),
            ("IP_AUTODETECTION_METHOD", "magic"),
            ("AUTODETECT_POLL_INTERVAL", "soon"),
            ("AS", "4294967296"),
            ("CALICO_IPV4POOL_CIDR", "fd00::/48"),
            ("CALICO_IPV4POOL_BLOCK_SIZE", "19"),
            ("CALICO_IPV4POOL_VXLAN", "sometimes"),
        ])
        .unwrap_err();
        assert_eq!(errors.0.len(), 9, "{errors}");
        let text = errors.to_string();
        for says in [
            "CALICO_NETWORKING_BACKEND=\"frr\" (environment): expected bird, vxlan, none",
            "IP=\"2001:db8::1\" (environment): expected an IPv4 address",
            "CALICO_IPV4POOL_BLOCK_SIZE=\"19\" (environment): expected a number from 20 to 32",
        ] {
            assert!(text.contains(says), "{text}");
        }
    }

    #[test]
    fn no_pools_and_a_pool_contradict_each_other() {
        assert_eq!(read(&[("NO_DEFAULT_POOLS", "TRUE")]).unwrap().pool4, None);
        let errors =
            read(&[("NO_DEFAULT_POOLS", "true"), ("CALICO_IPV4POOL_CIDR", "10.0.0.0/16")]).unwrap_err();
        assert!(errors.to_string().contains("NO_DEFAULT_POOLS forbids it"), "{errors}");
    }
}
