//! Cases with a name: etcd's rules that a random test may not reach or not explain.

use crate::*;

fn put(key: &str, value: &str) -> Op {
    Op::Put(PutRequest::new(key.to_owned(), value.to_owned()))
}

fn delete(range: KeyRange) -> Op {
    Op::Delete(DeleteRequest { range, prev_kv: false })
}

fn success(ops: impl IntoIterator<Item = Op>) -> Txn {
    Txn { success: ops.into_iter().collect(), ..Txn::default() }
}

fn nested(txn: Txn) -> Op {
    Op::Txn(Box::new(txn))
}

#[test]
fn revisions_begin_at_one_and_only_changes_make_them() {
    let mut store = Store::new();
    assert_eq!(store.revision(), 1);
    assert_eq!(store.txn(&Txn::reads([RangeRequest::key("a")])).unwrap().revision, 1);
    assert_eq!(store.delete(&DeleteRequest::key("a")).unwrap().revision, 1);
    assert_eq!(store.put(&PutRequest::new("a", "1")).unwrap().revision, 2);
    assert_eq!(store.txn(&success([put("b", "1"), put("c", "1")])).unwrap().revision, 3);
    assert_eq!(store.delete(&DeleteRequest::prefix("")).unwrap_err(), Error::EmptyKey);
    assert_eq!(store.delete(&DeleteRequest::prefix("b")).unwrap().revision, 4);
}

#[test]
fn a_refused_transaction_leaves_nothing_behind() {
    let mut store = Store::new();
    store.put(&PutRequest::new("a", "1")).unwrap();
    let refused = success([
        put("b", "1"),
        Op::Delete(DeleteRequest::key("a")),
        // found only after the first two
        nested(success([Op::Put(PutRequest { lease: 5, ..PutRequest::new("c", "1") })])),
    ]);
    assert_eq!(store.txn(&refused), Err(Error::LeaseNotFound));
    assert_eq!(store.revision(), 2);
    assert_eq!(store.range(&RangeRequest::prefix("a")).unwrap().count, 1);
    assert_eq!(store.range(&RangeRequest::key("b")).unwrap().count, 0);
}

#[test]
fn a_key_is_changed_once() {
    let mut store = Store::new();
    let refused = |store: &mut Store, txn: Txn| assert_eq!(store.txn(&txn), Err(Error::DuplicateKey));
    refused(&mut store, success([put("a", "1"), put("a", "2")]));
    refused(&mut store, success([put("a", "1"), delete(KeyRange::key("a"))]));
    refused(&mut store, success([delete(KeyRange::prefix("a")), put("ab", "1")]));
    refused(&mut store, success([put("a", "1"), nested(success([put("a", "2")]))]));
    refused(&mut store, success([nested(success([put("a", "1")])), nested(success([put("a", "2")]))]));
    // also in the branch not taken
    let failure = Txn { failure: vec![put("a", "1"), put("a", "2")], ..Txn::default() };
    refused(&mut store, failure);
    // branches exclude each other; deletes do no harm to each other
    let either = Txn {
        compare: vec![Compare::exists("a")],
        success: vec![put("a", "1")],
        failure: vec![put("a", "2"), delete(KeyRange::key("b"))],
    };
    store
        .txn(&success([nested(either.clone()), delete(KeyRange::prefix("c")), delete(KeyRange::key("c"))]))
        .unwrap();
    let mixed =
        Txn { success: vec![put("a", "1")], failure: vec![delete(KeyRange::key("a"))], ..Txn::default() };
    store.txn(&success([nested(mixed)])).unwrap();
}

#[test]
fn limits_of_a_transaction() {
    let mut store = Store::new();
    let many = |n: usize| (0..n).map(|i| put(&format!("k{i}"), ""));
    store.txn(&success(many(128))).unwrap();
    assert_eq!(store.txn(&success(many(129))), Err(Error::TooManyOps));
    let compares = Txn { compare: vec![Compare::absent("a"); 129], ..Txn::default() };
    assert_eq!(store.txn(&compares), Err(Error::TooManyOps));
    // an inner one gets what the outer one leaves
    let within = |inner: usize| {
        let mut ops: Vec<Op> = (0..99).map(|i| put(&format!("o{i}"), "")).collect();
        ops.push(nested(success(many(inner))));
        success(ops)
    };
    store.txn(&within(28)).unwrap();
    assert_eq!(store.txn(&within(29)), Err(Error::TooManyOps));
}

