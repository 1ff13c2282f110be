//! Jobs: how what is asked comes to the store, which has one owner at a time.
//!
//! Jobs go over a channel to a thread that takes all that wait and makes them durable with one commit: what comes while the
//! disk works is the next batch. A request that is alone has nobody to share a commit with, and waking a thread and being woken
//! by it takes about as long as half the commit: it is carried out where it is.

use crate::disk::{DiskError, Identity};
use crate::engine::{Core, Later, Settings, Source};
use crate::refusal::Refusal;
use crate::waking::Waking;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::{oneshot, watch};

/// Tells whoever asked; with the refusal if there was no commit.
type Answer = Box<dyn FnOnce(Option<&Refusal>) + Send>;

/// What follows the commit of a batch: first all answers, then work.
enum Finish {
    Answer(Answer),
    Work(Later),
}

/// Something to do with the store.
struct Job {
    /// Begins a batch: what came before has to be told to watches first.
    first: bool,
    work: Box<dyn FnOnce(&mut Core) -> Finish + Send>,
}

struct Shared {
    /// None after the end.
    core: Mutex<Option<Core>>,
    /// Requests that came and are not answered.
    requests: AtomicUsize,
}

impl Shared {
    /// The store. Nobody has it after a panic: it may be half changed.
    fn lock(&self) -> Option<MutexGuard<'_, Option<Core>>> {
        self.core.lock().ok()
    }
}

/// Hands jobs to the store. Clones share it.
#[derive(Clone)]
pub(crate) struct Engine {
    jobs: Sender<Job>,
    shared: Arc<Shared>,
    waking: Arc<Waking>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str("Engine")
    }
}

/// The owner's thread.
#[derive(Debug)]
pub(crate) struct Owner {
    thread: std::thread::JoinHandle<()>,
    /// Closed with the thread's end.
    alive: watch::Receiver<()>,
}

/// A request that came, until it is dropped.
pub(crate) struct Arrived(Arc<Shared>);

impl Drop for Arrived {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Engine {
    /// Opens the database and starts the owner.
    pub(crate) fn start(source: Source, settings: Settings) -> Result<(Self, Owner, Identity), DiskError> {
        let core = Core::open(source, settings)?;
        let (identity, waking) = (core.identity, Arc::clone(&core.waking));
        let shared = Arc::new(Shared { core: Mutex::new(Some(core)), requests: AtomicUsize::new(0) });
        let (jobs, queue) = channel();
        let owned = Arc::clone(&shared);
        let (lives, alive) = watch::channel(());
        let thread = std::thread::Builder::new()
            .name("datastore".to_owned())
            .spawn(move || {
                let _lives = lives;
                run(&owned, &queue);
            })
            .map_err(|source| DiskError::Io { path: "thread of the datastore".into(), source })?;
        Ok((Self { jobs, shared, waking }, Owner { thread, alive }, identity))
    }

    /// To be told, and kept, as soon as a request comes: one that knows of no other need not wait for any.
    pub(crate) fn arrived(&self) -> Arrived {
        self.shared.requests.fetch_add(1, Ordering::Relaxed);
        Arrived(Arc::clone(&self.shared))
    }

    /// Has `work` done in the next batch; its answer comes once everything it saw and wrote is durable.
    pub(crate) async fn ask<T, W>(&self, work: W) -> Result<T, Refusal>
    where
        T: Send + 'static,
        W: FnOnce(&mut Core) -> Result<T, Refusal> + Send + 'static,
    {
        if self.seems_alone() {
            // what has arrived with it is heard of now
            tokio::task::yield_now().await;
        }
        match self.at_once(work) {
            Ok(answer) => answer,
            Err(work) => self.ask_as(false, work).await,
        }
    }

