//! Tasks that the owner's thread wakes, many at once.
//!
//! To wake a task of another thread is a system call, to wake one's neighbour is none. So the owner hands all of a batch over to
//! one task of the runtime that serves, with one signal, and that wakes the others: some at a time, so that requests do not wait
//! until the last of a thousand watches is told. What is written meanwhile goes along with what the later ones have to send.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

/// How many are woken before others get their turn.
const TURN: usize = 32;

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<Waker>,
    /// Of the task that wakes the others, when it sleeps.
    helper: Option<Waker>,
    /// There is such a task.
    helped: bool,
}

/// What is to be woken.
#[derive(Debug, Default)]
pub(crate) struct Waking(Mutex<Inner>);

impl Waking {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to it that a task of the current runtime, or of another one, helps.
    pub(crate) fn help(self: &Arc<Self>) {
        if !std::mem::replace(&mut self.lock().helped, true) {
            tokio::spawn(Helper(Arc::downgrade(self)));
        }
    }

    /// Has a task woken at the next [`Waking::signal`].
    pub(crate) fn add(&self, waker: Waker) {
        self.lock().waiting.push_back(waker);
    }

    /// Wakes all that were added.
    pub(crate) fn signal(&self) {
        let mut inner = self.lock();
        if inner.waiting.is_empty() {
            return;
        }
        if !inner.helped {
            let waiting = std::mem::take(&mut inner.waiting);
            drop(inner);
            waiting.into_iter().for_each(Waker::wake);
        } else if let Some(helper) = inner.helper.take() {
            drop(inner);
            helper.wake();
        }
    }
}

impl Drop for Waking {
    fn drop(&mut self) {
        let inner = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        inner.waiting.drain(..).chain(inner.helper.take()).for_each(Waker::wake);
    }
}

/// Ends with what it helps, or with its runtime.
struct Helper(Weak<Waking>);

impl Future for Helper {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(waking) = self.0.upgrade() else { return Poll::Ready(()) };
        let mut turn = Vec::with_capacity(TURN);
        let more = {
            let mut inner = waking.lock();
            let number = inner.waiting.len().min(TURN);
            turn.extend(inner.waiting.drain(..number));
            let more = !inner.waiting.is_empty();
            inner.helper = (!more).then(|| context.waker().clone());
            more
        };
        turn.into_iter().for_each(Waker::wake);
        if more {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        if let Some(waking) = self.0.upgrade() {
            let waiting = {
                let mut inner = waking.lock();
                (inner.helped, inner.helper) = (false, None);
                std::mem::take(&mut inner.waiting)
            };
            waiting.into_iter().for_each(Waker::wake);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
    }

    async fn until(count: &Count, woken: usize) {
        let wait = async {
            while count.0.load(Ordering::Relaxed) < woken {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait).await.expect("woken");
        assert_eq!(count.0.load(Ordering::Relaxed), woken);
    }

    #[test]
    fn all_are_woken_with_and_without_help_and_when_the_help_goes() {
        let (waking, count) = (Arc::new(Waking::default()), Arc::new(Count::default()));
        let add = |waking: &Waking, number| {
            (0..number).for_each(|_| waking.add(Waker::from(Arc::clone(&count))));
        };
        add(&waking, 3);
        waking.signal();
        assert_eq!(count.0.load(Ordering::Relaxed), 3, "nobody helps yet");
        let first = runtime();
        first.block_on(async {
            waking.help();
            waking.help();
            let mut woken = 3;
            for number in [1, TURN, TURN + 1, 10 * TURN] {
                add(&waking, number);
                waking.signal();
                let (before, counted) = (woken, Arc::clone(&count));
                woken += number;
                // somebody else who has work all the time
                let mut seen = before;
                let other = tokio::spawn(std::future::poll_fn(move |context| {
                    let now = counted.0.load(Ordering::Relaxed);
                    assert!(now - seen <= TURN, "{} at once", now - seen);
                    seen = now;
                    context.waker().wake_by_ref();
                    if now < before + number { Poll::Pending } else { Poll::Ready(()) }
                }));
                tokio::time::timeout(Duration::from_secs(10), other).await.expect("woken").unwrap();
                until(&count, woken).await;
            }
            assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 1, "one helps");
            // added and not woken when the runtime ends
            add(&waking, 1);
            waking.signal();
        });
        drop(first);
        let before = count.0.load(Ordering::Relaxed);
        assert_eq!(before, 3 + 1 + TURN + TURN + 1 + 10 * TURN + 1);
        add(&waking, 1);
        waking.signal();
        assert_eq!(count.0.load(Ordering::Relaxed), before + 1, "without help again");
        let second = runtime();
        second.block_on(async {
            waking.help();
            add(&waking, 1);
            waking.signal();
            until(&count, before + 2).await;
            add(&waking, 1);
            drop(waking);
            until(&count, before + 3).await;
            let gone = async {
                while tokio::runtime::Handle::current().metrics().num_alive_tasks() > 0 {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(10), gone).await.expect("the task ends");
        });
    }
}
