//! What may be asked of the address manager, and what it answers.

use crate::block::WINDOWS_RESERVED;
use crate::error::Shortfall;
use model::key::Owner;
use model::net::{Cidr, Family};
use model::v3::PoolUse;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// "Give me so many addresses of each family": `ipam.md` §4 of the contract.
#[derive(Debug, Clone, PartialEq)]
pub struct AutoAssignRequest {
    /// Who will own the blocks the addresses come from: the node, or a virtual owner for load balancers.
    pub owner: Owner,
    /// Name under which the addresses are kept and released.
    pub handle: Option<String>,
    /// Notes to keep with the addresses: node, pod, namespace, timestamp, …
    pub attributes: BTreeMap<String, String>,
    /// How many IPv4 addresses.
    pub v4: usize,
    /// How many IPv6 addresses.
    pub v6: usize,
    /// Only from these IPv4 pools; empty: whatever pools select the node and namespace.
    pub v4_pools: Vec<Cidr>,
    /// The same for IPv6.
    pub v6_pools: Vec<Cidr>,
    /// What the addresses are for.
    pub intended_use: PoolUse,
    /// At most so many blocks for this owner; 0: only the cluster's limit counts.
    pub max_blocks: u32,
    /// At most so many addresses of a family for the handle; a request that would exceed it gets those the handle
    /// has. 0: no limit.
    pub max_per_handle: u32,
    /// Labels of the workload's namespace, for pools that select namespaces; none: no label.
    pub namespace_labels: BTreeMap<String, String>,
    /// What the owner keeps for itself of each IPv4 block it claims for this request.
    pub host_reserved: Option<HostReserved>,
    /// Whether fewer addresses than asked for are welcome. If not, a request that cannot be met in full writes
    /// nothing and fails with [`PlanError::Short`](crate::PlanError::Short).
    pub accept_fewer: bool,
}

impl AutoAssignRequest {
    /// A request of a node for workload addresses, from any pool, all or nothing; to be filled in by the caller.
    pub fn for_workload(node: &str, v4: usize, v6: usize) -> Self {
        Self {
            owner: Owner::Host(node.to_owned()),
            handle: None,
            attributes: BTreeMap::new(),
            v4,
            v6,
            v4_pools: Vec::new(),
            v6_pools: Vec::new(),
            intended_use: PoolUse::Workload,
            max_blocks: 0,
            max_per_handle: 0,
            namespace_labels: BTreeMap::new(),
            host_reserved: None,
            accept_fewer: false,
        }
    }

    pub(crate) fn wanted(&self, family: Family) -> usize {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }

    pub(crate) fn pools(&self, family: Family) -> &[Cidr] {
        match family {
            Family::V4 => &self.v4_pools,
            Family::V6 => &self.v6_pools,
        }
    }
}

/// Addresses at both ends of a block that the host itself uses: they are never given out (`ipam.md` §8 of the contract).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostReserved {
    /// How many at the beginning.
    pub first: usize,
    /// How many at the end.
    pub last: usize,
    /// The handle they are kept under, in the block only.
    pub handle: String,
    /// A note to keep with them.
    pub note: String,
}

impl HostReserved {
    /// What a Windows node keeps: network, gateway and two more for its switch.
    pub fn windows() -> Self {
        Self { first: 3, last: 1, handle: WINDOWS_RESERVED.to_owned(), note: "windows host rsvd".to_owned() }
    }

    /// The longest prefix of a block with an address besides these, of addresses of so many bits: Calico's rule, by
    /// which four reserved addresses need a block of eight.
    pub(crate) fn longest_prefix(&self, bits: u8) -> u8 {
        let count = self.first.saturating_add(self.last);
        let needed = usize::BITS - count.leading_zeros();
        bits.saturating_sub(u8::try_from(needed).unwrap_or(bits))
    }
}

/// An assigned address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Assigned {
    /// The address.
    pub address: IpAddr,
    /// The block it comes from; results of automatic assignment carry the block's prefix length.
    pub block: Cidr,
}

impl fmt::Display for Assigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.block.prefix())
    }
}

/// What one family got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FamilyOutcome {
    /// The family.
    pub family: Family,
    /// How many were asked for.
    pub requested: usize,
    /// What was got, in the order of assignment.
    pub assigned: Vec<Assigned>,
    /// Why there are not more.
    pub messages: Vec<String>,
}

