//! ROUTE-REFRESH (RFC 2918) and the markers of enhanced refresh (RFC 7313).

use crate::capability::AfiSafi;
use crate::header::{self, MessageType};
use crate::notification::{MessageError, Notification, RefreshError};

/// The former reserved octet (RFC 7313 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefreshSubtype {
    /// 0: please send everything again.
    Request,
    /// 1: Beginning of Route Refresh.
    Begin,
    /// 2: End of Route Refresh.
    End,
    /// Others are ignored by their receiver.
    Other(u8),
}

/// A ROUTE-REFRESH message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RouteRefresh {
    /// The family; an unknown one is ignored by its receiver.
    pub family: AfiSafi,
    /// What it says.
    pub subtype: RefreshSubtype,
}

impl RouteRefresh {
    /// Decodes the body; `message` is the whole message.
    ///
    /// # Errors
    /// BoRR and EoRR of another length (RFC 7313 §5). A longer request carries outbound route filters (RFC 5291), which we
    /// have not offered: the family is refreshed without them.
    pub(crate) fn decode(body: &[u8], message: &[u8]) -> Result<Self, MessageError> {
        let invalid = |detail: String| {
            MessageError::new(Notification::refresh(RefreshError::InvalidLength, message), detail)
        };
        let [a, b, subtype, safi, rest @ ..] = body else {
            return Err(invalid(format!("ROUTE-REFRESH of {} octets", message.len())));
        };
        let subtype = match subtype {
            0 => RefreshSubtype::Request,
            1 => RefreshSubtype::Begin,
            2 => RefreshSubtype::End,
            other => RefreshSubtype::Other(*other),
        };
        if !rest.is_empty() && matches!(subtype, RefreshSubtype::Begin | RefreshSubtype::End) {
            return Err(invalid(format!(
                "ROUTE-REFRESH {subtype:?} of {} octets, must be 23",
                message.len()
            )));
        }
        Ok(RouteRefresh { family: AfiSafi { afi: u16::from_be_bytes([*a, *b]), safi: *safi }, subtype })
    }

    /// Appends the whole message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let subtype = match self.subtype {
            RefreshSubtype::Request => 0,
            RefreshSubtype::Begin => 1,
            RefreshSubtype::End => 2,
            RefreshSubtype::Other(other) => other,
        };
        header::write(out, MessageType::RouteRefresh, |out| {
            out.extend_from_slice(&self.family.afi.to_be_bytes());
            out.extend_from_slice(&[subtype, self.family.safi]);
        });
    }
}
