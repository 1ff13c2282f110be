//! The resources a start writes. Source: `bgp.md` §14 and `datamodel.md` §3.2 of the contract.
//!
//! What exists keeps what it says: only fields a node owns are set, and missing ones filled in.

use crate::decide::Decided;
use crate::detect::{Nic, reported};
use crate::settings::{Pool, Settings};
use model::net::{Cidr, Family, family_of};
use model::{Kind, Resource};
use serde_json::{Map, Value, json};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Type of the addresses a node says of itself.
const OWN_ADDRESS: &str = "CalicoNodeIP";
/// Orchestrator of the reference to Kubernetes.
const KUBERNETES: &str = "k8s";
/// The private /16 taken for the default pool unless the host is in it, then the others in this order.
const PRIVATE: [[u8; 2]; 5] = [[192, 168], [172, 16], [172, 17], [172, 18], [10, 244]];

/// A resource that has to be there.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its fields, if it is made.
    pub spec: Map<String, Value>,
    /// Fields that are empty in one that exists are filled in.
    pub completes: bool,
}

impl Wanted {
    fn new(kind: Kind, name: &str, spec: Value, completes: bool) -> Self {
        let spec = if let Value::Object(spec) = spec { spec } else { Map::new() };
        Self { kind, name: name.to_owned(), spec, completes }
    }

    /// What to store where `stored` is; none where nothing is missing.
    pub fn over(&self, stored: Option<&Resource>) -> Option<Resource> {
        let Some(stored) = stored else {
            let mut resource = Resource::new(self.kind, "", &self.name);
            *resource.spec_mut() = self.spec.clone();
            return Some(resource);
        };
        let empty = |field: &str| match stored.spec().get(field) {
            None | Some(Value::Null) => true,
            Some(Value::String(text)) => text.is_empty(),
            Some(_) => false,
        };
        let missing: Vec<_> = self.spec.iter().filter(|(field, _)| self.completes && empty(field)).collect();
        (!missing.is_empty()).then(|| {
            let mut resource = stored.clone();
            resource
                .spec_mut()
                .extend(missing.into_iter().map(|(field, value)| (field.clone(), value.clone())));
            resource
        })
    }
}

/// The configurations that exist from the first start on.
pub fn configurations(node: &str) -> [Wanted; 4] {
    let ipam = json!({
        "strictAffinity": false,
        "autoAllocateBlocks": true,
        "maxBlocksPerHost": 0,
        "kubeVirtVMAddressPersistence": "Enabled"
    });
    let felix = json!({"reportingInterval": "0s", "logSeverityScreen": "Info"});
    let own = json!({"defaultEndpointToHostAction": "Return"});
    [
        Wanted::new(Kind::FelixConfiguration, "default", felix, true),
        Wanted::new(Kind::FelixConfiguration, &format!("node.{node}"), own, true),
        Wanted::new(Kind::BGPConfiguration, "default", json!({}), false),
        Wanted::new(Kind::IPAMConfiguration, "default", ipam, false),
    ]
}

/// The default pools of families that have no pool yet. `random` chooses the IPv6 one.
pub fn default_pools(settings: &Settings, present: &[Cidr], nics: &[Nic], random: &[u8; 16]) -> Vec<Wanted> {
    let missing = |family: Family| !present.iter().any(|cidr| cidr.family() == family);
    let of = |family: Family, pool: &Option<Pool>| {
        let pool = pool.as_ref().filter(|_| missing(family))?;
        let free = || match family {
            Family::V4 => free_private(nics),
            Family::V6 => unique_local(random),
        };
        let cidr = pool.cidr.or_else(free)?;
        let name = format!("default-{}-ippool", family.name().to_ascii_lowercase());
        Some(Wanted::new(Kind::IPPool, &name, pool_spec(pool, cidr), false))
    };
    [of(Family::V4, &settings.pool4), of(Family::V6, &settings.pool6)].into_iter().flatten().collect()
}

fn pool_spec(pool: &Pool, cidr: Cidr) -> Value {
    let mut spec = json!({
        "cidr": cidr.to_string(),
        "vxlanMode": pool.vxlan,
        "ipipMode": pool.ipip,
        "blockSize": pool.block_size,
        "nodeSelector": pool.node_selector,
        "allowedUses": ["Workload", "Tunnel"],
        "assignmentMode": "Automatic"
    });
    if let Some(spec) = spec.as_object_mut() {
        // as Calico stores them: false is left out
        let flags = [("natOutgoing", pool.nat_outgoing), ("disableBGPExport", pool.disable_export)];
        spec.extend(
            flags.into_iter().filter(|(_, set)| *set).map(|(field, _)| (field.to_owned(), true.into())),
        );
    }
    spec
}

