//! Any requests in any order: the store and the naive one answer alike, refusals included.

use super::naive::Naive;
use crate::*;
use bytes::Bytes;
use proptest::prelude::*;
use std::time::Duration;

/// Small, so that nested transactions reach it.
const MAX_OPS: usize = 4;

#[derive(Debug, Clone)]
enum Step {
    Txn(Txn),
    Range(RangeRequest),
    Compact(i64),
    Watch(WatchRequest),
    Grant(i64, i64),
    KeepAlive(i64),
    Revoke(i64),
    Wait(u64),
}

fn key() -> impl Strategy<Value = Bytes> {
    prop_oneof![20 => (0..5u8).prop_map(|k| Bytes::from(vec![b'a' + k])), 1 => Just(Bytes::new())]
}

fn range() -> impl Strategy<Value = KeyRange> {
    let end = prop_oneof![
        4 => Just(None),
        3 => (0..6u8).prop_map(|k| Some(Bytes::from(vec![b'a' + k]))),
        1 => Just(Some(Bytes::from_static(&[0]))),
    ];
    (key(), end).prop_map(|(key, end)| KeyRange { key, end })
}

fn value() -> impl Strategy<Value = Bytes> {
    (0..4u8).prop_map(|v| Bytes::from(vec![b'0'; usize::from(v)]))
}

/// A revision relative to where the store may be; resolved against small absolute numbers.
fn revision() -> impl Strategy<Value = i64> {
    prop_oneof![3 => Just(0i64), 2 => 1..30i64]
}

fn range_request() -> impl Strategy<Value = RangeRequest> {
    let target = prop_oneof![
        4 => Just(SortTarget::Key),
        1 => Just(SortTarget::Version),
        1 => Just(SortTarget::Create),
        1 => Just(SortTarget::Mod),
        1 => Just(SortTarget::Value),
    ];
    let order =
        prop_oneof![2 => Just(SortOrder::None), 1 => Just(SortOrder::Ascend), 1 => Just(SortOrder::Descend)];
    let bound = || prop_oneof![6 => Just(0i64), 1 => 1..20i64];
    let flag = || prop::bool::weighted(0.1);
    (range(), 0..4i64, revision(), order, target, (flag(), flag()), (bound(), bound(), bound(), bound()))
        .prop_map(|(range, limit, revision, order, target, (keys_only, count_only), (a, b, c, d))| {
            RangeRequest {
                range,
                limit,
                revision,
                order,
                target,
                keys_only,
                count_only,
                min_mod_revision: a,
                max_mod_revision: b,
                min_create_revision: c,
                max_create_revision: d,
            }
        })
}

fn put() -> impl Strategy<Value = PutRequest> {
    let flag = || prop::bool::weighted(0.1);
    let lease = prop_oneof![4 => Just(0i64), 2 => 1..4i64];
    (key(), value(), lease, any::<bool>(), flag(), flag()).prop_map(
        |(key, value, lease, prev_kv, ignore_value, ignore_lease)| PutRequest {
            key,
            value,
            lease,
            prev_kv,
            ignore_value,
            ignore_lease,
        },
    )
}

fn compare() -> impl Strategy<Value = Compare> {
    let target = prop_oneof![
        (0..4i64).prop_map(CompareTarget::Version),
        (0..20i64).prop_map(CompareTarget::Create),
        (0..20i64).prop_map(CompareTarget::Mod),
        value().prop_map(CompareTarget::Value),
        (0..3i64).prop_map(CompareTarget::Lease),
    ];
    let result = prop_oneof![
        Just(CompareResult::Equal),
        Just(CompareResult::Greater),
        Just(CompareResult::Less),
        Just(CompareResult::NotEqual),
    ];
    (range(), target, result).prop_map(|(range, target, result)| Compare { range, target, result })
}

