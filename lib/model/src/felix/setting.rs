//! A parameter's value, read.

use crate::net::Cidr;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Setting {
    /// No source says anything, and there is no default: the agent finds out by itself, or does without.
    Unset,
    /// True or false.
    Bool(bool),
    /// Number, also of a mask or a DSCP value.
    Int(i64),
    /// Time.
    Duration(Duration),
    /// Text; a word of a list as the list writes it.
    Text(String),
    /// Address.
    Address(IpAddr),
    /// List of texts.
    Texts(Vec<String>),
    /// List of CIDRs, without host bits.
    Cidrs(Vec<Cidr>),
    /// First and last port.
    PortRange(u16, u16),
    /// Several of them.
    PortRanges(Vec<(u16, u16)>),
    /// Ports that no policy closes.
    FailsafePorts(Vec<FailsafePort>),
    /// First and last routing table.
    TableRanges(Vec<(u32, u32)>),
    /// Names with values.
    Pairs(BTreeMap<String, String>),
    /// Names with times.
    Timeouts(BTreeMap<String, Duration>),
}

/// A port that no policy closes, for peers in one network or all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FailsafePort {
    /// Protocol, in small letters.
    pub protocol: String,
    /// Only for peers in here; everywhere when `None`.
    pub net: Option<Cidr>,
    /// Port.
    pub port: u16,
}

impl FailsafePort {
    /// Reads `[protocol:[cidr:]]port`; TCP where no protocol is given. An IPv6 network may stand in brackets.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (before, port) = text.rsplit_once(':').unwrap_or(("tcp", text));
        let port = port.parse().ok()?;
        let (protocol, net) = match before.split_once(':') {
            Some((protocol, net)) => {
                let inner = net.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(net);
                (protocol, Some(Cidr::parse_masked(inner).ok()?))
            }
            None => (before, None),
        };
        let protocol = protocol.to_ascii_lowercase();
        matches!(protocol.as_str(), "tcp" | "udp" | "sctp").then_some(Self { protocol, net, port })
    }
}
