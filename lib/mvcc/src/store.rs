//! The store: an index of histories, a log of who changed when, and the leases.

use crate::history::History;
use crate::lease::Leases;
use crate::read::{self, Index};
use crate::{
    Compare, CompareResult, CompareTarget, DeleteRequest, DeleteResponse, Error, Forgotten, Op, OpResponse,
    PutRequest, PutResponse, RangeRequest, RangeResponse, Revision, Txn, TxnResponse, check,
};
use bytes::Bytes;
use std::cmp::Ordering;
use std::collections::VecDeque;

/// Bounds that etcd makes configurable, with etcd's defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most comparisons, then-operations or else-operations of a transaction (`--max-txn-ops`).
    pub max_txn_ops: usize,
    /// Shortest lease in seconds; a shorter wish is raised to it. etcd derives 2 s from its election timeout.
    pub min_lease_ttl: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_txn_ops: 128, min_lease_ttl: 2 }
    }
}

/// The keys a revision changed, in order of the operations: mostly one.
#[derive(Debug)]
pub(crate) enum Keys {
    One(Bytes),
    Many(Box<[Bytes]>),
}

impl Keys {
    pub(crate) fn new(mut keys: Vec<Bytes>) -> Self {
        match (keys.len(), keys.pop()) {
            (1, Some(key)) => Keys::One(key),
            (_, last) => Keys::Many(keys.into_iter().chain(last).collect()),
        }
    }

    pub(crate) fn as_slice(&self) -> &[Bytes] {
        match self {
            Keys::One(key) => std::slice::from_ref(key),
            Keys::Many(keys) => keys,
        }
    }
}

/// A revisioned key-value store that behaves as etcd v3 does.
///
/// A request either happens as a whole, at one revision, or fails and changes nothing.
#[derive(Debug)]
pub struct Store {
    pub(crate) limits: Limits,
    pub(crate) index: Index,
    /// Keys of the index that are not deleted.
    pub(crate) existing: usize,
    /// Keys changed by each revision, in order of the operations; oldest first.
    pub(crate) log: VecDeque<(Revision, Keys)>,
    pub(crate) revision: Revision,
    /// Oldest revision that can be read.
    pub(crate) compacted: Revision,
    pub(crate) leases: Leases,
}

impl Default for Store {
    fn default() -> Self {
        Self::with_limits(Limits::default())
    }
}

impl Store {
    /// An empty store with etcd's limits, at revision 1.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store with other limits.
    pub fn with_limits(limits: Limits) -> Self {
        Self {
            limits,
            index: Index::new(),
            existing: 0,
            log: VecDeque::new(),
            revision: 1,
            compacted: 0,
            leases: Leases::default(),
        }
    }

    /// The newest revision.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The revision of the last compaction, the oldest that can be read; 0 when there was none.
    pub fn compacted(&self) -> Revision {
        self.compacted
    }

    /// How many keys exist now.
    pub fn key_count(&self) -> usize {
        self.existing
    }

