//! The pair of links, and everything that hangs on it (`cni.md` §6 of the contract).

use crate::bounded::{self, within};
use crate::failpoint::failpoint;
use crate::host::Host;
use crate::sysctls::{self, Families};
use crate::undo::{Done, Undo, delete_link};
use cni_protocol::CniError;
use cni_protocol::result::Prefixed;
use kernel::{
    IpNet, Kernel, KernelError, Link, Mac, Neighbour, NextHop, Op, Route, RouteFilter, RouteKind, Scope,
    VethPair,
};
use nix::errno::Errno;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// The hardware address of every host end: all workloads of all nodes know their gateway by it.
const HOST_MAC: Mac = Mac([0xee; 6]);
/// The gateway that every workload has; nobody owns the address.
const GATEWAY_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 1, 1));
/// Routes of the kernel's boot time, as a person's; felix replaces them by its own.
const PROTOCOL_BOOT: u8 = 3;
const TABLE_MAIN: u32 = 254;

/// What is to be made.
#[derive(Debug, Clone)]
pub(crate) struct Attachment {
    /// Path of the container's network namespace.
    pub(crate) netns: String,
    /// Whether the pair is to be a netkit pair, where the kernel knows them.
    pub(crate) netkit: bool,
    /// Name of the container's end.
    pub(crate) ifname: String,
    /// Name of the host's end.
    pub(crate) host_interface: String,
    /// MTU of both ends; 0 for the kernel's.
    pub(crate) mtu: u32,
    /// Hardware address of the container's end.
    pub(crate) mac: Mac,
    /// Queues of both ends.
    pub(crate) queues: u32,
    /// The workload's addresses.
    pub(crate) addresses: Vec<IpAddr>,
    /// Where the container sends through the gateway.
    pub(crate) routes: Vec<Prefixed>,
    /// Whether the container forwards.
    pub(crate) forward: bool,
    /// Whether the host routes to the workload by this call; where an agent does, it has its policy ready first.
    pub(crate) host_routes: bool,
}

impl Attachment {
    fn families(&self) -> Families {
        Families {
            v4: self.addresses.iter().any(IpAddr::is_ipv4),
            v6: self.addresses.iter().any(IpAddr::is_ipv6),
        }
    }
}

/// A hardware address for a container's end: locally administered, of one station (IEEE 802, 8.2).
pub(crate) fn random_mac() -> Mac {
    let [first, b, c, d, e, f, ..] = uuid::Uuid::new_v4().into_bytes();
    Mac([first & 0xfc | 0x02, b, c, d, e, f])
}

/// Makes it, and returns the index of the host's end.
///
/// # Errors
/// In words that name link, address or parameter; what was made is in `undo`.
pub(crate) async fn attach(host: &Host, wanted: &Attachment, undo: &mut Undo) -> Result<u32, CniError> {
    within(bounded::KERNEL, "setting up the network namespace", make(host, wanted, undo)).await
}

async fn make(host: &Host, wanted: &Attachment, undo: &mut Undo) -> Result<u32, CniError> {
    let container = open(host, &wanted.netns)?;
    let here = host.namespaces.current().map_err(CniError::internal)?;
    let families = wanted.families();
    let parameters = sysctls::of_host(&wanted.host_interface, families, !wanted.host_routes);
    // Before the request: its answer may be lost.
    undo.push(Done::Link(Arc::clone(&here), wanted.host_interface.clone()));
    // what it has to have before it is up, it is given first
    let (ours, theirs) = make_pair(&here, &container, wanted, parameters.is_empty()).await?;
    failpoint("cni-add-link");
    sysctls::set(&*here, parameters).await?;
    failpoint("cni-add-host-parameters");
    // the first visit to the container, which opens a socket there too
    sysctls::set(&*container, sysctls::of_container(&wanted.ifname, families, wanted.forward)).await?;
    failpoint("cni-add-container-parameters");
    host_side(&*here, &ours, wanted).await?;
    failpoint("cni-add-host-side");
    let results = container.apply(container_ops(theirs, wanted), false).await;
    results.into_iter().collect::<Result<Vec<()>, _>>().map_err(CniError::internal)?;
    failpoint("cni-add-container-side");
    Ok(ours.index)
}

/// The container's kernel.
pub(crate) fn open(host: &Host, path: &str) -> Result<Arc<dyn Kernel>, CniError> {
    host.namespaces.open(path).map_err(|error| {
        if is_gone(&error) {
            let path = cni_protocol::text::quote(path);
            return CniError::internal(format!("failed to Statfs {path}: no such file or directory"));
        }
        CniError::internal(error)
    })
}

/// Whether an error of opening a namespace says that there is none (any more).
pub(crate) fn is_gone(error: &KernelError) -> bool {
    matches!(error, KernelError::Namespace { reason, .. } if reason.starts_with("does not exist"))
}

