//! What must hold after every write, whoever made it.

use crate::block;
use model::ipam::{AffinityState, AllocationBlock, BlockAffinity, Handle};
use model::key::{Key, Owner};
use model::net::Cidr;
use mvcc::{Op, Txn};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The store's address management as decoded values, kept up to date write by write.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    pub(super) blocks: BTreeMap<Cidr, AllocationBlock>,
    pub(super) affinities: BTreeMap<(Cidr, Owner), BlockAffinity>,
    pub(super) handles: BTreeMap<String, Handle>,
    /// Addresses that somebody was told are his, and under which handle.
    pub(super) held: BTreeMap<IpAddr, String>,
    /// Some writers count handles before they write blocks.
    pub(super) upstream_at_work: bool,
    /// Blocks whose state was made up by the test, where affinity and block need not agree.
    pub(super) planted: BTreeSet<Cidr>,
    /// Affinities of which the last write was ours. Calico confirms without looking at the block again, which somebody
    /// half way through a release may then take away from under it.
    pub(super) confirmed_by_us: BTreeSet<(Cidr, Owner)>,
    /// What the last writes did that is worth counting.
    pub(super) events: Vec<&'static str>,
}

impl Mirror {
    /// Takes over the writes of a transaction that succeeded, and checks what they touch.
    pub(super) fn apply(&mut self, txn: &Txn, ours: bool) {
        let mut touched = BTreeSet::new();
        let mut handles = BTreeSet::new();
        for op in &txn.success {
            let (key, value) = match op {
                Op::Put(put) => (&put.key, Some(&put.value)),
                Op::Delete(delete) => (&delete.range.key, None),
                Op::Range(_) | Op::Txn(_) => continue,
            };
            let key = Key::parse(std::str::from_utf8(key).expect("keys are text"))
                .expect("a key that Calico knows");
            match &key {
                Key::Block(cidr) => {
                    touched.insert(*cidr);
                    let old = match value {
                        Some(value) => {
                            let block = AllocationBlock::decode(cidr, value).expect("a readable block");
                            check_structure(&block);
                            self.blocks.insert(*cidr, block)
                        }
                        None => self.blocks.remove(cidr),
                    };
                    self.check_step(cidr, old.as_ref());
                    handles.extend(old.iter().chain(self.blocks.get(cidr)).flat_map(handles_in));
                }
                Key::Affinity(owner, cidr) => {
                    touched.insert(*cidr);
                    let place = (*cidr, owner.clone());
                    if ours {
                        self.confirmed_by_us.insert(place.clone());
                    } else {
                        self.confirmed_by_us.remove(&place);
                    }
                    match value {
                        Some(value) => {
                            let affinity = BlockAffinity::decode(&key, value).expect("a readable affinity");
                            self.affinities.insert(place, affinity);
                        }
                        None => drop(self.affinities.remove(&place)),
                    }
                }
                Key::Handle(id) => {
                    handles.insert(id.clone());
                    match value {
                        Some(value) => {
                            let handle = Handle::decode(&key, value).expect("a readable handle");
                            assert!(!handle.block.is_empty(), "handle {id} without a block");
                            self.handles.insert(id.clone(), handle);
                        }
                        None => drop(self.handles.remove(id)),
                    }
                }
                Key::IpamConfig | Key::IpamHost(_) | Key::Resource { .. } => {}
            }
        }
        touched.iter().for_each(|cidr| self.check_ownership(cidr));
        handles.iter().for_each(|id| self.check_handle(id));
    }

    /// A block may change, but not what is promised to somebody, and its number only grows.
    fn check_step(&mut self, cidr: &Cidr, old: Option<&AllocationBlock>) {
        let new = self.blocks.get(cidr);
        let cools = |block: Option<&AllocationBlock>| {
            block.is_some_and(|block| block.attributes.iter().any(|a| a.released_at.is_some()))
        };
        match (cools(old), cools(new)) {
            (false, true) => self.events.push("cool-down"),
            (true, false) => self.events.push("cooled down"),
            _ => {}
        }
        if let (Some(old), Some(new)) = (old, new) {
            assert!(new.sequence_number > old.sequence_number, "{cidr}: its sequence number did not grow");
        }
        for (ordinal, address) in (0..cidr.size()).filter_map(|n| Some((n as usize, cidr.nth(n)?))) {
            if let Some(holder) = self.held.get(&address) {
                let now = new.and_then(|block| block.attribute(ordinal)).and_then(block::handle_of);
                assert_eq!(now, Some(holder.as_str()), "{address} was taken from {holder}");
            }
        }
    }

