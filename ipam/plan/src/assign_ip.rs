//! AssignIP: one given address (`ipam.md` §6 of the contract).

use crate::block;
use crate::plan::{Plan, Port};
use crate::pool::enabled_pool_of;
use crate::request::{AssignIpRequest, Assigned};
use crate::scene::Scene;
use crate::workspace::{Workspace, pairs};
use crate::{MAX_CONFLICTS, PlanError};
use model::ipam::Attribute;
use model::key::Key;
use model::net::Cidr;
use mvcc::RangeRequest;

/// Assigns one given address. Reservations, and whom the pool selects, are not looked at: who names an address means it.
pub fn assign_ip(request: AssignIpRequest) -> Plan<Result<Assigned, PlanError>> {
    Plan::new(|port| run(port, request))
}

async fn run(port: Port, request: AssignIpRequest) -> Result<Assigned, PlanError> {
    let handle = request.handle.clone().map(Key::Handle);
    let reads = handle.iter().map(|key| RangeRequest::key(key.path())).collect();
    let (scene, answers) = Scene::read(&port, reads).await?;
    let pool = enabled_pool_of(&scene.pools, request.address).ok_or(PlanError::NotInPool)?;
    if request.host_reserved.is_some() && !scene.config.strict_affinity {
        return Err(PlanError::StrictAffinityNeeded);
    }
    if let Some(intended) = request.intended_use {
        pool.check_use(request.address, intended)?;
    }
    let cidr = pool.block_of(request.address).ok_or(PlanError::NotInPool)?;
    let mut workspace = Workspace::new(port.clone(), scene.config.ip_cooldown_seconds);
    if let Some(handle) = handle {
        workspace.learn(handle, pairs(&answers, 0).first())?;
    }
    workspace.load([Key::Block(cidr), Key::Affinity(request.owner.clone(), cidr)]).await?;
    if request.max_per_handle > 0 {
        let others =
            request.handle.iter().filter_map(|id| workspace.handle(id)).flat_map(|handle| handle.blocks());
        let others: Vec<Key> = others.map(Key::Block).collect();
        workspace.load(others).await?;
    }
    let assigned = Assigned { address: request.address, block: cidr };
    for _ in 0..MAX_CONFLICTS {
        match decide(&mut workspace, &request, &cidr, scene.config.strict_affinity, &port)? {
            None => return Ok(assigned),
            Some(step) if workspace.commit(step).await? => return Ok(assigned),
            Some(_) => {}
        }
    }
    Err(PlanError::TooManyConflicts)
}

/// Assigns on the working copy and names the step; none if the handle has the address already and may have no more.
fn decide(
    workspace: &mut Workspace,
    request: &AssignIpRequest,
    cidr: &Cidr,
    strict: bool,
    port: &Port,
) -> Result<Option<&'static str>, PlanError> {
    let owner = &request.owner;
    let ordinal = block::ordinal_of(cidr, request.address).ok_or(PlanError::NotInPool)?;
    if let Some(outcome) = handle_limit(workspace, request, cidr, ordinal) {
        return outcome.map(|()| None);
    }
    let mut step = "assign-ip";
    match workspace.block(cidr) {
        None => {
            let fresh = block::claimed(cidr, owner, port.now(), 0, request.host_reserved.as_ref())
                .ok_or(PlanError::NotInPool)?;
            workspace.put_block(fresh);
            workspace.confirm(owner, cidr);
            step = "claim-ip";
        }
        Some(found) if strict && found.affinity.is_none() => return Err(PlanError::StrictOrphan(*cidr)),
        Some(found) if strict && found.affinity != Some(owner.affinity_text()) => {
            return Err(PlanError::StrictOwner);
        }
        Some(_) => {}
    }
    let attribute = Attribute {
        handle: request.handle.clone(),
        secondary: request.attributes.clone(),
        ..Attribute::default()
    };
    let taken = PlanError::AlreadyAssigned(request.address);
    let Some(block) = workspace.edit_block(cidr) else { return Err(taken) };
    if !block::assign_at(block, ordinal, &attribute) {
        return Err(taken);
    }
    if let Some(handle) = &request.handle {
        let left = block::ordinals_of(block, handle).len();
        workspace.count(handle, cidr, 1, left);
    }
    Ok(Some(step))
}

/// Under a limit a handle: `Some` if the answer is known without assigning.
fn handle_limit(
    workspace: &Workspace,
    request: &AssignIpRequest,
    cidr: &Cidr,
    ordinal: usize,
) -> Option<Result<(), PlanError>> {
    let limit = usize::try_from(request.max_per_handle).ok().filter(|limit| *limit > 0)?;
    let id = request.handle.as_deref()?;
    let attribute = workspace.block(cidr).and_then(|block| block.attribute(ordinal));
    if attribute.and_then(block::handle_of) == Some(id) {
        return Some(Ok(()));
    }
    let handle = workspace.handle(id)?;
    let held: usize = handle
        .blocks()
        .filter(|other| other.family() == cidr.family())
        .filter_map(|other| workspace.block(&other))
        .map(|block| block::ordinals_of(block, id).len())
        .sum();
    (held >= limit).then(|| Err(PlanError::HandleFull { handle: id.to_owned(), limit }))
}
