//! Records of attachments, in memory and on disk: one file each, written whole or not at all.
//!
//! A file is named by a number, its contents say what it is. A process that dies leaves the last whole version. What is written
//! without [`Records::put_for_good`] survives the process at once and a power cut after [`Records::sync`]: a power cut takes
//! the links along, and a runtime detaches every sandbox after one.

use super::record::{Key, Record, State};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Attachments of one node; a hundred times what a node is built for.
pub(crate) const MOST: usize = 16_384;
/// Bytes of a record; a configuration is a hundredth of it.
const LONGEST: u64 = 1 << 20;
/// What is put behind the name of a file that cannot be read.
const ASIDE: &str = "damaged";
const SUFFIX: &str = "json";

/// Why a record cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file system refuses.
    #[error(
        "{path}: {reason}; the agent keeps its records of attachments there: make room, or mend the directory"
    )]
    File {
        /// The file or directory.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// There are too many.
    #[error("{path}: holds {MOST} attachments already; see `ocicat status` for those that are left over")]
    Full {
        /// The directory.
        path: PathBuf,
    },
    /// It is too long.
    #[error("a record of {0} bytes is too long; shorten the network configuration")]
    TooLong(u64),
}

/// One record and its file.
#[derive(Debug, Clone)]
struct Kept {
    record: Record,
    number: u64,
    /// Changes with every version, so that what was decided for one is not done to the next.
    version: u64,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Records {
    directory: PathBuf,
    kept: BTreeMap<Key, Kept>,
    next: u64,
    /// Files not known to have reached the disk.
    unsynced: BTreeSet<u64>,
    damaged: Vec<String>,
}

impl Records {
    /// Reads what is there. A file that cannot be read is reported, put aside under another name and left alone from then on.
    ///
    /// # Errors
    /// The directory can be neither read nor made.
    pub(crate) fn open(directory: &Path) -> Result<Self, RecordError> {
        let failed =
            |error: io::Error| RecordError::File { path: directory.to_owned(), reason: error.to_string() };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        let mut records = Self {
            directory: directory.to_owned(),
            kept: BTreeMap::new(),
            next: 0,
            unsynced: BTreeSet::new(),
            damaged: Vec::new(),
        };
        for entry in fs::read_dir(directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some(SUFFIX) => records.load(&path),
                // one that was being written
                Some("new") => drop(fs::remove_file(&path)),
                _ => {}
            }
        }
        Ok(records)
    }

