//! Nothing without an owner.
//!
//! Every address given out belongs to a handle and an endpoint, every endpoint has its link, its routes and its
//! addresses, and every one of those belongs to an endpoint: [`verify`] walks all of it both ways and names what hangs loose.
//! Blocks, handles and affinities must agree besides (`ipam.md` §1 of the contract).

use crate::etcd::Snapshot;
use crate::process::tool;
use anyhow::Result;
use model::net::Cidr;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

const BLOCKS: &str = "/calico/ipam/v2/assignment/";
const HANDLES: &str = "/calico/ipam/v2/handle/";
const AFFINITIES: &str = "/calico/ipam/v2/host/";
const ENDPOINTS: &str = "/calico/resources/v3/projectcalico.org/workloadendpoints/";

/// What the kernel of a node and of its containers has, as far as endpoints make it.
#[derive(Debug, Default, Clone)]
pub struct KernelView {
    /// Host ends: names of links of the node whose name begins as endpoints' do.
    pub host_links: BTreeSet<String>,
    /// Routes of the node over host ends: destination and link.
    pub host_routes: BTreeSet<(Cidr, String)>,
    /// Permanent neighbours of the node on host ends: address and link.
    pub host_neighbours: BTreeSet<(IpAddr, String)>,
    /// Global addresses of each link but loopback in each container's namespace.
    pub container_links: BTreeMap<(String, String), BTreeSet<IpAddr>>,
}

impl KernelView {
    /// Reads the calling thread's namespace as the node and the named ones as containers.
    ///
    /// # Errors
    /// `ip` fails.
    pub fn read(containers: &[String]) -> Result<Self> {
        let mut view = Self::default();
        for link in objects(&["-j", "link", "show"])? {
            let name = link["ifname"].as_str().unwrap_or_default().to_owned();
            if host_end(&name) {
                view.host_links.insert(name);
            }
        }
        for family in ["-4", "-6"] {
            for route in objects(&["-j", family, "route", "show"])? {
                let (dst, dev) = (&route["dst"], route["dev"].as_str().unwrap_or_default());
                let own = host_end(dev) && route["protocol"] != "kernel";
                if let (true, Some(dst)) = (own, dst.as_str().and_then(prefix)) {
                    view.host_routes.insert((dst, dev.to_owned()));
                }
            }
        }
        for neighbour in objects(&["-j", "neigh", "show", "nud", "permanent"])? {
            let dev = neighbour["dev"].as_str().unwrap_or_default();
            if let (true, Some(addr)) =
                (host_end(dev), neighbour["dst"].as_str().and_then(|a| a.parse().ok()))
            {
                view.host_neighbours.insert((addr, dev.to_owned()));
            }
        }
        for container in containers {
            for link in objects(&["-n", container, "-j", "addr", "show"])? {
                let name = link["ifname"].as_str().unwrap_or_default().to_owned();
                if name == "lo" {
                    continue;
                }
                let global = array(&link["addr_info"]).filter(|info| info["scope"] == "global");
                let addresses =
                    global.filter_map(|info| info["local"].as_str()?.parse().ok()).collect::<BTreeSet<_>>();
                view.container_links.insert((container.clone(), name), addresses);
            }
        }
        Ok(view)
    }
}

