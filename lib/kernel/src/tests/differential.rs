//! The in-memory kernel against the real one: random operations must be answered alike and leave alike tables.

use super::*;
use crate::{Neighbour, RouteFilter};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeMap;

/// An operation on names instead of indices, which differ between the two kernels.
#[derive(Debug, Clone)]
enum Step {
    Veth { side: bool, near: usize, far: usize },
    Delete { side: bool, link: usize },
    State { side: bool, link: usize, up: bool },
    Address { side: bool, link: usize, net: usize, add: bool },
    Route { side: bool, link: usize, dst: usize, gateway: Option<usize>, metric: Option<u32>, what: u8 },
    Neighbour { side: bool, link: usize, addr: usize, proxy: bool, add: bool },
}

const NAMES: [&str; 3] = ["v0", "v1", "v2"];
const NETS: [&str; 4] = ["10.0.0.1/32", "172.16.0.1/24", "2001:db8::1/128", "2001:db8:1::1/64"];
const DSTS: [&str; 4] = ["10.0.0.7/32", "20.0.0.0/16", "2001:db8::7/128", "0.0.0.0/0"];
const GATEWAYS: [&str; 4] = ["172.16.0.9", "10.0.0.7", "2001:db8:1::9", "fe80::9"];

fn step() -> impl Strategy<Value = Step> {
    let (side, link) = (any::<bool>(), 0..NAMES.len());
    prop_oneof![
        2 => (side, link.clone(), link.clone()).prop_map(|(side, near, far)| Step::Veth { side, near, far }),
        1 => (side, link.clone()).prop_map(|(side, link)| Step::Delete { side, link }),
        4 => (side, link.clone(), prop::bool::weighted(0.8)).prop_map(|(side, link, up)| Step::State { side, link, up }),
        3 => (side, link.clone(), 0..NETS.len(), prop::bool::weighted(0.7))
            .prop_map(|(side, link, net, add)| Step::Address { side, link, net, add }),
        6 => (side, link.clone(), 0..DSTS.len(), prop::option::of(0..GATEWAYS.len()), prop::option::of(1u32..3), 0u8..3)
            .prop_map(|(side, link, dst, gateway, metric, what)| Step::Route { side, link, dst, gateway, metric, what }),
        2 => (side, link, 0..DSTS.len() - 1, any::<bool>(), prop::bool::weighted(0.7))
            .prop_map(|(side, link, addr, proxy, add)| Step::Neighbour { side, link, addr, proxy, add }),
    ]
}

impl Step {
    fn side(&self) -> bool {
        match self {
            Step::Veth { side, .. }
            | Step::Delete { side, .. }
            | Step::State { side, .. }
            | Step::Address { side, .. }
            | Step::Route { side, .. }
            | Step::Neighbour { side, .. } => *side,
        }
    }
}

async fn run(rig: &Rig, step: &Step) -> Option<Errno> {
    let (kernel, other) = if step.side() { (&rig.a, &rig.b) } else { (&rig.b, &rig.a) };
    let links: BTreeMap<String, u32> =
        kernel.links().await.unwrap().into_iter().map(|link| (link.name, link.index)).collect();
    let index = |link: &usize| links.get(NAMES[*link]).copied().unwrap_or(4711);
    let op = match step {
        Step::Veth { near, far, .. } => Op::AddVeth(veth(NAMES[*near], NAMES[*far], Some(other.netns()))),
        Step::Delete { link, .. } => Op::DelLink(LinkRef::Name(NAMES[*link].into())),
        Step::State { link, up: true, .. } => Op::up(NAMES[*link]),
        Step::State { link, .. } => Op::down(NAMES[*link]),
        Step::Address { link, net: which, add: true, .. } => {
            Op::AddAddress { link: index(link), net: net(NETS[*which]), nodad: true }
        }
        Step::Address { link, net: which, .. } => {
            Op::DelAddress { link: index(link), net: net(NETS[*which]) }
        }
        Step::Route { link, dst, gateway, metric, what, .. } => {
            let dst = DSTS[*dst];
            let gateway =
                gateway.map(|gateway| GATEWAYS[gateway]).filter(|g| g.contains(':') == dst.contains(':'));
            let route = match gateway {
                Some(gateway) => via(dst, gateway, index(link)),
                None => on_link(dst, index(link)),
            };
            let route = Route { metric: *metric, ..route };
            match what {
                0 => Op::AddRoute(route),
                1 => Op::ReplaceRoute(route),
                _ => Op::DelRoute(route),
            }
        }
        Step::Neighbour { link, addr, proxy, add, .. } => {
            let addr = net(DSTS[*addr]).addr;
            let mac = Some(Mac([2, 0, 0, 0, 0, 1]));
            let entry = Neighbour { link: index(link), addr, mac, permanent: true, proxy: *proxy };
            if *add { Op::SetNeighbour(entry) } else { Op::DelNeighbour(entry) }
        }
    };
    let result = kernel.apply(vec![op], false).await.remove(0);
    result.err().map(|error| Errno::from_raw(error.errno().unwrap_or_else(|| panic!("{step:?}: {error}"))))
}

/// Everything visible of a namespace, with names for indices and without what a kernel adds by itself.
async fn picture(kernel: &Arc<dyn Kernel>) -> Vec<String> {
    let links = kernel.links().await.unwrap();
    let name =
        |index: u32| links.iter().find(|link| link.index == index).map_or("?", |link| link.name.as_str());
    let mut lines: Vec<String> = links
        .iter()
        .map(|l| format!("link {} up={} carrier={} kind={}", l.name, l.up, l.carrier, l.kind))
        .collect();
    for address in kernel.addresses(None).await.unwrap() {
        if address.scope == Scope::Universe {
            lines.push(format!("address {} {}", name(address.link), address.net));
        }
    }
    for route in kernel
        .routes(RouteFilter { table: Some(254), protocol: Some(3), ..RouteFilter::default() })
        .await
        .unwrap()
    {
        let hops: Vec<_> = route.next_hops.iter().map(|h| (h.gateway, h.link.map(name))).collect();
        lines.push(format!("route {} {hops:?} {:?} {:?}", route.dst, route.metric, route.scope));
    }
    for n in kernel.neighbours(None).await.unwrap() {
        lines.push(format!(
            "neighbour {} {} proxy={} permanent={}",
            name(n.link),
            n.addr,
            n.proxy,
            n.permanent
        ));
    }
    lines.sort();
    lines
}

#[test]
fn the_kernel_in_memory_answers_as_the_real_one() {
    if !root() {
        return;
    }
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(48);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let steps = prop::collection::vec(step(), 1..30);
    let outcome = runner.run(&steps, |steps| {
        block_on(async {
            let (memory, real) = (Rig::memory(), Rig::real());
            for (number, step) in steps.iter().enumerate() {
                let (ours, theirs) = (run(&memory, step).await, run(&real, step).await);
                prop_assert_eq!(ours, theirs, "step {}: {:?}", number, step);
                for (ours, theirs) in [(&memory.a, &real.a), (&memory.b, &real.b)] {
                    prop_assert_eq!(
                        picture(ours).await,
                        picture(theirs).await,
                        "after step {}: {:?}",
                        number,
                        step
                    );
                }
            }
            Ok(())
        })
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
