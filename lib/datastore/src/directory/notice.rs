//! The kernel's word that something in a directory has changed: one inotify instance on the runtime.

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::Path;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Silence after which a burst of changes is over.
pub const QUIET: Duration = Duration::from_millis(50);
/// Longest wait for silence.
pub const BURST: Duration = Duration::from_millis(500);

/// Watches directories, not what is below them.
pub struct Watch {
    inotify: AsyncFd<Descriptor>,
}

struct Descriptor(Inotify);

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl Watch {
    /// Watches nothing yet. Must be called on a runtime.
    ///
    /// # Errors
    /// When the system has no inotify instance left (`fs.inotify.max_user_instances`).
    #[allow(unsafe_code)]
    pub fn new() -> io::Result<Self> {
        let inotify = Descriptor(Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?);
        // SAFETY: the descriptor is open and stays the same one for as long as it lives: nothing closes or replaces it.
        let inotify = unsafe { AsyncFd::register_with_interest(inotify, Interest::READABLE)? };
        Ok(Self { inotify })
    }

    /// Watches a directory for files that are written, come or go, and for its own end; one that is watched already stays
    /// so.
    ///
    /// # Errors
    /// When it is not there, or is no directory.
    pub fn add(&self, directory: &Path) -> io::Result<()> {
        let changes = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        self.inotify.get_ref().0.add_watch(directory, changes)?;
        Ok(())
    }

    /// Waits for events and takes them. Giving the wait up loses none.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn events(&self) -> io::Result<Vec<InotifyEvent>> {
        let read = |Descriptor(inotify): &Descriptor| inotify.read_events().map_err(io::Error::from);
        self.inotify.async_io(Interest::READABLE, read).await
    }
}
