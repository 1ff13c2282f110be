//! Changes as they happen: a second socket that has joined multicast groups.
//!
//! It is read directly, one datagram at a time as the consumer asks, so that a slow consumer fills the
//! kernel's bounded buffer and is told of the loss ([`KernelEvent::Overrun`]), instead of an unbounded queue.

use super::{Message, decode};
use crate::api::{EventGroups, KernelError, KernelEvent};
use crate::netns::Netns;
use futures::stream::{Stream, poll_fn};
use netlink_packet_core::{NetlinkBuffer, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_proto::sys::{AsyncSocket, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};
use rtnetlink::MulticastGroup;
use std::collections::VecDeque;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::task::{Context, Poll};

/// Room for some ten thousand changes between two looks.
const RECEIVE_BUFFER: usize = 8 << 20;
/// No netlink datagram is longer.
const DATAGRAM: usize = 64 << 10;

/// Follows the changes of a namespace from now on.
pub(super) fn follow(
    netns: &Netns,
    groups: EventGroups,
) -> Result<impl Stream<Item = KernelEvent> + Send + use<>, KernelError> {
    let runtime = tokio::runtime::Handle::try_current()
        .map_err(|_| KernelError::Socket("opened outside a tokio runtime".to_string()))?;
    let socket = netns
        .run(|| -> std::io::Result<TokioSocket> {
            let _entered = runtime.enter();
            let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
            socket.socket_mut().bind(&SocketAddr::new(0, 0))?;
            enlarge_receive_buffer(&socket);
            for group in members(groups) {
                socket.socket_mut().add_membership(group as u32)?;
            }
            Ok(socket)
        })?
        .map_err(|error| KernelError::Socket(error.to_string()))?;
    let mut follower = Follower { socket, buffer: Vec::with_capacity(DATAGRAM), pending: VecDeque::new() };
    Ok(poll_fn(move |context| follower.poll_next(context)))
}

#[allow(unsafe_code)]
fn enlarge_receive_buffer(socket: &TokioSocket) {
    // SAFETY: the descriptor belongs to `socket`, which outlives this function.
    let fd = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
    // Without CAP_NET_ADMIN the system's default stays; overruns come sooner then, and are told.
    if let Err(errno) = setsockopt(&fd, RcvBufForce, &RECEIVE_BUFFER) {
        tracing::debug!(error = errno.desc(), "the receive buffer for kernel events stays small");
    }
}

fn members(groups: EventGroups) -> Vec<MulticastGroup> {
    use MulticastGroup::{Ipv4Ifaddr, Ipv4Route, Ipv6Ifaddr, Ipv6Route, Link, Neigh};
    let mut members = Vec::new();
    let mut join = |wanted: bool, these: &[MulticastGroup]| {
        if wanted {
            members.extend_from_slice(these);
        }
    };
    join(groups.links, &[Link]);
    join(groups.addresses, &[Ipv4Ifaddr, Ipv6Ifaddr]);
    join(groups.routes, &[Ipv4Route, Ipv6Route]);
    join(groups.neighbours, &[Neigh]);
    members
}

struct Follower {
    socket: TokioSocket,
    buffer: Vec<u8>,
    pending: VecDeque<KernelEvent>,
}

impl Follower {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<KernelEvent>> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Poll::Ready(Some(event));
            }
            self.buffer.clear();
            match self.socket.poll_recv_from(context, &mut self.buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(sender)) if sender.port_number() == 0 => self.take(),
                // Another process may send to us; only the kernel is believed.
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {
                    return Poll::Ready(Some(KernelEvent::Overrun));
                }
                Poll::Ready(Err(error)) => {
                    tracing::warn!(%error, "kernel events end: the netlink socket failed");
                    return Poll::Ready(None);
                }
            }
        }
    }

    /// Takes the events of the datagram in the buffer. One that cannot be read counts as lost.
    fn take(&mut self) {
        let mut rest = self.buffer.as_slice();
        while !rest.is_empty() {
            let length = match NetlinkBuffer::new_checked(rest) {
                Ok(frame) => frame.length() as usize,
                Err(_) => {
                    self.pending.push_back(KernelEvent::Overrun);
                    return;
                }
            };
            let (frame, behind) = rest.split_at(length.min(rest.len()));
            match Message::deserialize(frame) {
                Ok(message) => self.pending.extend(event(message)),
                Err(error) => {
                    tracing::debug!(%error, "a kernel event cannot be read");
                    self.pending.push_back(KernelEvent::Overrun);
                }
            }
            // Messages begin at multiples of four bytes.
            rest = behind.get((length.next_multiple_of(4) - length).min(behind.len())..).unwrap_or_default();
        }
    }
}

fn event(message: NetlinkMessage<RouteNetlinkMessage>) -> Option<KernelEvent> {
    use RouteNetlinkMessage::{
        DelAddress, DelLink, DelNeighbour, DelRoute, NewAddress, NewLink, NewNeighbour, NewRoute,
    };
    match message.payload {
        NetlinkPayload::Overrun(_) => Some(KernelEvent::Overrun),
        NetlinkPayload::InnerMessage(inner) => match inner {
            NewLink(link) => decode::link(&link).map(KernelEvent::Link),
            DelLink(link) => decode::link(&link).map(KernelEvent::LinkGone),
            NewAddress(address) => decode::address(&address).map(KernelEvent::Address),
            DelAddress(address) => decode::address(&address).map(KernelEvent::AddressGone),
            NewRoute(route) => decode::route(&route).map(KernelEvent::Route),
            DelRoute(route) => decode::route(&route).map(KernelEvent::RouteGone),
            NewNeighbour(neighbour) => decode::neighbour(&neighbour).map(KernelEvent::Neighbour),
            DelNeighbour(neighbour) => decode::neighbour(&neighbour).map(KernelEvent::NeighbourGone),
            _ => None,
        },
        _ => None,
    }
}
