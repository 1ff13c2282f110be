//! Pools of addresses and what is kept out of them. Source: `resources.md` §1.11–§1.13 of the contract.

use super::{is_false, is_zero};
use crate::net::{Cidr, CidrError, Family};
use serde::{Deserialize, Serialize};

/// When packets between nodes are encapsulated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum EncapMode {
    /// Always.
    Always,
    /// Only to nodes in other subnets.
    CrossSubnet,
    /// Never; also what an empty or unknown value means.
    #[default]
    #[serde(other)]
    Never,
}

/// What addresses of a pool may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PoolUse {
    /// Workloads.
    Workload,
    /// Tunnel devices of nodes.
    Tunnel,
    /// Services of type LoadBalancer.
    LoadBalancer,
    /// A use this version does not know; never matches a request.
    #[serde(other)]
    Unknown,
}

impl PoolUse {
    /// As written in the pool.
    pub fn as_str(self) -> &'static str {
        match self {
            PoolUse::Workload => "Workload",
            PoolUse::Tunnel => "Tunnel",
            PoolUse::LoadBalancer => "LoadBalancer",
            PoolUse::Unknown => "Unknown",
        }
    }
}

/// Whether a pool is used without being named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AssignmentMode {
    /// Used for every request it matches; also what an empty value means.
    #[default]
    #[serde(alias = "")]
    Automatic,
    /// Used only for requests that name it; also what an unknown value is taken for.
    #[serde(other)]
    Manual,
}

/// IPPool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IPPoolSpec {
    /// The pool's prefix as text; see [`IPPoolSpec::net`].
    pub cidr: String,
    /// VXLAN between nodes.
    pub vxlan_mode: EncapMode,
    /// IP in IP between nodes.
    pub ipip_mode: EncapMode,
    /// Hide workloads behind their node outside of the pools.
    #[serde(skip_serializing_if = "is_false")]
    pub nat_outgoing: bool,
    /// No new addresses.
    #[serde(skip_serializing_if = "is_false")]
    pub disabled: bool,
    /// Not announced over BGP.
    #[serde(rename = "disableBGPExport", skip_serializing_if = "is_false")]
    pub disable_bgp_export: bool,
    /// Prefix length of a block; 0 when the stored object has none, see [`IPPoolSpec::block_prefix`].
    #[serde(skip_serializing_if = "is_zero")]
    pub block_size: u8,
    /// Nodes that take blocks; empty means all.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node_selector: String,
    /// Namespaces that get addresses; empty means all.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace_selector: String,
    /// What the addresses are for; `[Workload, Tunnel]` when the stored object names none.
    #[serde(deserialize_with = "uses_or_default")]
    pub allowed_uses: Vec<PoolUse>,
    /// Whether the pool is used without being named.
    pub assignment_mode: AssignmentMode,
}

/// What an object without `allowedUses` may be used for.
const DEFAULT_USES: [PoolUse; 2] = [PoolUse::Workload, PoolUse::Tunnel];

impl Default for IPPoolSpec {
    fn default() -> Self {
        Self {
            cidr: String::new(),
            vxlan_mode: EncapMode::Never,
            ipip_mode: EncapMode::Never,
            nat_outgoing: false,
            disabled: false,
            disable_bgp_export: false,
            block_size: 0,
            node_selector: String::new(),
            namespace_selector: String::new(),
            allowed_uses: DEFAULT_USES.to_vec(),
            assignment_mode: AssignmentMode::Automatic,
        }
    }
}

fn uses_or_default<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<PoolUse>, D::Error> {
    let uses = Vec::<PoolUse>::deserialize(deserializer)?;
    Ok(if uses.is_empty() { DEFAULT_USES.to_vec() } else { uses })
}

impl IPPoolSpec {
    /// The pool's prefix; host bits of hand-written objects are cleared.
    pub fn net(&self) -> Result<Cidr, CidrError> {
        Cidr::parse_masked(&self.cidr)
    }

    /// Prefix length of the pool's blocks; 26 or 122 where the object has none.
    pub fn block_prefix(&self) -> u8 {
        match self.block_size {
            0 => match self.net().map(|net| net.family()) {
                Ok(Family::V6) => DEFAULT_BLOCK_V6,
                _ => DEFAULT_BLOCK_V4,
            },
            size => size,
        }
    }

    /// Whether new addresses may be taken. Objects of the Kubernetes datastore can besides be switched off by a
    /// status condition or by deletion: see [`crate::Resource::is_allocatable_pool`].
    pub fn is_enabled(&self) -> bool {
        !self.disabled
    }

    /// Whether the addresses may be used so.
    pub fn allows(&self, pool_use: PoolUse) -> bool {
        self.allowed_uses.contains(&pool_use)
    }
}

/// Prefix length of IPv4 blocks where a pool names none.
pub const DEFAULT_BLOCK_V4: u8 = 26;
/// Prefix length of IPv6 blocks where a pool names none.
pub const DEFAULT_BLOCK_V6: u8 = 122;

/// IPReservation: never assigned automatically.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IPReservationSpec {
    /// Prefixes as written; see [`IPReservationSpec::nets`].
    #[serde(rename = "reservedCIDRs", skip_serializing_if = "Vec::is_empty")]
    pub reserved_cidrs: Vec<String>,
}

impl IPReservationSpec {
    /// The prefixes; what cannot be read is skipped, a bare address counts as itself.
    pub fn nets(&self) -> impl Iterator<Item = Cidr> {
        self.reserved_cidrs
            .iter()
            .filter_map(|text| Cidr::parse_masked(text).ok().or_else(|| text.parse().ok().map(Cidr::host)))
    }
}

/// IPAMConfiguration as a resource; the IPAM engine reads another key (`datamodel.md` §14).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IPAMConfigurationSpec {
    /// No borrowing from blocks of other nodes.
    pub strict_affinity: bool,
    /// Most blocks a node may have; 0 means no limit.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_blocks_per_host: u32,
    /// Nodes take new blocks as they need them.
    pub auto_allocate_blocks: bool,
    /// Whether a virtual machine keeps its address: `Enabled` or `Disabled`.
    #[serde(rename = "kubeVirtVMAddressPersistence", skip_serializing_if = "String::is_empty")]
    pub kubevirt_vm_address_persistence: String,
    /// How long a released address rests, in seconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub ip_cooldown_seconds: u32,
}
