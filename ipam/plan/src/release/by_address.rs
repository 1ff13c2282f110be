//! Addresses one by one.

use super::{Nodes, settle};
use crate::block;
use crate::inspect::locate;
use crate::plan::{Plan, Port};
use crate::request::{Release, ReleaseOutcome};
use crate::scene::Scene;
use crate::workspace::Workspace;
use crate::{MAX_CONFLICTS, PlanError};
use model::key::Key;
use model::net::Cidr;
use std::collections::BTreeMap;

/// Addresses of one block that go back in one transaction; each may have a handle of its own to count down.
const ADDRESSES: usize = 60;

/// Gives addresses back. Each block's addresses succeed or fail together.
pub fn release_ips(releases: Vec<Release>) -> Plan<Result<ReleaseOutcome, PlanError>> {
    Plan::new(|port| run(port, releases))
}

pub(crate) async fn run(port: Port, mut releases: Vec<Release>) -> Result<ReleaseOutcome, PlanError> {
    releases.sort_unstable();
    releases.dedup_by_key(|release| release.address);
    let (scene, _) = Scene::read(&port, Vec::new()).await?;
    let mut outcome = ReleaseOutcome::default();
    let mut blocks: BTreeMap<Cidr, Vec<Release>> = BTreeMap::new();
    let addresses: Vec<_> = releases.iter().map(|release| release.address).collect();
    for (release, place) in releases.into_iter().zip(locate(&port, &scene, &addresses).await) {
        match place {
            Some(cidr) => blocks.entry(cidr).or_default().push(release),
            None => outcome.unallocated.push(release.address),
        }
    }
    let mut workspace = Workspace::new(port.clone(), scene.config.ip_cooldown_seconds);
    // one request for what is certain to be needed
    let handles = blocks.values().flatten().filter_map(|release| release.handle.clone()).map(Key::Handle);
    let keys: Vec<Key> = blocks.keys().copied().map(Key::Block).chain(handles).collect();
    workspace.load(keys).await?;
    let mut batch = Batch { port, scene, workspace, nodes: Nodes::default() };
    for (cidr, releases) in blocks {
        if let Err(refusal) = batch.release(&cidr, releases, &mut outcome).await {
            outcome.failed.push((cidr, refusal));
        }
    }
    Ok(outcome)
}

struct Batch {
    port: Port,
    scene: Scene,
    workspace: Workspace,
    nodes: Nodes,
}

impl Batch {
    async fn release(
        &mut self,
        cidr: &Cidr,
        releases: Vec<Release>,
        outcome: &mut ReleaseOutcome,
    ) -> Result<(), PlanError> {
        let mut todo = releases;
        let mut conflicts = 0;
        loop {
            let (held, free) = self.check(cidr, &todo)?;
            outcome.unallocated.extend(free.iter().map(|release| release.address));
            let handles =
                held.iter().filter_map(|(ordinal, _)| self.handle_at(cidr, *ordinal)).map(Key::Handle);
            let handles: Vec<Key> = handles.collect();
            self.workspace.load(handles).await?;
            self.nodes.look_up(&self.port, &mut self.workspace, &self.scene, &[*cidr]).await?;
            let now = held.get(..ADDRESSES.min(held.len())).unwrap_or_default();
            if now.is_empty() {
                return Ok(());
            }
            self.give_back(cidr, now);
            if self.workspace.commit("release").await? {
                outcome.released.extend(now.iter().map(|(_, release)| release.clone()));
                todo = held.into_iter().skip(ADDRESSES).map(|(_, release)| release).collect();
            } else {
                conflicts += 1;
                todo = held.into_iter().map(|(_, release)| release).collect();
                if conflicts >= MAX_CONFLICTS {
                    return Err(PlanError::TooManyConflicts);
                }
            }
        }
    }

    fn handle_at(&self, cidr: &Cidr, ordinal: usize) -> Option<String> {
        let attribute = self.workspace.block(cidr)?.attribute(ordinal)?;
        block::handle_of(attribute).map(str::to_owned)
    }

    /// Sorts what is assigned from what is not; refuses if anything is not as the caller believes.
    #[allow(clippy::type_complexity)]
    fn check(
        &self,
        cidr: &Cidr,
        releases: &[Release],
    ) -> Result<(Vec<(usize, Release)>, Vec<Release>), PlanError> {
        let (mut held, mut free) = (Vec::new(), Vec::new());
        let block = self.workspace.block(cidr);
        for release in releases {
            let place = block.zip(block::ordinal_of(cidr, release.address));
            let attribute =
                place.and_then(|(block, ordinal)| Some((block, ordinal, block.attribute(ordinal)?)));
            let Some((block, ordinal, attribute)) = attribute.filter(|(.., a)| a.released_at.is_none())
            else {
                free.push(release.clone());
                continue;
            };
            let actual = block::handle_of(attribute).unwrap_or_default();
            if let Some(given) = release.handle.as_deref().filter(|given| *given != actual) {
                return Err(PlanError::BadHandle { given: given.to_owned(), actual: actual.to_owned() });
            }
            let actual = block.sequence_for.get(&ordinal).copied().unwrap_or(0);
            if let Some(given) = release.sequence_number.filter(|given| *given != actual) {
                return Err(PlanError::BadSequenceNumber { given, actual });
            }
            held.push((ordinal, release.clone()));
        }
        Ok((held, free))
    }

    fn give_back(&mut self, cidr: &Cidr, held: &[(usize, Release)]) {
        let cooldown = self.workspace.cooldown();
        let mut counts: BTreeMap<String, i64> = BTreeMap::new();
        for (ordinal, _) in held {
            if let Some(handle) = self.handle_at(cidr, *ordinal) {
                *counts.entry(handle).or_default() -= 1;
            }
        }
        let ordinals: Vec<usize> = held.iter().map(|(ordinal, _)| *ordinal).collect();
        let now = self.port.now();
        let Some(block) = self.workspace.edit_block(cidr) else { return };
        block::release(block, &ordinals, true, now, cooldown);
        let left: Vec<usize> = counts.keys().map(|handle| block::ordinals_of(block, handle).len()).collect();
        for ((handle, change), left) in counts.iter().zip(left) {
            self.workspace.count(handle, cidr, *change, left);
        }
        settle(&mut self.workspace, &self.scene, &self.nodes, cidr);
    }
}
