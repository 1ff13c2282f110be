//! NOTIFICATION: why a session ends (RFC 4271 §4.5, §6), with names for people.

use std::fmt;

/// Code, subcode and data of a NOTIFICATION.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Notification {
    /// Error code.
    pub code: u8,
    /// Error subcode; 0 is "unspecific".
    pub subcode: u8,
    /// What the code and subcode say it is.
    pub data: Vec<u8>,
}

macro_rules! subcodes {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $number:literal, $text:literal;)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$vmeta])* #[doc = $text] $variant,)*
        }

        impl $name {
            /// Its number on the wire.
            pub fn number(self) -> u8 {
                match self { $($name::$variant => $number,)* }
            }

            fn text(number: u8) -> Option<&'static str> {
                match number { $($number => Some($text),)* _ => None }
            }
        }
    };
}

subcodes! {
    /// Subcodes of code 1 (RFC 4271 §6.1).
    HeaderError {
        NotSynchronized = 1, "Connection Not Synchronized";
        BadLength = 2, "Bad Message Length";
        BadType = 3, "Bad Message Type";
    }
}
subcodes! {
    /// Subcodes of code 2 (RFC 4271 §6.2, RFC 5492 §5).
    OpenError {
        Unspecific = 0, "Unspecific";
        UnsupportedVersion = 1, "Unsupported Version Number";
        BadPeerAs = 2, "Bad Peer AS";
        BadIdentifier = 3, "Bad BGP Identifier";
        UnsupportedParameter = 4, "Unsupported Optional Parameter";
        UnacceptableHoldTime = 6, "Unacceptable Hold Time";
        UnsupportedCapability = 7, "Unsupported Capability";
    }
}
subcodes! {
    /// Subcodes of code 3 (RFC 4271 §6.3).
    UpdateError {
        MalformedAttributeList = 1, "Malformed Attribute List";
        UnrecognizedWellKnown = 2, "Unrecognized Well-known Attribute";
        MissingWellKnown = 3, "Missing Well-known Attribute";
        AttributeFlags = 4, "Attribute Flags Error";
        AttributeLength = 5, "Attribute Length Error";
        InvalidOrigin = 6, "Invalid ORIGIN Attribute";
        InvalidNextHop = 8, "Invalid NEXT_HOP Attribute";
        OptionalAttribute = 9, "Optional Attribute Error";
        InvalidNetwork = 10, "Invalid Network Field";
        MalformedAsPath = 11, "Malformed AS_PATH";
    }
}
subcodes! {
    /// Subcodes of code 5 (RFC 6608).
    FsmError {
        Unspecific = 0, "Unspecific";
        InOpenSent = 1, "Receive Unexpected Message in OpenSent State";
        InOpenConfirm = 2, "Receive Unexpected Message in OpenConfirm State";
        InEstablished = 3, "Receive Unexpected Message in Established State";
    }
}
subcodes! {
    /// Subcodes of code 6 (RFC 4486, RFC 8538).
    Cease {
        Unspecific = 0, "Unspecific";
        MaxPrefixes = 1, "Maximum Number of Prefixes Reached";
        AdministrativeShutdown = 2, "Administrative Shutdown";
        PeerDeconfigured = 3, "Peer De-configured";
        AdministrativeReset = 4, "Administrative Reset";
        ConnectionRejected = 5, "Connection Rejected";
        OtherConfigurationChange = 6, "Other Configuration Change";
        Collision = 7, "Connection Collision Resolution";
        OutOfResources = 8, "Out of Resources";
        HardReset = 9, "Hard Reset";
    }
}
subcodes! {
    /// Subcodes of code 7 (RFC 7313 §5).
    RefreshError {
        InvalidLength = 1, "Invalid Message Length";
    }
}

/// Longest text of a shutdown communication, in octets (RFC 9003 §2: the length is one octet).
const MAX_SHUTDOWN_TEXT: usize = 255;

impl Notification {
    /// Any code and subcode, without data.
    pub fn new(code: u8, subcode: u8) -> Self {
        Notification { code, subcode, data: Vec::new() }
    }

    /// Message Header Error.
    pub fn header(error: HeaderError, data: Vec<u8>) -> Self {
        Notification { code: 1, subcode: error.number(), data }
    }

    /// OPEN Message Error.
    pub fn open(error: OpenError, data: Vec<u8>) -> Self {
        Notification { code: 2, subcode: error.number(), data }
    }

    /// UPDATE Message Error.
    pub fn update(error: UpdateError, data: Vec<u8>) -> Self {
        Notification { code: 3, subcode: error.number(), data }
    }

    /// Hold Timer Expired.
    pub fn hold_timer_expired() -> Self {
        Notification::new(4, 0)
    }

    /// Finite State Machine Error.
    pub fn fsm(error: FsmError) -> Self {
        Notification::new(5, error.number())
    }