    fn load(&mut self, path: &Path) {
        let number =
            path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok());
        let read = number.ok_or_else(|| "its name is no number".to_owned()).and_then(|number| {
            Ok((number, serde_json::from_slice::<Record>(&read(path)?).map_err(|error| error.to_string())?))
        });
        match read {
            Ok((number, record)) => {
                self.next = self.next.max(number.saturating_add(1));
                let kept = Kept { record, number, version: number };
                if let Some(twin) = self.kept.insert(kept.record.key.clone(), kept) {
                    self.put_aside(&self.path(twin.number), "another file has the same attachment");
                }
            }
            Err(reason) => self.put_aside(path, &reason),
        }
    }

    fn put_aside(&mut self, path: &Path, reason: &str) {
        let aside = path.with_extension(ASIDE);
        let moved =
            fs::rename(path, &aside).map_or_else(|error| format!(", and stays: {error}"), |()| String::new());
        let said = format!("{}: {reason}; put aside as {}{moved}", path.display(), aside.display());
        tracing::error!(file = %path.display(), reason, "a record of an attachment cannot be read");
        self.damaged.push(said);
    }

    /// Files that could not be read, in words.
    pub(crate) fn damaged(&self) -> &[String] {
        &self.damaged
    }

    /// The record of an attachment.
    pub(crate) fn get(&self, key: &Key) -> Option<Record> {
        self.kept.get(key).map(|kept| kept.record.clone())
    }

    /// All records.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Record> {
        self.kept.values().map(|kept| &kept.record)
    }

    /// The version of a record that is there.
    pub(crate) fn version(&self, key: &Key) -> Option<u64> {
        self.kept.get(key).map(|kept| kept.version)
    }

    /// Keeps a record in the place of the one of its attachment, for as long as the system runs.
    ///
    /// # Errors
    /// Nothing is changed then.
    pub(crate) fn put(&mut self, record: Record) -> Result<(), RecordError> {
        let known = self.kept.get(&record.key).map(|kept| kept.number);
        // what is owed must not be lost because others are many
        if known.is_none() && self.kept.len() >= MOST && record.state == State::Attaching {
            return Err(RecordError::Full { path: self.directory.clone() });
        }
        let number = known.unwrap_or(self.next);
        self.write(number, &record)?;
        self.unsynced.insert(number);
        self.keep(record, number);
        Ok(())
    }

    /// As [`Records::put`]; it is on disk when this returns.
    ///
    /// # Errors
    /// The record may be on disk all the same.
    pub(crate) fn put_for_good(&mut self, record: Record) -> Result<(), RecordError> {
        let key = record.key.clone();
        self.put(record)?;
        let number = self.kept.get(&key).map(|kept| kept.number);
        self.unsynced.retain(|unsynced| Some(*unsynced) != number);
        sync(number.map(|number| self.path(number)).as_slice(), &self.directory)
    }

    /// Changes a record in memory alone: a restart finds what was there before.
    pub(crate) fn put_in_memory(&mut self, record: Record) {
        if let Some(number) = self.kept.get(&record.key).map(|kept| kept.number) {
            self.keep(record, number);
        }
    }

    fn keep(&mut self, record: Record, number: u64) {
        self.next = self.next.max(number.saturating_add(1));
        let version = self.next;
        self.next = self.next.saturating_add(1);
        self.kept.insert(record.key.clone(), Kept { record, number, version });
    }

    /// Forgets an attachment, if its record is still of this version.
    ///
    /// # Errors
    /// The file cannot be removed; the record stays.
    pub(crate) fn remove(&mut self, key: &Key, version: u64) -> Result<(), RecordError> {
        let Some(kept) = self.kept.get(key).filter(|kept| kept.version == version) else { return Ok(()) };
        let (number, path) = (kept.number, self.path(kept.number));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(RecordError::File { path, reason: error.to_string() });
            }
            _ => {}
        }
        self.unsynced.remove(&number);
        self.kept.remove(key);
        Ok(())
    }

    /// What has to be done for all to survive a power cut; it takes its time.
    pub(crate) fn sync(&mut self) -> impl FnOnce() -> Result<(), RecordError> + Send + 'static {
        let files: Vec<PathBuf> =
            std::mem::take(&mut self.unsynced).into_iter().map(|n| self.path(n)).collect();
        let directory = self.directory.clone();
        move || if files.is_empty() { Ok(()) } else { sync(&files, &directory) }
    }

    /// Whether something has not reached the disk.
    pub(crate) fn is_unsynced(&self) -> bool {
        !self.unsynced.is_empty()
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{number}.{SUFFIX}"))
    }

    fn write(&self, number: u64, record: &Record) -> Result<(), RecordError> {
        let path = self.path(number);
        let failed = |error: io::Error| RecordError::File { path: path.clone(), reason: error.to_string() };
        let text = serde_json::to_vec(record).map_err(io::Error::other).map_err(failed)?;
        let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
        if length > LONGEST {
            return Err(RecordError::TooLong(length));
        }
        let fresh = path.with_extension("new");
        // the configuration may hold what only root may read
        let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh);
        opened
            .and_then(|mut file| file.write_all(&text))
            .and_then(|()| fs::rename(&fresh, &path))
            .inspect_err(|_| drop(fs::remove_file(&fresh)))
            .map_err(failed)
    }
}

/// The bytes of a file that is not too long.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    match u64::try_from(bytes.len()) {
        Ok(length) if length <= LONGEST => Ok(bytes),
        _ => Err(format!("longer than {LONGEST} bytes")),
    }
}

/// Waits until files, and their names, are on disk; a file that is gone needs no more.
fn sync(files: &[PathBuf], directory: &Path) -> Result<(), RecordError> {
    for path in files {
        match File::open(path).and_then(|file| file.sync_all()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(RecordError::File { path: path.clone(), reason: error.to_string() });
            }
            _ => {}
        }
    }
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| RecordError::File { path: directory.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests;
