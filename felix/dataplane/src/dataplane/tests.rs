//! The whole on the in-memory kernel, with every operation failing once, and on the real one.

mod real;

use super::*;
use crate::testing::{Forgets, Pretended, block_on};
use felix_calc::endpoint::{FloatingAddress, Host, HostInterface};
use felix_calc::{BlockRoute, endpoint::LocalEndpoint};
use kernel::memory::{Fault, MemoryKernel, World};
use kernel::{IpNet, Op, Route, VethPair};
use std::future::Future;
use std::sync::Mutex;

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) fn key(name: &str) -> EndpointKey {
    EndpointKey::Workload("default".into(), name.into())
}

/// A workload that came, changed or went.
pub(super) fn workload(name: &str, interface: &str, addresses: &[&str]) -> Changes {
    let workload = Workload {
        interface: interface.into(),
        mac: Some([2, 0, 0, 0, 0, 1]),
        addresses: addresses.iter().map(|text| ip(text)).collect(),
        profiles: ["open".into()].into(),
        ..Workload::default()
    };
    endpoint(key(name), Some(Endpoint::Workload(workload)))
}

pub(super) fn endpoint(key: EndpointKey, endpoint: Option<Endpoint>) -> Changes {
    let local =
        endpoint.map(|endpoint| Arc::new(LocalEndpoint { endpoint: Arc::new(endpoint), tiers: Vec::new() }));
    Changes { endpoints: vec![(key, local)], ..Changes::default() }
}

pub(super) fn veth(name: &str) -> Op {
    let peer_name = format!("far-{name}");
    Op::AddVeth(VethPair { name: name.into(), peer_name, mtu: 1400, queues: 1, ..VethPair::default() })
}

/// A pair, both ends up.
pub(super) async fn interface(kernel: &dyn Kernel, name: &str) {
    let ops = vec![veth(name), Op::up(name), Op::up(format!("far-{name}").as_str())];
    kernel.apply(ops, false).await.into_iter().for_each(|result| result.unwrap());
}

struct Rig {
    world: World,
    /// As somebody else has it.
    other: MemoryKernel,
    flows: Forgets,
    /// The chain or set of which nf_tables refuses changes.
    refuses: Arc<Mutex<Option<String>>>,
    dataplane: Dataplane,
}

impl Rig {
    async fn new() -> Self {
        let world = World::new().unwrap();
        let kernel = world.host();
        interface(&kernel, "eth0").await;
        let link = kernel.link("eth0").await.unwrap().unwrap().index;
        let net = IpNet { addr: ip("192.0.2.1"), prefix: 24 };
        let address = Op::AddAddress { link, net, nodad: false };
        kernel.apply(vec![address], false).await.remove(0).unwrap();
        Self::on(world).await
    }

    /// Another dataplane on the same world.
    async fn on(world: World) -> Self {
        let flows = Forgets::default();
        let (netfilter, settings) = (Box::new(Pretended::default()), Settings::default());
        let refuses = netfilter.refuses.clone();
        let kernel = Arc::new(world.host());
        let dataplane = Dataplane::open(kernel, netfilter, Box::new(flows.clone()), settings).await.unwrap();
        Self { other: world.host(), world, flows, refuses, dataplane }
    }

    async fn interface(&mut self, name: &str) {
        interface(&self.other, name).await;
    }

    /// Applies until nothing is left to do.
    async fn settle(&mut self) {
        for _ in 0..200 {
            self.dataplane.apply().await;
            let next = tokio::time::timeout(Duration::from_millis(1), self.dataplane.next()).await;
            let waits = self
                .dataplane
                .next_try()
                .is_some_and(|at| at < self.dataplane.now() + Duration::from_secs(5));
            if next.is_err() && !waits {
                return;
            }
            if next.is_err() {
                self.dataplane.next().await;
            }
        }
        panic!("never settles: {:?}", self.dataplane);
    }

