//! Reading the database: the store as it was at the last commit, and all of it for a backup.

use crate::backup::{BackedLease, Piece};
use crate::disk::{Batch, Disk, Failed, LEASES, META, ROWS};
use crate::rows;
use mvcc::{Forgotten, LeaseRecord, Limits, Record, Revision, Store};
use redb::{ReadableDatabase, ReadableTable};
use std::collections::BTreeMap;
use std::time::Duration;

/// What the database held.
pub(crate) struct Loaded {
    pub(crate) store: Store,
    /// Rows that a compaction made useless and that are still there.
    pub(crate) garbage: Vec<Forgotten>,
    /// Whether the ends of leases on disk were up to date.
    pub(crate) leases_exact: bool,
    /// Bytes of all rows.
    pub(crate) bytes: u64,
}

impl Disk {
    /// The store as it was at the last commit. `now` is the wall clock, `since` the store's time at this moment.
    pub(crate) fn load(&self, limits: Limits, now: Duration, since: Duration) -> Result<Loaded, Failed> {
        let (database, pending) = (self.database(), self.pending());
        let read = database.begin_read()?;
        let meta = read.open_table(META)?;
        let number = |name: &str| -> Result<u64, Failed> { Ok(meta.get(name)?.map_or(0, |v| v.value())) };
        let newest = |of: fn(&Batch) -> Option<i64>| pending.iter().rev().find_map(of);
        let compacted = i64::try_from(number("compacted")?).unwrap_or(i64::MAX);
        let compacted = newest(|batch| batch.compacted).unwrap_or(compacted);
        let exact = pending.iter().rev().find_map(|batch| batch.leases_exact);
        let exact = exact.unwrap_or(number("leases-exact")? == 1);
        let mut rows = BTreeMap::new();
        for row in read.open_table(LEASES)?.iter()? {
            let (id, row) = row?;
            rows.insert(id.value(), Some(row.value()));
        }
        rows.extend(pending.iter().flat_map(|batch| batch.leases.iter().copied()));
        let leases = rows.into_iter().filter_map(|(id, state)| {
            let (ttl, end) = state?;
            Some(LeaseRecord { id, ttl, expires: since + left(ttl, end, exact, now) })
        });
        let table = read.open_table(ROWS)?;
        let mut rows = Rows { rows: table.iter()?, run: Vec::new(), ahead: None, bytes: 0, failed: None };
        // what the log has is newer than all that the database has
        let waiting = pending.iter().flat_map(|batch| batch.records.iter().cloned());
        let (store, garbage) = Store::restore(limits, compacted, leases, (&mut rows).chain(waiting));
        let waiting = pending.iter().flat_map(|batch| &batch.records);
        let bytes = rows.bytes + waiting.map(|row| rows::size(&row.key, row.value.len())).sum::<u64>();
        match rows.failed {
            Some(failed) => Err(failed),
            None => Ok(Loaded { store, garbage, leases_exact: exact, bytes }),
        }
    }
}

/// All rows as records. On disk those of one revision are in order of keys, here in order of operations.
struct Rows<'a> {
    rows: redb::Range<'a, &'static [u8], &'static [u8]>,
    /// What is left of a revision, the first operation last.
    run: Vec<Record>,
    /// The first row of the next revision.
    ahead: Option<Record>,
    bytes: u64,
    /// Why it ended before the last row.
    failed: Option<Failed>,
}

impl Rows<'_> {
    fn row(&mut self) -> Result<Option<Record>, Failed> {
        let Some(row) = self.rows.next() else { return Ok(None) };
        let (key, value) = row?;
        self.bytes += (key.value().len() + value.value().len()) as u64;
        let short = || redb::Error::Corrupted("a row of the datastore is too short".to_owned());
        rows::record(key.value(), value.value()).ok_or_else(short).map(Some)
    }

    fn fill(&mut self) -> Result<(), Failed> {
        self.run.extend(self.ahead.take());
        while let Some(record) = self.row()? {
            if self.run.first().is_some_and(|first| first.revision != record.revision) {
                self.ahead = Some(record);
                break;
            }
            self.run.push(record);
        }
        self.run.sort_unstable_by_key(|record| std::cmp::Reverse(record.place));
        Ok(())
    }
}

impl Iterator for Rows<'_> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        if self.run.is_empty() && self.failed.is_none() {
            self.failed = self.fill().err();
        }
        match self.failed {
            Some(_) => None,
            None => self.run.pop(),
        }
    }
}

/// The database at one moment.
pub(crate) struct Reader(pub(crate) redb::ReadTransaction);

impl Reader {
    /// All of it, as the pieces of a backup.
    pub(crate) fn pieces(&self, mut take: impl FnMut(&Piece) -> std::io::Result<()>) -> std::io::Result<()> {
        let failed = |error: Failed| std::io::Error::other(error.to_string());
        let (compacted, exact) = self.meta().map_err(failed)?;
        take(&Piece::Compacted(compacted))?;
        let leases = self.0.open_table(LEASES).map_err(|error| failed(error.into()))?;
        for row in leases.iter().map_err(|error| failed(error.into()))? {
            let (id, row) = row.map_err(|error| failed(error.into()))?;
            let (ttl, end) = row.value();
            // an end that is not up to date means "anew"
            let end = if exact { end } else { u64::MAX };
            take(&Piece::Lease(BackedLease { id: id.value(), ttl, end }))?;
        }
        let rows = self.0.open_table(ROWS).map_err(|error| failed(error.into()))?;
        for row in rows.iter().map_err(|error| failed(error.into()))? {
            let (key, value) = row.map_err(|error| failed(error.into()))?;
            let record = rows::record(key.value(), value.value())
                .ok_or_else(|| std::io::Error::other("a row of the datastore is too short"))?;
            take(&Piece::Record(record))?;
        }
        Ok(())
    }

    fn meta(&self) -> Result<(Revision, bool), Failed> {
        let meta = self.0.open_table(META)?;
        let number = |name: &str| -> Result<u64, Failed> { Ok(meta.get(name)?.map_or(0, |v| v.value())) };
        Ok((i64::try_from(number("compacted")?).unwrap_or(i64::MAX), number("leases-exact")? == 1))
    }
}

/// What is left of a lease. Keep-alives are not written, so after a crash every lease begins anew, as in etcd.
fn left(ttl: i64, end: u64, exact: bool, now: Duration) -> Duration {
    let full = Duration::from_secs(u64::try_from(ttl).unwrap_or(0));
    if exact { Duration::from_millis(end).saturating_sub(now).min(full) } else { full }
}
