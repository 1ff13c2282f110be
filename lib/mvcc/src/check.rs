//! What can be said against a request before the store is looked at: etcd's limits and the rule that a
//! transaction changes a key at most once.

use crate::{DeleteRequest, Error, KeyRange, Op, PutRequest, Txn};
use bytes::Bytes;
use std::collections::BTreeSet;

/// Refuses a write that contradicts itself.
pub(crate) fn put(request: &PutRequest) -> Result<(), Error> {
    if request.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(Error::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(Error::LeaseProvided);
    }
    Ok(())
}

/// Refuses a range without a first key.
pub(crate) fn range(range: &KeyRange) -> Result<(), Error> {
    if range.key.is_empty() { Err(Error::EmptyKey) } else { Ok(()) }
}

/// Refuses a transaction that is too large or would change a key twice.
pub(crate) fn txn(txn: &Txn, max_ops: usize) -> Result<(), Error> {
    shape(txn, max_ops)?;
    Changes::of(&txn.success)?;
    Changes::of(&txn.failure)?;
    Ok(())
}

/// Nested transactions get what the outer one leaves of the limit, as in etcd.
fn shape(txn: &Txn, max_ops: usize) -> Result<(), Error> {
    let size = txn.compare.len().max(txn.success.len()).max(txn.failure.len());
    let left = max_ops.checked_sub(size).ok_or(Error::TooManyOps)?;
    for compare in &txn.compare {
        range(&compare.range)?;
    }
    for op in txn.success.iter().chain(&txn.failure) {
        match op {
            Op::Range(request) => range(&request.range)?,
            Op::Put(request) => put(request)?,
            Op::Delete(request) => range(&request.range)?,
            Op::Txn(inner) => shape(inner, left)?,
        }
    }
    Ok(())
}

/// The keys one list of operations may change.
#[derive(Default)]
struct Changes<'a> {
    puts: BTreeSet<&'a Bytes>,
    deletes: Vec<&'a KeyRange>,
}

impl<'a> Changes<'a> {
    fn of(ops: &'a [Op]) -> Result<Self, Error> {
        let mut all = Changes::default();
        for op in ops {
            let mut these = Changes::default();
            match op {
                Op::Range(_) => continue,
                Op::Put(PutRequest { key, .. }) => {
                    these.puts.insert(key);
                }
                Op::Delete(DeleteRequest { range, .. }) => these.deletes.push(range),
                Op::Txn(inner) => {
                    // the branches exclude each other, so both may change the same key
                    these = Changes::of(&inner.success)?;
                    let other = Changes::of(&inner.failure)?;
                    these.puts.extend(other.puts);
                    these.deletes.extend(other.deletes);
                }
            }
            if all.clashes(&these) {
                return Err(Error::DuplicateKey);
            }
            all.puts.extend(these.puts);
            all.deletes.extend(these.deletes);
        }
        Ok(all)
    }

    /// Two deletes of one key are no clash: the second finds nothing.
    fn clashes(&self, other: &Changes) -> bool {
        other.puts.iter().any(|key| self.puts.contains(key) || covers(&self.deletes, key))
            || self.puts.iter().any(|key| covers(&other.deletes, key))
    }
}

fn covers(ranges: &[&KeyRange], key: &Bytes) -> bool {
    ranges.iter().any(|range| range.contains(key))
}
