//! Both families on one session (RFC 4760), which Calico's resources cannot say; over IPv6, IPv4 routes have IPv6 next
//! hops (RFC 8950). Our node reflects, so that what one daemon tells goes through ours to the others unchanged.

use super::*;
use ocicat_tests::router::table::bird_protocol;
use ocicat_tests::router::{Kind, Router};
use ocicat_tests::speaker::Speaker;

/// One route of each family that a daemon originates.
fn route(place: Place, family: Family) -> String {
    let [rich, _] = place.routes(family);
    rich
}

/// The next hop that a daemon's routes have on a session between addresses of family `over`.
fn next_hop(place: Place, family: Family, over: Family) -> String {
    place.address(if over == Family::Ipv6 { Family::Ipv6 } else { family })
}

/// Starts a daemon with one internal session, with its two routes.
fn start(kind: Kind, place: Place, over: Family) -> Result<Router> {
    let (us, own) = (US.address(over), place.address(over));
    let (v4, v6) = (route(place, Family::Ipv4), route(place, Family::Ipv6));
    let (id, six) = (place.address(Family::Ipv4), place.address(Family::Ipv6));
    let extended = over == Family::Ipv6;
    let configuration = match kind {
        Kind::Bird => format!(
            "router id {id};\nlog stderr all;\nprotocol device {{ scan time 1; }}\n\
             protocol static four {{ ipv4; route {v4} blackhole; }}\nprotocol static six {{ ipv6; route {v6} blackhole; }}\n\
             protocol bgp {} {{ local {own} as {US_AS}; neighbor {us} as {US_AS}; connect delay time 1; connect retry time 1;\n\
             error wait time 1,2;\n\
             ipv4 {{ import all; export all; extended next hop {}; }};\n\
             ipv6 {{ import all; export all; next hop address {six}; }}; }}\n",
            bird_protocol(&us),
            if extended { "on" } else { "off" },
        ),
        Kind::FrrAlone | Kind::Frr => format!(
            "route-map SIX permit 10\n set ipv6 next-hop global {six}\n!\n\
             router bgp {US_AS}\n bgp router-id {id}\n no bgp network import-check\n no bgp default ipv4-unicast\n\
             neighbor {us} remote-as {US_AS}\n neighbor {us} timers connect 1\n neighbor {us} advertisement-interval 0\n{}\
             address-family ipv4 unicast\n  network {v4}\n  neighbor {us} activate\n exit-address-family\n\
             address-family ipv6 unicast\n  network {v6} route-map SIX\n  neighbor {us} activate\n exit-address-family\n",
            if extended { format!("neighbor {us} capability extended-nexthop\n") } else { String::new() },
        ),
        Kind::Gobgp => format!(
            "[global.config]\nas = {US_AS}\nrouter-id = '{id}'\n[[neighbors]]\n[neighbors.config]\n\
             neighbor-address = '{us}'\npeer-as = {US_AS}\n[neighbors.transport.config]\nlocal-address = '{own}'\n\
             [neighbors.timers.config]\nconnect-retry = 1\n\
             [[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = 'ipv4-unicast'\n\
             [[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = 'ipv6-unicast'\n"
        ),
    };
    let router = Router::start(kind, Some(&place.netns()), &configuration)?;
    if kind == Kind::Gobgp {
        for (name, family) in [("ipv4", Family::Ipv4), ("ipv6", Family::Ipv6)] {
            let hop = next_hop(place, family, over);
            router.query(&format!("global rib add -a {name} {} nexthop {hop}", route(place, family)))?;
        }
    }
    Ok(router)
}

fn one_session(over: Family) {
    let daemons = [(Kind::Bird, Place(2)), (Kind::Frr, Place(3)), (Kind::Gobgp, Place(4))];
    on_one_link(&[US, Place(2), Place(3), Place(4)], || {
        let mut all = resources(", routeReflectorClusterID: 244.0.0.1") + &everything_leaves();
        let mut running = Vec::new();
        for (kind, place) in daemons {
            running.push(start(kind, place, over)?);
            all.push_str(&format!(
                "---\n{HEAD} BGPPeer\nmetadata: {{name: of-{}, annotations: {{bgp.ocicat.io/families: 'ipv4,ipv6'}}}}\n\
                 spec: {{node: us, peerIP: '{}', asNumber: {US_AS}{EVERYTHING}}}\n",
                place.0,
                place.address(over)
            ));
        }
        let us = Speaker::start(&US.netns(), "us", &all, &[])?;
        let addresses = daemons.map(|(_, place)| place.address(over));
        us.wait_established(&addresses.each_ref().map(String::as_str))?;
        assert_eq!(connections(US), 3, "one connection a neighbour");
        for family in Family::ALL {
            let of = |(_, place): (Kind, Place)| {
                let hop = next_hop(place, family, over);
                (route(place, family), Entry { next_hop: hop, ..Entry::default() })
            };
            let wanted = table(daemons.map(of));
            wait_until("what we know", &wanted, || {
                let mut known = plain(us.routes(family)?);
                known.values_mut().flatten().for_each(|entry| {
                    entry.originator = None;
                    entry.clusters.clear();
                });
                Ok(known)
            });
            for ((kind, place), daemon) in daemons.iter().zip(&running) {
                let mut wanted = wanted.clone();
                wanted.remove(&route(*place, family));
                // Our own block goes with our address of its family, which is right with and without RFC 8950.
                let block = Entry { next_hop: US.address(family), ..Entry::default() };
                wanted.insert(our_block(family), vec![block]);
                wait_until(&format!("what {kind:?} knows of {family:?} over {over:?}"), &wanted, || {
                    let mut known = plain(daemon.learnt(family, &US.address(over))?);
                    known.values_mut().flatten().for_each(|entry| {
                        entry.originator = None;
                        entry.clusters.clear();
                    });
                    Ok(known)
                });
            }
        }
        for (_, place) in daemons {
            let hop = next_hop(place, Family::Ipv4, over);
            let via = if over == Family::Ipv6 { format!("via inet6 {hop}") } else { format!("via {hop}") };
            let shown = || {
                let prefix = route(place, Family::Ipv4);
                tool("ip", &["-n", &US.netns(), "route", "show", "proto", "81", &prefix])
            };
            wait_for("a route in the kernel", PATIENCE, || {
                shown().ok().filter(|shown| shown.contains(&format!("{via} dev eth0")))
            })
            .unwrap_or_else(|error| panic!("{error:#}: {:?}", shown()));
        }
        Ok(())
    });
}

#[test]
fn both_families_share_a_session_over_ipv4() {
    one_session(Family::Ipv4);
}

#[test]
fn both_families_share_a_session_over_ipv6() {
    one_session(Family::Ipv6);
}
