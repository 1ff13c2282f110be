//! A working copy of the keys an operation touches, and the one transaction that writes it back.
//!
//! An operation loads keys, edits the copies, and commits: every edited key is compared with the revision it was
//! loaded at, together with the keys the operation guarded because it relied on them. So a commit happens as a whole
//! on exactly the state the operation looked at, or not at all. A refused commit brings the compared keys' present
//! values with it, so that the operation can decide again without asking.

use crate::PlanError;
use crate::block;
use crate::plan::Port;
use bytes::Bytes;
use model::ipam::{AffinityState, AllocationBlock, BlockAffinity, Handle};
use model::key::{Key, Owner};
use model::net::Cidr;
use mvcc::{
    Compare, DeleteRequest, KeyRange, KeyValue, Op, OpResponse, PutRequest, RangeRequest, Revision, Txn,
};
use std::collections::BTreeMap;

/// Keys read in one transaction; etcd's limit is 128 operations.
const READS: usize = 100;

/// Edited and guarded keys after which an operation should commit before it goes on. Far enough from 128 for what one
/// more step adds.
pub(crate) const ENOUGH: usize = 90;

#[derive(Debug, Clone, PartialEq)]
enum Value {
    Block(AllocationBlock),
    Affinity(BlockAffinity),
    Handle(Handle),
}

impl Value {
    fn decode(key: &Key, bytes: &[u8]) -> Result<Option<Value>, PlanError> {
        Ok(match key {
            Key::Block(cidr) => Some(Value::Block(AllocationBlock::decode(cidr, bytes)?)),
            Key::Affinity(..) => Some(Value::Affinity(BlockAffinity::decode(key, bytes)?)),
            Key::Handle(_) => Some(Value::Handle(Handle::decode(key, bytes)?)),
            Key::Resource { .. } | Key::IpamConfig | Key::IpamHost(_) => None,
        })
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Value::Block(block) => block.encode(),
            Value::Affinity(affinity) => affinity.encode(),
            Value::Handle(handle) => handle.encode(),
        }
    }
}

#[derive(Debug, Clone)]
struct Draft {
    /// Revision of the last write; 0 for an absent key.
    revision: Revision,
    value: Option<Value>,
    /// The value as loaded, kept from the first edit on.
    loaded: Option<Option<Value>>,
    guarded: bool,
}

impl Draft {
    fn edit(&mut self) -> &mut Option<Value> {
        if self.loaded.is_none() {
            self.loaded = Some(self.value.clone());
        }
        &mut self.value
    }
}

/// The working copy.
#[derive(Debug)]
pub(crate) struct Workspace {
    port: Port,
    /// Seconds a released address waits; blocks are freed of what has waited long enough as they are loaded.
    cooldown: i64,
    drafts: BTreeMap<Key, Draft>,
}

impl Workspace {
    pub(crate) fn new(port: Port, cooldown: i64) -> Self {
        Self { port, cooldown, drafts: BTreeMap::new() }
    }

    pub(crate) fn cooldown(&self) -> i64 {
        self.cooldown
    }

    /// Takes over a key as read elsewhere; `None` for one that was seen to be absent. Edits of it are lost.
    pub(crate) fn learn(&mut self, key: Key, stored: Option<&KeyValue>) -> Result<(), PlanError> {
        let mut value = match stored {
            Some(stored) => Value::decode(&key, &stored.value)?,
            None => None,
        };
        if let Some(Value::Block(block)) = &mut value {
            block::free_cooled(block, self.port.now(), self.cooldown);
        }
        let revision = stored.map_or(0, |stored| stored.mod_revision);
        self.drafts.insert(key, Draft { revision, value, loaded: None, guarded: false });
        Ok(())
    }

    /// Makes sure of `keys`, reading those not known yet.
    pub(crate) async fn load(&mut self, keys: impl IntoIterator<Item = Key>) -> Result<(), PlanError> {
        let mut missing: Vec<Key> = keys.into_iter().filter(|key| !self.drafts.contains_key(key)).collect();
        missing.dedup();
        for chunk in missing.chunks(READS) {
            let answer =
                self.port.read(chunk.iter().map(|key| RangeRequest::key(key.path())).collect()).await;
            for (key, response) in chunk.iter().zip(&answer.responses) {
                self.learn(key.clone(), response.kvs().first())?;
            }
        }
        Ok(())
    }

    /// Whether a key is known, be it as absent.
    pub(crate) fn knows(&self, key: &Key) -> bool {
        self.drafts.contains_key(key)
    }

    fn value(&self, key: &Key) -> Option<&Value> {
        self.drafts.get(key)?.value.as_ref()
    }

    /// A loaded block.
    pub(crate) fn block(&self, cidr: &Cidr) -> Option<&AllocationBlock> {
        match self.value(&Key::Block(*cidr))? {
            Value::Block(block) => Some(block),
            _ => None,
        }
    }

    /// A loaded affinity.
    pub(crate) fn affinity(&self, owner: &Owner, cidr: &Cidr) -> Option<&BlockAffinity> {
        match self.value(&Key::Affinity(owner.clone(), *cidr))? {
            Value::Affinity(affinity) => Some(affinity),
            _ => None,
        }
    }

    /// A loaded handle.
    pub(crate) fn handle(&self, id: &str) -> Option<&Handle> {
        match self.value(&Key::Handle(id.to_owned()))? {
            Value::Handle(handle) => Some(handle),
            _ => None,
        }
    }

