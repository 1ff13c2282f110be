use super::owned::{Ownership, ownership};
use super::table::RouteTable;
use super::wanted::{Want, Wanted};
use super::*;
use crate::links::Links;
use crate::settings::{BOOT, PROTOCOL, Settings};
use felix_calc::BlockRoute;
use felix_calc::endpoint::{EndpointKey, FloatingAddress, Workload};
use kernel::{Address, KernelError, Link, Op};
use std::time::Duration;

fn links() -> Links {
    let link = |index: u32, name: &str, up: bool| Link {
        index,
        name: name.into(),
        alias: None,
        mac: None,
        mtu: 1500,
        up,
        carrier: up,
        kind: String::new(),
        peer: None,
    };
    let host = kernel::IpNet { addr: ip("192.0.2.1"), prefix: 24 };
    let address = Address { link: 1, net: host, scope: Scope::Universe, tentative: false };
    let all =
        [link(1, "eth0", true), link(2, "cali1", true), link(3, "cali2", true), link(4, "cali3", false)];
    let mut links = Links::default();
    links.replace(&all, &[address], Duration::from_secs(100));
    links
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn cidr(text: &str) -> Cidr {
    Cidr::parse_masked(text).unwrap()
}

fn route(dst: &str, link: u32, protocol: u8, metric: u32) -> Route {
    let target = Target {
        kind: RouteKind::Unicast,
        hops: vec![NextHop { gateway: None, link: Some(link), onlink: false, weight: 1 }],
        protocol,
        source: None,
    };
    to_kernel(&Key::new(cidr(dst), metric), &target)
}

fn workload(interface: &str, addresses: &[&str]) -> Workload {
    Workload {
        interface: interface.into(),
        mac: Some([2, 0, 0, 0, 0, 1]),
        addresses: addresses.iter().map(|text| ip(text)).collect(),
        ..Workload::default()
    }
}

fn key(name: &str) -> EndpointKey {
    EndpointKey::Workload("default".into(), name.into())
}

fn wants(wanted: &mut Wanted, settings: &Settings) -> Vec<(String, Option<Want>)> {
    wanted.take(&links(), settings).into_iter().map(|(dst, want)| (dst.to_string(), want)).collect()
}

#[test]
fn routes_by_protocol_and_on_workloads_are_ours_and_no_others() {
    let (links, settings) = (links(), Settings::default());
    let of = |route: &Route| ownership(route, &links, &settings);
    let grace = Ownership::OnWorkload(Duration::from_secs(110));
    for (route, whose) in [
        (route("10.0.0.1/32", 2, PROTOCOL, 1024), Ownership::Ours),
        (route("10.0.0.0/26", 1, PROTOCOL, 0), Ownership::Ours),
        (route("10.0.0.1/32", 2, BOOT, 0), grace),
        (route("10.0.0.1/32", 2, 4, 0), grace),
        (route("10.0.0.1/32", 1, BOOT, 0), Ownership::Theirs),
        (route("10.0.0.0/26", 1, 81, 0), Ownership::Theirs),
        (route("10.0.0.0/26", 2, 81, 0), Ownership::Theirs),
        (route("10.0.0.0/24", 2, 2, 0), Ownership::Theirs),
        (route("fe80::/64", 2, 3, 256), Ownership::Theirs),
        (route("fd00::1/128", 2, 3, 1024), grace),
        (route("10.0.0.1/32", 9, BOOT, 0), Ownership::Theirs),
    ] {
        assert_eq!(of(&route), whose, "{route:?}");
    }
    let settings =
        Settings { remove_external_routes: false, device_route_protocol: BOOT, ..Settings::default() };
    let of = |route: &Route| ownership(route, &links, &settings);
    assert_eq!(of(&route("10.0.0.1/32", 2, 4, 0)), Ownership::Theirs);
    assert_eq!(of(&route("10.0.0.1/32", 2, BOOT, 0)), grace);
    let settings = Settings { device_route_protocol: 90, ..Settings::default() };
    let of = |route: &Route| ownership(route, &links, &settings);
    assert_eq!(of(&route("10.0.0.0/26", 1, 90, 0)), Ownership::Ours);
}

#[test]
fn a_workloads_addresses_get_calicos_host_routes() {
    let mut wanted = Wanted::default();
    let mut workload = workload("cali1", &["10.0.0.1", "fd00::1"]);
    workload.floating = [FloatingAddress { external: ip("203.0.113.1"), internal: ip("10.0.0.1") }].into();
    wanted.set_workload(&key("a"), Some(&workload), false);
    let settings =
        Settings { device_route_source: Some("192.0.2.1".parse().unwrap()), ..Settings::default() };
    let told = wants(&mut wanted, &settings);
    assert_eq!(told.iter().map(|(dst, _)| dst.as_str()).collect::<Vec<_>>(), ["10.0.0.1/32", "fd00::1/128"]);
    let v4 = told[0].1.clone().unwrap();
    let shown = to_kernel(&v4.key, &v4.target);
    assert_eq!((shown.scope, shown.protocol, shown.metric), (Scope::Link, PROTOCOL, Some(1024)));
    assert_eq!((shown.source, v4.target.link()), (Some(ip("192.0.2.1")), Some(2)));
    assert!(
        v4.mac.is_some() && told[1].1.as_ref().unwrap().mac.is_none(),
        "IPv6 neighbours are the kernel's"
    );
    // floating addresses where they are on
    wanted.set_workload(&key("a"), Some(&workload), true);
    assert_eq!(wants(&mut wanted, &settings).len(), 1);
    assert_eq!(wanted.addresses_of(&key("a")).count(), 3);
    // an interface that does not work has no routes
    workload.interface = "cali3".into();
    wanted.set_workload(&key("a"), Some(&workload), true);
    assert!(wants(&mut wanted, &settings).iter().all(|(_, want)| want.is_none()));
    // nor has a node without route sync
    workload.interface = "cali1".into();
    wanted.set_workload(&key("a"), Some(&workload), true);
    let off = Settings { route_sync: false, ..Settings::default() };
    assert!(wants(&mut wanted, &off).iter().all(|(_, want)| want.is_none()));
}

#[test]
fn of_two_the_local_workload_wins_and_of_two_workloads_the_later_interface() {
    let (mut wanted, settings) = (Wanted::default(), Settings::default());
    let via = BlockRoute::Via { gateway: ip("192.0.2.2"), from: ip("192.0.2.1") };
    wanted.set_block(cidr("10.0.0.1/32"), Some(via));
    let through = |told: &[(String, Option<Want>)]| told[0].1.as_ref().and_then(|want| want.target.link());
    assert_eq!(through(&wants(&mut wanted, &settings)), Some(1));
    wanted.set_workload(&key("a"), Some(&workload("cali1", &["10.0.0.1"])), false);
    assert_eq!(through(&wants(&mut wanted, &settings)), Some(2));
    wanted.set_workload(&key("b"), Some(&workload("cali2", &["10.0.0.1"])), false);
    assert_eq!(through(&wants(&mut wanted, &settings)), Some(3));
    wanted.set_workload(&key("b"), None, false);
    assert_eq!(through(&wants(&mut wanted, &settings)), Some(2));
    wanted.set_workload(&key("a"), None, false);
    assert_eq!(through(&wants(&mut wanted, &settings)), Some(1));
    wanted.set_block(cidr("10.0.0.1/32"), None);
    assert_eq!(wants(&mut wanted, &settings), [("10.0.0.1/32".to_owned(), None)]);
}

#[test]
fn blocks_lead_to_their_node_nowhere_or_into_a_hole() {
    let (mut wanted, settings) = (Wanted::default(), Settings::default());
    let via = BlockRoute::Via { gateway: ip("192.0.2.2"), from: ip("192.0.2.1") };
    let lost = BlockRoute::Via { gateway: ip("192.0.2.2"), from: ip("192.0.2.99") };
    wanted.set_block(cidr("10.0.0.0/26"), Some(via));
    wanted.set_block(cidr("10.0.0.64/26"), Some(BlockRoute::Blackhole));
    wanted.set_block(cidr("10.0.0.128/26"), Some(BlockRoute::Unreachable));
    wanted.set_block(cidr("10.0.0.192/26"), Some(lost));
    wanted.set_block(cidr("10.0.1.1/32"), Some(BlockRoute::Blackhole));
    let told = wants(&mut wanted, &settings);
    let target = |at: usize| told[at].1.as_ref().map(|want| want.target.clone());
    let first = target(0).unwrap();
    let hop = NextHop { gateway: Some(ip("192.0.2.2")), link: Some(1), onlink: true, weight: 1 };
    assert_eq!((first.hops, first.protocol, first.kind), (vec![hop], PROTOCOL, RouteKind::Unicast));
    assert_eq!(target(1).unwrap().kind, RouteKind::Blackhole);
    assert_eq!(target(2).unwrap().kind, RouteKind::Unreachable);
    assert_eq!((target(3), target(4)), (None, None), "an unknown address, and a block of one");
    // the host's addresses changed
    wanted.link_changed("eth0", false);
    assert_eq!(wants(&mut wanted, &settings).len(), 2);
}

/// Carries a batch out on a kernel that takes everything.
fn carry_out(table: &mut RouteTable, now: Duration) -> Vec<Op> {
    let (ops, sent) = table.batch(100, now);
    let results: Vec<Result<(), KernelError>> = ops.iter().map(|_| Ok(())).collect();
    assert_eq!(table.done(sent, results, now), Vec::<String>::new());
    ops
}

#[test]
fn the_plugins_route_stays_ten_seconds_beside_ours_and_no_connection_is_forgotten() {
    let (links, settings) = (links(), Settings::default());
    let mut table = RouteTable::default();
    let theirs = route("10.0.0.1/32", 2, BOOT, 0);
    table.appeared(&theirs, &links, &settings);
    let (key, target) = from_kernel(&route("10.0.0.1/32", 2, PROTOCOL, 1024)).unwrap();
    table.want(key.dst, Some((key, target)));
    let early = Duration::from_secs(101);
    let ops = carry_out(&mut table, early);
    assert!(matches!(ops.as_slice(), [Op::AddRoute(_)]), "{ops:?}");
    assert!(table.is_installed(&key.dst) && table.is_in_sync());
    let grace = table.next_try().unwrap();
    assert_eq!(grace, Duration::from_secs(110));
    let ops = carry_out(&mut table, grace);
    assert!(matches!(ops.as_slice(), [Op::DelRoute(gone)] if gone.protocol == BOOT), "{ops:?}");
    assert!(table.take_left().is_empty(), "the workload is still there");
    assert_eq!(table.next_try(), None);
    // IPv6: the plugin's route has the metric ours has, and becomes ours at once
    table.appeared(&route("fd00::1/128", 2, BOOT, 1024), &links, &settings);
    let (key, target) = from_kernel(&route("fd00::1/128", 2, PROTOCOL, 1024)).unwrap();
    table.want(key.dst, Some((key, target)));
    assert!(matches!(carry_out(&mut table, early).as_slice(), [Op::ReplaceRoute(_)]));
}

#[test]
fn an_address_leaves_with_its_route_or_by_moving_and_not_otherwise() {
    let (links, settings) = (links(), Settings::default());
    let mut table = RouteTable::default();
    let now = Duration::from_secs(500);
    let want = |table: &mut RouteTable, link: u32| {
        let (key, target) = from_kernel(&route("10.0.0.1/32", link, PROTOCOL, 1024)).unwrap();
        table.want(key.dst, Some((key, target)));
        carry_out(table, now);
        table.take_left().len()
    };
    assert_eq!(want(&mut table, 2), 0, "new");
    assert_eq!(want(&mut table, 2), 0, "the same");
    assert_eq!(want(&mut table, 3), 1, "moved");
    table.flushed(3);
    assert_eq!(table.take_left().len(), 1, "the link went");
    assert_eq!(want(&mut table, 3), 0);
    table.want(cidr("10.0.0.1/32"), None);
    carry_out(&mut table, now);
    assert_eq!(table.take_left().len(), 1, "gone");
    // a block is nobody's address
    let via = NextHop { gateway: Some(ip("192.0.2.2")), link: Some(1), onlink: true, weight: 1 };
    let target = Target { kind: RouteKind::Unicast, hops: vec![via], protocol: PROTOCOL, source: None };
    table.want(cidr("10.0.9.0/26"), Some((Key::new(cidr("10.0.9.0/26"), 0), target)));
    carry_out(&mut table, now);
    table.want(cidr("10.0.9.0/26"), None);
    carry_out(&mut table, now);
    assert!(table.take_left().is_empty());
    // found at a look
    table.read_back(&[route("10.0.0.7/32", 2, PROTOCOL, 1024)], &links, &settings);
    carry_out(&mut table, now);
    assert_eq!(table.take_left(), [ip("10.0.0.7")].into());
}

#[test]
fn what_is_refused_waits_and_a_route_of_others_is_not_replaced() {
    let (links, settings) = (links(), Settings::default());
    let refusal = KernelError::Refused { errno: 17, what: "add".into(), detail: None };
    let lost = KernelError::Socket("its answer is lost".into());
    for error in [refusal, lost] {
        let mut table = RouteTable::default();
        let (key, target) = from_kernel(&route("10.0.0.1/32", 2, PROTOCOL, 1024)).unwrap();
        table.want(key.dst, Some((key, target.clone())));
        let now = Duration::from_secs(500);
        let (ops, sent) = table.batch(100, now);
        assert!(matches!(ops.as_slice(), [Op::AddRoute(_)]));
        assert_eq!(table.done(sent, [Err(error)], now).len(), 1);
        assert!(table.batch(100, now).0.is_empty() && table.wants_look() && !table.is_in_sync());
        // a look finds ours there after all
        table.read_back(&[to_kernel(&key, &target)], &links, &settings);
        assert!(table.is_in_sync());
        // somebody puts a route of their own over it
        table.appeared(&route("10.0.0.1/32", 1, 4, 1024), &links, &settings);
        assert!(table.wants_look());
        table.read_back(&[route("10.0.0.1/32", 1, 4, 1024)], &links, &settings);
        assert!(matches!(table.batch(100, now * 2).0.as_slice(), [Op::AddRoute(_)]));
    }
}

#[test]
fn a_removal_that_is_refused_after_the_grace_waits_for_its_pause() {
    let (links, settings) = (links(), Settings::default());
    let mut table = RouteTable::default();
    table.appeared(&route("10.0.0.1/32", 2, BOOT, 0), &links, &settings);
    let due = table.next_try().unwrap();
    assert!(table.batch(100, due - Duration::from_millis(1)).0.is_empty());
    let (ops, sent) = table.batch(100, due);
    assert!(matches!(ops.as_slice(), [Op::DelRoute(_)]));
    let refusal = KernelError::Refused { errno: 12, what: "delete".into(), detail: None };
    assert_eq!(table.done(sent, [Err(refusal)], due).len(), 1);
    assert!(table.next_try().unwrap() > due && table.batch(100, due).0.is_empty());
}