    /// Reads a range.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeResponse, Error> {
        check::range(&request.range)?;
        let revision = read::check_revision(request.revision, self.revision, self.compacted)?;
        Ok(read::range(&self.index, request, revision, self.revision))
    }

    /// Writes one key.
    pub fn put(&mut self, request: &PutRequest) -> Result<PutResponse, Error> {
        check::put(request)?;
        // etcd looks at the lease of a lone put first, inside of a transaction at the key
        self.check_lease(request)?;
        self.check_put(request)?;
        let mut change = Change::new(self);
        let response = change.put(request);
        change.commit();
        Ok(response)
    }

    /// Deletes a range. Makes no revision when there is nothing to delete.
    pub fn delete(&mut self, request: &DeleteRequest) -> Result<DeleteResponse, Error> {
        check::range(&request.range)?;
        let mut change = Change::new(self);
        let response = change.delete(request);
        change.commit();
        Ok(response)
    }

    /// Runs a transaction. All conditions, those of nested transactions included, are evaluated before anything is
    /// written, and every operation of the branch taken is checked before the first is carried out.
    pub fn txn(&mut self, txn: &Txn) -> Result<TxnResponse, Error> {
        check::txn(txn, self.limits.max_txn_ops)?;
        let plan = self.plan(txn);
        self.check_plan(&plan)?;
        let mut change = Change::new(self);
        let mut response = change.run(&plan);
        change.commit();
        response.settle(self.revision);
        Ok(response)
    }

    /// Forgets all revisions before `revision`, which itself can still be read and watched from. Tells which writes went,
    /// for whoever keeps them elsewhere too.
    ///
    /// # Errors
    /// The revision is compacted already, or has not happened yet.
    pub fn compact(&mut self, revision: Revision) -> Result<Vec<Forgotten>, Error> {
        if revision <= self.compacted {
            return Err(Error::Compacted { oldest: self.compacted });
        }
        if revision > self.revision {
            return Err(Error::FutureRevision { newest: self.revision });
        }
        Ok(self.forget(revision))
    }

    pub(crate) fn forget(&mut self, revision: Revision) -> Vec<Forgotten> {
        let mut forgotten = Vec::new();
        let reach = self.log.partition_point(|(at, _)| *at <= revision);
        for (_, keys) in self.log.range(..reach) {
            for key in keys.as_slice() {
                let Some(history) = self.index.get_mut(key) else { continue };
                history.compact(revision, |at, size| {
                    forgotten.push(Forgotten { revision: at, key: key.clone(), size });
                });
                if history.is_empty() {
                    self.index.remove(key);
                }
            }
        }
        let gone = self.log.partition_point(|(at, _)| *at < revision);
        self.log.drain(..gone);
        self.compacted = revision;
        forgotten
    }

    pub(crate) fn live(&self, key: &[u8]) -> Option<&crate::history::Entry> {
        self.index.get(key).and_then(History::live)
    }

    /// What only the store's state can refuse about a write.
    fn check_put(&self, request: &PutRequest) -> Result<(), Error> {
        if (request.ignore_value || request.ignore_lease) && self.live(&request.key).is_none() {
            return Err(Error::KeyNotFound);
        }
        self.check_lease(request)
    }

    fn check_lease(&self, request: &PutRequest) -> Result<(), Error> {
        if request.lease != 0 && !self.leases.contains(request.lease) {
            return Err(Error::LeaseNotFound);
        }
        Ok(())
    }

    fn plan<'t>(&self, txn: &'t Txn) -> Plan<'t> {
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare));
        let ops = if succeeded { &txn.success } else { &txn.failure };
        let steps = ops
            .iter()
            .map(|op| match op {
                Op::Range(request) => Step::Range(request),
                Op::Put(request) => Step::Put(request),
                Op::Delete(request) => Step::Delete(request),
                Op::Txn(inner) => Step::Txn(self.plan(inner)),
            })
            .collect();
        Plan { succeeded, steps }
    }

    /// Writes first, then reads, as etcd does: of two reasons to refuse, the same one is told.
    fn check_plan(&self, plan: &Plan<'_>) -> Result<(), Error> {
        plan.each(&mut |step| match step {
            Step::Put(request) => self.check_put(request),
            _ => Ok(()),
        })?;
        plan.each(&mut |step| match step {
            Step::Range(request) => {
                read::check_revision(request.revision, self.revision, self.compacted).map(|_| ())
            }
            _ => Ok(()),
        })
    }

    /// A condition holds when every key of its range satisfies it. A range without keys counts as one absent key,
    /// whose counters are 0 and whose value matches nothing.
    fn holds(&self, compare: &Compare) -> bool {
        let mut live =
            read::select(&self.index, &compare.range).filter_map(|(_, history)| history.live()).peekable();
        let relation = |stored: i64, given: i64| satisfies(stored.cmp(&given), compare.result);
        if live.peek().is_none() {
            return match &compare.target {
                CompareTarget::Version(given) | CompareTarget::Lease(given) => relation(0, *given),
                CompareTarget::Create(given) | CompareTarget::Mod(given) => relation(0, *given),
                CompareTarget::Value(_) => false,
            };
        }
        live.all(|entry| match &compare.target {
            CompareTarget::Version(given) => relation(entry.version, *given),
            CompareTarget::Create(given) => relation(entry.created, *given),
            CompareTarget::Mod(given) => relation(entry.modified, *given),
            CompareTarget::Lease(given) => relation(entry.lease, *given),
            CompareTarget::Value(given) => {
                satisfies(entry.value.as_ref().cmp(given.as_ref()), compare.result)
            }
        })
    }
}

