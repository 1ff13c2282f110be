//! Address management: the compare-and-swap loop that carries plans out.
//!
//! `ipam/plan` decides, this crate talks: [`Ipam`] has one method an operation, each of which takes a plan from there and
//! runs its transactions on a [`datastore::Datastore`] until it is done. See `DESIGN.md` for requests and failures.

mod carry;
mod error;
mod ipam;
mod room;
mod shared;

pub use error::IpamError;
pub use ipam::Ipam;
pub use ipam_plan::{
    Along, AssignIpRequest, Assigned, AutoAssignOutcome, AutoAssignRequest, Belief, BlockUtilization,
    ClaimOutcome, EnsureBlockRequest, EnsuredBlocks, FamilyOutcome, HostReserved, Lookup, ORPHANS,
    OwnerChange, OwnerUpdate, PlanError, Pod, PoolUtilization, Release, ReleaseOutcome, Shortfall,
};
pub use model::ipam::IpamConfig;
pub use shared::{Offer, Shared};

#[cfg(test)]
mod tests;
