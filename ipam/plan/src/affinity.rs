//! Blocks that change hands without an address: claims, releases, the end of hosts and pools
//! (`ipam.md` §5.4, §5.5, §7.5 of the contract).

use crate::block;
use crate::plan::{Plan, Port};
use crate::pool::Pool;
use crate::request::ClaimOutcome;
use crate::scene::Scene;
use crate::workspace::{Workspace, pairs};
use crate::{MAX_CONFLICTS, PlanError};
use model::ipam::AffinityState;
use model::key::{Key, Owner, affinity_prefix, host_affinities_prefix};
use model::net::{Cidr, Family};
use mvcc::{Compare, DeleteRequest, KeyRange, Op, RangeRequest, Txn};

/// Blocks that change hands in one transaction; each is two keys.
const BLOCKS: usize = 40;

/// Blocks one claim may be about.
const MAX_CLAIM: u128 = 1 << 16;

/// Claims every block of a range inside a pool.
pub fn claim_affinity(owner: Owner, range: Cidr) -> Plan<Result<ClaimOutcome, PlanError>> {
    Plan::new(|port| async move {
        let (scene, _) = Scene::read(&port, Vec::new()).await?;
        let pool = pool_around(&scene, &range)?;
        let count = 1u128 << u32::from(pool.block_prefix - range.prefix()).min(127);
        if count > MAX_CLAIM {
            return Err(PlanError::CidrTooLarge(range));
        }
        let step = 1u128 << u32::from(range.family().bits() - pool.block_prefix);
        let blocks: Vec<Cidr> =
            (0..count).filter_map(|index| Cidr::new(range.nth(index * step)?, pool.block_prefix)).collect();
        let mut outcome = ClaimOutcome::default();
        let mut workspace = Workspace::new(port.clone(), scene.config.ip_cooldown_seconds);
        for chunk in blocks.chunks(BLOCKS) {
            load(&mut workspace, chunk.iter().map(|cidr| (owner.clone(), *cidr))).await?;
            let mut conflicts = 0;
            let refused = loop {
                let refused: Vec<Cidr> = chunk
                    .iter()
                    .copied()
                    .filter(|cidr| !claim(&mut workspace, &owner, cidr, &port))
                    .collect();
                if workspace.commit("claim-affinity").await? {
                    break refused;
                }
                conflicts = count_conflict(conflicts)?;
            };
            outcome.claimed.extend(chunk.iter().filter(|cidr| !refused.contains(cidr)));
            outcome.refused.extend(refused);
        }
        Ok(outcome)
    })
}

fn count_conflict(conflicts: u32) -> Result<u32, PlanError> {
    if conflicts + 1 >= MAX_CONFLICTS { Err(PlanError::TooManyConflicts) } else { Ok(conflicts + 1) }
}

async fn load(
    workspace: &mut Workspace,
    blocks: impl Iterator<Item = (Owner, Cidr)>,
) -> Result<(), PlanError> {
    workspace.load(blocks.flat_map(|(owner, cidr)| [Key::Block(cidr), Key::Affinity(owner, cidr)])).await
}

/// The enabled pool a range lies in, if the range is at least one of its blocks.
fn pool_around<'a>(scene: &'a Scene, range: &Cidr) -> Result<&'a Pool, PlanError> {
    let pool = scene.pools.iter().find(|pool| pool.enabled && pool.cidr.covers(range));
    let pool = pool.ok_or(PlanError::CidrNotInPool(*range))?;
    if range.prefix() > pool.block_prefix { Err(PlanError::CidrTooSmall(*range)) } else { Ok(pool) }
}

/// Claims a block on the working copy; false if it is somebody else's.
fn claim(workspace: &mut Workspace, owner: &Owner, cidr: &Cidr, port: &Port) -> bool {
    match workspace.block(cidr) {
        None => match block::claimed(cidr, owner, port.now(), 0, None) {
            Some(fresh) => workspace.put_block(fresh),
            None => return false,
        },
        Some(found) if found.affinity != Some(owner.affinity_text()) => {
            workspace.guard(&Key::Block(*cidr));
            workspace.delete_affinity(owner, cidr);
            return false;
        }
        Some(_) => {
            let confirmed =
                workspace.affinity(owner, cidr).is_some_and(|a| a.state == AffinityState::Confirmed);
            if confirmed {
                workspace.guard(&Key::Block(*cidr));
            } else if let Some(block) = workspace.edit_block(cidr) {
                // whoever is half way through giving it up loses the race
                block::touch(block);
            }
        }
    }
    workspace.confirm(owner, cidr);
    true
}

