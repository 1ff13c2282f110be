//! Who hands batches to the kernel, which carries them out while it is asked: a short one on the speaker's own thread; a
//! long one on another, so that sessions and decisions go on meanwhile, and the next is ready when it ends.

use super::Answers;
use futures::future::{BoxFuture, FutureExt};
use kernel::{Kernel, KernelError, Op};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Changes that take the kernel longer than a thread's wakeup.
const LONG: usize = 64;

/// A long batch, and where its answers go.
type Job = (Vec<Op>, oneshot::Sender<Answers>);

/// A batch on its way.
pub(super) struct Writing {
    /// On the speaker's thread: nothing may be sent before it is answered.
    pub(super) alone: bool,
    /// What the kernel says.
    pub(super) answers: BoxFuture<'static, Answers>,
}

/// See the module. The thread ends with it.
pub(super) struct Writer {
    kernel: Arc<dyn Kernel>,
    /// Made for the first long batch.
    thread: Option<Sender<Job>>,
}

impl Writer {
    pub(super) fn new(kernel: Arc<dyn Kernel>) -> Self {
        Self { kernel, thread: None }
    }

    /// Batches are carried out in the order of these calls, if none is made while one is under way that is
    /// [`Writing::alone`]. `others` says that some are under way.
    pub(super) fn write(&mut self, ops: Vec<Op>, others: bool) -> Writing {
        let kernel = Arc::clone(&self.kernel);
        if ops.len() < LONG && !others {
            let answers = async move { kernel.apply(ops, false).await }.boxed();
            return Writing { alone: true, answers };
        }
        let count = ops.len();
        let (answer, told) = oneshot::channel();
        let unsent = match &self.thread {
            Some(thread) => thread.send((ops, answer)).err().map(|back| back.0),
            None => Some((ops, answer)),
        };
        if let Some(job) = unsent {
            self.thread = begin(kernel, job);
        }
        // where there is no thread nobody holds the other end
        let lost = move |_| (0..count).map(|_| Err(gone())).collect();
        Writing { alone: false, answers: told.map(move |told| told.unwrap_or_else(lost)).boxed() }
    }
}

fn gone() -> KernelError {
    KernelError::Socket("the thread that programs the kernel is gone".to_owned())
}

fn begin(kernel: Arc<dyn Kernel>, first: Job) -> Option<Sender<Job>> {
    let (jobs, queue) = mpsc::channel();
    let runtime = Handle::current();
    let thread = std::thread::Builder::new().name("bgpd-kernel".to_owned());
    let begun = thread.spawn(move || work(&runtime, &*kernel, first, &queue));
    match begun {
        Ok(_) => Some(jobs),
        Err(error) => {
            tracing::warn!(%error, "no thread to program the kernel, trying again");
            None
        }
    }
}

fn work(runtime: &Handle, kernel: &dyn Kernel, first: Job, queue: &Receiver<Job>) {
    let mut next = Some(first);
    while let Some((ops, answer)) = next {
        // who asked may have ended
        let _ = answer.send(runtime.block_on(kernel.apply(ops, false)));
        next = queue.recv().ok();
    }
}
