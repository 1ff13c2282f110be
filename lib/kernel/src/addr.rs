//! Hardware addresses, and IP addresses with a prefix length.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// Six bytes of a hardware address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The link-local address a kernel derives from this hardware address (RFC 4291 appendix A, modified
    /// EUI-64): `ee:ee:ee:ee:ee:ee` gives `fe80::ecee:eeff:feee:eeee`.
    pub fn link_local(self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.0;
        Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 0x02, b, c, 0xff, 0xfe, d, e, f])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A text that is no hardware address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no hardware address; six bytes such as 0a:1b:2c:3d:4e:5f are expected")]
pub struct MacError(pub String);

impl FromStr for Mac {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        let wrong = || MacError(text.to_string());
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut bytes = [0u8; 6];
        let mut parts = text.split(separator);
        for byte in &mut bytes {
            let part = parts.next().ok_or_else(wrong)?;
            if part.len() != 2 || !part.bytes().all(|c| c.is_ascii_hexdigit()) {
                return Err(wrong());
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
        }
        if parts.next().is_some() { Err(wrong()) } else { Ok(Mac(bytes)) }
    }
}

/// An address with its prefix length, host bits kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpNet {
    /// The address.
    pub addr: IpAddr,
    /// Prefix length.
    pub prefix: u8,
}

impl IpNet {
    /// The /32 or /128 of one address.
    pub fn host(addr: IpAddr) -> Self {
        Self { addr, prefix: if addr.is_ipv4() { 32 } else { 128 } }
    }

    /// `0.0.0.0/0` or `::/0`, by the family of `addr`.
    pub fn default_route_of(addr: IpAddr) -> Self {
        let any = match addr {
            IpAddr::V4(_) => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        Self { addr: any, prefix: 0 }
    }

    /// Whether `addr` lies in this prefix.
    pub fn contains(&self, addr: IpAddr) -> bool {
        fn same(a: u128, b: u128, keep: u32) -> bool {
            keep == 0 || (a ^ b).checked_shr(128 - keep).unwrap_or(0) == 0
        }
        match (self.addr, addr) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let widen = |ip: std::net::Ipv4Addr| u128::from(u32::from(ip)) << 96;
                same(widen(a), widen(b), u32::from(self.prefix))
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => same(u128::from(a), u128::from(b), u32::from(self.prefix)),
            _ => false,
        }
    }
}

impl fmt::Display for IpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hardware_address_reads_and_prints() {
        let mac: Mac = "0A:1b:2c:3d:4e:5F".parse().unwrap();
        assert_eq!(mac, Mac([10, 27, 44, 61, 78, 95]));
        assert_eq!(mac.to_string(), "0a:1b:2c:3d:4e:5f");
        assert_eq!("0a-1b-2c-3d-4e-5f".parse::<Mac>().unwrap(), mac);
        for bad in [
            "",
            "0a:1b:2c:3d:4e",
            "0a:1b:2c:3d:4e:5f:60",
            "0a:1b:2c:3d:4e:5",
            "+a:1b:2c:3d:4e:5f",
            "gg:1b:2c:3d:4e:5f",
        ] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }

    #[test]
    fn calicos_host_end_has_the_link_local_address_of_the_contract() {
        assert_eq!(Mac([0xee; 6]).link_local().to_string(), "fe80::ecee:eeff:feee:eeee");
    }

    #[test]
    fn prefixes_contain_their_addresses_only() {
        let net = |text: &str, prefix| IpNet { addr: text.parse().unwrap(), prefix };
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(net("10.1.2.3", 16).contains(ip("10.1.255.255")));
        assert!(!net("10.1.2.3", 16).contains(ip("10.2.0.0")));
        assert!(net("0.0.0.0", 0).contains(ip("255.0.0.1")));
        assert!(!net("0.0.0.0", 0).contains(ip("::1")));
        assert!(net("fe80::1", 64).contains(ip("fe80::ffff:1")));
        assert!(!net("fe80::1", 64).contains(ip("fe80:0:0:1::1")));
        assert!(IpNet::host(ip("::1")).contains(ip("::1")));
        assert!(!IpNet::host(ip("::1")).contains(ip("::2")));
        assert_eq!(IpNet::default_route_of(ip("10.0.0.1")).to_string(), "0.0.0.0/0");
        assert_eq!(IpNet::default_route_of(ip("fe80::1")).to_string(), "::/0");
    }
}
