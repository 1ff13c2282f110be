//! Pools, blocks, affinities, handles: a request and what is stored become proposed writes.

mod error;
mod plan;
mod request;
mod todo;

pub use error::{PlanError, Shortfall};
pub use plan::{Ask, Plan, Purpose, Step};
pub use request::{
    AssignIpRequest, Assigned, AutoAssignOutcome, AutoAssignRequest, BlockUtilization, ClaimOutcome,
    FamilyOutcome, Lookup, PoolUtilization, Release, ReleaseOutcome,
};
pub use todo::*;

/// Name of the pseudo pool under which blocks outside every pool are reported.
pub const ORPHANS: &str = "orphaned allocation blocks";
