//! Network namespaces: held by descriptor, and visited.
//!
//! Short work inside one is done by the thread that asks, which enters, works and is back before it does anything else; what takes
//! longer, by a thread made for it. A socket opened there stays there and can be used from anywhere.

use crate::api::KernelError;
use crate::spent::{self, Call, part};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};
use std::fs::{DirBuilder, File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where `ip netns` and most runtimes keep named namespaces.
pub const NETNS_DIR: &str = "/run/netns";

const SELF: &str = "/proc/thread-self/ns/net";

/// A network namespace held open; it lives at least as long as this does, and whoever has it can work there.
#[derive(Debug, Clone)]
pub struct Netns(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    fd: OwnedFd,
    path: String,
    kind: Kind,
    /// Device and inode, by which a namespace is known.
    identity: (u64, u64),
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Real,
    /// One of the in-memory kernel's, by number; its descriptor is of no use.
    Memory(u64),
}

impl Netns {
    /// Opens the namespace at `path`, such as `/run/netns/blue` or `/proc/42/ns/net`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, KernelError> {
        let path = path.as_ref();
        let shown = path.display().to_string();
        let file = OpenOptions::new()
            .read(true)
            // A path given by mistake may be a pipe or a device; opening it must not wait.
            .custom_flags(nix::libc::O_NONBLOCK)
            .open(path)
            .map_err(|error| fail(&shown, open_reason(&error)))?;
        Self::real(file, shown)
    }

    /// A namespace received as a descriptor, such as over a unix socket; `name` is used in messages.
    pub fn from_fd(fd: OwnedFd, name: &str) -> Result<Self, KernelError> {
        Self::real(File::from(fd), name.to_string())
    }

    /// The namespace of the calling thread.
    pub fn current() -> Result<Self, KernelError> {
        Self::open(SELF)
    }

    /// Makes a namespace and names it: a bind mount at `/run/netns/<name>`, as `ip netns add` does.
    pub fn create(name: &str) -> Result<Self, KernelError> {
        Self::create_at(&named(name)?)
    }

    /// Makes a namespace and mounts it at `path`, whose folder is made when missing.
    pub fn create_at(path: &Path) -> Result<Self, KernelError> {
        let shown = path.display().to_string();
        let parent = path.parent().ok_or_else(|| fail(&shown, "has no folder".to_string()))?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(parent)
            .map_err(|error| fail(&shown, format!("its folder cannot be made: {error}")))?;
        OpenOptions::new().write(true).create_new(true).open(path).map_err(|error| {
            fail(
                &shown,
                match error.kind() {
                    std::io::ErrorKind::AlreadyExists => "exists already".to_string(),
                    _ => format!("cannot be made: {error}"),
                },
            )
        })?;
        let made = on_helper(|| -> Result<(), String> {
            unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| format!("unshare: {}", errno.desc()))?;
            mount(Some(SELF), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
                .map_err(|errno| format!("bind mount: {}", errno.desc()))
        })
        .and_then(|result| result);
        match made {
            Ok(()) => Self::open(path),
            Err(reason) => {
                // The empty file alone would look like a namespace that vanished.
                let _ = std::fs::remove_file(path);
                Err(fail(&shown, reason))
            }
        }
    }

    /// Takes the name `/run/netns/<name>` away; the namespace itself goes when nothing uses it any more.
    /// A name that is not there is no error.
    pub fn delete(name: &str) -> Result<(), KernelError> {
        Self::delete_at(&named(name)?)
    }

    /// Unmounts what is mounted at `path` and removes the file; a missing file is no error.
    pub fn delete_at(path: &Path) -> Result<(), KernelError> {
        // Mounts can be stacked; EINVAL says that none is left.
        while umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW).is_ok() {}
        match std::fs::remove_file(path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(fail(&path.display().to_string(), format!("cannot be removed: {error}"))),
        }
    }

    /// The path it was opened by, for messages.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// Whether both are the same namespace, however they were opened.
    pub fn is_same(&self, other: &Netns) -> bool {
        self.0.kind == other.0.kind && (self.0.kind != Kind::Real || self.0.identity == other.0.identity)
    }

    /// Runs `work` on the calling thread inside the namespace. Meant for short work.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> Result<T, KernelError> {
        if self.is_here() {
            return Ok(work());
        }
        spent::whole(spent::Kind::Namespace, || {
            let _visit = Visit::begin(self)?;
            Ok(work())
        })
    }

    /// Runs `work`, which may take long, on a thread made for it inside the namespace, without blocking the calling task; on the
    /// calling thread where that is in the namespace already.
    pub async fn run_async<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, KernelError> {
        if self.is_here() {
            return Ok(work());
        }
        let (done, result) = tokio::sync::oneshot::channel();
        let namespace = self.clone();
        let call = Call::begin(spent::Kind::Namespace);
        std::thread::Builder::new()
            .name("netns".to_string())
            .spawn(move || {
                let worked = part(|| namespace.enter().map(|()| work()));
                drop(call);
                // The receiver is gone when the asking task was cancelled.
                let _ = done.send(worked);
            })
            .map_err(|error| fail(&self.0.path, format!("no helper thread: {error}")))?;
        result.await.unwrap_or_else(|_| Err(fail(&self.0.path, "the helper thread died".to_string())))
    }

    /// Whether the calling thread is in this namespace.
    fn is_here(&self) -> bool {
        let here = std::fs::metadata(SELF).ok().map(|meta| (meta.dev(), meta.ino()));
        self.0.kind == Kind::Real && here == Some(self.0.identity)
    }

    /// Moves the **calling thread** into the namespace for good. For threads made for the purpose, and for a
    /// child process between fork and exec.
    pub fn enter(&self) -> Result<(), KernelError> {
        if self.0.kind != Kind::Real {
            return Err(fail(&self.0.path, "is an in-memory namespace, no thread can enter it".to_string()));
        }
        setns(&self.0.fd, CloneFlags::CLONE_NEWNET).map_err(|errno| {
            let reason = match errno {
                nix::errno::Errno::EINVAL => "is a namespace of another kind, not of network".to_string(),
                nix::errno::Errno::EPERM => "may not be entered: CAP_SYS_ADMIN is missing".to_string(),
                errno => format!("cannot be entered: {}", errno.desc()),
            };
            fail(&self.0.path, reason)
        })
    }

    /// One of the in-memory kernel's namespaces.
    pub(crate) fn memory(number: u64, name: &str) -> Result<Self, KernelError> {
        let file = File::open("/dev/null").map_err(|error| fail(name, error.to_string()))?;
        let kind = Kind::Memory(number);
        Ok(Self(Arc::new(Inner { fd: OwnedFd::from(file), path: name.to_string(), kind, identity: (0, 0) })))
    }

    /// The number of an in-memory namespace; `None` for a real one.
    pub(crate) fn memory_number(&self) -> Option<u64> {
        match self.0.kind {
            Kind::Real => None,
            Kind::Memory(number) => Some(number),
        }
    }

    fn real(file: File, path: String) -> Result<Self, KernelError> {
        let examined = |error: String| fail(&path, format!("cannot be examined: {error}"));
        let status = fstatfs(&file).map_err(|errno| examined(errno.desc().to_owned()))?;
        if status.filesystem_type() != NSFS_MAGIC {
            let deleted = "is not a namespace; if it was one, it has been deleted and only the file is left";
            return Err(fail(&path, deleted.to_owned()));
        }
        let meta = file.metadata().map_err(|error| examined(error.to_string()))?;
        let identity = (meta.dev(), meta.ino());
        Ok(Self(Arc::new(Inner { fd: OwnedFd::from(file), path, kind: Kind::Real, identity })))
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}

