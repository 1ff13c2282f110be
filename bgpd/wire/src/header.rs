//! Where one message ends and the next begins (RFC 4271 §4.1), without looking into it.

use crate::notification::{HeaderError, Notification};

/// Octets of the header: marker, length, type.
pub const HEADER_LEN: usize = 19;
/// Longest message of a session without RFC 8654.
pub const MAX_LEN: usize = 4096;
/// Longest message of a session with RFC 8654.
pub const MAX_EXTENDED_LEN: usize = 65535;

/// The type octet of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageType {
    /// 1.
    Open,
    /// 2.
    Update,
    /// 3.
    Notification,
    /// 4.
    Keepalive,
    /// 5 (RFC 2918).
    RouteRefresh,
}

impl MessageType {
    /// The type of this octet.
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(MessageType::Open),
            2 => Some(MessageType::Update),
            3 => Some(MessageType::Notification),
            4 => Some(MessageType::Keepalive),
            5 => Some(MessageType::RouteRefresh),
            _ => None,
        }
    }

    /// Its octet on the wire.
    pub fn number(self) -> u8 {
        match self {
            MessageType::Open => 1,
            MessageType::Update => 2,
            MessageType::Notification => 3,
            MessageType::Keepalive => 4,
            MessageType::RouteRefresh => 5,
        }
    }

    /// Shortest and longest length with header (RFC 4271 §6.1, RFC 8654 §4: OPEN and KEEPALIVE never grow).
    fn lengths(self, max_len: usize) -> (usize, usize) {
        match self {
            MessageType::Open => (29, MAX_LEN),
            MessageType::Update => (23, max_len),
            MessageType::Notification => (21, max_len),
            MessageType::Keepalive => (19, 19),
            MessageType::RouteRefresh => (23, max_len),
        }
    }
}

/// One whole message at the start of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Octets of the message, header included.
    pub len: usize,
    /// Its type.
    pub kind: MessageType,
}

/// Finds the message at the start of `buf`; `None` while it is incomplete. `max_len` is [`Codec::max_len`](crate::Codec::max_len).
///
/// # Errors
/// The NOTIFICATION that ends the session, as RFC 4271 §6.1 says. It is found as soon as the header is there.
pub fn frame(buf: &[u8], max_len: usize) -> Result<Option<Frame>, Notification> {
    let Some((marker, rest)) = buf.split_first_chunk::<16>() else { return Ok(None) };
    let [high, low, number, ..] = *rest else { return Ok(None) };
    if marker != &[0xff; 16] {
        return Err(Notification::header(HeaderError::NotSynchronized, Vec::new()));
    }
    let len = usize::from(u16::from_be_bytes([high, low]));
    let bad_length = || Notification::header(HeaderError::BadLength, vec![high, low]);
    if !(HEADER_LEN..=max_len).contains(&len) {
        return Err(bad_length());
    }
    let kind = MessageType::from_number(number)
        .ok_or_else(|| Notification::header(HeaderError::BadType, vec![number]))?;
    let (least, most) = kind.lengths(max_len);
    if !(least..=most).contains(&len) {
        return Err(bad_length());
    }
    Ok((buf.len() >= len).then_some(Frame { len, kind }))
}

/// Appends one message: the header, then what `body` writes.
pub(crate) fn write(out: &mut Vec<u8>, kind: MessageType, body: impl FnOnce(&mut Vec<u8>)) {
    let start = begin(out, kind);
    body(out);
    finish(out, start);
}

/// Appends a header whose length is filled in by [`finish`].
pub(crate) fn begin(out: &mut Vec<u8>, kind: MessageType) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0xff; 16]);
    out.extend_from_slice(&[0, 0, kind.number()]);
    start
}

/// Fills in the length of the message that began at `start`.
pub(crate) fn finish(out: &mut [u8], start: usize) {
    let len = out.len() - start;
    debug_assert!(len <= MAX_EXTENDED_LEN, "a message of {len} octets");
    patch(out, start + 16, len);
}

/// Writes a two-octet length at `at`, which was reserved before.
pub(crate) fn patch(out: &mut [u8], at: usize, len: usize) {
    if let Some(field) = out.get_mut(at..at + 2) {
        field.copy_from_slice(&u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes());
    }
}
