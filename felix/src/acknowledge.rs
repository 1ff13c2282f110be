//! Endpoints that another part of this process has written, and waits for.
//!
//! The loop is told of the write at once, not only by the watch, and answers when the endpoint is in force together with
//! everything that was written before it; one that comes again under its name while much has to be calculated, when it is in
//! force under the policies that were. The place where to ask outlives the loop: who asks while it is started again waits
//! for the next one.

use bytes::Bytes;
use felix_calc::endpoint::EndpointKey;
use model::{Key, Kind};
use mvcc::{Event, KeyValue, Revision};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Writes that may wait for the loop.
const WAITING: usize = 256;
/// Between two looks for a loop that is started again.
const AGAIN: Duration = Duration::from_millis(20);

/// A write, and where the answer goes.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) written: Event,
    pub(crate) answer: oneshot::Sender<()>,
}

/// Where to ask, for whoever writes endpoints of this node in the agent's own process.
#[derive(Debug, Clone, Default)]
pub struct Acknowledger(Arc<Mutex<Option<mpsc::Sender<Asked>>>>);

impl Acknowledger {
    /// Waits until the endpoint written at `written.kv.mod_revision` is in force on this node, and with it all that was
    /// written before; where much of that has to be calculated, and the endpoint was known by its name, labels and profiles, under
    /// the policies that were in force when it was written, or newer ones. Waits without an end while it cannot be, or no agent runs: the caller has the bound.
    pub async fn in_force(&self, written: Event) {
        loop {
            let (answer, told) = oneshot::channel();
            let asked = Asked { written: written.clone(), answer };
            let asking = self.place().clone();
            if let Some(asking) = asking
                && asking.send(asked).await.is_ok()
                && told.await.is_ok()
            {
                return;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// A loop begins: it is asked from now on.
    pub(crate) fn open(&self) -> mpsc::Receiver<Asked> {
        let (asking, asked) = mpsc::channel(WAITING);
        *self.place() = Some(asking);
        asked
    }

    fn place(&self) -> std::sync::MutexGuard<'_, Option<mpsc::Sender<Asked>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those whose endpoints are not in force yet.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Vec<One>);

#[derive(Debug)]
struct One {
    endpoint: EndpointKey,
    key: Bytes,
    revision: Revision,
    /// When it was written its policies were known: they are those that were in force.
    known: bool,
    /// The dataplane was told all that was written before, or the endpoint under the policies known.
    told: bool,
    answer: oneshot::Sender<()>,
}

impl Waiting {
    /// One more; what is no workload's endpoint has no answer.
    pub(crate) fn push(&mut self, written: &Event, known: bool, answer: oneshot::Sender<()>) {
        let KeyValue { key, mod_revision: revision, .. } = &written.kv;
        let path = String::from_utf8_lossy(key);
        if let Some(Key::Resource { kind: Kind::WorkloadEndpoint, namespace, name }) = Key::parse(&path) {
            let endpoint = EndpointKey::Workload(namespace, name);
            let (key, revision) = (key.clone(), *revision);
            self.0.push(One { endpoint, key, revision, known, told: false, answer });
        }
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The dataplane is told what is known: up to these revisions, key by key.
    pub(crate) fn told(&mut self, reached: impl Fn(&[u8], Revision) -> bool) {
        self.0.iter_mut().for_each(|one| one.told |= reached(&one.key, one.revision));
    }

    /// The dataplane is told ahead of those whose policies were known, where `tell` can say what they are; whether it was.
    pub(crate) fn tell_known(&mut self, mut tell: impl FnMut(&[u8]) -> bool) -> bool {
        let mut news = false;
        for one in self.0.iter_mut().filter(|one| one.known && !one.told) {
            one.told = tell(&one.key);
            news |= one.told;
        }
        news
    }

    /// Answers those that are in force by now, and forgets those who do not wait any more.
    pub(crate) fn answer(&mut self, in_force: impl Fn(&EndpointKey) -> bool) {
        for one in std::mem::take(&mut self.0) {
            if one.answer.is_closed() {
                continue;
            }
            match one.told && in_force(&one.endpoint) {
                // who asked may have gone just now
                true => drop(one.answer.send(())),
                false => self.0.push(one),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use mvcc::EventKind;

    const KEY: &str = "/calico/resources/v3/projectcalico.org/workloadendpoints/shop/node-cni-c-eth0";

    fn written(revision: Revision) -> Event {
        let kv = KeyValue {
            key: KEY.into(),
            value: Bytes::new(),
            create_revision: revision,
            mod_revision: revision,
            version: 1,
            lease: 0,
        };
        Event { kind: EventKind::Put, kv, prev: None }
    }

    fn endpoint() -> EndpointKey {
        EndpointKey::Workload("shop".into(), "node-cni-c-eth0".into())
    }

    #[test]
    fn answered_when_the_stream_has_come_so_far_and_the_endpoint_works() {
        let mut waiting = Waiting::default();
        let (answer, mut told) = oneshot::channel();
        waiting.push(&written(7), false, answer);
        let reached = |revision: Revision| move |_: &[u8], wanted: Revision| revision >= wanted;
        waiting.told(reached(6));
        waiting.answer(|_| true);
        assert!(told.try_recv().is_err(), "a policy of revision 6 may still be on its way");
        waiting.told(reached(7));
        waiting.answer(|key| *key != endpoint());
        assert!(told.try_recv().is_err(), "its route is not there");
        waiting.answer(|key| *key == endpoint());
        assert_eq!(told.try_recv(), Ok(()));
        assert!(waiting.is_empty());
    }

    #[test]
    fn one_whose_policies_were_known_does_not_wait_for_what_was_written_before() {
        let mut waiting = Waiting::default();
        let told: Vec<_> = [false, true]
            .map(|known| {
                let (answer, told) = oneshot::channel();
                waiting.push(&written(7), known, answer);
                told
            })
            .into();
        assert!(!waiting.tell_known(|_| false), "nothing can be told of it yet");
        waiting.answer(|_| true);
        assert_eq!(waiting.0.len(), 2);
        assert!(waiting.tell_known(|key| key == KEY.as_bytes()));
        waiting.answer(|_| false);
        assert_eq!(waiting.0.len(), 2, "the kernel does not have it");
        waiting.answer(|_| true);
        let answered: Vec<bool> = told.into_iter().map(|mut told| told.try_recv().is_ok()).collect();
        assert_eq!(answered, [false, true]);
        assert!(!waiting.tell_known(|_| true), "who is left is not known");
    }

    #[test]
    fn who_has_gone_is_forgotten() {
        let mut waiting = Waiting::default();
        let (answer, told) = oneshot::channel();
        waiting.push(&written(7), false, answer);
        drop(told);
        waiting.answer(|_| false);
        assert!(waiting.0.is_empty());
    }

    #[tokio::test]
    async fn who_comes_when_too_many_wait_is_answered_later() {
        let acknowledger = Acknowledger::default();
        let mut asked = acknowledger.open();
        let asking: Vec<_> = (0..=WAITING)
            .map(|_| {
                let acknowledger = acknowledger.clone();
                tokio::spawn(async move { acknowledger.in_force(written(7)).await })
            })
            .collect();
        while asked.len() < WAITING {
            tokio::task::yield_now().await;
        }
        tokio::task::yield_now().await;
        assert_eq!(asked.len(), WAITING, "the last one has no place");
        for _ in 0..=WAITING {
            asked.recv().await.unwrap().answer.send(()).unwrap();
        }
        for asking in asking {
            asking.await.unwrap();
        }
    }

    #[tokio::test]
    async fn the_next_loop_is_asked_when_one_ends_without_an_answer() {
        let acknowledger = Acknowledger::default();
        let mut asking = Box::pin(acknowledger.in_force(written(7)));
        assert!(asking.as_mut().now_or_never().is_none(), "no loop yet");
        for answered in [false, true] {
            let mut asked = acknowledger.open();
            let receiving = tokio::time::timeout(Duration::from_secs(10), asked.recv());
            let asked = tokio::select! {
                () = &mut asking => panic!("nobody answered"),
                asked = receiving => asked.unwrap().unwrap(),
            };
            assert_eq!(asked.written.kv.mod_revision, 7);
            if answered {
                asked.answer.send(()).unwrap();
            }
        }
        tokio::time::timeout(Duration::from_secs(10), asking).await.unwrap();
    }
}
