//! All addresses of a handle.

use super::{Nodes, settle};
use crate::block;
use crate::plan::{Plan, Port};
use crate::request::Assigned;
use crate::scene::Scene;
use crate::workspace::{Workspace, pairs};
use crate::{MAX_CONFLICTS, PlanError};
use model::key::Key;
use model::net::Cidr;
use mvcc::RangeRequest;
use std::net::IpAddr;

/// Blocks whose addresses go back in one transaction.
const BLOCKS: usize = 24;

/// Gives back all addresses of some handles; `None` if none of the handles exists.
pub fn release_by_handles(handles: Vec<String>) -> Plan<Result<Option<Vec<IpAddr>>, PlanError>> {
    Plan::new(|port| run(port, handles))
}

async fn run(port: Port, mut handles: Vec<String>) -> Result<Option<Vec<IpAddr>>, PlanError> {
    handles.sort_unstable();
    handles.dedup();
    let keys: Vec<Key> = handles.iter().cloned().map(Key::Handle).collect();
    let reads = keys.iter().map(|key| RangeRequest::key(key.path())).collect();
    let (scene, answers) = Scene::read(&port, reads).await?;
    let mut workspace = Workspace::new(port.clone(), scene.config.ip_cooldown_seconds);
    for (index, key) in keys.into_iter().enumerate() {
        workspace.learn(key, pairs(&answers, index).first())?;
    }
    if handles.iter().all(|id| workspace.handle(id).is_none()) {
        return Ok(None);
    }
    let mut released = Vec::new();
    let mut nodes = Nodes::default();
    let mut conflicts = 0;
    loop {
        let blocks = counted(&workspace, &handles);
        let now: Vec<Cidr> = blocks.iter().copied().take(BLOCKS).collect();
        let last = now.len() == blocks.len();
        workspace.load(now.iter().copied().map(Key::Block)).await?;
        nodes.look_up(&port, &mut workspace, &scene, &now).await?;
        let mut going = Vec::new();
        for cidr in &now {
            going.extend(give_back(&mut workspace, &port, cidr, &handles));
            settle(&mut workspace, &scene, &nodes, cidr);
        }
        if last {
            handles
                .iter()
                .filter(|id| workspace.handle(id).is_some())
                .cloned()
                .collect::<Vec<_>>()
                .iter()
                .for_each(|id| workspace.delete_handle(id));
        }
        if workspace.commit("release-handle").await? {
            released.extend(going);
            if last {
                return Ok(Some(released));
            }
        } else {
            conflicts += 1;
            if conflicts >= MAX_CONFLICTS {
                return Err(PlanError::TooManyConflicts);
            }
        }
    }
}

/// The blocks in which some of the handles count something.
fn counted(workspace: &Workspace, handles: &[String]) -> Vec<Cidr> {
    let handles = handles.iter().filter_map(|id| workspace.handle(id));
    let mut blocks: Vec<Cidr> = handles.flat_map(|handle| handle.blocks()).collect();
    blocks.sort_unstable();
    blocks.dedup();
    blocks
}

/// Gives back, on the working copy, what the handles have in a block.
fn give_back(workspace: &mut Workspace, port: &Port, cidr: &Cidr, handles: &[String]) -> Vec<IpAddr> {
    let cooldown = workspace.cooldown();
    let mut addresses = Vec::new();
    if let Some(block) = workspace.edit_block(cidr) {
        let ordinals: Vec<usize> = handles.iter().flat_map(|id| block::ordinals_of(block, id)).collect();
        if ordinals.is_empty() {
            // The handle counts more than there is. Who may be about to fill the gap has to lose the race, or the
            // address would be there and its handle gone; hence the block is written although nothing in it changes.
            block::touch(block);
        } else {
            block::release(block, &ordinals, false, port.now(), cooldown);
        }
        addresses.extend(ordinals.iter().filter_map(|ordinal| block::address_of(cidr, *ordinal)));
    } else {
        workspace.guard(&Key::Block(*cidr));
    }
    for id in handles {
        if workspace.handle(id).is_some_and(|handle| handle.count(cidr) != 0) {
            workspace.count(id, cidr, i64::MIN, 0);
        }
    }
    addresses
}

/// The addresses kept under a handle.
pub fn ips_by_handle(handle: String) -> Plan<Result<Vec<Assigned>, PlanError>> {
    Plan::new(|port| async move {
        let mut workspace = Workspace::new(port, 0);
        workspace.load([Key::Handle(handle.clone())]).await?;
        let Some(found) = workspace.handle(&handle) else { return Err(PlanError::NoHandle(handle)) };
        let blocks: Vec<Cidr> = found.blocks().collect();
        workspace.load(blocks.iter().copied().map(Key::Block)).await?;
        let blocks = blocks.iter().filter_map(|cidr| workspace.block(cidr));
        Ok(blocks.flat_map(|block| block::assigned_to(block, &handle)).collect())
    })
}
