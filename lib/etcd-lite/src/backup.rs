//! Backups: everything a store holds in one file of our own form, with a checksum over all of it.
//!
//! `OCICAT DATASTORE 1\n`, then frames of kind (one byte), length (four bytes, big-endian) and content. Kinds: `m` the
//! last compaction (first), `l` a lease, `r` a row, `p` filling, `e` the SHA-256 of everything before (last).

use crate::disk::{Batch, Disk, DiskError, Identity};
use crate::rows;
use mvcc::{Record, Revision};
use sha2::{Digest, Sha256};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

const MAGIC: &[u8] = b"OCICAT DATASTORE 1\n";
/// No frame is longer: a row is at most a request.
const LONGEST: usize = 4 << 20;
/// All but the checksum is a multiple of it: that is how etcdctl knows that a snapshot has one.
const BLOCK: usize = 512;
/// Rows of one commit of a restore.
const CHUNK: usize = 8192;

/// Why a backup cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Not a backup, or damaged.
    #[error("it is no backup of a datastore, or damaged: {0}")]
    Form(String),
    /// Where it is to go there is something.
    #[error("{0} holds a datastore already: give an empty directory")]
    Occupied(PathBuf),
    /// The new datastore cannot be written.
    #[error("the new datastore cannot be written: {0}")]
    Disk(String),
}

impl From<DiskError> for BackupError {
    fn from(error: DiskError) -> Self {
        BackupError::Disk(error.to_string())
    }
}

/// A lease as a backup holds it: id, time to live, and its end in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackedLease {
    /// Its id.
    pub id: i64,
    /// Seconds it lives after a grant or keep-alive.
    pub ttl: i64,
    /// When it runs out.
    pub end: u64,
}

/// What a backup holds, one piece after another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Oldest revision that can be read.
    Compacted(Revision),
    /// A lease.
    Lease(BackedLease),
    /// A write.
    Record(Record),
}

/// Writes a backup.
pub struct Writer<W: Write> {
    to: W,
    hash: Sha256,
    written: usize,
}

impl<W: Write> Writer<W> {
    /// Begins one.
    ///
    /// # Errors
    /// Nothing can be written.
    pub fn new(to: W) -> std::io::Result<Self> {
        let mut writer = Self { to, hash: Sha256::new(), written: 0 };
        writer.put(MAGIC)?;
        Ok(writer)
    }

    /// Adds a piece; [`Piece::Compacted`] comes first.
    ///
    /// # Errors
    /// Nothing can be written.
    pub fn piece(&mut self, piece: &Piece) -> std::io::Result<()> {
        match piece {
            Piece::Compacted(revision) => self.frame(b'm', &[&revision.to_be_bytes()]),
            Piece::Lease(lease) => {
                let BackedLease { id, ttl, end } = lease;
                self.frame(b'l', &[&id.to_be_bytes(), &ttl.to_be_bytes(), &end.to_be_bytes()])
            }
            Piece::Record(record) => {
                let key = rows::row_key(record.revision, &record.key);
                let len = u32::try_from(key.len()).unwrap_or(u32::MAX).to_be_bytes();
                self.frame(b'r', &[&len, &key, &rows::row_value(record)])
            }
        }
    }

    /// Ends it.
    ///
    /// # Errors
    /// Nothing can be written.
    pub fn finish(mut self) -> std::io::Result<W> {
        // what follows is two heads, the filling and the sum
        let filling = (BLOCK - (self.written + 10) % BLOCK) % BLOCK;
        self.frame(b'p', &[&vec![0; filling]])?;
        let sum = self.hash.clone().finalize();
        self.frame(b'e', &[&sum])?;
        self.to.flush()?;
        Ok(self.to)
    }

    fn frame(&mut self, kind: u8, parts: &[&[u8]]) -> std::io::Result<()> {
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        let len = u32::try_from(len).map_err(|_| std::io::Error::other("a piece is too long"))?;
        self.put(&[kind])?;
        self.put(&len.to_be_bytes())?;
        parts.iter().try_for_each(|part| self.put(part))
    }

    fn put(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.hash.update(bytes);
        self.written += bytes.len();
        self.to.write_all(bytes)
    }
}

/// Reads a backup: pieces to `take`, and at the end whether all of it was as written. `take` must be ready to throw
/// everything away when that fails.
///
/// # Errors
/// Not a backup, damaged, or `take` refuses.
pub fn read(
    mut from: impl Read,
    mut take: impl FnMut(Piece) -> Result<(), BackupError>,
) -> Result<(), BackupError> {
    let form = |text: &str| BackupError::Form(text.to_owned());
    let mut hash = Sha256::new();
    let mut get = |len: usize, hash: &mut Sha256| -> Result<(Vec<u8>, Vec<u8>), BackupError> {
        let before = hash.clone().finalize().to_vec();
        let mut bytes = vec![0; len];
        from.read_exact(&mut bytes).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => form("it is cut off"),
            _ => BackupError::Io(error),
        })?;
        hash.update(&bytes);
        Ok((bytes, before))
    };
    if get(MAGIC.len(), &mut hash).map(|(bytes, _)| bytes != MAGIC).unwrap_or(true) {
        return Err(form("it does not begin as one (was it saved from a real etcd? Use `migrate`)"));
    }
    let number = |bytes: &[u8]| bytes.first_chunk::<8>().map(|chunk| i64::from_be_bytes(*chunk));
    loop {
        let (head, sum) = get(5, &mut hash)?;
        let (Some(kind), Some(len)) = (head.first(), head.get(1..).and_then(|rest| rest.first_chunk::<4>()))
        else {
            return Err(form("a frame is cut off"));
        };
        let len = u32::from_be_bytes(*len) as usize;
        if len > LONGEST {
            return Err(form("a frame is too long"));
        }
        let (content, _) = get(len, &mut hash)?;
        let piece = match kind {
            b'p' => continue,
            b'm' => number(&content).map(Piece::Compacted),
            b'l' => lease(&content),
            b'r' => row(&content),
            b'e' if content == sum => return Ok(()),
            b'e' => return Err(form("its checksum is wrong")),
            _ => None,
        };
        take(piece.ok_or_else(|| form("a frame is none of ours"))?)?;
    }
}

