//! The vocabulary of a revisioned key-value store: etcd v3's, as plain data.
//!
//! Every backend of `lib/datastore` speaks these types; the store in this crate executes them.

use bytes::Bytes;

/// A store-wide revision; the first write makes revision 2, as in etcd.
pub type Revision = i64;

/// One stored pair with its history counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The full key.
    pub key: Bytes,
    /// The value's bytes.
    pub value: Bytes,
    /// Revision at which the key was last created.
    pub create_revision: Revision,
    /// Revision of the last write.
    pub mod_revision: Revision,
    /// Writes since creation; 1 after the first.
    pub version: i64,
    /// Lease the key is bound to; 0 for none.
    pub lease: i64,
}

/// Which keys an operation means: one key, or the half-open range `[key, end)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    /// First key.
    pub key: Bytes,
    /// End of the range, not included; `None` for exactly `key`. A single zero byte means "to the last key".
    pub end: Option<Bytes>,
}

impl KeyRange {
    /// Exactly one key.
    pub fn key(key: impl Into<Bytes>) -> Self {
        Self { key: key.into(), end: None }
    }

    /// All keys that begin with `prefix`.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let key = prefix.into();
        let end = prefix_end(&key);
        Self { key, end: Some(end) }
    }

    /// Whether `key` lies in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            None => self.key == key,
            Some(end) if end.as_ref() == [0] => key >= self.key.as_ref(),
            Some(end) => key >= self.key.as_ref() && key < end.as_ref(),
        }
    }
}

/// The first key after all keys that begin with `prefix`; a single zero byte when there is none.
pub fn prefix_end(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return Bytes::from(end);
        }
    }
    Bytes::from_static(&[0])
}

/// Field by which a range's answer is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SortTarget {
    /// By key (the natural order).
    #[default]
    Key,
    /// By version.
    Version,
    /// By creation revision.
    Create,
    /// By modification revision.
    Mod,
    /// By value.
    Value,
}

/// Order of a range's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SortOrder {
    /// As stored.
    #[default]
    None,
    /// Ascending.
    Ascend,
    /// Descending.
    Descend,
}

/// A read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeRequest {
    /// The keys.
    pub range: KeyRange,
    /// At most so many; 0 for all.
    pub limit: i64,
    /// At this revision; 0 for the newest.
    pub revision: Revision,
    /// Sort order.
    pub order: SortOrder,
    /// Sort field.
    pub target: SortTarget,
    /// Leave values out.
    pub keys_only: bool,
    /// Only count.
    pub count_only: bool,
    /// Only pairs with `mod_revision >=` this; 0 for all.
    pub min_mod_revision: Revision,
    /// Only pairs with `mod_revision <=` this; 0 for all.
    pub max_mod_revision: Revision,
    /// Only pairs with `create_revision >=` this; 0 for all.
    pub min_create_revision: Revision,
    /// Only pairs with `create_revision <=` this; 0 for all.
    pub max_create_revision: Revision,
}

impl RangeRequest {
    /// Reads `range` at the newest revision.
    pub fn new(range: KeyRange) -> Self {
        Self {
            range,
            limit: 0,
            revision: 0,
            order: SortOrder::None,
            target: SortTarget::Key,
            keys_only: false,
            count_only: false,
            min_mod_revision: 0,
            max_mod_revision: 0,
            min_create_revision: 0,
            max_create_revision: 0,
        }
    }

    /// Reads one key.
    pub fn key(key: impl Into<Bytes>) -> Self {
        Self::new(KeyRange::key(key))
    }

    /// Reads all keys under a prefix.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        Self::new(KeyRange::prefix(prefix))
    }
}

/// Answer to a read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RangeResponse {
    /// The store's revision when it answered.
    pub revision: Revision,
    /// The pairs.
    pub kvs: Vec<KeyValue>,
    /// Whether `limit` cut the answer.
    pub more: bool,
    /// How many keys the range holds, whatever `limit` says.
    pub count: i64,
}

/// A write of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutRequest {
    /// The key.
    pub key: Bytes,
    /// The new value.
    pub value: Bytes,
    /// Lease to bind to; 0 for none.
    pub lease: i64,
    /// Return the previous pair.
    pub prev_kv: bool,
    /// Keep the stored value.
    pub ignore_value: bool,
    /// Keep the stored lease.
    pub ignore_lease: bool,
}

impl PutRequest {
    /// Writes `value` under `key`, bound to no lease.
    pub fn new(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self {
            key: key.into(),
            value: value.into(),
            lease: 0,
            prev_kv: false,
            ignore_value: false,
            ignore_lease: false,
        }
    }
}

/// Answer to a write.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PutResponse {
    /// The store's revision after the write.
    pub revision: Revision,
    /// The pair before, if asked for.
    pub prev: Option<KeyValue>,
}

/// A delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteRequest {
    /// The keys.
    pub range: KeyRange,
    /// Return the deleted pairs.
    pub prev_kv: bool,
}

impl DeleteRequest {
    /// Deletes one key and returns what it held.
    pub fn key(key: impl Into<Bytes>) -> Self {
        Self { range: KeyRange::key(key), prev_kv: true }
    }

