//! One suite of behaviour for both kernels: the in-memory one, and the real one in namespaces made for the
//! test (as root; without root that half is left out, which is said on stderr).

mod behaviour;
mod differential;
mod ipsets;
mod memory_only;
mod nftables;
mod real_only;

use crate::memory::World;
use crate::{
    IpNet, Kernel, KernelError, Link, LinkRef, Mac, Netlink, Netns, NextHop, Op, Route, RouteKind, Scope,
    VethPair,
};
use nix::errno::Errno;
use std::future::Future;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Two namespaces to play in.
struct Rig {
    a: Arc<dyn Kernel>,
    b: Arc<dyn Kernel>,
    real: bool,
    /// Opens namespaces again, by the path a handle gives.
    namespaces: Arc<dyn crate::Namespaces>,
    /// Takes the real namespaces away at the end.
    _names: Vec<Named>,
    _folder: Option<tempfile::TempDir>,
}

/// A namespace's name, deleted with this.
struct Named(PathBuf);

impl Drop for Named {
    fn drop(&mut self) {
        let _ = Netns::delete_at(&self.0);
    }
}

impl Rig {
    fn memory() -> Self {
        let world = World::new().unwrap();
        let (a, b) = (Arc::new(world.add("a").unwrap()), Arc::new(world.add("b").unwrap()));
        Self { a, b, real: false, namespaces: Arc::new(world), _names: Vec::new(), _folder: None }
    }

    /// Within a runtime.
    fn real() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut names = Vec::new();
        let mut make = |name: &str| -> Arc<dyn Kernel> {
            let path = folder.path().join(name);
            let netns = Netns::create_at(&path).unwrap();
            names.push(Named(path));
            Arc::new(Netlink::open(&netns).unwrap())
        };
        let (a, b) = (make("a"), make("b"));
        let namespaces = Arc::new(crate::SystemNamespaces);
        Self { a, b, real: true, namespaces, _names: names, _folder: Some(folder) }
    }

    /// The first namespace as another program has it.
    fn another_handle_of_a(&self) -> Arc<dyn Kernel> {
        self.namespaces.open(self.a.netns().path()).unwrap()
    }

    /// A veth pair between the two, both ends up: `near` here, `far` there.
    async fn pair(&self, near: &str, far: &str) -> (Link, Link) {
        ok(&self.a, vec![Op::AddVeth(veth(near, far, Some(self.b.netns())))]).await;
        ok(&self.a, vec![Op::up(near)]).await;
        ok(&self.b, vec![Op::up(far)]).await;
        (find(&self.a, near).await, find(&self.b, far).await)
    }
}

fn root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("not root: the real kernel is left out");
    }
    root
}

/// For what only a real kernel can show.
fn in_runtime_as_root(test: impl Future<Output = ()>) {
    if root() {
        block_on(test);
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Runs a test on both kernels.
fn on_both<F: Future<Output = ()>>(test: impl Fn(Rig) -> F) {
    block_on(async { test(Rig::memory()).await });
    if root() {
        block_on(async { test(Rig::real()).await });
    }
}

fn veth(name: &str, peer: &str, netns: Option<&Netns>) -> VethPair {
    VethPair {
        name: name.to_string(),
        peer_name: peer.to_string(),
        peer_netns: netns.cloned(),
        queues: 1,
        ..VethPair::default()
    }
}

fn set(name: &str) -> Op {
    Op::SetLink { link: LinkRef::Name(name.to_string()), up: None, mac: None, mtu: None, alias: None }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn net(text: &str) -> IpNet {
    let (addr, prefix) = text.split_once('/').unwrap();
    IpNet { addr: ip(addr), prefix: prefix.parse().unwrap() }
}

fn on_link(dst: &str, link: u32) -> Route {
    Route {
        dst: net(dst),
        kind: RouteKind::Unicast,
        next_hops: vec![NextHop { gateway: None, link: Some(link), onlink: false, weight: 1 }],
        scope: if dst.contains(':') { Scope::Universe } else { Scope::Link },
        protocol: 3,
        metric: None,
        table: 254,
        source: None,
    }
}

fn via(dst: &str, gateway: &str, link: u32) -> Route {
    Route {
        next_hops: vec![NextHop { gateway: Some(ip(gateway)), link: Some(link), onlink: false, weight: 1 }],
        scope: Scope::Universe,
        ..on_link(dst, link)
    }
}

fn blackhole(dst: &str) -> Route {
    Route { kind: RouteKind::Blackhole, next_hops: Vec::new(), scope: Scope::Universe, ..on_link(dst, 0) }
}

async fn find(kernel: &Arc<dyn Kernel>, name: &str) -> Link {
    kernel.link(name).await.unwrap().unwrap_or_else(|| panic!("no link {name}"))
}

async fn ok(kernel: &Arc<dyn Kernel>, ops: Vec<Op>) {
    for (op, result) in ops.clone().iter().zip(kernel.apply(ops, false).await) {
        result.unwrap_or_else(|error| panic!("{op:?}: {error}"));
    }
}

async fn errno(kernel: &Arc<dyn Kernel>, op: Op) -> Errno {
    match kernel.apply(vec![op.clone()], false).await.pop() {
        Some(Err(error)) => Errno::from_raw(error.errno().unwrap_or_else(|| panic!("{op:?}: {error}"))),
        other => panic!("{op:?}: {other:?}"),
    }
}

/// Routes that the test made, without those the kernel adds by itself.
async fn routes(kernel: &Arc<dyn Kernel>) -> Vec<Route> {
    let mut routes = kernel.routes(crate::RouteFilter::default()).await.unwrap();
    routes.retain(|route| route.protocol != 2 && route.table != 255);
    routes
}
