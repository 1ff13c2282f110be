//! Reading ranges, large ones page by page at one revision.

use super::{Shared, convert};
use crate::StoreError;
use crate::pages::Pages;
use mvcc::{RangeRequest, RangeResponse};

/// How often a list begins anew because a compaction overtook its pages.
const ATTEMPTS: usize = 3;

/// Reads a range.
pub(super) async fn range(shared: &Shared, request: RangeRequest) -> Result<RangeResponse, StoreError> {
    if !Pages::can_read(&request) {
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

async fn paged(shared: &Shared, request: &RangeRequest) -> Result<RangeResponse, StoreError> {
    let mut pages = Pages::new(request);
    let mut all = one(shared, &pages.next()).await?;
    let limit = usize::try_from(request.limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    let mut is_last = pages.took(&all);
    while !is_last && all.kvs.len() < limit {
        let next = one(shared, &pages.next()).await?;
        is_last = pages.took(&next);
        all.more = next.more;
        all.kvs.extend(next.kvs);
    }
    if all.kvs.len() > limit {
        all.kvs.truncate(limit);
        all.more = true;
    }
    Ok(all)
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
