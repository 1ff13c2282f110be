//! EnsureBlock: a node that needs a block before it needs an address, as Windows nodes do, whose network is made of
//! their block (`ipam.md` §5.5 of the contract).

use crate::PlanError;
use crate::auto_assign;
use crate::plan::Plan;
use crate::request::{AutoAssignRequest, HostReserved};
use model::net::Cidr;

/// "Have a block of each of these families."
#[derive(Debug, Clone, PartialEq)]
pub struct EnsureBlockRequest {
    /// The node.
    pub host: String,
    /// What it keeps for itself of each IPv4 block.
    pub host_reserved: HostReserved,
    /// Whether an IPv4 block is wanted.
    pub v4: bool,
    /// Whether an IPv6 block is wanted.
    pub v6: bool,
    /// Only from these IPv4 pools; empty: whatever pools select the node.
    pub v4_pools: Vec<Cidr>,
    /// The same for IPv6.
    pub v6_pools: Vec<Cidr>,
}

/// A block of each family that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EnsuredBlocks {
    /// IPv4.
    pub v4: Option<Cidr>,
    /// IPv6.
    pub v6: Option<Cidr>,
}

/// Finds a block of the node's with an address free, or claims one.
pub fn ensure_block(request: EnsureBlockRequest) -> Plan<Result<EnsuredBlocks, PlanError>> {
    Plan::new(|port| async move {
        let assignment = AutoAssignRequest {
            v4_pools: request.v4_pools,
            v6_pools: request.v6_pools,
            host_reserved: Some(request.host_reserved),
            ..AutoAssignRequest::for_workload(&request.host, usize::from(request.v4), usize::from(request.v6))
        };
        let outcome = auto_assign::ensure(port, assignment).await?;
        let block = |family: &crate::FamilyOutcome| family.assigned.first().map(|found| found.block);
        Ok(EnsuredBlocks { v4: block(&outcome.v4), v6: block(&outcome.v6) })
    })
}
