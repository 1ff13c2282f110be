//! A node's own blocks, known from the last write to them: what many calls ask for at the same time is one transaction, and
//! none of them reads first.
//!
//! ```text
//!  learn ─► known: settings, pools, own blocks, each at its revision
//!  give, release ─► parts ─► propose: one transaction, which compares all that is known ─► took: known anew
//! ```
//!
//! Nothing is relied on that the transaction does not compare: settings, pools and reservations by "nothing written since",
//! blocks and affinities by their revisions, each call's own keys by its conditions. A transaction that fails says whose conditions do
//! not hold; when they all do, what is known is old and is read again. Whatever is not simply an address of an own block, or the
//! end of one given here, is `None`: the operations that look first do it.

mod room;

use crate::PlanError;
use crate::block;
use crate::plan::Plan;
use crate::pool::{self, Asker, Pool};
use crate::request::{Assigned, AutoAssignRequest};
use crate::scene::{self, Scene, affinity_cidr, labels};
use crate::workspace::pairs;
use bytes::Bytes;
use jiff::Timestamp;
use model::Kind;
use model::ipam::{AffinityState, AllocationBlock, Attribute, BlockAffinity, Handle};
use model::key::{Key, Owner, affinity_prefix, resource_prefix};
use model::net::{Cidr, Family};
use mvcc::{
    Compare, CompareResult, CompareTarget, DeleteRequest, KeyRange, KeyValue, Op, OpResponse, PutRequest,
    RangeRequest, Revision, Txn, TxnResponse,
};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

/// Blocks that are known; a node with more has the rest read when it needs them.
const BLOCKS: usize = 32;

/// What a call writes, and relies on, in the same transaction.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Along {
    /// Conditions.
    pub compare: Vec<Compare>,
    /// Writes.
    pub success: Vec<Op>,
}

/// What one call has a transaction do.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    handle: String,
    addresses: Vec<Assigned>,
    work: Work,
    along: Along,
}

#[derive(Debug, Clone, PartialEq)]
enum Work {
    Assign(Attribute),
    /// The handle as it was last written.
    Release(Revision),
}

impl Part {
    /// Its addresses.
    pub fn addresses(&self) -> &[Assigned] {
        &self.addresses
    }

    /// The handle its addresses are kept under.
    pub fn handle(&self) -> &str {
        &self.handle
    }

    /// The same, with something done along with it.
    pub fn with(self, along: Along) -> Self {
        Self { along, ..self }
    }

    fn conditions(&self) -> Vec<Compare> {
        let handle = Key::Handle(self.handle.clone()).path();
        let own = match self.work {
            Work::Assign(_) => Compare::absent(handle),
            Work::Release(revision) => Compare::mod_revision(handle, revision),
        };
        std::iter::once(own).chain(self.along.compare.iter().cloned()).collect()
    }
}

/// A transaction, and what is known once it has succeeded.
#[derive(Debug)]
pub struct Proposal {
    /// To be carried out.
    pub txn: Txn,
    blocks: BTreeMap<Cidr, AllocationBlock>,
}

/// What came of a transaction.
#[derive(Debug, PartialEq, Eq)]
pub enum Took {
    /// All is written.
    All,
    /// Nothing is. The conditions of these parts, by their place, do not hold.
    Refused(BTreeSet<usize>),
    /// Nothing is, and what was known is old: to be learned, and what is still possible proposed again.
    Outdated,
}

/// What is stored, as far as it matters.
#[derive(Debug)]
pub struct Known {
    scene: Scene,
    node_labels: BTreeMap<String, String>,
    /// That nobody has changed anything else this depends on.
    conditions: Vec<Compare>,
    /// In listing order.
    blocks: Vec<OwnBlock>,
}

#[derive(Debug)]
struct OwnBlock {
    block: AllocationBlock,
    revision: Revision,
    affinity: Compare,
}

/// A handle as it was written.
#[derive(Debug)]
struct Held {
    revision: Revision,
    addresses: Vec<Assigned>,
}

/// See the module.
#[derive(Debug)]
pub struct Warm {
    owner: Owner,
    known: Option<Known>,
    /// Handles that were written here and not deleted here.
    handles: HashMap<String, Held>,
    /// Addresses that parts have which are not written yet.
    picked: BTreeSet<IpAddr>,
}

