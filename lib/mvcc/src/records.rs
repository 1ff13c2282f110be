//! The store as records that can be kept elsewhere, and a store from them.

use crate::history::{Entry, History};
use crate::lease::Leases;
use crate::store::Keys;
use crate::{Limits, Revision, Store};
use bytes::Bytes;
use std::time::Duration;

/// One write of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Revision of the write.
    pub revision: Revision,
    /// Its place among the writes of that revision, from 0.
    pub place: u32,
    /// The key.
    pub key: Bytes,
    /// The value; empty for a deletion.
    pub value: Bytes,
    /// Revision at which the key was created; 0 for a deletion.
    pub created: Revision,
    /// Writes since creation; 0 for a deletion.
    pub version: i64,
    /// Lease it is bound to; 0 for none.
    pub lease: i64,
}

/// A lease without its keys, which the records name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseRecord {
    /// Its id.
    pub id: i64,
    /// Seconds it lives after a grant or keep-alive.
    pub ttl: i64,
    /// When it runs out.
    pub expires: Duration,
}

/// A write that a compaction made unreadable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forgotten {
    /// Revision of the write.
    pub revision: Revision,
    /// The key.
    pub key: Bytes,
    /// Length of the value in bytes.
    pub size: usize,
}

impl Store {
    /// The writes after `revision` that can still be read, in order. Shares keys and values with the store.
    pub fn records_after(&self, revision: Revision) -> impl Iterator<Item = Record> {
        let start = self.log.partition_point(|(at, _)| *at <= revision);
        self.log.range(start..).flat_map(|(at, keys)| {
            (0u32..).zip(keys.as_slice()).filter_map(|(place, key)| {
                let (entry, _) = self.index.get(key)?.change(*at)?;
                Some(Record {
                    revision: *at,
                    place,
                    key: key.clone(),
                    value: entry.value.clone(),
                    created: entry.created,
                    version: entry.version,
                    lease: entry.lease,
                })
            })
        })
    }

    /// What is to be kept of a lease; `None` when it does not exist.
    pub fn lease_record(&self, id: i64) -> Option<LeaseRecord> {
        self.leases.record(id)
    }

    /// A store from what was kept of one: the last compaction, all leases, and the records in ascending order of
    /// revision and place. Records that the compaction forgot may be among them; they are told.
    pub fn restore(
        limits: Limits,
        compacted: Revision,
        leases: impl IntoIterator<Item = LeaseRecord>,
        records: impl IntoIterator<Item = Record>,
    ) -> (Store, Vec<Forgotten>) {
        let mut store = Store::with_limits(limits);
        // one entry a record, brought together in place: a large store must not need its memory twice while it starts
        let mut histories: Vec<(Bytes, History)> = Vec::new();
        let mut keys: Vec<Bytes> = Vec::new();
        for record in records {
            if record.revision != store.revision && !keys.is_empty() {
                store.log.push_back((store.revision, Keys::new(std::mem::take(&mut keys))));
            }
            store.revision = record.revision;
            keys.push(record.key.clone());
            let Record { revision: modified, key, value, created, version, lease, .. } = record;
            histories.push((key, History::One(Entry { modified, created, version, lease, value })));
        }
        if !keys.is_empty() {
            store.log.push_back((store.revision, Keys::new(keys)));
        }
        store.log.shrink_to_fit();
        histories
            .sort_unstable_by(|(a, first), (b, second)| a.cmp(b).then(first.newest().cmp(&second.newest())));
        histories.dedup_by(|(later_key, later), (key, history)| {
            let same = key == later_key;
            if same && let History::One(entry) = std::mem::take(later) {
                history.push(entry);
            }
            same
        });
        store.leases = Leases::default();
        leases.into_iter().for_each(|lease| store.leases.restore(lease));
        for (key, history) in &histories {
            store.leases.rebind(key, 0, history.live().map_or(0, |entry| entry.lease));
        }
        store.existing = histories.iter().filter(|(_, history)| history.live().is_some()).count();
        store.index = histories.into_iter().collect();
        store.revision = store.revision.max(compacted);
        let forgotten = if compacted > 0 { store.forget(compacted) } else { Vec::new() };
        (store, forgotten)
    }
}
