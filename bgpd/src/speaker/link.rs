//! One connection as the speaker sees it: what has been read of it, and what is to be written to it.

use super::reassembly::Reassembly;
use bgp_session::ConnId;
use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io::IoSlice;

/// A connection. Its own messages go before the routes, but never into the middle of one of theirs.
#[derive(Debug)]
pub(super) struct LinkState {
    pub id: ConnId,
    pub input: Reassembly,
    /// OPEN, KEEPALIVE, NOTIFICATION.
    queue: VecDeque<Bytes>,
    /// Told to the driver as having something to write.
    pub announced: bool,
}

impl LinkState {
    pub fn new(id: ConnId) -> Self {
        LinkState { id, input: Reassembly::default(), queue: VecDeque::new(), announced: false }
    }

    pub fn send(&mut self, message: Bytes) {
        self.queue.push_back(message);
    }

    /// What to write next, `most` pieces at most. `routes` are the RIB's, of which the first `unfinished` octets belong
    /// to a message that is written in part.
    pub fn chunks<'a>(
        &'a self,
        mut routes: impl Iterator<Item = &'a [u8]>,
        unfinished: usize,
        most: usize,
    ) -> impl Iterator<Item = IoSlice<'a>> {
        let (rest, behind) = match unfinished {
            0 => (None, None),
            _ => {
                routes.next().map(|first| first.split_at_checked(unfinished).unwrap_or((first, &[]))).unzip()
            }
        };
        let queue = self.queue.iter().map(|message| &message[..]);
        let all = rest.into_iter().chain(queue).chain(behind).chain(routes);
        all.filter(|piece| !piece.is_empty()).take(most).map(IoSlice::new)
    }

    /// Takes note that `written` octets of [`LinkState::chunks`] are gone; returned is how many of them were routes.
    pub fn wrote(&mut self, written: usize, unfinished: usize) -> usize {
        let rest = written.min(unfinished);
        let mut left = written - rest;
        while let Some(message) = self.queue.front_mut().filter(|_| left > 0) {
            let gone = left.min(message.len());
            message.advance(gone);
            left -= gone;
            if message.is_empty() {
                self.queue.pop_front();
            }
        }
        rest + left
    }

    /// What can still be said before the connection is closed; `rest` finishes a message that is written in part.
    pub fn last_words(self, rest: Option<Bytes>) -> Vec<Bytes> {
        rest.into_iter().chain(self.queue).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written<'a>(chunks: impl Iterator<Item = IoSlice<'a>>) -> Vec<u8> {
        chunks.flat_map(|chunk| chunk.to_vec()).collect()
    }

    #[test]
    fn own_messages_come_before_routes_and_behind_a_message_under_way() {
        let mut link = LinkState::new(ConnId(1));
        link.send(Bytes::from_static(b"KEEPALIVE "));
        let routes: [&[u8]; 2] = [b"first second ", b"third"];
        assert_eq!(written(link.chunks(routes.into_iter(), 0, 9)), b"KEEPALIVE first second third");
        let under_way: [&[u8]; 2] = [b"st second ", b"third"];
        assert_eq!(written(link.chunks(under_way.into_iter(), 3, 9)), b"st KEEPALIVE second third");
        assert_eq!(written(link.chunks(under_way.into_iter(), 3, 2)), b"st KEEPALIVE ");
    }

    #[test]
    fn last_words_follow_the_rest_of_a_message() {
        let mut link = LinkState::new(ConnId(1));
        link.send(Bytes::from_static(b"NOTIFICATION"));
        assert_eq!(link.last_words(Some(Bytes::from_static(b"st "))), [&b"st "[..], b"NOTIFICATION"]);
    }

    proptest! {
        /// Messages of three octets, routes in capitals: whatever a socket takes at a time, whole messages arrive, each
        /// kind in its order.
        #[test]
        fn any_partial_writes_leave_messages_whole(
            takes in proptest::collection::vec(1usize..9, 1..60),
            keepalives in proptest::collection::vec(0usize..60, 0..10),
        ) {
            let routes: Vec<u8> = (b'A'..=b'Z').flat_map(|letter| [letter; 3]).collect();
            let mut link = LinkState::new(ConnId(1));
            let (mut at, mut arrived) = (0, Vec::new());
            for (round, take) in takes.iter().enumerate() {
                if keepalives.contains(&round) {
                    link.send(Bytes::from_static(b"kkk"));
                }
                let unfinished = (3 - at % 3) % 3;
                let chunks = written(link.chunks(std::iter::once(&routes[at..]), unfinished, 9));
                let taken = (*take).min(chunks.len());
                arrived.extend_from_slice(&chunks[..taken]);
                at += link.wrote(taken, unfinished);
            }
            for message in arrived.chunks(3) {
                prop_assert!(message.iter().all(|octet| *octet == message[0]), "{:?}", String::from_utf8(arrived.clone()));
            }
            let of_routes: Vec<u8> = arrived.iter().copied().filter(u8::is_ascii_uppercase).collect();
            prop_assert_eq!(&of_routes[..], &routes[..of_routes.len()]);
        }
    }
}
