//! One agent a node: a lock that ends with the process, however it ends.

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The agent's lock, in the directory of its sockets.
pub const AGENT: &str = "node.lock";
/// How long one that has just been killed may take to be gone.
const DYING: Duration = Duration::from_secs(2);
/// How often the lock is tried until then.
const AGAIN: Duration = Duration::from_millis(10);

/// Why the lock cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another agent has it.
    #[error("{path}: another agent runs on this node{}; stop it first", holder_text(holder))]
    Held {
        /// The lock.
        path: PathBuf,
        /// Its process, as it wrote it down.
        holder: String,
    },
    /// It cannot be opened.
    #[error("{path}: {reason}")]
    File {
        /// The lock.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
}

fn holder_text(holder: &str) -> String {
    if holder.is_empty() { String::new() } else { format!(" (process {holder})") }
}

/// The lock; let go when dropped.
#[derive(Debug)]
pub struct Lock {
    _file: Flock<File>,
}

/// Takes the lock of this name in `directory`. To be called before there is anything else to do: it may wait a little.
///
/// # Errors
/// Another process has it; the file cannot be made.
pub fn take(directory: &Path, name: &str) -> Result<Lock, LockError> {
    let path = directory.join(name);
    let failed = |error: std::io::Error| LockError::File { path: path.clone(), reason: error.to_string() };
    let mut file = lock_within(&path, DYING)?;
    let said = file.set_len(0).and_then(|()| file.rewind());
    said.and_then(|()| write!(file, "{}", std::process::id())).map_err(failed)?;
    Ok(Lock { _file: file })
}

/// Sees that nobody has the lock of this name, and does not take it.
///
/// # Errors
/// As [`take`].
pub fn is_free(directory: &Path, name: &str) -> Result<(), LockError> {
    lock_within(&directory.join(name), DYING).map(drop)
}

fn lock_within(path: &Path, patience: Duration) -> Result<Flock<File>, LockError> {
    let failed = |error: std::io::Error| LockError::File { path: path.to_owned(), reason: error.to_string() };
    path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(failed)?;
    let open = File::options().read(true).write(true).create(true).truncate(false).open(path);
    let (mut file, begin) = (open.map_err(failed)?, Instant::now());
    loop {
        let mut held = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => return Ok(file),
            Err((file, Errno::EWOULDBLOCK)) => file,
            Err((_, errno)) => return Err(failed(errno.into())),
        };
        if begin.elapsed() >= patience {
            let mut holder = String::new();
            // an unreadable name is not worth an error of its own
            let _ = held.read_to_string(&mut holder);
            return Err(LockError::Held { path: path.to_owned(), holder: holder.trim().to_owned() });
        }
        std::thread::sleep(AGAIN);
        file = held;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_refused_and_told_who_has_it() {
        let directory = tempfile::tempdir().unwrap();
        let run = directory.path().join("run");
        let first = take(&run, AGENT).unwrap();
        let error = lock_within(&run.join(AGENT), Duration::ZERO).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        assert!(error.contains("another agent runs on this node"), "{error}");
        // one that dies meanwhile is no reason to refuse
        std::thread::scope(|scope| {
            let second = scope.spawn(|| lock_within(&run.join(AGENT), Duration::from_secs(60)));
            drop(first);
            second.join().unwrap().unwrap();
        });
        is_free(&run, AGENT).unwrap();
        let holder = std::fs::read_to_string(run.join(AGENT)).unwrap();
        assert_eq!(holder, std::process::id().to_string(), "who only looks leaves no name");
        let error = take(Path::new("/proc/nowhere"), AGENT).unwrap_err();
        assert!(matches!(error, LockError::File { .. }), "{error}");
    }
}
