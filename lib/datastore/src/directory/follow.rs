//! Following a directory by inotify: when to look again, and the look itself.

use super::DirectoryError;
use super::contents::{Contents, Found};
use super::notice::{BURST, QUIET, Watch};
use nix::sys::inotify::{AddWatchFlags, InotifyEvent};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// Longest wait for somebody who is writing a file to close it.
const WRITER: Duration = Duration::from_secs(2);
/// Wait before another look at a directory that is not there.
const RETRY: Duration = Duration::from_secs(1);
/// Endings of files that count.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// Watches a directory, and those that its links lead to.
pub(super) struct Follower {
    directory: PathBuf,
    watch: Watch,
}

/// What one look found: the files, and the directories they really lie in.
struct Look {
    files: BTreeMap<String, Found>,
    directories: BTreeSet<PathBuf>,
}

impl Follower {
    /// Watches a directory and looks at it for the first time.
    pub(super) async fn start(directory: &Path) -> Result<(Self, Contents), DirectoryError> {
        let path = || directory.to_path_buf();
        // a directory that is none is told as such, not as one that cannot be followed
        std::fs::read_dir(directory).map_err(|source| DirectoryError::Read { path: path(), source })?;
        let following = |source: io::Error| DirectoryError::Follow { path: path(), source };
        let watch = Watch::new().map_err(following)?;
        watch.add(directory).map_err(following)?;
        let follower = Self { directory: path(), watch };
        let contents = follower.look(Contents::default()).await;
        Ok((follower, contents))
    }

    /// Waits until the directory has changed and come to rest, and looks at it.
    pub(super) async fn next(&mut self, contents: Contents) -> Contents {
        match self.watch.add(&self.directory) {
            Ok(()) => self.settle().await,
            // the directory is gone, and may come back as another one
            Err(_) => {
                let _ = timeout(RETRY, self.settle()).await;
            }
        }
        self.look(contents).await
    }

    /// Waits for a first event, and then for the end of the burst it begins. Nothing is lost when this is dropped but
    /// events of a burst that the next look sees anyway.
    async fn settle(&self) {
        let mut writing = BTreeSet::new();
        self.events(&mut writing).await;
        let begun = Instant::now();
        loop {
            let bound = if writing.is_empty() { begun + BURST } else { begun + WRITER };
            let quiet = if writing.is_empty() { (Instant::now() + QUIET).min(bound) } else { bound };
            // A wait whose time is over takes what is there nevertheless.
            if bound <= Instant::now() || timeout_at(quiet, self.events(&mut writing)).await.is_err() {
                return;
            }
        }
    }

    /// Waits for events; notes which files are being written and which were closed.
    async fn events(&self, writing: &mut BTreeSet<OsString>) {
        match self.watch.events().await {
            Ok(events) => events.into_iter().for_each(|event| note(event, writing)),
            // nothing can be read for now: look again, but not at once
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    }

    /// Looks at the directory, on a thread that may wait for disks.
    async fn look(&self, mut contents: Contents) -> Contents {
        let directory = self.directory.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let directories = match look(&directory) {
                Ok(look) => {
                    contents.update(look.files);
                    look.directories
                }
                Err(error) => {
                    contents.unreadable(format!("{}: {error}", directory.display()));
                    BTreeSet::new()
                }
            };
            (contents, directories)
        });
        match looked.await {
            Ok((contents, directories)) => {
                for linked in directories.iter().filter(|linked| **linked != self.directory) {
                    if let Err(error) = self.watch.add(linked) {
                        tracing::warn!(directory = %linked.display(), %error, "cannot follow a link of the directory of resources");
                    }
                }
                contents
            }
            // a panic there is one here; without it, the runtime is about to end
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => std::future::pending().await,
            },
        }
    }
}

/// A file is being written from its first change until it is closed, moved or deleted.
fn note(event: InotifyEvent, writing: &mut BTreeSet<OsString>) {
    let Some(name) = event.name else { return };
    if event.mask.contains(AddWatchFlags::IN_MODIFY) {
        writing.insert(name);
    } else if event.mask.intersects(
        AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_MOVED_TO,
    ) {
        writing.remove(&name);
    }
}

fn look(directory: &Path) -> io::Result<Look> {
    let mut files = BTreeMap::new();
    let mut directories = BTreeSet::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|name| counts(name)) else {
            continue;
        };
        // a link without an end, or a file that went away meanwhile, is no file
        let Ok(real) = path.canonicalize() else { continue };
        if !real.is_file() {
            continue;
        }
        directories.extend(real.parent().map(Path::to_path_buf));
        match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            read => {
                files.insert(name.to_owned(), read.map_err(|error| format!("cannot be read: {error}")));
            }
        }
    }
    Ok(Look { files, directories })
}

/// Whether a file of this name holds resources.
fn counts(name: &str) -> bool {
    !name.starts_with('.')
        && Path::new(name)
            .extension()
            .is_some_and(|ending| ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)))
}