/// Reads what is to be known of a node.
pub fn learn(node: String) -> Plan<Result<Known, PlanError>> {
    Plan::new(|port| async move {
        let owner = Owner::Host(node.clone());
        let mut reads: Vec<RangeRequest> = Scene::reads().into();
        reads.extend([Family::V4, Family::V6].map(|of| RangeRequest::prefix(affinity_prefix(&owner, of))));
        reads.push(RangeRequest::key(Key::resource(Kind::Node, "", &node).path()));
        let answer = port.read(reads).await;
        let (seen, rest) = answer.responses.split_at(scene::READS.min(answer.responses.len()));
        let scene = Scene::of(seen)?;
        let Some(stored) = pairs(rest, 2).first() else { return Err(PlanError::NoNode(node)) };
        let node_labels = labels(stored);
        let mut conditions = unwritten_since(answer.revision);
        if scene.pools.iter().any(|pool| !pool.selects_every_node()) {
            conditions.push(Compare::mod_revision(stored.key.clone(), stored.mod_revision));
        }
        let mut affinities = Vec::new();
        for stored in pairs(rest, 0).iter().chain(pairs(rest, 1)) {
            let Some(cidr) = affinity_cidr(&stored.key) else { continue };
            let key = Key::Affinity(owner.clone(), cidr);
            let confirmed = BlockAffinity::decode(&key, &stored.value)
                .is_ok_and(|affinity| affinity.state == AffinityState::Confirmed);
            if confirmed && affinities.len() < BLOCKS {
                affinities.push((cidr, Compare::mod_revision(stored.key.clone(), stored.mod_revision)));
            }
        }
        let reads = affinities.iter().map(|(cidr, _)| RangeRequest::key(Key::Block(*cidr).path())).collect();
        let answer = port.read(reads).await;
        let mut blocks = Vec::new();
        for (index, (cidr, affinity)) in affinities.into_iter().enumerate() {
            let Some(stored) = pairs(&answer.responses, index).first() else { continue };
            let mut block = AllocationBlock::decode(&cidr, &stored.value)?;
            if block.affinity == Some(owner.affinity_text()) {
                block::free_cooled(&mut block, port.now(), scene.config.ip_cooldown_seconds);
                blocks.push(OwnBlock { block, revision: stored.mod_revision, affinity });
            }
        }
        Ok(Known { scene, node_labels, conditions, blocks })
    })
}

/// That settings, pools and reservations are those of a revision. Deletions do not show: a pool that goes takes its affinities
/// along, which are compared, and a reservation that goes forbids nothing.
fn unwritten_since(revision: Revision) -> Vec<Compare> {
    let of = |range| Compare {
        range,
        target: CompareTarget::Mod(revision.saturating_add(1)),
        result: CompareResult::Less,
    };
    vec![
        of(KeyRange::key(Key::IpamConfig.path())),
        of(KeyRange::prefix(resource_prefix(Kind::IPPool, None))),
        of(KeyRange::prefix(resource_prefix(Kind::IPReservation, None))),
    ]
}

impl Known {
    fn block(&self, cidr: &Cidr) -> Option<&OwnBlock> {
        self.blocks.iter().find(|own| own.block.cidr == *cidr)
    }

    /// The own blocks of the pools that a request may use, in the order in which they are used up.
    fn usable<'a>(
        &'a self,
        owner: &'a Owner,
        family: Family,
        request: &'a AutoAssignRequest,
    ) -> Option<impl Iterator<Item = &'a OwnBlock>> {
        let asker = Asker {
            name: owner.name(),
            node_labels: Some(&self.node_labels),
            namespace_labels: &request.namespace_labels,
            intended: request.intended_use,
            host_reserved: None,
        };
        let pools: Vec<Pool> = pool::select(&self.scene.pools, family, request.pools(family), &asker).ok()?;
        Some(self.blocks.iter().filter(move |own| {
            let cidr = &own.block.cidr;
            pools.iter().any(|pool| pool.cidr.covers(cidr)) && self.scene.reserved.cover(cidr).is_none()
        }))
    }
}

impl Warm {
    /// Of a node of which nothing is known yet.
    pub fn new(node: &str) -> Self {
        Self {
            owner: Owner::Host(node.to_owned()),
            known: None,
            handles: HashMap::new(),
            picked: BTreeSet::new(),
        }
    }

    /// What is stored is this.
    pub fn learned(&mut self, known: Known) {
        self.known = Some(known);
    }

    /// What is stored is not known any more.
    pub fn forget(&mut self) {
        self.known = None;
    }