impl FamilyOutcome {
    pub(crate) fn new(family: Family, requested: usize) -> Self {
        Self { family, requested, assigned: Vec::new(), messages: Vec::new() }
    }

    /// What is missing, if something is.
    pub fn shortfall(&self) -> Option<Shortfall> {
        (self.assigned.len() < self.requested).then(|| Shortfall {
            family: self.family,
            requested: self.requested,
            assigned: self.assigned.len(),
            messages: self.messages.clone(),
        })
    }
}

/// Answer to [`AutoAssignRequest`]; a family that was not asked for has an outcome without addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutoAssignOutcome {
    /// IPv4.
    pub v4: FamilyOutcome,
    /// IPv6.
    pub v6: FamilyOutcome,
}

/// "Give me this address": `ipam.md` §6 of the contract.
#[derive(Debug, Clone, PartialEq)]
pub struct AssignIpRequest {
    /// The address.
    pub address: IpAddr,
    /// Who claims the block if nobody has it, and is held against its owner under strict affinity.
    pub owner: Owner,
    /// Name under which the address is kept and released.
    pub handle: Option<String>,
    /// Notes to keep with the address.
    pub attributes: BTreeMap<String, String>,
    /// What it is for; none: any pool will do.
    pub intended_use: Option<PoolUse>,
    /// As in [`AutoAssignRequest::host_reserved`].
    pub host_reserved: Option<HostReserved>,
    /// As in [`AutoAssignRequest::max_per_handle`]; makes a repetition for the same handle succeed.
    pub max_per_handle: u32,
}

/// One address to give back, with what the caller believes about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    /// The address.
    pub address: IpAddr,
    /// Refuse unless it belongs to this handle.
    pub handle: Option<String>,
    /// Refuse unless it was allocated at this sequence number.
    pub sequence_number: Option<u64>,
}

impl Release {
    /// Whatever it belongs to.
    pub fn unconditional(address: IpAddr) -> Self {
        Self { address, handle: None, sequence_number: None }
    }
}

/// What became of a list of [`Release`]s. Blocks succeed and fail each for itself.
#[derive(Debug, Default)]
pub struct ReleaseOutcome {
    /// Given back.
    pub released: Vec<Release>,
    /// Were not assigned.
    pub unallocated: Vec<IpAddr>,
    /// Blocks of which nothing was released, and why.
    pub failed: Vec<(Cidr, crate::PlanError)>,
}

/// What is known about an assigned address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// Its block.
    pub block: Cidr,
    /// The block's owner.
    pub owner: Option<Owner>,
    /// Its handle.
    pub handle: Option<String>,
    /// Notes about the active owner.
    pub attributes: BTreeMap<String, String>,
    /// Notes about the owner a live migration moves to.
    pub alternate: BTreeMap<String, String>,
    /// The sequence number to release it by.
    pub sequence_number: Option<u64>,
}

/// Blocks an owner gained, or why not: answer of a claim over a range.
#[derive(Debug, Default)]
pub struct ClaimOutcome {
    /// Now the owner's (or already were).
    pub claimed: Vec<Cidr>,
    /// Belong to somebody else.
    pub refused: Vec<Cidr>,
}

/// How full a block is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockUtilization {
    /// The block.
    pub cidr: Cidr,
    /// Its addresses.
    pub capacity: u128,
    /// Those that are not free: assigned, cooling down, kept for the host.
    pub in_use: u128,
    /// Those under a reservation.
    pub reserved: u128,
    /// Those neither in use nor reserved.
    pub available: u128,
}

/// How full a pool is: `ipam.md` §13 of the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolUtilization {
    /// Its name; [`ORPHANS`](crate::ORPHANS) for blocks outside every pool, whose own numbers are left at 0.
    pub name: String,
    /// Its CIDR.
    pub cidr: Cidr,
    /// Its addresses.
    pub capacity: u128,
    /// Those that are not free in its blocks.
    pub in_use: u128,
    /// Those under a reservation.
    pub reserved: u128,
    /// Those neither in use nor reserved, in a block or not.
    pub available: u128,
    /// Its blocks, in the order of their keys.
    pub blocks: Vec<BlockUtilization>,
}
