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
    /// Those of `directories` that could be watched the last time.
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
            let missing = self.missing().next().is_some();
            let look_again = self.look_again;
            tokio::select! {
                () = self.told() => {
                    self.renew();
                    return;
                }
                () = tokio::time::sleep_until(look_again), if missing => {}
            }
            self.look_again = Instant::now() + AGAIN;
            if self.find() {
                return;
            }
        }
    }

    /// Waits for the kernel to tell of a burst of changes, to its end.
    async fn told(&mut self) {
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
                self.look_again = Instant::now() + AGAIN;
                return;
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
        self.watched.clear();
        self.find();
    }

    /// Watches those that were missing; whether one has come. Of the others their watches tell: they are not read again, as
    /// one may hold a file an endpoint.
    fn find(&mut self) -> bool {
        let missing: Vec<PathBuf> = self.missing().cloned().collect();
        let mut found = false;
        for directory in missing {
            if self.watch.add(&directory).is_err() {
                continue;
            }
            found = true;
            for inner in inside(&directory) {
                // it may have gone by now
                let _ = self.watch.add(&inner);
            }
            self.watched.push(directory);
        }
        found
    }

    /// Directories that could not be watched the last time.
    fn missing(&self) -> impl Iterator<Item = &PathBuf> {
        self.directories.iter().filter(|directory| !self.watched.contains(directory))
    }
}

fn inside(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let is_directory = |entry: &std::fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_symlink() => entry.path().is_dir(),
        kind => kind.is_ok_and(|kind| kind.is_dir()),
    };
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(is_directory).map(|entry| entry.path())
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
    async fn looking_for_a_missing_directory_leaves_the_others_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (there, missing) = (folder.path().join("there"), folder.path().join("missing"));
        std::fs::create_dir_all(there.join("old")).unwrap();
        let mut files = Files::watch(vec![missing.clone(), there.clone()]).unwrap();
        assert_eq!(files.watched, std::slice::from_ref(&there));
        // as if it were not watched: only a look at the directory would find it
        let unseen = tempfile::tempdir().unwrap();
        let looks = files.directories.len();
        files.directories.push(unseen.path().to_path_buf());
        files.watched.push(unseen.path().to_path_buf());
        assert!(!files.find());
        std::fs::write(unseen.path().join("f"), "1").unwrap();
        let silent = tokio::time::timeout(QUIET * 4, files.changed()).await;
        assert!(silent.is_err(), "it was read again");
        files.directories.truncate(looks);
        std::fs::create_dir_all(missing.join("s")).unwrap();
        assert!(changed(&mut files).await);
        std::fs::write(missing.join("s/k"), "x").unwrap();
        assert!(changed(&mut files).await);
        std::fs::write(there.join("old/k"), "x").unwrap();
        assert!(changed(&mut files).await);
    }

    #[tokio::test]
    async fn directories_behind_links_are_watched() {
        // as kubelet mounts a Secret
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), folder.path().join("s")).unwrap();
        let mut files = Files::watch(vec![folder.path().to_path_buf()]).unwrap();
        std::fs::write(elsewhere.path().join("k"), "x").unwrap();
        assert!(changed(&mut files).await);
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