fn objects(arguments: &[&str]) -> Result<Vec<Value>> {
    let text = tool("ip", arguments)?;
    Ok(if text.trim().is_empty() { Vec::new() } else { serde_json::from_str(&text)? })
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Ends of workloads' links, those that an agent has put aside too.
fn host_end(name: &str) -> bool {
    ["cali", "tap", "ocidel-"].iter().any(|prefix| name.starts_with(prefix))
}

fn prefix(text: &str) -> Option<Cidr> {
    match text.contains('/') {
        true => Cidr::parse_masked(text).ok(),
        false => text.parse().ok().map(Cidr::host),
    }
}

/// What hangs loose, in words; empty when all is owned.
pub fn verify(store: &Snapshot, kernel: &KernelView) -> Vec<String> {
    let mut loose = Vec::new();
    let given = blocks(store, &mut loose);
    handles(store, &given, &mut loose);
    affinities(store, &mut loose);
    endpoints(store, kernel, &given, &mut loose);
    loose
}

/// Addresses given out: address → (handle, key of its block).
type Given = BTreeMap<IpAddr, (Option<String>, String)>;

fn blocks(store: &Snapshot, loose: &mut Vec<String>) -> Given {
    let mut given = Given::new();
    for (key, block) in parsed(store, BLOCKS, loose) {
        let Some(cidr) = block["cidr"].as_str().and_then(prefix) else {
            loose.push(format!("{key}: no CIDR"));
            continue;
        };
        let allocations: Vec<Option<u64>> = array(&block["allocations"]).map(Value::as_u64).collect();
        let size = 1_u64 << (cidr.family().bits() - cidr.prefix()).min(20);
        if allocations.len() as u64 != size {
            loose.push(format!("{key}: {} allocations in a block of {size}", allocations.len()));
        }
        let free: Vec<u64> = array(&block["unallocated"]).filter_map(Value::as_u64).collect();
        let distinct: BTreeSet<u64> = free.iter().copied().collect();
        if distinct.len() != free.len() {
            loose.push(format!("{key}: an address is free twice"));
        }
        for (ordinal, allocation) in (0_u64..).zip(&allocations) {
            if allocation.is_some() == distinct.contains(&ordinal) {
                loose.push(format!("{key}: address {ordinal} is both free and given, or neither"));
            }
            let Some(attribute) = allocation else { continue };
            let attribute = usize::try_from(*attribute).ok().and_then(|at| block["attributes"].get(at));
            let Some(attribute) = attribute else {
                loose.push(format!("{key}: address {ordinal} has no attributes"));
                continue;
            };
            // Released and cooling down: nobody's on purpose.
            if attribute.get("releasedAt").is_none() {
                let handle = attribute["handle_id"].as_str().map(str::to_owned);
                given.insert(address(cidr, ordinal), (handle, key.to_owned()));
            }
        }
        let used: BTreeSet<u64> = allocations.iter().flatten().copied().collect();
        if used.len() != array(&block["attributes"]).count() {
            loose.push(format!("{key}: attributes of no address"));
        }
        if let Some(host) = block["affinity"].as_str().and_then(|affinity| affinity.strip_prefix("host:")) {
            let family = cidr.family().number();
            let name = format!("{}-{}", cidr.addr(), cidr.prefix());
            let affinity = format!("{AFFINITIES}{host}/ipv{family}/block/{name}");
            if !store.contains_key(&affinity) {
                loose.push(format!("{key}: affine to {host}, but there is no {affinity}"));
            }
        }
    }
    given
}

fn address(block: Cidr, ordinal: u64) -> IpAddr {
    match block.addr() {
        IpAddr::V4(v4) => {
            IpAddr::V4(v4.to_bits().wrapping_add(u32::try_from(ordinal).unwrap_or(u32::MAX)).into())
        }
        IpAddr::V6(v6) => IpAddr::V6(v6.to_bits().wrapping_add(u128::from(ordinal)).into()),
    }
}

fn handles(store: &Snapshot, given: &Given, loose: &mut Vec<String>) {
    let mut counted: BTreeMap<(String, String), u64> = BTreeMap::new();
    for (address, (handle, block)) in given {
        match handle {
            Some(handle) => *counted.entry((handle.clone(), block.clone())).or_default() += 1,
            None => loose.push(format!("{address}: given out without a handle")),
        }
    }
    for (key, value) in parsed(store, HANDLES, loose) {
        let name = key.trim_start_matches(HANDLES);
        let blocks = value["block"].as_object().cloned().unwrap_or_default();
        if blocks.is_empty() {
            loose.push(format!("{key}: a handle of nothing"));
        }
        for (cidr, count) in blocks {
            let family = if cidr.contains(':') { 6 } else { 4 };
            let block = format!("{BLOCKS}ipv{family}/block/{}", cidr.replace('/', "-"));
            let counted = counted.remove(&(name.to_owned(), block)).unwrap_or(0);
            if count.as_u64() != Some(counted) {
                loose.push(format!("{key}: counts {count} in {cidr}, the block has {counted}"));
            }
        }
    }
    for ((handle, block), count) in counted {
        loose.push(format!("{block}: {count} addresses of handle {handle}, which does not count them"));
    }
}

fn affinities(store: &Snapshot, loose: &mut Vec<String>) {
    for (key, value) in parsed(store, AFFINITIES, loose) {
        let rest = key.trim_start_matches(AFFINITIES);
        let Some((host, place)) = rest.split_once('/') else { continue };
        let block = store.get(&format!("{BLOCKS}{place}"));
        let owner: Value =
            block.and_then(|stored| serde_json::from_str(&stored.value).ok()).unwrap_or_default();
        if owner["affinity"] != format!("host:{host}") || value["state"] != "confirmed" {
            loose.push(format!("{key}: {}, its block's owner is {}", value["state"], owner["affinity"]));
        }
    }
}

fn endpoints(store: &Snapshot, kernel: &KernelView, given: &Given, loose: &mut Vec<String>) {
    let mut owned: BTreeMap<IpAddr, String> = BTreeMap::new();
    let mut links = BTreeSet::new();
    for (key, endpoint) in parsed(store, ENDPOINTS, loose) {
        let spec = &endpoint["spec"];
        let link = spec["interfaceName"].as_str().unwrap_or_default().to_owned();
        if !kernel.host_links.contains(&link) {
            loose.push(format!("{key}: no link {link}"));
        }
        let networks: Vec<Cidr> =
            array(&spec["ipNetworks"]).filter_map(Value::as_str).filter_map(prefix).collect();
        for network in &networks {
            let address = network.addr();
            if let Some(other) = owned.insert(address, key.to_owned()) {
                loose.push(format!("{address}: belongs to {other} and to {key}"));
            }
            if !kernel.host_routes.contains(&(Cidr::host(address), link.clone())) {
                loose.push(format!("{key}: no route to {address} over {link}"));
            }
            let inside = kernel.container_links.values().any(|addresses| addresses.contains(&address));
            if !inside {
                loose.push(format!("{key}: {address} is in no container"));
            }
        }
        links.insert(link);
    }
    for (address, (handle, _)) in given {
        if !owned.contains_key(address) {
            let handle = handle.as_deref().unwrap_or("none");
            loose.push(format!("{address}: given out (handle {handle}), but no endpoint has it"));
        }
    }
    for link in kernel.host_links.difference(&links) {
        loose.push(format!("link {link}: no endpoint"));
    }
    for (dst, link) in &kernel.host_routes {
        if !owned.contains_key(&dst.addr()) {
            loose.push(format!("route to {} over {link}: no endpoint has the address", dst.addr()));
        }
    }
    for (address, link) in &kernel.host_neighbours {
        if !owned.contains_key(address) {
            loose.push(format!("neighbour {address} on {link}: no endpoint has the address"));
        }
    }
    for ((container, link), addresses) in &kernel.container_links {
        for address in addresses.iter().filter(|address| !owned.contains_key(address)) {
            loose.push(format!("{address} on {link} in {container}: no endpoint has it"));
        }
        if addresses.is_empty() {
            loose.push(format!("link {link} in {container}: without an address"));
        }
    }
}

/// All values below a prefix; one that is no JSON is loose by itself.
fn parsed<'a>(store: &'a Snapshot, prefix: &str, loose: &mut Vec<String>) -> Vec<(&'a str, Value)> {
    let mut found = Vec::new();
    for (key, stored) in store.iter().filter(|(key, _)| key.starts_with(prefix)) {
        match serde_json::from_str(&stored.value) {
            Ok(value) => found.push((key.as_str(), value)),
            Err(error) => loose.push(format!("{key}: {error}")),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcd::Stored;
    use serde_json::json;

    const BLOCK: &str = "/calico/ipam/v2/assignment/ipv4/block/10.0.0.0-30";
    const AFFINITY: &str = "/calico/ipam/v2/host/a/ipv4/block/10.0.0.0-30";
    const HANDLE: &str = "/calico/ipam/v2/handle/net.c1";
    const ENDPOINT: &str = "/calico/resources/v3/projectcalico.org/workloadendpoints/default/a-cni-c1-eth0";

    fn world() -> (BTreeMap<&'static str, Value>, KernelView) {
        let store = BTreeMap::from([
            (
                BLOCK,
                json!({"cidr": "10.0.0.0/30", "affinity": "host:a", "allocations": [null, 0, null, null],
                    "unallocated": [2, 3, 0], "attributes": [{"handle_id": "net.c1"}]}),
            ),
            (AFFINITY, json!({"state": "confirmed"})),
            (HANDLE, json!({"block": {"10.0.0.0/30": 1}})),
            (ENDPOINT, json!({"spec": {"interfaceName": "cali1", "ipNetworks": ["10.0.0.1/32"]}})),
        ]);
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        let kernel = KernelView {
            host_links: ["cali1".to_owned()].into(),
            host_routes: [(Cidr::host(address), "cali1".to_owned())].into(),
            host_neighbours: [(address, "cali1".to_owned())].into(),
            container_links: [(("c1".to_owned(), "eth0".to_owned()), [address].into())].into(),
        };
        (store, kernel)
    }

    fn check(store: &BTreeMap<&'static str, Value>, kernel: &KernelView) -> Vec<String> {
        let stored = store.iter().map(|(key, value)| {
            ((*key).to_owned(), Stored { value: value.to_string(), revision: 1, lease: false })
        });
        verify(&stored.collect(), kernel)
    }

    #[test]
    fn a_whole_world_has_nothing_loose() {
        let (store, kernel) = world();
        assert_eq!(check(&store, &kernel), Vec::<String>::new());
        assert_eq!(check(&BTreeMap::new(), &KernelView::default()), Vec::<String>::new());
    }

    #[test]
    fn every_key_is_missed() {
        let (whole, kernel) = world();
        for key in [BLOCK, AFFINITY, HANDLE, ENDPOINT] {
            let mut store = whole.clone();
            store.remove(key);
            assert!(!check(&store, &kernel).is_empty(), "{key} is not missed");
        }
    }

    #[test]
    fn every_part_of_the_kernel_is_missed_and_is_loose_without_its_endpoint() {
        let (store, whole) = world();
        let without: [fn(&mut KernelView); 3] = [
            |kernel| kernel.host_links.clear(),
            |kernel| kernel.host_routes.clear(),
            |kernel| kernel.container_links.clear(),
        ];
        for (at, clear) in without.into_iter().enumerate() {
            let mut kernel = whole.clone();
            clear(&mut kernel);
            assert_eq!(check(&store, &kernel).len(), 1, "part {at}");
        }
        assert_eq!(check(&BTreeMap::new(), &whole).len(), 4);
    }

    #[test]
    fn counts_that_disagree_are_found() {
        let (mut store, kernel) = world();
        store.insert(HANDLE, json!({"block": {"10.0.0.0/30": 2}}));
        assert_eq!(check(&store, &kernel), [format!("{HANDLE}: counts 2 in 10.0.0.0/30, the block has 1")]);
    }

    #[test]
    fn a_block_that_contradicts_itself_is_found() {
        let (mut store, kernel) = world();
        store.insert(
            BLOCK,
            json!({"cidr": "10.0.0.0/30", "affinity": "host:a", "allocations": [null, 0, null, null],
                "unallocated": [1, 2, 3], "attributes": [{"handle_id": "net.c1"}]}),
        );
        assert_eq!(check(&store, &kernel).len(), 2);
    }

    #[test]
    fn two_endpoints_with_one_address_are_found() {
        let (mut store, kernel) = world();
        let twin = "/calico/resources/v3/projectcalico.org/workloadendpoints/default/b";
        store.insert(twin, json!({"spec": {"interfaceName": "cali1", "ipNetworks": ["10.0.0.1/32"]}}));
        assert!(check(&store, &kernel)[0].starts_with("10.0.0.1: belongs to"));
    }
}
