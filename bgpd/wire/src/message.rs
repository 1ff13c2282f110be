//! Any message, from its octets.

use crate::codec::Codec;
use crate::header::{self, HEADER_LEN, MessageType};
use crate::notification::{HeaderError, MessageError, Notification};
use crate::open::Open;
use crate::refresh::RouteRefresh;
use crate::update::UpdateView;

/// A message; an UPDATE still lies in the buffer it was read into.
#[derive(Debug, Clone)]
pub enum Message<'a> {
    /// Type 1.
    Open(Open),
    /// Type 2.
    Update(UpdateView<'a>),
    /// Type 3.
    Notification(Notification),
    /// Type 4.
    Keepalive,
    /// Type 5.
    RouteRefresh(RouteRefresh),
}

/// Decodes one whole message, header included, as [`frame`](crate::frame) found it. Before OPEN, `codec` is the default.
///
/// # Errors
/// What ends the session: the NOTIFICATION to answer with and a text for the log. An error in a NOTIFICATION cannot occur.
pub fn decode<'a>(message: &'a [u8], codec: &Codec) -> Result<Message<'a>, MessageError> {
    let cut = || {
        let len = u16::try_from(message.len()).unwrap_or(u16::MAX).to_be_bytes().to_vec();
        MessageError::new(Notification::header(HeaderError::BadLength, len), "a message is cut short")
    };
    let frame = header::frame(message, codec.max_len())
        .map_err(|notification| MessageError::new(notification, "header"))?
        .ok_or_else(cut)?;
    let body = message.get(HEADER_LEN..frame.len).ok_or_else(cut)?;
    Ok(match frame.kind {
        MessageType::Open => Message::Open(Open::decode(body)?),
        MessageType::Update => Message::Update(UpdateView::decode(body, codec)?),
        MessageType::Notification => Message::Notification(Notification::decode(body)),
        MessageType::Keepalive => Message::Keepalive,
        MessageType::RouteRefresh => Message::RouteRefresh(RouteRefresh::decode(body, message)?),
    })
}
