//! Pools, blocks, affinities, handles: a request and what is stored become proposed writes.
//!
//! This crate decides; it never waits, reads a clock or talks to anybody. An operation is a [`Plan`]: it asks for
//! transactions, one after another, and is resumed with their answers and the time. `ipam` carries plans to a real
//! datastore; the tests carry thousands of them at once to a simulated one and interleave, crash and mislead them.
//!
//! What is stored belongs to Calico as much as to us: its nodes work on the same keys at the same time. Every commit is
//! one transaction that compares all it relied on (`workspace`), so that it happens on exactly the state that was
//! looked at; it writes block, affinity and handle together, so that none of the half states exist that Calico's own
//! steps leave behind; and it finishes or undoes those that Calico's steps did leave.
//!
//! Source: `ipam.md` of the contract, whose sections the modules name.

mod affinity;
mod assign_ip;
mod auto_assign;
mod block;
mod candidates;
mod ensure_block;
mod error;
mod inspect;
mod owner;
mod plan;
mod pool;
mod release;
mod request;
mod reservations;
mod scene;
mod settings;
mod warm;
mod workspace;

pub use affinity::{
    claim_affinity, release_affinity, release_host_affinities, release_pool_affinities, remove_host,
};
pub use assign_ip::assign_ip;
pub use auto_assign::{auto_assign, make_room};
pub use ensure_block::{EnsureBlockRequest, EnsuredBlocks, ensure_block};
pub use error::{PlanError, Shortfall};
pub use inspect::{blocks, lookup, utilization};
pub use owner::{Belief, OwnerChange, OwnerUpdate, Pod, change_owner};
pub use plan::{Ask, Plan, Purpose, Step, Waiting};
pub use release::{ips_by_handle, release_by_handles, release_ips};
pub use request::{
    AssignIpRequest, Assigned, AutoAssignOutcome, AutoAssignRequest, BlockUtilization, ClaimOutcome,
    FamilyOutcome, HostReserved, Lookup, PoolUtilization, Release, ReleaseOutcome,
};
pub use settings::{config, set_config};
pub use warm::{Along, Known, Part, Proposal, Took, Warm, learn};

/// Name of the pseudo pool under which blocks outside every pool are reported.
pub const ORPHANS: &str = "orphaned allocation blocks";

/// Lost races after which an operation gives up.
const MAX_CONFLICTS: u32 = 100;

#[cfg(test)]
mod tests;
