//! Which addresses and AS number the node gets, and why. Source: `bgp.md` §14 of the contract.

use crate::detect::{Host, HostAddress, owner};
use crate::settings::{Choice, Settings};
use model::Resource;
use model::net::{Family, parse_parts};
use serde_json::Value;

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// What the Node says of its IPv4 address afterwards; the same as now where nobody looks after addresses.
    pub ipv4: Option<HostAddress>,
    /// The same for IPv6.
    pub ipv6: Option<HostAddress>,
    /// What the Node says of its AS number afterwards; none: the cluster's.
    pub as_number: Option<u32>,
    /// Each value with its reason, for people.
    pub facts: Vec<Fact>,
}

/// A value and why it is that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// What it is.
    pub what: String,
    /// The value.
    pub value: String,
    /// Why.
    pub why: String,
}

/// A value that could not be found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecideError {
    /// A family's address.
    #[error(
        "{family} address: {reason}; set {variable}, or another {variable}_AUTODETECTION_METHOD (it is {method})"
    )]
    NoAddress {
        /// The family.
        family: &'static str,
        /// The variable that would give it.
        variable: &'static str,
        /// The method that found nothing.
        method: String,
        /// Why nothing was found.
        reason: String,
    },
    /// Neither family has one.
    #[error(
        "the node has neither an IPv4 nor an IPv6 address: set IP or IP6, or CALICO_NETWORKING_BACKEND=none"
    )]
    NoFamily,
}

/// Decides.
///
/// # Errors
/// An address that has to be found is not.
pub fn decide(
    settings: &Settings,
    stored: Option<&Resource>,
    host: &Host<'_>,
) -> Result<Decided, DecideError> {
    let mut decided = Decided { ipv4: None, ipv6: None, as_number: stored_as(stored), facts: Vec::new() };
    for family in [Family::V4, Family::V6] {
        let known = stored_address(stored, family);
        let (address, why) = if settings.networking {
            address(settings, family, known, host)?
        } else {
            (known, "as stored: CALICO_NETWORKING_BACKEND says that nobody here looks after it".to_owned())
        };
        let value = address.map_or_else(|| "none".to_owned(), |net| net.to_string());
        decided.facts.push(Fact { what: format!("{} address", family.name()), value, why });
        match family {
            Family::V4 => decided.ipv4 = address,
            Family::V6 => decided.ipv6 = address,
        }
    }
    if settings.networking && decided.ipv4.is_none() && decided.ipv6.is_none() {
        return Err(DecideError::NoFamily);
    }
    let why = match (settings.as_number, decided.as_number) {
        (Some(_), _) if settings.networking => "AS is set",
        (_, Some(_)) => "as stored",
        (_, None) => "nobody says one: BGPConfiguration default's, else 64512",
    };
    if settings.networking {
        decided.as_number = settings.as_number.or(decided.as_number);
    }
    let value = decided.as_number.map_or_else(|| "of the cluster".to_owned(), |number| number.to_string());
    decided.facts.push(Fact { what: "AS number".to_owned(), value, why: why.to_owned() });
    Ok(decided)
}

fn address(
    settings: &Settings,
    family: Family,
    known: Option<HostAddress>,
    host: &Host<'_>,
) -> Result<(Option<HostAddress>, String), DecideError> {
    let wanted = settings.address(family);
    let variable = match family {
        Family::V4 => "IP",
        Family::V6 => "IP6",
    };
    match (wanted.choice, known) {
        (Choice::Off, _) => Ok((None, format!("{variable} asks for none"))),
        (Choice::Given(address, Some(prefix)), _) => {
            let where_to = owner(host.nics, address).map_or_else(
                || "; no link of this host has it".to_owned(),
                |found| format!(", on {}", found.nic),
            );
            Ok((Some(HostAddress { address, prefix }), format!("{variable} is set{where_to}")))
        }
        (Choice::Given(address, None), _) => Ok(match owner(host.nics, address) {
            Some(found) => {
                (Some(found.net), format!("{variable} is set; the length is that on {}", found.nic))
            }
            None => {
                let net = HostAddress { address, prefix: family.bits() };
                (
                    Some(net),
                    format!("{variable} is set; no link of this host has it, so its network is not known"),
                )
            }
        }),
        (Choice::Stored, Some(known)) => Ok((Some(known), "as stored".to_owned())),
        (Choice::Stored | Choice::Detect, _) => match wanted.method.detect(family, host) {
            Ok(found) => Ok((Some(found.net), format!("detected on {} by {}", found.nic, wanted.method))),
            Err(reason) => Err(DecideError::NoAddress {
                family: family.name(),
                variable,
                method: wanted.method.to_string(),
                reason,
            }),
        },
    }
}