    async fn routes(&self) -> Vec<String> {
        let routes = self.other.routes(RouteFilter::default()).await.unwrap();
        let mut shown: Vec<String> = Vec::new();
        for Route { dst, kind, next_hops, protocol, metric, .. } in routes {
            let hop = match next_hops.first() {
                Some(hop) => {
                    let links = self.other.links().await.unwrap();
                    let link = links.into_iter().find(|link| Some(link.index) == hop.link).unwrap();
                    let gateway = hop.gateway.map(|gateway| format!(" via {gateway}")).unwrap_or_default();
                    format!("{}{gateway}", link.name)
                }
                None => format!("{kind:?}"),
            };
            shown.push(format!("{dst} {hop} proto {protocol} metric {}", metric.unwrap_or(0)));
        }
        shown.sort();
        shown
    }

    async fn give(&mut self, changes: Changes, revision: i64) {
        self.dataplane.on_changes(&changes);
        self.dataplane.told(revision);
        self.settle().await;
    }
}

fn run<F: Future<Output = ()>>(test: F) {
    block_on(test);
}

#[test]
fn nothing_is_written_before_the_state_is_whole() {
    run(async {
        let mut rig = Rig::new().await;
        rig.interface("cali1").await;
        let before = rig.world.log().len();
        rig.dataplane.on_changes(&workload("a", "cali1", &["10.0.0.1"]));
        rig.settle().await;
        assert_eq!(rig.world.log().len(), before);
        assert_eq!(rig.dataplane.enforced(), None);
        rig.dataplane.told(5);
        rig.settle().await;
        assert_eq!(rig.dataplane.enforced(), Some(5));
        rig.dataplane.told(7);
        assert_eq!(rig.dataplane.enforced(), Some(7), "nothing else is wanted than at the revision before");
        rig.dataplane.on_changes(&workload("a", "cali1", &["10.0.0.2"]));
        rig.dataplane.told(8);
        assert_eq!(rig.dataplane.enforced(), Some(7));
        rig.dataplane.told(9);
        assert_eq!(rig.dataplane.enforced(), Some(7), "the kernel has not taken the change");
        rig.settle().await;
        assert_eq!(rig.dataplane.enforced(), Some(9));
        assert!(rig.world.log().len() > before);
    });
}

/// An earlier life may have ended before it forgot them.
#[test]
fn the_first_apply_forgets_connections_of_addresses_that_nobody_has() {
    run(async {
        let mut rig = Rig::new().await;
        rig.interface("cali1").await;
        let mut changes = workload("a", "cali1", &["10.0.0.1"]);
        let block = |text: &str| Cidr::parse_masked(text).unwrap();
        changes.routes = vec![
            (block("10.0.0.0/30"), Some(BlockRoute::Blackhole)),
            (block("10.0.8.0/21"), Some(BlockRoute::Blackhole)),
            (block("10.0.1.0/30"), Some(BlockRoute::Unreachable)),
            (block("10.0.0.9/32"), Some(BlockRoute::Blackhole)),
        ];
        let large = vec![(block("10.1.0.0/19"), Some(BlockRoute::Blackhole))];
        changes.routes.extend(large);
        rig.give(changes, 1).await;
        let forgotten = rig.flows.take();
        assert_eq!(forgotten.len(), 3 + 2048, "one has a holder, and who owns a block forgets its own");
        assert!(!forgotten.contains(&ip("10.0.0.1")) && forgotten.contains(&ip("10.0.0.2")));
        rig.give(workload("b", "cali2", &["10.0.0.2"]), 2).await;
        assert!(rig.flows.take().is_empty(), "once");
    });
}

