//! ADD and DEL by eight workers at once: pairs a second, beside `ptp` and beside the work that nobody can leave out.

use crate::cni::{Worker, ours, pair, reference, timed, warm};
use crate::frame::{Subject, in_turns, print};
use anyhow::{Context, Result};
use datastore::{ConnectConfig, Datastore, connect};
use kernel::{IpNet, Kernel, Netlink, Netns, NextHop, Op, Route, RouteKind, Scope, VethPair};
use mvcc::{DeleteRequest, PutRequest, Txn};
use ocicat_tests::node::{Container, Node};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// Workers at once.
const WORKERS: usize = 8;
/// ADD and DEL of each worker in one round.
const PAIRS: usize = 5;
/// The group of links that are to be deleted together.
const GROUP: u32 = 0x0f10_0127;
/// How often they are: the kernel waits for many as long as for one.
const TOGETHER: Duration = Duration::from_millis(200);

/// Pairs a second: ours, the floor of ours, and `ptp`.
pub fn eight_at_a_time(rounds: usize, worker: Worker) -> Result<()> {
    let node = &warm()?;
    let _agent = worker.start(node)?;
    let containers: &Vec<Container> =
        &(0..WORKERS).map(|n| Container::start(&format!("pod{n}"))).collect::<Result<_>>()?;
    let floor = &Floor::open(node)?;
    let plugin = |name, program: &'static str, configuration: serde_json::Value| Subject {
        name,
        sample: Box::new(move || {
            together(containers, |container| pair(node, container, program, &configuration).map(drop))
        }),
    };
    let mut subjects = [
        plugin("calico, IPv4", "calico", ours(node, true, false)),
        Subject {
            name: "its floor",
            sample: Box::new(move || floor.reaping(|| together(containers, |one| floor.pair(node, one)))),
        },
        plugin("ptp + host-local", "ptp", reference()),
    ];
    let samples = in_turns(rounds.max(3), &mut subjects)?;
    print(
        &format!("eight at a time, {}, time of one ADD+DEL pair", worker.name()),
        &["pair"],
        &subjects,
        &samples,
    );
    for (subject, samples) in subjects.iter().zip(&samples) {
        if let Some(samples) = samples.first() {
            let rate = |time: Duration| 1.0 / time.as_secs_f64();
            println!(
                "{:<28} {:.0} pairs/s at best, {:.0} median",
                subject.name,
                rate(samples.minimum()),
                rate(samples.median())
            );
        }
    }
    Ok(())
}

