//! Random requests, sent to the memory backend and to a real etcd: every answer must be the same, refusals included.
//!
//! This is what makes `lib/mvcc` an etcd and not an idea of one.

use crate::connect;
use crate::etcd::Etcd;
use datastore::Datastore;
use datastore::memory::MemoryStore;
use mvcc::{
    Compare, CompareResult, CompareTarget, DeleteRequest, KeyRange, Op, PutRequest, RangeRequest, SortOrder,
    SortTarget, Txn,
};

/// splitmix64: a few lines, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn number(&mut self, bound: u64) -> i64 {
        i64::try_from(self.below(bound)).unwrap()
    }

    fn key(&mut self) -> String {
        match self.below(200) {
            0 => String::new(),
            n => format!("/d/{}", n % 5),
        }
    }

    fn range(&mut self) -> KeyRange {
        let key = self.key();
        match self.below(6) {
            0 => KeyRange { key: key.into(), end: Some("\0".into()) },
            1 | 2 => KeyRange { key: key.into(), end: Some(format!("/d/{}", self.below(6)).into()) },
            _ => KeyRange::key(key),
        }
    }

    fn read(&mut self, newest: i64) -> RangeRequest {
        let mut request = RangeRequest::new(self.range());
        if self.one_in(3) {
            request.revision = newest + 1 - self.number(20.min(u64::try_from(newest).unwrap()));
        }
        request.limit = self.number(4);
        request.keys_only = self.one_in(8);
        request.count_only = self.one_in(8);
        if self.one_in(4) {
            // other fields may be equal, and etcd's order of equals is not defined
            request.order = if self.one_in(2) { SortOrder::Descend } else { SortOrder::Ascend };
            request.target = SortTarget::Key;
        }
        if self.one_in(6) {
            request.min_mod_revision = self.number(u64::try_from(newest).unwrap() + 1);
        }
        if self.one_in(6) {
            request.max_create_revision = self.number(u64::try_from(newest).unwrap() + 1);
        }
        request
    }

    fn put(&mut self) -> PutRequest {
        let (ignore_value, ignore_lease) = (self.one_in(8), self.one_in(8));
        let keep = ignore_value && !self.one_in(5);
        PutRequest {
            key: self.key().into(),
            value: if keep { "".into() } else { format!("v{}", self.below(4)).into() },
            lease: if self.one_in(60) { 4711 } else { 0 },
            prev_kv: self.one_in(2),
            ignore_value,
            ignore_lease,
        }
    }

    fn delete(&mut self) -> DeleteRequest {
        let mut range = self.range();
        // etcd 3.4 overlooks that such a range holds a key that is also written, and changes it twice
        if range.end.as_deref() == Some(b"\0") {
            range.end = Some("/e".into());
        }
        DeleteRequest { range, prev_kv: self.one_in(2) }
    }

    fn compare(&mut self, newest: i64) -> Compare {
        let range = self.range();
        let near = u64::try_from(newest).unwrap() + 2;
        let target = match self.below(5) {
            0 => CompareTarget::Version(self.number(4)),
            1 => CompareTarget::Create(self.number(near)),
            2 => CompareTarget::Mod(self.number(near)),
            3 => CompareTarget::Lease(self.number(2)),
            _ => CompareTarget::Value(format!("v{}", self.below(4)).into()),
        };
        let result = match self.below(4) {
            0 => CompareResult::Equal,
            1 => CompareResult::NotEqual,
            2 => CompareResult::Less,
            _ => CompareResult::Greater,
        };
        Compare { range, target, result }
    }

    fn ops(&mut self, newest: i64, depth: u64) -> Vec<Op> {
        let mut ops: Vec<Op> = (0..self.below(4))
            .map(|_| match self.below(5) {
                0 | 1 => Op::Range(self.read(newest)),
                2 => Op::Delete(self.delete()),
                _ => Op::Put(self.put()),
            })
            .collect();
        // one at most: for two beside each other etcd's rule depends on their order, ours does not
        if depth > 0 && self.one_in(3) {
            ops.push(Op::Txn(Box::new(self.txn(newest, depth - 1))));
        }
        ops
    }

    fn txn(&mut self, newest: i64, depth: u64) -> Txn {
        Txn {
            compare: (0..self.below(3)).map(|_| self.compare(newest)).collect(),
            success: self.ops(newest, depth),
            failure: self.ops(newest, depth),
        }
    }
}

/// An answer or a refusal, comparable.
fn told<T: std::fmt::Debug>(result: Result<T, impl std::fmt::Display>) -> String {
    match result {
        Ok(answer) => format!("{answer:?}"),
        Err(error) => format!("refused: {error}"),
    }
}

#[tokio::test]
async fn memory_answers_as_etcd_does() {
    let server = Etcd::start();
    let etcd = connect(&server);
    let memory = MemoryStore::new();
    let mut dice = Dice(20_261_121);
    let (mut wrote, mut refused) = (0, 0);
    for round in 0..3000 {
        let newest = memory.inspect(mvcc::Store::revision);
        if dice.one_in(4) {
            let request = dice.read(newest);
            let (a, b) = (memory.range(request.clone()).await, etcd.range(request.clone()).await);
            assert_eq!(told(a), told(b), "round {round}: {request:?}");
        } else {
            let txn = dice.txn(newest, 2);
            let (a, b) = (told(memory.txn(txn.clone()).await), told(etcd.txn(txn.clone()).await));
            refused += u64::from(a.starts_with("refused"));
            assert_eq!(a, b, "round {round}: {txn:#?}");
        }
        wrote += u64::from(memory.inspect(mvcc::Store::revision) > newest);
        if round % 200 == 199 {
            let revision = newest - 20;
            memory.compact(revision).unwrap();
            server.must(&["compaction", &revision.to_string()]);
        }
    }
    assert!(wrote > 400 && refused > 300, "{wrote} writes and {refused} refusals are no test");
}