    /// Whether anything is known.
    pub fn is_known(&self) -> bool {
        self.known.is_some()
    }

    /// The CIDR of a pool.
    pub fn pool(&self, name: &str) -> Option<Cidr> {
        self.known.as_ref()?.scene.pools.iter().find(|pool| pool.name == name).map(|pool| pool.cidr)
    }

    /// Addresses for a request out of own blocks; `None` where it takes more than that. They are nobody else's until the part
    /// is written or given up ([`Warm::give_up`]).
    pub fn give(&mut self, request: &AutoAssignRequest) -> Option<Part> {
        let known = self.known.as_ref()?;
        let handle = request.handle.clone()?;
        if !self.is_plain(request) {
            return None;
        }
        let mut addresses = Vec::new();
        for family in [Family::V4, Family::V6].into_iter().filter(|family| request.wanted(*family) > 0) {
            let before = addresses.len();
            for own in known.usable(&self.owner, family, request)? {
                let cidr = own.block.cidr;
                let given = self.free(known, own).take(request.wanted(family) - (addresses.len() - before));
                addresses.extend(given.map(|address| Assigned { address, block: cidr }));
                if addresses.len() - before >= request.wanted(family) {
                    break;
                }
            }
            if addresses.len() - before < request.wanted(family) {
                return None;
            }
        }
        if addresses.is_empty() {
            return None;
        }
        self.picked.extend(addresses.iter().map(|assigned| assigned.address));
        let attribute = Attribute {
            handle: Some(handle.clone()),
            secondary: request.attributes.clone(),
            ..Attribute::default()
        };
        Some(Part { handle, addresses, work: Work::Assign(attribute), along: Along::default() })
    }

    /// Whether a request asks for nothing but addresses under a handle that has none.
    fn is_plain(&self, request: &AutoAssignRequest) -> bool {
        request.owner == self.owner
            && request.host_reserved.is_none()
            && request.max_per_handle == 0
            && request.handle.as_ref().is_some_and(|handle| !self.handles.contains_key(handle))
    }

