//! Many BGP speakers on one thread: they open sessions, say what was prepared and count what they are told.

use super::message;
use super::table::{Held, Table};
use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

/// Sessions that are being opened at once: what fits a modest listen queue.
const OPENING: usize = 8;

/// Pause before a refused or closed connection is tried again.
const AGAIN: Duration = Duration::from_millis(2);

/// How often every session says that it lives.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(20);

/// Bytes read at once.
const READ: usize = 1 << 18;

/// One speaker.
#[derive(Debug, Clone, Copy)]
pub struct Speaker {
    /// Address it connects from; its router ID too.
    pub address: Ipv4Addr,
    /// AS number.
    pub asn: u32,
    /// First route of its own, and how many.
    pub own: (usize, usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    OpenSent,
    Established,
}

#[derive(Debug)]
struct Session {
    speaker: Speaker,
    state: State,
    stream: Option<TcpStream>,
    tail: Vec<u8>,
    output: Option<(Rc<[u8]>, usize)>,
    held: Held,
    wanted: Option<usize>,
}

impl Session {
    fn met(&self) -> bool {
        self.wanted.is_none_or(|wanted| wanted == self.held.count())
    }
}

/// All speakers.
#[derive(Debug)]
pub struct Generator {
    router: SocketAddrV4,
    epoll: Epoll,
    sessions: Vec<Session>,
    unmet: usize,
    buffer: Vec<u8>,
    keepalive_at: Instant,
}

impl Generator {
    /// Speakers that shall speak with `router` about routes of `table`.
    ///
    /// # Errors
    /// The kernel gives no epoll.
    pub fn new(router: SocketAddrV4, table: Table, speakers: &[Speaker]) -> Result<Self> {
        let session = |&speaker: &Speaker| Session {
            speaker,
            state: State::Closed,
            stream: None,
            tail: Vec::new(),
            output: None,
            held: Held::new(table, speaker.own.0..speaker.own.0 + speaker.own.1),
            wanted: None,
        };
        Ok(Self {
            router,
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            sessions: speakers.iter().map(session).collect(),
            unmet: 0,
            buffer: vec![0; READ],
            keepalive_at: Instant::now() + KEEPALIVE_EVERY,
        })
    }

    /// Forgets one route of a session, so that only a new announcement brings it back.
    pub fn forget(&mut self, index: usize, route: usize) {
        let before = self.sessions[index].met();
        self.sessions[index].held.forget(route);
        self.account(index, before);
    }

    /// Opens these sessions, a few at once, until all are established.
    ///
    /// # Errors
    /// Not before `deadline`.
    pub fn establish(&mut self, which: impl IntoIterator<Item = usize>, deadline: Instant) -> Result<()> {
        let mut waiting: Vec<usize> = which.into_iter().collect();
        waiting.reverse();
        let mut opening: Vec<usize> = Vec::new();
        loop {
            opening.retain(|&one| self.sessions[one].state != State::Established);
            while opening.len() < OPENING
                && let Some(next) = waiting.pop()
            {
                opening.push(next);
            }
            if opening.is_empty() {
                return Ok(());
            }
            for &one in &opening {
                if self.sessions[one].state == State::Closed && !self.connect(one)? {
                    ensure!(Instant::now() < deadline, "{} refuses connections", self.router);
                    thread::sleep(AGAIN);
                }
            }
            ensure!(
                Instant::now() < deadline,
                "sessions that do not come up: {}",
                waiting.len() + opening.len()
            );
            self.turn(AGAIN, true)?;
        }
    }

