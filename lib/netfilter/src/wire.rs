//! Netlink's framing: messages, attributes, and what a kernel answers (`linux/netlink.h`, `linux/netfilter/nfnetlink.h`).
//!
//! Lengths and types are in host order, values of nf_tables in network order. Attributes are padded to four bytes.

/// `NLM_F_REQUEST`
pub const REQUEST: u16 = 0x1;
/// `NLM_F_ACK`
pub const ACK: u16 = 0x4;
/// `NLM_F_ECHO`: the notification of the change comes back to its sender.
pub const ECHO: u16 = 0x8;
/// `NLM_F_DUMP`
pub const DUMP: u16 = 0x300;
/// `NLM_F_EXCL`: fail when it is there.
pub const EXCLUSIVE: u16 = 0x200;
/// `NLM_F_REPLACE`
pub const REPLACE: u16 = 0x100;
/// `NLM_F_CREATE`
pub const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`: after the others, or after the rule named by position.
pub const APPEND: u16 = 0x800;

/// The set in `nlattr.nla_type` when attributes lie inside.
const NESTED: u16 = 0x8000;
/// Bits of `nla_type` that are not flags.
const TYPE_MASK: u16 = 0x3fff;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const HEADER: usize = 16;
/// `NLM_F_DUMP_INTR`: what was dumped changed while it was.
const DUMP_INTERRUPTED: u16 = 0x10;
/// `NLM_F_CAPPED`: an error does not echo the request.
const CAPPED: u16 = 0x100;
/// `NLM_F_ACK_TLVS`: an error carries attributes.
const ACK_TLVS: u16 = 0x200;

/// Messages being written.
#[derive(Debug, Default, Clone)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Nothing written yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was written.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes what was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Bytes written.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// One message of nfnetlink: header, `nfgenmsg` (family, version 0, resource id), and what `body` writes.
    pub fn message(
        &mut self,
        kind: u16,
        flags: u16,
        sequence: u32,
        family: u8,
        resource: u16,
        body: impl FnOnce(&mut Self),
    ) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.bytes.extend_from_slice(&[family, 0]);
        self.bytes.extend_from_slice(&resource.to_be_bytes());
        body(self);
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.patch(start, &length.to_ne_bytes());
    }

    /// An attribute with these bytes.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.open_attribute(kind, |w| w.bytes.extend_from_slice(value));
    }

    /// A text with its terminating zero.
    pub fn text(&mut self, kind: u16, value: &str) {
        self.open_attribute(kind, |w| {
            w.bytes.extend_from_slice(value.as_bytes());
            w.bytes.push(0);
        });
    }

    /// One byte.
    pub fn u8(&mut self, kind: u16, value: u8) {
        self.attribute(kind, &[value]);
    }

    /// 16 bits in network order.
    pub fn be16(&mut self, kind: u16, value: u16) {
        self.attribute(kind, &value.to_be_bytes());
    }

    /// 32 bits in network order.
    pub fn be32(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_be_bytes());
    }

    /// 32 bits in host order.
    pub fn ne32(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_ne_bytes());
    }

    /// 64 bits in network order.
    pub fn be64(&mut self, kind: u16, value: u64) {
        self.attribute(kind, &value.to_be_bytes());
    }

    /// Attributes that are bytes already, padding included.
    pub(crate) fn raw(&mut self, attributes: &[u8]) {
        self.bytes.extend_from_slice(attributes);
    }

    /// Attributes inside an attribute. Its length is 16 bits: the caller keeps what it writes below 64 KiB.
    pub fn nested(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        self.open_attribute(kind | NESTED, body);
    }

    fn open_attribute(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&0u16.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        body(self);
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.patch(start, &length.to_ne_bytes());
        let padded = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(padded, 0);
    }

    /// Adds flags to the message that begins at this byte.
    pub(crate) fn add_flags(&mut self, at: usize, flags: u16) {
        let place = at + 6;
        if let Some(Ok(old)) = self.bytes.get(place..place + 2).map(<[u8; 2]>::try_from) {
            self.patch(place, &(u16::from_ne_bytes(old) | flags).to_ne_bytes());
        }
    }

    fn patch(&mut self, at: usize, value: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..at + value.len()) {
            place.copy_from_slice(value);
        }
    }
}

/// Attributes being read; ends at the first one that does not fit.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// Reads these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The first attribute of this type.
    pub fn get(self, kind: u16) -> Option<&'a [u8]> {
        self.into_iter().find(|(found, _)| *found == kind).map(|(_, value)| value)
    }

    /// The attributes inside the first one of this type.
    pub fn nested(self, kind: u16) -> Option<Attributes<'a>> {
        self.get(kind).map(Attributes)
    }

    /// A text without its terminating zero; `None` when it is missing or no UTF-8.
    pub fn text(self, kind: u16) -> Option<&'a str> {
        self.get(kind).and_then(text)
    }

    /// One byte.
    pub fn u8(self, kind: u16) -> Option<u8> {
        self.get(kind)?.first().copied()
    }

    /// 16 bits in network order.
    pub fn be16(self, kind: u16) -> Option<u16> {
        Some(u16::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }

    /// 32 bits in network order.
    pub fn be32(self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }

    /// 64 bits in network order.
    pub fn be64(self, kind: u16) -> Option<u64> {
        Some(u64::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (length, rest) = self.0.split_first_chunk::<2>()?;
        let (kind, _) = rest.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_ne_bytes(*length));
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes(*kind) & TYPE_MASK, value))
    }
}

/// A text without its terminating zero.
pub(crate) fn text(bytes: &[u8]) -> Option<&str> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    std::str::from_utf8(bytes.get(..end)?).ok()
}

/// One message read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply<'a> {
    /// Data: an object of a dump, an answer, or an event.
    Data {
        /// `nlmsg_type`: subsystem and message.
        kind: u16,
        /// `nlmsg_flags`.
        flags: u16,
        /// Sequence number of the request; 0 for an event.
        sequence: u32,
        /// Sender of an event: the port whose request caused it.
        port: u32,
        /// Address family of `nfgenmsg`.
        family: u8,
        /// `res_id` of `nfgenmsg`: the low 16 bits of the generation in events.
        resource: u16,
        /// The attributes.
        attributes: &'a [u8],
    },
    /// The request of this sequence number was carried out (`errno` 0) or refused.
    Ack {
        /// Sequence number of the request.
        sequence: u32,
        /// Positive errno; 0 for success.
        errno: i32,
        /// The kernel's own words.
        words: Option<&'a str>,
        /// The refused request as far as the kernel sends it back, headers included.
        echo: &'a [u8],
    },
    /// The end of a dump.
    Done {
        /// Sequence number of the request.
        sequence: u32,
        /// Whether what was dumped changed meanwhile: dump again.
        interrupted: bool,
    },
}

/// Messages being read; ends at the first one that does not fit.
#[derive(Debug, Clone, Copy)]
pub struct Replies<'a>(&'a [u8]);

impl<'a> Replies<'a> {
    /// Reads what one receive brought.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl<'a> Iterator for Replies<'a> {
    type Item = Reply<'a>;

    fn next(&mut self) -> Option<Reply<'a>> {
        let word = |at: usize| self.0.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
        let half = |at: usize| self.0.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes);
        let length = usize::try_from(word(0)?).ok()?;
        let (kind, flags, sequence, port) = (half(4)?, half(6)?, word(8)?, word(12)?);
        let body = self.0.get(HEADER..length)?;
        let reply = match kind {
            NLMSG_ERROR => {
                let code = i32::from_ne_bytes(body.get(..4)?.try_into().ok()?);
                let errno = code.saturating_neg();
                Reply::Ack { sequence, errno, words: words(body, flags), echo: echo(body, flags) }
            }
            NLMSG_DONE => Reply::Done { sequence, interrupted: flags & DUMP_INTERRUPTED != 0 },
            _ => Reply::Data {
                kind,
                flags,
                sequence,
                port,
                family: *body.first()?,
                resource: u16::from_be_bytes(body.get(2..4)?.try_into().ok()?),
                attributes: body.get(4..)?,
            },
        };
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(reply)
    }
}

/// The request that an error is about.
fn echo(body: &[u8], flags: u16) -> &[u8] {
    let after = body.get(4..).unwrap_or_default();
    let told = after.get(..4).and_then(|word| word.try_into().ok()).map(u32::from_ne_bytes);
    let length = told.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    let sent = if flags & CAPPED == 0 { length } else { HEADER };
    after.get(..sent).unwrap_or(after)
}

/// The text of an extended acknowledgement (`NLMSGERR_ATTR_MSG`).
fn words(body: &[u8], flags: u16) -> Option<&str> {
    const MESSAGE: u16 = 1;
    if flags & ACK_TLVS == 0 {
        return None;
    }
    let echoed = usize::try_from(u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?)).ok()?;
    let skip = if flags & CAPPED == 0 { echoed } else { HEADER };
    Attributes(body.get(4 + skip.next_multiple_of(4)..)?).text(MESSAGE)
}

#[cfg(test)]
mod tests;
