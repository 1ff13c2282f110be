//! Sockets whose requests the kernel carries out while they are being sent: when `send` returns, every answer already
//! waits in the receive queue, so nothing here waits.

use crate::api::KernelError;
use crate::multicast;
use netfilter::wire::{Replies, Reply};
use netlink_sys::{Socket, SocketAddr};
use nix::libc::MSG_DONTWAIT;

/// How often a question is asked again that got lost.
pub(crate) const LOST_TRIES: usize = 2;

/// No answer is longer: dumps come in pages of at most 32 KiB.
const DATAGRAM: usize = 64 << 10;

/// Opens a socket of a netlink family in the namespace of the calling thread, and tells its port, by which events
/// say whose changes they are. Errors explain themselves and do not repeat the request.
pub(crate) fn open(family: isize) -> std::io::Result<(Socket, u32)> {
    let mut socket = Socket::new(family)?;
    let port = socket.bind_auto()?.port_number();
    socket.set_ext_ack(true)?;
    socket.set_cap_ack(true)?;
    multicast::enlarge_receive_buffer(&socket);
    Ok((socket, port))
}

/// Sends requests in one piece.
pub(crate) fn send(socket: &Socket, bytes: &[u8]) -> Result<(), KernelError> {
    let failed = |error: std::io::Error| KernelError::Socket(error.to_string());
    let sent = socket.send_to(bytes, &SocketAddr::new(0, 0), 0).map_err(failed)?;
    if sent == bytes.len() {
        return Ok(());
    }
    Err(KernelError::Socket(format!("{sent} of {} bytes were sent", bytes.len())))
}

/// Takes what is left of an answer that was given up: the kernel makes one list a socket at a time.
pub(crate) fn clear(socket: &Socket) -> Result<(), KernelError> {
    drain(socket, |_| Ok(()))
}

/// An answer without its end: what is there of it is not all of it.
pub(crate) fn endless(what: impl std::fmt::Display) -> KernelError {
    KernelError::Socket(format!("{what}: the end of the kernel's answer is lost"))
}

/// Hands over every message that waits. After a failure of `each` the rest is still taken from the queue, so that the
/// next request does not find it.
pub(crate) fn drain<E: From<KernelError>>(
    socket: &Socket,
    mut each: impl FnMut(Reply<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut buffer: Vec<u8> = Vec::with_capacity(DATAGRAM);
    let mut result = Ok(());
    loop {
        buffer.clear();
        match socket.recv(&mut buffer, MSG_DONTWAIT) {
            Ok(_) if result.is_ok() => result = Replies::new(&buffer).try_for_each(&mut each),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return result,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(KernelError::Socket(error.to_string()).into()),
        }
    }
}
