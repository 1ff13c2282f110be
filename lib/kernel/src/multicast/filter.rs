//! A question the kernel asks itself before it queues a datagram for us (classic BPF).

use nix::libc::{self, sock_filter, sock_fprog};
use std::io;
use std::os::fd::AsRawFd;

/// Offsets of a message's type and of its author's port in its header (`struct nlmsghdr`).
const TYPE: u32 = 4;
const PORT: u32 = 12;
/// `RTM_NEWROUTE` and `RTM_DELROUTE`.
const ROUTE: [u16; 2] = [24, 25];
/// Load a word or half word from an absolute offset, jump if equal, return.
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const JUMP_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
/// What a program returns to let a datagram through whole, or to drop it.
const ALL: u32 = u32::MAX;
const NOTHING: u32 = 0;

/// A program.
#[derive(Debug)]
pub(crate) struct Filter(Vec<sock_filter>);

impl Filter {
    /// Lets everything through but what the socket with this port did.
    pub(crate) fn of_others(own: u32) -> Self {
        Self(vec![
            step(LOAD_WORD, PORT, 0, 0),
            step(JUMP_EQUAL, as_loaded(own), 1, 0),
            step(RETURN, ALL, 0, 0),
            step(RETURN, NOTHING, 0, 0),
        ])
    }

    /// Lets everything through but changes of routes made by the socket with this port.
    pub(crate) fn routes_of_others(own: u32) -> Self {
        let [new, gone] = ROUTE.map(|number| u32::from(u16::from_be_bytes(number.to_ne_bytes())));
        Self(vec![
            step(LOAD_WORD, PORT, 0, 0),
            step(JUMP_EQUAL, as_loaded(own), 0, 3),
            step(LOAD_HALF, TYPE, 0, 0),
            step(JUMP_EQUAL, new, 2, 0),
            step(JUMP_EQUAL, gone, 1, 0),
            step(RETURN, ALL, 0, 0),
            step(RETURN, NOTHING, 0, 0),
        ])
    }

    /// Puts it on a socket.
    #[allow(unsafe_code)]
    pub(crate) fn attach(&self, socket: &impl AsRawFd) -> io::Result<()> {
        let program =
            sock_fprog { len: u16::try_from(self.0.len()).unwrap_or(0), filter: self.0.as_ptr().cast_mut() };
        let length = libc::socklen_t::try_from(size_of::<sock_fprog>()).unwrap_or(0);
        // SAFETY: the kernel copies the program, which lives until the call returns, and writes to neither.
        let answer = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_FILTER,
                std::ptr::from_ref(&program).cast(),
                length,
            )
        };
        if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// Loads read in network order what the kernel wrote in its own.
fn as_loaded(port: u32) -> u32 {
    u32::from_be_bytes(port.to_ne_bytes())
}

fn step(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}
