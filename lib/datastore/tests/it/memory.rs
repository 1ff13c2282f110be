//! What only the memory backend has: sharing, going on from a given store.

use datastore::Datastore;
use datastore::memory::MemoryStore;
use futures::FutureExt;
use mvcc::{Op, PutRequest, RangeRequest, Store, Txn};

fn put(key: &str) -> Txn {
    let op = Op::Put(PutRequest::new(key.to_owned(), "x"));
    Txn { success: vec![op], ..Txn::default() }
}

#[tokio::test]
async fn clones_share_and_stores_continue() {
    let mut inner = Store::new();
    inner.put(&PutRequest::new("/k", "1")).unwrap();
    let store = MemoryStore::with(inner);
    let other = store.clone();
    other.txn(put("/l")).await.unwrap();
    assert_eq!(store.range(RangeRequest::prefix("/")).await.unwrap().count, 2);
    assert_eq!(store.inspect(Store::revision), 3);
}

#[tokio::test]
async fn a_request_that_is_dropped_unpolled_does_not_happen() {
    let store = MemoryStore::new();
    drop(store.txn(put("/k")));
    assert_eq!(store.inspect(Store::revision), 1);
    assert!(store.txn(put("/k")).now_or_never().is_some(), "and one that is polled is done at once");
}
