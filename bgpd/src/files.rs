//! Directories that other programs write to, followed by inotify: passwords, and status files of endpoints.
//!
//! Only that something changed is told; whoever asks reads again what matters. A directory that is not there is looked
//! for again now and then.

use datastore::directory::{BURST, QUIET, Watch};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

/// How often a directory that is not there is looked for.
const AGAIN: Duration = Duration::from_secs(2);

/// Watches directories and those inside of them.
pub(crate) struct Files {
    directories: Vec<PathBuf>,
    watch: Watch,
    /// Directories that could be watched the last time.
    watched: Vec<PathBuf>,
    /// The burst of changes that has been read of and not told yet: a wait given up must not lose it.
    burst: Option<Burst>,
    /// When directories that are not there are looked for, for the same reason.
    look_again: Instant,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files").field("directories", &self.directories).finish_non_exhaustive()
    }
}

/// When a burst of changes is over: with silence, but not later than `latest`.
#[derive(Clone, Copy)]
struct Burst {
    end: Instant,
    latest: Instant,
}

impl Files {
    /// Watches these directories, there or not, and what directories they hold. Must be called on a runtime.
    pub(crate) fn watch(directories: Vec<PathBuf>) -> std::io::Result<Self> {
        let mut files = Self {
            directories,
            watch: Watch::new()?,
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
            let next = self.watch.events();
            let read = match self.burst {
                None => Some(next.await),
                // A wait whose time is over takes what is there nevertheless.
                Some(burst) if burst.end <= Instant::now() => None,
                Some(burst) => tokio::time::timeout_at(burst.end, next).await.ok(),
            };
            let Some(read) = read else {
                self.burst = None;
                return true;
            };
            match read {
                Ok(_) => {
                    let now = Instant::now();
                    let latest = self.burst.map_or(now + BURST, |burst| burst.latest);
                    self.burst = Some(Burst { end: latest.min(now + QUIET), latest });
                }
                // Nothing can be read for now: directories are looked for again meanwhile.
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        }
    }

    /// Watches what is there now: directories may have come, and gone and come again.
    fn renew(&mut self) {
        let all = self
            .directories
            .iter()
            .flat_map(|directory| std::iter::once(directory.clone()).chain(inside(directory)));
        self.watched = all.filter(|path| self.watch.add(path).is_ok()).collect();
    }
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
    async fn a_writer_that_never_rests_does_not_hide_its_changes() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Files::watch(vec![folder.path().to_path_buf()]).unwrap();
        let writes = async {
            for n in 0.. {
                std::fs::write(folder.path().join("k"), n.to_string()).unwrap();
                tokio::time::sleep(QUIET / 10).await;
            }
        };
        tokio::select! {
            changed = changed(&mut files) => assert!(changed),
            () = writes => unreachable!("it never rests"),
        }
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
