//! Filling one family's part of a request: own blocks, new blocks, borrowed addresses.

use super::Verdict;
use super::look::{Aim, Deed, FamilyView, Look, Repair};
use crate::PlanError;
use crate::block;
use crate::request::{Assigned, FamilyOutcome};
use crate::workspace::ENOUGH;
use model::key::Key;
use model::net::Cidr;

/// Own blocks read at a time after those read ahead.
const CHUNK: usize = 32;

/// What became of a block of the owner's.
enum Candidate {
    /// It can be taken from.
    Usable,
    /// It is the owner's, but full.
    Full,
    /// It is not the owner's.
    NotOurs,
}

impl Look<'_> {
    /// Assigns until `outcome` has what it asks for.
    pub(super) async fn fill(
        &mut self,
        view: &mut FamilyView,
        outcome: &mut FamilyOutcome,
    ) -> Result<Verdict, PlanError> {
        if self.keep_to_handle_limit(outcome) {
            return Ok(Verdict::Complete);
        }
        let mut owned = view.candidates.len();
        for (index, cidr) in view.candidates.iter().enumerate() {
            if outcome.shortfall().is_none() {
                return Ok(Verdict::Complete);
            }
            if self.workspace.size() >= ENOUGH {
                return Ok(Verdict::More);
            }
            if self.scene.reserved.cover(cidr).is_some() {
                continue;
            }
            if !self.workspace.knows(&Key::Block(*cidr)) {
                let ahead = view.candidates.iter().skip(index).take(CHUNK);
                self.workspace.load(ahead.copied().map(Key::Block)).await?;
            }
            match self.through_affinity(cidr) {
                Candidate::Usable => self.take(cidr, outcome),
                Candidate::Full => {}
                Candidate::NotOurs => owned -= 1,
            }
        }
        while outcome.shortfall().is_some() {
            if self.workspace.size() >= ENOUGH {
                return Ok(Verdict::More);
            }
            if !self.fresh {
                return Ok(Verdict::Outdated);
            }
            if owned >= self.limit {
                return self.no_more_blocks(PlanError::BlockLimit, outcome);
            }
            if !self.scene.config.auto_allocate_blocks {
                return self.no_more_blocks(PlanError::NoBlock, outcome);
            }
            match self.find_block(view).await? {
                Some(cidr) => self.take(&cidr, outcome),
                None => break,
            }
            owned += 1;
        }
        if outcome.shortfall().is_none() {
            return Ok(Verdict::Complete);
        }
        match &self.aim {
            Aim::Addresses => {}
            Aim::Block => return Err(PlanError::NoFreeBlocks),
            Aim::Room(_) => return Ok(Verdict::Complete),
        }
        if self.scene.config.strict_affinity {
            outcome.messages.push("No more free affine blocks and strict affinity enabled".to_owned());
            if let Some(kept) = &self.request.host_reserved {
                outcome.messages.push(format!("HostReservedAttr: {}", kept.handle));
            }
            return Ok(Verdict::Complete);
        }
        self.borrow(view, outcome)
    }

    /// The owner may not claim: an error, unless some addresses are there and fewer are welcome.
    fn no_more_blocks(&self, refusal: PlanError, outcome: &mut FamilyOutcome) -> Result<Verdict, PlanError> {
        if !self.request.accept_fewer || outcome.assigned.is_empty() {
            return Err(refusal);
        }
        outcome.messages.push(match refusal {
            PlanError::BlockLimit => format!(
                "Need to allocate an IPAM block but could not - limit of {} blocks reached for this node",
                self.limit
            ),
            other => other.to_string(),
        });
        Ok(Verdict::Complete)
    }

    /// Under a limit of addresses a handle: if the request would exceed it, the outcome is what the handle has.
    fn keep_to_handle_limit(&self, outcome: &mut FamilyOutcome) -> bool {
        let limit = i64::from(self.request.max_per_handle);
        let Some(id) = self.request.handle.as_deref().filter(|_| limit > 0) else { return false };
        let Some(handle) = self.workspace.handle(id) else { return false };
        let blocks: Vec<Cidr> = handle.blocks().filter(|cidr| cidr.family() == outcome.family).collect();
        let count: i64 = blocks.iter().map(|cidr| handle.count(cidr)).sum();
        let wanted = i64::try_from(outcome.requested).unwrap_or(i64::MAX);
        if count.saturating_add(wanted) <= limit {
            return false;
        }
        let existing: Vec<Assigned> = blocks
            .iter()
            .filter_map(|cidr| self.workspace.block(cidr))
            .flat_map(|block| block::assigned_to(block, id))
            .collect();
        // a handle that only counts wrongly is no reason to give nothing
        if existing.is_empty() {
            return false;
        }
        outcome.requested = existing.len();
        outcome.assigned = existing;
        true
    }

    /// Looks at a block through the owner's affinity (`ipam.md` §5.3), finishing or undoing what is half done.
    fn through_affinity(&mut self, cidr: &Cidr) -> Candidate {
        let owner = &self.request.owner;
        let key = Key::Affinity(owner.clone(), *cidr);
        let Some(affinity) = self.workspace.affinity(owner, cidr) else { return Candidate::NotOurs };
        let usable = affinity.state.usable();
        let Some(block) = self.workspace.block(cidr) else {
            self.workspace.guard(&key);
            return if self.create(cidr) { Candidate::Usable } else { Candidate::Full };
        };
        if block.affinity != Some(owner.affinity_text()) {
            self.repair(Repair::Stale(*cidr));
            return Candidate::NotOurs;
        }
        let free = block::has_free(block, &self.scene.reserved);
        if !usable {
            self.repair(Repair::Confirm(*cidr));
            self.deed = self.deed.max(Deed::Resume);
        } else if free {
            self.workspace.guard(&key);
        }
        if free { Candidate::Usable } else { Candidate::Full }
    }

    /// Makes a block that does not exist the owner's; false if nothing of it could be handed out.
    pub(super) fn create(&mut self, cidr: &Cidr) -> bool {
        let owner = &self.request.owner;
        let Some(block) =
            block::claimed(cidr, owner, self.port.now(), 0, self.request.host_reserved.as_ref())
        else {
            return false;
        };
        if !block::has_free(&block, &self.scene.reserved) {
            return false;
        }
        self.workspace.put_block(block);
        self.workspace.confirm(owner, cidr);
        self.deed = self.deed.max(Deed::Claim);
        true
    }

    /// Assigns what is missing from a block, as far as it goes.
    pub(super) fn take(&mut self, cidr: &Cidr, outcome: &mut FamilyOutcome) {
        let missing = outcome.requested.saturating_sub(outcome.assigned.len());
        match &self.aim {
            Aim::Addresses => {}
            Aim::Block => {
                outcome.assigned.push(Assigned { address: cidr.addr(), block: *cidr });
                return;
            }
            Aim::Room(spoken_for) => {
                let Some(block) = self.workspace.block(cidr) else { return };
                let free = block::free(block, &self.scene.reserved);
                let free = free.filter(|address| !spoken_for.contains(address)).take(missing);
                outcome.assigned.extend(free.map(|address| Assigned { address, block: *cidr }));
                return;
            }
        }
        let Some(block) = self.workspace.edit_block(cidr) else { return };
        let ordinals = block::assign_next(block, missing, &self.attribute, &self.scene.reserved);
        let addresses = ordinals.iter().filter_map(|ordinal| block::address_of(cidr, *ordinal));
        outcome.assigned.extend(addresses.map(|address| Assigned { address, block: *cidr }));
        if let Some(handle) = &self.request.handle {
            let left = block::ordinals_of(block, handle).len();
            let gained = i64::try_from(ordinals.len()).unwrap_or(i64::MAX);
            self.workspace.count(handle, cidr, gained, left);
        }
    }

    /// Takes single addresses of blocks whoever owns them. All blocks of the pools are known by now.
    fn borrow(&mut self, view: &FamilyView, outcome: &mut FamilyOutcome) -> Result<Verdict, PlanError> {
        for cidr in self.blocks_on_the_way(view) {
            if outcome.shortfall().is_none() {
                return Ok(Verdict::Complete);
            }
            if self.workspace.size() >= ENOUGH {
                return Ok(Verdict::More);
            }
            let free = self.workspace.block(&cidr).is_some_and(|b| block::has_free(b, &self.scene.reserved));
            if free {
                self.deed = self.deed.max(Deed::Borrow);
                self.take(&cidr, outcome);
            }
        }
        if outcome.shortfall().is_some() {
            let pools: Vec<String> = view.pools.iter().map(|pool| pool.cidr.to_string()).collect();
            outcome.messages.push(format!("No IPs available in pools: [{}]", pools.join(" ")));
        }
        Ok(Verdict::Complete)
    }
}
