//! What the bytes of a session depend on once both OPEN messages are known.

use crate::family::{Family, PerFamily};

/// The negotiated form of messages after OPEN. The default is a plain RFC 4271 session with 4-octet AS numbers, IPv4 only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Codec {
    /// AS numbers in AS_PATH and AGGREGATOR have four octets (RFC 6793 §4).
    pub four_octet_as: bool,
    /// Families whose routes may stand in messages (RFC 4760 §8); others are skipped on receipt.
    pub families: PerFamily<bool>,
    /// NLRI received carry a path identifier (RFC 7911 §3).
    pub add_path_receive: PerFamily<bool>,
    /// NLRI sent carry a path identifier (RFC 7911 §3).
    pub add_path_send: PerFamily<bool>,
    /// Messages up to 65535 octets (RFC 8654).
    pub extended_messages: bool,
    /// IPv4 routes may have an IPv6 next hop (RFC 8950).
    pub extended_next_hop: bool,
    /// The peer is in another AS: LOCAL_PREF and the reflection attributes are ignored (RFC 7606 §7.5, §7.9, §7.10).
    pub external: bool,
}

impl Default for Codec {
    fn default() -> Self {
        Codec {
            four_octet_as: true,
            families: PerFamily { ipv4: true, ipv6: false },
            add_path_receive: PerFamily::default(),
            add_path_send: PerFamily::default(),
            extended_messages: false,
            extended_next_hop: false,
            external: false,
        }
    }
}

impl Codec {
    /// Longest message in octets, header included (RFC 4271 §4.1, RFC 8654 §4).
    pub fn max_len(&self) -> usize {
        if self.extended_messages { crate::header::MAX_EXTENDED_LEN } else { crate::header::MAX_LEN }
    }

    /// Whether routes of this family may be exchanged.
    pub fn carries(&self, family: Family) -> bool {
        *self.families.get(family)
    }
}
