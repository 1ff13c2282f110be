use super::*;
use crate::fib::Hop;
use kernel::{NextHop, RouteKind, Scope};
use proptest::prelude::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn net(text: &str) -> IpNet {
    let (addr, prefix) = text.split_once('/').unwrap();
    IpNet { addr: ip(addr), prefix: prefix.parse().unwrap() }
}

fn link(index: u32, name: &str, usable: bool) -> Link {
    Link {
        index,
        name: name.into(),
        alias: None,
        mac: None,
        mtu: 1500,
        up: usable,
        carrier: usable,
        kind: String::new(),
        peer: None,
    }
}

fn address(link: u32, text: &str) -> Address {
    Address { link, net: net(text), scope: Scope::Universe, tentative: false }
}

/// A route from words: `10.0.0.0/8 via 192.0.2.1 link 2 metric 5 proto 4`, `blackhole 10.0.0.0/8`.
fn route(text: &str) -> Route {
    let mut words = text.split(' ').peekable();
    let kind = match words.next_if(|word| *word == "blackhole") {
        Some(_) => RouteKind::Blackhole,
        None => RouteKind::Unicast,
    };
    let mut route = Route {
        dst: net(words.next().unwrap()),
        kind,
        next_hops: Vec::new(),
        scope: Scope::Universe,
        protocol: 4,
        metric: None,
        table: MAIN,
        source: None,
    };
    let mut gateway = None;
    while let Some(word) = words.next() {
        let value = words.next().unwrap();
        match word {
            "via" => gateway = Some(ip(value)),
            "link" => route.next_hops.push(NextHop {
                gateway: gateway.take(),
                link: value.parse().ok(),
                onlink: false,
                weight: 1,
            }),
            "metric" => route.metric = value.parse().ok(),
            "proto" => route.protocol = value.parse().unwrap(),
            "table" => route.table = value.parse().unwrap(),
            other => panic!("{other}"),
        }
    }
    route
}

fn via(metric: u32, hops: &[(&str, u32)]) -> Resolution {
    let hop = |(gateway, link): &(&str, u32)| Hop { gateway: Some(ip(gateway)), link: *link, onlink: false };
    Resolution::Via { metric, hops: hops.iter().map(hop).collect() }
}

/// Two links with a network each, and a default route.
fn look() -> Look {
    Look {
        links: vec![
            link(1, "lo", true),
            link(2, "eth0", true),
            link(3, "eth1", true),
            link(9, "cali1", true),
        ],
        addresses: vec![
            address(1, "127.0.0.1/8"),
            address(2, "192.0.2.1/24"),
            address(3, "198.51.100.0/31"),
            address(2, "2001:db8::1/64"),
            address(9, "fe80::1/64"),
        ],
        routes: vec![
            route("192.0.2.0/24 link 2 proto 2"),
            route("198.51.100.0/31 link 3 proto 2"),
            route("2001:db8::/64 link 2 proto 2 metric 256"),
            route("fe80::/64 link 9 proto 2 metric 256"),
            route("0.0.0.0/0 via 198.51.100.1 link 3"),
            route("203.0.113.0/24 via 192.0.2.7 link 2 metric 30"),
            route("10.65.0.2/32 link 9 proto 80 metric 1024"),
        ],
    }
}

fn tracker() -> Tracker {
    let mut tracker = Tracker::new();
    assert!(tracker.is_stale(), "nothing was looked at");
    tracker.ignore(vec!["cali*".into(), "kube-ipvs?".into()]);
    tracker.replace(look());
    assert!(!tracker.is_stale());
    tracker
}

fn told(changes: &Changes) -> Vec<String> {
    let words = |(prefix, local): &(Prefix, Option<Local>)| match local {
        None => format!("-{prefix}"),
        Some(Local { source, metric, interface }) => {
            format!("{prefix} {source:?} {metric:?} {}", interface.as_deref().unwrap_or("nowhere"))
        }
    };
    changes.local.iter().map(words).collect()
}

