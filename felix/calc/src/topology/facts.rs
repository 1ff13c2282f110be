//! What matters of a node, a pool and a block.

use model::Owner;
use model::net::{Cidr, Family, family_of};
use model::v3::{EncapMode, IPPoolSpec, NodeSpec, PoolUse};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Addresses of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NodeFacts {
    v4: Option<(IpAddr, Option<Cidr>)>,
    v6: Option<(IpAddr, Option<Cidr>)>,
}

impl NodeFacts {
    /// The address BGP uses, with its subnet; where there is none, an internal address, then an external one.
    pub(crate) fn new(spec: &NodeSpec) -> Self {
        let known = |family: Family, of_bgp: Option<(IpAddr, Cidr)>| {
            let of_bgp = of_bgp.filter(|(address, _)| family_of(*address) == family);
            of_bgp.map(|(address, subnet)| (address, Some(subnet))).or_else(|| {
                let of_type = |wanted: &str| {
                    let all = spec.addresses.iter().filter(|address| address.address_type == wanted);
                    all.filter_map(|address| address.address.parse().ok()).find(|ip| family_of(*ip) == family)
                };
                of_type("InternalIP").or_else(|| of_type("ExternalIP")).map(|address| (address, None))
            })
        };
        NodeFacts { v4: known(Family::V4, spec.ipv4()), v6: known(Family::V6, spec.ipv6()) }
    }

    /// Its address of a family.
    pub(crate) fn address(&self, family: Family) -> Option<IpAddr> {
        self.of(family).map(|(address, _)| address)
    }

    /// Both addresses.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        [self.v4, self.v6].into_iter().flatten().map(|(address, _)| address)
    }

    /// The subnet its address lies in.
    pub(crate) fn subnet(&self, family: Family) -> Option<Cidr> {
        self.of(family).and_then(|(_, subnet)| subnet)
    }

    fn of(&self, family: Family) -> Option<(IpAddr, Option<Cidr>)> {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }
}

/// How packets of a pool travel between nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encapsulation {
    /// As they are.
    None,
    /// In IP, always or across subnets.
    IpIp(EncapMode),
    /// In VXLAN, always or across subnets.
    Vxlan(EncapMode),
}

/// A pool; a disabled one counts like any other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PoolFacts {
    pub(crate) net: Cidr,
    pub(crate) encapsulation: Encapsulation,
    pub(crate) masquerade: bool,
    /// Not for load balancers alone.
    pub(crate) for_workloads: bool,
}

impl PoolFacts {
    /// `None` where its CIDR cannot be read.
    pub(crate) fn new(spec: &IPPoolSpec) -> Option<Self> {
        Some(PoolFacts {
            net: spec.net().ok()?,
            encapsulation: match (spec.vxlan_mode, spec.ipip_mode) {
                (EncapMode::Never, EncapMode::Never) => Encapsulation::None,
                (EncapMode::Never, mode) => Encapsulation::IpIp(mode),
                (mode, _) => Encapsulation::Vxlan(mode),
            },
            masquerade: spec.nat_outgoing,
            for_workloads: spec.allowed_uses != [PoolUse::LoadBalancer],
        })
    }

    /// Field and value of an encapsulation.
    pub(crate) fn mode(&self) -> Option<(&'static str, &'static str)> {
        let text = |mode| if mode == EncapMode::CrossSubnet { "CrossSubnet" } else { "Always" };
        match self.encapsulation {
            Encapsulation::None => None,
            Encapsulation::IpIp(mode) => Some(("ipipMode", text(mode))),
            Encapsulation::Vxlan(mode) => Some(("vxlanMode", text(mode))),
        }
    }
}

/// A block: whose it is, and which of its addresses others have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct BlockFacts {
    /// The node; none for a block without an owner and for those of virtual owners.
    pub(crate) owner: Option<Arc<str>>,
    /// Addresses of workloads on other nodes.
    pub(crate) borrowed: Vec<(IpAddr, Arc<str>)>,
}

/// Of [`model::ipam::AllocationBlock`] what routes need: there is a block for each few dozen pods of the cluster, and
/// every allocation changes one.
#[derive(Debug, Deserialize)]
struct Stored {
    affinity: Option<String>,
    #[serde(rename = "hostAffinity")]
    host_affinity: Option<String>,
    #[serde(default)]
    allocations: Option<Vec<Option<usize>>>,
    #[serde(default)]
    attributes: Option<Vec<Attribute>>,
}

#[derive(Debug, Deserialize)]
struct Attribute {
    secondary: Option<Secondary>,
}

#[derive(Debug, Deserialize)]
struct Secondary {
    node: Option<String>,
}

impl BlockFacts {
    /// Reads a stored block.
    ///
    /// # Errors
    /// It is no JSON, or a field has another type.
    pub(crate) fn read(block: Cidr, value: &[u8]) -> Result<Self, serde_json::Error> {
        let stored: Stored = serde_json::from_slice(value)?;
        let by_text = stored.affinity.as_deref().and_then(Owner::parse_affinity);
        let legacy = || stored.host_affinity.clone().filter(|host| !host.is_empty()).map(Owner::Host);
        let owner: Option<Arc<str>> = match by_text.or_else(legacy) {
            Some(Owner::Host(node)) => Some(node.as_str().into()),
            _ => None,
        };
        let attributes = stored.attributes.unwrap_or_default();
        let mut names: BTreeMap<&str, Arc<str>> = BTreeMap::new();
        let mut borrowed = Vec::new();
        for (ordinal, allocation) in stored.allocations.iter().flatten().enumerate() {
            let attribute = allocation.and_then(|at| attributes.get(at));
            let node = attribute.and_then(|attribute| attribute.secondary.as_ref()?.node.as_deref());
            let Some(node) = node.filter(|node| Some(*node) != owner.as_deref() && !node.is_empty()) else {
                continue;
            };
            if let Some(address) = u128::try_from(ordinal).ok().and_then(|ordinal| block.nth(ordinal)) {
                let name = names.entry(node).or_insert_with(|| node.into()).clone();
                borrowed.push((address, name));
            }
        }
        Ok(BlockFacts { owner, borrowed })
    }
}
