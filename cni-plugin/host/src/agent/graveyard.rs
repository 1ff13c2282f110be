//! Links that are out of service and still have to be deleted.
//!
//! The kernel takes 15 to 40 ms to delete a link, nearly all of it waiting, and as long for many that go together: they are
//! collected for [`COLLECT`] and deleted as a group, on a thread of its own, since whoever asks the kernel waits inside it. Their names
//! say what they are, so that an agent that starts finds those of the last one.

use super::record::Key;
use crate::failpoint::failpoint;
use kernel::{KernelError, LinkRef, Namespaces, Op};
use observe::shutdown::Shutdown;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How names of links begin that are to be deleted.
const PREFIX: &str = "ocidel-";
/// The group of links they are put into: nobody's number.
pub(super) const GROUP: u32 = 0x0c1c_a7de;
/// How long links are collected, so that many cost what one does.
const COLLECT: Duration = Duration::from_millis(200);
/// How soon a deletion that failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// The name of a link that is to be deleted.
pub(super) fn name_of(index: u32) -> String {
    format!("{PREFIX}{index:x}")
}

/// A link that is to be deleted.
#[derive(Debug, Clone)]
pub(super) struct Grave {
    /// Index of the host's end.
    pub(super) index: u32,
    /// Addresses that it answered for.
    pub(super) addresses: Vec<IpAddr>,
    /// Whose it was.
    pub(super) key: Key,
}

/// All of them.
#[derive(Default)]
pub(super) struct Graveyard {
    waiting: Mutex<BTreeMap<u32, Grave>>,
    /// There is something to do.
    work: Notify,
    /// Somebody waits for an address.
    hurry: Notify,
    /// Something was deleted.
    emptied: Notify,
}

impl Graveyard {
    /// Has a link deleted.
    pub(super) fn bury(&self, grave: Grave) {
        self.waiting().insert(grave.index, grave);
        self.work.notify_one();
    }

    /// Whether the link of an attachment is still to be deleted.
    pub(super) fn holds(&self, key: &Key) -> bool {
        self.waiting().values().any(|grave| grave.key == *key)
    }

    /// Waits until no link that answered for one of these addresses is left.
    pub(super) async fn wait_until_free(&self, addresses: &[IpAddr]) {
        loop {
            let emptied = self.emptied.notified();
            let taken =
                self.waiting().values().any(|grave| grave.addresses.iter().any(|a| addresses.contains(a)));
            if !taken {
                return;
            }
            self.hurry.notify_one();
            emptied.await;
        }
    }

    /// Deletes what is to be deleted until `shutdown` fires, and then what is left once more; says which attachments have lost
    /// their last link.
    pub(super) async fn keep(&self, namespaces: &dyn Namespaces, shutdown: &Shutdown, gone: impl Fn(&Key)) {
        while let Err(error) = self.delete(namespaces, shutdown, &gone).await {
            tracing::error!(%error, "links that are out of service cannot be looked at");
            tokio::select! {
                () = shutdown.wait() => return,
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }

    async fn delete(
        &self,
        namespaces: &dyn Namespaces,
        shutdown: &Shutdown,
        gone: &impl Fn(&Key),
    ) -> Result<(), KernelError> {
        let here = namespaces.current()?;
        // those of an agent before this one
        let left = here.links().await?;
        let mut nameless: BTreeSet<u32> =
            left.iter().filter(|link| link.name.starts_with(PREFIX)).map(|link| link.index).collect();
        loop {
            if nameless.is_empty() {
                if self.waiting().is_empty() {
                    tokio::select! {
                        () = shutdown.wait() => return Ok(()),
                        () = self.work.notified() => continue,
                    }
                }
                tokio::select! {
                    () = shutdown.wait() => {}
                    () = self.hurry.notified() => {}
                    () = tokio::time::sleep(COLLECT) => {}
                }
            }
            let indexes: BTreeSet<u32> = self.waiting().keys().chain(&nameless).copied().collect();
            let mut ops = vec![Op::DelGroup(GROUP)];
            // one that has no group yet, and the proof that the others are gone
            ops.extend(indexes.iter().map(|index| Op::DelLink(LinkRef::Index(*index))));
            let results = here.apply(ops, false).await;
            let mut failed = None;
            for (index, result) in indexes.iter().zip(results.into_iter().skip(1)) {
                match result {
                    Err(error) if !error.is_gone() => failed = Some(error),
                    _ => {
                        nameless.remove(index);
                        let grave = self.waiting().remove(index);
                        if let Some(grave) = grave.filter(|grave| !self.holds(&grave.key)) {
                            gone(&grave.key);
                        }
                    }
                }
            }
            failpoint("agent-del-link");
            self.emptied.notify_waiters();
            if let Some(error) = failed {
                tracing::warn!(%error, "a link that is out of service cannot be deleted yet");
                tokio::select! {
                    () = shutdown.wait() => return Ok(()),
                    () = tokio::time::sleep(AGAIN) => {}
                }
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<u32, Grave>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
