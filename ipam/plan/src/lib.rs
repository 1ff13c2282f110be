//! Pools, blocks, affinities, handles: a request and what is stored become proposed writes.

mod error;
mod request;

pub use error::{PlanError, Shortfall};
pub use request::{
    AssignIpRequest, Assigned, AutoAssignOutcome, AutoAssignRequest, BlockUtilization, ClaimOutcome, FamilyOutcome, Lookup,
    PoolUtilization, Release, ReleaseOutcome,
};

/// Name of the pseudo pool under which blocks outside every pool are reported.
pub const ORPHANS: &str = "orphaned allocation blocks";