fn txn() -> impl Strategy<Value = Txn> {
    let flat = prop_oneof![
        2 => range_request().prop_map(Op::Range),
        5 => put().prop_map(Op::Put),
        2 => (range(), any::<bool>()).prop_map(|(range, prev_kv)| Op::Delete(DeleteRequest { range, prev_kv })),
    ];
    let op = flat.prop_recursive(2, 8, 3, |inner| {
        let ops = || prop::collection::vec(inner.clone(), 0..3);
        (prop::collection::vec(compare(), 0..2), ops(), ops())
            .prop_map(|(compare, success, failure)| Op::Txn(Box::new(Txn { compare, success, failure })))
    });
    let ops = || prop::collection::vec(op.clone(), 0..4);
    (prop::collection::vec(compare(), 0..3), ops(), ops()).prop_map(|(compare, success, failure)| Txn {
        compare,
        success,
        failure,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let flag = || prop::bool::weighted(0.2);
    let watch = (range(), 0..25i64, any::<bool>(), flag(), flag()).prop_map(
        |(range, start_revision, prev_kv, no_put, no_delete)| WatchRequest {
            range,
            start_revision,
            prev_kv,
            progress_notify: false,
            no_put,
            no_delete,
        },
    );
    prop_oneof![
        12 => txn().prop_map(Step::Txn),
        4 => put().prop_map(|put| Step::Txn(Txn { success: vec![Op::Put(put)], ..Txn::default() })),
        4 => range_request().prop_map(Step::Range),
        1 => (0..30i64).prop_map(Step::Compact),
        2 => watch.prop_map(Step::Watch),
        2 => (0..4i64, 0..6i64).prop_map(|(id, ttl)| Step::Grant(id, ttl)),
        1 => (1..4i64).prop_map(Step::KeepAlive),
        1 => (1..4i64).prop_map(Step::Revoke),
        2 => (0..3000u64).prop_map(Step::Wait),
    ]
}

/// A watch followed in both.
struct Pair {
    watcher: Watcher,
    request: WatchRequest,
    /// First revision the naive side has not told.
    next: i64,
    over: bool,
}

impl Pair {
    /// Everything the store tells now, event by event, or why it cannot.
    fn told(&mut self, store: &Store) -> Result<Vec<Event>, Error> {
        let mut events = Vec::new();
        while let Some(message) = store.poll(&mut self.watcher, 2)? {
            assert!(!message.events.is_empty());
            assert!(message.events.iter().all(|event| event.kv.mod_revision <= message.revision));
            events.extend(message.events);
        }
        // within a revision the order is that of the operations; the naive side has that of the keys
        events.sort_by(|a, b| (a.kv.mod_revision, &a.kv.key).cmp(&(b.kv.mod_revision, &b.kv.key)));
        Ok(events)
    }

    fn expected(&mut self, naive: &Naive, lost: &super::naive::Copy) -> Result<Vec<Event>, Error> {
        if self.next < naive.compacted {
            return Err(Error::Compacted { oldest: naive.compacted });
        }
        let mut events = Vec::new();
        while self.next <= naive.revision() {
            let all = naive.events(self.next, lost);
            events.extend(all.into_iter().filter(|event| self.request.range.contains(&event.kv.key)));
            self.next += 1;
        }
        events.retain(|event| match event.kind {
            EventKind::Put => !self.request.no_put,
            EventKind::Delete => !self.request.no_delete,
        });
        if !self.request.prev_kv {
            events.iter_mut().for_each(|event| event.prev = None);
        }
        Ok(events)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn the_store_is_the_naive_one(steps in prop::collection::vec(step(), 1..50)) {
        let limits = Limits { max_txn_ops: MAX_OPS, min_lease_ttl: 2 };
        let mut store = Store::with_limits(limits);
        let mut naive = Naive::new(MAX_OPS);
        let mut now = Duration::ZERO;
        let mut watches: Vec<Pair> = Vec::new();
        // the copy just below the oldest one: what a deletion at the boundary deleted
        let mut lost = super::naive::Copy::new();
        for step in steps {
            match step {
                Step::Txn(txn) => prop_assert_eq!(store.txn(&txn), naive.txn(&txn)),
                Step::Range(request) => prop_assert_eq!(store.range(&request), naive.range(&request)),
                Step::Compact(revision) => {
                    if let Some(copy) = naive.copies.get(&(revision - 1))
                        && revision > naive.compacted
                        && revision <= naive.revision()
                    {
                        lost = copy.clone();
                    }
                    prop_assert_eq!(store.compact(revision).map(drop), naive.compact(revision));
                }
                Step::Watch(request) => {
                    let watcher = store.watch(request.clone());
                    let next = if request.start_revision > 0 { request.start_revision.max(2) } else { naive.revision() + 1 };
                    watches.push(Pair { watcher, request, next, over: false });
                }
                Step::Grant(id, ttl) => {
                    // only the store can choose an id, so that is left to it
                    let id = if id == 0 { 9 } else { id };
                    let expected = match naive.leases.contains_key(&id) {
                        true => Err(Error::LeaseExists),
                        false => {
                            let ttl = ttl.max(2);
                            naive.leases.insert(id, (ttl, now + Duration::from_secs(ttl as u64)));
                            Ok((id, ttl))
                        }
                    };
                    prop_assert_eq!(store.lease_grant(id, ttl, now), expected);
                }
                Step::KeepAlive(id) => {
                    let expected = naive.leases.get_mut(&id).ok_or(Error::LeaseNotFound).map(|(ttl, end)| {
                        *end = now + Duration::from_secs(*ttl as u64);
                        *ttl
                    });
                    prop_assert_eq!(store.lease_keep_alive(id, now), expected);
                }
                Step::Revoke(id) => prop_assert_eq!(store.lease_revoke(id), naive.revoke(id)),
                Step::Wait(milliseconds) => {
                    now += Duration::from_millis(milliseconds);
                    prop_assert_eq!(store.expire_leases(now), naive.expire(now));
                }
            }
            prop_assert_eq!(store.revision(), naive.revision());
            prop_assert_eq!(store.compacted(), naive.compacted);
            prop_assert_eq!(store.next_expiry(), naive.leases.values().map(|(_, end)| *end).min());
            // some watchers lag
            for watch in watches.iter_mut().skip(usize::from(store.revision() % 3 == 0)).filter(|watch| !watch.over) {
                let (told, expected) = (watch.told(&store), watch.expected(&naive, &lost));
                watch.over = expected.is_err();
                prop_assert_eq!(told, expected);
            }
        }
        let whole = |revision| RangeRequest { revision, ..RangeRequest::new(KeyRange { key: "a".into(), end: Some("\0".into()) }) };
        for revision in naive.compacted.max(1)..=naive.revision() {
            prop_assert_eq!(store.range(&whole(revision)), naive.range(&whole(revision)));
        }
    }
}
