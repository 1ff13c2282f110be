//! A log file that is full is put aside, compressed; those too old or too many go (`cni.md` §2 of the contract).

use cni_protocol::config::LogConf;
use nix::fcntl::{Flock, FlockArg};
use ruzstd::encoding::{CompressionLevel, compress};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const MEGABYTE: u64 = 1024 * 1024;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// What follows the time in the name of a compressed log, and of one that is still being written.
const COMPRESSED: &str = ".zst";
const PARTIAL: &str = ".zst.part";

/// Puts a full log aside under a name with the time, `<log>.<seconds>.zst`, and removes those that are too old or too
/// many. Of several plugins that want to, one does, and the others go on; what one left that died over it is compressed
/// the next time. Nothing here may keep a workload from its network, so failures end it silently.
pub(crate) fn rotate(path: &Path, conf: &LogConf, now: SystemTime) {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
    else {
        return;
    };
    let full = |size: u64| size >= conf.max_size_mb.saturating_mul(MEGABYTE);
    // Nearly every call ends here.
    if !fs::metadata(path).is_ok_and(|file| full(file.len())) {
        return;
    }
    let Some(_lock) = lock(path).filter(|log| log.metadata().is_ok_and(|file| full(file.len()))) else {
        return;
    };
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let prefix = format!("{name}.");
    if fs::rename(path, directory.join(format!("{prefix}{seconds}"))).is_err() {
        return;
    }
    let Ok(entries) = fs::read_dir(directory) else { return };
    let mut aside: Vec<(u64, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let rest = name.to_str()?.strip_prefix(&prefix)?;
            let time = rest.strip_suffix(PARTIAL).or_else(|| rest.strip_suffix(COMPRESSED)).unwrap_or(rest);
            Some((time.parse().ok()?, entry.path()))
        })
        .collect();
    aside.sort_by(|a, b| b.cmp(a));
    let oldest = seconds.saturating_sub(conf.max_age_days.saturating_mul(DAY.as_secs()));
    let mut kept = 0;
    for (time, path) in aside {
        let ends = |suffix: &str| path.as_os_str().as_encoded_bytes().ends_with(suffix.as_bytes());
        // Nobody else writes here now: it is of one that died.
        if ends(PARTIAL) || kept >= conf.max_count || time < oldest {
            let _ = fs::remove_file(&path);
            continue;
        }
        kept += 1;
        if !ends(COMPRESSED) {
            let _ = shrink(&path);
        }
    }
}

/// The log, locked; `None` when somebody else rotates it, or has just done so.
fn lock(path: &Path) -> Option<Flock<File>> {
    let log = Flock::lock(File::open(path).ok()?, FlockArg::LockExclusiveNonblock).ok()?;
    let (ours, there) = (log.metadata().ok()?, fs::metadata(path).ok()?);
    ((ours.dev(), ours.ino()) == (there.dev(), there.ino())).then_some(log)
}

/// Compresses a file and puts the result in its place.
fn shrink(path: &Path) -> io::Result<()> {
    let beside = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let part = beside(PARTIAL);
    let mut from = Patient { inner: File::open(path)?, failure: None };
    let mut to = Patient { inner: File::create(&part)?, failure: None };
    compress(&mut from, &mut to, CompressionLevel::Fastest);
    if let Some(error) = from.failure.or(to.failure) {
        let _ = fs::remove_file(&part);
        return Err(error);
    }
    fs::rename(part, beside(COMPRESSED))?;
    fs::remove_file(path)
}

/// A file that remembers its first failure instead of telling it: the compressor panics when it is told of one.
struct Patient {
    inner: File,
    failure: Option<io::Error>,
}

impl io::Read for Patient {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        Ok(self.inner.read(bytes).unwrap_or_else(|error| {
            self.failure.get_or_insert(error);
            0
        }))
    }
}

impl io::Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failure.is_none()
            && let Err(error) = self.inner.write_all(bytes)
        {
            self.failure = Some(error);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn text(path: &Path) -> Vec<u8> {
        let mut bytes = Vec::new();
        let file = File::open(path).unwrap();
        ruzstd::decoding::StreamingDecoder::new(file).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn conf() -> LogConf {
        LogConf { max_size_mb: 1, max_age_days: 30, max_count: 3, ..LogConf::default() }
    }

    #[test]
    fn a_full_log_is_put_aside_and_old_ones_go() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("cni.log");
        let now = SystemTime::UNIX_EPOCH + 100 * DAY;
        let day = |n: u32| (DAY * n).as_secs();
        for (time, suffix) in [(99, ".zst"), (98, ".zst"), (97, ".zst"), (1, ""), (99, ".zst.part")] {
            fs::write(directory.path().join(format!("cni.log.{}{suffix}", day(time))), "old").unwrap();
        }
        fs::write(directory.path().join("cni.log.note"), "not ours").unwrap();
        fs::write(&log, vec![b'x'; 10]).unwrap();
        rotate(&log, &conf(), now);
        assert!(log.exists(), "not full yet");
        let lines: Vec<u8> = (0..100_000).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
        assert!(lines.len() as u64 > MEGABYTE);
        fs::write(&log, &lines).unwrap();
        rotate(&log, &conf(), now);
        let mut expected = vec!["cni.log.note".to_owned()];
        expected.extend([98, 99, 100].map(|time| format!("cni.log.{}.zst", day(time))));
        expected.sort();
        assert_eq!(names(directory.path()), expected);
        let aside = directory.path().join(format!("cni.log.{}.zst", day(100)));
        assert_eq!(text(&aside), lines);
        assert!(fs::metadata(&aside).unwrap().len() < lines.len() as u64 / 2);
    }

    #[test]
    fn what_died_over_it_is_done_next_time() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("cni.log");
        fs::write(directory.path().join("cni.log.1000"), "left uncompressed").unwrap();
        fs::write(directory.path().join("cni.log.1000.zst.part"), "half").unwrap();
        fs::write(&log, vec![b'x'; MEGABYTE as usize]).unwrap();
        rotate(&log, &conf(), SystemTime::UNIX_EPOCH + Duration::from_secs(2000));
        assert_eq!(names(directory.path()), ["cni.log.1000.zst", "cni.log.2000.zst"]);
        assert_eq!(text(&directory.path().join("cni.log.1000.zst")), b"left uncompressed");
    }

    #[test]
    fn a_log_that_cannot_be_compressed_stays_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("cni.log.5");
        fs::write(&log, "words").unwrap();
        // Every write to it fails as on a full disk.
        std::os::unix::fs::symlink("/dev/full", directory.path().join("cni.log.5.zst.part")).unwrap();
        assert_eq!(shrink(&log).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(names(directory.path()), ["cni.log.5"]);
        fs::create_dir(directory.path().join("cni.log.6")).unwrap();
        assert!(shrink(&directory.path().join("cni.log.6")).is_err(), "reading fails");
    }

    #[test]
    fn one_of_several_does_it() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("cni.log");
        fs::write(&log, vec![b'x'; MEGABYTE as usize]).unwrap();
        let held = lock(&log).unwrap();
        rotate(&log, &conf(), SystemTime::UNIX_EPOCH);
        assert_eq!(names(directory.path()), ["cni.log"]);
        // Put aside meanwhile: the file that is locked is no longer the log.
        let opened = File::open(&log).unwrap();
        fs::rename(&log, directory.path().join("cni.log.1")).unwrap();
        fs::write(&log, "new").unwrap();
        drop((held, opened));
        let lock = lock(&log).unwrap();
        assert_eq!(lock.metadata().unwrap().len(), 3);
    }
}
