//! OPEN (RFC 4271 §4.2) with its capabilities, in the plain and in the extended form (RFC 9072).

use crate::capability::Capability;
use crate::header::{self, MessageType};
use crate::notification::{MessageError, Notification, OpenError};
use std::net::Ipv4Addr;

/// What stands for an AS number that does not fit into two octets (RFC 6793 §9).
pub const AS_TRANS: u16 = 23456;

/// The only version there is.
const VERSION: u8 = 4;
/// Optional parameter that holds capabilities (RFC 5492 §4).
const PARAMETER_CAPABILITIES: u8 = 2;
/// Non-extended length and type of RFC 9072 §2.
const EXTENDED: u8 = 255;

/// An OPEN message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Open {
    /// The two-octet field; [`Open::asn`] is the AS number that counts.
    pub my_as: u16,
    /// Seconds; 0 or at least 3.
    pub hold_time: u16,
    /// BGP identifier, not zero (RFC 6286).
    pub router_id: Ipv4Addr,
    /// In the order they came.
    pub capabilities: Vec<Capability>,
}

impl Open {
    /// An OPEN of this AS: the two-octet field and, if `four_octet_as`, the capability of RFC 6793 are set accordingly.
    pub fn new(asn: u32, hold_time: u16, router_id: Ipv4Addr, capabilities: Vec<Capability>) -> Self {
        let my_as = u16::try_from(asn).unwrap_or(AS_TRANS);
        Open { my_as, hold_time, router_id, capabilities }
    }

    /// The speaker's AS number: that of the 4-octet capability, else the two-octet field.
    pub fn asn(&self) -> u32 {
        let four = self.capabilities.iter().find_map(|capability| match capability {
            Capability::FourOctetAs(asn) => Some(*asn),
            _ => None,
        });
        four.unwrap_or_else(|| self.my_as.into())
    }

    /// Decodes the body of an OPEN.
    ///
    /// # Errors
    /// RFC 4271 §6.2: version, AS 0 (RFC 7607), identifier 0, hold time 1 or 2, an unknown parameter, lengths that do not fit.
    pub(crate) fn decode(body: &[u8]) -> Result<Self, MessageError> {
        let malformed = |detail: &str| {
            MessageError::new(
                Notification::open(OpenError::Unspecific, Vec::new()),
                format!("OPEN: {detail}"),
            )
        };
        let Some((fixed, rest)) = body.split_first_chunk::<10>() else {
            return Err(malformed("shorter than its fixed fields"));
        };
        let [version, a, b, h, l, i, j, k, m, opt_len] = *fixed;
        if version != VERSION {
            return Err(MessageError::new(
                Notification::open(OpenError::UnsupportedVersion, u16::from(VERSION).to_be_bytes().to_vec()),
                format!("OPEN: version {version}, only {VERSION} is spoken"),
            ));
        }
        let parameters = parameters(opt_len, rest).ok_or_else(|| malformed("optional parameters length"))?;
        let open = Open {
            my_as: u16::from_be_bytes([a, b]),
            hold_time: u16::from_be_bytes([h, l]),
            router_id: Ipv4Addr::new(i, j, k, m),
            capabilities: parameters.capabilities()?,
        };
        if open.my_as == 0 || open.asn() == 0 {
            return Err(MessageError::new(
                Notification::open(OpenError::BadPeerAs, Vec::new()),
                "OPEN: AS number 0 (RFC 7607)",
            ));
        }
        if open.router_id.is_unspecified() {
            return Err(MessageError::new(
                Notification::open(OpenError::BadIdentifier, Vec::new()),
                "OPEN: BGP identifier 0.0.0.0",
            ));
        }
        if matches!(open.hold_time, 1 | 2) {
            return Err(MessageError::new(
                Notification::open(OpenError::UnacceptableHoldTime, Vec::new()),
                format!("OPEN: hold time {} s, must be 0 or at least 3", open.hold_time),
            ));
        }
        Ok(open)
    }

    /// Appends the whole message: one parameter with all capabilities, in the extended form only where it must be.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut capabilities = Vec::new();
        for capability in &self.capabilities {
            capability.encode(&mut capabilities);
        }
        header::write(out, MessageType::Open, |out| {
            out.push(VERSION);
            out.extend_from_slice(&self.my_as.to_be_bytes());
            out.extend_from_slice(&self.hold_time.to_be_bytes());
            out.extend_from_slice(&self.router_id.octets());
            match (u8::try_from(capabilities.len() + 2), u8::try_from(capabilities.len())) {
                _ if capabilities.is_empty() => out.push(0),
                (Ok(whole), Ok(inner)) if whole < EXTENDED => {
                    out.extend_from_slice(&[whole, PARAMETER_CAPABILITIES, inner]);
                }
                _ => {
                    let len = u16::try_from(capabilities.len()).unwrap_or(u16::MAX);
                    out.extend_from_slice(&[EXTENDED, EXTENDED]);
                    out.extend_from_slice(&len.saturating_add(3).to_be_bytes());
                    out.push(PARAMETER_CAPABILITIES);
                    out.extend_from_slice(&len.to_be_bytes());
                }
            }
            out.extend_from_slice(&capabilities);
        });
    }
}

/// The optional parameters and how long their length fields are.
struct Parameters<'a> {
    bytes: &'a [u8],
    extended: bool,
}

/// Finds the parameters; `None` where a length does not fit the message.
fn parameters(opt_len: u8, rest: &[u8]) -> Option<Parameters<'_>> {
    match rest {
        [EXTENDED, high, low, bytes @ ..] if opt_len != 0 => {
            let len = usize::from(u16::from_be_bytes([*high, *low]));
            (len == bytes.len()).then_some(Parameters { bytes, extended: true })
        }
        bytes => (usize::from(opt_len) == bytes.len()).then_some(Parameters { bytes, extended: false }),
    }
}

impl Parameters<'_> {
    fn capabilities(&self) -> Result<Vec<Capability>, MessageError> {
        let malformed = |detail: &str| {
            MessageError::new(
                Notification::open(OpenError::Unspecific, Vec::new()),
                format!("OPEN: {detail}"),
            )
        };
        let (mut capabilities, mut bytes) = (Vec::new(), self.bytes);
        while !bytes.is_empty() {
            let (kind, len, rest) = match (self.extended, bytes) {
                (false, [kind, len, rest @ ..]) => (*kind, usize::from(*len), rest),
                (true, [kind, high, low, rest @ ..]) => {
                    (*kind, usize::from(u16::from_be_bytes([*high, *low])), rest)
                }
                _ => return Err(malformed("a parameter is cut short")),
            };
            let (mut value, rest) =
                rest.split_at_checked(len).ok_or_else(|| malformed("a parameter runs over the end"))?;
            bytes = rest;
            if kind != PARAMETER_CAPABILITIES {
                return Err(MessageError::new(
                    Notification::open(OpenError::UnsupportedParameter, Vec::new()),
                    format!(
                        "OPEN: optional parameter {kind}, only {PARAMETER_CAPABILITIES} (capabilities) is known"
                    ),
                ));
            }
            while let [code, len, rest @ ..] = value {
                let (inner, rest) = rest
                    .split_at_checked(usize::from(*len))
                    .ok_or_else(|| malformed("a capability runs over its parameter"))?;
                capabilities.push(Capability::decode(*code, inner));
                value = rest;
            }
            if !value.is_empty() {
                return Err(malformed("a capability is cut short"));
            }
        }
        Ok(capabilities)
    }
}
