//! Changes sent by the datagram.
//!
//! Only the last message of a datagram asks for an acknowledgement; a message that failed is answered in any case, and
//! silence about the others means that they were carried out, if the kernel says of no answer that it is lost.

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

    /// Takes the answers to so many messages, each in its place, until the last one's: the kernel answers in order.
    fn receive(&self, first: u32, count: usize) -> Result<Vec<Answer>, KernelError> {
        let mut answers = Answers { first, all: vec![None; count], whole: false };
        let mut page: Vec<u8> = Vec::with_capacity(socket::DATAGRAM);
        let mut lost = 0;
        while !answers.whole {
            match socket::receive(&self.socket, &mut page) {
                Ok(true) => answers.take(&page),
                Ok(false) => {
                    return Err(KernelError::Socket("the kernel did not answer a batch".to_string()));
                }
                Err(error) if socket::has_no_room(&error) && lost < socket::LOST_TRIES => lost += 1,
                Err(error) => return Err(KernelError::Socket(error.to_string())),
            }
        }
        Ok(answers.end(lost > 0))
    }
}

/// The answers to the messages of a datagram, as they come.
struct Answers {
    /// Sequence number of the first message.
    first: u32,
    all: Vec<Option<Answer>>,
    /// The last message's is there: whatever comes before it has come.
    whole: bool,
}

impl Answers {
    /// Takes what is in a page.
    fn take(&mut self, page: &[u8]) {
        for reply in Replies::new(page) {
            let Reply::Ack { sequence, errno, words, .. } = reply else { continue };
            // what is left of a batch before has no place here
            let place = usize::try_from(sequence.wrapping_sub(self.first)).ok();
            let count = self.all.len();
            let Some((place, answer)) = place.and_then(|at| Some((at, self.all.get_mut(at)?))) else {
                continue;
            };
            *answer = Some(match errno {
                0 => Answer::Done,
                _ => Answer::Refused(errno, words.map(str::to_owned)),
            });
            self.whole = place + 1 == count;
        }
    }

    /// What silence means: that a message was carried out, unless answers were lost.
    fn end(self, lost: bool) -> Vec<Answer> {
        let silence = if lost { Answer::Lost } else { Answer::Done };
        self.all.into_iter().map(|answer| answer.unwrap_or_else(|| silence.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::bytes;
    use super::*;
    use netlink_packet_core::{ErrorMessage, NetlinkHeader, NetlinkPayload};
    use std::num::NonZeroI32;

    fn reply(sequence: u32, errno: i32) -> Vec<u8> {
        let mut error = ErrorMessage::default();
        error.code = NonZeroI32::new(-errno);
        error.header = vec![0; size_of::<NetlinkHeader>()];
        let mut header = NetlinkHeader::default();
        header.sequence_number = sequence;
        bytes(Message::new(header, NetlinkPayload::Error(error)))
    }

    fn answers(pages: &[Vec<u8>], lost: bool) -> (bool, Vec<Answer>) {
        let mut answers = Answers { first: u32::MAX, all: vec![None; 4], whole: false };
        pages.iter().for_each(|page| answers.take(page));
        (answers.whole, answers.end(lost))
    }

    #[test]
    fn silence_before_the_last_answer_is_success() {
        let refused = Answer::Refused(17, None);
        let pages = [reply(0, 17), reply(2, 0)];
        assert_eq!(answers(&pages, false), (true, vec![Answer::Done, refused, Answer::Done, Answer::Done]));
        assert!(!answers(&pages[..1], false).0, "the last one is not answered");
    }

    #[test]
    fn silence_means_nothing_where_answers_were_lost() {
        let refused = Answer::Refused(17, None);
        let pages = [[reply(0, 17), reply(2, 0)].concat()];
        assert_eq!(answers(&pages, true), (true, vec![Answer::Lost, refused, Answer::Lost, Answer::Done]));
    }

    #[test]
    fn answers_to_another_batch_have_no_place() {
        let pages = [reply(7, 17), reply(u32::MAX - 1, 17), reply(2, 0)];
        assert_eq!(answers(&pages, false), (true, vec![Answer::Done; 4]));
    }
}
