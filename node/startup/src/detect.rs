//! An address of this host, by every method of `IP_AUTODETECTION_METHOD` (`bgp.md` §14 of the contract).

use model::net::{Cidr, Family, family_of};
use regex_lite::Regex;
use std::fmt;
use std::net::IpAddr;

/// Links that `first-found` passes over: others' bridges and tunnels, ends of workloads.
const PASSED_OVER: &str = "^(docker.*|cbr.*|dummy.*|podman.*|virbr.*|lxcbr.*|veth.*|lo.*|br-.*|cali.*|tunl.*|flannel.*|\
     kube-ipvs.*|cni.*|vxlan\\.calico.*|vxlan-v6\\.calico.*|wireguard\\.cali.*|wg-v6\\.cali.*|nodelocaldns.*)";

/// An address with the length of its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostAddress {
    /// The address.
    pub address: IpAddr,
    /// Length of the network's prefix.
    pub prefix: u8,
}

/// A link of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// Its name.
    pub name: String,
    /// Administratively up.
    pub up: bool,
    /// Its addresses, in the kernel's order.
    pub addresses: Vec<HostAddress>,
}

/// What this host is seen to have.
pub struct Host<'a> {
    /// Its links, in the order of their indexes.
    pub nics: &'a [Nic],
    /// The source address the kernel would send to a destination with: an address or a name.
    pub source_to: &'a dyn Fn(&str, Family) -> Result<IpAddr, String>,
    /// Addresses that Kubernetes has for this node.
    pub internal: &'a [IpAddr],
}

/// How an address is found.
#[derive(Debug, Clone)]
pub enum Method {
    /// The first of the first link that is no bridge, tunnel or workload of somebody.
    FirstFound,
    /// The one packets to this destination leave with.
    CanReach(String),
    /// The first of the first link with such a name.
    Interface(Regex),
    /// The first of the first link without such a name.
    SkipInterface(Regex),
    /// The first in one of these networks.
    Cidr(Vec<Cidr>),
    /// The one Kubernetes knows.
    KubernetesInternalIp,
}

/// An address, and why it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The address.
    pub net: HostAddress,
    /// The link that has it.
    pub nic: String,
}

impl Method {
    /// Reads `IP_AUTODETECTION_METHOD`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text == "first-found" => Ok(Self::FirstFound),
            None if text == "kubernetes-internal-ip" => Ok(Self::KubernetesInternalIp),
            Some(("can-reach", destination)) if !destination.is_empty() => {
                Ok(Self::CanReach(destination.to_owned()))
            }
            Some(("interface", names)) => any_of(names).map(Self::Interface),
            Some(("skip-interface", names)) => any_of(names).map(Self::SkipInterface),
            Some(("cidr", list)) => list
                .split(',')
                .map(|text| Cidr::parse_masked(text.trim()).map_err(|error| error.to_string()))
                .collect::<Result<_, _>>()
                .map(Self::Cidr),
            _ => Err("expected first-found, can-reach=DESTINATION, interface=REGEX[,REGEX…], \
                      skip-interface=REGEX[,REGEX…], cidr=CIDR[,CIDR…] or kubernetes-internal-ip"
                .to_owned()),
        }
    }

    /// Finds the host's address of a family.
    ///
    /// # Errors
    /// Why there is none.
    pub fn detect(&self, family: Family, host: &Host<'_>) -> Result<Found, String> {
        let name = family.name();
        let none = |which: &str| format!("no {name} address found on {which}");
        match self {
            Self::FirstFound => {
                let passed_over = Regex::new(PASSED_OVER).map_err(|error| error.to_string())?;
                first(family, host.nics, |nic, _| !passed_over.is_match(nic))
                    .ok_or_else(|| none("any link that is up and no bridge, tunnel or workload"))
            }
            Self::Interface(names) => first(family, host.nics, |nic, _| names.is_match(nic))
                .ok_or_else(|| none(&format!("a link that is up and matches {names}"))),
            Self::SkipInterface(names) => first(family, host.nics, |nic, _| !names.is_match(nic))
                .ok_or_else(|| none(&format!("a link that is up and does not match {names}"))),
            Self::Cidr(list) => {
                first(family, host.nics, |_, address| list.iter().any(|cidr| cidr.contains(address)))
                    .ok_or_else(|| none("a link that is up, in one of the networks named"))
            }
            Self::CanReach(destination) => {
                let source = (host.source_to)(destination, family)
                    .map_err(|reason| format!("{destination} cannot be reached over {name}: {reason}"))?;
                owner(host.nics, source)
                    .ok_or_else(|| format!("{source}, which leads to {destination}, is on no link"))
            }
            Self::KubernetesInternalIp => {
                let internal = host.internal.iter().copied().find(|address| family_of(*address) == family);
                let internal = internal.ok_or_else(|| format!("Kubernetes told no {name} InternalIP"))?;
                owner(host.nics, internal)
                    .ok_or_else(|| format!("{internal}, the InternalIP in Kubernetes, is on no link"))
            }
        }
    }
}

