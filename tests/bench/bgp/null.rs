//! The floor of the harness: a sink that knows no routes. It passes every UPDATE on to all other sessions as it came, each
//! message once in memory, many of them in one write: the least that any speaker does. When a session ends, the others are
//! told to forget what it said; one that begins hears everything from the start. It runs as a process of its own, as a daemon does.

use super::message;
use super::subject::{ROUTER, ROUTER_AS};
use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::time::{Duration, Instant};

/// How long input is gathered before it is passed on: so that many small reads make one write for each session.
const GATHER: Duration = Duration::from_millis(2);

/// A chunk this long is passed on at once.
const FULL: usize = 1 << 18;

/// Octets of NLRI that a session is remembered to have said, for its end: far more than the sessions that end in a scenario
/// say, and they fit one message.
const FEW: usize = 2048;

/// The listener's number among the events.
const LISTENER: u64 = u64::MAX;

struct Session {
    stream: TcpStream,
    /// It has not ended.
    open: bool,
    tail: Vec<u8>,
    /// Routes it announced, as NLRI.
    said_nlri: Vec<u8>,
    /// Next chunk of the log, and how much of it is said or skipped.
    chunk: usize,
    said: usize,
    blocked: bool,
}

/// Whole messages of many sessions, one after another.
#[derive(Default)]
struct Chunk {
    bytes: Vec<u8>,
    /// What each session said itself and need not hear.
    own: BTreeMap<usize, Vec<Range<usize>>>,
}

impl Chunk {
    fn add(&mut self, source: usize, messages: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(messages);
        self.own.entry(source).or_default().push(start..self.bytes.len());
    }

    /// The next piece that this session must hear from `said` on; empty at the end, whose place comes with it.
    fn piece(&self, session: usize, mut said: usize) -> Range<usize> {
        let own = self.own.get(&session).map_or(&[][..], Vec::as_slice);
        for own in &own[own.partition_point(|own| own.end <= said)..] {
            if said < own.start {
                return said..own.start;
            }
            said = own.end;
        }
        said..self.bytes.len()
    }
}

/// Serves until it is killed.
///
/// # Errors
/// The address is taken; a connection breaks in the middle of a write.
pub fn serve() -> Result<()> {
    let listener = TcpListener::bind(ROUTER).context("listen")?;
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut sessions: Vec<Session> = Vec::new();
    let mut log: Vec<Chunk> = Vec::new();
    let mut gathered = Chunk::default();
    let mut since = Instant::now();
    let mut buffer = vec![0; 1 << 18];
    let mut events = [EpollEvent::empty(); 256];
    loop {
        let patience = if gathered.bytes.is_empty() { EpollTimeout::NONE } else { EpollTimeout::from(1u8) };
        let ready = match epoll.wait(&mut events, patience) {
            Err(Errno::EINTR) => 0,
            other => other?,
        };
        let mut ended = false;
        for event in &events[..ready] {
            if event.data() == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, sessions.len() as u64))?;
                    let (tail, said_nlri) = (Vec::new(), Vec::new());
                    sessions.push(Session {
                        stream,
                        open: true,
                        tail,
                        said_nlri,
                        chunk: 0,
                        said: 0,
                        blocked: false,
                    });
                }
                continue;
            }
            let index = event.data() as usize;
            let session = &mut sessions[index];
            if event.events().contains(EpollFlags::EPOLLOUT) {
                session.blocked = false;
                epoll.modify(&session.stream, &mut EpollEvent::new(EpollFlags::EPOLLIN, event.data()))?;
                tell(&epoll, session, index, &log)?;
            }
            if event.events().contains(EpollFlags::EPOLLIN) {
                if gathered.bytes.is_empty() {
                    since = Instant::now();
                }
                if !read(session, index, &mut buffer, &mut gathered)? {
                    epoll.delete(&session.stream)?;
                    (session.open, ended) = (false, true);
                    let said = std::mem::take(&mut session.said_nlri);
                    if !said.is_empty() {
                        gathered.add(index, &message::withdraw(&said));
                    }
                }
            }
        }
        let due = ready == 0 || ended || since.elapsed() > GATHER || gathered.bytes.len() > FULL;
        if due && !gathered.bytes.is_empty() {
            log.push(std::mem::take(&mut gathered));
            let listening = |(_, session): &(usize, &mut Session)| session.open && !session.blocked;
            for (index, session) in sessions.iter_mut().enumerate().filter(listening) {
                tell(&epoll, session, index, &log)?;
            }
        }
    }
}

/// Reads once and gathers the UPDATEs of it; whether the session goes on.
fn read(session: &mut Session, index: usize, buffer: &mut [u8], gathered: &mut Chunk) -> Result<bool> {
    let kept = session.tail.len();
    buffer[..kept].copy_from_slice(&session.tail);
    session.tail.clear();
    let read = match session.stream.read(&mut buffer[kept..]) {
        Ok(0) => return Ok(false),
        Ok(read) => read,
        Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let mut bytes = &buffer[..kept + read];
    while let Some((kind, whole)) = message::first(bytes)? {
        bytes = &bytes[whole.len()..];
        match kind {
            message::UPDATE => {
                // A reflector's clients say a few routes each; those of a whole table no one drops.
                if session.said_nlri.len() < FEW {
                    session.said_nlri.extend_from_slice(message::routes(whole)?.1);
                }
                gathered.add(index, whole);
            }
            message::OPEN => {
                session.stream.write_all(&message::open(ROUTER_AS, *ROUTER.ip()))?;
                session.stream.write_all(&message::keepalive())?;
            }
            _ => {}
        }
    }
    session.tail.extend_from_slice(bytes);
    Ok(true)
}

/// Says to a session what of the log it has not heard, but not what it said itself.
fn tell(epoll: &Epoll, session: &mut Session, index: usize, log: &[Chunk]) -> Result<()> {
    while let Some(chunk) = log.get(session.chunk) {
        let piece = chunk.piece(index, session.said);
        if piece.is_empty() {
            session.chunk += 1;
            session.said = 0;
            continue;
        }
        match session.stream.write(&chunk.bytes[piece.clone()]) {
            Ok(written) => session.said = piece.start + written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                session.blocked = true;
                let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT;
                epoll.modify(&session.stream, &mut EpollEvent::new(flags, index as u64))?;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_hears_all_but_its_own() {
        let mut chunk = Chunk::default();
        [(1, "a"), (1, "b"), (2, "cd"), (3, "e"), (2, "f")]
            .iter()
            .for_each(|(s, m)| chunk.add(*s, m.as_bytes()));
        let heard = |session| {
            let (mut text, mut said) = (String::new(), 0);
            loop {
                let piece = chunk.piece(session, said);
                if piece.is_empty() {
                    return text;
                }
                said = piece.end;
                text += std::str::from_utf8(&chunk.bytes[piece]).unwrap();
            }
        };
        assert_eq!([heard(1), heard(2), heard(3), heard(4)], ["cdef", "abe", "abcdf", "abcdef"]);
    }
}
