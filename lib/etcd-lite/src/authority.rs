//! Connections of etcd's client of release 3.4, which asks single members (`endpoint status`, `defrag`, `snapshot save`) for a
//! host by the name of the whole URL: `:authority: http://127.0.0.1:2379`. RFC 9113 §8.3.1 has no such host, Go takes it, and
//! the HTTP/2 library here resets the stream before any service could be asked.
//!
//! So a connection's bytes pass by here. When the first request names such a host, its `://` and that of later ones becomes
//! `j--`: characters whose Huffman codes (RFC 7541 appendix B) are as long, so that neither lengths nor what the peers
//! remember of earlier headers change. Any other connection is passed through from its first request on.

use crate::metrics::Traffic;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// What a client of HTTP/2 begins with (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Length of a frame's head, and the type of frame that begins a request (RFC 9113 §4.1, §6.2).
const HEAD: usize = 9;
const HEADERS: u8 = 1;
/// No frame is larger unless we allow it, which we do not (RFC 9113 §4.2).
const LARGEST: usize = 1 << 14;
/// How much is read at once.
const CHUNK: usize = 4096;
/// "`:authority`, literal, to be remembered" (RFC 7541 §6.2.1, entry 1 of its static table).
const AUTHORITY: u8 = 0x41;

/// Set in a string's length when the string is in Huffman code (RFC 7541 §5.2).
const CODED: u8 = 0x80;

/// How a host that is a URL begins.
struct Url {
    coded: u8,
    given: &'static [u8],
    instead: &'static [u8],
    /// Which bits of the last byte belong to it.
    mask: u8,
}

const URLS: [Url; 4] = [
    Url { coded: 0, given: b"http://", instead: b"httpj--", mask: 0xff },
    Url { coded: 0, given: b"https://", instead: b"httpsj--", mask: 0xff },
    Url {
        coded: CODED,
        given: &[0x9d, 0x29, 0xae, 0xe3, 0x0c, 0x00],
        instead: &[0x9d, 0x29, 0xaf, 0xa2, 0xcb, 0x00],
        mask: 0x80,
    },
    Url {
        coded: CODED,
        given: &[0x9d, 0x29, 0xad, 0x17, 0x18, 0x60],
        instead: &[0x9d, 0x29, 0xad, 0x1d, 0x16, 0x58],
        mask: 0xfc,
    },
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the preface.
    Preface,
    /// Between two frames.
    Frame,
    /// So much of a frame is to come that is no concern here.
    Payload(usize),
    /// Nothing more is looked at.
    Through,
}

/// What was read and may be passed on, and how far it was looked at.
#[derive(Debug)]
struct Repair {
    place: Place,
    /// Bytes that were read; those before `known` may be passed on, those before `passed` were.
    bytes: Vec<u8>,
    known: usize,
    passed: usize,
    /// A host was a URL, so later ones may be.
    found: bool,
}

impl Repair {
    fn new() -> Self {
        Self { place: Place::Preface, bytes: Vec::new(), known: 0, passed: 0, found: false }
    }

    fn take(&mut self, read: &[u8]) {
        self.bytes.drain(..self.passed);
        (self.known, self.passed) = (self.known - self.passed, 0);
        self.bytes.extend_from_slice(read);
        while self.step() {}
    }

    /// Looks at what follows; whether there may be more to look at.
    fn step(&mut self) -> bool {
        let rest = self.bytes.get_mut(self.known..).unwrap_or_default();
        if rest.is_empty() {
            return false;
        }
        match self.place {
            Place::Preface => {
                let len = rest.len().min(PREFACE.len());
                if rest.get(..len) != PREFACE.get(..len) {
                    self.place = Place::Through;
                } else if len < PREFACE.len() {
                    return false;
                } else {
                    self.known += len;
                    self.place = Place::Frame;
                }
                true
            }
            Place::Frame => {
                let Some([a, b, c, kind]) = rest.first_chunk::<4>().copied() else { return false };
                let len = u32::from_be_bytes([0, a, b, c]) as usize;
                if kind != HEADERS || len > LARGEST {
                    self.place = Place::Payload(HEAD + len);
                    return true;
                }
                let Some(fields) = rest.get_mut(HEAD..HEAD + len) else { return false };
                self.found |= repair(fields);
                self.known += HEAD + len;
                if !self.found {
                    self.place = Place::Through;
                }
                true
            }
            Place::Payload(len) => {
                let now = len.min(rest.len());
                self.known += now;
                self.place = if now == len { Place::Frame } else { Place::Payload(len - now) };
                true
            }
            Place::Through => {
                self.known = self.bytes.len();
                false
            }
        }
    }

    fn pass(&mut self, to: &mut ReadBuf<'_>) -> bool {
        let waiting = self.bytes.get(self.passed..self.known).unwrap_or_default();
        let now = waiting.get(..waiting.len().min(to.remaining())).unwrap_or_default();
        to.put_slice(now);
        self.passed += now.len();
        !now.is_empty()
    }
}

/// Makes a host of a URL in a list of header fields; whether there was one.
fn repair(fields: &mut [u8]) -> bool {
    (0..fields.len()).any(|at| {
        let Some([AUTHORITY, length, value @ ..]) = fields.get_mut(at..) else { return false };
        URLS.iter().any(|url| url.coded == *length & CODED && url.replace(value))
    })
}

