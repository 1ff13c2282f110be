//! Changes sent by the datagram.
//!
//! Only the last message of a datagram asks for an acknowledgement; a message that failed is answered in any case, and
//! silence about the others means that they were carried out.

use super::{Answer, Message};
use crate::api::KernelError;
use crate::socket;
use netfilter::wire::Reply;
use netlink_packet_core::NLM_F_ACK;
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use std::collections::HashMap;

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
        let mut told = self.receive(first)?;
        let silent = || KernelError::Socket("the kernel did not answer a batch".to_string());
        let place = |place: usize| u32::try_from(place).ok();
        // Without the last one's answer the silence about the others means nothing.
        if !place(last).is_some_and(|last| told.contains_key(&last)) {
            return Err(silent());
        }
        Ok((0..messages.len()).map(|at| place(at).and_then(|at| told.remove(&at)).flatten()).collect())
    }

    /// Takes every answer that waits: by the message's place in the datagram.
    fn receive(&self, first: u32) -> Result<HashMap<u32, Answer>, KernelError> {
        let mut answers = HashMap::new();
        socket::drain(&self.socket, |reply| {
            if let Reply::Ack { sequence, errno, words, .. } = reply {
                let refusal = (errno != 0).then(|| (errno, words.map(str::to_owned)));
                answers.insert(sequence.wrapping_sub(first), refusal);
            }
            Ok::<(), KernelError>(())
        })?;
        Ok(answers)
    }
}