    fn connect(&mut self, index: usize) -> Result<bool> {
        let session = &mut self.sessions[index];
        let descriptor =
            socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).context("socket")?;
        bind(descriptor.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(session.speaker.address, 0)))
            .with_context(|| format!("bind {}", session.speaker.address))?;
        match connect(descriptor.as_raw_fd(), &SockaddrIn::from(self.router)) {
            Ok(()) => {}
            Err(Errno::ECONNREFUSED | Errno::ECONNRESET | Errno::ETIMEDOUT) => return Ok(false),
            Err(error) => bail!("connect {}: {error}", self.router),
        }
        let mut stream = TcpStream::from(descriptor);
        stream.set_nodelay(true)?;
        if stream.write_all(&message::open(session.speaker.asn, session.speaker.address)).is_err() {
            return Ok(false);
        }
        stream.set_nonblocking(true)?;
        self.epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
        session.stream = Some(stream);
        session.state = State::OpenSent;
        Ok(true)
    }

    /// Closes a session as a process that dies does. What it held is forgotten.
    pub fn close(&mut self, index: usize) {
        let before = self.sessions[index].met();
        let session = &mut self.sessions[index];
        session.stream = None;
        session.state = State::Closed;
        session.tail.clear();
        session.output = None;
        session.held.clear();
        self.account(index, before);
    }

    /// From now on [`run`](Self::run) waits until this session holds so many routes, or for nothing of it.
    pub fn want(&mut self, index: usize, wanted: Option<usize>) {
        let before = self.sessions[index].met();
        self.sessions[index].wanted = wanted;
        self.account(index, before);
    }

    fn account(&mut self, index: usize, before: bool) {
        match (before, self.sessions[index].met()) {
            (true, false) => self.unmet += 1,
            (false, true) => self.unmet -= 1,
            _ => {}
        }
    }

    /// Says these bytes on a session; what the socket does not take follows while [`run`](Self::run) runs.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn send(&mut self, index: usize, bytes: &Rc<[u8]>) -> Result<()> {
        let session = &mut self.sessions[index];
        ensure!(session.output.is_none(), "session {index} still speaks");
        session.output = Some((bytes.clone(), 0));
        if !write(session)? {
            self.listen_for(index, EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT)?;
        }
        Ok(())
    }

    fn listen_for(&self, index: usize, flags: EpollFlags) -> Result<()> {
        if let Some(stream) = &self.sessions[index].stream {
            self.epoll.modify(stream, &mut EpollEvent::new(flags, index as u64))?;
        }
        Ok(())
    }

    /// Reads and writes until every session holds what is wanted of it.
    ///
    /// # Errors
    /// Not before `deadline`, or a session ends.
    pub fn run(&mut self, deadline: Instant) -> Result<()> {
        while self.unmet > 0 {
            self.turn(Duration::from_secs(1), false)?;
            if Instant::now() > deadline {
                let short: Vec<_> = self.sessions.iter().filter(|session| !session.met()).collect();
                let one = short.first().map(|session| (session.held.count(), session.wanted));
                bail!(
                    "{} sessions do not hold what they should, the first (holds, should): {one:?}",
                    short.len()
                );
            }
        }
        Ok(())
    }

    /// Serves the sessions for this time although nothing is wanted.
    ///
    /// # Errors
    /// A session ends.
    pub fn idle(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.turn(end.saturating_duration_since(Instant::now()), false)?;
        }
        Ok(())
    }

    fn turn(&mut self, patience: Duration, may_end: bool) -> Result<()> {
        let mut events = [EpollEvent::empty(); 256];
        let timeout = EpollTimeout::try_from(patience).unwrap_or(EpollTimeout::ZERO);
        let ready = match self.epoll.wait(&mut events, timeout) {
            Err(Errno::EINTR) => 0,
            other => other?,
        };
        for event in &events[..ready] {
            let index = event.data() as usize;
            if event.events().contains(EpollFlags::EPOLLOUT) && write(&mut self.sessions[index])? {
                self.listen_for(index, EpollFlags::EPOLLIN)?;
            }
            if event.events().intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR)
                && let Err(error) = self.read(index)
            {
                if !may_end {
                    return Err(error.context(format!("session {index}")));
                }
                self.close(index);
            }
        }
        if Instant::now() > self.keepalive_at {
            self.keepalive_at += KEEPALIVE_EVERY;
            let bytes: Rc<[u8]> = message::keepalive().into();
            for index in 0..self.sessions.len() {
                if self.sessions[index].state == State::Established && self.sessions[index].output.is_none() {
                    self.send(index, &bytes)?;
                }
            }
        }
        Ok(())
    }

    fn read(&mut self, index: usize) -> Result<()> {
        let before = self.sessions[index].met();
        let session = &mut self.sessions[index];
        let Some(stream) = &mut session.stream else { return Ok(()) };
        // What was left of the last read comes first, so that messages lie whole in one buffer.
        let kept = session.tail.len();
        self.buffer[..kept].copy_from_slice(&session.tail);
        session.tail.clear();
        let read = match stream.read(&mut self.buffer[kept..]) {
            Ok(0) => bail!("closed by the router"),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error.into()),
        };
        let mut bytes = &self.buffer[..kept + read];
        while let Some((kind, whole)) = message::first(bytes)? {
            bytes = &bytes[whole.len()..];
            match kind {
                message::UPDATE => {
                    let (withdrawn, nlri) = message::routes(whole)?;
                    session.held.take(withdrawn, false)?;
                    session.held.take(nlri, true)?;
                }
                message::OPEN => stream.write_all(&message::keepalive())?,
                message::KEEPALIVE => session.state = State::Established,
                message::NOTIFICATION => bail!("{}", message::notification(whole)),
                _ => {}
            }
        }
        session.tail.extend_from_slice(bytes);
        self.account(index, before);
        Ok(())
    }
}

/// Writes what the socket takes; whether nothing is left.
fn write(session: &mut Session) -> Result<bool> {
    let Session { stream: Some(stream), output: Some((bytes, done)), .. } = session else { return Ok(true) };
    while *done < bytes.len() {
        match stream.write(&bytes[*done..]) {
            Ok(written) => *done += written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error).context("write to the router"),
        }
    }
    session.output = None;
    Ok(true)
}