/// Does a pair [`PAIRS`] times for each container, all containers at once. Given as the time of one pair, so that its inverse is
/// the rate.
fn together(
    containers: &[Container],
    pair: impl Fn(&Container) -> Result<()> + Sync,
) -> Result<Vec<Duration>> {
    let started = Instant::now();
    thread::scope(|scope| {
        let running: Vec<_> = containers
            .iter()
            .map(|container| {
                let pair = &pair;
                scope.spawn(move || (0..PAIRS).try_for_each(|_| pair(container)))
            })
            .collect();
        running.into_iter().try_for_each(|worker| match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    Ok(vec![started.elapsed() / u32::try_from(containers.len() * PAIRS)?])
}

/// What every design of an agent has to do for a pair, and nothing else: two executions of the plugin (which only says its version),
/// a pair of links with the addresses and routes it needs, taken out of service and deleted with others, and one write to etcd for
/// each verb. No policy, no record, no answer, nothing looked up.
struct Floor {
    /// Of a thread of its own, as an agent's part has one.
    runtime: Handle,
    /// Ends that thread when it is dropped.
    _alive: oneshot::Sender<()>,
    here: Netlink,
    store: Arc<dyn Datastore>,
    count: AtomicU32,
}

impl Floor {
    fn open(node: &Node) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (alive, over) = oneshot::channel::<()>();
        thread::spawn(move || runtime.block_on(over));
        let url = node.server().url();
        let env = move |name: &str| match name {
            "ETCD_ENDPOINTS" => Some(url.clone()),
            "DATASTORE_TYPE" => Some("etcdv3".to_owned()),
            _ => None,
        };
        let entered = handle.enter();
        let store = connect(&ConnectConfig::from_env(&env))?;
        drop(entered);
        let here = Netlink::open_current()?;
        Ok(Self { runtime: handle, _alive: alive, here, store, count: AtomicU32::new(0) })
    }

    fn pair(&self, node: &Node, container: &Container) -> Result<()> {
        let number = self.count.fetch_add(1, Relaxed);
        let mut version = node.call("VERSION", container);
        // it does not read its input
        version.stdin = String::new();
        timed(&version)?;
        let link = self.runtime.block_on(self.attach(number, container))?;
        timed(&version)?;
        self.runtime.block_on(self.detach(number, link))
    }

    async fn attach(&self, number: u32, container: &Container) -> Result<u32> {
        let inside = Netlink::open(&Netns::open(format!("{}/{}", kernel::NETNS_DIR, container.netns))?)?;
        let (near, far) = (format!("floor{number}"), format!("far{number}"));
        let made = Op::AddVeth(VethPair {
            name: near.clone(),
            peer_name: far.clone(),
            peer_netns: Some(inside.netns().clone()),
            mtu: 1500,
            queues: 1,
            ..VethPair::default()
        });
        let key = format!("/bench/floor/{number}");
        let put = mvcc::Op::Put(PutRequest::new(key, vec![b'x'; 512]));
        let writing = self.store.txn(Txn { success: vec![put], ..Txn::default() });
        let linking = async {
            done(self.here.apply(vec![made], true).await)?;
            let near = self.here.link(&near).await?.context("the near end")?.index;
            let far = inside.link(&far).await?.context("the far end")?.index;
            // of its own, so that pairs under way do not meet
            let [_, b, c, d] = number.to_be_bytes();
            let address = IpNet::host(IpAddr::V4(Ipv4Addr::new(10, 128 | b, c, d)));
            let gateway = IpNet::host(IpAddr::V4(Ipv4Addr::new(169, 254, 1, 1)));
            done(self.here.apply(vec![Op::up(near), Op::AddRoute(route(address, near, None))], true).await)?;
            let everything = IpNet { addr: IpAddr::V4(Ipv4Addr::UNSPECIFIED), prefix: 0 };
            let ops = vec![
                Op::up(far),
                Op::AddAddress { link: far, net: address, nodad: true },
                Op::ReplaceRoute(route(gateway, far, None)),
                Op::ReplaceRoute(route(everything, far, Some(gateway.addr))),
            ];
            done(inside.apply(ops, false).await)?;
            Ok::<u32, anyhow::Error>(near)
        };
        let (written, link) = futures::join!(writing, linking);
        written?;
        link
    }

    async fn detach(&self, number: u32, link: u32) -> Result<()> {
        let aside = Op::PutAside { link, name: format!("gone{link}"), group: GROUP };
        done(self.here.apply(vec![Op::down(link), aside], false).await)?;
        let delete = mvcc::Op::Delete(DeleteRequest::key(format!("/bench/floor/{number}")));
        self.store.txn(Txn { success: vec![delete], ..Txn::default() }).await?;
        Ok(())
    }

    /// Deletes links that are out of service beside `work`, and behind it.
    fn reaping<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let over = &AtomicBool::new(false);
        let reap = || self.runtime.block_on(self.here.apply(vec![Op::DelGroup(GROUP)], false));
        let result = thread::scope(|scope| {
            scope.spawn(move || {
                while !over.load(Relaxed) {
                    thread::sleep(TOGETHER);
                    // none there is no error of ours
                    let _ = reap();
                }
            });
            let result = work();
            over.store(true, Relaxed);
            result
        });
        let _ = self.runtime.block_on(self.here.apply(vec![Op::DelGroup(GROUP)], false));
        result
    }
}

fn done(results: Vec<Result<(), kernel::KernelError>>) -> Result<()> {
    Ok(results.into_iter().collect::<Result<(), _>>()?)
}

fn route(dst: IpNet, link: u32, gateway: Option<IpAddr>) -> Route {
    Route {
        dst,
        kind: RouteKind::Unicast,
        next_hops: vec![NextHop { gateway, link: Some(link), onlink: false, weight: 1 }],
        scope: if gateway.is_some() { Scope::Universe } else { Scope::Link },
        protocol: 3,
        metric: None,
        table: 254,
        source: None,
    }
}
