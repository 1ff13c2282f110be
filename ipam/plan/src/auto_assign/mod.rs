//! AutoAssign: addresses for an owner from wherever the rules let it take them.
//!
//! `ipam.md` §4 and §5 of the contract tell the order: the owner's own blocks, a new block, an empty block of somebody
//! else's, single addresses of other blocks. One look at the store ([`Look`]) decides for both families; what it
//! decided is written in one transaction, or the look is repeated. Where Calico leaves a trail of half states, each to
//! be mended by who finds it, a crash of ours leaves nothing: before the transaction nothing is written, after it
//! everything is.

mod fill;
mod find;
mod look;

use crate::plan::{Plan, Port};
use crate::release;
use crate::request::{AutoAssignOutcome, AutoAssignRequest, FamilyOutcome, Release};
use crate::{MAX_CONFLICTS, PlanError};
use look::{Aim, Look};
use model::net::Family;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// How a look at the store ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// All that was asked for, or all there is.
    Complete,
    /// The transaction is large enough; there may be more after it.
    More,
    /// The look is too old for what has to be decided now.
    Outdated,
}

/// Assigns addresses.
pub fn auto_assign(request: AutoAssignRequest) -> Plan<Result<AutoAssignOutcome, PlanError>> {
    Plan::new(|port| run(port, request))
}

/// Has the owner have a block with an address free of each family that the request wants an address of; the outcome has
/// these blocks in place of addresses.
pub(crate) async fn ensure(port: Port, request: AutoAssignRequest) -> Result<AutoAssignOutcome, PlanError> {
    let mut written = prepare(&request)?;
    // Families that were written stay: a claimed block does no harm.
    fulfil(&port, &request, Aim::Block, &mut written).await.map(|()| written)
}

/// Has the owner have at least so many addresses free in own blocks as the request wants, of what it may use, and says
/// whether it has; blocks that exist nowhere are claimed for that, within the owner's limit. Addresses that are spoken for, and
/// not written yet, do not count.
pub fn make_room(request: AutoAssignRequest, spoken_for: BTreeSet<IpAddr>) -> Plan<Result<bool, PlanError>> {
    Plan::new(|port| async move {
        let request = AutoAssignRequest { handle: None, accept_fewer: true, ..request };
        let mut found = prepare(&request)?;
        match fulfil(&port, &request, Aim::Room(spoken_for), &mut found).await {
            Ok(()) => Ok(found.v4.shortfall().is_none() && found.v6.shortfall().is_none()),
            Err(PlanError::BlockLimit | PlanError::NoBlock) => Ok(false),
            Err(refusal) => Err(refusal),
        }
    })
}

/// Checks a request; the outcome of nothing yet.
fn prepare(request: &AutoAssignRequest) -> Result<AutoAssignOutcome, PlanError> {
    if request.v4_pools.iter().any(|pool| pool.family() != Family::V4) {
        return Err(PlanError::MixedFamilies(4, 6));
    }
    if request.v6_pools.iter().any(|pool| pool.family() != Family::V6) {
        return Err(PlanError::MixedFamilies(6, 4));
    }
    Ok(AutoAssignOutcome {
        v4: FamilyOutcome::new(Family::V4, request.v4),
        v6: FamilyOutcome::new(Family::V6, request.v6),
    })
}

async fn run(port: Port, request: AutoAssignRequest) -> Result<AutoAssignOutcome, PlanError> {
    let mut written = prepare(&request)?;
    let result = fulfil(&port, &request, Aim::Addresses, &mut written).await;
    if result.is_err() {
        // only a request too large for one transaction can have written something already
        let addresses = written.v4.assigned.iter().chain(&written.v6.assigned);
        let releases: Vec<Release> = addresses
            .map(|a| Release { address: a.address, handle: request.handle.clone(), sequence_number: None })
            .collect();
        if !releases.is_empty() {
            release::run(port, releases).await?;
        }
    }
    result.map(|()| written)
}

/// Looks and writes until the request is met; `written` is what has been assigned so far.
async fn fulfil(
    port: &Port,
    request: &AutoAssignRequest,
    aim: Aim,
    written: &mut AutoAssignOutcome,
) -> Result<(), PlanError> {
    let mut conflicts = 0;
    if request.v4 == 0 && request.v6 == 0 {
        return Ok(());
    }
    loop {
        let mut look = Look::new(port, request, aim.clone()).await?;
        loop {
            let mut trial = written.clone();
            let verdict =
                match look.decide(&mut trial).await.and_then(|verdict| accept(request, &trial, verdict)) {
                    Ok(Verdict::Outdated) => break,
                    Ok(verdict) => verdict,
                    Err(refusal) => {
                        look.mend_only().await?;
                        return Err(refusal);
                    }
                };
            if look.commit().await? {
                *written = trial;
                match verdict {
                    Verdict::Complete => return Ok(()),
                    _ => break,
                }
            }
            conflicts += 1;
            if conflicts >= MAX_CONFLICTS {
                return Err(PlanError::TooManyConflicts);
            }
            if !look.can_go_on() {
                break;
            }
        }
    }
}

/// Refuses what is less than asked for, unless that is welcome.
fn accept(
    request: &AutoAssignRequest,
    trial: &AutoAssignOutcome,
    verdict: Verdict,
) -> Result<Verdict, PlanError> {
    if verdict == Verdict::Complete
        && !request.accept_fewer
        && let Some(shortfall) = trial.v4.shortfall().or_else(|| trial.v6.shortfall())
    {
        return Err(shortfall.into());
    }
    Ok(verdict)
}