    /// Cease, without text.
    pub fn cease(reason: Cease) -> Self {
        Notification::new(6, reason.number())
    }

    /// Cease with a text for the neighbour's operator (RFC 9003); a text over 255 octets is cut at a character.
    pub fn shutdown(reason: Cease, text: &str) -> Self {
        let mut end = text.len().min(MAX_SHUTDOWN_TEXT);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = text.get(..end).unwrap_or_default();
        let mut data = vec![u8::try_from(end).unwrap_or(u8::MAX)];
        data.extend_from_slice(text.as_bytes());
        Notification { code: 6, subcode: reason.number(), data }
    }

    /// ROUTE-REFRESH Message Error (RFC 7313 §5); `message` is the whole offending message.
    pub fn refresh(error: RefreshError, message: &[u8]) -> Self {
        Notification { code: 7, subcode: error.number(), data: message.to_vec() }
    }

    /// This NOTIFICATION as a hard reset, which ends graceful restart's retention (RFC 8538 §3).
    pub fn hard_reset(&self) -> Self {
        let mut data = vec![self.code, self.subcode];
        data.extend_from_slice(&self.data);
        Notification { code: 6, subcode: Cease::HardReset.number(), data }
    }

    /// Whether it is Cease with this reason.
    pub fn is_cease(&self, reason: Cease) -> bool {
        self.code == 6 && self.subcode == reason.number()
    }

    /// What a hard reset carries inside (RFC 8538 §3.1); `None` for anything else.
    pub fn inside_hard_reset(&self) -> Option<Notification> {
        match self.data.as_slice() {
            [code, subcode, data @ ..] if self.is_cease(Cease::HardReset) => {
                Some(Notification { code: *code, subcode: *subcode, data: data.to_vec() })
            }
            _ => None,
        }
    }

    /// The text of a shutdown or reset (RFC 9003), bad UTF-8 replaced; `None` where there is none.
    pub fn shutdown_text(&self) -> Option<String> {
        let of_text =
            self.is_cease(Cease::AdministrativeShutdown) || self.is_cease(Cease::AdministrativeReset);
        let (len, rest) = self.data.split_first().filter(|_| of_text)?;
        let text = rest.get(..usize::from(*len)).filter(|text| !text.is_empty())?;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    /// Decodes the body of a NOTIFICATION; the frame has checked that code and subcode are there.
    pub(crate) fn decode(body: &[u8]) -> Self {
        match body {
            [code, subcode, data @ ..] => {
                Notification { code: *code, subcode: *subcode, data: data.to_vec() }
            }
            _ => Notification::new(body.first().copied().unwrap_or(0), 0),
        }
    }

    /// Appends the whole message. Data that would not fit into 4096 octets is cut.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let room = crate::header::MAX_LEN - crate::header::HEADER_LEN - 2;
        crate::header::write(out, crate::header::MessageType::Notification, |out| {
            out.extend_from_slice(&[self.code, self.subcode]);
            out.extend_from_slice(self.data.get(..room).unwrap_or(&self.data));
        });
    }

    /// The name of the code (IANA, RFC 4271 §4.5).
    pub fn code_name(&self) -> &'static str {
        match self.code {
            1 => "Message Header Error",
            2 => "OPEN Message Error",
            3 => "UPDATE Message Error",
            4 => "Hold Timer Expired",
            5 => "Finite State Machine Error",
            6 => "Cease",
            7 => "ROUTE-REFRESH Message Error",
            _ => "Unknown Error",
        }
    }

    /// The name of the subcode, where it has one.
    pub fn subcode_name(&self) -> Option<&'static str> {
        match self.code {
            1 => HeaderError::text(self.subcode),
            2 => OpenError::text(self.subcode),
            3 => UpdateError::text(self.subcode),
            5 => FsmError::text(self.subcode),
            6 => Cease::text(self.subcode),
            7 => RefreshError::text(self.subcode),
            _ => None,
        }
    }
}

impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code_name())?;
        match self.subcode_name() {
            Some(name) => write!(f, ": {name}")?,
            None if self.subcode != 0 => write!(f, ", subcode {}", self.subcode)?,
            None => {}
        }
        if let Some(inside) = self.inside_hard_reset() {
            write!(f, " ({inside})")?;
        }
        match self.shutdown_text() {
            Some(text) => write!(f, " {text:?}"),
            None => Ok(()),
        }
    }
}

/// A message that cannot be accepted: what to answer, and what was wrong in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{notification}: {detail}")]
pub struct MessageError {
    /// Ends the session.
    pub notification: Notification,
    /// Field and value, for the log.
    pub detail: String,
}

impl MessageError {
    pub(crate) fn new(notification: Notification, detail: impl Into<String>) -> Self {
        MessageError { notification, detail: detail.into() }
    }
}
