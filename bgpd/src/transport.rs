//! TCP as BGP needs it: connections with a source, a distance and a key, and listeners that know the keys of all peers.
//!
//! [`Transport`] owns every socket of the speaker and names each by a [`SocketId`]. [`Transport::ready`] waits and tells
//! of all sockets that have something, at once; what they have is then read with plain calls into one shared buffer
//! and written with plain vectored calls. There is no task and no buffer per connection: an idle one costs a slot here
//! and what the kernel holds.
//!
//! Keys belong to peers, not to sockets: [`Transport::authenticate`] says what is true of a peer or of a prefix of
//! peers, and every listener and connection, present and future, follows. A running connection takes a new key
//! without a reset: TCP repeats what was signed with the other one.

mod error;
mod options;
mod poller;
mod sockets;
#[cfg(test)]
mod tests;

pub use error::TransportError;
pub use sockets::SocketId;

use bgp_session::{Authentication, Distance, Endpoints, Settings};
use bgp_wire::Prefix;
use nix::sys::socket::{AddressFamily, SockFlag, SockType};
use poller::{Poller, Readiness, Wanted};
use sockets::{Kind, Sockets, State, Stream};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, SocketAddrV6, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;
/// Connections accepted from one listener in one round: more wait for the next.
const ACCEPTS: usize = 256;

/// What has become of a socket.
#[derive(Debug)]
pub enum Ready {
    /// A listener has a new connection. Whoever does not want it closes it.
    Accepted {
        /// The listener.
        listener: SocketId,
        /// The connection.
        socket: SocketId,
        /// Both its ends.
        endpoints: Endpoints,
    },
    /// An attempt has succeeded.
    Connected(SocketId, Endpoints),
    /// An attempt has failed; the socket is closed.
    Failed(SocketId, TransportError),
    /// There is something to read, or the end of it.
    Readable(SocketId),
    /// What would have blocked can be written now.
    Writable(SocketId),
    /// A listener cannot accept: the process has too many files open. It goes on when a socket is closed.
    Exhausted(SocketId, io::Error),
}

/// Every socket of the speaker.
#[derive(Debug)]
pub struct Transport {
    poller: Poller,
    sockets: Sockets,
    keys: BTreeMap<Prefix, Authentication>,
    /// Peers whose key could not be set: what comes from them is unsigned, and refused.
    unsignable: BTreeSet<Prefix>,
    readiness: Vec<Readiness>,
    /// Listeners that wait for a file descriptor.
    exhausted: Vec<SocketId>,
}

impl Transport {
    /// No socket yet. Must be called on a runtime.
    ///
    /// # Errors
    /// When the system has no epoll instance left.
    pub fn new() -> Result<Self, TransportError> {
        Ok(Transport {
            poller: Poller::new().map_err(TransportError::Socket)?,
            sockets: Sockets::default(),
            keys: BTreeMap::new(),
            unsignable: BTreeSet::new(),
            readiness: Vec::new(),
            exhausted: Vec::new(),
        })
    }

