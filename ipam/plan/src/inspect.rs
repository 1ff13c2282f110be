//! Looking without changing: who has an address, how full pools are.

use crate::block;
use crate::plan::{Plan, Port};
use crate::pool::Pool;
use crate::request::{BlockUtilization, Lookup, PoolUtilization};
use crate::reservations::Reservations;
use crate::scene::{Scene, block_cidrs};
use crate::workspace::Workspace;
use crate::{ORPHANS, PlanError};
use model::ipam::AllocationBlock;
use model::key::Key;
use model::net::{Cidr, Family, family_of};
use std::net::{IpAddr, Ipv4Addr};

/// The block each address lies in, as its pool cuts blocks; for addresses outside every pool the blocks themselves
/// are looked through.
pub(crate) async fn locate(port: &Port, scene: &Scene, addresses: &[IpAddr]) -> Vec<Option<Cidr>> {
    let mut places: Vec<Option<Cidr>> =
        addresses.iter().map(|address| scene.pool_of(*address)?.block_of(*address)).collect();
    for family in [Family::V4, Family::V6] {
        let lost = |address: &IpAddr, place: &Option<Cidr>| place.is_none() && family_of(*address) == family;
        if !addresses.iter().zip(&places).any(|(address, place)| lost(address, place)) {
            continue;
        }
        let blocks = block_cidrs(port, family).await;
        for (address, place) in addresses.iter().zip(&mut places) {
            if lost(address, place) {
                *place = blocks.iter().find(|block| block.contains(*address)).copied();
            }
        }
    }
    places
}

/// Who has an address; none if it is free.
pub fn lookup(address: IpAddr) -> Plan<Result<Option<Lookup>, PlanError>> {
    Plan::new(move |port| async move {
        let (scene, _) = Scene::read(&port, Vec::new()).await?;
        let Some(Some(cidr)) = locate(&port, &scene, &[address]).await.first().copied() else {
            return Ok(None);
        };
        let mut workspace = Workspace::new(port, scene.config.ip_cooldown_seconds);
        workspace.load([Key::Block(cidr)]).await?;
        let Some((block, ordinal)) = workspace.block(&cidr).zip(block::ordinal_of(&cidr, address)) else {
            return Ok(None);
        };
        let Some(attribute) = block.attribute(ordinal) else { return Ok(None) };
        if attribute.released_at.is_some() {
            return Err(PlanError::InCooldown(address));
        }
        Ok(Some(Lookup {
            block: cidr,
            owner: block.owner(),
            handle: block::handle_of(attribute).map(str::to_owned),
            attributes: attribute.secondary.clone(),
            alternate: attribute.alternate.clone(),
            sequence_number: block.sequence_for.get(&ordinal).copied(),
        }))
    })
}

/// All blocks, in the order of their keys, IPv4 first.
pub fn blocks() -> Plan<Result<Vec<AllocationBlock>, PlanError>> {
    Plan::new(|port| async move {
        let (scene, _) = Scene::read(&port, Vec::new()).await?;
        all_blocks(port, scene.config.ip_cooldown_seconds).await
    })
}

async fn all_blocks(port: Port, cooldown: i64) -> Result<Vec<AllocationBlock>, PlanError> {
    let mut cidrs = block_cidrs(&port, Family::V4).await;
    cidrs.extend(block_cidrs(&port, Family::V6).await);
    let mut workspace = Workspace::new(port, cooldown);
    workspace.load(cidrs.iter().copied().map(Key::Block)).await?;
    Ok(cidrs.iter().filter_map(|cidr| workspace.block(cidr).cloned()).collect())
}

/// How full pools are: `ipam.md` §13 of the contract.
pub fn utilization(names: Vec<String>) -> Plan<Result<Vec<PoolUtilization>, PlanError>> {
    Plan::new(|port| async move {
        let (scene, _) = Scene::read(&port, Vec::new()).await?;
        let blocks = all_blocks(port, scene.config.ip_cooldown_seconds).await?;
        let asked = |pool: &&Pool| {
            let cidr = pool.cidr.to_string();
            names.is_empty() || names.iter().any(|name| *name == pool.name || *name == cidr)
        };
        let mut report: Vec<PoolUtilization> = scene
            .pools
            .iter()
            .filter(asked)
            .map(|pool| pool_report(pool, &blocks, &scene.reserved))
            .collect();
        let inside = |block: &AllocationBlock| scene.pools.iter().any(|pool| pool.cidr.covers(&block.cidr));
        let orphans: Vec<BlockUtilization> =
            blocks.iter().filter(|block| !inside(block)).map(|b| block_report(b, &scene.reserved)).collect();
        if names.is_empty() && !orphans.is_empty() {
            report.push(PoolUtilization {
                name: ORPHANS.to_owned(),
                cidr: Cidr::new(Ipv4Addr::UNSPECIFIED.into(), 0)
                    .unwrap_or(Cidr::host(Ipv4Addr::UNSPECIFIED.into())),
                capacity: 0,
                in_use: 0,
                reserved: 0,
                available: 0,
                blocks: orphans,
            });
        }
        Ok(report)
    })
}

fn pool_report(pool: &Pool, blocks: &[AllocationBlock], reserved: &Reservations) -> PoolUtilization {
    let blocks: Vec<BlockUtilization> = blocks
        .iter()
        .filter(|block| pool.cidr.covers(&block.cidr))
        .map(|block| block_report(block, reserved))
        .collect();
    let capacity = pool.cidr.size();
    let reserved = reserved.count_in(&pool.cidr);
    // in a block, what is neither available nor reserved is in use and not reserved
    let used: u128 =
        blocks.iter().map(|b| b.capacity.saturating_sub(b.available).saturating_sub(b.reserved)).sum();
    PoolUtilization {
        name: pool.name.clone(),
        cidr: pool.cidr,
        capacity,
        in_use: blocks.iter().map(|block| block.in_use).sum(),
        reserved,
        available: capacity.saturating_sub(reserved).saturating_sub(used),
        blocks,
    }
}

fn block_report(block: &AllocationBlock, reserved: &Reservations) -> BlockUtilization {
    let wide = |count: usize| u128::try_from(count).unwrap_or(u128::MAX);
    let free = block.unallocated.iter().filter_map(|ordinal| block::address_of(&block.cidr, *ordinal));
    BlockUtilization {
        cidr: block.cidr,
        capacity: wide(block.size()),
        in_use: wide(block.size() - block.unallocated.len()),
        reserved: reserved.count_in(&block.cidr),
        available: wide(free.filter(|address| !reserved.contains(*address)).count()),
    }
}
