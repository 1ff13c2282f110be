//! All sockets that are ready, at once: one epoll instance inside the runtime's.
//!
//! The runtime would wake one task a socket, in an order of its own. The speaker wants to read everything that has
//! come before it answers any of it, so that one round of output serves one round of input.

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Most sockets told of in one round.
const ROUND: usize = 1024;

#[derive(Debug)]
struct Descriptor(Epoll);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.0.as_raw_fd()
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.0.as_fd()
    }
}

/// What a socket is ready for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Readiness {
    pub token: u64,
    pub read: bool,
    pub write: bool,
}

#[derive(Debug)]
pub(super) struct Poller {
    epoll: AsyncFd<Descriptor>,
    events: Vec<EpollEvent>,
}

/// What to wait for on a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Nothing,
    Read,
    Write,
    Both,
}

impl Wanted {
    fn flags(self) -> EpollFlags {
        match self {
            Wanted::Nothing => EpollFlags::empty(),
            Wanted::Read => EpollFlags::EPOLLIN,
            Wanted::Write => EpollFlags::EPOLLOUT,
            Wanted::Both => EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT,
        }
    }
}

impl Poller {
    #[allow(unsafe_code)]
    pub fn new() -> io::Result<Self> {
        let epoll = Descriptor(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?);
        // SAFETY: the descriptor is open and stays the same one for as long as it lives: nothing closes or replaces it.
        let epoll = unsafe { AsyncFd::register_with_interest(epoll, Interest::READABLE)? };
        Ok(Poller { epoll, events: vec![EpollEvent::empty(); ROUND] })
    }

    pub fn add(&self, socket: &impl AsFd, token: u64, wanted: Wanted) -> io::Result<()> {
        Ok(self.epoll.get_ref().0.add(socket, EpollEvent::new(wanted.flags(), token))?)
    }

    pub fn change(&self, socket: &impl AsFd, token: u64, wanted: Wanted) -> io::Result<()> {
        Ok(self.epoll.get_ref().0.modify(socket, &mut EpollEvent::new(wanted.flags(), token))?)
    }

    /// Waits until a socket is ready and appends all that are. Nothing is lost when the wait is given up.
    pub async fn wait(&mut self, ready: &mut Vec<Readiness>) -> io::Result<()> {
        loop {
            let mut guard = self.epoll.readable().await?;
            let count = self.epoll.get_ref().0.wait(&mut self.events, EpollTimeout::ZERO)?;
            if count > 0 {
                let failed = EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP;
                ready.extend(self.events.iter().take(count).map(|event| Readiness {
                    token: event.data(),
                    read: event.events().intersects(EpollFlags::EPOLLIN | failed),
                    write: event.events().intersects(EpollFlags::EPOLLOUT | failed),
                }));
                return Ok(());
            }
            guard.clear_ready();
        }
    }
}
