//! The database on disk: one redb file, and the log before it. A commit is durable when it returns.
//!
//! Tables: `rows` (see `rows`), `leases` (id → time to live, end), `meta` (format, identities, last compaction, and of the log
//! its epoch, and its size while it may hold what the database does not: after an orderly end it does not).

use crate::load::Reader;
use crate::log::{Log, LogError};
use crate::medium::{LogFile, Medium};
use crate::metrics::Histogram;
use crate::rows;
use mvcc::{Forgotten, Record, Revision};
use redb::{Builder, Database, ReadableDatabase, TableDefinition, WriteTransaction};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub(crate) const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");
pub(crate) const LEASES: TableDefinition<i64, (i64, u64)> = TableDefinition::new("leases");
pub(crate) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// Layout of tables and log; another one is refused.
const FORMAT: u64 = 2;
/// Pages kept in memory: values are in the store already, so this serves the inner nodes of the trees.
const CACHE: usize = 4 << 20;
/// The database in the data directory.
pub(crate) const FILE: &str = "store.redb";
/// The log beside it, and its size. The database takes over what is in it when it is full: with more, seldomer and longer.
const LOG: &str = "store.log";
pub(crate) const LOG_SIZE: usize = 8 << 20;

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
    #[error(
        "{path} has format {found}, this program knows format {FORMAT}: let the release that wrote it serve the directory, take a \
         backup (`ocicat datastore backup FILE`) and restore that into another one (`ocicat datastore restore FILE --data-dir DIR`)"
    )]
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
    /// None where there is no room for one, and while a backup is restored.
    log: Option<Log>,
    /// What the log has and the database has not.
    pending: Vec<Batch>,
    /// How long it took the database to take that over.
    pub(crate) checkpoints: Histogram,
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
                let log = directory.join(LOG);
                if log.exists() {
                    let reason = format!("{FILE}, the database it belongs to, is missing");
                    return Err(DiskError::Unreadable { path: log, reason });
                }
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
        let mut disk = Self::opened(database, &path)?;
        disk.attach(&path, |size| log_file(directory, size))?;
        Ok(disk)
    }

    /// Opens the database on a storage of the caller's, empty or not.
    #[cfg(test)]
    pub(crate) fn on(
        backend: impl redb::StorageBackend,
        log: impl Medium + 'static,
        path: &Path,
    ) -> Result<Self, DiskError> {
        let fresh = backend.len().is_ok_and(|len| len == 0);
        let database =
            builder().create_with_backend(backend).map_err(|error| describe(path, error.into()))?;
        if fresh {
            Self::found(&database, Identity { cluster: 1, member: 1 })
                .map_err(|error| describe(path, error))?;
        }
        let mut disk = Self::opened(database, path)?;
        disk.attach(path, |_| Ok(Box::new(log)))?;
        Ok(disk)
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
        Ok(Self::without_log(database, identity))
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
        Ok(Self::without_log(database, identity))
    }

    fn without_log(database: Database, identity: Identity) -> Self {
        Self { database, identity, log: None, pending: Vec::new(), checkpoints: Histogram::default() }
    }

    /// Begins to use the log, which `open` gives: one of the given size that is there already, or any.
    fn attach(
        &mut self,
        path: &Path,
        open: impl FnOnce(Option<u64>) -> Result<Box<dyn Medium>, DiskError>,
    ) -> Result<(), DiskError> {
        let failed = |error: Failed| describe(path, error);
        let size = self.meta("log").map_err(failed)?;
        let epoch = self.meta("epoch").map_err(failed)?;
        let log = path.with_file_name(LOG);
        if size > 0 {
            let medium = open(Some(size))?;
            let (log, pending) =
                Log::open(medium, self.identity.member, epoch).map_err(|error| match error {
                    LogError::Io(source) => DiskError::Io { path: log, source },
                    LogError::Damaged => DiskError::Unreadable { path: log, reason: error.to_string() },
                })?;
            (self.log, self.pending) = (Some(log), pending);
            return Ok(());
        }
        let begun = open(None).and_then(|medium| {
            // what was left in it by an earlier epoch must not be taken for something new
            let new = Log::new(medium, self.identity.member, epoch + 1);
            let new = new.map_err(|source| DiskError::Io { path: log, source })?;
            self.log = Some(new);
            self.checkpoint(true).map_err(failed)
        });
        match begun {
            Err(DiskError::Io { source, .. }) if source.kind() == std::io::ErrorKind::StorageFull => {
                tracing::warn!("no room for a log: commits take longer");
                self.log = None;
                Ok(())
            }
            begun => begun,
        }
    }

    fn meta(&self, name: &str) -> Result<u64, Failed> {
        let meta = self.database.begin_read()?.open_table(META)?;
        Ok(meta.get(name)?.map_or(0, |value| value.value()))
    }

    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// What is durable and not in the database yet, oldest first.
    pub(crate) fn pending(&self) -> &[Batch] {
        &self.pending
    }

    /// Writes a batch, whole or not at all; durable on return.
    pub(crate) fn commit(&mut self, batch: Batch) -> Result<(), Failed> {
        for _ in 0..2 {
            let Some(log) = &mut self.log else { break };
            if log.append(&batch)? {
                self.pending.push(batch);
                return Ok(());
            }
            // it is full, or too small for this one
            if self.pending.is_empty() {
                break;
            }
            self.checkpoint(true)?;
        }
        self.pending.push(batch);
        self.checkpoint(true)
    }

    /// Whether the next commits go into the log alone.
    pub(crate) fn log_has_room(&self) -> bool {
        self.log.as_ref().is_some_and(Log::has_room)
    }

    /// Has the database take over what the log has, which begins anew; `goes_on` says whether it is used after that.
    fn checkpoint(&mut self, goes_on: bool) -> Result<(), Failed> {
        let begun = Instant::now();
        let write = self.database.begin_write()?;
        self.pending.iter().try_for_each(|batch| apply(&write, batch))?;
        let epoch = self.log.as_ref().map(|log| log.epoch() + 1);
        if let (Some(log), Some(epoch)) = (&self.log, epoch) {
            let mut meta = write.open_table(META)?;
            meta.insert("epoch", epoch)?;
            meta.insert("log", if goes_on { log.size() } else { 0 })?;
        }
        write.commit()?;
        self.pending.clear();
        if let (Some(log), Some(epoch)) = (&mut self.log, epoch) {
            log.restart(epoch);
        }
        self.checkpoints.add(begun.elapsed());
        Ok(())
    }

    /// An orderly end: the database has everything, and can be taken away without the log.
    pub(crate) fn close(mut self) -> Result<(), Failed> {
        self.checkpoint(false)
    }

    /// Everything as it is now, to be read while the store goes on.
    pub(crate) fn reader(&mut self) -> Result<Reader, Failed> {
        self.checkpoint(true)?;
        Ok(Reader(self.database.begin_read()?))
    }

    /// Gives the space of what is gone back to the file system.
    ///
    /// # Errors
    /// A snapshot is being read, or the disk refuses.
    pub(crate) fn defragment(&mut self) -> Result<(), String> {
        self.checkpoint(true).map_err(|error| error.to_string())?;
        while self.database.compact().map_err(|error| error.to_string())? {}
        Ok(())
    }
}