#[test]
fn a_workload_comes_works_stops_works_again_and_goes() {
    run(async {
        let mut rig = Rig::new().await;
        rig.give(workload("a", "cali1", &["10.0.0.1", "fd00::1"]), 1).await;
        assert_eq!(rig.dataplane.take_statuses(), [(key("a"), Some(Status::Down))]);
        assert_eq!(rig.dataplane.enforced(), Some(1), "there is nothing the kernel could take");
        assert!(!rig.dataplane.is_in_force(&key("a")), "there is no interface");
        rig.interface("cali1").await;
        rig.settle().await;
        assert!(rig.dataplane.is_in_force(&key("a")) && !rig.dataplane.is_in_force(&key("b")));
        let routes = ["10.0.0.1/32 cali1 proto 80 metric 1024", "fd00::1/128 cali1 proto 80 metric 1024"];
        assert_eq!(rig.routes().await, routes);
        assert_eq!(rig.dataplane.take_statuses(), [(key("a"), Some(Status::Up))]);
        assert_eq!(rig.other.sysctl("net/ipv4/conf/cali1/proxy_arp").await.unwrap(), "1");
        assert_eq!(rig.other.sysctl("net/ipv4/ip_forward").await.unwrap(), "1");
        let neighbours = rig.other.neighbours(None).await.unwrap();
        assert_eq!(neighbours.len(), 1);
        assert!(neighbours[0].permanent && neighbours[0].addr == ip("10.0.0.1"));
        // the interface goes down, and its routes with it
        rig.other.apply(vec![Op::down("cali1")], false).await;
        rig.settle().await;
        assert_eq!(rig.routes().await, [""; 0]);
        assert_eq!(rig.dataplane.take_statuses(), [(key("a"), Some(Status::Down))]);
        rig.other.apply(vec![Op::up("cali1")], false).await;
        rig.settle().await;
        assert_eq!(rig.routes().await, routes);
        assert_eq!(rig.other.neighbours(None).await.unwrap().len(), 1);
        assert_eq!(rig.dataplane.take_statuses(), [(key("a"), Some(Status::Up))]);
        rig.flows.take();
        // it goes
        rig.give(endpoint(key("a"), None), 2).await;
        assert_eq!(rig.routes().await, [""; 0]);
        assert_eq!(rig.flows.take(), [ip("10.0.0.1"), ip("fd00::1")]);
        assert_eq!(rig.dataplane.take_statuses(), [(key("a"), None)]);
        assert_eq!(rig.dataplane.enforced(), Some(2));
    });
}

#[test]
fn routes_are_repaired_stale_ones_go_and_those_of_others_stay() {
    run(async {
        let mut rig = Rig::new().await;
        rig.interface("cali1").await;
        rig.give(workload("a", "cali1", &["10.0.0.1"]), 1).await;
        let ours = rig.other.routes(RouteFilter::default()).await.unwrap().remove(0);
        let eth0 = rig.other.link("eth0").await.unwrap().unwrap().index;
        let other = |dst: &str, protocol: u8, link: Option<u32>| {
            let mut route = Route { dst: IpNet { addr: ip(dst), prefix: 32 }, protocol, ..ours.clone() };
            if let Some(link) = link {
                route.next_hops[0].link = Some(link);
            }
            Op::AddRoute(route)
        };
        rig.other.apply(vec![Op::DelRoute(ours.clone())], false).await.remove(0).unwrap();
        let strange = vec![
            other("10.0.0.9", 80, Some(eth0)),
            other("10.0.0.8", 4, Some(eth0)),
            other("10.0.0.7", 81, None),
        ];
        rig.other.apply(strange.clone(), false).await.into_iter().for_each(|result| result.unwrap());
        rig.settle().await;
        let kept = [
            "10.0.0.1/32 cali1 proto 80 metric 1024",
            "10.0.0.7/32 cali1 proto 81 metric 1024",
            "10.0.0.8/32 eth0 proto 4 metric 1024",
        ];
        assert_eq!(rig.routes().await, kept);
        // what a life before left, found at the start
        rig.other.apply(strange, false).await;
        let mut later = Rig::on(rig.world.clone()).await;
        later.give(workload("a", "cali1", &["10.0.0.1"]), 1).await;
        assert_eq!(later.routes().await, kept);
        // and everything in place is left alone
        let before = later.world.log().len();
        let mut again = Rig::on(later.world.clone()).await;
        again.give(workload("a", "cali1", &["10.0.0.1"]), 1).await;
        let log = again.world.log();
        assert_eq!(log.len(), before, "{:?}", log.last());
        assert_eq!(again.dataplane.enforced(), Some(1));
    });
}

