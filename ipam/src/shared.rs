//! What many calls of one node want at the same time, in one transaction.
//!
//! One task writes. What comes while a transaction is under way makes up the next one, so that nobody waits for company and a crowd
//! costs what one costs. The state it decides on is [`Warm`]: no call reads first. What cannot be done that way is refused,
//! and the caller goes the long way ([`crate::Ipam`]).

use crate::IpamError;
use crate::carry::{ask_store, carry};
use crate::room::{self, Claimer, Wanted};
use datastore::{Datastore, StoreError};
use ipam_plan::{Along, Ask, Assigned, AutoAssignRequest, Part, Purpose, Took, Warm, learn};
use jiff::Timestamp;
use model::key::Key;
use model::net::Cidr;
use mvcc::{RangeRequest, Revision, Txn};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// Parts of one transaction: each is about three of the 128 operations that etcd takes unless it is told otherwise.
const MOST: usize = 40;
/// Parts that may wait; who comes then goes the long way.
const WAITING: usize = 512;
/// Handles read in one transaction.
const READS: usize = 100;
/// Lost races after which everybody goes the long way.
const TRIES: u32 = 5;

/// Addresses of a node's own blocks, for any number of calls at once. Clones are the same.
#[derive(Clone)]
pub struct Shared(Arc<Inner>);

pub(crate) struct Inner {
    warm: Mutex<Warm>,
    jobs: mpsc::Sender<Job>,
    wanted: mpsc::Sender<Wanted>,
}

enum Job {
    /// Look at what the node has; it is told when that has been tried.
    Learn(Option<oneshot::Sender<()>>),
    /// Write.
    Write(Part, Answer),
    /// Release what is kept under a handle that was not written here.
    Release(String, Along, Answer),
}

/// The revision of a write; `None` where it was refused and nothing is written.
type Written = Result<Option<Revision>, StoreError>;

type Answer = oneshot::Sender<Written>;

/// Addresses that nobody else is given, and that are not written yet. Dropping it gives them back.
pub struct Offer {
    shared: Shared,
    part: Option<Part>,
}

impl Offer {
    /// The addresses.
    pub fn addresses(&self) -> &[Assigned] {
        self.part.as_ref().map_or(&[], Part::addresses)
    }

    /// Writes them, and `along` in the same transaction. `None`: a condition of `along` does not hold, or somebody else has
    /// changed what this relied on; nothing is written.
    ///
    /// # Errors
    /// The store's. The write may have happened.
    pub async fn take(mut self, along: Along) -> Result<Option<Revision>, StoreError> {
        match self.part.take() {
            Some(part) => self.shared.write(part.with(along)).await,
            None => Ok(None),
        }
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        if let Some(part) = self.part.take() {
            self.shared.warm().give_up(&part);
        }
    }
}

impl Shared {
    /// For the blocks of `node` in `store`. Within a tokio runtime, which runs the tasks that write until the last clone is gone.
    pub fn new(store: Arc<dyn Datastore>, node: &str) -> Self {
        let (jobs, waiting) = mpsc::channel(WAITING);
        let (wanted, claims) = mpsc::channel(room::WAITING);
        let shared = Self(Arc::new(Inner { warm: Mutex::new(Warm::new(node)), jobs, wanted }));
        let claimer = Claimer { store: Arc::clone(&store), inner: Arc::downgrade(&shared.0) };
        tokio::spawn(claimer.run(claims));
        let writer = Writer { store, node: node.to_owned(), most: MOST, inner: Arc::downgrade(&shared.0) };
        tokio::spawn(writer.run(waiting));
        shared
    }

