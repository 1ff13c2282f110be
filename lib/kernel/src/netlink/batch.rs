//! Changes sent by the datagram.
//!
//! Only the last message of a datagram asks for an acknowledgement; a message that failed is answered in any case, and
//! silence about the others means that they were carried out.

use super::{Answer, Message};
use crate::api::KernelError;
use crate::socket;
use netfilter::wire::{Replies, Reply};
use netlink_packet_core::NLM_F_ACK;
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};

/// A socket for changes.
#[derive(Debug)]
pub(super) struct Sender {
    socket: Socket,
    port: u32,
}

impl Sender {
    /// Opens it in the namespace of the calling thread.
    pub(super) fn open() -> std::io::Result<Self> {
        let (socket, port) = socket::open(NETLINK_ROUTE)?;
        socket.set_netlink_get_strict_chk(true)?;
        Ok(Sender { socket, port })
    }

    /// What the kernel knows the socket by, and tells as the author of changes.
    pub(super) fn port(&self) -> u32 {
        self.port
    }

    /// Sends messages as one datagram; one answer each. `sequence` counts messages over all datagrams.
    pub(super) fn exchange(
        &self,
        mut messages: Vec<Message>,
        sequence: &mut u32,
    ) -> Result<Vec<Answer>, KernelError> {
        let first = *sequence;
        let last = messages.len().saturating_sub(1);
        let mut bytes = Vec::new();
        for (place, message) in messages.iter_mut().enumerate() {
            message.header.sequence_number = *sequence;
            *sequence = sequence.wrapping_add(1);
            if place != last {
                message.header.flags &= !NLM_F_ACK;
            }
            message.finalize();
            let start = bytes.len();
            bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
            if let Some(room) = bytes.get_mut(start..start + message.buffer_len()) {
                message.serialize(room);
            }
        }
        if bytes.is_empty() {
            return Ok(Vec::new());
        }
        socket::send(&self.socket, &bytes)?;
        self.receive(first, messages.len())
    }

    /// Takes the answers to so many messages, each in its place, until the last one's: the kernel answers in order, and without
    /// that one the silence about the others means nothing.
    fn receive(&self, first: u32, count: usize) -> Result<Vec<Answer>, KernelError> {
        let mut answers = vec![None; count];
        let mut page: Vec<u8> = Vec::with_capacity(socket::DATAGRAM);
        let mut whole = false;
        while !whole {
            match socket::receive(&self.socket, &mut page) {
                Ok(true) => {}
                Ok(false) => {
                    return Err(KernelError::Socket("the kernel did not answer a batch".to_string()));
                }
                Err(error) => return Err(KernelError::Socket(error.to_string())),
            }
            for reply in Replies::new(&page) {
                let Reply::Ack { sequence, errno, words, .. } = reply else { continue };
                // what is left of a batch before has no place here
                let place = usize::try_from(sequence.wrapping_sub(first)).ok();
                let Some((place, answer)) = place.and_then(|at| Some((at, answers.get_mut(at)?))) else {
                    continue;
                };
                *answer = (errno != 0).then(|| (errno, words.map(str::to_owned)));
                whole = place + 1 == count;
            }
        }
        Ok(answers)
    }
}
