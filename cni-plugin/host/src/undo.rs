//! What a failing ADD takes back, newest first.

use crate::address::Source;
use crate::bounded::{self, within};
use bytes::Bytes;
use cni_protocol::CniError;
use datastore::Datastore;
use kernel::{Kernel, LinkRef, Op};
use mvcc::{Compare, CompareResult, CompareTarget, DeleteRequest, KeyRange, PutRequest, Txn};
use std::sync::Arc;

/// One thing that was done.
pub(crate) enum Done {
    /// Addresses were given.
    Addresses(Source),
    /// The pair was made: this link on the host, and with it everything inside the container.
    Link(Arc<dyn Kernel>, String),
    /// The endpoint was written, or may have been.
    Endpoint {
        /// Where.
        store: Arc<dyn Datastore>,
        /// Its key.
        key: Bytes,
        /// What was written.
        ours: Bytes,
        /// What was there before.
        before: Option<Bytes>,
    },
}

/// Everything that was done so far.
#[derive(Default)]
pub(crate) struct Undo(Vec<Done>);

impl Undo {
    /// Remembers one thing.
    pub(crate) fn push(&mut self, done: Done) {
        self.0.push(done);
    }

    /// Remembers what was done before all this.
    pub(crate) fn put_under(&mut self, older: Undo) {
        self.0.splice(0..0, older.0);
    }

    /// Takes everything back. What cannot be taken back is logged: a DEL will; returns whether there is nothing of that.
    pub(crate) async fn run(mut self) -> bool {
        let mut whole = true;
        while let Some(done) = self.0.pop() {
            let (what, result) = match &done {
                Done::Addresses(source) => {
                    ("addresses", within(bounded::UNDO, "undo", source.release()).await)
                }
                Done::Link(host, link) => {
                    ("link", within(bounded::UNDO, "undo", delete_link(host, link)).await)
                }
                Done::Endpoint { store, key, ours, before } => {
                    ("endpoint", within(bounded::UNDO, "undo", restore(store, key, ours, before)).await)
                }
            };
            match result {
                Ok(()) => tracing::info!(what, "taken back after a failure"),
                Err(error) => {
                    whole = false;
                    tracing::warn!(what, %error, "not taken back; DEL will remove it");
                }
            }
        }
        whole
    }
}

/// Deletes a link; a missing one is fine.
pub(crate) async fn delete_link(kernel: &Arc<dyn Kernel>, name: &str) -> Result<(), CniError> {
    let results = kernel.apply(vec![Op::DelLink(LinkRef::Name(name.to_owned()))], false).await;
    match results.into_iter().next() {
        Some(Err(error)) if !error.is_gone() => Err(CniError::internal(error)),
        _ => Ok(()),
    }
}

/// Puts back what was there before, unless somebody else has written since.
async fn restore(
    store: &Arc<dyn Datastore>,
    key: &Bytes,
    ours: &Bytes,
    before: &Option<Bytes>,
) -> Result<(), CniError> {
    let back = match before {
        Some(value) => mvcc::Op::Put(PutRequest::new(key.clone(), value.clone())),
        None => mvcc::Op::Delete(DeleteRequest::key(key.clone())),
    };
    let compare = Compare {
        range: KeyRange::key(key.clone()),
        target: CompareTarget::Value(ours.clone()),
        result: CompareResult::Equal,
    };
    let txn = Txn { compare: vec![compare], success: vec![back], failure: Vec::new() };
    store.txn(txn).await.map(drop).map_err(|error| bounded::store_failed(&error, &error))
}
