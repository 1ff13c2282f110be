//! Address management: the compare-and-swap loop that carries plans out.

mod carry;
mod error;
mod ipam;

pub use error::IpamError;
pub use ipam::Ipam;
pub use ipam_plan::{
    AssignIpRequest, Assigned, AutoAssignOutcome, AutoAssignRequest, BlockUtilization, ClaimOutcome,
    FamilyOutcome, Lookup, ORPHANS, PlanError, PoolUtilization, Release, ReleaseOutcome, Shortfall,
};
pub use model::ipam::IpamConfig;