fn satisfies(order: Ordering, result: CompareResult) -> bool {
    match result {
        CompareResult::Equal => order == Ordering::Equal,
        CompareResult::NotEqual => order != Ordering::Equal,
        CompareResult::Greater => order == Ordering::Greater,
        CompareResult::Less => order == Ordering::Less,
    }
}

/// A transaction whose conditions are decided.
struct Plan<'t> {
    succeeded: bool,
    steps: Vec<Step<'t>>,
}

impl<'t> Plan<'t> {
    /// Visits every step, those of nested transactions included, until one is refused.
    fn each(&self, visit: &mut impl FnMut(&Step<'t>) -> Result<(), Error>) -> Result<(), Error> {
        self.steps.iter().try_for_each(|step| match step {
            Step::Txn(inner) => inner.each(visit),
            step => visit(step),
        })
    }
}

enum Step<'t> {
    Range(&'t RangeRequest),
    Put(&'t PutRequest),
    Delete(&'t DeleteRequest),
    Txn(Plan<'t>),
}

/// The writes of one revision under way. Cannot fail: everything was checked before.
pub(crate) struct Change<'s> {
    store: &'s mut Store,
    keys: Vec<Bytes>,
}

impl<'s> Change<'s> {
    pub(crate) fn new(store: &'s mut Store) -> Self {
        Self { store, keys: Vec::new() }
    }

    /// The revision that readers in this change see and its answers carry.
    fn seen(&self) -> Revision {
        if self.keys.is_empty() { self.store.revision } else { self.writing() }
    }

    /// The revision that writes of this change get.
    fn writing(&self) -> Revision {
        self.store.revision + 1
    }

    fn run(&mut self, plan: &Plan<'_>) -> TxnResponse {
        let responses = plan
            .steps
            .iter()
            .map(|step| match step {
                Step::Range(request) => OpResponse::Range(self.range(request)),
                Step::Put(request) => OpResponse::Put(self.put(request)),
                Step::Delete(request) => OpResponse::Delete(self.delete(request)),
                Step::Txn(inner) => OpResponse::Txn(self.run(inner)),
            })
            .collect();
        TxnResponse { revision: 0, succeeded: plan.succeeded, responses }
    }

    fn range(&self, request: &RangeRequest) -> RangeResponse {
        let revision = if request.revision > 0 { request.revision } else { self.seen() };
        read::range(&self.store.index, request, revision, self.seen())
    }

    fn put(&mut self, request: &PutRequest) -> PutResponse {
        let revision = self.writing();
        let store = &mut *self.store;
        let history = store.index.entry(request.key.clone()).or_default();
        store.existing += usize::from(history.live().is_none());
        let (old_value, old_lease) = history.live().map_or((Bytes::new(), 0), |e| (e.value.clone(), e.lease));
        let prev = if request.prev_kv { history.live().map(|entry| entry.to_kv(&request.key)) } else { None };
        let value = if request.ignore_value { old_value } else { request.value.clone() };
        let lease = if request.ignore_lease { old_lease } else { request.lease };
        history.put(revision, value, lease);
        store.leases.rebind(&request.key, old_lease, lease);
        self.keys.push(request.key.clone());
        PutResponse { revision, prev }
    }

    pub(crate) fn delete(&mut self, request: &DeleteRequest) -> DeleteResponse {
        let revision = self.writing();
        let mut prevs = Vec::new();
        let mut deleted = 0;
        for (key, history) in self.store.index.range_mut::<[u8], _>(read::bounds(&request.range)) {
            let Some(entry) = history.live() else { continue };
            if request.prev_kv {
                prevs.push(entry.to_kv(key));
            }
            let lease = entry.lease;
            history.delete(revision);
            self.store.leases.rebind(key, lease, 0);
            self.keys.push(key.clone());
            deleted += 1;
        }
        self.store.existing = self.store.existing.saturating_sub(usize::try_from(deleted).unwrap_or(0));
        DeleteResponse { revision: self.seen(), deleted, prevs }
    }

    /// Makes the writes a revision, if there were any.
    pub(crate) fn commit(self) {
        if !self.keys.is_empty() {
            self.store.revision += 1;
            self.store.log.push_back((self.store.revision, Keys::new(self.keys)));
        }
    }
}