#[test]
fn next_hops_resolve_through_whatever_leads_there() {
    let mut tracker = tracker();
    for (next_hop, expected) in [
        ("192.0.2.9", via(0, &[("192.0.2.9", 2)])),
        ("198.51.100.1", via(0, &[("198.51.100.1", 3)])),
        ("203.0.113.5", via(30, &[("192.0.2.7", 2)])),
        ("8.8.8.8", via(0, &[("198.51.100.1", 3)])),
        ("10.65.0.2", via(1024, &[("10.65.0.2", 9)])),
        ("2001:db8::9", via(256, &[("2001:db8::9", 2)])),
        ("2001:db9::9", Resolution::Unreachable),
        ("192.0.2.1", Resolution::Unreachable),
    ] {
        assert_eq!(tracker.want(ip(next_hop)), expected, "{next_hop}");
    }
}

#[test]
fn routes_of_ours_and_of_other_tables_resolve_nothing() {
    let mut tracker = tracker();
    let before = tracker.want(ip("8.8.8.8"));
    tracker.event(&KernelEvent::Route(route("8.8.8.0/24 via 192.0.2.7 link 2 proto 81")));
    tracker.event(&KernelEvent::Route(route("8.8.8.0/24 via 192.0.2.7 link 2 table 100")));
    assert_eq!(tracker.want(ip("8.8.8.8")), before);
    tracker.changes();
    tracker.event(&KernelEvent::Route(route("8.8.8.0/24 via 192.0.2.7 link 2")));
    assert_eq!(tracker.changes().next_hops, [(ip("8.8.8.8"), via(0, &[("192.0.2.7", 2)]))]);
}

#[test]
fn several_ways_are_all_taken_and_dead_links_are_not() {
    let mut tracker = tracker();
    tracker.want(ip("203.0.113.5"));
    tracker.changes();
    tracker.event(&KernelEvent::Route(route(
        "203.0.113.0/25 via 198.51.100.1 link 3 via 192.0.2.8 link 2 metric 7",
    )));
    let both = via(7, &[("192.0.2.8", 2), ("198.51.100.1", 3)]);
    assert_eq!(tracker.changes().next_hops, [(ip("203.0.113.5"), both.clone())]);
    tracker.event(&KernelEvent::Link(link(3, "eth1", false)));
    assert!(tracker.is_stale(), "routes may have gone without an event");
    assert_eq!(tracker.changes().next_hops, [(ip("203.0.113.5"), via(7, &[("192.0.2.8", 2)]))]);
    tracker.event(&KernelEvent::Link(link(2, "eth0", false)));
    assert_eq!(tracker.changes().next_hops, [(ip("203.0.113.5"), Resolution::Unreachable)]);
    tracker.event(&KernelEvent::Link(link(2, "eth0", true)));
    tracker.event(&KernelEvent::Link(link(3, "eth1", true)));
    assert_eq!(tracker.changes().next_hops, [(ip("203.0.113.5"), both)]);
}

#[test]
fn the_lowest_metric_wins_while_its_link_works() {
    let mut tracker = tracker();
    tracker.want(ip("203.0.113.5"));
    tracker.event(&KernelEvent::Route(route("203.0.113.0/24 via 198.51.100.1 link 3 metric 10")));
    tracker.changes();
    assert_eq!(tracker.want(ip("203.0.113.5")), via(10, &[("198.51.100.1", 3)]));
    tracker.event(&KernelEvent::Link(link(3, "eth1", false)));
    assert_eq!(tracker.changes().next_hops, [(ip("203.0.113.5"), via(30, &[("192.0.2.7", 2)]))]);
}

#[test]
fn a_blackhole_on_the_way_is_no_way() {
    let mut tracker = tracker();
    tracker.want(ip("203.0.113.5"));
    tracker.changes();
    tracker.event(&KernelEvent::Route(route("blackhole 203.0.113.0/28")));
    assert_eq!(tracker.changes().next_hops, [(ip("203.0.113.5"), Resolution::Unreachable)]);
    tracker.event(&KernelEvent::RouteGone(route("blackhole 203.0.113.0/28")));
    assert_eq!(tracker.changes().next_hops, [(ip("203.0.113.5"), via(30, &[("192.0.2.7", 2)]))]);
}