/// A stay of the calling thread in another namespace, until this is dropped, by a panic too.
struct Visit {
    home: File,
}

impl Visit {
    fn begin(netns: &Netns) -> Result<Self, KernelError> {
        let home = File::open(SELF)
            .map_err(|error| fail(SELF, format!("there is no way back from another: {error}")))?;
        netns.enter()?;
        Ok(Self { home })
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let Err(errno) = setns(&self.home, CloneFlags::CLONE_NEWNET) {
            // what this thread does next would be done to a container; whoever starts this process again begins at home
            tracing::error!(error = errno.desc(), "no way back to the process's network namespace");
            std::process::abort();
        }
    }
}

fn named(name: &str) -> Result<PathBuf, KernelError> {
    if name.is_empty() || name == "." || name == ".." || name.contains('/') {
        return Err(fail(name, "is no name for a namespace".to_string()));
    }
    Ok(Path::new(NETNS_DIR).join(name))
}

/// Runs `work` on a thread of its own, which may change what belongs to a thread.
fn on_helper<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    let _call = Call::begin(spent::Kind::Namespace);
    std::thread::scope(|scope| {
        let helper = std::thread::Builder::new()
            .name("netns".to_string())
            .spawn_scoped(scope, || part(work))
            .map_err(|error| format!("no helper thread: {error}"))?;
        helper.join().map_err(|_| "the helper thread died".to_string())
    })
}

fn open_reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "does not exist; the container may be gone".to_string(),
        _ => format!("cannot be opened: {error}"),
    }
}

fn fail(path: &str, reason: String) -> KernelError {
    KernelError::Namespace { path: path.to_string(), reason }
}
