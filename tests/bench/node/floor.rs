//! The least that gives a pod its network: the requests that change something, each kind together, without plugin, agent and
//! etcd, and without looking anything up. What is made is read from the kernel after an ADD, so that both have the same result.

use super::ruleset::{Ruleset, undo};
use anyhow::{Context, Result, ensure};
use kernel::{
    Address, Kernel, Link, LinkRef, Mac, Neighbour, Netlink, Netns, Nftables, Op, Route, RouteFilter,
    VethPair,
};
use netfilter::nft::Change;
use ocicat_tests::sandbox::{add_netns, in_netns};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// Namespaces of its own.
const HOST: &str = "floor-host";
const POD: &str = "floor-pod";

/// Name of the pod's end.
const INSIDE: &str = "eth0";

/// Routes that the kernel makes itself.
const PROTOCOL_KERNEL: u8 = 2;

/// One end of a pair, and all that hangs on it but what the kernel makes by itself.
#[derive(Debug, Clone, PartialEq)]
struct End {
    mac: Option<Mac>,
    mtu: u32,
    up: bool,
    addresses: Vec<Address>,
    routes: Vec<Route>,
    neighbours: Vec<Neighbour>,
    /// By path below /proc/sys, with `{}` for the link.
    parameters: BTreeMap<String, String>,
}

/// A pod's network.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    host: End,
    pod: End,
}

impl Network {
    /// Reads the network of a pod whose ends have these names; `here` and `inside` are namespaces by name, or the caller's.
    ///
    /// # Errors
    /// The kernel's, or an end is missing.
    pub fn read(runtime: &Runtime, near: (Option<&str>, &str), far: (Option<&str>, &str)) -> Result<Self> {
        Ok(Self { host: End::read(runtime, near)?, pod: End::read(runtime, far)? })
    }
}

impl End {
    fn read(runtime: &Runtime, (netns, name): (Option<&str>, &str)) -> Result<Self> {
        let kernel = Netlink::open(&open(netns)?)?;
        runtime.block_on(async {
            let link = kernel.link(name).await?.with_context(|| format!("no link {name}"))?;
            let on_link = RouteFilter { family: Some(4), link: Some(link.index), ..RouteFilter::default() };
            let mut routes = kernel.routes(on_link).await?;
            routes.retain(|route| route.protocol != PROTOCOL_KERNEL);
            // the kernel takes no route through a gateway that it cannot reach
            routes.sort_by_key(|route| std::cmp::Reverse(route.dst.prefix));
            let mut addresses = kernel.addresses(Some(link.index)).await?;
            addresses.retain(|address| address.net.addr.is_ipv4());
            let mut neighbours = kernel.neighbours(Some(link.index)).await?;
            neighbours.retain(|neighbour| neighbour.permanent);
            let Link { mac, mtu, up, .. } = link;
            let parameters = inside(netns, || parameters(name))?;
            let mut end = Self { mac, mtu, up, addresses, routes, neighbours, parameters };
            end.put_on(0);
            Ok(end)
        })
    }

    /// Names another link in all that hangs on it.
    fn put_on(&mut self, link: u32) {
        self.addresses.iter_mut().for_each(|address| address.link = link);
        self.neighbours.iter_mut().for_each(|neighbour| neighbour.link = link);
        self.routes.iter_mut().flat_map(|route| &mut route.next_hops).for_each(|hop| hop.link = Some(link));
    }

    /// What is to be done with a link that was just made, and is up.
    fn ops(&self, link: u32) -> Vec<Op> {
        let mut end = self.clone();
        end.put_on(link);
        end.addresses
            .into_iter()
            .map(|Address { link, net, .. }| Op::AddAddress { link, net, nodad: true })
            .chain(end.routes.into_iter().map(Op::AddRoute))
            .chain(end.neighbours.into_iter().map(Op::SetNeighbour))
            .collect()
    }

    /// Parameters that a link has to be given.
    fn changed(&self, fresh: &Self) -> Vec<(String, String)> {
        let all = self.parameters.iter();
        all.filter(|(key, value)| fresh.parameters.get(*key) != Some(value))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
}

/// Carries it out again and again.
pub struct Floor {
    runtime: Runtime,
    here: Netlink,
    inside: Netlink,
    nft: Nftables,
    wanted: Network,
    /// Name of the host's end.
    near: String,
    policy: Vec<Change>,
    parameters: [Vec<(String, String)>; 2],
}

impl Floor {
    /// For this network, whose host's end has that name; policy is what `after` has more than `before`, which is there already.
    ///
    /// # Errors
    /// The kernel's.
    pub fn prepare(wanted: Network, near: &str, before: &Ruleset, after: &Ruleset) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        add_netns(HOST)?;
        add_netns(POD)?;
        inside(Some(HOST), || fs::write("/proc/sys/net/ipv4/ip_forward", "1"))?;
        let mut floor = Self {
            here: Netlink::open(&open(Some(HOST))?)?,
            inside: Netlink::open(&open(Some(POD))?)?,
            nft: Nftables::open(&open(Some(HOST))?)?,
            near: near.to_owned(),
            policy: after.beyond(before),
            parameters: [Vec::new(), Vec::new()],
            runtime,
            wanted,
        };
        floor.nft.commit(&before.all(), None)?;
        floor.make_pair()?;
        let fresh = floor.read()?;
        floor.parameters = [floor.wanted.host.changed(&fresh.host), floor.wanted.pod.changed(&fresh.pod)];
        floor.delete_pair()?;
        Ok(floor)
    }

