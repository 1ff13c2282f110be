//! An operation as a value: it asks for transactions and is told their answers and the time.
//!
//! Operations are written as plain `async` functions over a [`Port`], which reads like the contract's prose, but nothing
//! here waits: the only thing ever awaited is the answer to a transaction, and whoever carried it tells it to
//! the operation, which is a value until then ([`Waiting`]). So the same operation runs over a real datastore in `ipam` and in virtual time in the simulator, which may drop
//! it between any two steps (a crash) or tell it a lost race. No runtime is involved; the waker does nothing.

use jiff::Timestamp;
use mvcc::{RangeRequest, Txn, TxnResponse};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// What a transaction is for: tells tests and failpoints where an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// It only reads.
    Read,
    /// It may write; the name is that of the step.
    Write(&'static str),
}

/// A transaction to carry out.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// The transaction.
    pub txn: Txn,
    /// What it is for.
    pub purpose: Purpose,
    /// How often in a row the operation lost a race just before; a carrier waits a little longer each time.
    pub conflicts: u32,
}

/// What an operation does next.
#[derive(Debug)]
pub enum Step<T> {
    /// It needs the answer to this, to be told to the other.
    Ask(Ask, Waiting<T>),
    /// It is finished.
    Done(T),
}

#[derive(Debug)]
struct Mailbox {
    now: Timestamp,
    conflicts: u32,
    ask: Option<Ask>,
    answer: Option<TxnResponse>,
}

/// An operation's side of the exchange.
#[derive(Debug, Clone)]
pub struct Port(Arc<Mutex<Mailbox>>);

impl Port {
    fn mailbox(&self) -> MutexGuard<'_, Mailbox> {
        // nothing is left half done in a mailbox, so a panic elsewhere does not matter
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time of the last answer.
    pub(crate) fn now(&self) -> Timestamp {
        self.mailbox().now
    }

    /// Reads several ranges at one revision.
    pub(crate) async fn read(&self, ranges: Vec<RangeRequest>) -> TxnResponse {
        self.exchange(Txn::reads(ranges), Purpose::Read).await
    }

    /// Runs a transaction that may write.
    pub(crate) async fn write(&self, txn: Txn, step: &'static str) -> TxnResponse {
        let answer = self.exchange(txn, Purpose::Write(step)).await;
        let mut mailbox = self.mailbox();
        mailbox.conflicts = if answer.succeeded { 0 } else { mailbox.conflicts.saturating_add(1) };
        answer
    }

    async fn exchange(&self, txn: Txn, purpose: Purpose) -> TxnResponse {
        {
            let mut mailbox = self.mailbox();
            mailbox.ask = Some(Ask { txn, purpose, conflicts: mailbox.conflicts });
        }
        std::future::poll_fn(|_| match self.mailbox().answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => Poll::Pending,
        })
        .await
    }
}

type Operation<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// An operation that has not begun.
pub struct Plan<T> {
    port: Port,
    operation: Operation<T>,
}

/// An operation that waits for an answer. Dropping it abandons the operation where it stands.
pub struct Waiting<T> {
    port: Port,
    operation: Operation<T>,
}

impl<T> Plan<T> {
    /// An operation that has not begun.
    pub(crate) fn new<F>(operation: impl FnOnce(Port) -> F) -> Self
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mailbox = Mailbox { now: Timestamp::UNIX_EPOCH, conflicts: 0, ask: None, answer: None };
        let port = Port(Arc::new(Mutex::new(mailbox)));
        let operation = Box::pin(operation(port.clone()));
        Self { port, operation }
    }

    /// Begins.
    pub fn begin(self, now: Timestamp) -> Step<T> {
        go_on(self.port, self.operation, None, now)
    }
}

impl<T> Waiting<T> {
    /// Goes on with the answer to what was asked.
    pub fn answer(self, answer: TxnResponse, now: Timestamp) -> Step<T> {
        go_on(self.port, self.operation, Some(answer), now)
    }
}

impl<T> fmt::Debug for Waiting<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("port", &self.port).finish_non_exhaustive()
    }
}

fn go_on<T>(port: Port, mut operation: Operation<T>, answer: Option<TxnResponse>, now: Timestamp) -> Step<T> {
    {
        let mut mailbox = port.mailbox();
        mailbox.now = now;
        mailbox.answer = answer;
    }
    match operation.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => Step::Done(outcome),
        Poll::Pending => match port.mailbox().ask.take() {
            Some(ask) => Step::Ask(ask, Waiting { port: port.clone(), operation }),
            // an operation has nothing to wait for but the answer to what it just asked
            None => unreachable!(),
        },
    }
}
