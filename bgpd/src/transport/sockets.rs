//! Slots of sockets, and names for them that are never used twice.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

/// Names one socket of a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId {
    slot: u32,
    generation: u32,
}

impl SocketId {
    pub(super) fn token(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot)
    }

    pub(super) fn from_token(token: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = token.to_be_bytes();
        SocketId { generation: u32::from_be_bytes([a, b, c, d]), slot: u32::from_be_bytes([e, f, g, h]) }
    }
}

#[derive(Debug)]
pub(super) enum Kind {
    Listener(TcpListener),
    Stream(Stream),
}

#[derive(Debug)]
pub(super) struct Stream {
    pub tcp: TcpStream,
    pub remote: SocketAddr,
    pub state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// An attempt of ours.
    Connecting,
    /// A connection that takes what is written, as far as we know.
    Open,
    /// One that does not, until it is writable again.
    Blocked,
}

impl AsFd for Kind {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Kind::Listener(listener) => listener.as_fd(),
            Kind::Stream(stream) => stream.tcp.as_fd(),
        }
    }
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    kind: Option<Kind>,
}

#[derive(Debug, Default)]
pub(super) struct Sockets {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Sockets {
    pub fn add(&mut self, kind: Kind) -> SocketId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            // far below what a process may open
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let generation = match self.slots.get_mut(slot as usize) {
            Some(found) => {
                found.kind = Some(kind);
                found.generation
            }
            None => 0,
        };
        SocketId { slot, generation }
    }

    pub fn get(&self, id: SocketId) -> Option<&Kind> {
        self.slots.get(id.slot as usize).filter(|s| s.generation == id.generation)?.kind.as_ref()
    }

    pub fn get_mut(&mut self, id: SocketId) -> Option<&mut Kind> {
        self.slots.get_mut(id.slot as usize).filter(|s| s.generation == id.generation)?.kind.as_mut()
    }

    /// Takes the socket out; its name is never used again.
    pub fn remove(&mut self, id: SocketId) -> Option<Kind> {
        let slot = self.slots.get_mut(id.slot as usize).filter(|s| s.generation == id.generation)?;
        let kind = slot.kind.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.slot);
        Some(kind)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Kind> {
        self.slots.iter().filter_map(|slot| slot.kind.as_ref())
    }
}