    /// Deletes all keys under a prefix, without returning them.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        Self { range: KeyRange::prefix(prefix), prev_kv: false }
    }
}

/// Answer to a delete.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeleteResponse {
    /// The store's revision after the delete.
    pub revision: Revision,
    /// How many keys went.
    pub deleted: i64,
    /// The pairs before, if asked for.
    pub prevs: Vec<KeyValue>,
}

/// What a comparison looks at, with the value it is compared to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompareTarget {
    /// Number of writes since creation; 0 when absent.
    Version(i64),
    /// Creation revision; 0 when absent.
    Create(Revision),
    /// Modification revision; 0 when absent.
    Mod(Revision),
    /// The value; an absent key never matches.
    Value(Bytes),
    /// The lease; 0 when absent.
    Lease(i64),
}

/// How the stored side relates to the given one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompareResult {
    /// Equal.
    Equal,
    /// Stored is greater.
    Greater,
    /// Stored is less.
    Less,
    /// Not equal.
    NotEqual,
}

/// One condition of a transaction; over a range, every key must satisfy it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compare {
    /// The keys.
    pub range: KeyRange,
    /// Field and value.
    pub target: CompareTarget,
    /// Relation.
    pub result: CompareResult,
}

impl Compare {
    /// The key does not exist.
    pub fn absent(key: impl Into<Bytes>) -> Self {
        Self { range: KeyRange::key(key), target: CompareTarget::Version(0), result: CompareResult::Equal }
    }

    /// The key exists.
    pub fn exists(key: impl Into<Bytes>) -> Self {
        Self { range: KeyRange::key(key), target: CompareTarget::Version(0), result: CompareResult::Greater }
    }

    /// The key was last written at `revision`.
    pub fn mod_revision(key: impl Into<Bytes>, revision: Revision) -> Self {
        Self { range: KeyRange::key(key), target: CompareTarget::Mod(revision), result: CompareResult::Equal }
    }
}

/// One operation of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Read.
    Range(RangeRequest),
    /// Write.
    Put(PutRequest),
    /// Delete.
    Delete(DeleteRequest),
    /// A transaction in the transaction.
    Txn(Box<Txn>),
}

/// If all of `compare` hold then `success`, else `failure`; atomically, at one revision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Txn {
    /// Conditions.
    pub compare: Vec<Compare>,
    /// Operations when they hold.
    pub success: Vec<Op>,
    /// Operations when one does not.
    pub failure: Vec<Op>,
}

impl Txn {
    /// Several reads at one revision in one request.
    pub fn reads(ranges: impl IntoIterator<Item = RangeRequest>) -> Self {
        Self {
            compare: Vec::new(),
            success: ranges.into_iter().map(Op::Range).collect(),
            failure: Vec::new(),
        }
    }
}

/// Answer to one operation, in the order of the operations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpResponse {
    /// To a read.
    Range(RangeResponse),
    /// To a write.
    Put(PutResponse),
    /// To a delete.
    Delete(DeleteResponse),
    /// To a nested transaction.
    Txn(TxnResponse),
}

impl OpResponse {
    /// The pairs of a read's answer; empty for any other.
    pub fn kvs(&self) -> &[KeyValue] {
        match self {
            OpResponse::Range(range) => &range.kvs,
            _ => &[],
        }
    }
}

/// Answer to a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TxnResponse {
    /// The store's revision after it; the mod revision of everything it wrote. A nested one carries that of the whole.
    pub revision: Revision,
    /// Whether the conditions held.
    pub succeeded: bool,
    /// One answer an operation of the branch taken.
    pub responses: Vec<OpResponse>,
}

impl TxnResponse {
    /// Writes the whole transaction's revision into it and all nested ones.
    pub fn settle(&mut self, revision: Revision) {
        self.revision = revision;
        for response in &mut self.responses {
            if let OpResponse::Txn(inner) = response {
                inner.settle(revision);
            }
        }
    }
}

/// What a watch reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Written or deleted.
    pub kind: EventKind,
    /// The pair after a write; key and revision of a delete.
    pub kv: KeyValue,
    /// The pair before, if asked for and there was one.
    pub prev: Option<KeyValue>,
}

/// Kind of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// Created or changed.
    Put,
    /// Deleted.
    Delete,
}

/// A watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchRequest {
    /// The keys.
    pub range: KeyRange,
    /// First revision to report; 0 for "from now on".
    pub start_revision: Revision,
    /// Report the pair before each change.
    pub prev_kv: bool,
    /// Report progress when idle.
    pub progress_notify: bool,
    /// Leave writes out.
    pub no_put: bool,
    /// Leave deletes out.
    pub no_delete: bool,
}

impl WatchRequest {
    /// Follows `range` from `start_revision` (0: from now on) with the pair before each change and progress reports.
    pub fn new(range: KeyRange, start_revision: Revision) -> Self {
        Self { range, start_revision, prev_kv: true, progress_notify: true, no_put: false, no_delete: false }
    }
}

/// One message of a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchResponse {
    /// The store's revision; everything up to it has been reported.
    pub revision: Revision,
    /// Changes in order; empty for a progress report.
    pub events: Vec<Event>,
}
