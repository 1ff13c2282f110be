//! The file that the log lies in: written at any place, durable when the write returns.
//!
//! A write goes from our memory to the disk, not by way of the page cache (`O_DIRECT`), and the same call waits for the disk
//! (`O_DSYNC`): a page that is copied, found again, and written out by a second call costs a fifth of a small commit. Where the
//! file system or the disk's sectors do not allow that, the cache stays in between.

use nix::fcntl::OFlag;
use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// A write of a disk is whole at least so far; writes begin and end there.
pub(crate) const SECTOR: usize = 512;
/// Where memory has to begin that a disk reads: a page, which is enough for every disk.
const ALIGNED: usize = 4096;
/// Memory for writes that is kept for the next one.
const KEPT: usize = 1 << 20;

/// Where a log can lie.
pub(crate) trait Medium: Debug + Send {
    /// Bytes it has, which do not change.
    fn size(&self) -> io::Result<usize>;
    /// All of them.
    fn read(&self) -> io::Result<Vec<u8>>;
    /// Whole sectors at the beginning of a sector, durable on return.
    fn write(&mut self, at: usize, sectors: &[u8]) -> io::Result<()>;
}

/// A file.
#[derive(Debug)]
pub(crate) struct LogFile {
    /// Writes by it are durable on return.
    file: File,
    /// Reads by it may lie anywhere.
    reader: File,
    memory: Memory,
}

impl LogFile {
    /// Opens a file that has its size.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let with =
            |flags: OFlag| File::options().read(true).write(true).custom_flags(flags.bits()).open(path);
        let mut memory = Memory::default();
        let direct = with(OFlag::O_DIRECT | OFlag::O_DSYNC).and_then(|file| {
            // a disk with larger sectors refuses
            file.read_at(memory.copy_mut(&[0; SECTOR]), SECTOR as u64)?;
            Ok(file)
        });
        let file = match direct {
            Ok(file) => file,
            Err(_) => with(OFlag::O_DSYNC)?,
        };
        Ok(Self { file, reader: File::open(path)?, memory })
    }
}

impl Medium for LogFile {
    fn size(&self) -> io::Result<usize> {
        Ok(usize::try_from(self.reader.metadata()?.len()).unwrap_or(usize::MAX))
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.size()?];
        self.reader.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    fn write(&mut self, at: usize, sectors: &[u8]) -> io::Result<()> {
        self.file.write_all_at(self.memory.copy_mut(sectors), at as u64)
    }
}

/// Memory that begins where a disk can read it.
#[derive(Debug, Default)]
struct Memory(Vec<u8>);

impl Memory {
    fn copy_mut(&mut self, bytes: &[u8]) -> &mut [u8] {
        let Self(memory) = self;
        memory.clear();
        memory.shrink_to(KEPT);
        memory.reserve(bytes.len() + ALIGNED);
        let begin = memory.as_ptr().align_offset(ALIGNED).min(ALIGNED);
        memory.resize(begin, 0);
        memory.extend_from_slice(bytes);
        memory.get_mut(begin..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, vec![0; 3 << 20]).unwrap();
        let mut file = LogFile::open(&path).unwrap();
        let mut expected = file.read().unwrap();
        for (at, sectors) in [(0, 1), (7, 3), (1000, 4000), (6143, 1), (8, 1)] {
            let bytes: Vec<u8> = (0..sectors * SECTOR).map(|n| (n % 251 + 1) as u8).collect();
            file.write(at * SECTOR, &bytes).unwrap();
            expected[at * SECTOR..at * SECTOR + bytes.len()].copy_from_slice(&bytes);
            assert!(file.read().unwrap() == expected, "{sectors} sectors at {at}");
        }
        assert!(std::fs::read(&path).unwrap() == expected);
        assert!(file.memory.0.capacity() < (3 << 20), "what a large write took is given back");
    }

    #[test]
    fn memory_begins_at_a_page() {
        let mut memory = Memory::default();
        for len in [512, 1024, 1 << 20, 4 << 20, 512] {
            let bytes = vec![len as u8; len];
            let copied = memory.copy_mut(&bytes);
            assert!(copied == bytes && copied.as_ptr().align_offset(ALIGNED) == 0, "{len}");
        }
    }
}