/// Gives up, on the working copy, an owner's block: an empty one goes, one in use stays without an owner. An affinity
/// to a block that is not there, or somebody else's, goes by itself; `Err` says why the block did not change.
fn give_up(
    workspace: &mut Workspace,
    owner: &Owner,
    cidr: &Cidr,
    must_be_empty: bool,
) -> Result<(), PlanError> {
    let ours = Some(owner.affinity_text());
    let mut result = Ok(());
    match workspace.block(cidr) {
        Some(block) if block.affinity != ours => {
            let owner = block.affinity.clone().unwrap_or_default();
            result = Err(PlanError::ClaimConflict { block: *cidr, owner });
            workspace.guard(&Key::Block(*cidr));
        }
        Some(block) if block::is_empty(block) => workspace.delete_block(cidr),
        Some(_) if must_be_empty => return Err(PlanError::NotEmpty(*cidr)),
        Some(_) => {
            if let Some(block) = workspace.edit_block(cidr) {
                block.affinity = None;
                block.affinity_claim_time = None;
                block::touch(block);
            }
        }
        None => workspace.guard(&Key::Block(*cidr)),
    }
    workspace.delete_affinity(owner, cidr);
    result
}

/// Gives up a list of blocks; the first that is not empty although it must be is the error, after the rest is done.
async fn give_up_all(
    port: &Port,
    scene: &Scene,
    affinities: Vec<(Owner, Cidr)>,
    must_be_empty: bool,
) -> Result<(), PlanError> {
    let mut workspace = Workspace::new(port.clone(), scene.config.ip_cooldown_seconds);
    let mut first = Ok(());
    for chunk in affinities.chunks(BLOCKS) {
        load(&mut workspace, chunk.iter().cloned()).await?;
        let mut conflicts = 0;
        let result = loop {
            let results =
                chunk.iter().map(|(owner, cidr)| give_up(&mut workspace, owner, cidr, must_be_empty));
            // that a block is somebody else's is what was wanted
            let refusals = results.filter(|result| matches!(result, Err(PlanError::NotEmpty(_))));
            let result = refusals.reduce(|first, _| first).unwrap_or(Ok(()));
            if workspace.commit("release-affinity").await? {
                break result;
            }
            conflicts = count_conflict(conflicts)?;
        };
        first = first.and(result);
    }
    first
}

/// The affinities among the keys of some answers.
fn affinities(keys: impl Iterator<Item = impl AsRef<[u8]>>) -> Vec<(Owner, Cidr)> {
    keys.filter_map(|key| match Key::parse(std::str::from_utf8(key.as_ref()).ok()?)? {
        Key::Affinity(owner, cidr) => Some((owner, cidr)),
        _ => None,
    })
    .collect()
}

fn keys_only(prefix: String) -> RangeRequest {
    RangeRequest { keys_only: true, ..RangeRequest::prefix(prefix) }
}

/// Gives up every block an owner has in a range inside a pool.
pub fn release_affinity(owner: Owner, range: Cidr, must_be_empty: bool) -> Plan<Result<(), PlanError>> {
    Plan::new(move |port| async move {
        let (scene, answers) =
            Scene::read(&port, vec![keys_only(affinity_prefix(&owner, range.family()))]).await?;
        pool_around(&scene, &range)?;
        let mut found = affinities(pairs(&answers, 0).iter().map(|stored| &stored.key));
        found.retain(|(_, cidr)| range.covers(cidr));
        give_up_all(&port, &scene, found, must_be_empty).await
    })
}

/// Gives up all blocks of a host.
pub fn release_host_affinities(host: String, must_be_empty: bool) -> Plan<Result<(), PlanError>> {
    Plan::new(move |port| async move { release_host(&port, host, must_be_empty).await })
}

async fn release_host(port: &Port, host: String, must_be_empty: bool) -> Result<(), PlanError> {
    let owner = Owner::Host(host);
    let reads = [Family::V4, Family::V6].map(|family| keys_only(affinity_prefix(&owner, family)));
    let (scene, answers) = Scene::read(port, reads.into()).await?;
    let stored = pairs(&answers, 0).iter().chain(pairs(&answers, 1));
    give_up_all(port, &scene, affinities(stored.map(|stored| &stored.key)), must_be_empty).await
}

/// Takes all blocks inside a pool from the hosts that own them.
pub fn release_pool_affinities(pool: Cidr) -> Plan<Result<(), PlanError>> {
    Plan::new(move |port| async move {
        let (scene, answers) = Scene::read(&port, vec![keys_only(host_affinities_prefix())]).await?;
        let mut found = affinities(pairs(&answers, 0).iter().map(|stored| &stored.key));
        found.retain(|(_, cidr)| pool.covers(cidr));
        give_up_all(&port, &scene, found, false).await
    })
}

/// Forgets a host: its affinities, and the marker that old releases wrote.
pub fn remove_host(host: String) -> Plan<Result<(), PlanError>> {
    Plan::new(move |port| async move {
        release_host(&port, host.clone(), false).await?;
        let marker = Key::IpamHost(host).path();
        let delete = DeleteRequest { range: KeyRange::key(marker.clone()), prev_kv: false };
        let txn = Txn {
            compare: vec![Compare::exists(marker)],
            success: vec![Op::Delete(delete)],
            failure: Vec::new(),
        };
        port.write(txn, "host-marker").await;
        Ok(())
    })
}
