//! Large ranges are read page by page at one revision, so that neither side ever holds one whole in a message.
//!
//! A page is cut by its size in bytes, not by a number of pairs: etcd walks over the whole rest of the range for every page
//! (3.4 counts it), so that small pages of a large range cost more than the pairs themselves.

use bytes::{BufMut, Bytes, BytesMut};
use mvcc::{RangeRequest, RangeResponse, Revision, SortOrder, SortTarget};

/// About how many bytes a page should have: what a reader holds at once, and some fifty milliseconds of the server's time.
const BYTES: usize = 24 << 20;

/// Pairs of the first page, before their size is known.
const FIRST: i64 = 500;

/// Pairs of a page at least.
const FEWEST: i64 = 50;

/// Pairs of a page at most.
pub(crate) const MOST: i64 = 40_000;

/// The requests that read a range.
#[derive(Debug)]
pub(crate) struct Pages {
    /// The next one, but for its limit.
    request: RangeRequest,
    limit: i64,
    begun: bool,
}

impl Pages {
    /// Whether pages in the order of keys, put together, are the answer to a request.
    pub(crate) fn can_read(request: &RangeRequest) -> bool {
        request.range.end.is_some()
            && !request.count_only
            && (request.limit == 0 || request.limit > MOST)
            && request.target == SortTarget::Key
            && request.order != SortOrder::Descend
    }

    /// Reads what [`Pages::can_read`]; the request's own limit is the caller's to keep.
    pub(crate) fn new(request: &RangeRequest) -> Self {
        Self { request: request.clone(), limit: FIRST, begun: false }
    }

    /// Whether no page has been taken yet.
    pub(crate) fn begins(&self) -> bool {
        !self.begun
    }

    /// The revision of all pages; 0 before the first.
    pub(crate) fn revision(&self) -> Revision {
        self.request.revision
    }

    /// The request for the next page.
    pub(crate) fn next(&self) -> RangeRequest {
        RangeRequest { limit: self.limit, ..self.request.clone() }
    }

    /// Takes note of a page; whether it was the last.
    pub(crate) fn took(&mut self, page: &RangeResponse) -> bool {
        self.begun = true;
        if self.request.revision == 0 {
            self.request.revision = page.revision;
        }
        let Some(last) = page.kvs.last().filter(|_| page.more) else { return true };
        self.request.range.key = after(&last.key);
        let bytes: usize = page.kvs.iter().map(|kv| kv.key.len() + kv.value.len()).sum();
        let average = bytes / page.kvs.len().max(1);
        self.limit = i64::try_from(BYTES / average.max(1)).unwrap_or(MOST).clamp(FEWEST, MOST);
        false
    }
}

/// The first key after `key`.
fn after(key: &[u8]) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.put_slice(key);
    next.put_u8(0);
    next.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mvcc::{KeyRange, PutRequest, Store};

    /// Reads all of `/a/` in pages; the pages' sizes in pairs, and the keys.
    fn read(store: &mut Store, meanwhile: impl Fn(&mut Store)) -> (Vec<usize>, Vec<Bytes>) {
        let mut pages = Pages::new(&RangeRequest::new(KeyRange::prefix("/a/")));
        let (mut sizes, mut keys) = (Vec::new(), Vec::new());
        assert!(pages.begins());
        loop {
            let page = store.range(&pages.next()).unwrap();
            sizes.push(page.kvs.len());
            let last = pages.took(&page);
            assert!(!pages.begins());
            keys.extend(page.kvs.into_iter().map(|kv| kv.key));
            if last {
                return (sizes, keys);
            }
            meanwhile(store);
        }
    }

    fn store(pairs: usize, value: usize) -> Store {
        let mut store = Store::new();
        for number in 0..pairs {
            store.put(&PutRequest::new(format!("/a/{number:06}"), vec![b'v'; value])).unwrap();
        }
        store
    }

    #[test]
    fn pages_grow_to_their_size_in_bytes() {
        assert_eq!(read(&mut store(0, 0), |_| ()).0, [0]);
        assert_eq!(read(&mut store(500, 10), |_| ()).0, [500]);
        assert_eq!(read(&mut store(501, 10), |_| ()).0, [500, 1]);
        assert_eq!(read(&mut store(45_000, 10), |_| ()).0, [500, 40_000, 4_500]);
        let (sizes, keys) = read(&mut store(8_000, 8_000), |_| ());
        assert_eq!(sizes, [500, 3_142, 3_142, 1_216]);
        assert!(keys.is_sorted() && keys.len() == 8_000);
        assert_eq!(read(&mut store(600, 400_000), |_| ()).0, [500, 62, 38], "a page is never tiny");
    }

    #[test]
    fn all_pages_are_of_the_first_ones_revision() {
        let add = |store: &mut Store| {
            store.put(&PutRequest::new("/a/zzz", "late")).unwrap();
        };
        let (sizes, keys) = read(&mut store(600, 1), add);
        assert_eq!((sizes, keys.len()), (vec![500, 100], 600));
    }
}
