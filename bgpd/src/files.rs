//! Directories that other programs write to, followed by inotify: passwords, and status files of endpoints.
//!
//! Only that something changed is told; whoever asks reads again what matters. A directory that is not there is looked
//! for again now and then.

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

/// Silence after which a burst of changes is over.
const QUIET: Duration = Duration::from_millis(50);
/// How often a directory that is not there is looked for.
const AGAIN: Duration = Duration::from_secs(2);

/// Watches directories and those inside of them.
pub(crate) struct Files {
    directories: Vec<PathBuf>,
    inotify: AsyncFd<Descriptor>,
    /// Directories that could be watched the last time.
    watched: Vec<PathBuf>,
    /// The end of the burst of changes that has been read of and not told yet: a wait given up must not lose it.
    burst: Option<Instant>,
    /// When directories that are not there are looked for, for the same reason.
    look_again: Instant,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files").field("directories", &self.directories).finish_non_exhaustive()
    }
}

struct Descriptor(Inotify);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Files {
    /// Watches these directories, there or not, and what directories they hold. Must be called on a runtime.
    pub(crate) fn watch(directories: Vec<PathBuf>) -> std::io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let inotify = ready(inotify)?;
        let mut files = Self {
            directories,
            inotify,
            watched: Vec::new(),
            burst: None,
            look_again: Instant::now() + AGAIN,
        };
        files.renew();
        Ok(files)
    }

    /// Waits until something changed. Giving the wait up loses nothing.
    pub(crate) async fn changed(&mut self) {
        loop {
            let missing = self.directories.iter().any(|directory| !self.watched.contains(directory));
            let look_again = self.look_again;
            let told = tokio::select! {
                told = self.told() => told,
                () = tokio::time::sleep_until(look_again), if missing => false,
            };
            self.look_again = Instant::now() + AGAIN;
            let before = self.watched.clone();
            self.renew();
            if told || before != self.watched {
                return;
            }
        }
    }

    /// Waits for the kernel to tell of a burst of changes, to its end.
    async fn told(&mut self) -> bool {
        loop {
            let inotify = &self.inotify;
            let next = async {
                let Ok(mut ready) = inotify.readable().await else {
                    return std::future::pending().await;
                };
                let read = inotify.get_ref().0.read_events();
                if read.is_err() {
                    ready.clear_ready();
                }
                read.is_ok()
            };
            let read = match self.burst {
                None => next.await,
                Some(end) => match tokio::time::timeout_at(end, next).await {
                    Ok(read) => read,
                    Err(_) => {
                        self.burst = None;
                        return true;
                    }
                },
            };
            if read {
                self.burst = Some(Instant::now() + QUIET);
            }
        }
    }

    /// Watches what is there now: directories may have come, and gone and come again.
    fn renew(&mut self) {
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        let all = self
            .directories
            .iter()
            .flat_map(|directory| std::iter::once(directory.clone()).chain(inside(directory)));
        let inotify = &self.inotify.get_ref().0;
        self.watched = all.filter(|path| inotify.add_watch(path, flags).is_ok()).collect();
    }
}

#[allow(unsafe_code)]
fn ready(inotify: Inotify) -> std::io::Result<AsyncFd<Descriptor>> {
    // SAFETY: the descriptor is open and stays the same one for as long as it lives: nothing closes or replaces it.
    Ok(unsafe { AsyncFd::register_with_interest(Descriptor(inotify), Interest::READABLE)? })
}

fn inside(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir())
}

/// The files of a directory with their contents; none where it cannot be read.
pub(crate) fn read_all(directory: &Path) -> impl Iterator<Item = (String, Vec<u8>)> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let content = std::fs::read(entry.path()).ok()?;
        Some((entry.file_name().to_string_lossy().into_owned(), content))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn changed(files: &mut Files) -> bool {
        tokio::time::timeout(Duration::from_secs(10), files.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn changes_inside_and_below_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Files::watch(vec![folder.path().to_path_buf()]).unwrap();
        std::fs::create_dir(folder.path().join("s")).unwrap();
        assert!(changed(&mut files).await);
        std::fs::write(folder.path().join("s/k"), "x").unwrap();
        assert!(changed(&mut files).await);
        std::fs::remove_file(folder.path().join("s/k")).unwrap();
        assert!(changed(&mut files).await);
        let silent = tokio::time::timeout(Duration::from_millis(200), files.changed()).await;
        assert!(silent.is_err(), "nothing happened");
    }

    #[tokio::test]
    async fn a_wait_given_up_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Files::watch(vec![folder.path().to_path_buf()]).unwrap();
        std::fs::write(folder.path().join("k"), "x").unwrap();
        // Given up again and again, as by a loop that has other things to do, and sooner than the silence ends.
        let told = async {
            loop {
                if tokio::time::timeout(QUIET / 5, files.changed()).await.is_ok() {
                    return;
                }
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(10), told).await.is_ok());
    }

    #[tokio::test]
    async fn a_directory_that_comes_later_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("later");
        let mut files = Files::watch(vec![path.clone()]).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(changed(&mut files).await);
        std::fs::write(path.join("f"), "1").unwrap();
        assert!(changed(&mut files).await);
        assert_eq!(read_all(&path).collect::<Vec<_>>(), [("f".to_string(), b"1".to_vec())]);
        assert_eq!(read_all(Path::new("/no/such")).count(), 0);
    }
}
