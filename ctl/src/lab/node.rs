//! Making the network: the outside namespace, and nodes with a network and a mount namespace each.

use super::directory::Directory;
use super::failpoint::failpoint;
use super::mount_ns;
use super::plan::{ETCD_ADDRESS, NODE_PROGRAMS, Node, OUTSIDE, Plan, ROUTER_ADDRESS_V6, SEGMENT, UPLINK};
use anyhow::{Context, Result, bail};
use kernel::{IpNet, Kernel, LinkRef, Mac, Netlink, Netns, NextHop, Op, Route, RouteKind, Scope, VethPair};
use nix::mount::{MsFlags, mount};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// What a node mounts over the host's: a part of its directory, and where.
const OWN: [(&str, &str); 3] = [("var-lib", "/var/lib"), ("etc-cni", "/etc/cni"), ("run", "/run")];
/// rtnetlink's number for routes of an administrator.
const STATIC: u8 = 4;
const MAIN_TABLE: u32 = 254;

/// Makes the outside namespace, where etcd has its address, and the segment where nodes share one.
///
/// # Errors
/// The kernel refuses.
pub async fn make_outside(directory: &Directory, plan: &Plan) -> Result<()> {
    let netns = Netns::create_at(&directory.netns(OUTSIDE))?;
    let kernel = Netlink::open(&netns)?;
    let lo = index(&kernel, "lo").await?;
    let own = [IpAddr::V4(ETCD_ADDRESS), IpAddr::V6(ROUTER_ADDRESS_V6)];
    let own = own.map(|address| Op::AddAddress { link: lo, net: IpNet::host(address), nodad: true });
    apply(&kernel, std::iter::once(Op::up("lo")).chain(own).collect()).await?;
    forward(&kernel).await?;
    if let Some(node) = plan.nodes.first().filter(|node| node.on_segment) {
        apply(&kernel, vec![Op::AddBridge(SEGMENT.to_string()), Op::up(SEGMENT)]).await?;
        let bridge = index(&kernel, SEGMENT).await?;
        apply(&kernel, addresses(bridge, node, node.ipv4().0.into(), node.ipv6().0.into())).await?;
    }
    Ok(())
}

/// A host that routes for its workloads forwards.
async fn forward(kernel: &Netlink) -> Result<()> {
    let keys = ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"];
    let values = keys.map(|key| (key.to_string(), "1".to_string())).to_vec();
    kernel.set_sysctls(values).await.into_iter().collect::<Result<Vec<()>, _>>()?;
    Ok(())
}

fn addresses(link: u32, node: &Node, v4: IpAddr, v6: IpAddr) -> Vec<Op> {
    let (four, six) = node.prefix_lengths();
    let add = |addr, prefix| Op::AddAddress { link, net: IpNet { addr, prefix }, nodad: true };
    vec![add(v4, four), add(v6, six)]
}

/// Makes a node: its mount namespace with its own directories and programs, its network namespace and its uplink.
///
/// # Errors
/// The kernel refuses.
pub async fn make_node(directory: &Directory, plan: &Plan, node: &Node, programs: &Programs) -> Result<()> {
    make_files(directory, plan, node)?;
    let netns = Netns::create_at(&directory.netns(&node.name))?;
    failpoint("namespace of a node");
    let own = directory.node(&node.name);
    mount_ns::create(&directory.mount_ns(&node.name), &own.join("root"))?;
    failpoint("mount namespace of a node");
    directory.place(&node.name)?.run(|| make_mounts(&own, programs))?;
    failpoint("mounts of a node");
    let outside = Netlink::open(&Netns::open(directory.netns(OUTSIDE))?)?;
    let inside = Netlink::open(&netns)?;
    let pair = VethPair {
        name: node.outside_link(),
        mac: Some(Mac([0x02, 0, 0, 0, node.number, 1])),
        peer_name: UPLINK.to_string(),
        peer_mac: Some(Mac([0x02, 0, 0, 0, node.number, 2])),
        peer_netns: Some(netns),
        mtu: 0,
        queues: 1,
        up: true,
    };
    apply(&outside, vec![Op::AddVeth(pair)]).await?;
    let (v4, v6) = (node.ipv4(), node.ipv6());
    let ours = index(&inside, UPLINK).await?;
    let theirs = index(&outside, &node.outside_link()).await?;
    let near = if node.on_segment {
        let master = index(&outside, SEGMENT).await?;
        vec![Op::SetMaster { link: LinkRef::Index(theirs), master }]
    } else {
        addresses(theirs, node, v4.0.into(), v6.0.into())
    };
    apply(&outside, near).await?;
    let default = |gateway: IpAddr| {
        Op::AddRoute(Route {
            dst: IpNet::default_route_of(gateway),
            kind: RouteKind::Unicast,
            next_hops: vec![NextHop { gateway: Some(gateway), link: Some(ours), onlink: false, weight: 1 }],
            scope: Scope::Universe,
            protocol: STATIC,
            metric: None,
            table: MAIN_TABLE,
            source: None,
        })
    };
    apply(&inside, vec![Op::up("lo"), Op::up(UPLINK)]).await?;
    apply(&inside, addresses(ours, node, v4.1.into(), v6.1.into())).await?;
    apply(&inside, vec![default(v4.0.into()), default(v6.0.into())]).await?;
    forward(&inside).await
}