    /// A loaded block, to edit.
    pub(crate) fn edit_block(&mut self, cidr: &Cidr) -> Option<&mut AllocationBlock> {
        let draft = self.drafts.get_mut(&Key::Block(*cidr))?;
        match draft.value {
            Some(Value::Block(_)) => match draft.edit() {
                Some(Value::Block(block)) => Some(block),
                _ => None,
            },
            _ => None,
        }
    }

    fn set(&mut self, key: Key, value: Option<Value>) {
        let draft = self.drafts.entry(key).or_insert(Draft {
            revision: 0,
            value: None,
            loaded: None,
            guarded: false,
        });
        *draft.edit() = value;
    }

    /// Puts a block in place of whatever is at its key.
    pub(crate) fn put_block(&mut self, block: AllocationBlock) {
        self.set(Key::Block(block.cidr), Some(Value::Block(block)));
    }

    /// Deletes a block.
    pub(crate) fn delete_block(&mut self, cidr: &Cidr) {
        self.set(Key::Block(*cidr), None);
    }

    /// Makes an affinity confirmed; if it is, ties the commit to it.
    pub(crate) fn confirm(&mut self, owner: &Owner, cidr: &Cidr) {
        let key = Key::Affinity(owner.clone(), *cidr);
        let mut affinity = self.affinity(owner, cidr).cloned().unwrap_or_default();
        if affinity.state == AffinityState::Confirmed {
            self.guard(&key);
        } else {
            affinity.state = AffinityState::Confirmed;
            self.set(key, Some(Value::Affinity(affinity)));
        }
    }

    /// Deletes an affinity, if there is one.
    pub(crate) fn delete_affinity(&mut self, owner: &Owner, cidr: &Cidr) {
        let key = Key::Affinity(owner.clone(), *cidr);
        match self.value(&key) {
            Some(_) => self.set(key, None),
            None => self.guard(&key),
        }
    }

    /// Changes what a handle counts in a block by `change`; a handle that counts nothing any more goes.
    ///
    /// `left` is how many of its addresses the block holds after the change. Calico counts a handle up before it
    /// writes the block, and down by as much when that fails, so that counts change by differences here too; but a
    /// handle that has nothing left in a block written by the same commit loses its entry whatever it counted, and
    /// never counts less than the block holds.
    pub(crate) fn count(&mut self, id: &str, cidr: &Cidr, change: i64, left: usize) {
        let mut handle = self.handle(id).cloned().unwrap_or_default();
        let left = i64::try_from(left).unwrap_or(i64::MAX);
        let count = if left == 0 { 0 } else { handle.count(cidr).saturating_add(change).max(left) };
        handle.set_count(cidr, count);
        let value = if handle.block.is_empty() { None } else { Some(Value::Handle(handle)) };
        let key = Key::Handle(id.to_owned());
        // a handle that was not there and would have nothing to count is not worth a comparison
        if value.is_some() || self.value(&key).is_some() {
            self.set(key, value);
        }
    }

    /// Deletes a handle.
    pub(crate) fn delete_handle(&mut self, id: &str) {
        self.set(Key::Handle(id.to_owned()), None);
    }

    /// Ties the commit to a loaded key being as it was loaded.
    pub(crate) fn guard(&mut self, key: &Key) {
        if let Some(draft) = self.drafts.get_mut(key) {
            draft.guarded = true;
        }
    }

    /// How many keys the commit will compare.
    pub(crate) fn size(&self) -> usize {
        self.drafts.values().filter(|draft| draft.loaded.is_some() || draft.guarded).count()
    }

    /// Takes all edits and guards back.
    pub(crate) fn reset(&mut self) {
        for draft in self.drafts.values_mut() {
            if let Some(loaded) = draft.loaded.take() {
                draft.value = loaded;
            }
            draft.guarded = false;
        }
    }

    /// Writes the edits, if there are any, as one transaction. `Ok(false)`: somebody else was faster, nothing was
    /// written, the edits are gone and the compared keys are up to date.
    pub(crate) async fn commit(&mut self, step: &'static str) -> Result<bool, PlanError> {
        let mut txn = Txn::default();
        let mut compared = Vec::new();
        let mut writes = false;
        for (key, draft) in self.drafts.iter().filter(|(_, draft)| draft.loaded.is_some() || draft.guarded) {
            let path = Bytes::from(key.path());
            txn.compare.push(match draft.revision {
                0 => Compare::absent(path.clone()),
                revision => Compare::mod_revision(path.clone(), revision),
            });
            txn.failure.push(Op::Range(RangeRequest::key(path.clone())));
            compared.push(key.clone());
            if draft.loaded.is_none() {
                continue;
            }
            match (&draft.value, draft.revision) {
                (Some(value), _) => txn.success.push(Op::Put(PutRequest::new(path, value.encode()))),
                (None, 0) => continue,
                (None, _) => {
                    txn.success
                        .push(Op::Delete(DeleteRequest { range: KeyRange::key(path), prev_kv: false }));
                }
            }
            writes = true;
        }
        if !writes {
            self.reset();
            return Ok(true);
        }
        let answer = self.port.write(txn, step).await;
        if answer.succeeded {
            for draft in self.drafts.values_mut() {
                if draft.loaded.take().is_some() {
                    draft.revision = if draft.value.is_some() { answer.revision } else { 0 };
                }
                draft.guarded = false;
            }
            return Ok(true);
        }
        self.reset();
        for (key, response) in compared.into_iter().zip(&answer.responses) {
            self.learn(key, response.kvs().first())?;
        }
        Ok(false)
    }
}

/// The pairs of one answer of a transaction of reads; none where the answer is missing.
pub(crate) fn pairs(responses: &[OpResponse], index: usize) -> &[KeyValue] {
    responses.get(index).map_or(&[], OpResponse::kvs)
}