/// The link that has an address, with the length of its network.
pub fn owner(nics: &[Nic], address: IpAddr) -> Option<Found> {
    nics.iter().find_map(|nic| {
        let net = nic.addresses.iter().find(|net| net.address == address)?;
        Some(Found { net: *net, nic: nic.name.clone() })
    })
}

/// Links and addresses that are reported with the node: all but those `first-found` passes over.
pub fn reported(nics: &[Nic]) -> impl Iterator<Item = &Nic> {
    let passed_over = Regex::new(PASSED_OVER).ok();
    nics.iter()
        .filter(move |nic| nic.up && passed_over.as_ref().is_some_and(|names| !names.is_match(&nic.name)))
}

/// The first unicast address, of the first link that is up, that is wanted.
fn first(family: Family, nics: &[Nic], wanted: impl Fn(&str, IpAddr) -> bool) -> Option<Found> {
    nics.iter().filter(|nic| nic.up).find_map(|nic| {
        let fits = |net: &&HostAddress| {
            family_of(net.address) == family && is_global(net.address) && wanted(&nic.name, net.address)
        };
        Some(Found { net: *nic.addresses.iter().find(fits)?, nic: nic.name.clone() })
    })
}

/// Whether others can send to it: what Go calls global unicast, private addresses included.
fn is_global(address: IpAddr) -> bool {
    let local = match address {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !(local || address.is_loopback() || address.is_multicast() || address.is_unspecified())
}

/// One expression for a list of them; each may match anywhere in a name, as Calico's.
fn any_of(list: &str) -> Result<Regex, String> {
    let parts: Vec<&str> = list.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return Err("expected a regular expression after =".to_owned());
    }
    for part in &parts {
        Regex::new(part).map_err(|error| format!("{part:?}: {error}"))?;
    }
    Regex::new(&format!("({})", parts.join(")|("))).map_err(|error| error.to_string())
}

