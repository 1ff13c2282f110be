//! The database on disk: one redb file. A commit is durable when it returns.
//!
//! Tables: `rows` (see `rows`), `leases` (id → time to live, end), `meta` (format, identities, last compaction).

use crate::backup::{BackedLease, Piece};
use crate::rows;
use mvcc::{Forgotten, LeaseRecord, Limits, Record, Revision, Store};
use redb::{Builder, Database, ReadableDatabase, ReadableTable, TableDefinition};
use std::path::{Path, PathBuf};
use std::time::Duration;

const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");
const LEASES: TableDefinition<i64, (i64, u64)> = TableDefinition::new("leases");
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// Layout of the tables; another one is refused.
const FORMAT: u64 = 1;
/// Pages kept in memory: values are in the store already, so this serves the inner nodes of the trees.
const CACHE: usize = 4 << 20;
/// The database in the data directory.
pub(crate) const FILE: &str = "store.redb";

/// Why the database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Not made by this program, or cut off.
    #[error(
        "{path}: {reason}. It is left as it is: restore a backup into another directory (`ocicat datastore restore FILE --data-dir DIR`)"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Of another release.
    #[error("{path} has format {found}, this program knows format {FORMAT}: use the release that wrote it")]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
    /// The file system refuses.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Who this store is, for answers' headers; chosen once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) cluster: u64,
    pub(crate) member: u64,
}

/// What one commit writes.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) records: Vec<Record>,
    /// Leases and their new state, `None` when they are gone. Ends are milliseconds since the Unix epoch.
    pub(crate) leases: Vec<(i64, Option<(i64, u64)>)>,
    pub(crate) compacted: Option<Revision>,
    pub(crate) garbage: Vec<Forgotten>,
    /// Whether the ends of all leases are up to date, as after an orderly stop.
    pub(crate) leases_exact: Option<bool>,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
            && self.leases.is_empty()
            && self.compacted.is_none()
            && self.garbage.is_empty()
            && self.leases_exact.is_none()
    }
}

/// The open database.
#[derive(Debug)]
pub(crate) struct Disk {
    database: Database,
    identity: Identity,
}

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

pub(crate) type Failed = redb::Error;

fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE);
    builder
}

