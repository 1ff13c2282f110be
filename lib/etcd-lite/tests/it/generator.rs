//! Random requests as etcd's client sends them.

use etcd_client::{
    Compare, CompareOp, DeleteOptions, GetOptions, PutOptions, SortOrder, SortTarget, Txn, TxnOp,
    WatchFilterType, WatchOptions,
};

/// Sebastiano Vigna's xorshift64*: the same numbers everywhere.
pub(crate) struct Random(pub(crate) u64);

/// The leases that are granted and revoked.
pub(crate) const LEASES: i64 = 4;

impl Random {
    pub(crate) fn below(&mut self, bound: i64) -> i64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        i64::try_from(number).unwrap() % bound.max(1)
    }

    pub(crate) fn one_in(&mut self, bound: i64) -> bool {
        self.below(bound) == 0
    }

    fn key(&mut self) -> String {
        match self.below(300) {
            0 => String::new(),
            number => format!("/k/{}", number % 6),
        }
    }

    /// A key, and the end of a range if it is one. Backwards and empty ranges are among them.
    fn range(&mut self) -> (String, Option<String>) {
        let key = self.key();
        let end = match self.below(7) {
            0 => Some("\0".to_owned()),
            1 | 2 => Some(format!("/k/{}", self.below(7))),
            _ => None,
        };
        (key, end)
    }

    pub(crate) fn get(&mut self, newest: i64) -> (String, GetOptions) {
        let (key, end) = self.range();
        let mut options = GetOptions::new();
        if let Some(end) = end {
            options = options.with_range(end);
        }
        if self.one_in(3) {
            options = options.with_revision(newest + 1 - self.below(30.min(newest)));
        }
        if self.one_in(2) {
            options = options.with_limit(self.below(4));
        }
        if self.one_in(8) {
            options = options.with_keys_only();
        }
        if self.one_in(8) {
            options = options.with_count_only();
        }
        if self.one_in(3) {
            let target = match self.below(5) {
                0 => SortTarget::Key,
                1 => SortTarget::Version,
                2 => SortTarget::Create,
                3 => SortTarget::Mod,
                _ => SortTarget::Value,
            };
            let order = match self.below(3) {
                0 => SortOrder::None,
                1 => SortOrder::Ascend,
                _ => SortOrder::Descend,
            };
            options = options.with_sort(target, order);
        }
        if self.one_in(6) {
            options = options.with_min_mod_revision(self.below(newest + 1));
        }
        if self.one_in(6) {
            options = options.with_max_mod_revision(self.below(newest + 1));
        }
        if self.one_in(8) {
            options = options.with_min_create_revision(self.below(newest + 1));
        }
        if self.one_in(8) {
            options = options.with_max_create_revision(self.below(newest + 1));
        }
        (key, options)
    }

    pub(crate) fn put(&mut self) -> (String, String, PutOptions) {
        let mut options = PutOptions::new();
        let keeps = self.one_in(8);
        let value = if keeps && !self.one_in(5) { String::new() } else { format!("v{}", self.below(5)) };
        if keeps {
            options = options.with_ignore_value();
        }
        if self.one_in(8) {
            options = options.with_ignore_lease();
        }
        if self.one_in(6) {
            options = options.with_lease(1 + self.below(LEASES));
        }
        if self.one_in(2) {
            options = options.with_prev_key();
        }
        (self.key(), value, options)
    }

    pub(crate) fn delete(&mut self) -> (String, DeleteOptions) {
        let (key, end) = self.range();
        let mut options = DeleteOptions::new();
        if let Some(end) = end {
            // etcd 3.4 overlooks in transactions that a range to the last key holds a key that is written too
            options = options.with_range(if end == "\0" { "/l".to_owned() } else { end });
        }
        if self.one_in(2) {
            options = options.with_prev_key();
        }
        (key, options)
    }

    fn compare(&mut self, newest: i64) -> Compare {
        let (key, end) = self.range();
        let relation = match self.below(4) {
            0 => CompareOp::Equal,
            1 => CompareOp::NotEqual,
            2 => CompareOp::Less,
            _ => CompareOp::Greater,
        };
        let compare = match self.below(5) {
            0 => Compare::version(key, relation, self.below(4)),
            1 => Compare::create_revision(key, relation, self.below(newest + 2)),
            2 => Compare::mod_revision(key, relation, self.below(newest + 2)),
            3 => Compare::lease(key, relation, self.below(LEASES + 1)),
            _ => Compare::value(key, relation, format!("v{}", self.below(5))),
        };
        match end {
            Some(end) => compare.with_range(end),
            None => compare,
        }
    }

    fn ops(&mut self, newest: i64, depth: u32, count: &mut usize) -> Vec<TxnOp> {
        let mut ops = Vec::new();
        for _ in 0..self.below(5) {
            *count += 1;
            ops.push(match self.below(5) {
                0 | 1 => {
                    let (key, options) = self.get(newest);
                    TxnOp::get(key, Some(options))
                }
                2 => {
                    let (key, options) = self.delete();
                    TxnOp::delete(key, Some(options))
                }
                _ => {
                    let (key, value, options) = self.put();
                    TxnOp::put(key, value, Some(options))
                }
            });
        }
        // one at most: for two beside each other etcd's rule depends on their order, ours does not
        if depth > 0 && self.one_in(3) {
            ops.push(TxnOp::txn(self.txn(newest, depth - 1, count)));
        }
        ops
    }

    /// A transaction; `count` grows by its operations and conditions.
    pub(crate) fn txn(&mut self, newest: i64, depth: u32, count: &mut usize) -> Txn {
        let compares: Vec<Compare> = (0..self.below(3)).map(|_| self.compare(newest)).collect();
        *count += compares.len();
        let success = self.ops(newest, depth, count);
        let failure = self.ops(newest, depth, count);
        Txn::new().when(compares).and_then(success).or_else(failure)
    }

    /// A watch; whether it begins in the past.
    pub(crate) fn watch(&mut self, newest: i64) -> (String, WatchOptions, bool) {
        let (key, end) = self.range();
        let mut options = WatchOptions::new();
        if let Some(end) = end {
            options = options.with_range(end);
        }
        let mut past = false;
        match self.below(6) {
            0 => {
                let start = newest + 1 - self.below(60.min(newest));
                past = start <= newest;
                options = options.with_start_revision(start);
            }
            1 => options = options.with_start_revision(newest + self.below(30)),
            _ => {}
        }
        if self.one_in(2) {
            options = options.with_prev_key();
        }
        if self.one_in(3) {
            options = options.with_fragment();
        }
        match self.below(6) {
            0 => options = options.with_filters(vec![WatchFilterType::NoPut]),
            1 => options = options.with_filters(vec![WatchFilterType::NoDelete]),
            _ => {}
        }
        (key, options, past)
    }
}
