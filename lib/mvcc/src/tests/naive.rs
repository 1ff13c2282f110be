//! The same store told as simply as possible: a full copy of everything for each revision.

use crate::*;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::Duration;

pub type Copy = BTreeMap<Bytes, KeyValue>;

#[derive(Debug)]
pub struct Naive {
    /// Every revision since the last compaction, the last of them the newest.
    pub copies: BTreeMap<Revision, Copy>,
    pub compacted: Revision,
    /// Time to live and end.
    pub leases: BTreeMap<i64, (i64, Duration)>,
    max_ops: usize,
}

impl Naive {
    pub fn new(max_ops: usize) -> Self {
        Self { copies: BTreeMap::from([(1, Copy::new())]), compacted: 0, leases: BTreeMap::new(), max_ops }
    }

    pub fn revision(&self) -> Revision {
        *self.copies.keys().next_back().unwrap()
    }

    fn newest(&self) -> &Copy {
        &self.copies[&self.revision()]
    }

    pub fn range(&self, request: &RangeRequest) -> Result<RangeResponse, Error> {
        check_key(&request.range)?;
        self.check_revision(request)?;
        Ok(self.answer(request, self.newest(), self.revision()))
    }

    fn check_revision(&self, request: &RangeRequest) -> Result<(), Error> {
        if request.revision > self.revision() {
            return Err(Error::FutureRevision { newest: self.revision() });
        }
        if request.revision > 0 && request.revision < self.compacted {
            return Err(Error::Compacted { oldest: self.compacted });
        }
        Ok(())
    }