impl Disk {
    /// Opens the database in `directory`, or makes one where there is none. A new one is complete before it has its name.
    pub(crate) fn open(directory: &Path) -> Result<Self, DiskError> {
        let path = directory.join(FILE);
        let io = |source| DiskError::Io { path: path.clone(), source };
        match std::fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let disk = Self::create(&directory.join(".store.redb.new"), Identity::chosen())?;
                drop(disk);
                std::fs::rename(directory.join(".store.redb.new"), &path).map_err(io)?;
                sync_directory(directory).map_err(io)?;
            }
            Err(error) => return Err(io(error)),
            Ok(meta) if meta.len() == 0 => {
                return Err(DiskError::Unreadable {
                    path,
                    reason: "the database is cut off: it is empty".into(),
                });
            }
            Ok(_) => {}
        }
        let unreadable = |error: redb::Error| describe(&path, error);
        let database = builder().open(&path).map_err(|error| unreadable(error.into()))?;
        Self::opened(database, &path)
    }

    /// Opens the database on a storage of the caller's, empty or not.
    #[cfg(test)]
    pub(crate) fn on(backend: impl redb::StorageBackend, path: &Path) -> Result<Self, DiskError> {
        let fresh = backend.len().is_ok_and(|len| len == 0);
        let database =
            builder().create_with_backend(backend).map_err(|error| describe(path, error.into()))?;
        if fresh {
            Self::found(&database, Identity { cluster: 1, member: 1 })
                .map_err(|error| describe(path, error))?;
        }
        Self::opened(database, path)
    }

    /// Makes a new database in place of whatever an earlier attempt left.
    pub(crate) fn create(path: &Path, identity: Identity) -> Result<Self, DiskError> {
        let io = |source| DiskError::Io { path: path.to_path_buf(), source };
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
        let database = builder().create(path).map_err(|error| describe(path, error.into()))?;
        Self::found(&database, identity).map_err(|error| describe(path, error))?;
        Ok(Self { database, identity })
    }

    fn found(database: &Database, identity: Identity) -> Result<(), Failed> {
        let write = database.begin_write()?;
        {
            write.open_table(ROWS)?;
            write.open_table(LEASES)?;
            let mut meta = write.open_table(META)?;
            meta.insert("format", FORMAT)?;
            meta.insert("cluster", identity.cluster)?;
            meta.insert("member", identity.member)?;
        }
        write.commit()?;
        Ok(())
    }

    fn opened(database: Database, path: &Path) -> Result<Self, DiskError> {
        let read = |name: &str| -> Result<Option<u64>, Failed> {
            let meta = database.begin_read()?.open_table(META)?;
            Ok(meta.get(name)?.map(|value| value.value()))
        };
        let foreign = |reason: String| DiskError::Unreadable { path: path.to_path_buf(), reason };
        let number = |name: &str| match read(name) {
            Ok(Some(number)) => Ok(number),
            Ok(None) => Err(foreign(format!("it is no datastore of this program: \"{name}\" is missing"))),
            Err(error) => Err(foreign(format!("it is no datastore of this program: {error}"))),
        };
        let found = number("format")?;
        if found != FORMAT {
            return Err(DiskError::Format { path: path.to_path_buf(), found });
        }
        let identity = Identity { cluster: number("cluster")?, member: number("member")? };
        Ok(Self { database, identity })
    }

    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    /// The store as it was at the last commit. `now` is the wall clock, `since` the store's time at this moment.
    pub(crate) fn load(&self, limits: Limits, now: Duration, since: Duration) -> Result<Loaded, Failed> {
        let read = self.database.begin_read()?;
        let meta = read.open_table(META)?;
        let number = |name: &str| -> Result<u64, Failed> { Ok(meta.get(name)?.map_or(0, |v| v.value())) };
        let compacted = i64::try_from(number("compacted")?).unwrap_or(i64::MAX);
        let exact = number("leases-exact")? == 1;
        let mut leases = Vec::new();
        for row in read.open_table(LEASES)?.iter()? {
            let (id, row) = row?;
            let (ttl, end) = row.value();
            leases.push(LeaseRecord { id: id.value(), ttl, expires: since + left(ttl, end, exact, now) });
        }
        let table = read.open_table(ROWS)?;
        let mut rows = Rows { rows: table.iter()?, run: Vec::new(), ahead: None, bytes: 0, failed: None };
        let (store, garbage) = Store::restore(limits, compacted, leases, &mut rows);
        match rows.failed {
            Some(failed) => Err(failed),
            None => Ok(Loaded { store, garbage, leases_exact: exact, bytes: rows.bytes }),
        }
    }

    /// Writes a batch, whole or not at all; durable on return.
    pub(crate) fn commit(&self, batch: &Batch) -> Result<(), Failed> {
        let write = self.database.begin_write()?;
        {
            if !(batch.records.is_empty() && batch.garbage.is_empty()) {
                let mut rows = write.open_table(ROWS)?;
                for record in &batch.records {
                    let key = rows::row_key(record.revision, &record.key);
                    rows.insert(key.as_slice(), rows::row_value(record).as_slice())?;
                }
                for forgotten in &batch.garbage {
                    rows.remove(rows::row_key(forgotten.revision, &forgotten.key).as_slice())?;
                }
            }
            if !batch.leases.is_empty() {
                let mut leases = write.open_table(LEASES)?;
                for (id, state) in &batch.leases {
                    match state {
                        Some(state) => leases.insert(id, state)?,
                        None => leases.remove(id)?,
                    };
                }
            }
            if batch.compacted.is_some() || batch.leases_exact.is_some() {
                let mut meta = write.open_table(META)?;
                if let Some(revision) = batch.compacted {
                    meta.insert("compacted", u64::try_from(revision).unwrap_or(0))?;
                }
                if let Some(exact) = batch.leases_exact {
                    meta.insert("leases-exact", u64::from(exact))?;
                }
            }
        }
        write.commit()?;
        Ok(())
    }

    /// Everything as it is now, to be read while the store goes on.
    pub(crate) fn reader(&self) -> Result<Reader, Failed> {
        Ok(Reader(self.database.begin_read()?))
    }

    /// Gives the space of what is gone back to the file system.
    ///
    /// # Errors
    /// A snapshot is being read, or the disk refuses.
    pub(crate) fn defragment(&mut self) -> Result<(), String> {
        while self.database.compact().map_err(|error| error.to_string())? {}
        Ok(())
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
pub(crate) struct Reader(redb::ReadTransaction);

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

impl Identity {
    pub(crate) fn chosen() -> Self {
        let (cluster, member) = uuid::Uuid::new_v4().as_u64_pair();
        Self { cluster, member }
    }
}

fn describe(path: &Path, error: redb::Error) -> DiskError {
    match error {
        redb::Error::Io(source)
            if !matches!(
                source.kind(),
                std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof
            ) =>
        {
            DiskError::Io { path: path.to_path_buf(), source }
        }
        error => DiskError::Unreadable {
            path: path.to_path_buf(),
            reason: format!("the database is damaged or of another program: {error}"),
        },
    }
}

pub(crate) fn sync_directory(directory: &Path) -> std::io::Result<()> {
    std::fs::File::open(directory)?.sync_all()
}