impl fmt::Display for HostAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FirstFound => f.write_str("first-found"),
            Self::CanReach(destination) => write!(f, "can-reach={destination}"),
            Self::Interface(names) => write!(f, "interface={names}"),
            Self::SkipInterface(names) => write!(f, "skip-interface={names}"),
            Self::Cidr(list) => {
                let texts: Vec<String> = list.iter().map(Cidr::to_string).collect();
                write!(f, "cidr={}", texts.join(","))
            }
            Self::KubernetesInternalIp => f.write_str("kubernetes-internal-ip"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nic(name: &str, up: bool, addresses: &[&str]) -> Nic {
        let net = |text: &&str| {
            let (address, prefix) = text.split_once('/').unwrap();
            HostAddress { address: address.parse().unwrap(), prefix: prefix.parse().unwrap() }
        };
        Nic { name: name.to_owned(), up, addresses: addresses.iter().map(net).collect() }
    }

    fn nics() -> Vec<Nic> {
        vec![
            nic("lo", true, &["127.0.0.1/8", "192.0.2.99/32", "::1/128"]),
            nic("docker0", true, &["172.17.0.1/16"]),
            nic("eth0", false, &["198.51.100.7/24"]),
            nic("eth1", true, &["169.254.3.4/16", "192.0.2.1/24", "fe80::1/64", "2001:db8::1/64"]),
            nic("bond0", true, &["10.0.0.5/8", "fd00::5/48"]),
            nic("cali0123456789a", true, &["10.9.9.9/32"]),
        ]
    }

    fn found(method: &str, family: Family) -> Result<String, String> {
        let nics = nics();
        let source_to = |to: &str, family: Family| match (to, family) {
            ("8.8.8.8", Family::V4) => Ok("10.0.0.5".parse().unwrap()),
            ("far", Family::V4) => Ok("203.0.113.1".parse().unwrap()),
            _ => Err("no route".to_owned()),
        };
        let internal = ["fd00::5".parse().unwrap(), "192.0.2.99".parse().unwrap()];
        let host = Host { nics: &nics, source_to: &source_to, internal: &internal };
        let found = Method::parse(method)?.detect(family, &host)?;
        Ok(format!("{} {}", found.net, found.nic))
    }

    #[test]
    fn every_method() {
        for (method, family, expected) in [
            ("first-found", Family::V4, "192.0.2.1/24 eth1"),
            ("first-found", Family::V6, "2001:db8::1/64 eth1"),
            ("interface=bond.*", Family::V4, "10.0.0.5/8 bond0"),
            // by the order of links, not of expressions
            ("interface=bond.*,eth.*", Family::V4, "192.0.2.1/24 eth1"),
            ("interface=docker", Family::V4, "172.17.0.1/16 docker0"),
            ("skip-interface=eth.*,lo,docker.*", Family::V4, "10.0.0.5/8 bond0"),
            ("skip-interface=eth.*", Family::V4, "192.0.2.99/32 lo"),
            ("cidr=203.0.113.0/24,10.0.0.0/8", Family::V4, "10.0.0.5/8 bond0"),
            ("cidr=fd00::/8", Family::V6, "fd00::5/48 bond0"),
            ("can-reach=8.8.8.8", Family::V4, "10.0.0.5/8 bond0"),
            ("kubernetes-internal-ip", Family::V4, "192.0.2.99/32 lo"),
            ("kubernetes-internal-ip", Family::V6, "fd00::5/48 bond0"),
        ] {
            assert_eq!(found(method, family).as_deref(), Ok(expected), "{method} {}", family.name());
        }
    }

    #[test]
    fn nothing_found_says_where_it_was_looked_for() {
        for (method, family, says) in [
            ("interface=eth0", Family::V4, "no IPv4 address found on a link that is up and matches (eth0)"),
            ("cidr=203.0.113.0/24", Family::V4, "in one of the networks named"),
            ("can-reach=8.8.8.8", Family::V6, "8.8.8.8 cannot be reached over IPv6: no route"),
            ("can-reach=far", Family::V4, "203.0.113.1, which leads to far, is on no link"),
        ] {
            let error = found(method, family).unwrap_err();
            assert!(error.contains(says), "{method}: {error}");
        }
    }

    #[test]
    fn what_is_no_method() {
        for (text, says) in [
            ("first", "expected first-found, can-reach=DESTINATION"),
            ("can-reach=", "expected first-found"),
            ("interface=", "expected a regular expression"),
            ("interface=a(", "\"a(\""),
            ("cidr=10.0.0.0/33", "10.0.0.0/33"),
            ("interface=a),(b", "\"a)\""),
        ] {
            let error = Method::parse(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_reported_of_the_node() {
        let nics = nics();
        let names: Vec<_> = reported(&nics).map(|nic| nic.name.as_str()).collect();
        assert_eq!(names, ["eth1", "bond0"]);
    }
}
