//! What a watch stream has to be told, between the owner's thread and the connection.
//!
//! An event is encoded once for all watches that see the same; each gets it behind a few bytes of its own.

use crate::waking::Waking;
use bytes::{BufMut, Bytes};
use etcd_client::proto::{PbEvent, PbWatchResponse};
use prost::Message;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// A stream with so many messages waiting is told no more until it has read them.
const MOST_FRAMES: usize = 1 << 14;
/// The same in bytes.
const MOST_BYTES: usize = 8 << 20;
/// Tag of `WatchResponse.events` (field 11, length-delimited).
const EVENTS_TAG: u32 = (11 << 3) | 2;

/// Encoded events, shared by all watches they go to.
#[derive(Debug, Default)]
pub(crate) struct Body {
    events: Vec<Bytes>,
}

impl Body {
    pub(crate) fn new(events: impl Iterator<Item = PbEvent>) -> Self {
        let encode = |event: PbEvent| {
            let len = event.encoded_len();
            let mut bytes = Vec::with_capacity(len + 8);
            prost::encoding::encode_varint(u64::from(EVENTS_TAG), &mut bytes);
            prost::encoding::encode_varint(len as u64, &mut bytes);
            event.encode_raw(&mut bytes);
            Bytes::from(bytes)
        };
        Self { events: events.map(encode).collect() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }
}

/// One message of a stream.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    head: PbWatchResponse,
    body: Arc<Body>,
    /// Which of the body's events.
    part: (usize, usize),
}

impl Frame {
    /// A message without events.
    pub(crate) fn control(head: PbWatchResponse) -> Self {
        Self { head, body: Arc::default(), part: (0, 0) }
    }

    /// A message with all events of a body.
    pub(crate) fn events(head: PbWatchResponse, body: Arc<Body>) -> Self {
        let part = (0, body.events.len());
        Self { head, body, part }
    }

    fn encoded(&self) -> &[Bytes] {
        self.body.events.get(self.part.0..self.part.1).unwrap_or_default()
    }

    pub(crate) fn size(&self) -> usize {
        self.head.encoded_len() + self.encoded().iter().map(Bytes::len).sum::<usize>()
    }

    /// Cut into messages of less than `most` bytes where events allow it; all but the last say that more follow.
    pub(crate) fn fragments(self, most: usize) -> Vec<Self> {
        if self.size() < most || self.encoded().len() < 2 {
            return vec![self];
        }
        let mut parts = Vec::new();
        let own = PbWatchResponse { fragment: true, ..self.head.clone() }.encoded_len();
        let (mut begin, mut size) = (self.part.0, own);
        for (index, event) in (self.part.0..).zip(self.encoded()) {
            if index > begin && size + event.len() >= most {
                parts.push((begin, index));
                (begin, size) = (index, own);
            }
            size += event.len();
        }
        let last = (begin, self.part.1);
        let head = PbWatchResponse { fragment: true, ..self.head.clone() };
        let mut frames: Vec<Self> = parts
            .into_iter()
            .map(|part| Self { head: head.clone(), body: Arc::clone(&self.body), part })
            .collect();
        frames.push(Self { part: last, ..self });
        frames
    }

    pub(crate) fn encode(&self, to: &mut impl BufMut) {
        // a message is the sum of its fields, in any order
        self.head.encode_raw(to);
        self.encoded().iter().for_each(|event| to.put_slice(event));
    }
}

#[derive(Debug, Default)]
struct Inner {
    frames: VecDeque<Frame>,
    bytes: usize,
    waker: Option<Waker>,
    /// Someone has to be told once there is room.
    stalled: bool,
    closed: bool,
}

/// The queue of one stream.
#[derive(Debug)]
pub(crate) struct Outbox {
    inner: Mutex<Inner>,
    room: tokio::sync::Notify,
    waking: Arc<Waking>,
}

/// What the stream does next.
pub(crate) enum Next {
    Send(Frame),
    /// All that was queued is sent, and the owner waits to hear it.
    Resume,
    End,
}

impl Outbox {
    /// An empty queue, whose stream is woken by `waking`.
    pub(crate) fn new(waking: Arc<Waking>) -> Self {
        Self { inner: Mutex::default(), room: tokio::sync::Notify::new(), waking }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a message whatever is there.
    pub(crate) fn push(&self, frame: Frame) {
        let mut inner = self.lock();
        inner.bytes += frame.size();
        inner.frames.push_back(frame);
        if let Some(waker) = inner.waker.take() {
            self.waking.add(waker);
        }
    }

    /// Whether more should be queued. If not, the stream reports back once it has sent what is there.
    pub(crate) fn has_room(&self) -> bool {
        let mut inner = self.lock();
        let full = inner.frames.len() >= MOST_FRAMES || inner.bytes >= MOST_BYTES;
        inner.stalled |= full;
        !full
    }

    /// Waits until requests may be taken: answers to them are queued in any case.
    pub(crate) async fn room(&self) {
        while self.lock().frames.len() >= MOST_FRAMES {
            self.room.notified().await;
        }
    }

    /// Messages that are not sent yet.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().frames.len()
    }

    /// Nothing more will come.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        if let Some(waker) = inner.waker.take() {
            self.waking.add(waker);
        }
    }

    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<Next> {
        let mut inner = self.lock();
        if let Some(frame) = inner.frames.pop_front() {
            inner.bytes = inner.bytes.saturating_sub(frame.size());
            if inner.frames.len() < MOST_FRAMES {
                self.room.notify_one();
            }
            return Poll::Ready(Next::Send(frame));
        }
        if inner.closed {
            return Poll::Ready(Next::End);
        }
        if std::mem::take(&mut inner.stalled) {
            return Poll::Ready(Next::Resume);
        }
        inner.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etcd_client::proto::PbKeyValue;

    fn event(size: usize) -> PbEvent {
        PbEvent {
            r#type: 0,
            kv: Some(PbKeyValue { key: b"k".to_vec(), value: vec![7; size], ..PbKeyValue::default() }),
            prev_kv: None,
        }
    }

    fn decoded(frame: &Frame) -> PbWatchResponse {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        assert_eq!(bytes.len(), frame.size());
        PbWatchResponse::decode(bytes.as_slice()).unwrap()
    }

    #[test]
    fn a_frame_is_the_message_it_stands_for() {
        let events = vec![event(0), event(300), event(70_000)];
        let head = PbWatchResponse { watch_id: 3, ..PbWatchResponse::default() };
        let frame = Frame::events(head.clone(), Arc::new(Body::new(events.clone().into_iter())));
        assert_eq!(decoded(&frame), PbWatchResponse { events, ..head });
    }

    #[test]
    fn fragments_are_small_complete_and_marked() {
        for (sizes, most) in
            [(vec![10, 10, 10], 40), (vec![500, 1, 1, 500], 100), (vec![9; 50], 64), (vec![9], 1)]
        {
            let events: Vec<PbEvent> = sizes.iter().map(|size| event(*size)).collect();
            let body = Arc::new(Body::new(events.clone().into_iter()));
            let whole = Frame::events(PbWatchResponse::default(), body);
            let parts: Vec<_> = whole.fragments(most).iter().map(decoded).collect();
            assert!(parts.iter().all(|part| part.encoded_len() < most || part.events.len() == 1));
            let (last, others) = parts.split_last().unwrap();
            assert!(!last.fragment && others.iter().all(|part| part.fragment));
            assert_eq!(parts.into_iter().flat_map(|part| part.events).collect::<Vec<_>>(), events);
        }
    }
}
