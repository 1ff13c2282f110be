//! Blocks claimed for many calls: by one task, once for all who wait, and ahead of the moment at which the last one is full.

use crate::carry::carry;
use crate::shared::Inner;
use datastore::Datastore;
use ipam_plan::{AutoAssignRequest, make_room};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Calls that may wait for a block; who comes then goes the long way.
pub(crate) const WAITING: usize = 512;
/// After there was no block to be had, none is claimed ahead for so long.
const REST: Duration = Duration::from_secs(60);

/// A call for which own blocks have no address, or with nobody who waits, few after it.
pub(crate) struct Wanted {
    pub(crate) request: AutoAssignRequest,
    /// Told whether there is one now.
    pub(crate) answer: Option<oneshot::Sender<bool>>,
}

/// See the module.
pub(crate) struct Claimer {
    pub(crate) store: Arc<dyn Datastore>,
    pub(crate) inner: Weak<Inner>,
}

impl Claimer {
    pub(crate) async fn run(self, mut wanted: mpsc::Receiver<Wanted>) {
        let mut waiting: Vec<Wanted> = Vec::new();
        let mut rests_until = None;
        while wanted.recv_many(&mut waiting, WAITING).await > 0 {
            while let Some(request) = waiting.first().map(|first| first.request.clone()) {
                let Some(inner) = self.inner.upgrade() else { return };
                let (alike, others) =
                    waiting.into_iter().partition(|other| is_alike(&other.request, &request));
                waiting = others;
                let answers: Vec<_> = alike.into_iter().filter_map(|one: Wanted| one.answer).collect();
                let rests = answers.is_empty() && rests_until.is_some_and(|until| Instant::now() < until);
                let there = rests || self.claim(&inner, &request, answers.len()).await;
                rests_until = if there { rests_until } else { Some(Instant::now() + REST) };
                for answer in answers {
                    // who waited may have gone
                    let _ = answer.send(there);
                }
            }
        }
    }

    /// Makes room for so many requests like this, or for those that follow; whether there is.
    async fn claim(&self, inner: &Inner, request: &AutoAssignRequest, requests: usize) -> bool {
        let (room, spoken_for) = {
            let warm = inner.warm();
            let room = match requests {
                0 => warm.runs_short(request),
                _ => warm.lacks(request, requests),
            };
            let Some(room) = room else { return true };
            (room, warm.spoken_for())
        };
        let made = carry(&*self.store, make_room(room, spoken_for)).await;
        // however much there is, and what others have claimed
        inner.look().await;
        made.unwrap_or_else(|error| {
            // who needs it goes the long way, which says what is wrong
            tracing::debug!(%error, "no block could be claimed");
            false
        })
    }
}

/// Whether room for the one is room for the other.
fn is_alike(one: &AutoAssignRequest, other: &AutoAssignRequest) -> bool {
    let bare = |of: &AutoAssignRequest| AutoAssignRequest {
        handle: None,
        attributes: Default::default(),
        ..of.clone()
    };
    bare(one) == bare(other)
}