    /// Gives a pod its network and takes it away again; how long the first took.
    ///
    /// # Errors
    /// The kernel's, or what was made is not what was wanted.
    pub fn once(&mut self) -> Result<Duration> {
        let mut took = self.make_pair()?;
        let near = self.runtime.block_on(self.here.link(&self.near))?.context("the near end")?.index;
        let far = self.runtime.block_on(self.inside.link(INSIDE))?.context("the far end")?.index;
        let [of_host, of_pod] = &self.parameters;
        took += set(HOST, &self.near, of_host)?;
        took += set(POD, INSIDE, of_pod)?;
        let (near, mut inside) = (self.wanted.host.ops(near), self.wanted.pod.ops(far));
        inside.insert(0, Op::up(far));
        took += apply(&self.runtime, &self.here, near)?;
        took += apply(&self.runtime, &self.inside, inside)?;
        let begun = Instant::now();
        self.nft.commit(&self.policy, None)?;
        took += begun.elapsed();
        let made = self.read()?;
        ensure!(made == self.wanted, "it made {made:#?}\nnot {:#?}", self.wanted);
        self.nft.commit(&undo(&self.policy), None)?;
        self.delete_pair()?;
        Ok(took)
    }

    fn read(&self) -> Result<Network> {
        Network::read(&self.runtime, (Some(HOST), &self.near), (Some(POD), INSIDE))
    }

    fn make_pair(&self) -> Result<Duration> {
        let pair = VethPair {
            name: self.near.clone(),
            mac: self.wanted.host.mac,
            peer_name: INSIDE.to_owned(),
            peer_mac: self.wanted.pod.mac,
            peer_netns: Some(self.inside.netns().clone()),
            mtu: self.wanted.host.mtu,
            queues: 1,
            up: self.wanted.host.up,
        };
        apply(&self.runtime, &self.here, vec![Op::AddVeth(pair)])
    }

    fn delete_pair(&self) -> Result<()> {
        apply(&self.runtime, &self.here, vec![Op::DelLink(LinkRef::Name(self.near.clone()))]).map(drop)
    }
}

fn apply(runtime: &Runtime, kernel: &Netlink, ops: Vec<Op>) -> Result<Duration> {
    let begun = Instant::now();
    let results = runtime.block_on(kernel.apply(ops, false));
    let took = begun.elapsed();
    results.into_iter().collect::<Result<(), _>>()?;
    Ok(took)
}

/// Writes parameters of a link; how long that took without the way into the namespace.
fn set(netns: &str, link: &str, values: &[(String, String)]) -> Result<Duration> {
    let files: Vec<_> =
        values.iter().map(|(key, value)| (format!("/proc/sys/{}", key.replace("{}", link)), value)).collect();
    let write = || -> std::io::Result<Duration> {
        let begun = Instant::now();
        for (file, value) in &files {
            fs::write(file, value)?;
        }
        Ok(begun.elapsed())
    };
    inside(Some(netns), write)
}

/// Every parameter of a link that can be read.
fn parameters(link: &str) -> std::io::Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for place in ["net/ipv4/conf", "net/ipv4/neigh", "net/ipv6/conf", "net/ipv6/neigh"] {
        let directory = Path::new("/proc/sys").join(place).join(link);
        for entry in fs::read_dir(directory)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            // a secret that is not set is an error to read; others cannot be read at all
            let file = format!("/proc/sys/{place}/{link}/{name}");
            if let Ok(value) = fs::read_to_string(file) {
                all.insert(format!("{place}/{{}}/{name}"), value.trim().to_owned());
            }
        }
    }
    Ok(all)
}

fn open(netns: Option<&str>) -> Result<Netns> {
    Ok(match netns {
        Some(name) => Netns::open(Path::new(kernel::NETNS_DIR).join(name))?,
        None => Netns::current()?,
    })
}

fn inside<T: Send>(netns: Option<&str>, work: impl FnOnce() -> std::io::Result<T> + Send) -> Result<T> {
    Ok(match netns {
        Some(netns) => in_netns(netns, work)??,
        None => work()?,
    })
}
