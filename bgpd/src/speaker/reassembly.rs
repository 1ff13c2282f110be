//! Whole messages out of a stream of octets.

use bgp_wire::{HEADER_LEN, MAX_EXTENDED_LEN, Notification, frame};

/// What of a connection has been read and is not yet a whole message. Empty for an idle one.
#[derive(Debug, Default)]
pub(super) struct Reassembly(Vec<u8>);

impl Reassembly {
    /// The next whole message of what was kept and `input`, handed to `take`; `input` then begins behind it. `false`
    /// when there is none: the rest of `input` is kept.
    ///
    /// Only the message that a read cut in two is copied; all others lie where they were read to.
    ///
    /// # Errors
    /// What to tell a peer whose octets are no message.
    pub fn next<R>(
        &mut self,
        input: &mut &[u8],
        max_len: usize,
        take: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, Notification> {
        if self.0.is_empty() {
            let Some(found) = frame(input, max_len)? else {
                self.0.extend_from_slice(input);
                *input = &[];
                return Ok(None);
            };
            let (message, rest) = input.split_at_checked(found.len).unwrap_or((input, &[]));
            *input = rest;
            return Ok(Some(take(message)));
        }
        // first the header, which says how much more
        self.fill(input, HEADER_LEN);
        if frame(&self.0, max_len)?.is_none() {
            let len = match self.0.get(16..18) {
                Some([high, low]) => usize::from(u16::from_be_bytes([*high, *low])),
                _ => HEADER_LEN,
            };
            self.fill(input, len.min(MAX_EXTENDED_LEN));
        }
        if frame(&self.0, max_len)?.is_none() {
            return Ok(None);
        }
        let message = std::mem::take(&mut self.0);
        Ok(Some(take(&message)))
    }

    fn fill(&mut self, input: &mut &[u8], len: usize) {
        let wanted = len.saturating_sub(self.0.len()).min(input.len());
        let (more, rest) = input.split_at(wanted);
        self.0.extend_from_slice(more);
        *input = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bgp_wire::MAX_LEN;
    use proptest::prelude::*;

    fn message(len: usize) -> Vec<u8> {
        let mut message = vec![0xff; 16];
        message.extend((len as u16).to_be_bytes());
        message.push(if len == HEADER_LEN { 4 } else { 2 });
        message.resize(len, len as u8);
        message
    }

    /// All messages of a stream that is read in these pieces.
    fn read(stream: &[u8], cuts: &[usize], max_len: usize) -> Result<Vec<Vec<u8>>, Notification> {
        let mut reassembly = Reassembly::default();
        let mut messages = Vec::new();
        let (mut at, mut cuts) = (0, cuts.iter().cycle());
        while at < stream.len() {
            let end = (at + cuts.next().unwrap()).min(stream.len());
            let mut input = &stream[at..end];
            while let Some(message) = reassembly.next(&mut input, max_len, <[u8]>::to_vec)? {
                messages.push(message);
            }
            assert!(input.is_empty(), "what is no whole message is kept");
            at = end;
        }
        Ok(messages)
    }

    #[test]
    fn an_idle_connection_keeps_nothing() {
        let mut reassembly = Reassembly::default();
        let message = message(100);
        assert_eq!(reassembly.next(&mut &message[..50], MAX_LEN, |_| ()).unwrap(), None);
        assert_eq!(reassembly.next(&mut &message[50..], MAX_LEN, |_| ()).unwrap(), Some(()));
        assert_eq!(reassembly.0.capacity(), 0);
    }

    #[test]
    fn a_length_out_of_bounds_is_found_with_the_header() {
        for cut in [19, 7, 1] {
            let error = read(&message(5000)[..19], &[cut], MAX_LEN).unwrap_err();
            assert_eq!((error.code, error.subcode), (1, 2));
        }
        assert_eq!(read(&message(5000), &[1000], MAX_EXTENDED_LEN).unwrap().len(), 1);
    }

    proptest! {
        #[test]
        fn any_cuts_give_the_same_messages(
            lens in proptest::collection::vec(prop_oneof![Just(19usize), 23usize..300, 4000usize..4097], 1..30),
            cuts in proptest::collection::vec(1usize..5000, 1..10),
        ) {
            let messages: Vec<_> = lens.into_iter().map(message).collect();
            prop_assert_eq!(read(&messages.concat(), &cuts, MAX_LEN).unwrap(), messages);
        }
    }
}