#[test]
fn an_address_of_ours_is_no_next_hop() {
    let mut tracker = tracker();
    tracker.want(ip("192.0.2.9"));
    tracker.changes();
    tracker.event(&KernelEvent::Address(address(2, "192.0.2.9/24")));
    assert_eq!(tracker.changes().next_hops, [(ip("192.0.2.9"), Resolution::Unreachable)]);
    tracker.event(&KernelEvent::AddressGone(address(2, "192.0.2.9/24")));
    assert!(tracker.is_stale());
    assert_eq!(tracker.changes().next_hops, [(ip("192.0.2.9"), via(0, &[("192.0.2.9", 2)]))]);
    tracker.forget(ip("192.0.2.9"));
    tracker.event(&KernelEvent::Address(address(2, "192.0.2.9/24")));
    assert_eq!(tracker.changes().next_hops, []);
}

#[test]
fn networks_and_routes_of_others_are_told() {
    let mut tracker = tracker();
    assert_eq!(
        told(&tracker.changes()),
        [
            "0.0.0.0/0 Kernel None eth1",
            "10.65.0.2/32 Kernel Some(1024) cali1",
            "192.0.2.0/24 Direct None eth0",
            "198.51.100.0/31 Direct None eth1",
            "203.0.113.0/24 Kernel Some(30) eth0",
            "2001:db8::/64 Direct None eth0",
        ]
    );
    assert!(tracker.changes().is_empty(), "told once");
    tracker.event(&KernelEvent::Route(route("10.65.0.2/32 link 9 proto 80 metric 512")));
    assert_eq!(told(&tracker.changes()), ["10.65.0.2/32 Kernel Some(512) cali1"]);
    tracker.event(&KernelEvent::RouteGone(route("10.65.0.2/32 link 9 proto 80 metric 512")));
    assert_eq!(told(&tracker.changes()), ["10.65.0.2/32 Kernel Some(1024) cali1"]);
    tracker.event(&KernelEvent::RouteGone(route("10.65.0.2/32 link 9 proto 80 metric 1024")));
    assert_eq!(told(&tracker.changes()), ["-10.65.0.2/32"]);
    tracker.event(&KernelEvent::Route(route("blackhole 10.66.0.0/26 proto 3")));
    assert_eq!(told(&tracker.changes()), ["10.66.0.0/26 Kernel None nowhere"]);
    tracker.event(&KernelEvent::Link(link(2, "eth0", false)));
    let after = told(&tracker.changes());
    assert!(after.contains(&"-192.0.2.0/24".into()) && after.contains(&"-2001:db8::/64".into()), "{after:?}");
}

#[test]
fn other_patterns_tell_other_networks() {
    let mut tracker = tracker();
    tracker.changes();
    tracker.ignore(vec!["eth?".into()]);
    let after = told(&tracker.changes());
    assert_eq!(after, ["-192.0.2.0/24", "-198.51.100.0/31", "-2001:db8::/64"]);
    tracker.ignore(vec![]);
    assert_eq!(tracker.changes().local.len(), 3, "link-local networks and loopback are never told");
}

