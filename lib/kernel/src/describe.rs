//! Operations in words, for error messages and logs.

use crate::api::{LinkRef, Neighbour, Op, Route, RouteKind};
use std::fmt;

impl fmt::Display for LinkRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkRef::Name(name) => f.write_str(name),
            LinkRef::Index(index) => write!(f, "link {index}"),
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            RouteKind::Unicast => {}
            RouteKind::Blackhole => f.write_str("blackhole ")?,
            RouteKind::Unreachable => f.write_str("unreachable ")?,
            RouteKind::Other(number) => write!(f, "type {number} ")?,
        }
        write!(f, "{}", self.dst)?;
        for hop in &self.next_hops {
            if let Some(gateway) = hop.gateway {
                write!(f, " via {gateway}")?;
            }
            if let Some(link) = hop.link {
                write!(f, " link {link}")?;
            }
        }
        if let Some(metric) = self.metric {
            write!(f, " metric {metric}")?;
        }
        write!(f, " table {} proto {}", self.table, self.protocol)
    }
}

impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{} link {}", if self.proxy { "proxy " } else { "" }, self.addr, self.link)?;
        self.mac.map_or(Ok(()), |mac| write!(f, " at {mac}"))
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::AddVeth(pair) => write!(f, "add veth pair {} and {}", pair.name, pair.peer_name),
            Op::AddNetkit(pair) => write!(f, "add netkit pair {} and {}", pair.name, pair.peer_name),
            Op::AddBridge(name) => write!(f, "add bridge {name}"),
            Op::SetMaster { link, master } => write!(f, "make {link} a port of link {master}"),
            Op::DelLink(link) => write!(f, "delete {link}"),
            Op::PutAside { link, name, group } => write!(f, "rename link {link} to {name}, group {group}"),
            Op::DelGroup(group) => write!(f, "delete the links of group {group}"),
            Op::SetLink { link, up, mac, mtu, alias } => {
                write!(f, "set {link}")?;
                match up {
                    Some(true) => f.write_str(" up")?,
                    Some(false) => f.write_str(" down")?,
                    None => {}
                }
                if let Some(mac) = mac {
                    write!(f, " address {mac}")?;
                }
                if let Some(mtu) = mtu {
                    write!(f, " mtu {mtu}")?;
                }
                alias.as_ref().map_or(Ok(()), |alias| write!(f, " alias {alias:?}"))
            }
            Op::AddAddress { link, net, .. } => write!(f, "add address {net} to link {link}"),
            Op::DelAddress { link, net } => write!(f, "delete address {net} from link {link}"),
            Op::AddRoute(route) => write!(f, "add route {route}"),
            Op::ReplaceRoute(route) => write!(f, "replace route {route}"),
            Op::DelRoute(route) => write!(f, "delete route {route}"),
            Op::SetNeighbour(neighbour) => write!(f, "set neighbour {neighbour}"),
            Op::DelNeighbour(neighbour) => write!(f, "delete neighbour {neighbour}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::addr::{IpNet, Mac};
    use crate::api::{LinkRef, NextHop, Op, Route, RouteKind, Scope};

    #[test]
    fn operations_say_what_they_do() {
        let up = Op::SetLink {
            link: LinkRef::Name("cali1".into()),
            up: Some(true),
            mac: Some(Mac([0xee; 6])),
            mtu: Some(1450),
            alias: None,
        };
        assert_eq!(up.to_string(), "set cali1 up address ee:ee:ee:ee:ee:ee mtu 1450");
        let route = Op::AddRoute(Route {
            dst: IpNet { addr: "0.0.0.0".parse().unwrap(), prefix: 0 },
            kind: RouteKind::Unicast,
            next_hops: vec![NextHop {
                gateway: "169.254.1.1".parse().ok(),
                link: Some(3),
                onlink: false,
                weight: 1,
            }],
            scope: Scope::Universe,
            protocol: 3,
            metric: None,
            table: 254,
            source: None,
        });
        assert_eq!(route.to_string(), "add route 0.0.0.0/0 via 169.254.1.1 link 3 table 254 proto 3");
    }
}