    fn answer(&self, request: &RangeRequest, newest: &Copy, revision: Revision) -> RangeResponse {
        let copy = if request.revision > 0 { &self.copies[&request.revision] } else { newest };
        let all: Vec<&KeyValue> = copy.values().filter(|kv| request.range.contains(&kv.key)).collect();
        let count = all.len() as i64;
        if request.count_only {
            return RangeResponse { revision, kvs: vec![], more: false, count };
        }
        let inside =
            |at: Revision, min: Revision, max: Revision| (min == 0 || min <= at) && (max == 0 || at <= max);
        let mut kvs: Vec<KeyValue> = all
            .into_iter()
            .filter(|kv| inside(kv.mod_revision, request.min_mod_revision, request.max_mod_revision))
            .filter(|kv| inside(kv.create_revision, request.min_create_revision, request.max_create_revision))
            .cloned()
            .collect();
        match request.target {
            SortTarget::Key => {}
            SortTarget::Version => kvs.sort_by_key(|kv| kv.version),
            SortTarget::Create => kvs.sort_by_key(|kv| kv.create_revision),
            SortTarget::Mod => kvs.sort_by_key(|kv| kv.mod_revision),
            SortTarget::Value => kvs.sort_by_key(|kv| kv.value.clone()),
        }
        if request.order == SortOrder::Descend {
            // equal ones keep the order of their keys
            kvs.reverse();
            let same = |a: &KeyValue, b: &KeyValue| match request.target {
                SortTarget::Key => false,
                SortTarget::Version => a.version == b.version,
                SortTarget::Create => a.create_revision == b.create_revision,
                SortTarget::Mod => a.mod_revision == b.mod_revision,
                SortTarget::Value => a.value == b.value,
            };
            kvs.chunk_by_mut(same).for_each(<[KeyValue]>::reverse);
        }
        let more = request.limit > 0 && kvs.len() as i64 > request.limit;
        if more {
            kvs.truncate(request.limit as usize);
        }
        if request.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
        }
        RangeResponse { revision, kvs, more, count }
    }

    pub fn txn(&mut self, txn: &Txn) -> Result<TxnResponse, Error> {
        check_shape(txn, self.max_ops as i64)?;
        if paths(&txn.success).iter().chain(&paths(&txn.failure)).any(|path| changes_twice(path)) {
            return Err(Error::DuplicateKey);
        }
        let before = self.newest().clone();
        // etcd looks at all writes before it looks at a read
        self.check_state(txn, &before, true)?;
        self.check_state(txn, &before, false)?;
        let mut after = before.clone();
        let mut changed = false;
        let mut response = self.run(txn, &before, &mut after, &mut changed);
        response.settle(self.revision() + i64::from(changed));
        if changed {
            self.copies.insert(response.revision, after);
        }
        Ok(response)
    }

    fn check_state(&self, txn: &Txn, before: &Copy, writes: bool) -> Result<(), Error> {
        for op in taken(txn, before) {
            match op {
                Op::Range(request) if !writes => self.check_revision(request)?,
                Op::Put(put) if writes => {
                    if (put.ignore_value || put.ignore_lease) && !before.contains_key(&put.key) {
                        return Err(Error::KeyNotFound);
                    }
                    if put.lease != 0 && !self.leases.contains_key(&put.lease) {
                        return Err(Error::LeaseNotFound);
                    }
                }
                Op::Txn(inner) => self.check_state(inner, before, writes)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn run(&self, txn: &Txn, before: &Copy, after: &mut Copy, changed: &mut bool) -> TxnResponse {
        let next = self.revision() + 1;
        let mut responses = Vec::new();
        for op in taken(txn, before) {
            responses.push(match op {
                Op::Range(request) => {
                    OpResponse::Range(self.answer(request, after, self.revision() + i64::from(*changed)))
                }
                Op::Put(put) => {
                    let old = after.get(&put.key).cloned();
                    let kv = KeyValue {
                        key: put.key.clone(),
                        value: match &old {
                            Some(old) if put.ignore_value => old.value.clone(),
                            _ => put.value.clone(),
                        },
                        create_revision: old.as_ref().map_or(next, |old| old.create_revision),
                        mod_revision: next,
                        version: old.as_ref().map_or(1, |old| old.version + 1),
                        lease: match &old {
                            Some(old) if put.ignore_lease => old.lease,
                            _ => put.lease,
                        },
                    };
                    after.insert(put.key.clone(), kv);
                    *changed = true;
                    OpResponse::Put(PutResponse { revision: next, prev: old.filter(|_| put.prev_kv) })
                }
                Op::Delete(delete) => {
                    let prevs: Vec<KeyValue> =
                        after.values().filter(|kv| delete.range.contains(&kv.key)).cloned().collect();
                    after.retain(|key, _| !delete.range.contains(key));
                    *changed |= !prevs.is_empty();
                    OpResponse::Delete(DeleteResponse {
                        revision: self.revision() + i64::from(*changed),
                        deleted: prevs.len() as i64,
                        prevs: if delete.prev_kv { prevs } else { vec![] },
                    })
                }
                Op::Txn(inner) => OpResponse::Txn(self.run(inner, before, after, changed)),
            });
        }
        TxnResponse {
            revision: self.revision() + i64::from(*changed),
            succeeded: holds_all(txn, before),
            responses,
        }
    }

    pub fn compact(&mut self, revision: Revision) -> Result<(), Error> {
        if revision <= self.compacted {
            return Err(Error::Compacted { oldest: self.compacted });
        }
        if revision > self.revision() {
            return Err(Error::FutureRevision { newest: self.revision() });
        }
        self.compacted = revision;
        self.copies = self.copies.split_off(&revision);
        Ok(())
    }

    /// The events of one revision, in key order.
    pub fn events(&self, revision: Revision, compacted_before: &Copy) -> Vec<Event> {
        let known = self.copies.contains_key(&(revision - 1));
        let before = self.copies.get(&(revision - 1)).unwrap_or(compacted_before);
        let after = &self.copies[&revision];
        let prev = |key: &Bytes| before.get(key).filter(|_| known).cloned();
        let puts = after.values().filter(|kv| kv.mod_revision == revision).map(|kv| Event {
            kind: EventKind::Put,
            kv: kv.clone(),
            prev: prev(&kv.key),
        });
        let deletes = before.keys().filter(|key| !after.contains_key(*key)).map(|key| Event {
            kind: EventKind::Delete,
            kv: KeyValue {
                key: key.clone(),
                value: Bytes::new(),
                create_revision: 0,
                mod_revision: revision,
                version: 0,
                lease: 0,
            },
            prev: prev(key),
        });
        let mut all: Vec<Event> = puts.chain(deletes).collect();
        all.sort_by(|a, b| a.kv.key.cmp(&b.kv.key));
        all
    }

    pub fn revoke(&mut self, id: i64) -> Result<Revision, Error> {
        self.leases.remove(&id).ok_or(Error::LeaseNotFound)?;
        let mut after = self.newest().clone();
        after.retain(|_, kv| kv.lease != id);
        if after.len() != self.newest().len() {
            self.copies.insert(self.revision() + 1, after);
        }
        Ok(self.revision())
    }

    pub fn expire(&mut self, now: Duration) -> Vec<i64> {
        let mut due: Vec<(Duration, i64)> = self
            .leases
            .iter()
            .filter(|(_, (_, end))| *end <= now)
            .map(|(id, (_, end))| (*end, *id))
            .collect();
        due.sort();
        due.into_iter()
            .map(|(_, id)| {
                self.revoke(id).unwrap();
                id
            })
            .collect()
    }
}

fn check_key(range: &KeyRange) -> Result<(), Error> {
    if range.key.is_empty() { Err(Error::EmptyKey) } else { Ok(()) }
}

fn check_shape(txn: &Txn, max: i64) -> Result<(), Error> {
    let most = [txn.compare.len(), txn.success.len(), txn.failure.len()].into_iter().max().unwrap() as i64;
    if most > max {
        return Err(Error::TooManyOps);
    }
    txn.compare.iter().try_for_each(|compare| check_key(&compare.range))?;
    for op in txn.success.iter().chain(&txn.failure) {
        match op {
            Op::Range(request) => check_key(&request.range)?,
            Op::Delete(request) => check_key(&request.range)?,
            Op::Put(put) if put.key.is_empty() => return Err(Error::EmptyKey),
            Op::Put(put) if put.ignore_value && !put.value.is_empty() => return Err(Error::ValueProvided),
            Op::Put(put) if put.ignore_lease && put.lease != 0 => return Err(Error::LeaseProvided),
            Op::Put(_) => {}
            Op::Txn(inner) => check_shape(inner, max - most)?,
        }
    }
    Ok(())
}

/// Every sequence of writes that a list of operations may come to, whatever its conditions say.
fn paths(ops: &[Op]) -> Vec<Vec<&Op>> {
    let mut all: Vec<Vec<&Op>> = vec![vec![]];
    for op in ops {
        let branches = match op {
            Op::Txn(inner) => [paths(&inner.success), paths(&inner.failure)].concat(),
            op => vec![vec![op]],
        };
        all =
            all.iter().flat_map(|path| branches.iter().map(|b| [path.clone(), b.clone()].concat())).collect();
    }
    all
}

fn changes_twice(path: &[&Op]) -> bool {
    let puts: Vec<&Bytes> =
        path.iter().filter_map(|op| if let Op::Put(put) = op { Some(&put.key) } else { None }).collect();
    let distinct: std::collections::BTreeSet<_> = puts.iter().collect();
    let covered =
        path.iter().any(|op| matches!(op, Op::Delete(d) if puts.iter().any(|key| d.range.contains(key))));
    distinct.len() < puts.len() || covered
}

fn taken<'t>(txn: &'t Txn, before: &Copy) -> &'t [Op] {
    if holds_all(txn, before) { &txn.success } else { &txn.failure }
}

