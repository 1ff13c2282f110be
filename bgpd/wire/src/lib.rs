//! BGP messages to and from bytes, and nothing else: no clock, no socket, no policy.
//!
//! A reader cuts its buffer with [`frame`], then calls [`decode`]. What the bytes mean after OPEN is a [`Codec`]. An UPDATE
//! is not unpacked: [`UpdateView`] walks over its routes where they lie, and gives the octets of its attributes, so that a
//! set already known is not read again. A writer appends to a `Vec<u8>`: [`UpdateEncoder`], [`Open::encode`] and the others.
//!
//! * [`header`]: framing. [`message`]: dispatch. [`open`], [`capability`], [`notification`], [`refresh`], [`update`],
//!   [`encode`]: the messages.
//! * [`table`]: one row an attribute; decoding, encoding, names and RFC 7606's actions follow from it.
//! * [`attributes`], [`as_path`]: what a route carries. [`prefix`], [`nlri`], [`family`]: what a route is about.

pub mod as_path;
pub mod attributes;
pub mod capability;
pub mod codec;
pub mod encode;
pub mod family;
pub mod header;
pub mod message;
pub mod nlri;
pub mod notification;
pub mod open;
pub mod prefix;
pub mod refresh;
pub mod table;
pub mod update;

pub use as_path::{AsPath, Segment, SegmentKind};
pub use attributes::{Aggregator, Attributes, Origin, RareAttributes, UnknownAttribute};
pub use capability::{AddPath, AfiSafi, Capability, GracefulRestart};
pub use codec::Codec;
pub use encode::{TooLong, UpdateEncoder, end_of_rib, keepalive};
pub use family::{Family, PerFamily};
pub use header::{Frame, HEADER_LEN, MAX_EXTENDED_LEN, MAX_LEN, MessageType, frame};
pub use message::{Message, decode};
pub use nlri::{NlriBytes, NlriIter};
pub use notification::{
    Cease, FsmError, HeaderError, MessageError, Notification, OpenError, RefreshError, UpdateError,
};
pub use open::{AS_TRANS, Open};
pub use prefix::{Ipv4Prefix, Ipv6Prefix, Nlri, Prefix};
pub use refresh::{RefreshSubtype, RouteRefresh};
pub use table::{Action, attribute_name};
pub use update::{Forgiven, Parsed, Reach, UpdateView};

#[cfg(test)]
mod tests;