    fn warm(&self) -> MutexGuard<'_, Warm> {
        self.0.warm()
    }

    /// Looks at what the node has, for the calls to come: somebody who went the long way may have claimed a block.
    pub fn look(&self) {
        // full: it is busy, and will be asked again
        let _ = self.0.jobs.try_send(Job::Learn(None));
    }

    /// Waits until what the node has was looked at once.
    pub async fn known(&self) {
        if !self.warm().is_known() {
            self.0.look().await;
        }
    }

    /// The CIDR of a pool, if it is known.
    pub fn pool(&self, name: &str) -> Option<Cidr> {
        self.warm().pool(name)
    }

    /// Addresses for a request. Where own blocks have none left it waits for the next block, which is claimed once for all who
    /// wait. `None` where it takes more than that, or than what is [known](Shared::known), which is then looked at for the next
    /// call.
    pub async fn offer(&self, request: &AutoAssignRequest) -> Option<Offer> {
        for _ in 0..TRIES {
            if let Some(part) = self.give(request) {
                return Some(Offer { shared: self.clone(), part: Some(part) });
            }
            if !self.claimed(request).await {
                break;
            }
        }
        self.look();
        None
    }

    /// Addresses of own blocks. When few are left another block is claimed, for those who come next.
    fn give(&self, request: &AutoAssignRequest) -> Option<Part> {
        let mut warm = self.warm();
        let part = warm.give(request)?;
        if warm.runs_short(request).is_some() {
            // full: it is asked already
            let _ = self.0.wanted.try_send(Wanted { request: request.clone(), answer: None });
        }
        Some(part)
    }

    /// Waits for another block where that is what a request lacks; whether there is one now.
    async fn claimed(&self, request: &AutoAssignRequest) -> bool {
        if self.warm().lacks(request, 1).is_none() {
            return false;
        }
        let (answer, told) = oneshot::channel();
        let wanted = Wanted { request: request.clone(), answer: Some(answer) };
        // an error: too many wait
        self.0.wanted.try_send(wanted).is_ok() && told.await.unwrap_or(false)
    }

    /// Releases what is kept under a handle in own blocks, and does `along` in the same transaction. `None`: it is kept elsewhere
    /// too, or not at all, or a condition does not hold; nothing is written then.
    ///
    /// # Errors
    /// The store's. The write may have happened.
    pub async fn release(&self, handle: &str, along: Along) -> Result<Option<Revision>, StoreError> {
        let part = self.warm().release(handle);
        match part {
            Some(part) => self.write(part.with(along)).await,
            None => {
                let (answer, told) = oneshot::channel();
                match self.0.jobs.try_send(Job::Release(handle.to_owned(), along, answer)) {
                    Ok(()) => answered(told).await,
                    Err(_) => Ok(None),
                }
            }
        }
    }

    async fn write(&self, part: Part) -> Written {
        let (answer, told) = oneshot::channel();
        if let Err(error) = self.0.jobs.try_send(Job::Write(part, answer)) {
            if let Job::Write(part, _) = error.into_inner() {
                self.warm().give_up(&part);
            }
            return Ok(None);
        }
        answered(told).await
    }
}

async fn answered(told: oneshot::Receiver<Written>) -> Written {
    told.await.unwrap_or_else(|_| Err(StoreError::Server("the writer of addresses has ended".into())))
}

impl Inner {
    /// Waits until what the node has was looked at once more, or that has been tried.
    pub(crate) async fn look(&self) {
        let (tried, told) = oneshot::channel();
        if self.jobs.try_send(Job::Learn(Some(tried))).is_ok() {
            // an error: the writer has ended, and nothing will be offered
            let _ = told.await;
        }
    }

    pub(crate) fn warm(&self) -> MutexGuard<'_, Warm> {
        // what is known is compared by every write, so that a panic elsewhere does no harm
        self.warm.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Writer {
    store: Arc<dyn Datastore>,
    node: String,
    /// Parts that a transaction of this server has room for.
    most: usize,
    inner: std::sync::Weak<Inner>,
}

impl Writer {
    async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut waiting: Vec<Job> = Vec::new();
        while jobs.recv_many(&mut waiting, WAITING).await > 0 {
            let Some(inner) = self.inner.upgrade() else { return };
            let (mut writes, mut releases, mut learners) = (Vec::new(), Vec::new(), Vec::new());
            for job in waiting.drain(..) {
                match job {
                    Job::Write(part, answer) => writes.push((part, answer)),
                    Job::Release(handle, along, answer) => releases.push((handle, along, answer)),
                    Job::Learn(tried) => learners.push(tried),
                }
            }
            if !releases.is_empty() {
                self.read_handles(&inner, releases, &mut writes).await;
            }
            while !writes.is_empty() {
                let rest = writes.split_off(self.most.min(writes.len()));
                let again = self.write(&inner, std::mem::replace(&mut writes, rest)).await;
                writes.splice(0..0, again);
            }
            // who was refused an offer a moment ago may have claimed a block by now
            if !learners.is_empty()
                && let Err(error) = self.learn(&inner).await
            {
                inner.warm().forget();
                tracing::debug!(%error, "what this node has is not known");
            }
            for tried in learners.into_iter().flatten() {
                // who asked may have gone
                let _ = tried.send(());
            }
        }
    }

