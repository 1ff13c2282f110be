//! One agent a node: a lock that ends with the process, however it ends.

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

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

/// Takes the lock in `directory`.
///
/// # Errors
/// Another process has it; the file cannot be made.
pub fn take(directory: &Path) -> Result<Lock, LockError> {
    let path = directory.join("node.lock");
    let failed = |error: std::io::Error| LockError::File { path: path.clone(), reason: error.to_string() };
    std::fs::create_dir_all(directory).map_err(failed)?;
    let open = File::options().read(true).write(true).create(true).truncate(false).open(&path);
    match Flock::lock(open.map_err(failed)?, FlockArg::LockExclusiveNonblock) {
        Ok(mut file) => {
            let said = file.set_len(0).and_then(|()| file.rewind());
            said.and_then(|()| write!(file, "{}", std::process::id())).map_err(failed)?;
            Ok(Lock { _file: file })
        }
        Err((mut file, Errno::EWOULDBLOCK)) => {
            let mut holder = String::new();
            // an unreadable name is not worth an error of its own
            let _ = file.read_to_string(&mut holder);
            Err(LockError::Held { path, holder: holder.trim().to_owned() })
        }
        Err((_, errno)) => Err(failed(errno.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_refused_and_told_who_has_it() {
        let directory = tempfile::tempdir().unwrap();
        let run = directory.path().join("run");
        let first = take(&run).unwrap();
        let error = take(&run).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        assert!(error.contains("another agent runs on this node"), "{error}");
        drop(first);
        take(&run).unwrap();
        let error = take(Path::new("/proc/nowhere")).unwrap_err();
        assert!(matches!(error, LockError::File { .. }), "{error}");
    }
}
