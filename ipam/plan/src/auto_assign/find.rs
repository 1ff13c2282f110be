//! Finding a block to claim (`ipam.md` §5.1 of the contract).

use super::look::{Aim, Deed, FamilyView, Look};
use crate::PlanError;
use crate::block;
use crate::candidates::{Taken, Walk};
use crate::scene::block_cidrs;
use jiff::SignedDuration;
use model::key::Key;
use model::net::Cidr;

/// How long a claimed block is safe although it is empty.
const SAFE: SignedDuration = SignedDuration::from_secs(60);

impl Look<'_> {
    /// Makes another block the owner's, on the working copy: one that does not exist, else one that is the owner's
    /// already with addresses free, else an empty one of somebody else's. `None`: no free blocks.
    pub(super) async fn find_block(&mut self, view: &mut FamilyView) -> Result<Option<Cidr>, PlanError> {
        if view.taken.is_none() {
            let mut taken: Taken = block_cidrs(self.port, view.family).await.into_iter().collect();
            // blocks this look is about to make
            view.candidates.iter().for_each(|cidr| taken.insert(*cidr));
            view.taken = Some(taken);
        }
        if let Some(cidr) = self.absent_block(view) {
            return Ok(Some(cidr));
        }
        let existing = self.blocks_on_the_way(view);
        self.workspace.load(existing.iter().copied().map(Key::Block)).await?;
        for cidr in &existing {
            // what is free in a block it has is no reason to take it again
            let has = matches!(self.aim, Aim::Room(_)) && view.candidates.contains(cidr);
            if !has && self.adopt(cidr).await? {
                view.candidates.push(*cidr);
                return Ok(Some(*cidr));
            }
        }
        // what nobody needs yet is taken from nobody
        if matches!(self.aim, Aim::Room(_)) {
            return Ok(None);
        }
        for cidr in &existing {
            if self.steal(cidr).await? {
                return Ok(Some(*cidr));
            }
        }
        Ok(None)
    }

    /// The existing blocks of the request's pools, in the order in which this owner goes through them; wholly reserved
    /// ones left out.
    pub(super) fn blocks_on_the_way(&self, view: &FamilyView) -> Vec<Cidr> {
        let Some(taken) = &view.taken else { return Vec::new() };
        view.pools
            .iter()
            .filter_map(|pool| Some((pool, Walk::new(pool, self.request.owner.name(), self.port.now())?)))
            .flat_map(|(pool, walk)| taken.in_pool(pool, &walk))
            .filter(|cidr| self.scene.reserved.cover(cidr).is_none())
            .collect()
    }

    fn absent_block(&mut self, view: &mut FamilyView) -> Option<Cidr> {
        let now = self.port.now();
        for pool in &view.pools {
            let taken = view.taken.as_mut()?;
            let Some(walk) = Walk::new(pool, self.request.owner.name(), now) else { continue };
            let Some(cidr) = walk.first_free(taken, &self.scene.reserved) else { continue };
            taken.insert(cidr);
            if self.create(&cidr) {
                return Some(cidr);
            }
        }
        None
    }

    /// A block that says it is the owner's, to which the affinity was lost.
    async fn adopt(&mut self, cidr: &Cidr) -> Result<bool, PlanError> {
        let owner = &self.request.owner;
        let ours = self.workspace.block(cidr).is_some_and(|block| {
            block.affinity == Some(owner.affinity_text()) && block::has_free(block, &self.scene.reserved)
        });
        if ours {
            self.workspace.load([Key::Affinity(owner.clone(), *cidr)]).await?;
            self.workspace.confirm(owner, cidr);
            // where no address is taken from it, nothing else ties the commit to its being the owner's
            self.workspace.guard(&Key::Block(*cidr));
            self.deed = self.deed.max(Deed::Resume);
        }
        Ok(ours)
    }

    /// Takes over a block nobody uses: from an owner that claimed it a while ago, or from nobody.
    async fn steal(&mut self, cidr: &Cidr) -> Result<bool, PlanError> {
        let now = self.port.now();
        let owner = &self.request.owner;
        let Some(found) = self.workspace.block(cidr) else { return Ok(false) };
        let old = found.affinity_claim_time.is_none_or(|claimed| now.duration_since(claimed) >= SAFE);
        if !old || !block::is_empty(found) || found.affinity == Some(owner.affinity_text()) {
            return Ok(false);
        }
        let former = found.owner();
        if former.is_none() && found.affinity.is_some() {
            // an owner of a kind we do not know: not ours to judge
            return Ok(false);
        }
        let Some(fresh) =
            block::claimed(cidr, owner, now, found.sequence_number, self.request.host_reserved.as_ref())
        else {
            return Ok(false);
        };
        if !block::has_free(&fresh, &self.scene.reserved) {
            return Ok(false);
        }
        let affinities = former.iter().chain([owner]).map(|owner| Key::Affinity(owner.clone(), *cidr));
        self.workspace.load(affinities).await?;
        if let Some(former) = &former {
            self.workspace.delete_affinity(former, cidr);
        }
        self.workspace.put_block(fresh);
        self.workspace.confirm(owner, cidr);
        self.deed = self.deed.max(Deed::Steal);
        Ok(true)
    }
}
