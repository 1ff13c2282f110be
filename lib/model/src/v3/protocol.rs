//! IP protocols as resources name them. Source: `resources.md` §0.1 of the contract.

use serde::{Deserialize, Serialize};

/// An IP protocol: a name or a number.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Protocol {
    /// IP protocol number.
    Number(u8),
    /// `TCP`, `UDP`, `SCTP`, …
    Name(String),
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Protocol::Number(number) => write!(f, "{number}"),
            Protocol::Name(name) => f.write_str(name),
        }
    }
}

impl Default for Protocol {
    fn default() -> Self {
        Protocol::Name(String::new())
    }
}

impl Protocol {
    /// The IP protocol number; `None` for names Calico does not know. Case does not matter, as in old objects.
    pub fn number(&self) -> Option<u8> {
        const NAMES: [(&str, u8); 6] =
            [("TCP", 6), ("UDP", 17), ("ICMP", 1), ("ICMPv6", 58), ("SCTP", 132), ("UDPLite", 136)];
        match self {
            Protocol::Number(number) => Some(*number),
            Protocol::Name(name) => {
                NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, number)| *number)
            }
        }
    }

    /// Whether packets of the protocol carry ports.
    pub fn has_ports(&self) -> bool {
        matches!(self.number(), Some(6 | 17 | 132))
    }
}
