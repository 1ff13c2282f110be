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
    ) -> Vec<IoSlice<'a>> {
        let (rest, behind) = match unfinished {
            0 => (None, None),
            _ => {
                routes.next().map(|first| first.split_at_checked(unfinished).unwrap_or((first, &[]))).unzip()
            }
        };
        let queue = self.queue.iter().map(|message| &message[..]);
        let all = rest.into_iter().chain(queue).chain(behind).chain(routes);
        all.filter(|piece| !piece.is_empty()).take(most).map(IoSlice::new).collect()
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
