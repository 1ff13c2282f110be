//! All watches of all streams.
//!
//! Watches that ask for the same form a group, whose events are computed and encoded once. A watch whose stream does not
//! read lags: it leaves its group and becomes a cursor into the store's log, until it has caught up.

use crate::convert;
use crate::outbox::{Body, Frame, Outbox};
use bytes::Bytes;
use etcd_client::proto::{PbResponseHeader, PbWatchResponse};
use mvcc::{Error, Event, KeyRange, Revision, Store, WatchRequest, Watcher};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Events of one message of a watch that catches up.
const CATCH_UP_EVENTS: usize = 1000;
/// Bytes after which another message begins: the clients of some languages take 4 MiB unless told otherwise.
const CATCH_UP_BYTES: usize = 1 << 20;
/// Fragments stay below: a request's limit and etcd's overhead for gRPC.
const FRAGMENT: usize = (3 << 19) + (512 << 10);

/// Names a stream.
pub(crate) type StreamId = u64;

/// What a watch asks for.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) range: KeyRange,
    pub(crate) start: Revision,
    pub(crate) id: i64,
    pub(crate) prev_kv: bool,
    pub(crate) progress: bool,
    pub(crate) fragment: bool,
    pub(crate) no_put: bool,
    pub(crate) no_delete: bool,
}

/// Watches of a group see the same events.
type Filter = (Bytes, Option<Bytes>, bool, bool, bool);

#[derive(Debug)]
enum Place {
    /// In its group, told of everything from this revision on.
    Live(Revision),
    /// Behind the group.
    Behind(Watcher),
    /// Ended by a compaction. As in etcd its id stays taken until it is cancelled.
    Over,
}

#[derive(Debug)]
struct Watch {
    request: WatchRequest,
    fragment: bool,
    place: Place,
    /// Told something since the last tick.
    told: bool,
}

struct Stream {
    outbox: Arc<Outbox>,
    watches: BTreeMap<i64, Watch>,
    next_id: i64,
    /// It asked for its progress while a watch lagged.
    asked: bool,
}

/// What there is to tell of all watches.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct WatchCounts {
    pub(crate) streams: u64,
    pub(crate) watches: u64,
    /// Watches that lag.
    pub(crate) slow: u64,
    /// Messages that no stream has sent yet.
    pub(crate) waiting: u64,
    /// Events told so far.
    pub(crate) told: u64,
}

/// The registry.
pub(crate) struct Hub {
    streams: HashMap<StreamId, Stream>,
    groups: HashMap<Filter, Vec<(StreamId, i64)>>,
    next_stream: StreamId,
    published: Revision,
    /// Events told to watches.
    told: u64,
    every: Duration,
    next_tick: Instant,
}

fn filter(request: &WatchRequest) -> Filter {
    let KeyRange { key, end } = &request.range;
    (key.clone(), end.clone(), request.prev_kv, request.no_put, request.no_delete)
}

impl Hub {
    pub(crate) fn new(every: Duration) -> Self {
        Self {
            streams: HashMap::new(),
            groups: HashMap::new(),
            next_stream: 0,
            published: 0,
            told: 0,
            every,
            next_tick: Instant::now() + every,
        }
    }

    /// Nobody is told of revisions up to this one.
    pub(crate) fn begin(&mut self, revision: Revision) {
        self.published = revision;
    }

    /// How many streams there are.
    pub(crate) fn streams(&self) -> usize {
        self.streams.len()
    }

    /// How many streams and watches there are, and how they are.
    pub(crate) fn counts(&self) -> WatchCounts {
        let mut counts = WatchCounts { told: self.told, ..WatchCounts::default() };
        for stream in self.streams.values() {
            counts.streams += 1;
            counts.waiting += stream.outbox.waiting() as u64;
            for watch in stream.watches.values() {
                counts.watches += u64::from(!matches!(watch.place, Place::Over));
                counts.slow += u64::from(matches!(watch.place, Place::Behind(_)));
            }
        }
        counts
    }

    /// A new stream.
    pub(crate) fn open(&mut self, outbox: Arc<Outbox>) -> StreamId {
        self.next_stream += 1;
        let stream = Stream { outbox, watches: BTreeMap::new(), next_id: 0, asked: false };
        self.streams.insert(self.next_stream, stream);
        self.next_stream
    }

    /// The client has gone, or has nothing more to ask.
    pub(crate) fn close(&mut self, id: StreamId) {
        let Some(stream) = self.streams.remove(&id) else { return };
        stream.outbox.close();
        for (watch_id, watch) in &stream.watches {
            self.leave(&watch.request, id, *watch_id);
        }
    }

