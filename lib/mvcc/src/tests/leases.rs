//! Leases in virtual time.

use crate::*;
use std::time::Duration;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn leased(key: &str, lease: i64) -> PutRequest {
    PutRequest { lease, ..PutRequest::new(key.to_owned(), "x") }
}

fn keys(store: &Store) -> Vec<String> {
    let whole = RangeRequest::new(KeyRange { key: "\0".into(), end: Some("\0".into()) });
    store.range(&whole).unwrap().kvs.iter().map(|kv| String::from_utf8_lossy(&kv.key).into_owned()).collect()
}

#[test]
fn keys_go_at_one_revision_when_the_time_is_up() {
    let mut store = Store::new();
    let (id, ttl) = store.lease_grant(0, 10, at(0)).unwrap();
    assert_eq!(ttl, 10);
    for key in ["a", "b"] {
        store.put(&leased(key, id)).unwrap();
    }
    store.put(&PutRequest::new("c", "")).unwrap();
    assert_eq!(store.next_expiry(), Some(at(10)));
    assert_eq!(store.expire_leases(at(9)), [0i64; 0]);
    assert_eq!(store.expire_leases(at(10)), [id]);
    assert_eq!(keys(&store), ["c"]);
    assert_eq!(store.revision(), 5);
    assert_eq!(store.put(&leased("a", id)), Err(Error::LeaseNotFound));
    assert_eq!(store.next_expiry(), None);
}

#[test]
fn of_two_faults_a_lone_put_names_the_lease_and_a_transaction_the_key() {
    let mut store = Store::new();
    let put = PutRequest { lease: 7, ignore_value: true, ..PutRequest::new("absent", "") };
    assert_eq!(store.put(&put), Err(Error::LeaseNotFound));
    let txn = Txn { success: vec![Op::Put(put)], ..Txn::default() };
    assert_eq!(store.txn(&txn), Err(Error::KeyNotFound));
}

#[test]
fn a_lease_without_keys_ends_without_a_revision() {
    let mut store = Store::new();
    let (id, _) = store.lease_grant(5, 3, at(0)).unwrap();
    assert_eq!(store.lease_revoke(id), Ok(1));
    assert_eq!(store.lease_revoke(id), Err(Error::LeaseNotFound));
    assert_eq!(store.lease_keep_alive(id, at(0)), Err(Error::LeaseNotFound));
    assert_eq!(store.lease_info(id, at(0)), Err(Error::LeaseNotFound));
}

#[test]
fn keep_alive_starts_the_time_anew() {
    let mut store = Store::new();
    store.lease_grant(1, 10, at(0)).unwrap();
    assert_eq!(store.lease_keep_alive(1, at(8)), Ok(10));
    assert!(store.expire_leases(at(17)).is_empty());
    let info = store.lease_info(1, at(17)).unwrap();
    assert_eq!((info.granted_ttl, info.remaining), (10, 1));
    let info = store.lease_info(1, at(17) + Duration::from_millis(500)).unwrap();
    assert_eq!(info.remaining, 1, "rounded up");
    assert_eq!(store.expire_leases(at(18)), [1]);
}

#[test]
fn ids_and_bounds() {
    let mut store = Store::new();
    store.lease_grant(1, 5, at(0)).unwrap();
    assert_eq!(store.lease_grant(1, 5, at(0)), Err(Error::LeaseExists));
    assert_eq!(store.lease_grant(0, 5, at(0)), Ok((2, 5)), "a free one is chosen");
    assert_eq!(store.lease_grant(3, 0, at(0)), Ok((3, 2)), "raised to the shortest");
    assert_eq!(store.lease_grant(4, -9, at(0)), Ok((4, 2)));
    assert_eq!(store.lease_grant(5, 9_000_000_001, at(0)), Err(Error::LeaseTtlTooLarge));
    assert_eq!(store.leases().collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[test]
fn a_key_belongs_to_its_last_lease() {
    let mut store = Store::new();
    store.lease_grant(1, 5, at(0)).unwrap();
    store.lease_grant(2, 50, at(0)).unwrap();
    store.put(&leased("moved", 1)).unwrap();
    store.put(&leased("moved", 2)).unwrap();
    store.put(&leased("freed", 1)).unwrap();
    store.put(&PutRequest::new("freed", "")).unwrap();
    store.put(&leased("deleted", 1)).unwrap();
    store.delete(&DeleteRequest::key("deleted")).unwrap();
    store.put(&PutRequest::new("deleted", "again")).unwrap();
    assert!(store.lease_info(1, at(0)).unwrap().keys.is_empty());
    assert_eq!(store.expire_leases(at(5)), [1]);
    assert_eq!(keys(&store), ["deleted", "freed", "moved"]);
    assert_eq!(store.lease_info(2, at(5)).unwrap().keys, ["moved"]);
}

#[test]
fn the_longest_overdue_goes_first() {
    let mut store = Store::new();
    store.lease_grant(1, 9, at(0)).unwrap();
    store.lease_grant(2, 5, at(0)).unwrap();
    store.lease_grant(3, 7, at(0)).unwrap();
    assert_eq!(store.expire_leases(at(100)), [2, 3, 1]);
}
