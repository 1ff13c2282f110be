//! The host's lock around address management (`ipam.md` §9 of the contract).
//!
//! It is not needed for safety, every write is a compare-and-swap: it only spares the plugins of one host, which
//! all take addresses from the same block, the retries.

use nix::fcntl::{Flock, FlockArg};
use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long another plugin's work is waited for; after that everybody goes on without the lock.
const PATIENCE: Duration = Duration::from_secs(90);

/// The lock, held until it is dropped.
pub(crate) struct HostLock(#[expect(dead_code, reason = "held, not used")] Flock<File>);

/// Takes the lock; `None`, with a line in the log, where it cannot be had.
pub(crate) async fn take(path: &str) -> Option<HostLock> {
    let path = PathBuf::from(path);
    let shown = path.display().to_string();
    let (done, taken) = tokio::sync::oneshot::channel();
    // A thread of its own rather than the runtime's pool: the process may end while it still waits.
    let spawned = std::thread::Builder::new().name("ipam-lock".into()).spawn(move || {
        let _ = done.send(lock(&path));
    });
    if let Err(error) = spawned {
        tracing::warn!(lock = shown, %error, "going on without the host's IPAM lock");
        return None;
    }
    match tokio::time::timeout(PATIENCE, taken).await {
        Ok(Ok(Ok(lock))) => Some(lock),
        Ok(Ok(Err(error))) => {
            tracing::warn!(lock = shown, %error, "going on without the host's IPAM lock");
            None
        }
        Ok(Err(_)) | Err(_) => {
            tracing::warn!(lock = shown, "another plugin keeps the host's IPAM lock, going on without");
            None
        }
    }
}

fn lock(path: &Path) -> std::io::Result<HostLock> {
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    }
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    Flock::lock(file, FlockArg::LockExclusive).map(HostLock).map_err(|(_, errno)| errno.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[tokio::test]
    async fn one_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("made/ipam.lock").display().to_string();
        let first = take(&path).await.unwrap();
        let freed = Arc::new(AtomicBool::new(false));
        let (second_path, second_freed) = (path.clone(), Arc::clone(&freed));
        let second = tokio::spawn(async move {
            let lock = take(&second_path).await;
            (lock.is_some(), second_freed.load(Ordering::SeqCst))
        });
        tokio::task::yield_now().await;
        freed.store(true, Ordering::SeqCst);
        drop(first);
        assert_eq!(second.await.unwrap(), (true, true));
    }

    #[tokio::test]
    async fn a_lock_that_cannot_be_made_is_done_without() {
        assert!(take("/proc/no/such/place/ipam.lock").await.is_none());
    }
}