    /// Begins a watch. Texts are etcd's.
    pub(crate) fn create(
        &mut self,
        stream_id: StreamId,
        wish: Wish,
        store: &Store,
        header: PbResponseHeader,
    ) {
        let Some(stream) = self.streams.get_mut(&stream_id) else { return };
        let empty = wish.range.end.as_ref().is_some_and(|end| end.as_ref() != [0] && *end <= wish.range.key);
        let refused = if empty {
            Some("mvcc: watcher range is empty")
        } else if wish.id != 0 && stream.watches.contains_key(&wish.id) {
            Some("mvcc: duplicate watch ID provided on the WatchStream")
        } else {
            None
        };
        if let Some(reason) = refused {
            stream.outbox.push(Frame::control(PbWatchResponse {
                header: Some(header),
                watch_id: -1,
                created: true,
                canceled: true,
                cancel_reason: reason.to_owned(),
                ..PbWatchResponse::default()
            }));
            return;
        }
        let id = if wish.id != 0 {
            wish.id
        } else {
            while stream.watches.contains_key(&stream.next_id) {
                stream.next_id += 1;
            }
            stream.next_id += 1;
            stream.next_id - 1
        };
        stream.outbox.push(Frame::control(PbWatchResponse {
            header: Some(header),
            watch_id: id,
            created: true,
            ..PbWatchResponse::default()
        }));
        let request = WatchRequest {
            range: wish.range,
            start_revision: wish.start,
            prev_kv: wish.prev_kv,
            progress_notify: wish.progress,
            no_put: wish.no_put,
            no_delete: wish.no_delete,
        };
        let next = store.revision() + 1;
        let place = if wish.start == 0 || wish.start >= next {
            self.groups.entry(filter(&request)).or_default().push((stream_id, id));
            Place::Live(wish.start.max(next))
        } else {
            Place::Behind(store.watch(request.clone()))
        };
        stream.watches.insert(id, Watch { request, fragment: wish.fragment, place, told: false });
        self.catch_up(stream_id, store, &header);
    }

    /// Ends a watch; an unknown one is passed over.
    pub(crate) fn cancel(&mut self, stream_id: StreamId, id: i64, header: PbResponseHeader) {
        let Some(stream) = self.streams.get_mut(&stream_id) else { return };
        let Some(watch) = stream.watches.remove(&id) else { return };
        stream.outbox.push(Frame::control(PbWatchResponse {
            header: Some(header),
            watch_id: id,
            canceled: true,
            ..PbWatchResponse::default()
        }));
        self.leave(&watch.request, stream_id, id);
    }

    /// Reports progress for the whole stream, at once or when its watches have caught up.
    pub(crate) fn progress(&mut self, stream_id: StreamId, header: &PbResponseHeader) {
        if let Some(stream) = self.streams.get_mut(&stream_id) {
            stream.asked = true;
            stream.report(header);
        }
    }

    fn leave(&mut self, request: &WatchRequest, stream: StreamId, id: i64) {
        let key = filter(request);
        if let Some(members) = self.groups.get_mut(&key) {
            members.retain(|member| *member != (stream, id));
            if members.is_empty() {
                self.groups.remove(&key);
            }
        }
    }

    /// Tells everybody of the revisions since the last call.
    pub(crate) fn publish(&mut self, store: &Store, header: &PbResponseHeader) {
        let first = self.published.max(store.compacted().saturating_sub(1)) + 1;
        self.published = store.revision();
        for revision in first..=store.revision() {
            for (key, members) in &mut self.groups {
                let (range_key, end, prev_kv, no_put, no_delete) = key;
                let request = WatchRequest {
                    range: KeyRange { key: range_key.clone(), end: end.clone() },
                    start_revision: revision,
                    prev_kv: *prev_kv,
                    progress_notify: false,
                    no_put: *no_put,
                    no_delete: *no_delete,
                };
                let events = store.events_at(revision, &request);
                let body = Arc::new(Body::new(events.into_iter().map(convert::event)));
                if body.is_empty() {
                    continue;
                }
                let header = PbResponseHeader { revision, ..*header };
                self.told += (body.len() * members.len()) as u64;
                members.retain(|(stream, id)| match self.streams.get_mut(stream) {
                    Some(stream) => stream.tell(*id, revision, &header, &body, store),
                    None => false,
                });
            }
        }
        self.groups.retain(|_, members| !members.is_empty());
    }

    /// Goes on with a stream's watches that lag.
    pub(crate) fn catch_up(&mut self, stream_id: StreamId, store: &Store, header: &PbResponseHeader) {
        let Some(stream) = self.streams.get_mut(&stream_id) else { return };
        for (id, watch) in &mut stream.watches {
            match watch.advance(*id, store, header, &stream.outbox, &mut self.told) {
                Advanced::Stays => {}
                Advanced::Joins => {
                    self.groups.entry(filter(&watch.request)).or_default().push((stream_id, *id));
                }
                Advanced::Ends => watch.place = Place::Over,
            }
        }
        stream.report(header);
    }

