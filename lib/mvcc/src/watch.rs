//! Watches: a cursor over the store's log, held by the watcher.
//!
//! Nothing is queued for anybody: a slow watcher is only a cursor that lags, until a compaction passes it.

use crate::{Error, Event, EventKind, KeyValue, Revision, Store, WatchRequest, WatchResponse};
use bytes::Bytes;

/// A position in the history of a range.
#[derive(Debug, Clone)]
pub struct Watcher {
    request: WatchRequest,
    next: Revision,
}

impl Watcher {
    /// The first revision not yet reported.
    pub fn next_revision(&self) -> Revision {
        self.next
    }

    /// The request it was made from.
    pub fn request(&self) -> &WatchRequest {
        &self.request
    }
}

impl Store {
    /// Starts a watch; a start revision of 0 means after the newest. Whether the start is compacted shows at the
    /// first poll, as in etcd.
    pub fn watch(&self, request: WatchRequest) -> Watcher {
        let next = if request.start_revision > 0 { request.start_revision.max(2) } else { self.revision + 1 };
        Watcher { request, next }
    }

    /// What happened since the watcher's last poll: about `max_events` events, but never part of a revision.
    /// `None` when nothing that concerns it did. After `Error::Compacted` the watch is over.
    pub fn poll(&self, watcher: &mut Watcher, max_events: usize) -> Result<Option<WatchResponse>, Error> {
        if watcher.next < self.compacted {
            return Err(Error::Compacted { oldest: self.compacted });
        }
        let mut events = Vec::new();
        let start = self.log.partition_point(|(at, _)| *at < watcher.next);
        for (revision, keys) in self.log.range(start..) {
            if events.len() >= max_events.max(1) {
                break;
            }
            let concerned = keys.as_slice().iter().filter(|key| watcher.request.range.contains(key));
            events.extend(concerned.filter_map(|key| self.event(key, *revision, &watcher.request)));
            watcher.next = revision + 1;
        }
        if events.is_empty() {
            return Ok(None);
        }
        Ok(Some(WatchResponse { revision: watcher.next - 1, events }))
    }

    /// A progress report: up to which revision the watcher has seen everything; `None` while events wait for it or
    /// its start is still to come.
    pub fn progress(&self, watcher: &Watcher) -> Option<WatchResponse> {
        (watcher.next == self.revision + 1)
            .then(|| WatchResponse { revision: self.revision, events: Vec::new() })
    }

    /// The changes of one revision that concern a watch.
    pub fn events_at(&self, revision: Revision, request: &WatchRequest) -> Vec<Event> {
        let Ok(place) = self.log.binary_search_by_key(&revision, |(at, _)| *at) else { return Vec::new() };
        let keys = self.log.get(place).map(|(_, keys)| keys.as_slice()).unwrap_or_default();
        let concerned = keys.iter().filter(|key| request.range.contains(key));
        concerned.filter_map(|key| self.event(key, revision, request)).collect()
    }

    fn event(&self, key: &Bytes, revision: Revision, request: &WatchRequest) -> Option<Event> {
        let (entry, before) = self.index.get(key)?.change(revision)?;
        let prev = before.filter(|_| request.prev_kv).map(|entry| entry.to_kv(key));
        if entry.deleted() {
            let kv = KeyValue {
                key: key.clone(),
                value: Bytes::new(),
                create_revision: 0,
                mod_revision: revision,
                version: 0,
                lease: 0,
            };
            return (!request.no_delete).then_some(Event { kind: EventKind::Delete, kv, prev });
        }
        (!request.no_put).then(|| Event { kind: EventKind::Put, kv: entry.to_kv(key), prev })
    }
}