#[test]
fn reads_see_the_writes_before_them() {
    let mut store = Store::new();
    store.put(&PutRequest::new("a", "1")).unwrap();
    let read = || Op::Range(RangeRequest::prefix("a"));
    let past = Op::Range(RangeRequest { revision: 2, ..RangeRequest::prefix("a") });
    let answer = store.txn(&success([read(), put("a", "2"), put("ab", "3"), read(), past])).unwrap();
    let seen: Vec<Vec<&[u8]>> =
        answer.responses.iter().map(|r| r.kvs().iter().map(|kv| kv.value.as_ref()).collect()).collect();
    let none: Vec<&[u8]> = vec![];
    assert_eq!(seen, [vec![b"1".as_ref()], none.clone(), none, vec![b"2", b"3"], vec![b"1"]]);
    let revisions: Vec<_> = answer
        .responses
        .iter()
        .map(|response| match response {
            OpResponse::Range(range) => range.revision,
            OpResponse::Put(put) => put.revision,
            _ => 0,
        })
        .collect();
    assert_eq!(revisions, [2, 3, 3, 3, 3]);
}

#[test]
fn kept_values_and_leases() {
    let mut store = Store::new();
    store.lease_grant(7, 10, std::time::Duration::ZERO).unwrap();
    let leased = PutRequest { lease: 7, ..PutRequest::new("a", "1") };
    store.put(&leased).unwrap();
    store.put(&PutRequest { ignore_value: true, ..PutRequest::new("a", "") }).unwrap();
    let kv = store.range(&RangeRequest::key("a")).unwrap().kvs.remove(0);
    assert_eq!((kv.value.as_ref(), kv.lease, kv.version), (b"1".as_ref(), 0, 2));
    store.put(&leased).unwrap();
    store.put(&PutRequest { ignore_lease: true, ..PutRequest::new("a", "2") }).unwrap();
    let kv = store.range(&RangeRequest::key("a")).unwrap().kvs.remove(0);
    assert_eq!((kv.value.as_ref(), kv.lease), (b"2".as_ref(), 7));
    let keep = PutRequest { ignore_value: true, ..PutRequest::new("a", "3") };
    assert_eq!(store.put(&keep), Err(Error::ValueProvided));
    let keep = PutRequest { ignore_lease: true, lease: 7, ..PutRequest::new("a", "3") };
    assert_eq!(store.put(&keep), Err(Error::LeaseProvided));
}

#[test]
fn compaction_keeps_what_can_still_be_seen() {
    let mut store = Store::new();
    for (key, value) in [("a", "1"), ("b", "1"), ("a", "2"), ("c", "1")] {
        store.put(&PutRequest::new(key, value)).unwrap();
    }
    store.delete(&DeleteRequest::key("b")).unwrap();
    assert_eq!(store.revision(), 6);
    store.compact(4).unwrap();
    let at = |store: &Store, revision| store.range(&RangeRequest { revision, ..RangeRequest::prefix("a") });
    assert_eq!(at(&store, 4).unwrap().kvs[0].value, "2");
    assert_eq!(at(&store, 3), Err(Error::Compacted { oldest: 4 }));
    let b = RangeRequest { revision: 5, ..RangeRequest::key("b") };
    assert_eq!(store.range(&b).unwrap().count, 1, "deleted only later");
    assert_eq!(store.compact(4), Err(Error::Compacted { oldest: 4 }));
    assert_eq!(store.compact(7), Err(Error::FutureRevision { newest: 6 }));
    store.compact(6).unwrap();
    store.put(&PutRequest::new("d", "1")).unwrap();
    store.compact(7).unwrap();
    assert_eq!(store.index.len(), 3, "nothing is kept of b");
    assert_eq!(store.log.len(), 1);
}