    /// Listens at an address; an unspecified one means all of its family.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn listen(&mut self, address: SocketAddr) -> Result<SocketId, TransportError> {
        let socket = new_socket(address.ip())?;
        options::reuse_address(&socket).map_err(TransportError::Socket)?;
        options::farthest_ttl(&socket, address.is_ipv6())?;
        for (peers, key) in self.keys.iter().filter(|(peers, _)| peers.addr().is_ipv6() == address.is_ipv6())
        {
            options::authenticate(&socket, *peers, &Authentication::None, key)?;
        }
        bind(&socket, address)?;
        let backlog =
            nix::sys::socket::Backlog::new(BACKLOG).map_err(|e| TransportError::Socket(e.into()))?;
        nix::sys::socket::listen(&socket, backlog)
            .map_err(|e| TransportError::Bind { address, source: e.into() })?;
        self.add(Kind::Listener(TcpListener::from(socket)), Wanted::Read)
    }

    /// Begins to connect to a peer, as its settings say; [`Ready::Connected`] or [`Ready::Failed`] follows.
    ///
    /// # Errors
    /// When the attempt fails at once.
    pub fn connect(&mut self, peer: &Settings) -> Result<SocketId, TransportError> {
        let v6 = peer.remote_address.is_ipv6();
        let socket = new_socket(peer.remote_address)?;
        options::distance(&socket, v6, peer.distance)?;
        options::authenticate(
            &socket,
            Prefix::host(peer.remote_address),
            &Authentication::None,
            &peer.authentication,
        )?;
        if let Some(local) = peer.local_address {
            options::bind_address_no_port(&socket).map_err(TransportError::Socket)?;
            bind(&socket, socket_address(local, 0, peer.scope))?;
        }
        let address = socket_address(peer.remote_address, peer.remote_port, peer.scope);
        match nix::sys::socket::connect(raw(&socket), &nix::sys::socket::SockaddrStorage::from(address)) {
            Ok(()) | Err(nix::errno::Errno::EINPROGRESS) => {}
            Err(e) => return Err(TransportError::Connect { address, source: e.into() }),
        }
        let stream = Stream { tcp: TcpStream::from(socket), remote: address, state: State::Connecting };
        self.add(Kind::Stream(stream), Wanted::Write)
    }

    /// Waits until something is ready and appends all that is. Giving the wait up loses nothing.
    ///
    /// # Errors
    /// When epoll itself fails.
    pub async fn ready(&mut self, ready: &mut VecDeque<Ready>) -> Result<(), TransportError> {
        let mut readiness = std::mem::take(&mut self.readiness);
        let waited = self.poller.wait(&mut readiness).await;
        for Readiness { token, read, write } in readiness.drain(..) {
            let id = SocketId::from_token(token);
            match self.sockets.get(id) {
                Some(Kind::Listener(_)) => self.accept(id, ready),
                Some(Kind::Stream(stream)) => {
                    let state = stream.state;
                    if state == State::Connecting {
                        ready.push_back(self.connected(id));
                        continue;
                    }
                    if write && state == State::Blocked {
                        self.unblock(id);
                        ready.push_back(Ready::Writable(id));
                    }
                    if read {
                        ready.push_back(Ready::Readable(id));
                    }
                }
                None => {}
            }
        }
        self.readiness = readiness;
        waited.map_err(TransportError::Socket)
    }

    /// Reads what is there; `WouldBlock` when nothing is, 0 when the other side has closed.
    ///
    /// # Errors
    /// As `recv`.
    pub fn read(&self, id: SocketId, buffer: &mut [u8]) -> io::Result<usize> {
        let mut stream = self.stream(id)?;
        stream.read(buffer)
    }

    /// Writes as much of the chunks as the socket takes. Where it takes less than all, or `WouldBlock`, a
    /// [`Ready::Writable`] follows when it takes more.
    ///
    /// # Errors
    /// As `writev`.
    pub fn write(&mut self, id: SocketId, chunks: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut stream = self.stream(id)?;
        let written = match chunks {
            [one] => stream.write(one),
            many => stream.write_vectored(many),
        };
        let all = || chunks.iter().map(|chunk| chunk.len()).sum();
        let blocks = match &written {
            Ok(written) => *written < all(),
            Err(e) => e.kind() == io::ErrorKind::WouldBlock,
        };
        if blocks {
            self.block(id)?;
        }
        written
    }

    /// Closes a socket; what was written still arrives. No [`Ready`] of it follows.
    pub fn close(&mut self, id: SocketId) {
        if let Some(Kind::Stream(stream)) = self.sockets.remove(id)
            && stream.state != State::Connecting
        {
            drain(&stream.tcp);
        }
        for listener in std::mem::take(&mut self.exhausted) {
            if let Some(Kind::Listener(socket)) = self.sockets.get(listener) {
                // a listener that cannot be waited for would have failed when it was added
                let _ = self.poller.change(socket, listener.token(), Wanted::Read);
            }
        }
    }

    /// Sets how far away the other side of a connection may be.
    ///
    /// # Errors
    /// When the kernel lacks GTSM.
    pub fn set_distance(&self, id: SocketId, distance: Distance) -> Result<(), TransportError> {
        let stream = self.stream(id).map_err(|_| TransportError::Closed)?;
        let remote = stream.peer_addr().map_err(TransportError::Socket)?;
        options::distance(stream, remote.is_ipv6(), distance)
    }

    /// From now on segments to and from `peers` are signed like this: one peer, or all dynamic neighbours of a
    /// prefix. The most specific prefix counts.
    ///
    /// # Errors
    /// When the kernel lacks the option, has no room for the key, or the key's length is wrong. Until a call for the
    /// same peers succeeds, connections from them are refused: they would be unsigned, or signed with an old key.
    pub fn authenticate(&mut self, peers: Prefix, key: &Authentication) -> Result<(), TransportError> {
        let set = self.set_key(peers, key);
        match set {
            Ok(()) => self.unsignable.remove(&peers),
            Err(_) => self.unsignable.insert(peers),
        };
        set
    }

    fn set_key(&mut self, peers: Prefix, key: &Authentication) -> Result<(), TransportError> {
        let old = self.keys.get(&peers).cloned().unwrap_or_default();
        if old == *key && !self.unsignable.contains(&peers) {
            return Ok(());
        }
        // without a listener yet, the kernel would be found lacking only when there is one
        options::authenticate(&new_socket(peers.addr())?, peers, &Authentication::None, key)?;
        let more_specific: Vec<Prefix> =
            self.keys.keys().filter(|p| **p != peers && peers.covers(**p)).copied().collect();
        let governs = |remote: Prefix| {
            peers.covers(remote) && !more_specific.iter().any(|specific| specific.covers(remote))
        };
        for socket in self.sockets.iter() {
            match socket {
                Kind::Listener(listener) => {
                    let local = listener.local_addr().map_err(TransportError::Socket)?;
                    if local.is_ipv6() == peers.addr().is_ipv6() {
                        options::authenticate(listener, peers, &old, key)?;
                    }
                }
                Kind::Stream(stream) => {
                    let remote = Prefix::host(stream.remote.ip());
                    if governs(remote) {
                        options::authenticate(&stream.tcp, remote, &old, key)?;
                    }
                }
            }
        }
        match key {
            Authentication::None => self.keys.remove(&peers),
            key => self.keys.insert(peers, key.clone()),
        };
        Ok(())
    }

    /// Whether somebody must not be let in, since the key that governs them could not be set.
    fn is_refused(&self, remote: IpAddr) -> bool {
        let host = Prefix::host(remote);
        let known = self.keys.keys().chain(&self.unsignable).filter(|peers| peers.covers(host));
        known.max_by_key(|peers| peers.len()).is_some_and(|peers| self.unsignable.contains(peers))
    }

    /// Where a listener listens: the port it was given where 0 was asked for.
    pub fn listens_at(&self, id: SocketId) -> Option<SocketAddr> {
        match self.sockets.get(id) {
            Some(Kind::Listener(listener)) => listener.local_addr().ok(),
            _ => None,
        }
    }

    fn add(&mut self, kind: Kind, wanted: Wanted) -> Result<SocketId, TransportError> {
        let id = self.sockets.add(kind);
        let added = match self.sockets.get(id) {
            Some(kind) => self.poller.add(kind, id.token(), wanted),
            None => Ok(()),
        };
        match added {
            Ok(()) => Ok(id),
            Err(e) => {
                self.sockets.remove(id);
                Err(TransportError::Socket(e))
            }
        }
    }

    fn accept(&mut self, id: SocketId, ready: &mut VecDeque<Ready>) {
        for _ in 0..ACCEPTS {
            let Some(Kind::Listener(listener)) = self.sockets.get(id) else { return };
            let accepted = listener.accept().and_then(|(stream, remote)| {
                stream.set_nonblocking(true)?;
                options::no_delay(&stream)?;
                Ok((Endpoints { local: stream.local_addr()?, remote }, stream))
            });
            match accepted {
                Ok((endpoints, _)) if self.is_refused(endpoints.remote.ip()) => {}
                Ok((endpoints, stream)) => {
                    let stream = Stream { tcp: stream, remote: endpoints.remote, state: State::Open };
                    if let Ok(socket) = self.add(Kind::Stream(stream), Wanted::Read) {
                        ready.push_back(Ready::Accepted { listener: id, socket, endpoints });
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) if matches!(e.raw_os_error(), Some(nix::libc::EMFILE | nix::libc::ENFILE)) => {
                    let _ = self.poller.change(listener, id.token(), Wanted::Nothing);
                    self.exhausted.push(id);
                    ready.push_back(Ready::Exhausted(id, e));
                    return;
                }
                // the other side has gone already
                Err(_) => {}
            }
        }
    }

    /// The attempt has come to its end, this way or the other.
    fn connected(&mut self, id: SocketId) -> Ready {
        let Some(Kind::Stream(stream)) = self.sockets.get_mut(id) else {
            return Ready::Failed(id, TransportError::Closed);
        };
        let outcome = stream.tcp.take_error().and_then(|error| match error {
            Some(error) => Err(error),
            None => {
                options::no_delay(&stream.tcp)?;
                self.poller.change(&stream.tcp, id.token(), Wanted::Read)?;
                Ok(Endpoints { local: stream.tcp.local_addr()?, remote: stream.tcp.peer_addr()? })
            }
        });
        match outcome {
            Ok(endpoints) => {
                stream.state = State::Open;
                Ready::Connected(id, endpoints)
            }
            Err(source) => {
                let address = stream.remote;
                self.close(id);
                Ready::Failed(id, TransportError::Connect { address, source })
            }
        }
    }

    fn block(&mut self, id: SocketId) -> io::Result<()> {
        if let Some(Kind::Stream(stream)) = self.sockets.get_mut(id)
            && stream.state == State::Open
        {
            self.poller.change(&stream.tcp, id.token(), Wanted::Both)?;
            stream.state = State::Blocked;
        }
        Ok(())
    }

    fn unblock(&mut self, id: SocketId) {
        if let Some(Kind::Stream(stream)) = self.sockets.get_mut(id)
            && self.poller.change(&stream.tcp, id.token(), Wanted::Read).is_ok()
        {
            stream.state = State::Open;
        }
    }

    fn stream(&self, id: SocketId) -> io::Result<&TcpStream> {
        match self.sockets.get(id) {
            Some(Kind::Stream(stream)) if stream.state != State::Connecting => Ok(&stream.tcp),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

/// Reads away what nobody will read any more: closing over it would reset the connection and could cost the other
/// side our last words.
fn drain(mut stream: &TcpStream) {
    let mut scrap = [0; 4096];
    for _ in 0..256 {
        if !matches!(stream.read(&mut scrap), Ok(1..)) {
            break;
        }
    }
    let _ = stream.shutdown(std::net::Shutdown::Write);
}

fn new_socket(address: IpAddr) -> Result<OwnedFd, TransportError> {
    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = nix::sys::socket::socket(family, SockType::Stream, flags, None)
        .map_err(|e| TransportError::Socket(e.into()))?;
    options::common(&socket, address.is_ipv6()).map_err(TransportError::Socket)?;
    Ok(socket)
}

fn bind(socket: &OwnedFd, address: SocketAddr) -> Result<(), TransportError> {
    nix::sys::socket::bind(raw(socket), &nix::sys::socket::SockaddrStorage::from(address))
        .map_err(|e| TransportError::Bind { address, source: e.into() })
}

fn raw(socket: &OwnedFd) -> i32 {
    use std::os::fd::AsRawFd as _;
    socket.as_raw_fd()
}

fn socket_address(address: IpAddr, port: u16, scope: Option<u32>) -> SocketAddr {
    match address {
        IpAddr::V4(v4) => SocketAddr::new(v4.into(), port),
        IpAddr::V6(v6) => SocketAddrV6::new(v6, port, 0, scope.unwrap_or(0)).into(),
    }
}