/// The programs a node finds in its own /run.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `ocicat`.
    pub ocicat: PathBuf,
    /// The thin CNI binary, `calico` and `calico-ipam` alike.
    pub plugin: PathBuf,
}

impl Programs {
    /// This program and the plugin beside it.
    ///
    /// # Errors
    /// The plugin was not built.
    pub fn find() -> Result<Self> {
        let ocicat = std::env::current_exe().context("find this program")?;
        let plugin = ocicat.with_file_name("calico");
        if !plugin.is_file() {
            bail!(
                "the CNI plugin is not at {}; build it with `cargo build -p ocicat-cni-plugin`, or put it beside ocicat",
                plugin.display()
            );
        }
        Ok(Self { ocicat, plugin })
    }
}

/// What calico/node and a runtime's installer leave on a node.
fn make_files(directory: &Directory, plan: &Plan, node: &Node) -> Result<()> {
    let own = directory.node(&node.name);
    // Read verbatim by the plugin: no line end.
    std::fs::write(own.join("var-lib/calico/nodename"), &node.name)?;
    std::fs::write(own.join("etc-cni/net.d/10-frontend.conf"), plan.etcd.cni_config())?;
    Ok(())
}

/// Mounts what a node has of its own; called within its mount namespace.
fn make_mounts(own: &Path, programs: &Programs) -> Result<()> {
    let bin = own.join(NODE_PROGRAMS.trim_start_matches('/'));
    for (name, file) in
        [("ocicat", &programs.ocicat), ("calico", &programs.plugin), ("calico-ipam", &programs.plugin)]
    {
        let target = bin.join(name);
        std::fs::File::create(&target).with_context(|| format!("create {}", target.display()))?;
        bind(file, &target, false)?;
    }
    if !Path::new("/etc/cni").is_dir() {
        // There is nothing to mount over, and nothing is made on the host: the node gets an /etc of its own that has it.
        overlay_etc(own)?;
    }
    for (part, path) in OWN {
        bind(&own.join(part), Path::new(path), true)?;
    }
    Ok(())
}

/// Mounts the host's /etc with the node's changes over it, of which an empty `cni` is the first.
fn overlay_etc(own: &Path) -> Result<()> {
    let (upper, work) = (own.join("etc"), own.join("etc-work"));
    std::fs::create_dir_all(upper.join("cni"))?;
    std::fs::create_dir_all(&work)?;
    let options = format!("lowerdir=/etc,upperdir={},workdir={}", upper.display(), work.display());
    mount(Some("ocicat-lab"), "/etc", Some("overlay"), MsFlags::empty(), Some(options.as_str()))
        .context("mount an overlay at /etc, because /etc/cni is missing (made on the host, it is not needed)")
}

fn bind(from: &Path, to: &Path, with_parts: bool) -> Result<()> {
    let flags = if with_parts { MsFlags::MS_BIND | MsFlags::MS_REC } else { MsFlags::MS_BIND };
    mount(Some(from), to, None::<&str>, flags, None::<&str>)
        .with_context(|| format!("mount {} at {}", from.display(), to.display()))
}

/// Sets the loopback of a namespace up, as every runtime does.
///
/// # Errors
/// The kernel refuses.
pub async fn loopback(netns: &Netns) -> Result<()> {
    apply(&Netlink::open(netns)?, vec![Op::up("lo")]).await
}

async fn apply(kernel: &Netlink, ops: Vec<Op>) -> Result<()> {
    for result in kernel.apply(ops, true).await {
        result?;
    }
    Ok(())
}

async fn index(kernel: &Netlink, name: &str) -> Result<u32> {
    Ok(kernel.link(name).await?.with_context(|| format!("link {name} is missing"))?.index)
}
