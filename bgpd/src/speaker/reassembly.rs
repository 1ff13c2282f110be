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
