//! Calico's own steps, as the contract tells them: one key a write, compare-and-swap each, nothing undone by a crash.
//!
//! Only what others can see in the store is modelled; which block it looks at first, and how often it retries, is not.

use crate::block;
use crate::plan::{Plan, Port};
use crate::reservations::Reservations;
use crate::workspace::pairs;
use jiff::SignedDuration;
use model::ipam::{AffinityState, AllocationBlock, Attribute, BlockAffinity, Handle};
use model::key::{Key, Owner, affinity_prefix, block_prefix};
use model::net::Cidr;
use mvcc::{Compare, DeleteRequest, KeyRange, Op, PutRequest, RangeRequest, Revision, Txn};
use std::net::IpAddr;

/// It failed, and says so.
#[derive(Debug)]
pub(super) struct GaveUp;

/// Where it works.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) owner: Owner,
    /// All blocks of its pools.
    pub(super) blocks: Vec<Cidr>,
    pub(super) cooldown: i64,
    pub(super) strict: bool,
    pub(super) reserved: Vec<Cidr>,
}

struct Upstream {
    port: Port,
    site: Site,
}

type Found<T> = Option<(T, Revision)>;

/// ADD of one IPv4 address.
pub(super) fn add(site: Site, handle: String) -> Plan<Result<IpAddr, GaveUp>> {
    Plan::new(|port| async move { Upstream { port, site }.add(&handle).await })
}

/// DEL of all addresses of a handle.
pub(super) fn del(site: Site, handle: String) -> Plan<Result<(), GaveUp>> {
    Plan::new(|port| async move { Upstream { port, site }.del(&handle).await })
}

/// Gives up one block of its own, empty or not.
pub(super) fn release_affinity(site: Site, cidr: Cidr) -> Plan<Result<(), GaveUp>> {
    Plan::new(|port| async move {
        let owner = site.owner.clone();
        Upstream { port, site }.release_affinity(&owner, &cidr, false).await
    })
}

impl Upstream {
    async fn get(&self, key: &Key) -> Option<(Vec<u8>, Revision)> {
        let answer = self.port.read(vec![RangeRequest::key(key.path())]).await;
        pairs(&answer.responses, 0).first().map(|kv| (kv.value.to_vec(), kv.mod_revision))
    }

    async fn block(&self, cidr: &Cidr) -> Found<AllocationBlock> {
        let (value, revision) = self.get(&Key::Block(*cidr)).await?;
        let mut block = AllocationBlock::decode(cidr, &value).expect("a readable block");
        block::free_cooled(&mut block, self.port.now(), self.site.cooldown);
        Some((block, revision))
    }

    async fn affinity(&self, owner: &Owner, cidr: &Cidr) -> Found<BlockAffinity> {
        let key = Key::Affinity(owner.clone(), *cidr);
        let (value, revision) = self.get(&key).await?;
        Some((BlockAffinity::decode(&key, &value).expect("a readable affinity"), revision))
    }

    async fn handle(&self, id: &str) -> Found<Handle> {
        let key = Key::Handle(id.to_owned());
        let (value, revision) = self.get(&key).await?;
        Some((Handle::decode(&key, &value).expect("a readable handle"), revision))
    }

    /// One write, compared with the revision that was read (0: must not exist); its own revision if it was done.
    async fn swap(
        &self,
        key: &Key,
        revision: Revision,
        value: Option<Vec<u8>>,
        step: &'static str,
    ) -> Option<Revision> {
        let path = key.path();
        let compare = match revision {
            0 => Compare::absent(path.clone()),
            revision => Compare::mod_revision(path.clone(), revision),
        };
        let op = match value {
            Some(value) => Op::Put(PutRequest::new(path, value)),
            None => Op::Delete(DeleteRequest { range: KeyRange::key(path), prev_kv: false }),
        };
        let txn = Txn { compare: vec![compare], success: vec![op], failure: Vec::new() };
        let answer = self.port.write(txn, step).await;
        answer.succeeded.then_some(answer.revision)
    }

    async fn set_state(
        &self,
        owner: &Owner,
        cidr: &Cidr,
        revision: Revision,
        state: AffinityState,
    ) -> Option<Revision> {
        let key = Key::Affinity(owner.clone(), *cidr);
        self.swap(&key, revision, Some(BlockAffinity::new(state).encode()), "upstream-affinity").await
    }