fn lease(content: &[u8]) -> Option<Piece> {
    let (id, rest) = content.split_first_chunk::<8>()?;
    let (ttl, rest) = rest.split_first_chunk::<8>()?;
    let end = rest.first_chunk::<8>()?;
    Some(Piece::Lease(BackedLease {
        id: i64::from_be_bytes(*id),
        ttl: i64::from_be_bytes(*ttl),
        end: u64::from_be_bytes(*end),
    }))
}

fn row(content: &[u8]) -> Option<Piece> {
    let (len, rest) = content.split_first_chunk::<4>()?;
    let (key, value) = rest.split_at_checked(u32::from_be_bytes(*len) as usize)?;
    rows::record(key, value).map(Piece::Record)
}

/// What was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Restored {
    /// Writes.
    pub records: usize,
    /// Leases.
    pub leases: usize,
    /// Newest revision.
    pub revision: Revision,
}

/// Makes a datastore from a backup in a directory that has none. Revisions are those of the backup. The datastore has its
/// name only when it is complete.
///
/// # Errors
/// The directory has one, the backup is damaged, or the disk refuses.
pub fn restore(from: impl Read, directory: &Path) -> Result<Restored, BackupError> {
    let path = directory.join(crate::disk::FILE);
    if path.exists() {
        return Err(BackupError::Occupied(directory.to_path_buf()));
    }
    std::fs::create_dir_all(directory)?;
    let half = directory.join(".store.redb.restore");
    let result = fill(from, &half);
    if result.is_err() {
        let _ = std::fs::remove_file(&half);
    }
    let restored = result?;
    std::fs::rename(&half, &path)?;
    crate::disk::sync_directory(directory)?;
    Ok(restored)
}

fn fill(from: impl Read, path: &Path) -> Result<Restored, BackupError> {
    // another store: a client that knew the first must not take this one for it
    let mut disk = Disk::create(path, Identity::chosen())?;
    let mut done = Restored::default();
    let mut batch = Batch { leases_exact: Some(true), ..Batch::default() };
    let mut write = |batch: &mut Batch| {
        disk.commit(std::mem::take(batch)).map_err(|error| BackupError::Disk(error.to_string()))
    };
    read(from, |piece| {
        match piece {
            Piece::Compacted(revision) => {
                done.revision = done.revision.max(revision);
                batch.compacted = Some(revision);
            }
            Piece::Lease(BackedLease { id, ttl, end }) => {
                done.leases += 1;
                batch.leases.push((id, Some((ttl, end))));
            }
            Piece::Record(record) => {
                done.records += 1;
                done.revision = done.revision.max(record.revision);
                batch.records.push(record);
            }
        }
        if batch.records.len() >= CHUNK { write(&mut batch) } else { Ok(()) }
    })?;
    write(&mut batch)?;
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut writer = Writer::new(Vec::new()).unwrap();
        writer.piece(&Piece::Compacted(4)).unwrap();
        writer.piece(&Piece::Lease(BackedLease { id: 7, ttl: 60, end: 99 })).unwrap();
        for revision in 4..9 {
            let record = Record {
                revision,
                place: 0,
                key: format!("k{revision}").into(),
                value: vec![revision as u8; 300].into(),
                created: revision,
                version: 1,
                lease: 7,
            };
            writer.piece(&Piece::Record(record)).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn a_backup_becomes_a_store() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("new");
        let done = restore(sample().as_slice(), &target).unwrap();
        assert_eq!(done, Restored { records: 5, leases: 1, revision: 8 });
        let again = restore(sample().as_slice(), &target).unwrap_err();
        assert!(again.to_string().contains("holds a datastore already"), "{again}");
        let disk = Disk::open(&target).unwrap();
        let loaded =
            disk.load(mvcc::Limits::default(), std::time::Duration::ZERO, std::time::Duration::ZERO).unwrap();
        assert_eq!((loaded.store.revision(), loaded.store.compacted()), (8, 4));
    }

    #[test]
    fn no_damage_goes_unseen_and_nothing_is_left_of_it() {
        let whole = sample();
        let folder = tempfile::tempdir().unwrap();
        for at in (0..whole.len()).step_by(7) {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            assert!(restore(flipped.as_slice(), folder.path()).is_err(), "byte {at}");
            assert!(restore(&whole[..at], folder.path()).is_err(), "cut at {at}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