#[test]
fn patterns_are_the_shells() {
    for (pattern, name, expected) in [
        ("cali*", "cali0123", true),
        ("cali*", "cali", true),
        ("cali*", "xcali", false),
        ("*", "", true),
        ("*.cali", "vxlan.cali", true),
        ("*.cali", "vxlan.calico", false),
        ("eth?", "eth0", true),
        ("eth?", "eth", false),
        ("a*b*c", "aXXbYYc", true),
        ("a*b*c", "aXXbYY", false),
    ] {
        assert_eq!(local::matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
    }
}

#[test]
fn lost_events_ask_for_a_look_that_tells_the_difference() {
    let mut tracker = tracker();
    tracker.want(ip("203.0.113.5"));
    tracker.changes();
    tracker.event(&KernelEvent::Overrun);
    assert!(tracker.is_stale());
    let mut later = look();
    later.routes.retain(|route| route.dst != net("203.0.113.0/24"));
    later.routes.push(route("10.65.0.3/32 link 9 proto 80 metric 1024"));
    tracker.replace(later);
    let changes = tracker.changes();
    assert_eq!(changes.next_hops, [(ip("203.0.113.5"), via(0, &[("198.51.100.1", 3)]))]);
    assert_eq!(told(&changes), ["10.65.0.3/32 Kernel Some(1024) cali1", "-203.0.113.0/24"]);
    assert!(!tracker.is_stale());
}

fn some_route() -> impl Strategy<Value = Route> {
    let destination = prop_oneof![
        Just("0.0.0.0/0"),
        Just("203.0.113.0/24"),
        Just("203.0.113.128/25"),
        Just("203.0.113.5/32"),
        Just("10.0.0.0/8"),
    ];
    let rest = prop_oneof![
        Just("via 192.0.2.7 link 2"),
        Just("via 198.51.100.1 link 3"),
        Just("link 2"),
        Just("via 192.0.2.7 link 2 via 198.51.100.1 link 3"),
    ];
    (destination, rest, prop_oneof![Just(0u32), Just(5)], prop_oneof![Just(4u8), Just(80), Just(81)])
        .prop_map(|(to, rest, metric, protocol)| {
            route(&format!("{to} {rest} metric {metric} proto {protocol}"))
        })
}

#[derive(Debug, Clone)]
enum Step {
    Route(Route),
    Gone(usize),
    Link(u32, bool),
    Address(bool),
    Ask,
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => some_route().prop_map(Step::Route),
        3 => any::<usize>().prop_map(Step::Gone),
        2 => (2..4u32, any::<bool>()).prop_map(|(index, up)| Step::Link(index, up)),
        1 => any::<bool>().prop_map(Step::Address),
        2 => Just(Step::Ask),
        1 => Just(Step::Look),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Events in any order, asked in between or not, tell in sum what a fresh tracker tells of the final state.
    #[test]
    fn events_end_where_a_look_does(steps in proptest::collection::vec(step(), 0..40)) {
        let mut state = look();
        let mut tracker = tracker();
        let asked = ["203.0.113.5", "203.0.113.200", "192.0.2.50", "10.1.1.1"];
        let mut known = BTreeMap::new();
        for next_hop in asked {
            known.insert(ip(next_hop), tracker.want(ip(next_hop)));
        }
        let mut told: BTreeMap<Prefix, Local> = BTreeMap::new();
        let take = |tracker: &mut Tracker, known: &mut BTreeMap<_, _>, told: &mut BTreeMap<_, _>| {
            let changes = tracker.changes();
            known.extend(changes.next_hops);
            for (prefix, local) in changes.local {
                match local {
                    Some(local) => drop(told.insert(prefix, local)),
                    None => drop(told.remove(&prefix)),
                }
            }
        };
        for step in steps {
            match step {
                Step::Route(route) => {
                    state.routes.retain(|r| (r.dst, r.metric.unwrap_or(0)) != (route.dst, route.metric.unwrap_or(0))
                        || (r.protocol == 81) != (route.protocol == 81));
                    state.routes.push(route.clone());
                    tracker.event(&KernelEvent::Route(route));
                }
                Step::Gone(pick) if !state.routes.is_empty() => {
                    let route = state.routes.remove(pick % state.routes.len());
                    tracker.event(&KernelEvent::RouteGone(route));
                }
                Step::Gone(_) => {}
                Step::Link(index, up) => {
                    let link = link(index, if index == 2 { "eth0" } else { "eth1" }, up);
                    state.links.retain(|other| other.index != index);
                    state.links.push(link.clone());
                    tracker.event(&KernelEvent::Link(link));
                }
                Step::Address(there) => {
                    let address = address(2, "192.0.2.50/24");
                    let before = state.addresses.len();
                    state.addresses.retain(|other| *other != address);
                    match there {
                        true => {
                            state.addresses.push(address.clone());
                            tracker.event(&KernelEvent::Address(address));
                        }
                        false if state.addresses.len() < before => tracker.event(&KernelEvent::AddressGone(address)),
                        false => {}
                    }
                }
                Step::Ask => take(&mut tracker, &mut known, &mut told),
                Step::Look => tracker.replace(state.clone()),
            }
        }
        take(&mut tracker, &mut known, &mut told);
        let mut fresh = Tracker::new();
        fresh.ignore(vec!["cali*".into(), "kube-ipvs?".into()]);
        fresh.replace(state);
        let expected: BTreeMap<_, _> = asked.iter().map(|next_hop| (ip(next_hop), fresh.want(ip(next_hop)))).collect();
        prop_assert_eq!(known, expected);
        let locals: BTreeMap<_, _> = fresh.changes().local.into_iter().filter_map(|(p, l)| Some((p, l?))).collect();
        prop_assert_eq!(told, locals);
    }
}
