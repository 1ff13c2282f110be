use super::*;
use crate::fib::{Hop, Target};
use crate::next_hop::Resolution;
use bgp_wire::{Family, Prefix};
use kernel::memory::{Fault, MemoryKernel, World};
use kernel::{IpNet, NextHop, Op, Route, RouteKind, Scope, VethPair};
use nix::errno::Errno;
use std::net::IpAddr;

/// What may take this long counts as never coming.
const PATIENCE: Duration = Duration::from_secs(10);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn prefix(text: &str) -> Prefix {
    let (addr, len) = text.split_once('/').unwrap();
    Prefix::new(ip(addr), len.parse().unwrap()).unwrap()
}

fn route(to: &str, gateway: Option<&str>, link: u32, protocol: u8) -> Route {
    let (addr, prefix) = to.split_once('/').unwrap();
    Route {
        dst: IpNet { addr: ip(addr), prefix: prefix.parse().unwrap() },
        kind: RouteKind::Unicast,
        next_hops: vec![NextHop { gateway: gateway.map(ip), link: Some(link), onlink: false, weight: 1 }],
        scope: if gateway.is_some() { Scope::Universe } else { Scope::Link },
        protocol,
        metric: (protocol == PROTOCOL).then_some(1024),
        table: MAIN,
        source: None,
    }
}

async fn good(kernel: &MemoryKernel, ops: Vec<Op>) {
    for result in kernel.apply(ops, false).await {
        result.unwrap();
    }
}

/// A world with one link and a network; what others do goes through another handle than the speaker's.
async fn world() -> (World, MemoryKernel, u32) {
    let world = World::new().unwrap();
    let other = world.host();
    let pair = VethPair { name: "a".into(), peer_name: "b".into(), ..VethPair::default() };
    good(&other, vec![Op::AddVeth(pair), Op::up("a"), Op::up("b")]).await;
    let link = other.link("a").await.unwrap().unwrap().index;
    let net = IpNet { addr: ip("192.0.2.1"), prefix: 24 };
    let connected = route("192.0.2.0/24", None, link, 2);
    good(&other, vec![Op::AddAddress { link, net, nodad: true }, Op::AddRoute(connected)]).await;
    (world, other, link)
}

async fn side(world: &World, programs: bool) -> KernelSide {
    KernelSide::open(Arc::new(world.host()), programs).await.unwrap()
}

