use super::*;
use kernel::memory::{Fault, World};
use kernel::{IpNet, Kernel, NextHop, Route, RouteFilter, RouteKind, Scope, VethPair};
use nix::errno::Errno;
use proptest::prelude::*;
use std::net::IpAddr;

mod real;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn prefix(text: &str) -> Prefix {
    let (addr, len) = text.split_once('/').unwrap();
    Prefix::new(ip(addr), len.parse().unwrap()).unwrap()
}

fn hop(gateway: &str, link: u32) -> Hop {
    Hop { gateway: Some(ip(gateway)), link, onlink: false }
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Runs one future that is always ready: the in-memory kernel waits for nothing.
fn now_or_never<T>(future: impl Future<Output = T>) -> T {
    futures::FutureExt::now_or_never(future).expect("ready at once")
}

/// A world whose host has a link with 192.0.2.1/24 and fd00::1/64.
fn world() -> (World, kernel::memory::MemoryKernel, u32) {
    let world = World::new().unwrap();
    let kernel = world.host();
    let pair = VethPair { name: "a".into(), peer_name: "b".into(), ..VethPair::default() };
    good(&kernel, vec![Op::AddVeth(pair), Op::up("a"), Op::up("b")]);
    let link = now_or_never(kernel.link("a")).unwrap().unwrap().index;
    for (net, len) in [("192.0.2.1", 24), ("fd00::1", 64)] {
        let net = IpNet { addr: ip(net), prefix: len };
        good(&kernel, vec![Op::AddAddress { link, net, nodad: true }]);
        // The in-memory kernel adds no connected routes.
        good(&kernel, vec![Op::AddRoute(connected(net, link))]);
    }
    (world, kernel, link)
}

fn connected(net: IpNet, link: u32) -> Route {
    let prefix = Prefix::new(net.addr, net.prefix).unwrap();
    Route {
        dst: IpNet { addr: prefix.addr(), prefix: prefix.len() },
        kind: RouteKind::Unicast,
        next_hops: vec![NextHop { gateway: None, link: Some(link), onlink: false, weight: 1 }],
        scope: if net.addr.is_ipv4() { Scope::Link } else { Scope::Universe },
        protocol: 2,
        metric: None,
        table: route::MAIN,
        source: None,
    }
}

fn good(kernel: &dyn Kernel, ops: Vec<Op>) {
    for result in now_or_never(kernel.apply(ops, false)) {
        result.unwrap();
    }
}

/// Batches until there is nothing to do now.
fn flush(fib: &mut Fib, kernel: &dyn Kernel, now: Duration) -> Outcome {
    let mut all = Outcome::default();
    loop {
        let (ops, sent) = fib.batch(7, now);
        if ops.is_empty() {
            return all;
        }
        let results = now_or_never(kernel.apply(ops, false));
        let outcome = fib.done(sent, results, now);
        all.carried_out += outcome.carried_out;
        all.refused.extend(outcome.refused);
        all.read_back |= outcome.read_back;
    }
}

fn dump(kernel: &dyn Kernel) -> Vec<Route> {
    let filter = RouteFilter { table: Some(route::MAIN), ..RouteFilter::default() };
    now_or_never(kernel.routes(filter)).unwrap()
}

fn settle(fib: &mut Fib) {
    Family::ALL.into_iter().for_each(|family| fib.settle(family));
}

/// Our routes, in words.
fn shown(kernel: &dyn Kernel) -> Vec<String> {
    let mut all: Vec<String> =
        dump(kernel).iter().filter(|route| route.protocol == PROTOCOL).map(ToString::to_string).collect();
    all.sort();
    all
}

#[test]
fn routes_come_change_and_go() {
    let (world, kernel, link) = world();
    let mut fib = Fib::new();
    fib.set(prefix("10.1.0.0/26"), 1024, Target::via([hop("192.0.2.9", link)]));
    fib.set(prefix("10.2.0.0/26"), 1024, Target::Blackhole);
    fib.set(prefix("fd01::/122"), 1024, Target::via([hop("fd00::9", link)]));
    assert_eq!(flush(&mut fib, &kernel, at(0)).carried_out, 3);
    assert_eq!(
        shown(&kernel),
        [
            format!("10.1.0.0/26 via 192.0.2.9 link {link} metric 1024 table 254 proto 81"),
            "blackhole 10.2.0.0/26 metric 1024 table 254 proto 81".to_string(),
            format!("fd01::/122 via fd00::9 link {link} metric 1024 table 254 proto 81"),
        ]
    );
    fib.set(prefix("10.1.0.0/26"), 1024, Target::via([hop("192.0.2.8", link), hop("192.0.2.9", link)]));
    fib.remove(prefix("fd01::/122"));
    fib.set(prefix("10.2.0.0/26"), 1024, Target::Blackhole);
    let before = world.log().len();
    assert_eq!(flush(&mut fib, &kernel, at(0)).carried_out, 2);
    assert_eq!(world.log().len() - before, 2, "what did not change is not sent");
    assert_eq!(shown(&kernel).len(), 2);
    assert!(shown(&kernel)[0].contains("via 192.0.2.8") && shown(&kernel)[0].contains("via 192.0.2.9"));
    assert!(fib.is_in_sync());
}

#[test]
fn another_metric_comes_before_the_old_one_goes() {
    let (world, kernel, link) = world();
    let mut fib = Fib::new();
    let target = Target::via([hop("192.0.2.9", link)]);
    fib.set(prefix("10.1.0.7/32"), 1024, target.clone());
    flush(&mut fib, &kernel, at(0));
    fib.set(prefix("10.1.0.7/32"), 512, target);
    let before = world.log().len();
    flush(&mut fib, &kernel, at(0));
    let log: Vec<String> = world.log()[before..].iter().map(|(_, op)| op.to_string()).collect();
    assert!(log[0].starts_with("add route 10.1.0.7/32") && log[0].contains("metric 512"), "{log:?}");
    assert!(log[1].starts_with("delete route 10.1.0.7/32") && log[1].contains("metric 1024"), "{log:?}");
    assert_eq!(fib.installed(prefix("10.1.0.7/32")).map(|(metric, _)| metric).collect::<Vec<_>>(), [512]);
}

#[test]
fn adopted_routes_stay_until_settled() {
    let (world, kernel, link) = world();
    let mut first = Fib::new();
    for n in 0..4 {
        first.set(prefix(&format!("10.1.{n}.0/26")), 1024, Target::via([hop("192.0.2.9", link)]));
    }
    flush(&mut first, &kernel, at(0));

    // A new process finds them.
    let mut fib = Fib::new();
    fib.adopt(&dump(&kernel));
    let before = world.log().len();
    // Confirmed, told otherwise for now, withdrawn again, never heard of; and a new one.
    fib.set(prefix("10.1.0.0/26"), 1024, Target::via([hop("192.0.2.9", link)]));
    fib.set(prefix("10.1.1.0/26"), 1024, Target::via([hop("192.0.2.8", link)]));
    fib.set(prefix("10.1.2.0/26"), 1024, Target::via([hop("192.0.2.9", link)]));
    fib.remove(prefix("10.1.2.0/26"));
    fib.set(prefix("10.9.0.0/26"), 1024, Target::Blackhole);
    flush(&mut fib, &kernel, at(0));
    let log: Vec<String> = world.log()[before..].iter().map(|(_, op)| op.to_string()).collect();
    assert_eq!(log.len(), 1, "{log:?}");
    assert!(log[0].contains("10.9.0.0/26"));
    assert!(!fib.is_settled() && fib.is_in_sync());
    settle(&mut fib);
    flush(&mut fib, &kernel, at(0));
    let shown = shown(&kernel);
    assert_eq!(shown.len(), 3, "{shown:?}");
    assert!(shown[0].contains("10.1.0.0/26 via 192.0.2.9") && shown[1].contains("10.1.1.0/26 via 192.0.2.8"));
    assert!(fib.is_in_sync());
}

#[test]
fn families_settle_apart() {
    let (_world, kernel, link) = world();
    let mut first = Fib::new();
    first.set(prefix("10.1.0.0/26"), 1024, Target::via([hop("192.0.2.9", link)]));
    first.set(prefix("fd01::/122"), 1024, Target::via([hop("fd00::9", link)]));
    flush(&mut first, &kernel, at(0));
    let mut fib = Fib::new();
    fib.adopt(&dump(&kernel));
    fib.settle(Family::Ipv6Unicast);
    flush(&mut fib, &kernel, at(0));
    assert_eq!(shown(&kernel).len(), 1);
    assert!(shown(&kernel)[0].starts_with("10.1.0.0/26") && !fib.is_settled());
}

#[test]
fn what_appears_under_our_number_is_put_right() {
    let (_world, kernel, link) = world();
    let mut fib = Fib::new();
    settle(&mut fib);
    fib.set(prefix("10.1.0.0/26"), 1024, Target::Blackhole);
    flush(&mut fib, &kernel, at(0));
    for to in ["10.1.0.0", "10.9.0.0"] {
        let net = IpNet { addr: ip(to), prefix: 26 };
        let strange = Route { protocol: PROTOCOL, metric: Some(1024), ..connected(net, link) };
        good(&kernel, vec![Op::ReplaceRoute(strange.clone())]);
        fib.appeared(&strange);
    }
    flush(&mut fib, &kernel, at(0));
    assert_eq!(shown(&kernel), ["blackhole 10.1.0.0/26 metric 1024 table 254 proto 81"]);
}

#[test]
fn a_refused_route_is_tried_again_later_and_later() {
    let (world, kernel, link) = world();
    let mut fib = Fib::new();
    world.plan(Fault::on_op(|op| matches!(op, Op::AddRoute(_)), Errno::ENETUNREACH).times(2));
    fib.set(prefix("10.1.0.0/26"), 1024, Target::via([hop("192.0.2.9", link)]));
    let outcome = flush(&mut fib, &kernel, at(0));
    assert_eq!(outcome.refused.len(), 1);
    assert!(outcome.refused[0].contains("10.1.0.0/26"), "{outcome:?}");
    assert!(!fib.is_in_sync() && fib.refused() == 1);
    let again = fib.next_try().unwrap();
    assert!(fib.batch(9, again - Duration::from_millis(1)).0.is_empty());
    let second = flush(&mut fib, &kernel, again);
    assert_eq!(second.refused, Vec::<String>::new(), "told once");
    let third = fib.next_try().unwrap();
    assert!(third - again > again, "the pause grows");
    assert_eq!(flush(&mut fib, &kernel, third).carried_out, 1);
    assert_eq!((fib.next_try(), fib.refused()), (None, 0));
}

#[test]
fn a_kernel_that_changed_or_another_wish_ends_the_waiting() {
    let (world, kernel, link) = world();
    let mut fib = Fib::new();
    world.plan(Fault::on_op(|op| matches!(op, Op::AddRoute(_)), Errno::EHOSTUNREACH).times(2));
    fib.set(prefix("10.1.0.0/26"), 1024, Target::via([hop("192.0.2.9", link)]));
    flush(&mut fib, &kernel, at(0));
    fib.try_again();
    assert_eq!(flush(&mut fib, &kernel, at(0)).refused.len(), 1);
    fib.set(prefix("10.1.0.0/26"), 1024, Target::Blackhole);
    assert_eq!(flush(&mut fib, &kernel, at(0)).carried_out, 1);
}

#[test]
fn a_route_of_somebody_else_is_not_touched() {
    let (_world, kernel, link) = world();
    let strange = Route {
        protocol: 4,
        metric: Some(1024),
        ..connected(IpNet { addr: ip("10.1.0.0"), prefix: 26 }, link)
    };
    good(&kernel, vec![Op::AddRoute(strange.clone())]);
    let mut fib = Fib::new();
    fib.adopt(&dump(&kernel));
    fib.set(prefix("10.1.0.0/26"), 1024, Target::Blackhole);
    let outcome = flush(&mut fib, &kernel, at(0));
    assert!(outcome.read_back && outcome.refused.len() == 1, "{outcome:?}");
    fib.read_back(&dump(&kernel));
    fib.remove(prefix("10.1.0.0/26"));
    flush(&mut fib, &kernel, at(99));
    assert!(dump(&kernel).contains(&strange));
    assert!(fib.is_in_sync());
}

#[test]
fn what_others_remove_comes_back() {
    let (_world, kernel, link) = world();
    let mut fib = Fib::new();
    fib.set(prefix("10.1.0.0/26"), 1024, Target::via([hop("192.0.2.9", link)]));
    fib.set(prefix("10.1.1.0/26"), 1024, Target::via([hop("192.0.2.9", link)]));
    flush(&mut fib, &kernel, at(0));
    let ours: Vec<Route> = dump(&kernel).into_iter().filter(|route| route.protocol == PROTOCOL).collect();
    good(&kernel, ours.iter().cloned().map(Op::DelRoute).collect());
    fib.vanished(&ours[0]);
    assert_eq!(flush(&mut fib, &kernel, at(0)).carried_out, 1, "told by an event");
    fib.read_back(&dump(&kernel));
    assert_eq!(flush(&mut fib, &kernel, at(0)).carried_out, 1, "found at a look");
    assert_eq!(shown(&kernel).len(), 2);
}

#[test]
fn deleting_what_is_gone_is_done() {
    let (_world, kernel, link) = world();
    let mut fib = Fib::new();
    fib.set(prefix("10.1.0.0/26"), 1024, Target::via([hop("192.0.2.9", link)]));
    flush(&mut fib, &kernel, at(0));
    let ours = dump(&kernel).into_iter().filter(|route| route.protocol == PROTOCOL);
    good(&kernel, ours.map(Op::DelRoute).collect());
    fib.remove(prefix("10.1.0.0/26"));
    let outcome = flush(&mut fib, &kernel, at(0));
    assert_eq!((outcome.carried_out, outcome.refused.len()), (1, 0));
    assert!(fib.is_in_sync());
}

#[test]
fn a_change_during_a_batch_is_not_lost() {
    let (_world, kernel, link) = world();
    let mut fib = Fib::new();
    fib.set(prefix("10.1.0.0/26"), 1024, Target::via([hop("192.0.2.9", link)]));
    let (ops, sent) = fib.batch(9, at(0));
    fib.set(prefix("10.1.0.0/26"), 1024, Target::Blackhole);
    assert!(fib.batch(9, at(0)).0.is_empty(), "one change of a route at a time");
    fib.done(sent, now_or_never(kernel.apply(ops, false)), at(0));
    assert_eq!(flush(&mut fib, &kernel, at(0)).carried_out, 1);
    assert!(shown(&kernel)[0].starts_with("blackhole"));
}

#[derive(Debug, Clone)]
enum Step {
    Set(u8, u32, u8),
    Remove(u8),
    Flush,
    Vanish(u8),
    Fail(u8),
    Settle,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..6u8, prop_oneof![Just(512), Just(1024)], 0..4u8).prop_map(|(p, m, t)| Step::Set(p, m, t)),
        3 => (0..6u8).prop_map(Step::Remove),
        4 => Just(Step::Flush),
        1 => any::<u8>().prop_map(Step::Vanish),
        1 => (1..3u8).prop_map(Step::Fail),
        1 => Just(Step::Settle),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// However wishes, accidents, refusals and restarts follow each other: in the end the kernel has what is wished.
    #[test]
    fn the_kernel_ends_where_it_should(steps in proptest::collection::vec(step(), 0..60)) {
        let (world, kernel, link) = world();
        let mut fib = Fib::new();
        let mut wished = std::collections::BTreeMap::new();
        let target = |number: u8| match number {
            0 => Target::Blackhole,
            n => Target::via((1..=n).map(|n| hop(&format!("192.0.2.{}", n + 8), link))),
        };
        let named = |number: u8| prefix(&format!("10.1.{number}.0/26"));
        for step in steps {
            match step {
                Step::Set(number, metric, to) => {
                    wished.insert(number, (metric, target(to)));
                    fib.set(named(number), metric, target(to));
                }
                Step::Remove(number) => {
                    wished.remove(&number);
                    fib.remove(named(number));
                }
                Step::Flush => drop(flush(&mut fib, &kernel, at(0))),
                Step::Vanish(pick) => {
                    let ours: Vec<Route> =
                        dump(&kernel).into_iter().filter(|route| route.protocol == PROTOCOL).collect();
                    world.clear_faults();
                    if !ours.is_empty() {
                        let route = ours[usize::from(pick) % ours.len()].clone();
                        good(&kernel, vec![Op::DelRoute(route.clone())]);
                        fib.vanished(&route);
                    }
                }
                Step::Fail(times) => {
                    let routes = |op: &Op| matches!(op, Op::AddRoute(_) | Op::ReplaceRoute(_) | Op::DelRoute(_));
                    world.plan(Fault::on_op(routes, Errno::ENETUNREACH).times(times.into()));
                }
                Step::Settle => settle(&mut fib),
                Step::Restart => {
                    world.clear_faults();
                    fib = Fib::new();
                    fib.adopt(&dump(&kernel));
                    for (number, (metric, target)) in &wished {
                        fib.set(named(*number), *metric, target.clone());
                    }
                }
            }
        }
        world.clear_faults();
        settle(&mut fib);
        flush(&mut fib, &kernel, at(1_000_000));
        prop_assert!(fib.is_in_sync());
        let mut fresh = Fib::new();
        settle(&mut fresh);
        fresh.adopt(&dump(&kernel));
        let found: Vec<_> = (0..6u8)
            .flat_map(|number| fresh.installed(named(number)).map(move |(m, t)| (number, (m, t.clone()))).collect::<Vec<_>>())
            .collect();
        prop_assert_eq!(found, wished.into_iter().collect::<Vec<_>>());
    }
}