#[test]
fn blocks_follow_the_hosts_addresses() {
    run(async {
        let mut rig = Rig::new().await;
        let block = |text: &str| Cidr::parse_masked(text).unwrap();
        let via = BlockRoute::Via { gateway: ip("192.0.2.2"), from: ip("192.0.2.1") };
        let routes = vec![
            (block("10.0.0.0/26"), Some(via)),
            (block("10.0.0.64/26"), Some(BlockRoute::Blackhole)),
            (block("10.0.0.128/26"), Some(BlockRoute::Unreachable)),
        ];
        rig.give(Changes { routes, ..Changes::default() }, 1).await;
        let whole = [
            "10.0.0.0/26 eth0 via 192.0.2.2 proto 80 metric 0",
            "10.0.0.128/26 Unreachable proto 80 metric 0",
            "10.0.0.64/26 Blackhole proto 80 metric 0",
        ];
        assert_eq!(rig.routes().await, whole);
        let link = rig.other.link("eth0").await.unwrap().unwrap().index;
        let net = IpNet { addr: ip("192.0.2.1"), prefix: 24 };
        rig.other.apply(vec![Op::DelAddress { link, net }], false).await.remove(0).unwrap();
        rig.settle().await;
        assert_eq!(rig.routes().await, whole[1..]);
        rig.other.apply(vec![Op::AddAddress { link, net, nodad: false }], false).await.remove(0).unwrap();
        rig.settle().await;
        assert_eq!(rig.routes().await, whole);
    });
}

#[test]
fn settings_change_routes_and_floating_addresses_follow() {
    run(async {
        let mut rig = Rig::new().await;
        rig.interface("cali1").await;
        let floating = FloatingAddress { external: ip("203.0.113.1"), internal: ip("10.0.0.1") };
        let changes = workload("a", "cali1", &["10.0.0.1"]);
        let local = changes.endpoints[0].1.clone().unwrap();
        let Endpoint::Workload(plain) = &*local.endpoint else { panic!("{local:?}") };
        let with = Workload { floating: [floating].into(), ..plain.clone() };
        rig.give(endpoint(key("a"), Some(Endpoint::Workload(with))), 1).await;
        assert_eq!(rig.routes().await, ["10.0.0.1/32 cali1 proto 80 metric 1024"]);
        let mut settings = Settings { device_route_protocol: 90, route_metric: 2000, ..Settings::default() };
        settings.rules.floating_ips = true;
        rig.dataplane.set_settings(settings).await;
        rig.settle().await;
        let routes = ["10.0.0.1/32 cali1 proto 90 metric 2000", "203.0.113.1/32 cali1 proto 90 metric 2000"];
        assert_eq!(rig.routes().await, routes);
    });
}

#[test]
fn a_host_endpoint_has_the_status_of_its_interface() {
    run(async {
        let mut rig = Rig::new().await;
        let host = |name: &str, interface: HostInterface| {
            let host =
                Host { interface, expected: Box::default(), ports: Box::default(), profiles: Box::default() };
            endpoint(EndpointKey::Host(name.into()), Some(Endpoint::Host(host)))
        };
        rig.give(host("known", HostInterface::Named("eth0".into())), 1).await;
        rig.give(host("unknown", HostInterface::Named("eth9".into())), 2).await;
        rig.give(host("all", HostInterface::All), 3).await;
        let of = |name: &str, status| (EndpointKey::Host(name.into()), Some(status));
        let mut told = rig.dataplane.take_statuses();
        told.sort();
        assert_eq!(told, [of("all", Status::Up), of("known", Status::Up), of("unknown", Status::Error)]);
        rig.other.apply(vec![Op::down("eth0")], false).await;
        rig.settle().await;
        assert_eq!(rig.dataplane.take_statuses(), [of("known", Status::Down)]);
    });
}

/// A workload with one profile.
fn with_profile(name: &str, interface: &str, address: &str, profile: &str) -> Changes {
    let changes = workload(name, interface, &[address]);
    let Some(Endpoint::Workload(plain)) = changes.endpoints[0].1.as_ref().map(|local| &*local.endpoint)
    else {
        panic!("{changes:?}")
    };
    let of = Workload { profiles: [profile.into()].into(), ..plain.clone() };
    endpoint(key(name), Some(Endpoint::Workload(of)))
}