/// Goes on until the condition holds.
async fn until(side: &mut KernelSide, what: &str, mut holds: impl FnMut(&mut KernelSide) -> bool) {
    let wait = async {
        loop {
            side.push();
            if holds(side) {
                return;
            }
            side.next().await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "never: {what}");
}

async fn ours(kernel: &MemoryKernel) -> Vec<String> {
    let filter = RouteFilter { protocol: Some(PROTOCOL), ..RouteFilter::default() };
    kernel.routes(filter).await.unwrap().iter().map(ToString::to_string).collect()
}

fn settle(side: &mut KernelSide) {
    Family::ALL.into_iter().for_each(|family| side.fib.settle(family));
}

fn via(gateway: &str, link: u32) -> Target {
    Target::via([Hop { gateway: Some(ip(gateway)), link, onlink: false }])
}

#[tokio::test]
async fn many_routes_go_in_batches_and_come_back_when_removed() {
    let (world, other, link) = world().await;
    let mut side = side(&world, true).await;
    settle(&mut side);
    let count = 3 * BATCH + 7;
    for n in 0..count {
        let to = format!("10.{}.{}.{}/32", n >> 16, (n >> 8) & 255, n & 255);
        side.fib_mut().unwrap().set(prefix(&to), 1024, via("192.0.2.9", link));
    }
    for _ in 0..3 {
        side.push();
        assert_eq!(side.batches.len(), AT_ONCE, "the rest waits as wanted");
    }
    until(&mut side, "all are in", |side| side.batches.is_empty() && side.fib.is_in_sync()).await;
    assert_eq!(ours(&other).await.len(), count);
    let gone = route("10.0.0.5/32", Some("192.0.2.9"), link, PROTOCOL);
    good(&other, vec![Op::DelRoute(gone)]).await;
    side.next().await;
    until(&mut side, "it is back", |side| side.batches.is_empty() && side.fib.is_in_sync()).await;
    assert_eq!(ours(&other).await.len(), count);
}

#[tokio::test]
async fn without_a_fib_nothing_is_sent_and_next_hops_are_known() {
    let (world, other, link) = world().await;
    good(&other, vec![Op::AddRoute(route("10.9.0.0/26", Some("192.0.2.9"), link, PROTOCOL))]).await;
    let mut side = side(&world, false).await;
    assert!(side.fib_mut().is_none());
    side.push();
    assert!(side.batches.is_empty());
    let resolution = side.tracker().want(ip("192.0.2.9"));
    assert!(matches!(resolution, Resolution::Via { .. }));
    assert_eq!(ours(&other).await.len(), 1, "what an earlier life left is not touched");
}

#[tokio::test]
async fn routes_of_an_earlier_life_are_adopted() {
    let (world, other, link) = world().await;
    for to in ["10.1.0.0/26", "10.2.0.0/26"] {
        good(&other, vec![Op::AddRoute(route(to, Some("192.0.2.9"), link, PROTOCOL))]).await;
    }
    let mut side = side(&world, true).await;
    let before = world.log().len();
    side.fib_mut().unwrap().set(prefix("10.1.0.0/26"), 1024, via("192.0.2.9", link));
    side.push();
    assert!(side.batches.is_empty());
    settle(&mut side);
    until(&mut side, "the other is gone", |side| side.batches.is_empty() && side.fib.is_in_sync()).await;
    assert_eq!(world.log().len() - before, 1);
    assert_eq!(ours(&other).await.len(), 1);
}

#[tokio::test]
async fn a_refused_route_is_tried_again_by_itself() {
    let (world, other, link) = world().await;
    let mut side = side(&world, true).await;
    world.plan(Fault::on_op(|op| matches!(op, Op::AddRoute(_)), Errno::ENETUNREACH).times(3));
    side.fib_mut().unwrap().set(prefix("10.1.0.0/26"), 1024, via("192.0.2.9", link));
    until(&mut side, "it is in", |side| side.batches.is_empty() && side.fib.is_in_sync()).await;
    assert_eq!(ours(&other).await.len(), 1);
}

#[tokio::test]
async fn a_link_that_goes_down_takes_routes_and_a_look_finds_out() {
    let (world, other, link) = world().await;
    let mut side = side(&world, true).await;
    side.tracker().want(ip("192.0.2.9"));
    side.fib_mut().unwrap().set(prefix("10.1.0.0/26"), 1024, via("192.0.2.9", link));
    until(&mut side, "it is in", |side| side.batches.is_empty() && side.fib.is_in_sync()).await;
    side.tracker().changes();
    good(&other, vec![Op::down("a")]).await;
    assert_eq!(ours(&other).await.len(), 0, "the kernel took it");
    let mut unreachable = false;
    until(&mut side, "the next hop is gone and the loss known", |side| {
        unreachable |=
            side.tracker().changes().next_hops.contains(&(ip("192.0.2.9"), Resolution::Unreachable));
        unreachable && side.look.is_none() && !side.tracker.is_stale()
    })
    .await;
    good(&other, vec![Op::up("a"), Op::AddRoute(route("192.0.2.0/24", None, link, 2))]).await;
    until(&mut side, "it is back", |side| {
        side.batches.is_empty() && side.fib.is_in_sync() && side.tracker.changes().next_hops.len() == 1
    })
    .await;
    assert_eq!(ours(&other).await.len(), 1);
}

#[tokio::test]
async fn somebody_elses_route_in_the_way_is_left_and_ours_waits() {
    let (world, other, link) = world().await;
    let mut side = side(&world, true).await;
    let strange = Route { metric: Some(1024), ..route("10.1.0.0/26", Some("192.0.2.8"), link, 4) };
    good(&other, vec![Op::AddRoute(strange.clone())]).await;
    side.fib_mut().unwrap().set(prefix("10.1.0.0/26"), 1024, via("192.0.2.9", link));
    until(&mut side, "it was refused", |side| side.fib.refused() == 1 && side.batches.is_empty()).await;
    assert_eq!(ours(&other).await.len(), 0);
    good(&other, vec![Op::DelRoute(strange)]).await;
    until(&mut side, "the way is free", |side| side.batches.is_empty() && side.fib.is_in_sync()).await;
    assert_eq!(ours(&other).await.len(), 1);
}

#[tokio::test]
async fn the_end_leaves_the_routes() {
    let (world, other, link) = world().await;
    let mut side = side(&world, true).await;
    side.fib_mut().unwrap().set(prefix("10.1.0.0/26"), 1024, via("192.0.2.9", link));
    side.drain().await;
    drop(side);
    assert_eq!(ours(&other).await.len(), 1);
}
