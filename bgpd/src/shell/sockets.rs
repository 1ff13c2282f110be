//! Between the speaker's links and the transport's sockets.

use super::Shell;
use crate::speaker::{CHUNKS, Link};
use crate::transport::{Ready, SocketId};
use bytes::Bytes;
use std::io::{self, ErrorKind, IoSlice};
use std::ops::Range;
use tokio::time::Instant;

/// Reads of one connection in one round: nobody has to wait for a flood to end.
const READS: usize = 4;

impl Shell {
    /// Takes everything that is ready, unless that takes longer than a burst may: the rest waits for the next round, so that
    /// those who come first in the order of sockets do not always come first.
    pub(super) fn read_ready(&mut self) {
        self.burst.get_or_insert_with(Instant::now);
        while !self.is_overdue()
            && let Some(one) = self.ready.pop_front()
        {
            match one {
                Ready::Accepted { socket, endpoints, .. } => {
                    let now = self.now();
                    match self.speaker.as_mut().and_then(|speaker| speaker.accept(endpoints, now)) {
                        Some(link) => self.opened(link, socket),
                        None => self.transport.close(socket),
                    }
                }
                Ready::Connected(socket, endpoints) => {
                    let now = self.now();
                    if let (Some(link), Some(speaker)) = (self.links.get(&socket), &mut self.speaker) {
                        speaker.connected(*link, endpoints, now);
                    }
                }
                Ready::Failed(socket, error) => self.lost(socket, &error.to_string()),
                Ready::Readable(socket) => self.read(socket),
                Ready::Writable(socket) => {
                    let now = self.now();
                    if let (Some(link), Some(speaker)) = (self.links.get(&socket).copied(), &mut self.speaker)
                    {
                        speaker.blocked(link, false, now);
                        speaker.announce(link);
                    }
                }
                Ready::Exhausted(_, error) => {
                    tracing::warn!(%error, "no connection can be accepted: raise the limit of open files");
                }
            }
        }
    }

    fn opened(&mut self, link: Link, socket: SocketId) {
        self.sockets.insert(link, socket);
        self.links.insert(socket, link);
        let distance =
            self.speaker.as_ref().and_then(|speaker| speaker.settings(link.peer)).map(|s| s.distance);
        if let Some(distance) = distance
            && let Err(error) = self.transport.set_distance(socket, distance)
        {
            self.lost(socket, &error.to_string());
        }
    }

    /// Connects as a neighbour's settings say.
    pub(super) fn connect(&mut self, link: Link) {
        let Some(settings) = self.speaker.as_ref().and_then(|speaker| speaker.settings(link.peer)) else {
            return;
        };
        match self.transport.connect(settings) {
            Ok(socket) => {
                self.sockets.insert(link, socket);
                self.links.insert(socket, link);
            }
            Err(error) => {
                let now = self.now();
                if let Some(speaker) = &mut self.speaker {
                    speaker.closed(link, &error.to_string(), now);
                }
            }
        }
    }

    /// Says the last words, as far as the socket takes them, and closes.
    pub(super) fn close(&mut self, link: Link, last_words: &[Bytes]) {
        let Some(socket) = self.sockets.remove(&link) else { return };
        self.links.remove(&socket);
        let chunks: Vec<IoSlice<'_>> = last_words.iter().map(|words| IoSlice::new(words)).collect();
        if !chunks.is_empty() {
            let _ = self.transport.write(socket, &chunks);
        }
        self.transport.close(socket);
    }

    /// A connection is no more; what happened, in the system's words.
    fn lost(&mut self, socket: SocketId, why: &str) {
        let Some(link) = self.links.remove(&socket) else { return };
        self.sockets.remove(&link);
        self.transport.close(socket);
        let now = self.now();
        if let Some(speaker) = &mut self.speaker {
            speaker.closed(link, why, now);
        }
    }

    fn read(&mut self, socket: SocketId) {
        for _ in 0..READS {
            let Some(link) = self.links.get(&socket).copied() else { return };
            let now = self.now();
            match self.transport.read(socket, &mut self.buffer) {
                Ok(0) => return self.lost(socket, "the neighbour has closed the connection"),
                Ok(count) => {
                    self.received.increment(u64::try_from(count).unwrap_or(0));
                    if let (Some(speaker), Some(octets)) = (&mut self.speaker, self.buffer.get(..count)) {
                        speaker.received(link, octets, now);
                    }
                    // Less than there was room for: that was all. What sessions want is done before more is read.
                    self.outputs();
                    if count < self.buffer.len() || self.is_overdue() {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.lost(socket, &error.to_string()),
            }
        }
    }

    /// Writes to every connection that has something new: first everybody is told, then it is noted what each has taken.
    /// What has to be done for one keeps no other waiting, and whoever reads at the other end reads on without a pause.
    pub(super) fn write_all(&mut self) {
        // Writing can make sessions say something more, and end others.
        while let Some(links) =
            self.speaker.as_mut().map(|speaker| speaker.take_writable()).filter(|links| !links.is_empty())
        {
            let mut links = links.as_slice();
            while !links.is_empty() {
                links = self.write_round(links);
            }
            self.outputs();
        }
    }

    /// Writes to the first of these, as many as have [`CHUNKS`] pieces together; answers the others.
    fn write_round<'a>(&mut self, links: &'a [Link]) -> &'a [Link] {
        let Some(speaker) = &self.speaker else { return &[] };
        let (mut chunks, mut turns, mut served) = (Vec::new(), Vec::with_capacity(links.len()), 0);
        for link in links {
            if chunks.len() >= CHUNKS {
                break;
            }
            served += 1;
            let begin = chunks.len();
            if let Some(socket) = self.sockets.get(link) {
                chunks.extend(speaker.chunks(*link));
                turns.push((*link, *socket, begin..chunks.len()));
            }
        }
        let write = |(link, socket, range): (Link, SocketId, Range<usize>)| {
            let chunks: &[IoSlice<'_>] = chunks.get(range).filter(|chunks| !chunks.is_empty())?;
            let result = self.transport.write(socket, chunks);
            let offered = chunks.iter().map(|chunk| chunk.len()).sum();
            Some(Written { link, socket, offered, is_all: chunks.len() < CHUNKS, result })
        };
        let written: Vec<Written> = turns.into_iter().filter_map(write).collect();
        for one in written {
            self.wrote(one);
        }
        links.get(served..).unwrap_or_default()
    }

    /// Takes note of what a connection has taken.
    fn wrote(&mut self, Written { link, socket, offered, is_all, result }: Written) {
        let now = self.now();
        let Some(speaker) = &mut self.speaker else { return };
        match result {
            Ok(written) => {
                self.sent.increment(u64::try_from(written).unwrap_or(0));
                speaker.wrote(link, written, now);
                match written < offered {
                    true => speaker.blocked(link, true, now),
                    false if is_all => {}
                    false => speaker.announce(link),
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => speaker.blocked(link, true, now),
            Err(error) if error.kind() == ErrorKind::Interrupted => speaker.announce(link),
            // A connection that is still being made has nobody to write to yet.
            Err(error) if error.kind() == ErrorKind::NotConnected => {}
            Err(error) => self.lost(socket, &error.to_string()),
        }
    }
}

/// What came of writing to a connection.
struct Written {
    link: Link,
    socket: SocketId,
    /// Octets that there were for it.
    offered: usize,
    /// There was no more than one call can take.
    is_all: bool,
    result: io::Result<usize>,
}