    async fn put_block(&self, mut block: AllocationBlock, revision: Revision, counted: bool) -> bool {
        if !counted {
            block::touch(&mut block);
        }
        self.swap(&Key::Block(block.cidr), revision, Some(block.encode()), "upstream-block").await.is_some()
    }

    /// `ipam.md` §5.2.
    async fn claim(&self, cidr: &Cidr) -> bool {
        let owner = &self.site.owner;
        let (state, revision) = match self.affinity(owner, cidr).await {
            Some((affinity, revision)) if affinity.state == AffinityState::Confirmed => {
                (affinity.state, revision)
            }
            found => {
                let before = found.map_or(0, |(_, revision)| revision);
                match self.set_state(owner, cidr, before, AffinityState::Pending).await {
                    Some(revision) => (AffinityState::Pending, revision),
                    None => return false,
                }
            }
        };
        let fresh = block::claimed(cidr, owner, self.port.now(), 0, None).expect("a block");
        let created =
            self.swap(&Key::Block(*cidr), 0, Some(fresh.encode()), "upstream-block").await.is_some();
        let ours = created
            || self.block(cidr).await.is_some_and(|(block, _)| block.affinity == Some(owner.affinity_text()));
        if !ours {
            self.swap(&Key::Affinity(owner.clone(), *cidr), revision, None, "upstream-affinity").await;
            return false;
        }
        if state != AffinityState::Confirmed
            && self.set_state(owner, cidr, revision, AffinityState::Confirmed).await.is_none()
        {
            let now = self.affinity(owner, cidr).await;
            return now.is_some_and(|(affinity, _)| affinity.state == AffinityState::Confirmed);
        }
        true
    }

    /// `ipam.md` §5.3.
    async fn load(&self, cidr: &Cidr) -> bool {
        let owner = &self.site.owner;
        let Some((affinity, revision)) = self.affinity(owner, cidr).await else { return false };
        let Some((block, block_revision)) = self.block(cidr).await else {
            let pending = self.set_state(owner, cidr, revision, AffinityState::Pending).await;
            return pending.is_some() && self.claim(cidr).await;
        };
        if block.affinity != Some(owner.affinity_text()) {
            self.swap(&Key::Affinity(owner.clone(), *cidr), revision, None, "upstream-affinity").await;
            return false;
        }
        if affinity.state.usable() {
            return true;
        }
        let Some(revision) = self.set_state(owner, cidr, revision, AffinityState::Pending).await else {
            return false;
        };
        self.put_block(block, block_revision, false).await
            && self.set_state(owner, cidr, revision, AffinityState::Confirmed).await.is_some()
    }

    /// `ipam.md` §5.4.
    async fn release_affinity(&self, owner: &Owner, cidr: &Cidr, must_be_empty: bool) -> Result<(), GaveUp> {
        let Some((_, revision)) = self.affinity(owner, cidr).await else { return Err(GaveUp) };
        let found = self.block(cidr).await;
        if let Some((block, _)) = &found {
            if block.affinity != Some(owner.affinity_text()) {
                self.swap(&Key::Affinity(owner.clone(), *cidr), revision, None, "upstream-affinity").await;
                return Err(GaveUp);
            }
            if must_be_empty && !block::is_empty(block) {
                return Err(GaveUp);
            }
        }
        let pending = self.set_state(owner, cidr, revision, AffinityState::PendingDeletion).await;
        let revision = pending.ok_or(GaveUp)?;
        if let Some((mut block, block_revision)) = found {
            let done = if block::is_empty(&block) {
                self.swap(&Key::Block(*cidr), block_revision, None, "upstream-block").await.is_some()
            } else {
                block.affinity = None;
                block.affinity_claim_time = None;
                self.put_block(block, block_revision, false).await
            };
            if !done {
                return Err(GaveUp);
            }
        }
        self.swap(&Key::Affinity(owner.clone(), *cidr), revision, None, "upstream-affinity").await;
        Ok(())
    }