/// Makes the pair, whose host's end is `up` from the start or not: that end, and the index of the container's. A link that has the
/// host's end's name already is one of an earlier try.
async fn make_pair(
    here: &Arc<dyn Kernel>,
    container: &Arc<dyn Kernel>,
    wanted: &Attachment,
    up: bool,
) -> Result<(Link, u32), CniError> {
    let name = &wanted.host_interface;
    let pair = VethPair {
        name: name.clone(),
        mac: Some(HOST_MAC),
        peer_name: wanted.ifname.clone(),
        peer_mac: Some(wanted.mac),
        peer_netns: Some(container.netns().clone()),
        mtu: wanted.mtu,
        queues: wanted.queues,
        up,
    };
    let (mut netkit, mut removed) = (wanted.netkit, false);
    loop {
        let op = if netkit { Op::AddNetkit(pair.clone()) } else { Op::AddVeth(pair.clone()) };
        let error = match here.create(op).await {
            Ok(made) => {
                let ends = made.and_then(|link| link.peer.map(|peer| (link, peer)));
                let vanished = || CniError::internal(format!("link {name} vanished while it was set up"));
                return ends.ok_or_else(vanished);
            }
            Err(error) => error,
        };
        match error.errno().map(Errno::from_raw) {
            Some(Errno::EOPNOTSUPP) if netkit => {
                tracing::info!(%error, "this kernel does not know netkit: making a veth pair");
                netkit = false;
            }
            Some(Errno::EEXIST) if !removed => {
                delete_link(here, name).await?;
                removed = true;
            }
            Some(Errno::EEXIST) => {
                return Err(CniError::internal(format!(
                    "cannot make interface {} in {}: file exists",
                    wanted.ifname, wanted.netns
                )));
            }
            _ => return Err(CniError::internal(error)),
        }
    }
}

/// Brings the host's end up and routes the workload's addresses to it.
async fn host_side(here: &dyn Kernel, link: &Link, wanted: &Attachment) -> Result<(), CniError> {
    if !link.up {
        let up = here.apply(vec![Op::up(link.index)], true).await;
        up.into_iter().collect::<Result<(), _>>().map_err(CniError::internal)?;
    }
    let routed = if wanted.host_routes { wanted.addresses.as_slice() } else { &[] };
    let routes: Vec<Route> = routed.iter().map(|address| to_workload(*address, link.index)).collect();
    let results = here.apply(routes.iter().cloned().map(Op::AddRoute).collect(), false).await;
    for (route, result) in routes.iter().zip(results) {
        match result {
            Ok(()) => {}
            Err(error) if error.is_there() => {
                check_same(here, route, link).await?;
            }
            Err(error) => return Err(CniError::internal(error)),
        }
    }
    Ok(())
}

/// A route that exists is fine when it is the very same.
async fn check_same(here: &dyn Kernel, route: &Route, link: &Link) -> Result<(), CniError> {
    let family = if route.dst.addr.is_ipv4() { 4 } else { 6 };
    let filter = RouteFilter { family: Some(family), table: Some(TABLE_MAIN), ..RouteFilter::default() };
    let routes = here.routes(filter).await.map_err(CniError::internal)?;
    let existing: Vec<&Route> = routes.iter().filter(|existing| existing.dst == route.dst).collect();
    let leads_here = |existing: &&&Route| {
        existing.next_hops.iter().any(|hop| hop.link == Some(link.index) && hop.gateway.is_none())
    };
    if existing.iter().any(|existing| leads_here(&existing) && (family == 6 || existing.scope == route.scope))
    {
        return Ok(());
    }
    let index = |route: &Route| route.next_hops.first().and_then(|hop| hop.link).unwrap_or(0);
    let other = existing.first().map_or_else(String::new, |existing| {
        format!(": route (Ifindex: {}, Dst: {}) is there", index(existing), existing.dst)
    });
    Err(CniError::internal(format!(
        "route (Ifindex: {}, Dst: {}) already exists for an interface other than '{}'{other}",
        link.index, route.dst, link.name
    )))
}

/// Everything inside the container, in the order in which the kernel takes it.
fn container_ops(link: u32, wanted: &Attachment) -> Vec<Op> {
    let families = wanted.families();
    let gateway_v6 = IpAddr::V6(HOST_MAC.link_local());
    let mut ops = vec![Op::up(link)];
    let gateways = [(families.v4, GATEWAY_V4), (families.v6, gateway_v6)];
    if families.v4 {
        // The kernel takes no route through a gateway that it cannot reach.
        ops.push(Op::AddRoute(to_workload(GATEWAY_V4, link)));
    }
    for (_, gateway) in gateways.into_iter().filter(|(there, _)| *there) {
        // Known for good: no ARP and no neighbour discovery, and nothing to wait for.
        ops.push(Op::SetNeighbour(Neighbour {
            link,
            addr: gateway,
            mac: Some(HOST_MAC),
            permanent: true,
            proxy: false,
        }));
        let routes = wanted.routes.iter().filter(|dst| dst.addr.is_ipv4() == gateway.is_ipv4());
        ops.extend(routes.map(|dst| Op::AddRoute(through(*dst, gateway, link))));
    }
    ops.extend(wanted.addresses.iter().map(|address| Op::AddAddress {
        link,
        net: IpNet::host(*address),
        // `accept_dad` is off already, as Calico has it.
        nodad: false,
    }));
    ops
}

/// The route to one address that lies on the link itself.
fn to_workload(address: IpAddr, link: u32) -> Route {
    Route {
        scope: if address.is_ipv4() { Scope::Link } else { Scope::Universe },
        ..route(IpNet::host(address), None, link)
    }
}

fn through(dst: Prefixed, gateway: IpAddr, link: u32) -> Route {
    route(masked(dst), Some(gateway), link)
}

fn route(dst: IpNet, gateway: Option<IpAddr>, link: u32) -> Route {
    Route {
        dst,
        kind: RouteKind::Unicast,
        next_hops: vec![NextHop { gateway, link: Some(link), onlink: false, weight: 1 }],
        scope: Scope::Universe,
        protocol: PROTOCOL_BOOT,
        metric: None,
        table: TABLE_MAIN,
        source: None,
    }
}

/// Without host bits, which the kernel refuses in a destination.
fn masked(net: Prefixed) -> IpNet {
    let addr = model::net::Cidr::new(net.addr, net.prefix).map_or(net.addr, |cidr| cidr.addr());
    IpNet { addr, prefix: net.prefix }
}