    /// When [`Hub::tick`] has something to do.
    pub(crate) fn until_tick(&self) -> Duration {
        self.next_tick.saturating_duration_since(Instant::now())
    }

    /// Tells idle watches that asked for it how far they are.
    pub(crate) fn tick(&mut self, header: &PbResponseHeader) {
        if Instant::now() < self.next_tick {
            return;
        }
        self.next_tick = Instant::now() + self.every;
        for stream in self.streams.values_mut() {
            for (id, watch) in &mut stream.watches {
                let idle = !std::mem::take(&mut watch.told);
                let at_end = matches!(watch.place, Place::Live(from) if from <= header.revision + 1);
                if watch.request.progress_notify && idle && at_end {
                    stream.outbox.push(Frame::control(PbWatchResponse {
                        header: Some(*header),
                        watch_id: *id,
                        ..PbWatchResponse::default()
                    }));
                }
            }
        }
    }
}

impl Stream {
    /// Tells one watch of a revision; whether it stays in its group.
    fn tell(
        &mut self,
        id: i64,
        revision: Revision,
        header: &PbResponseHeader,
        body: &Arc<Body>,
        store: &Store,
    ) -> bool {
        let Some(watch) = self.watches.get_mut(&id) else { return false };
        let Place::Live(from) = watch.place else { return false };
        if revision < from {
            return true;
        }
        if !self.outbox.has_room() {
            let request = WatchRequest { start_revision: revision, ..watch.request.clone() };
            watch.place = Place::Behind(store.watch(request));
            return false;
        }
        watch.told = true;
        watch.send(id, header, Arc::clone(body), &self.outbox);
        true
    }

    fn report(&mut self, header: &PbResponseHeader) {
        if self.asked && self.watches.values().all(|watch| !matches!(watch.place, Place::Behind(_))) {
            self.asked = false;
            self.outbox.push(Frame::control(PbWatchResponse {
                header: Some(*header),
                watch_id: -1,
                ..PbWatchResponse::default()
            }));
        }
    }
}

/// Events in messages of a bearable size; what happened at one revision stays together.
fn messages(events: Vec<Event>) -> Vec<Vec<Event>> {
    let mut messages: Vec<Vec<Event>> = Vec::new();
    let mut bytes = 0;
    for event in events {
        let before = messages.last().and_then(|message| message.last());
        let same = before.is_some_and(|before| before.kv.mod_revision == event.kv.mod_revision);
        let size = event.kv.value.len() + event.prev.as_ref().map_or(0, |prev| prev.value.len());
        match messages.last_mut() {
            Some(message) if same || bytes < CATCH_UP_BYTES => message.push(event),
            _ => {
                bytes = 0;
                messages.push(vec![event]);
            }
        }
        bytes += size;
    }
    messages
}

enum Advanced {
    Stays,
    Joins,
    Ends,
}

impl Watch {
    fn send(&self, id: i64, header: &PbResponseHeader, body: Arc<Body>, outbox: &Outbox) {
        let head = PbWatchResponse { header: Some(*header), watch_id: id, ..PbWatchResponse::default() };
        let frame = Frame::events(head, body);
        if self.fragment {
            frame.fragments(FRAGMENT).into_iter().for_each(|part| outbox.push(part));
        } else {
            outbox.push(frame);
        }
    }

    fn advance(
        &mut self,
        id: i64,
        store: &Store,
        header: &PbResponseHeader,
        outbox: &Outbox,
        told: &mut u64,
    ) -> Advanced {
        loop {
            let Place::Behind(watcher) = &mut self.place else { return Advanced::Stays };
            if !outbox.has_room() {
                return Advanced::Stays;
            }
            match store.poll(watcher, CATCH_UP_EVENTS) {
                Ok(Some(news)) => {
                    self.told = true;
                    *told += news.events.len() as u64;
                    for events in messages(news.events) {
                        let body = Arc::new(Body::new(events.into_iter().map(convert::event)));
                        self.send(id, header, body, outbox);
                    }
                }
                Ok(None) => {
                    self.place = Place::Live(store.revision() + 1);
                    return Advanced::Joins;
                }
                Err(Error::Compacted { oldest }) => {
                    // etcd's fields: no reason, no revision, the oldest that can be watched from
                    outbox.push(Frame::control(PbWatchResponse {
                        header: Some(PbResponseHeader { revision: 0, ..*header }),
                        watch_id: id,
                        canceled: true,
                        compact_revision: oldest,
                        ..PbWatchResponse::default()
                    }));
                    return Advanced::Ends;
                }
                Err(_) => return Advanced::Ends,
            }
        }
    }
}