#[test]
fn who_shares_a_chain_that_is_refused_is_down() {
    run(async {
        let mut rig = Rig::new().await;
        let workloads = [
            ("a", "cali1", "10.0.0.1", "shared"),
            ("b", "cali10", "10.0.0.2", "shared"),
            ("c", "cali2", "10.0.0.3", "other"),
        ];
        for (name, interface, address, profile) in workloads {
            rig.interface(interface).await;
            rig.give(with_profile(name, interface, address, profile), 1).await;
        }
        let told = |rig: &mut Rig| {
            let mut told = rig.dataplane.take_statuses();
            told.sort();
            told
        };
        assert_eq!(told(&mut rig), ["a", "b", "c"].map(|name| (key(name), Some(Status::Up))));
        // none of them is told anew: only what they share changes
        let allow = model::v3::Rule { action: model::v3::Action::Allow, ..model::v3::Rule::default() };
        let spec = model::v3::ProfileSpec { ingress: vec![allow], ..model::v3::ProfileSpec::default() };
        let profile = Arc::new(felix_calc::policy::Profile::compile(&spec).unwrap());
        *rig.refuses.lock().unwrap() = Some("profile-shared/ingress".into());
        let changes = Changes { profiles: vec![("shared".into(), Some(profile))], ..Changes::default() };
        rig.dataplane.on_changes(&changes);
        rig.dataplane.told(2);
        rig.dataplane.apply().await;
        assert_eq!(told(&mut rig), ["a", "b"].map(|name| (key(name), Some(Status::Down))));
        // all else is in force, and what is not is told of both families
        assert_eq!((rig.dataplane.enforced(), rig.dataplane.refused().count()), (Some(2), 2));
        *rig.refuses.lock().unwrap() = None;
        rig.settle().await;
        assert_eq!(told(&mut rig), ["a", "b"].map(|name| (key(name), Some(Status::Up))));
        assert_eq!((rig.dataplane.enforced(), rig.dataplane.refused().count()), (Some(2), 0));
    });
}

#[test]
fn the_mtu_is_the_smallest_of_interfaces_that_carry_packets() {
    run(async {
        let rig = Rig::new().await;
        assert_eq!(rig.dataplane.host_mtu(|name| name.starts_with("eth")), 1400);
        assert_eq!(rig.dataplane.host_mtu(|name| name.starts_with("bond")), 1460);
    });
}

#[test]
fn every_operation_may_fail_once() {
    run(async {
        let errnos = [nix::errno::Errno::ENOMEM, nix::errno::Errno::EEXIST, nix::errno::Errno::ENOBUFS];
        for (turn, errno) in errnos.into_iter().enumerate() {
            for at in 0..9 {
                let mut rig = Rig::new().await;
                rig.interface("cali1").await;
                rig.interface("cali2").await;
                rig.give(workload("a", "cali1", &["10.0.0.1", "fd00::1"]), 1).await;
                rig.world.plan(Fault::nth(at, errno));
                rig.flows.fail(turn);
                rig.dataplane.on_changes(&workload("a", "cali2", &["10.0.0.1", "10.0.0.2"]));
                let block = (Cidr::parse_masked("10.0.0.64/26").unwrap(), Some(BlockRoute::Blackhole));
                rig.give(Changes { routes: vec![block], ..Changes::default() }, 2).await;
                rig.world.clear_faults();
                let routes = [
                    "10.0.0.1/32 cali2 proto 80 metric 1024",
                    "10.0.0.2/32 cali2 proto 80 metric 1024",
                    "10.0.0.64/26 Blackhole proto 80 metric 0",
                ];
                assert_eq!(rig.routes().await, routes, "{errno} at {at}");
                assert_eq!(rig.dataplane.enforced(), Some(2), "{errno} at {at}");
                let forgotten = rig.flows.take();
                assert!(
                    forgotten.contains(&ip("10.0.0.1")) && forgotten.contains(&ip("fd00::1")),
                    "{forgotten:?}"
                );
            }
        }
    });
}
