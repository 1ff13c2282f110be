//! A directory of YAML and JSON files as a datastore that is only read.
//!
//! The resources in it appear under Calico's keys in a [`MemoryStore`], so that whoever lists and watches cannot tell it
//! from etcd. The directory is followed by inotify: a burst of changes is one revision, files that somebody is writing
//! are waited for, and a file that cannot be used keeps its last good state until it can. What is wrong is told in
//! [`DirectoryStore::problems`] with file, document, field, value and remedy.
//!
//! Files that end in `.yaml`, `.yml` or `.json` count, but for hidden ones; sub-directories do not. Symbolic links are
//! followed, and so are the directories they lead to (a mounted ConfigMap is made of them).

mod contents;
mod follow;
mod notice;
mod problem;
mod read;

use crate::memory::MemoryStore;
use crate::{Datastore, StoreError};
use bytes::Bytes;
use contents::Contents;
use follow::Follower;
use futures::future::{self, BoxFuture, FutureExt};
use futures::stream::BoxStream;
use mvcc::{
    DeleteRequest, Limits, Op, PutRequest, RangeRequest, RangeResponse, Revision, Store, Txn, TxnResponse,
    WatchRequest, WatchResponse,
};
pub use notice::{BURST, QUIET, Watch};
pub use problem::FileProblem;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How many revisions can still be read; watchers that are slower list again.
const HISTORY: Revision = 1000;

/// Why a directory cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It cannot be listed.
    #[error("cannot read the directory of resources {path}: {source}")]
    Read {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It cannot be followed.
    #[error(
        "cannot follow the directory of resources {path}: {source} (is fs.inotify.max_user_instances used up?)"
    )]
    Follow {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// A store of what lies in a directory. Following ends when it is dropped.
#[derive(Debug)]
pub struct DirectoryStore {
    store: MemoryStore,
    problems: watch::Receiver<Vec<FileProblem>>,
    follower: JoinHandle<()>,
}

impl Drop for DirectoryStore {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

impl DirectoryStore {
    /// Reads a directory and follows it from now on, on the current tokio runtime. Files that cannot be used do not
    /// hinder this: they are among the problems.
    ///
    /// # Errors
    /// When the directory itself can be neither read nor followed.
    pub async fn open(path: &Path) -> Result<Self, DirectoryError> {
        let limits = Limits { max_txn_ops: usize::MAX, ..Limits::default() };
        let store = MemoryStore::with(Store::with_limits(limits));
        let (tell, problems) = watch::channel(Vec::new());
        let mut mirror = Mirror { store: store.clone(), tell, shown: BTreeMap::new() };
        let (mut follower, contents) = Follower::start(path).await?;
        mirror.show(&contents).await;
        let follower = tokio::spawn(async move {
            let mut contents = contents;
            loop {
                contents = follower.next(contents).await;
                mirror.show(&contents).await;
            }
        });
        Ok(Self { store, problems, follower })
    }

    /// What is wrong with files now; empty when nothing is.
    pub fn problems(&self) -> watch::Receiver<Vec<FileProblem>> {
        self.problems.clone()
    }
}

/// What the store shows of the directory.
struct Mirror {
    store: MemoryStore,
    tell: watch::Sender<Vec<FileProblem>>,
    shown: BTreeMap<Bytes, Bytes>,
}

impl Mirror {
    /// Brings the store to what the directory says, in one transaction.
    async fn show(&mut self, contents: &Contents) {
        let (wanted, problems) = contents.resources();
        let changed = wanted.iter().filter(|(key, value)| self.shown.get(*key) != Some(value));
        let puts = changed.map(|(key, value)| Op::Put(PutRequest::new(key.clone(), value.clone())));
        let gone = self.shown.keys().filter(|key| !wanted.contains_key(*key));
        let deletes = gone.map(|key| Op::Delete(DeleteRequest::key(key.clone())));
        let success: Vec<Op> = puts.chain(deletes).collect();
        if !success.is_empty() {
            match self.store.txn(Txn { success, ..Txn::default() }).await {
                Ok(answer) => {
                    // there is nothing to forget in a young store
                    let _ = self.store.compact(answer.revision - HISTORY);
                    self.shown = wanted;
                }
                Err(error) => tracing::error!(%error, "the resources of the directory cannot be shown"),
            }
        }
        if *self.tell.borrow() != problems {
            for problem in problems.iter().filter(|problem| !self.tell.borrow().contains(problem)) {
                tracing::warn!(%problem, "a file of resources cannot be used as it is");
            }
            self.tell.send_replace(problems);
        }
    }
}

/// The answer to every write.
fn read_only<T: Send + 'static>() -> BoxFuture<'static, Result<T, StoreError>> {
    let text = "the resources come from files and cannot be written here: change the files of the directory";
    future::ready(Err(StoreError::Server(text.to_owned()))).boxed()
}

fn writes(op: &Op) -> bool {
    match op {
        Op::Range(_) => false,
        Op::Put(_) | Op::Delete(_) => true,
        Op::Txn(inner) => inner.success.iter().chain(&inner.failure).any(writes),
    }
}

impl Datastore for DirectoryStore {
    fn range(&self, request: RangeRequest) -> BoxFuture<'_, Result<RangeResponse, StoreError>> {
        self.store.range(request)
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnResponse, StoreError>> {
        match txn.success.iter().chain(&txn.failure).any(writes) {
            true => read_only(),
            false => self.store.txn(txn),
        }
    }

    fn watch(
        &self,
        request: WatchRequest,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<WatchResponse, StoreError>>, StoreError>> {
        self.store.watch(request)
    }

    fn lease_grant(&self, _: i64) -> BoxFuture<'_, Result<i64, StoreError>> {
        read_only()
    }
}
