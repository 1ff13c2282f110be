//! What must hold for any requests in any order: old revisions never change, and a watch tells how one becomes the next.

#![allow(clippy::expect_used, clippy::panic)] // a broken expectation is a finding

use mvcc::{
    Compare, CompareResult, CompareTarget, DeleteRequest, Error, EventKind, KeyRange, KeyValue, Limits, Op,
    PutRequest, RangeRequest, Store, Txn, WatchRequest,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// More steps show nothing new, and old revisions are compared one by one.
const STEPS: usize = 200;

type Copy = BTreeMap<Vec<u8>, KeyValue>;

/// Reads requests out of bytes: each byte decides the next thing.
struct Source<'a>(std::slice::Iter<'a, u8>);

impl Source<'_> {
    fn byte(&mut self) -> u8 {
        self.0.next().copied().unwrap_or(0)
    }

    /// A number below `bound`.
    fn below(&mut self, bound: u8) -> u8 {
        self.byte() % bound
    }

    fn flag(&mut self) -> bool {
        self.below(4) == 0
    }

    /// One of a few keys, sometimes the empty one, which is none.
    fn key(&mut self) -> Vec<u8> {
        match self.below(9) {
            0 => Vec::new(),
            1 => vec![0xff],
            number => vec![b'a' + number / 2],
        }
    }

    fn range(&mut self) -> KeyRange {
        match self.below(4) {
            0 => KeyRange::prefix(self.key()),
            1 => KeyRange { key: self.key().into(), end: Some(self.key().into()) },
            2 => KeyRange { key: vec![0].into(), end: Some(vec![0].into()) },
            _ => KeyRange::key(self.key()),
        }
    }

    fn revision(&mut self) -> i64 {
        i64::from(self.byte()) - 2
    }

    fn put(&mut self) -> PutRequest {
        let mut put = PutRequest::new(self.key(), vec![self.byte(); usize::from(self.below(3))]);
        put.lease = i64::from(self.below(4));
        put.prev_kv = self.flag();
        put.ignore_value = self.below(8) == 0;
        put.ignore_lease = self.below(8) == 0;
        put
    }

    fn compare(&mut self) -> Compare {
        let number = i64::from(self.below(20));
        let target = match self.below(5) {
            0 => CompareTarget::Version(number),
            1 => CompareTarget::Create(number),
            2 => CompareTarget::Mod(number),
            3 => CompareTarget::Lease(number),
            _ => CompareTarget::Value(vec![self.byte()].into()),
        };
        let result = match self.below(4) {
            0 => CompareResult::Equal,
            1 => CompareResult::Greater,
            2 => CompareResult::Less,
            _ => CompareResult::NotEqual,
        };
        Compare { range: self.range(), target, result }
    }

    fn ranged(&mut self) -> RangeRequest {
        RangeRequest {
            limit: self.revision() / 40,
            revision: self.revision().min(40),
            keys_only: self.flag(),
            count_only: self.flag(),
            min_mod_revision: i64::from(self.below(6)),
            ..RangeRequest::new(self.range())
        }
    }

    fn op(&mut self, depth: u8) -> Op {
        match self.below(8) {
            0 | 1 => Op::Range(self.ranged()),
            2 => Op::Delete(DeleteRequest { range: self.range(), prev_kv: self.flag() }),
            3 if depth < 3 => Op::Txn(Box::new(self.txn(depth + 1))),
            _ => Op::Put(self.put()),
        }
    }

    fn txn(&mut self, depth: u8) -> Txn {
        Txn {
            compare: (0..self.below(3)).map(|_| self.compare()).collect(),
            success: (0..self.below(4)).map(|_| self.op(depth)).collect(),
            failure: (0..self.below(3)).map(|_| self.op(depth)).collect(),
        }
    }
}