    /// Addresses of a block that can be given.
    fn free<'a>(&'a self, known: &'a Known, own: &'a OwnBlock) -> impl Iterator<Item = IpAddr> + 'a {
        block::free(&own.block, &known.scene.reserved).filter(|address| !self.picked.contains(address))
    }

    /// The end of what was given under a handle; `None` where that was not here.
    pub fn release(&self, handle: &str) -> Option<Part> {
        let held = self.handles.get(handle)?;
        let part = Part {
            handle: handle.to_owned(),
            addresses: held.addresses.clone(),
            work: Work::Release(held.revision),
            along: Along::default(),
        };
        self.is_possible(&part).then_some(part)
    }

    /// Takes over a handle as it is stored, so that it can be released; false where it counts addresses outside the blocks that are
    /// known, or others than these have.
    pub fn learned_handle(&mut self, handle: &str, stored: &KeyValue) -> bool {
        let key = Key::Handle(handle.to_owned());
        let (Some(known), Ok(value)) = (&self.known, Handle::decode(&key, &stored.value)) else {
            return false;
        };
        let mut addresses = Vec::new();
        for cidr in value.blocks() {
            let Some(own) = known.block(&cidr) else { return false };
            let found = block::assigned_to(&own.block, handle);
            if i64::try_from(found.len()) != Ok(value.count(&cidr)) {
                return false;
            }
            addresses.extend(found);
        }
        let held = Held { revision: stored.mod_revision, addresses };
        self.handles.insert(handle.to_owned(), held);
        true
    }

    /// A part is not going to be written from here.
    pub fn give_up(&mut self, part: &Part) {
        self.settled(part);
        self.handles.remove(&part.handle);
    }

    fn settled(&mut self, part: &Part) {
        if matches!(part.work, Work::Assign(_)) {
            part.addresses.iter().for_each(|assigned| {
                self.picked.remove(&assigned.address);
            });
        }
    }

    /// Whether a part can be done on what is known.
    pub fn is_possible(&self, part: &Part) -> bool {
        let Some(known) = &self.known else { return false };
        part.addresses.iter().all(|assigned| {
            let Some(own) = known.block(&assigned.block) else { return false };
            let Some(ordinal) = block::ordinal_of(&assigned.block, assigned.address) else { return false };
            match &part.work {
                Work::Assign(_) => {
                    own.block.allocations.get(ordinal) == Some(&None)
                        && !known.scene.reserved.contains(assigned.address)
                }
                Work::Release(_) => {
                    let attribute = own.block.attribute(ordinal);
                    attribute.and_then(block::handle_of) == Some(part.handle.as_str())
                }
            }
        })
    }

    /// The transaction that does these parts, all of them [possible](Warm::is_possible); `None` where nothing is known.
    pub fn propose(&self, parts: &[Part], now: Timestamp) -> Option<Proposal> {
        let known = self.known.as_ref()?;
        let mut txn = Txn { compare: known.conditions.clone(), ..Txn::default() };
        let mut blocks: BTreeMap<Cidr, AllocationBlock> = BTreeMap::new();
        for part in parts {
            for assigned in &part.addresses {
                if let Entry::Vacant(place) = blocks.entry(assigned.block) {
                    let own = known.block(&assigned.block)?;
                    let path = Key::Block(assigned.block).path();
                    txn.compare.extend([Compare::mod_revision(path, own.revision), own.affinity.clone()]);
                    let mut block = own.block.clone();
                    block::free_cooled(&mut block, now, known.scene.config.ip_cooldown_seconds);
                    place.insert(block);
                }
            }
            carry_out(part, &mut blocks, now, known.scene.config.ip_cooldown_seconds);
            for condition in part.conditions() {
                // several calls may rely on the same key
                if !txn.compare.contains(&condition) {
                    txn.compare.push(condition);
                }
            }
            let handle = Bytes::from(Key::Handle(part.handle.clone()).path());
            txn.success.push(match part.work {
                Work::Assign(_) => Op::Put(PutRequest::new(handle, counted(part).encode())),
                Work::Release(_) => {
                    Op::Delete(DeleteRequest { range: KeyRange::key(handle), prev_kv: false })
                }
            });
            txn.success.extend(part.along.success.iter().cloned());
            let whose = Txn { compare: part.conditions(), ..Txn::default() };
            txn.failure.push(Op::Txn(Box::new(whose)));
        }
        let written =
            blocks.iter().map(|(cidr, block)| PutRequest::new(Key::Block(*cidr).path(), block.encode()));
        txn.success.extend(written.map(Op::Put));
        Some(Proposal { txn, blocks })
    }

    /// What a proposal for these parts came to.
    pub fn took(&mut self, parts: &[Part], proposal: Proposal, answer: &TxnResponse) -> Took {
        if !answer.succeeded {
            let holds = |index: usize| matches!(answer.responses.get(index), Some(OpResponse::Txn(whose)) if whose.succeeded);
            let refused: BTreeSet<usize> = (0..parts.len()).filter(|index| !holds(*index)).collect();
            if refused.is_empty() {
                self.known = None;
                return Took::Outdated;
            }
            return Took::Refused(refused);
        }
        if let Some(known) = &mut self.known {
            for own in &mut known.blocks {
                if let Some(block) = proposal.blocks.get(&own.block.cidr) {
                    own.block = block.clone();
                    own.revision = answer.revision;
                }
            }
        }
        for part in parts {
            self.settled(part);
            match part.work {
                Work::Assign(_) => {
                    let held = Held { revision: answer.revision, addresses: part.addresses.clone() };
                    self.handles.insert(part.handle.clone(), held);
                }
                Work::Release(_) => drop(self.handles.remove(&part.handle)),
            }
        }
        Took::All
    }
}

/// Does a part on working copies.
fn carry_out(part: &Part, blocks: &mut BTreeMap<Cidr, AllocationBlock>, now: Timestamp, cooldown: i64) {
    let mut by_block: BTreeMap<Cidr, Vec<usize>> = BTreeMap::new();
    for assigned in &part.addresses {
        let ordinal = block::ordinal_of(&assigned.block, assigned.address);
        by_block.entry(assigned.block).or_default().extend(ordinal);
    }
    for (cidr, ordinals) in by_block {
        let Some(block) = blocks.get_mut(&cidr) else { continue };
        match &part.work {
            Work::Assign(attribute) => drop(block::assign_all(block, &ordinals, attribute)),
            Work::Release(_) => block::release(block, &ordinals, false, now, cooldown),
        }
    }
}

/// The handle of a part, counting its addresses.
fn counted(part: &Part) -> Handle {
    let mut handle = Handle::default();
    for assigned in &part.addresses {
        handle.set_count(&assigned.block, handle.count(&assigned.block) + 1);
    }
    handle
}
