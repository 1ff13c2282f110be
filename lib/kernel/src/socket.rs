//! Sockets whose requests the kernel carries out while they are being sent: when `send` returns, every answer already
//! waits in the receive queue, so nothing here waits.

use crate::api::KernelError;
use crate::multicast;
use crate::spent::{Kind, counted};
use netfilter::wire::{Replies, Reply};
use netlink_sys::{Socket, SocketAddr};
use nix::libc::{ENOBUFS, MSG_DONTWAIT};
use std::io::ErrorKind;

/// How often a question is asked again that got lost, or tried what the kernel had no memory for.
pub(crate) const LOST_TRIES: usize = 2;

/// No answer is longer: dumps come in pages of at most 32 KiB.
pub(crate) const DATAGRAM: usize = 64 << 10;

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

/// Sends requests in one piece. What the kernel has no memory for it has not begun, so that is sent again.
pub(crate) fn send(socket: &Socket, bytes: &[u8]) -> Result<(), KernelError> {
    let mut lost = 0;
    loop {
        match counted(Kind::Request, || socket.send_to(bytes, &SocketAddr::new(0, 0), 0)) {
            Ok(sent) if sent == bytes.len() => return Ok(()),
            Ok(sent) => {
                return Err(KernelError::Socket(format!("{sent} of {} bytes were sent", bytes.len())));
            }
            Err(error) if has_no_room(&error) && lost < LOST_TRIES => lost += 1,
            Err(error) => return Err(KernelError::Socket(error.to_string())),
        }
    }
}

/// Takes what is left of an answer that was given up: the kernel makes one list a socket at a time. Whether some of it was
/// lost does not matter to anybody.
pub(crate) fn clear(socket: &Socket) -> Result<(), KernelError> {
    let mut buffer: Vec<u8> = Vec::with_capacity(DATAGRAM);
    let mut lost = 0;
    loop {
        match receive(socket, &mut buffer) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) if has_no_room(&error) && lost < LOST_TRIES => lost += 1,
            Err(error) => return Err(KernelError::Socket(error.to_string())),
        }
    }
}

/// Takes the next datagram that waits, in place of what `buffer` holds; `false` where none does.
pub(crate) fn receive(socket: &Socket, buffer: &mut Vec<u8>) -> std::io::Result<bool> {
    loop {
        buffer.clear();
        match counted(Kind::Answer, || socket.recv(buffer, MSG_DONTWAIT)) {
            Ok(_) => return Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether the kernel had no room: for a request, or for an answer, which is lost then.
pub(crate) fn has_no_room(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(ENOBUFS)
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
    while receive(socket, &mut buffer).map_err(|error| KernelError::Socket(error.to_string()))? {
        if result.is_ok() {
            result = Replies::new(&buffer).try_for_each(&mut each);
        }
    }
    result
}
