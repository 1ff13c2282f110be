//! Watches that outlive connections.
//!
//! A watch knows the first revision it has not reported. When its stream breaks it opens another one there, at the
//! next endpoint, as often as it takes; events below that revision are dropped. So nothing is lost or doubled, until a
//! compaction passes the revision, which ends the watch with `Compacted`.

use super::{Shared, convert};
use crate::StoreError;
use etcd_client::WatchStream;
use futures::stream::{self, BoxStream, StreamExt};
use mvcc::{Event, Revision, WatchRequest, WatchResponse};
use std::sync::Arc;
use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Opens a watch and waits until the server has it, so that no later change is missed.
pub(super) async fn open(
    shared: Arc<Shared>,
    request: WatchRequest,
) -> Result<BoxStream<'static, Result<WatchResponse, StoreError>>, StoreError> {
    let mut follower =
        Follower { shared, next: request.start_revision.max(0), request, stream: None, ended: None };
    follower.connect().await?;
    let messages = stream::unfold(Some(follower), |follower| async move {
        let mut follower = follower?;
        match follower.next_message().await {
            Ok(message) => Some((Ok(message), Some(follower))),
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(messages.boxed())
}

struct Follower {
    shared: Arc<Shared>,
    request: WatchRequest,
    /// First revision not yet reported; 0 until the server said where "now" is.
    next: Revision,
    stream: Option<WatchStream>,
    /// The server ended the watch as soon as it was made.
    ended: Option<Ended>,
}

/// Why a watch is over at the server.
enum Ended {
    /// For good.
    Error(StoreError),
    /// It is worth trying again.
    Again,
}

impl Follower {
    async fn next_message(&mut self) -> Result<WatchResponse, StoreError> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.ended.take() {
                Some(Ended::Error(error)) => return Err(error),
                Some(Ended::Again) => self.stream = None,
                None => {}
            }
            let Some(stream) = &mut self.stream else {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
                match self.connect().await {
                    Ok(()) => continue,
                    Err(StoreError::Unavailable(reason)) => {
                        tracing::warn!(reason, "watch lost its connection, trying again");
                        continue;
                    }
                    Err(error) => return Err(error),
                }
            };
            match stream.message().await {
                Ok(Some(message)) if message.canceled() => self.ended = Some(self.ending(&message).await),
                Ok(Some(message)) => {
                    pause = FIRST_PAUSE;
                    if let Some(response) = self.report(&message) {
                        return Ok(response);
                    }
                }
                Ok(None) => self.stream = None,
                Err(error) => {
                    tracing::debug!(%error, "watch stream broke");
                    self.stream = None;
                }
            }
        }
    }

    /// What a message adds to what was reported.
    fn report(&mut self, message: &etcd_client::WatchResponse) -> Option<WatchResponse> {
        let events: Vec<Event> = message
            .events()
            .iter()
            .filter_map(convert::event)
            .filter(|event| event.kv.mod_revision >= self.next)
            .collect();
        match events.last() {
            // the header's revision may be ahead of the events while the server catches up
            Some(last) => self.next = last.kv.mod_revision + 1,
            None if message.events().is_empty() => {
                self.next = self.next.max(convert::revision(message.header()) + 1);
            }
            None => return None,
        }
        Some(WatchResponse { revision: self.next - 1, events })
    }

    /// Opens a stream at some endpoint and waits for the server's word that the watch exists.
    async fn connect(&mut self) -> Result<(), StoreError> {
        let (request, start) = (&self.request, self.next);
        let (stream, first) = self
            .shared
            .call(true, |mut to| {
                let (key, options) = convert::watch(request, start);
                async move {
                    let mut stream = to.watch.watch(key, Some(options)).await?;
                    match stream.message().await? {
                        Some(first) => Ok((stream, first)),
                        None => Err(etcd_client::Error::WatchError("the server closed the stream".into())),
                    }
                }
            })
            .await?;
        let newest = convert::revision(first.header());
        if first.canceled() {
            self.ended = Some(self.ending(&first).await);
        } else if self.next == 0 {
            self.next = newest + 1;
        } else if newest > 0 && self.stream_was_here() && newest + 1 < self.next {
            // another store answers at this address, or a backup was restored: only a new list helps
            return Err(StoreError::Compacted { revision: newest });
        }
        self.stream = Some(stream);
        Ok(())
    }

    /// Whether `next` comes from what the server reported and not from the caller, who may ask for the future.
    fn stream_was_here(&self) -> bool {
        self.next > self.request.start_revision
    }

    async fn ending(&self, message: &etcd_client::WatchResponse) -> Ended {
        let reason = message.cancel_reason();
        if message.compact_revision() != 0 {
            return Ended::Error(StoreError::Compacted { revision: message.compact_revision() });
        }
        if reason.contains("permission denied") {
            return Ended::Error(StoreError::Unauthorized(reason.to_owned()));
        }
        if reason.contains("invalid auth token") {
            self.shared.forget_logins().await;
        }
        tracing::debug!(reason, "the server ended a watch");
        Ended::Again
    }
}