fn holds_all(txn: &Txn, before: &Copy) -> bool {
    txn.compare.iter().all(|compare| {
        let found: Vec<&KeyValue> = before.values().filter(|kv| compare.range.contains(&kv.key)).collect();
        let absent = KeyValue {
            key: Bytes::new(),
            value: Bytes::new(),
            create_revision: 0,
            mod_revision: 0,
            version: 0,
            lease: 0,
        };
        if found.is_empty() {
            return !matches!(compare.target, CompareTarget::Value(_)) && holds(compare, &absent);
        }
        found.into_iter().all(|kv| holds(compare, kv))
    })
}

fn holds(compare: &Compare, kv: &KeyValue) -> bool {
    let order = match &compare.target {
        CompareTarget::Version(given) => kv.version.cmp(given),
        CompareTarget::Create(given) => kv.create_revision.cmp(given),
        CompareTarget::Mod(given) => kv.mod_revision.cmp(given),
        CompareTarget::Lease(given) => kv.lease.cmp(given),
        CompareTarget::Value(given) => kv.value.cmp(given),
    };
    match compare.result {
        CompareResult::Equal => order.is_eq(),
        CompareResult::NotEqual => order.is_ne(),
        CompareResult::Greater => order.is_gt(),
        CompareResult::Less => order.is_lt(),
    }
}
