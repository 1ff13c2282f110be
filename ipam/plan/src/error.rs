//! Why the address manager refuses.

use model::net::{Cidr, Family};
use model::resource::StoredError;
use model::v3::PoolUse;
use std::net::IpAddr;

/// Fewer addresses than asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Assigned {assigned} out of {requested} requested IPv{} addresses{}", family.number(), tail(messages))]
pub struct Shortfall {
    /// The family.
    pub family: Family,
    /// How many were asked for.
    pub requested: usize,
    /// How many there were.
    pub assigned: usize,
    /// Why there are not more.
    pub messages: Vec<String>,
}

fn tail(messages: &[String]) -> String {
    messages.iter().map(|m| format!("; {m}")).collect()
}

/// Why a request was not carried out. Texts are Calico's (`ipam.md` of the contract).
#[derive(Debug, Clone, thiserror::Error)]
pub enum PlanError {
    /// No pool of the family is enabled.
    #[error("cannot find a qualified ippool")]
    NoQualifiedPool,
    /// A pool asked for by CIDR is not there or disabled.
    #[error("the given pool ({0}) does not exist, or is not enabled")]
    PoolNotEnabled(Cidr),
    /// No pool selects the node and namespace.
    #[error("no configured Calico pools for node {0}")]
    NoPoolForNode(String),
    /// No pool allows the use.
    #[error("cannot find a qualified ippool, no pools match the required use ({})", .0.as_str())]
    NoPoolForUse(PoolUse),
    /// Pools of the other family were asked for.
    #[error("provided IPv{0} IPPools list contains one or more IPv{1} IPPools")]
    MixedFamilies(u8, u8),
    /// The node does not exist.
    #[error("resource does not exist: Node({0}) with error: <nil>")]
    NoNode(String),
    /// A stored selector cannot be read.
    #[error("IP pool \"{pool}\": {field} '{text}': {reason}")]
    Selector {
        /// Name of the pool.
        pool: String,
        /// `nodeSelector` or `namespaceSelector`.
        field: &'static str,
        /// The selector.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The owner has as many blocks as it may have, and none with a free address.
    #[error("cannot allocate new block due to per host block limit")]
    BlockLimit,
    /// No block has a free address and none may be claimed.
    #[error("failed to find or claim a block")]
    NoBlock,
    /// Fewer addresses than asked for, where fewer are not welcome.
    #[error(transparent)]
    Short(#[from] Shortfall),
    /// The address lies in no enabled pool.
    #[error("The provided IP address is not in a configured pool\n")]
    NotInPool,
    /// The address lies in a pool for other uses.
    #[error("IP address {address} is in IP pool \"{pool}\", which is not allowed for use \"{}\" (allowedUses: [{allowed}])", intended.as_str())]
    UseNotAllowed {
        /// The address.
        address: IpAddr,
        /// Name of the pool.
        pool: String,
        /// What it was asked for.
        intended: PoolUse,
        /// What the pool allows, separated by spaces.
        allowed: String,
    },
    /// The address is taken (or cooling down).
    #[error("resource already exists: {0} with error: Address already assigned in block")]
    AlreadyAssigned(IpAddr),
    /// Strict affinity: the block is somebody else's.
    #[error("Block host affinity does not match")]
    StrictOwner,
    /// Strict affinity: the block is nobody's.
    #[error("Attempt to assign from block {0} with no affinity")]
    StrictOrphan(Cidr),
    /// Nothing is kept under the handle.
    #[error("resource does not exist: IPAMHandleKey(id={0}) with error: <nil>")]
    NoHandle(String),
    /// The handle has as many addresses of the family as it may have.
    #[error("handle {handle} already has {limit} addresses, as many as it may have")]
    HandleFull {
        /// The handle.
        handle: String,
        /// How many it may have.
        limit: usize,
    },
    /// An address belongs to another handle than the caller believes.
    #[error("the given handle ({given}) does not match ({actual}) when attempting to release IP")]
    BadHandle {
        /// What the caller believes.
        given: String,
        /// What is stored.
        actual: String,
    },
    /// An address was allocated at another time than the caller believes.
    #[error("the given sequence number ({given}) does not match ({actual}) when attempting to release IP")]
    BadSequenceNumber {
        /// What the caller believes.
        given: u64,
        /// What is stored.
        actual: u64,
    },
    /// The address belongs to nobody.
    #[error("resource does not exist: {0} with error: IP is unassigned")]
    NotAssigned(IpAddr),
    /// The address is kept under another handle than the caller believes.
    #[error("IP {address} is not assigned to handle {given} (current handle: {actual})")]
    OtherHandle {
        /// The address.
        address: IpAddr,
        /// What the caller believes.
        given: String,
        /// What is stored.
        actual: String,
    },
    /// An owner of the address is not who the caller believes it is.
    #[error("the {which} owner of IP {address} is {found}: nothing changed")]
    OtherOwner {
        /// The address.
        address: IpAddr,
        /// `active` or `alternate`.
        which: &'static str,
        /// Who it is.
        found: String,
    },
    /// A node that keeps addresses of its blocks for itself, where blocks may be lent.
    #[error("global strict affinity should not be false for Windows node")]
    StrictAffinityNeeded,
    /// No block is absent, and none can be taken over.
    #[error("No Free Blocks")]
    NoFreeBlocks,
    /// The address was released and waits.
    #[error("address {0} is in cooldown")]
    InCooldown(IpAddr),
    /// The block belongs to somebody else.
    #[error("{block} already claimed by {owner}")]
    ClaimConflict {
        /// The block.
        block: Cidr,
        /// Its owner, as text; empty for a block in use without an owner.
        owner: String,
    },
    /// The block has addresses in use.
    #[error("block '{0}' is not empty")]
    NotEmpty(Cidr),
    /// The range to claim or release lies in no enabled pool.
    #[error("The requested CIDR ({0}) is not within any configured pools.")]
    CidrNotInPool(Cidr),
    /// The range is smaller than a block.
    #[error("The requested CIDR ({0}) is smaller than the minimum.")]
    CidrTooSmall(Cidr),
    /// The range has more blocks than one claim may be about.
    #[error("The requested CIDR ({0}) holds more than 65536 blocks.")]
    CidrTooLarge(Cidr),
    /// Settings that exclude each other.
    #[error("Cannot disable 'StrictAffinity' and 'AutoAllocateBlocks' at the same time")]
    NeitherStrictNorAuto,
    /// A block limit without strict affinity.
    #[error("MaxBlocksPerHost requires StrictAffinity to be enabled")]
    LimitWithoutStrict,
    /// Others kept changing what this request needed.
    #[error("Max retries hit - excessive concurrent IPAM requests")]
    TooManyConflicts,
    /// A stored value cannot be read.
    #[error("stored value of {} cannot be read: {}", .0.key, .0.reason)]
    Stored(#[from] StoredError),
}
