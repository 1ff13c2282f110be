//! Questions: one request, and its answer to the last message.
//!
//! The kernel answers while a request is sent; the pages of a list it makes while the one before is read. So nothing here
//! waits, and an answer without its end is a lost one, never a short one.

use super::{Message, bytes};
use crate::api::KernelError;
use crate::socket;
use netlink_packet_core::{NLM_F_DUMP_INTR, NetlinkHeader, NetlinkPayload};
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};

/// A socket for questions.
#[derive(Debug)]
pub(super) struct Questions {
    socket: Socket,
    /// Of the next one.
    sequence: u32,
}

/// What a question came to.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// Every message of it that can be read, the last one included.
    pub(super) messages: Vec<Message>,
    /// What was listed changed meanwhile.
    pub(super) torn: bool,
}

impl Questions {
    /// Opens it in the namespace of the calling thread.
    pub(super) fn open() -> std::io::Result<Self> {
        let (socket, _) = socket::open(NETLINK_ROUTE)?;
        // lists are filtered in the kernel
        socket.set_netlink_get_strict_chk(true)?;
        Ok(Self { socket, sequence: 1 })
    }

    /// Asks, and takes the whole answer; others get their turn between its pages.
    ///
    /// # Errors
    /// The socket's, or a part of the answer is lost.
    pub(super) async fn ask(&mut self, mut message: Message) -> Result<Answer, KernelError> {
        self.clear().await?;
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        message.header.sequence_number = sequence;
        socket::send(&self.socket, &bytes(message))?;
        let mut answer = Answer::default();
        while let Some(page) = self.page()? {
            if answer.take(&page, sequence) {
                return Ok(answer);
            }
            tokio::task::yield_now().await;
        }
        Err(socket::endless("a question"))
    }

    /// As [`socket::clear`], and others get their turn: what is left may be a list of all routes.
    async fn clear(&self) -> Result<(), KernelError> {
        let mut lost = 0;
        loop {
            match self.page() {
                Ok(Some(_)) => tokio::task::yield_now().await,
                Ok(None) => return Ok(()),
                Err(error) if error.is_lost() && lost < socket::LOST_TRIES => lost += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// The next datagram that waits.
    fn page(&self) -> Result<Option<Vec<u8>>, KernelError> {
        let mut page: Vec<u8> = Vec::with_capacity(socket::DATAGRAM);
        match socket::receive(&self.socket, &mut page) {
            Ok(waits) => Ok(waits.then_some(page)),
            Err(error) => Err(KernelError::Socket(error.to_string())),
        }
    }
}

impl Answer {
    /// Takes the messages of a datagram; whether the last one is among them.
    fn take(&mut self, page: &[u8], sequence: u32) -> bool {
        let mut rest = page;
        let mut whole = false;
        while let Some(length) = length(rest) {
            let (bytes, more) = rest.split_at(length.min(rest.len()));
            rest = more.get(length.next_multiple_of(4) - length..).unwrap_or_default();
            match Message::deserialize(bytes) {
                Ok(message) if message.header.sequence_number == sequence => {
                    self.torn |= message.header.flags & NLM_F_DUMP_INTR != 0;
                    whole |= matches!(message.payload, NetlinkPayload::Done(_) | NetlinkPayload::Error(_));
                    self.messages.push(message);
                }
                // to a question before
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "a message of the kernel cannot be read"),
            }
        }
        whole
    }
}

/// The length of the message at the beginning, header included.
fn length(bytes: &[u8]) -> Option<usize> {
    let header = bytes.first_chunk::<4>()?;
    let length = usize::try_from(u32::from_ne_bytes(*header)).ok()?;
    let least = size_of::<NetlinkHeader>();
    (length >= least && length <= bytes.len()).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_core::{DoneMessage, NLM_F_MULTIPART};
    use netlink_packet_route::RouteNetlinkMessage;
    use netlink_packet_route::link::LinkMessage;

    fn message(sequence: u32, payload: NetlinkPayload<RouteNetlinkMessage>) -> Vec<u8> {
        let mut header = NetlinkHeader::default();
        (header.sequence_number, header.flags) = (sequence, NLM_F_MULTIPART);
        bytes(Message::new(header, payload))
    }

    fn link(sequence: u32) -> Vec<u8> {
        let link = RouteNetlinkMessage::NewLink(LinkMessage::default());
        message(sequence, NetlinkPayload::InnerMessage(link))
    }

    fn end(sequence: u32) -> Vec<u8> {
        message(sequence, NetlinkPayload::Done(DoneMessage::default()))
    }

    #[test]
    fn an_answer_is_whole_with_its_last_message_alone() {
        let mut answer = Answer::default();
        assert!(!answer.take(&[link(7), link(7)].concat(), 7));
        assert!(!answer.take(&[link(6), end(6)].concat(), 7), "of a question before");
        assert!(answer.take(&[link(7), end(7)].concat(), 7));
        assert_eq!(answer.messages.len(), 4);
        assert!(!answer.torn);
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let page = [link(7), end(7)].concat();
        for cut in 0..page.len() {
            let mut answer = Answer::default();
            assert!(!answer.take(&page[..cut], 7));
            assert!(answer.messages.len() <= 1);
        }
        assert!(!Answer::default().take(&[0; 64], 7));
    }
}
