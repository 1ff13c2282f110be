//! Reading ranges, large ones page by page at one revision.

use super::{Shared, convert};
use crate::StoreError;
use bytes::{BufMut, Bytes, BytesMut};
use mvcc::{RangeRequest, RangeResponse, SortOrder, SortTarget};

/// Pairs a page. Few enough that etcd answers others in between, many enough that most lists are one request.
pub(super) const PAGE: i64 = 500;

/// How often a list begins anew because a compaction overtook its pages.
const ATTEMPTS: usize = 3;

/// Reads a range.
pub(super) async fn range(shared: &Shared, request: RangeRequest) -> Result<RangeResponse, StoreError> {
    if !pageable(&request) {
        return one(shared, &request).await;
    }
    let mut attempt = 1;
    loop {
        match paged(shared, &request).await {
            Err(StoreError::Compacted { .. }) if request.revision == 0 && attempt < ATTEMPTS => attempt += 1,
            result => return result,
        }
    }
}

/// Whether pages in key order put together are the answer.
fn pageable(request: &RangeRequest) -> bool {
    request.range.end.is_some()
        && !request.count_only
        && (request.limit == 0 || request.limit > PAGE)
        && request.target == SortTarget::Key
        && request.order != SortOrder::Descend
}

async fn paged(shared: &Shared, request: &RangeRequest) -> Result<RangeResponse, StoreError> {
    let mut page = request.clone();
    page.limit = PAGE;
    let mut all = one(shared, &page).await?;
    if page.revision == 0 {
        page.revision = all.revision;
    }
    while all.more
        && (request.limit == 0 || i64::try_from(all.kvs.len()).is_ok_and(|len| len < request.limit))
    {
        let Some(last) = all.kvs.last() else { break };
        page.range.key = after(&last.key);
        let next = one(shared, &page).await?;
        all.more = next.more;
        all.kvs.extend(next.kvs);
    }
    if let Some(limit) =
        usize::try_from(request.limit).ok().filter(|limit| *limit > 0 && all.kvs.len() > *limit)
    {
        all.kvs.truncate(limit);
        all.more = true;
    }
    Ok(all)
}

/// The first key after `key`.
fn after(key: &[u8]) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.put_slice(key);
    next.put_u8(0);
    next.freeze()
}

async fn one(shared: &Shared, request: &RangeRequest) -> Result<RangeResponse, StoreError> {
    let answer = shared
        .call(true, |mut to| {
            let (key, options) = convert::range(request);
            async move { to.kv.get(key, Some(options)).await }
        })
        .await?;
    Ok(convert::range_response(answer))
}