fn apply(write: &WriteTransaction, batch: &Batch) -> Result<(), Failed> {
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
    Ok(())
}

/// The log of a directory. One that has to be there is only opened; else there is one afterwards, complete before it has its
/// name: its bytes are written now so that no commit has to find room for them.
fn log_file(directory: &Path, size: Option<u64>) -> Result<Box<dyn Medium>, DiskError> {
    let path = directory.join(LOG);
    let io = |source| DiskError::Io { path: path.clone(), source };
    let damaged = |what: &str| DiskError::Unreadable {
        path: path.clone(),
        reason: format!("{what}, and it has the newest writes of {FILE}"),
    };
    let there = match std::fs::metadata(&path) {
        Ok(meta) => Some(meta.len()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(io(error)),
    };
    match (size, there) {
        (Some(_), None) => return Err(damaged("the log is missing")),
        (Some(size), Some(there)) if size != there => return Err(damaged("the log is cut off")),
        (None, there) if there != Some(LOG_SIZE as u64) => {
            let new = directory.join(".store.log.new");
            let mut file = File::create(&new).map_err(io)?;
            file.write_all(&vec![0; LOG_SIZE]).map_err(io)?;
            file.sync_all().map_err(io)?;
            std::fs::rename(&new, &path).map_err(io)?;
            sync_directory(directory).map_err(io)?;
        }
        _ => {}
    }
    Ok(Box::new(LogFile::open(&path).map_err(io)?))
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