impl Url {
    fn replace(&self, value: &mut [u8]) -> bool {
        let Some((end, begin)) = value.get_mut(..self.given.len()).and_then(<[u8]>::split_last_mut) else {
            return false;
        };
        let (Some((last, given)), Some((other, instead))) =
            (self.given.split_last(), self.instead.split_last())
        else {
            return false;
        };
        let same = *begin == *given && *end & self.mask == *last;
        if same {
            begin.copy_from_slice(instead);
            *end = (*end & !self.mask) | other;
        }
        same
    }
}

/// A connection whose requests name a host.
#[derive(Debug)]
pub(crate) struct Named<S> {
    inner: S,
    repair: Repair,
    traffic: Arc<Traffic>,
}

impl<S> Named<S> {
    /// What passes is counted in `traffic`.
    pub(crate) fn new(inner: S, traffic: Arc<Traffic>) -> Self {
        Self { inner, repair: Repair::new(), traffic }
    }
}

fn count(counter: &AtomicU64, bytes: usize) {
    counter.fetch_add(bytes as u64, Ordering::Relaxed);
}

impl<S: AsyncRead + Unpin> AsyncRead for Named<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let own = &mut *self;
        loop {
            if to.remaining() == 0 || own.repair.pass(to) {
                return Poll::Ready(Ok(()));
            }
            if own.repair.place == Place::Through {
                let before = to.filled().len();
                ready!(Pin::new(&mut own.inner).poll_read(context, to))?;
                count(&own.traffic.received, to.filled().len() - before);
                return Poll::Ready(Ok(()));
            }
            let mut chunk = [0; CHUNK];
            let mut chunk = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut own.inner).poll_read(context, &mut chunk))?;
            if chunk.filled().is_empty() {
                // the end: what is left of half a frame is for the library to judge
                own.repair.place = Place::Through;
            }
            count(&own.traffic.received, chunk.filled().len());
            own.repair.take(chunk.filled());
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Named<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = ready!(Pin::new(&mut self.inner).poll_write(context, bytes))?;
        count(&self.traffic.sent, wrote);
        Poll::Ready(Ok(wrote))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = ready!(Pin::new(&mut self.inner).poll_write_vectored(context, parts))?;
        count(&self.traffic.sent, wrote);
        Poll::Ready(Ok(wrote))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

impl<S: Connected> Connected for Named<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.inner.connect_info()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&len[1..], &[kind, 4, 0, 0, 0, 1], payload].concat()
    }

    fn fields(authority: &[u8], coded: u8) -> Vec<u8> {
        let length = coded | u8::try_from(authority.len()).unwrap();
        [&[0x83, 0x86, AUTHORITY, length], authority, b"\x5f\x01x"].concat()
    }

    /// What comes out when it comes in pieces of `at_once` bytes.
    async fn through(bytes: &[u8], at_once: usize) -> Vec<u8> {
        let (mut theirs, ours) = tokio::io::duplex(at_once);
        let sent = bytes.to_vec();
        let write = async move { tokio::io::AsyncWriteExt::write_all(&mut theirs, &sent).await };
        let mut out = Vec::new();
        let mut ours = Named::new(ours, Arc::default());
        let (wrote, read) = tokio::join!(write, ours.read_to_end(&mut out));
        wrote.unwrap();
        read.unwrap();
        out
    }

    #[tokio::test]
    async fn urls_become_hosts_of_the_same_length_in_every_request() {
        let coded = [0x9d, 0x29, 0xae, 0xe3, 0x0c, 0x05, 0x11];
        let instead = [0x9d, 0x29, 0xaf, 0xa2, 0xcb, 0x05, 0x11];
        for (given, wanted, coded) in [
            (&b"http://127.0.0.1:2379"[..], &b"httpj--127.0.0.1:2379"[..], 0),
            (b"https://[::1]:2379", b"httpsj--[::1]:2379", 0),
            (&coded, &instead, CODED),
        ] {
            let with = |authority: &[u8]| {
                let request = frame(HEADERS, &fields(authority, coded));
                [PREFACE, &frame(4, b""), &request, &frame(0, &[AUTHORITY; 5000]), &request].concat()
            };
            for at_once in [1, 2, 7, 64, 5000] {
                assert!(
                    through(&with(given), at_once).await == with(wanted),
                    "{given:?} in pieces of {at_once}"
                );
            }
        }
    }

    #[tokio::test]
    async fn everything_else_passes_as_it_is() {
        let good = frame(HEADERS, &fields(b"127.0.0.1:2379", 0));
        let bad = frame(HEADERS, &fields(b"http://127.0.0.1:2379", 0));
        for bytes in [
            b"".to_vec(),
            b"POST /v3/kv/put HTTP/1.1\r\nHost: http://a\r\n\r\n".to_vec(),
            PREFACE[..10].to_vec(),
            [PREFACE, &good[..10]].concat(),
            // who names a host once names it always
            [PREFACE, &good, &bad].concat(),
            // a length that no frame may have
            [PREFACE, &frame(HEADERS, &vec![0; LARGEST + 1]), &good].concat(),
            (0..=255).cycle().take(10_000).collect(),
        ] {
            for at_once in [1, 100, 20_000] {
                assert!(
                    through(&bytes, at_once).await == bytes,
                    "{} bytes in pieces of {at_once}",
                    bytes.len()
                );
            }
        }
    }
}
