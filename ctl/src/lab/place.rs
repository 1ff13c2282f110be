//! Where work is done: a network namespace and, for nodes, a mount namespace. Threads made for the purpose enter;
//! a process they start is born inside.

use anyhow::{Context, Result, anyhow};
use kernel::Netns;
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// A pair of namespaces, held open.
#[derive(Debug, Clone)]
pub struct Place {
    net: Netns,
    mount: Option<Arc<File>>,
}

impl Place {
    /// The namespaces mounted at `net` and, for a node, `mount`.
    ///
    /// # Errors
    /// One of them is not there.
    pub fn open(net: &Path, mount: Option<&Path>) -> Result<Self> {
        let mount = match mount {
            Some(path) => {
                let file = File::open(path).with_context(|| format!("mount namespace {}", path.display()))?;
                Some(Arc::new(file))
            }
            None => None,
        };
        Ok(Self { net: Netns::open(net)?, mount })
    }

    /// A network namespace, seen with the caller's file systems.
    pub fn of(net: Netns) -> Self {
        Self { net, mount: None }
    }

    /// Its network namespace.
    pub fn net(&self) -> &Netns {
        &self.net
    }

    /// Runs `work` on a thread of its own inside, and waits for it. Processes started by it are inside too.
    ///
    /// # Errors
    /// The namespaces cannot be entered; `work` fails.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        on_thread(|| {
            self.enter()?;
            work()
        })
    }

    fn enter(&self) -> Result<()> {
        if let Some(mount) = &self.mount {
            // A thread can change its mount namespace once it shares root and working directory with no other.
            unshare(CloneFlags::CLONE_FS).context("unshare the file system view")?;
            setns(mount, CloneFlags::CLONE_NEWNS).context("enter the mount namespace")?;
        }
        Ok(self.net.enter()?)
    }
}

/// Runs `work` on a thread of its own, which may change what belongs to a thread.
pub fn on_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let helper = std::thread::Builder::new().spawn_scoped(scope, work).context("start a thread")?;
        helper.join().map_err(|_| anyhow!("a helper thread died"))?
    })
}