/// The address that is stored; one that cannot be read is none.
fn stored_address(stored: Option<&Resource>, family: Family) -> Option<HostAddress> {
    let field = match family {
        Family::V4 => "ipv4Address",
        Family::V6 => "ipv6Address",
    };
    let text = stored?.spec().get("bgp")?.get(field)?.as_str()?;
    let prefix = if text.contains('/') { text.to_owned() } else { format!("{text}/{}", family.bits()) };
    let (address, cidr) = parse_parts(&prefix).ok()?;
    (cidr.family() == family).then(|| HostAddress { address, prefix: cidr.prefix() })
}

fn stored_as(stored: Option<&Resource>) -> Option<u32> {
    stored?.spec().get("bgp")?.get("asNumber").and_then(Value::as_u64)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::Nic;
    use crate::variables::Variables;
    use model::Kind;
    use serde_json::json;
    use std::net::IpAddr;

    fn net(text: &str) -> HostAddress {
        let (address, cidr) = parse_parts(text).unwrap();
        HostAddress { address, prefix: cidr.prefix() }
    }

    fn decided(variables: &[(&str, &str)], stored: Option<Value>) -> Result<Decided, DecideError> {
        let pairs = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let settings = Settings::read(&Variables::new(pairs)).unwrap();
        let stored = stored.map(|bgp| {
            let mut node = Resource::new(Kind::Node, "", "n");
            node.spec_mut().insert("bgp".into(), bgp);
            node
        });
        let addresses = vec![net("192.0.2.1/24"), net("2001:db8::1/64")];
        let nics = [Nic { name: "eth0".into(), up: true, addresses }];
        let source_to = |_: &str, _: Family| -> Result<IpAddr, String> { Err("no route".into()) };
        decide(&settings, stored.as_ref(), &Host { nics: &nics, source_to: &source_to, internal: &[] })
    }

    /// IPv4, IPv6, AS number.
    fn values(variables: &[(&str, &str)], stored: Option<Value>) -> [String; 3] {
        let facts = decided(variables, stored).unwrap().facts;
        let [a, b, c] = facts.try_into().unwrap();
        [a.value, b.value, c.value]
    }

    #[test]
    fn given_stored_detected() {
        let stored =
            || Some(json!({"ipv4Address": "198.51.100.1/24", "ipv6Address": "fd00::1", "asNumber": 64999}));
        assert_eq!(values(&[], None), ["192.0.2.1/24", "none", "of the cluster"]);
        assert_eq!(values(&[], stored()), ["198.51.100.1/24", "none", "64999"]);
        assert_eq!(values(&[("IP", "autodetect"), ("AS", "1")], stored()), ["192.0.2.1/24", "none", "1"]);
        let both = [("IP", "none"), ("IP6", "autodetect")];
        assert_eq!(values(&both, stored()), ["none", "2001:db8::1/64", "64999"]);
        assert_eq!(values(&[("IP", "192.0.2.1")], None)[0], "192.0.2.1/24");
        assert_eq!(values(&[("IP", "203.0.113.9")], None)[0], "203.0.113.9/32");
        let none = [("CALICO_NETWORKING_BACKEND", "none"), ("IP", "autodetect"), ("AS", "1")];
        assert_eq!(values(&none, stored()), ["198.51.100.1/24", "fd00::1/128", "64999"]);
    }

    #[test]
    fn each_value_has_its_reason() {
        let facts = decided(&[("IP", "203.0.113.9/24"), ("IP6", "autodetect")], None).unwrap().facts;
        let why: Vec<_> = facts.iter().map(|fact| fact.why.as_str()).collect();
        assert_eq!(why[0], "IP is set; no link of this host has it");
        assert_eq!(why[1], "detected on eth0 by first-found");
        assert!(why[2].contains("64512"));
    }

    #[test]
    fn an_address_that_is_not_found_stops_the_start() {
        let method = ("IP_AUTODETECTION_METHOD", "interface=wlan.*");
        let error = decided(&[method], None).unwrap_err().to_string();
        assert!(error.starts_with("IPv4 address: no IPv4 address found on a link"), "{error}");
        assert!(
            error.ends_with("set IP, or another IP_AUTODETECTION_METHOD (it is interface=(wlan.*))"),
            "{error}"
        );
        assert_eq!(decided(&[("IP", "none")], None), Err(DecideError::NoFamily));
    }
}