    /// Makes parts of releases of handles that have to be read.
    async fn read_handles(
        &self,
        inner: &Inner,
        releases: Vec<(String, Along, Answer)>,
        writes: &mut Vec<(Part, Answer)>,
    ) {
        let known = inner.warm().is_known();
        if !known && let Err(error) = self.learn(inner).await {
            tracing::debug!(%error, "what this node has is not known");
        }
        for chunk in in_chunks(releases) {
            let key = |handle: &str| Key::Handle(handle.to_owned()).path();
            let reads = chunk.iter().map(|(handle, ..)| RangeRequest::key(key(handle)));
            let stored = match self.store.txn(Txn::reads(reads)).await {
                Ok(stored) => stored,
                Err(error) => {
                    chunk.into_iter().for_each(|(_, _, told)| drop(told.send(Err(error.clone()))));
                    continue;
                }
            };
            for ((handle, along, answer), stored) in chunk.into_iter().zip(&stored.responses) {
                let mut warm = inner.warm();
                let stored = stored.kvs().first();
                let part = stored.filter(|stored| warm.learned_handle(&handle, stored));
                match part.and_then(|_| warm.release(&handle)) {
                    Some(part) => writes.push((part.with(along), answer)),
                    None => drop(answer.send(Ok(None))),
                }
            }
        }
    }

    async fn learn(&self, inner: &Inner) -> Result<(), IpamError> {
        let known = carry(&*self.store, learn(self.node.clone())).await?;
        inner.warm().learned(known);
        Ok(())
    }

    /// Writes parts, and answers them. Those for which there was no room come back.
    async fn write(&mut self, inner: &Inner, parts: Vec<(Part, Answer)>) -> Vec<(Part, Answer)> {
        let (mut parts, mut answers): (Vec<Part>, Vec<Answer>) = parts.into_iter().unzip();
        for conflicts in 0..TRIES {
            if !inner.warm().is_known()
                && let Err(error) = self.learn(inner).await
            {
                return end(inner, parts, answers, &failure(error));
            }
            keep(inner, &mut parts, &mut answers, |warm, _, part| warm.is_possible(part));
            if parts.is_empty() {
                return Vec::new();
            }
            let Some(mut proposal) = inner.warm().propose(&parts, Timestamp::now()) else { continue };
            let txn = std::mem::take(&mut proposal.txn);
            let answer = match ask_store(
                &*self.store,
                Ask { txn, purpose: Purpose::Write("shared"), conflicts },
            )
            .await
            {
                Err(IpamError::Store(StoreError::TooManyOps)) if parts.len() > 1 => {
                    self.most = (parts.len() / 2).max(1);
                    tracing::info!(parts = self.most, "this datastore takes fewer operations at once");
                    return parts.into_iter().zip(answers).collect();
                }
                Err(IpamError::Store(StoreError::TooManyOps)) => break,
                Err(error) => {
                    inner.warm().forget();
                    return end(inner, parts, answers, &failure(error));
                }
                Ok(answer) => answer,
            };
            let took = inner.warm().took(&parts, proposal, &answer);
            match took {
                Took::All => {
                    tracing::debug!(parts = parts.len(), revision = answer.revision, "shared write");
                    // who asked may have gone
                    answers.into_iter().for_each(|told| drop(told.send(Ok(Some(answer.revision)))));
                    return Vec::new();
                }
                Took::Refused(refused) => {
                    keep(inner, &mut parts, &mut answers, |_, index, _| !refused.contains(&index));
                }
                Took::Outdated => {}
            }
        }
        end(inner, parts, answers, &Ok(None))
    }
}

/// As many at a time as one transaction reads.
fn in_chunks<T>(mut all: Vec<T>) -> impl Iterator<Item = Vec<T>> {
    std::iter::from_fn(move || {
        let rest = all.split_off(READS.min(all.len()));
        let chunk = std::mem::replace(&mut all, rest);
        (!chunk.is_empty()).then_some(chunk)
    })
}

fn failure(error: IpamError) -> Written {
    match error {
        IpamError::Store(error) => Err(error),
        // what is stored cannot be read: the long way says so
        IpamError::Plan(_) => Ok(None),
    }
}

/// Refuses the parts for which `stay` says no.
fn keep(
    inner: &Inner,
    parts: &mut Vec<Part>,
    answers: &mut Vec<Answer>,
    stay: impl Fn(&Warm, usize, &Part) -> bool,
) {
    let all = std::mem::take(parts).into_iter().zip(std::mem::take(answers)).enumerate();
    for (index, (part, answer)) in all {
        let mut warm = inner.warm();
        if stay(&warm, index, &part) {
            parts.push(part);
            answers.push(answer);
        } else {
            warm.give_up(&part);
            drop(answer.send(Ok(None)));
        }
    }
}

/// Answers all the same.
fn end(inner: &Inner, parts: Vec<Part>, answers: Vec<Answer>, result: &Written) -> Vec<(Part, Answer)> {
    parts.iter().for_each(|part| inner.warm().give_up(part));
    answers.into_iter().for_each(|told| drop(told.send(result.clone())));
    Vec::new()
}
