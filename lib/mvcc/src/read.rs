//! Executing a read over the index: snapshot, filters, order, limit.

use crate::history::{Entry, History};
use crate::{Error, KeyRange, KeyValue, RangeRequest, RangeResponse, Revision, SortOrder, SortTarget};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Every key with its history, in key order.
pub(crate) type Index = BTreeMap<Bytes, History>;

/// The histories of the keys in `range`.
pub(crate) fn select<'a>(
    index: &'a Index,
    range: &KeyRange,
) -> impl Iterator<Item = (&'a Bytes, &'a History)> {
    index.range::<[u8], _>(bounds(range))
}

/// Bounds that `BTreeMap::range` accepts: it panics on a start after the end.
pub(crate) fn bounds(range: &KeyRange) -> (Bound<&[u8]>, Bound<&[u8]>) {
    let key = range.key.as_ref();
    let end = match &range.end {
        None => Bound::Included(key),
        Some(end) if end.as_ref() == [0] => Bound::Unbounded,
        Some(end) if end.as_ref() < key => Bound::Excluded(key),
        Some(end) => Bound::Excluded(end.as_ref()),
    };
    (Bound::Included(key), end)
}

/// Refuses a revision that is gone or to come; 0 is the newest.
pub(crate) fn check_revision(
    asked: Revision,
    newest: Revision,
    compacted: Revision,
) -> Result<Revision, Error> {
    if asked <= 0 {
        Ok(newest)
    } else if asked > newest {
        Err(Error::FutureRevision { newest })
    } else if asked < compacted {
        Err(Error::Compacted { oldest: compacted })
    } else {
        Ok(asked)
    }
}

/// Reads `request` at `revision`; `newest` goes into the answer's header.
pub(crate) fn range(
    index: &Index,
    request: &RangeRequest,
    revision: Revision,
    newest: Revision,
) -> RangeResponse {
    let mut response = RangeResponse { revision: newest, kvs: Vec::new(), more: false, count: 0 };
    let seen = select(index, &request.range).filter_map(|(key, history)| Some((key, history.at(revision)?)));
    if request.count_only {
        response.count = i64::try_from(seen.count()).unwrap_or(i64::MAX);
        return response;
    }
    let limit = usize::try_from(request.limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    let sorted = request.order != SortOrder::None || request.target != SortTarget::Key;
    for (key, entry) in seen {
        response.count += 1;
        if !passes(request, entry) {
            continue;
        }
        if !sorted && response.kvs.len() == limit {
            response.more = true;
            continue;
        }
        response.kvs.push(entry.to_kv(key));
    }
    if sorted {
        sort(&mut response.kvs, request);
        response.more = response.kvs.len() > limit;
        response.kvs.truncate(limit);
    }
    if request.keys_only {
        for kv in &mut response.kvs {
            kv.value = Bytes::new();
        }
    }
    response
}

fn passes(request: &RangeRequest, entry: &Entry) -> bool {
    let within =
        |at: Revision, min: Revision, max: Revision| (min == 0 || at >= min) && (max == 0 || at <= max);
    within(entry.modified, request.min_mod_revision, request.max_mod_revision)
        && within(entry.created, request.min_create_revision, request.max_create_revision)
}

/// A target other than the key without an order means ascending, as in etcd.
fn sort(kvs: &mut [KeyValue], request: &RangeRequest) {
    kvs.sort_by(|a, b| {
        let order = match request.target {
            SortTarget::Key => a.key.cmp(&b.key),
            SortTarget::Version => a.version.cmp(&b.version),
            SortTarget::Create => a.create_revision.cmp(&b.create_revision),
            SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
            SortTarget::Value => a.value.cmp(&b.value),
        };
        if request.order == SortOrder::Descend { order.reverse() } else { order }
    });
}