    /// Counts a handle up or down; a handle that counts nothing goes.
    async fn count(&self, id: &str, cidr: &Cidr, change: i64) -> bool {
        for _ in 0..5 {
            let (mut handle, revision) = self.handle(id).await.unwrap_or_default();
            let count = handle.count(cidr);
            if change < 0 && count + change < 0 {
                return false;
            }
            handle.set_count(cidr, count + change);
            let value = if handle.block.is_empty() { None } else { Some(handle.encode()) };
            if self.swap(&Key::Handle(id.to_owned()), revision, value, "upstream-handle").await.is_some() {
                return true;
            }
        }
        false
    }

    async fn assign(&self, cidr: &Cidr, id: &str) -> Option<IpAddr> {
        let reserved: Reservations = self.site.reserved.iter().copied().collect();
        for _ in 0..5 {
            let (mut block, revision) = self.block(cidr).await?;
            let attribute = Attribute { handle: Some(id.to_owned()), ..Attribute::default() };
            let ordinal = *block::assign_next(&mut block, 1, &attribute, &reserved).first()?;
            if !self.count(id, cidr, 1).await {
                return None;
            }
            if self.put_block(block, revision, true).await {
                return block::address_of(cidr, ordinal);
            }
            self.count(id, cidr, -1).await;
        }
        None
    }

    async fn add(&self, id: &str) -> Result<IpAddr, GaveUp> {
        let prefix = affinity_prefix(&self.site.owner, model::net::Family::V4);
        let answer = self.port.read(vec![RangeRequest::prefix(prefix)]).await;
        let own: Vec<Cidr> = pairs(&answer.responses, 0)
            .iter()
            .filter_map(|kv| crate::scene::affinity_cidr(&kv.key))
            .collect();
        for cidr in own.iter().filter(|cidr| self.site.blocks.contains(cidr)) {
            if self.load(cidr).await
                && let Some(address) = self.assign(cidr, id).await
            {
                return Ok(address);
            }
        }
        let listing = RangeRequest::prefix(block_prefix(model::net::Family::V4));
        let answer = self.port.read(vec![listing]).await;
        let blocks: Vec<AllocationBlock> = pairs(&answer.responses, 0)
            .iter()
            .filter_map(|kv| AllocationBlock::decode(&crate::scene::block_cidr(&kv.key)?, &kv.value).ok())
            .collect();
        for cidr in self.site.blocks.iter().filter(|cidr| blocks.iter().all(|block| block.cidr != **cidr)) {
            if self.claim(cidr).await
                && let Some(address) = self.assign(cidr, id).await
            {
                return Ok(address);
            }
        }
        for block in blocks.iter().filter(|block| self.site.blocks.contains(&block.cidr)) {
            let age = block.affinity_claim_time.map(|claimed| self.port.now().duration_since(claimed));
            let old = age.is_none_or(|age| age >= SignedDuration::from_secs(60));
            if let Some(owner) = block.owner().filter(|owner| old && *owner != self.site.owner)
                && block::is_empty(block)
                && self.release_affinity(&owner, &block.cidr, true).await.is_ok()
                && self.claim(&block.cidr).await
                && let Some(address) = self.assign(&block.cidr, id).await
            {
                return Ok(address);
            }
        }
        for block in blocks.iter().filter(|block| !self.site.strict && self.site.blocks.contains(&block.cidr))
        {
            if let Some(address) = self.assign(&block.cidr, id).await {
                return Ok(address);
            }
        }
        Err(GaveUp)
    }

    async fn del(&self, id: &str) -> Result<(), GaveUp> {
        let Some((handle, _)) = self.handle(id).await else { return Ok(()) };
        for cidr in handle.blocks() {
            let mut tries = 0;
            let released = loop {
                tries += 1;
                if tries > 5 {
                    return Err(GaveUp);
                }
                let Some((mut block, revision)) = self.block(&cidr).await else { break 0 };
                let ordinals = block::ordinals_of(&block, id);
                if ordinals.is_empty() {
                    break 0;
                }
                block::release(&mut block, &ordinals, false, self.port.now(), self.site.cooldown);
                let done = if block::is_empty(&block) && block.affinity.is_none() {
                    self.swap(&Key::Block(cidr), revision, None, "upstream-block").await.is_some()
                } else {
                    self.put_block(block, revision, true).await
                };
                if done {
                    break ordinals.len() as i64;
                }
            };
            if released > 0 {
                self.count(id, &cidr, -released).await;
            }
        }
        Ok(())
    }
}
