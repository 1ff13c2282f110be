//! What a kernel tells by itself: a socket of its own that has joined multicast groups.
//!
//! It is read directly, one datagram at a time as the consumer asks, so that a slow consumer fills the
//! kernel's bounded buffer and is told of the loss, instead of an unbounded queue.

pub(crate) mod filter;

use crate::api::KernelError;
use crate::netns::Netns;
use crate::spent::{Kind, counted};
use filter::Filter;
use futures::stream::{Stream, poll_fn};
use netlink_sys::{AsyncSocket, SocketAddr, TokioSocket};
use nix::errno::Errno;
use nix::libc::MSG_DONTWAIT;
use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::task::{Context, Poll};

/// Room for some ten thousand changes between two looks.
const RECEIVE_BUFFER: usize = 8 << 20;
/// No netlink datagram is longer.
const DATAGRAM: usize = 64 << 10;

/// Follows these groups of a netlink family in a namespace from now on. `read` makes events of a datagram, `overrun`
/// is what stands for lost ones. `filter` is asked by the kernel for each datagram; none lets all through.
pub(crate) fn follow<E: Send + Unpin + 'static>(
    netns: &Netns,
    family: isize,
    groups: &[u32],
    filter: Option<&Filter>,
    overrun: fn() -> E,
    read: fn(&[u8], &mut VecDeque<E>),
) -> Result<impl Stream<Item = E> + Send + use<E>, KernelError> {
    let runtime = tokio::runtime::Handle::try_current()
        .map_err(|_| KernelError::Socket("opened outside a tokio runtime".to_string()))?;
    let socket = netns
        .run(|| -> std::io::Result<TokioSocket> {
            let _entered = runtime.enter();
            let mut socket = TokioSocket::new(family)?;
            socket.socket_mut().bind(&SocketAddr::new(0, 0))?;
            enlarge_receive_buffer(&socket);
            if let Some(filter) = filter {
                filter.attach(&socket)?;
            }
            for group in groups {
                socket.socket_mut().add_membership(*group)?;
            }
            Ok(socket)
        })?
        .map_err(|error| KernelError::Socket(error.to_string()))?;
    let mut follower =
        Follower { socket, buffer: Vec::with_capacity(DATAGRAM), pending: VecDeque::new(), overrun, read };
    Ok(poll_fn(move |context| follower.poll_next(context)))
}

pub(crate) fn enlarge_receive_buffer(socket: &impl AsRawFd) {
    grow_receive_buffer(socket, RECEIVE_BUFFER);
}

#[allow(unsafe_code)]
pub(crate) fn grow_receive_buffer(socket: &impl AsRawFd, bytes: usize) {
    // SAFETY: the descriptor belongs to `socket`, which outlives this function.
    let fd = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
    // Without CAP_NET_ADMIN the system's default stays; overruns come sooner then, and are told.
    if let Err(errno) = setsockopt(&fd, RcvBufForce, &bytes) {
        tracing::debug!(error = errno.desc(), "the receive buffer of a netlink socket stays small");
    }
}

struct Follower<E> {
    socket: TokioSocket,
    buffer: Vec<u8>,
    pending: VecDeque<E>,
    overrun: fn() -> E,
    read: fn(&[u8], &mut VecDeque<E>),
}

impl<E> Follower<E> {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<E>> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Poll::Ready(Some(event));
            }
            self.buffer.clear();
            // What waits is taken even where the runtime has not heard of it yet: who asks after a change of its own is told
            // of all that came before.
            let waiting =
                counted(Kind::Answer, || self.socket.socket_ref().recv_from(&mut self.buffer, MSG_DONTWAIT));
            let received = match waiting {
                Ok((_, sender)) => Poll::Ready(Ok(sender)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.socket.poll_recv_from(context, &mut self.buffer)
                }
                Err(error) => Poll::Ready(Err(error)),
            };
            match received {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(sender)) if sender.port_number() == 0 => {
                    (self.read)(&self.buffer, &mut self.pending);
                }
                // Another process may send to us; only the kernel is believed.
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {
                    return Poll::Ready(Some((self.overrun)()));
                }
                Poll::Ready(Err(error)) => {
                    tracing::warn!(%error, "kernel events end: the netlink socket failed");
                    return Poll::Ready(None);
                }
            }
        }
    }
}