/// The first private /16 this host is not in.
fn free_private(nics: &[Nic]) -> Option<Cidr> {
    let cidrs = PRIVATE.map(|[a, b]| Cidr::new(Ipv4Addr::new(a, b, 0, 0).into(), 16));
    let used = |cidr: &Cidr| {
        nics.iter()
            .flat_map(|nic| &nic.addresses)
            .any(|net| Cidr::new(net.address, net.prefix).is_some_and(|own| own.overlaps(cidr)))
    };
    let first = cidrs.first().copied().flatten();
    cidrs.into_iter().flatten().find(|cidr| !used(cidr)).or(first)
}

/// A unique local /48 (RFC 4193): fd, 40 random bits, a subnet of zero.
fn unique_local(random: &[u8; 16]) -> Option<Cidr> {
    let [a, b, c, d, e, ..] = *random;
    let words = [u16::from_be_bytes([0xfd, a]), u16::from_be_bytes([b, c]), u16::from_be_bytes([d, e])];
    let [x, y, z] = words;
    Cidr::new(Ipv6Addr::new(x, y, z, 0, 0, 0, 0, 0).into(), 48)
}

/// The Node as it has to be stored; the same as `stored` where nothing changes.
pub fn node(
    name: &str,
    stored: Option<&Resource>,
    settings: &Settings,
    decided: &Decided,
    nics: &[Nic],
) -> Resource {
    let mut node = stored.cloned().unwrap_or_else(|| Resource::new(Kind::Node, "", name));
    let spec = node.spec_mut();
    if settings.networking {
        let bgp = spec.entry("bgp").or_insert_with(|| json!({}));
        if !bgp.is_object() {
            *bgp = json!({});
        }
        if let Some(bgp) = bgp.as_object_mut() {
            let texts = [decided.ipv4, decided.ipv6].map(|net| net.map(|net| net.to_string()));
            for (field, text) in ["ipv4Address", "ipv6Address"].into_iter().zip(texts) {
                set(bgp, field, text.map(Value::from));
            }
            set(bgp, "asNumber", decided.as_number.map(Value::from));
        }
        let own: Vec<Value> =
            [decided.ipv4, decided.ipv6].into_iter().flatten().map(|net| own(&net.to_string())).collect();
        replace(spec, "addresses", |entry| entry["type"] == OWN_ADDRESS, own);
        set(spec, "interfaces", interfaces(settings, nics));
    }
    if let Some(reference) = &settings.node_ref {
        let entry = json!({"nodeName": reference, "orchestrator": KUBERNETES});
        replace(spec, "orchRefs", |entry| entry["orchestrator"] == KUBERNETES, vec![entry]);
    }
    node
}

/// Others that say they have an address of ours: node and address.
pub fn conflicts<'a>(
    name: &str,
    decided: &Decided,
    nodes: impl Iterator<Item = &'a Resource>,
) -> Vec<(String, IpAddr)> {
    let own = [decided.ipv4, decided.ipv6];
    let of = |node: &Resource| {
        let bgp = node.spec().get("bgp").cloned().unwrap_or_default();
        ["ipv4Address", "ipv6Address"].map(|field| {
            let text = bgp.get(field).and_then(Value::as_str)?;
            text.split('/').next()?.parse::<IpAddr>().ok()
        })
    };
    nodes
        .filter(|node| node.name() != name)
        .flat_map(|node| of(node).into_iter().flatten().map(move |address| (node.name().to_owned(), address)))
        .filter(|(_, address)| own.into_iter().flatten().any(|net| net.address == *address))
        .collect()
}

fn own(address: &str) -> Value {
    json!({"address": address, "type": OWN_ADDRESS})
}

/// Links with their addresses, of the families that are used.
fn interfaces(settings: &Settings, nics: &[Nic]) -> Option<Value> {
    use crate::settings::Choice;
    let used = |address: IpAddr| settings.address(family_of(address)).choice != Choice::Off;
    let entries: Vec<Value> = reported(nics)
        .filter_map(|nic| {
            let addresses: Vec<String> = nic
                .addresses
                .iter()
                .filter(|net| used(net.address))
                .map(|net| net.address.to_string())
                .collect();
            (!addresses.is_empty()).then(|| json!({"name": nic.name, "addresses": addresses}))
        })
        .collect();
    (!entries.is_empty()).then(|| Value::Array(entries))
}

fn set(map: &mut Map<String, Value>, field: &str, value: Option<Value>) {
    match value {
        Some(value) => drop(map.insert(field.to_owned(), value)),
        None => drop(map.shift_remove(field)),
    }
}

/// Puts `own` in the place of our entries of a list; others' stay, before them.
fn replace(spec: &mut Map<String, Value>, field: &str, ours: impl Fn(&Value) -> bool, own: Vec<Value>) {
    let mut entries = spec.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
    let before: Vec<Value> = entries.iter().filter(|entry| ours(entry)).cloned().collect();
    if before == own {
        return;
    }
    entries.retain(|entry| !ours(entry));
    entries.extend(own);
    set(spec, field, (!entries.is_empty()).then(|| Value::Array(entries)));
}

#[cfg(test)]
mod tests;
