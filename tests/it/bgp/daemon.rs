//! A daemon of Debian's with one session a family to our node, as Calico runs them, and what it originates.

use super::{Place, US, US_AS};
use anyhow::Result;
use ocicat_tests::router::table::{Entry, Family, Table, bird_protocol};
use ocicat_tests::router::{Kind, Router};
use std::fmt::Write;

/// How a daemon is set up.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    pub kind: Kind,
    pub place: Place,
    pub asn: u32,
    /// Its neighbour, which is our node unless a test compares daemons.
    pub remote: Place,
    pub remote_as: u32,
    pub password: Option<&'a str>,
    /// Our node is its client.
    pub reflects: bool,
    pub graceful_restart: bool,
    pub add_path: bool,
    pub passive: bool,
    /// BIRD checks that what it gets comes from the link (RFC 5082).
    pub ttl_security: bool,
    /// Further neighbours that tell it routes, with their AS numbers; its clients too where it reflects.
    pub others: &'a [(Place, u32)],
}

impl Setup<'_> {
    /// An external neighbour without anything special.
    pub fn external(kind: Kind, place: Place) -> Self {
        let asn = 65000 + u32::from(place.0);
        Self {
            kind,
            place,
            asn,
            remote: US,
            remote_as: US_AS,
            password: None,
            reflects: false,
            graceful_restart: false,
            add_path: false,
            passive: false,
            ttl_security: false,
            others: &[],
        }
    }

    /// An internal one.
    pub fn internal(kind: Kind, place: Place) -> Self {
        Self { asn: US_AS, ..Self::external(kind, place) }
    }

    /// Starts it with its routes.
    pub fn start(&self) -> Result<Router> {
        let configuration = match self.kind {
            Kind::Bird => self.bird(),
            Kind::FrrAlone | Kind::Frr => self.frr(),
            Kind::Gobgp => self.gobgp(),
        };
        let router = Router::start(self.kind, Some(&self.place.netns()), &configuration)?;
        if self.kind == Kind::Gobgp {
            for family in Family::ALL {
                let [rich, poor] = self.place.routes(family);
                let (name, next_hop) = (Self::gobgp_family(family), self.place.address(family));
                let asn = self.asn;
                router.query(&format!(
                    "global rib add -a {name} {rich} nexthop {next_hop} med 9 community {asn}:7 large-community {asn}:1:2"
                ))?;
                router.query(&format!("global rib add -a {name} {poor} nexthop {next_hop}"))?;
            }
        }
        Ok(router)
    }

    /// What our node shall know of it, told apart from LOCAL_PREF.
    pub fn told(&self, family: Family) -> Table {
        let [rich, poor] = self.place.routes(family);
        let plain = Entry {
            next_hop: self.place.address(family),
            as_path: if self.asn == US_AS { String::new() } else { self.asn.to_string() },
            ..Entry::default()
        };
        let all = Entry {
            med: Some(9),
            communities: vec![format!("{}:7", self.asn)],
            large_communities: vec![format!("{}:1:2", self.asn)],
            ..plain.clone()
        };
        super::table([(rich, all), (poor, plain)])
    }

    pub fn bird(&self) -> String {
        let Self { asn, remote_as, .. } = self;
        let mut text = format!(
            "router id {};\nlog stderr all;\nprotocol device {{ scan time 1; }}\n",
            self.place.address(Family::Ipv4)
        );
        for family in Family::ALL {
            let channel = if family == Family::Ipv4 { "ipv4" } else { "ipv6" };
            let [rich, poor] = self.place.routes(family);
            let us = self.remote.address(family);
            let mut session = String::new();
            if let Some(password) = self.password {
                let _ = write!(session, " password \"{password}\";");
            }
            if self.reflects {
                session.push_str(" rr client; rr cluster id 10.9.9.9;");
            }
            if self.passive {
                session.push_str(" passive;");
            }
            if self.ttl_security {
                session.push_str(" ttl security on;");
            }
            let restart = if self.graceful_restart { "on" } else { "off" };
            let add_path = if self.add_path { "add paths on;" } else { "" };
            // What is reflected keeps its next hop (RFC 4456 §10).
            let own = if self.reflects { "next hop self ebgp;" } else { "next hop self;" };
            let _ = write!(
                text,
                "protocol static static_{channel} {{ {channel};\n\
                 route {rich} blackhole {{ bgp_community.add(({asn},7)); bgp_large_community.add(({asn},1,2)); }};\n\
                 route {poor} blackhole; }}\n\
                 protocol bgp {} {{ local {} as {asn}; neighbor {us} as {remote_as};{session}\n\
                 graceful restart {restart}; connect delay time 1; connect retry time 1; error wait time 1,2;\n\
                 {channel} {{ import all; {own} {add_path}\n\
                 export filter {{ if net = {rich} then bgp_med = 9; accept; }}; }}; }}\n",
                bird_protocol(&us),
                self.place.address(family),
            );
            let client = if self.reflects { "rr client; rr cluster id 10.9.9.9;" } else { "" };
            for (place, other) in self.others {
                let address = place.address(family);
                let _ = write!(
                    text,
                    "protocol bgp {} {{ local {} as {asn}; neighbor {address} as {other}; passive; {client}\n\
                     {channel} {{ import all; export all; }}; }}\n",
                    bird_protocol(&address),
                    self.place.address(family),
                );
            }
        }
        text
    }

    fn frr(&self) -> String {
        let Self { asn, remote_as, .. } = self;
        let mut text = format!(
            "route-map RICH permit 10\n set metric 9\n set community {asn}:7\n set large-community {asn}:1:2\n!\n\
             router bgp {asn}\n bgp router-id {}\n no bgp ebgp-requires-policy\n no bgp network import-check\n\
             no bgp default ipv4-unicast\n{}",
            self.place.address(Family::Ipv4),
            if self.graceful_restart {
                " bgp graceful-restart\n bgp graceful-restart preserve-fw-state\n"
            } else {
                ""
            }
        );
        for us in self.remote.both() {
            let _ = write!(text, " neighbor {us} remote-as {remote_as}\n neighbor {us} timers connect 1\n");
            let _ = writeln!(text, " neighbor {us} advertisement-interval 0");
            if let Some(password) = self.password {
                let _ = writeln!(text, " neighbor {us} password {password}");
            }
            if self.passive {
                let _ = writeln!(text, " neighbor {us} passive");
            }
        }
        if self.reflects {
            text.push_str(" bgp cluster-id 10.9.9.9\n");
        }
        for (address, other) in self.others.iter().flat_map(|(place, asn)| place.both().map(|at| (at, asn))) {
            let _ = write!(text, " neighbor {address} remote-as {other}\n neighbor {address} passive\n");
            let _ = writeln!(text, " neighbor {address} advertisement-interval 0");
        }
        for family in Family::ALL {
            let [rich, poor] = self.place.routes(family);
            let us = self.remote.address(family);
            let name = if family == Family::Ipv4 { "ipv4" } else { "ipv6" };
            let _ = write!(
                text,
                " address-family {name} unicast\n  network {rich} route-map RICH\n  network {poor}\n  neighbor {us} activate\n"
            );
            if self.reflects {
                let _ = writeln!(text, "  neighbor {us} route-reflector-client");
            }
            if self.add_path {
                let _ = writeln!(text, "  neighbor {us} addpath-tx-all-paths");
            }
            for address in self.others.iter().map(|(place, _)| place.address(family)) {
                let _ = writeln!(text, "  neighbor {address} activate");
                if self.reflects {
                    let _ = writeln!(text, "  neighbor {address} route-reflector-client");
                }
            }
            text.push_str(" exit-address-family\n");
        }
        text
    }

    fn gobgp_family(family: Family) -> &'static str {
        match family {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        }
    }

    fn gobgp(&self) -> String {
        let mut text = format!(
            "[global.config]\nas = {}\nrouter-id = '{}'\n",
            self.asn,
            self.place.address(Family::Ipv4)
        );
        let others = self.others.iter().map(|(place, asn)| (*place, *asn, true));
        for (remote, remote_as, passive) in
            [(self.remote, self.remote_as, self.passive)].into_iter().chain(others)
        {
            for family in Family::ALL {
                self.gobgp_neighbor(family, (remote, remote_as), passive, &mut text);
            }
        }
        text
    }

    fn gobgp_neighbor(&self, family: Family, remote: (Place, u32), passive: bool, text: &mut String) {
        let (address, asn) = (remote.0.address(family), remote.1);
        let _ = write!(
            text,
            "[[neighbors]]\n[neighbors.config]\nneighbor-address = '{address}'\npeer-as = {asn}\n"
        );
        if let Some(password) = self.password {
            let _ = writeln!(text, "auth-password = '{password}'");
        }
        let _ = write!(
            text,
            "[neighbors.transport.config]\npassive-mode = {passive}\nlocal-address = '{}'\n[neighbors.timers.config]\nconnect-retry = 1\n",
            self.place.address(family)
        );
        if self.reflects {
            text.push_str(
                "[neighbors.route-reflector.config]\nroute-reflector-client = true\nroute-reflector-cluster-id = '10.9.9.9'\n",
            );
        }
        if self.graceful_restart {
            text.push_str("[neighbors.graceful-restart.config]\nenabled = true\nrestart-time = 60\n");
        }
        let name = Self::gobgp_family(family);
        let _ = write!(
            text,
            "[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = '{name}-unicast'\n"
        );
        if self.graceful_restart {
            text.push_str("[neighbors.afi-safis.mp-graceful-restart.config]\nenabled = true\n");
        }
        if self.add_path && remote.0 == self.remote {
            text.push_str("[neighbors.afi-safis.add-paths.config]\nreceive = true\nsend-max = 8\n");
        }
    }
}