    /// Block and affinity agree: `ipam.md` §1.
    fn check_ownership(&self, cidr: &Cidr) {
        if self.planted.contains(cidr) {
            return;
        }
        let owner = self.blocks.get(cidr).and_then(AllocationBlock::owner);
        // Calico makes a block after its affinity, which somebody who clears a pool may have taken away in between
        if let Some(owner) = owner.as_ref().filter(|_| !self.upstream_at_work) {
            let key = (*cidr, owner.clone());
            assert!(self.affinities.contains_key(&key), "{cidr} is {owner:?}'s without an affinity");
        }
        let claims = self.affinities.range((*cidr, Owner::Host(String::new()))..);
        for (place, affinity) in claims.take_while(|((of, _), _)| of == cidr) {
            let claimant = &place.1;
            let answerable = !self.upstream_at_work || self.confirmed_by_us.contains(place);
            if affinity.state == AffinityState::Confirmed && answerable {
                assert_eq!(owner.as_ref(), Some(claimant), "{cidr}: a confirmed affinity to another's block");
            }
        }
    }

    /// A handle counts at least what it has; exactly that, when nobody counts ahead of his writes.
    fn check_handle(&self, id: &str) {
        let mut has: BTreeMap<Cidr, i64> = BTreeMap::new();
        for (cidr, block) in &self.blocks {
            let count = block::ordinals_of(block, id).len() as i64;
            if count > 0 {
                has.insert(*cidr, count);
            }
        }
        let handle = self.handles.get(id).cloned().unwrap_or_default();
        if self.upstream_at_work {
            for (cidr, count) in has {
                assert!(
                    handle.count(&cidr) >= count,
                    "{id} counts {} in {cidr}, has {count}",
                    handle.count(&cidr)
                );
            }
        } else {
            let counts: BTreeMap<Cidr, i64> =
                handle.blocks().map(|cidr| (cidr, handle.count(&cidr))).collect();
            assert_eq!(counts, has, "{id} counts what it has");
        }
    }

    /// Somebody is told that an address is his.
    pub(super) fn give(&mut self, address: IpAddr, handle: &str) {
        let before = self.held.insert(address, handle.to_owned());
        assert_eq!(before, None, "{address} given twice, now to {handle}");
        let here = self.blocks.iter().find(|(cidr, _)| cidr.contains(address));
        let attribute = here.and_then(|(cidr, block)| block.attribute(block::ordinal_of(cidr, address)?));
        assert_eq!(attribute.and_then(block::handle_of), Some(handle), "{address} is not in the store");
    }

    /// Addresses in use, cooling ones left out, with their handles.
    pub(super) fn in_use(&self) -> BTreeMap<IpAddr, String> {
        let mut all = BTreeMap::new();
        for (cidr, block) in &self.blocks {
            for ordinal in 0..block.size() {
                let Some(attribute) = block.attribute(ordinal).filter(|a| a.released_at.is_none()) else {
                    continue;
                };
                let address = block::address_of(cidr, ordinal).expect("inside");
                all.insert(address, block::handle_of(attribute).unwrap_or_default().to_owned());
            }
        }
        all
    }
}

fn handles_in(block: &AllocationBlock) -> Vec<String> {
    block.attributes.iter().filter_map(|attribute| attribute.handle.clone()).collect()
}

/// Free and allocated are each other's complement, and everything points at something.
fn check_structure(block: &AllocationBlock) {
    let cidr = block.cidr;
    let free: BTreeSet<usize> = block.unallocated.iter().copied().collect();
    assert_eq!(free.len(), block.unallocated.len(), "{cidr}: a free ordinal twice");
    assert_eq!(block.size() as u128, cidr.size(), "{cidr}: as many allocations as addresses");
    for (ordinal, slot) in block.allocations.iter().enumerate() {
        assert_eq!(slot.is_none(), free.contains(&ordinal), "{cidr}: ordinal {ordinal} is neither or both");
        assert!(slot.is_none_or(|index| index < block.attributes.len()), "{cidr}: a lost attribute");
    }
    for ordinal in block.sequence_for.keys() {
        assert!(!free.contains(ordinal), "{cidr}: a sequence number for a free ordinal");
    }
}