    /// Has `work` done by the owner, after everything before it is told to watches: for work that takes history away.
    pub(crate) async fn ask_first<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Core) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.ask_as(true, work).await
    }

    fn seems_alone(&self) -> bool {
        self.shared.requests.load(Ordering::Relaxed) == 1
    }

    /// Does the work of a request that is alone; gives it back if it is not.
    fn at_once<T, W>(&self, work: W) -> Result<Result<T, Refusal>, W>
    where
        W: FnOnce(&mut Core) -> Result<T, Refusal>,
    {
        if !self.seems_alone() {
            return Err(work);
        }
        let Ok(mut core) = self.shared.core.try_lock() else { return Err(work) };
        let Some(core) = core.as_mut().filter(|core| core.is_quiet()) else { return Err(work) };
        let done = work(core);
        let failed = core.close(1);
        core.tell(Vec::new());
        if core.oversleeps() {
            // an owner that has ended has nothing to do any more
            let _ = self.after_commit(|_| ());
        }
        Ok(failed.map_or(done, Err))
    }

    async fn ask_as<T: Send + 'static>(
        &self,
        first: bool,
        work: impl FnOnce(&mut Core) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.submit(
            first,
            Box::new(move |core| {
                let done = match core.fault() {
                    None => work(core),
                    Some(refusal) => Err(refusal),
                };
                Finish::Answer(Box::new(move |failed| {
                    // whoever asked may have gone
                    let _ = reply.send(failed.map_or(done, |refusal| Err(refusal.clone())));
                }))
            }),
        )?;
        answer.await.unwrap_or(Err(Refusal::Stopped))
    }

    /// Has `work` done after the next commit, on what is durable.
    pub(crate) fn after_commit(&self, work: impl FnOnce(&mut Core) + Send + 'static) -> Result<(), Refusal> {
        self.submit(false, Box::new(move |_| Finish::Work(Box::new(work))))
    }

    /// Wakes what the owner has something for.
    pub(crate) fn waking(&self) -> &Arc<Waking> {
        &self.waking
    }

    fn submit(&self, first: bool, work: Box<dyn FnOnce(&mut Core) -> Finish + Send>) -> Result<(), Refusal> {
        self.jobs.send(Job { first, work }).map_err(|_| Refusal::Stopped)
    }
}

impl Owner {
    /// Waits for the end of the thread, which nothing follows that is asked.
    pub(crate) async fn ended(&self) {
        // nothing is ever sent
        let _ = self.alive.clone().changed().await;
    }

    /// Waits for the end of the thread, which comes when nobody can send it jobs any more.
    pub(crate) fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("the datastore's owner panicked");
        }
    }
}

fn run(shared: &Shared, queue: &Receiver<Job>) {
    let mut held = None;
    while let Some(patience) = shared.lock().and_then(|mut core| core.as_mut().map(Core::sleep)) {
        let next = match held.take() {
            Some(job) => Some(job),
            None => match queue.recv_timeout(patience) {
                Ok(job) => Some(job),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            },
        };
        let Some(mut core) = shared.lock() else { return };
        let Some(core) = core.as_mut() else { return };
        held = batch(core, next, queue);
        if core.is_ending() {
            break;
        }
    }
    if let Some(core) = shared.lock().and_then(|mut core| core.take()) {
        core.stop();
    }
}

/// Carries out a batch, which begins with `next` if there is anything; the job that the next one begins with.
fn batch(core: &mut Core, mut next: Option<Job>, queue: &Receiver<Job>) -> Option<Job> {
    let mut finishes = Vec::new();
    let mut held = None;
    while let Some(job) = next.take() {
        if job.first && !finishes.is_empty() {
            held = Some(job);
            break;
        }
        finishes.push((job.work)(core));
        if !core.is_full(finishes.len()) {
            next = queue.try_recv().ok();
        }
    }
    let failed = core.close(finishes.len());
    let mut later = Vec::new();
    for finish in finishes {
        match finish {
            Finish::Answer(answer) => answer(failed.as_ref()),
            Finish::Work(work) => later.push(work),
        }
    }
    core.tell(later);
    held
}