/// Everything, at a revision; 0 is the newest.
fn whole(store: &Store, revision: i64) -> Result<Copy, Error> {
    let range = KeyRange { key: vec![0].into(), end: Some(vec![0].into()) };
    let answer = store.range(&RangeRequest { revision, ..RangeRequest::new(range) })?;
    assert!(answer.kvs.iter().all(|kv| kv.create_revision <= kv.mod_revision && kv.version > 0));
    Ok(answer.kvs.into_iter().map(|kv| (kv.key.to_vec(), kv)).collect())
}

/// Carries the requests out that `data` stands for.
pub fn run(data: &[u8]) {
    let mut source = Source(data.iter());
    let mut store = Store::with_limits(Limits { max_txn_ops: 6, min_lease_ttl: 1 });
    let mut now = Duration::ZERO;
    let mut copies = BTreeMap::from([(store.revision(), Copy::new())]);
    let everything = KeyRange { key: vec![0].into(), end: Some(vec![0].into()) };
    let mut watcher = store.watch(WatchRequest { prev_kv: true, ..WatchRequest::new(everything, 2) });
    // What the watch has told so far, put together.
    let (mut told, mut behind) = (Copy::new(), false);
    for _ in 0..STEPS {
        if source.0.len() == 0 {
            break;
        }
        let before = store.revision();
        match source.below(12) {
            0 => drop(store.range(&source.ranged())),
            1 => {
                let revision = source.revision().min(store.revision());
                if store.compact(revision).is_ok() {
                    assert_eq!(store.compacted(), revision);
                }
                copies.retain(|known, _| *known >= store.compacted());
            }
            2 => drop(store.lease_grant(i64::from(source.below(4)), i64::from(source.below(5)), now)),
            3 => drop(store.lease_revoke(i64::from(source.below(4)))),
            4 => drop(store.lease_keep_alive(i64::from(source.below(4)), now)),
            5 => {
                now += Duration::from_millis(u64::from(source.byte()) * 20);
                store.expire_leases(now);
                assert!(store.next_expiry().is_none_or(|next| next > now));
            }
            6 => drop(store.delete(&DeleteRequest { range: source.range(), prev_kv: source.flag() })),
            7 | 8 => drop(store.put(&source.put())),
            _ => {
                let txn = source.txn(0);
                if let Ok(answer) = store.txn(&txn) {
                    let asked = if answer.succeeded { &txn.success } else { &txn.failure };
                    assert_eq!(answer.responses.len(), asked.len());
                }
            }
        }
        // A lease may take several revisions with it, one for each end; of those between only the watch knows.
        assert!(store.revision() >= before);
        copies.insert(store.revision(), whole(&store, 0).expect("the newest revision"));
        if source.flag() && !behind {
            behind = follow(&store, &mut watcher, &mut told);
        }
    }
    for (revision, copy) in &copies {
        assert_eq!(whole(&store, *revision).as_ref(), Ok(copy), "revision {revision} changed");
    }
    if !behind && !follow(&store, &mut watcher, &mut told) {
        assert_eq!(told, whole(&store, 0).expect("the newest revision"), "the watch tells another story");
    }
}

/// Takes over what the watch tells; true when compaction was faster.
fn follow(store: &Store, watcher: &mut mvcc::Watcher, told: &mut Copy) -> bool {
    loop {
        let message = match store.poll(watcher, 3) {
            Ok(Some(message)) => message,
            Ok(None) => return false,
            Err(Error::Compacted { .. }) => return true,
            Err(error) => panic!("{error}"),
        };
        for event in message.events {
            let key = event.kv.key.to_vec();
            let old = match event.kind {
                EventKind::Put => told.insert(key, event.kv.clone()),
                EventKind::Delete => told.remove(&key),
            };
            // What a deletion at the oldest kept revision deleted may be gone.
            if event.prev.is_some() || event.kv.mod_revision > store.compacted() {
                assert_eq!(event.prev, old, "{:?}", event.kv);
            }
        }
    }
}
