//! What expressions can ask for, by the kernel's numbers.

/// An enumeration of the kernel: a variant and its number a line.
macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $number:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$of])* $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &[$name] = &[$($name::$variant,)*];

            /// The kernel's number.
            pub fn number(self) -> u32 {
                match self {
                    $($name::$variant => $number,)*
                }
            }

            /// By the kernel's number; `None` for one we do not use.
            pub fn from_number(number: u32) -> Option<Self> {
                match number {
                    $($number => Some($name::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

numbered! {
    /// What is known about a packet (`NFT_META_*`).
    MetaKey {
        /// Length in bytes.
        Length = 0,
        /// Ethertype.
        Protocol = 1,
        /// Priority.
        Priority = 2,
        /// Mark, in host order.
        Mark = 3,
        /// Index of the incoming link, in host order.
        InIndex = 4,
        /// Index of the outgoing link, in host order.
        OutIndex = 5,
        /// Name of the incoming link, 16 bytes.
        InName = 6,
        /// Name of the outgoing link, 16 bytes.
        OutName = 7,
        /// User of the socket.
        SocketUser = 10,
        /// Whether rules passed are reported.
        Trace = 12,
        /// `NFPROTO_*`, one byte.
        NetworkProtocol = 15,
        /// Protocol above IP, one byte.
        TransportProtocol = 16,
        /// Unicast, broadcast, multicast.
        PacketType = 19,
        /// Group of the incoming link.
        InGroup = 21,
        /// Group of the outgoing link.
        OutGroup = 22,
        /// Kind of the incoming link.
        InKind = 26,
        /// Kind of the outgoing link.
        OutKind = 27,
    }
}

numbered! {
    /// What is known about a connection (`NFT_CT_*`).
    CtKey {
        /// `NF_CT_STATE_*` bits, in host order: 1 invalid, 2 established, 4 related, 8 new, 64 untracked.
        State = 0,
        /// 0 original, 1 reply.
        Direction = 1,
        /// `IPS_*` bits, in host order: 16 source translated, 32 destination translated.
        Status = 2,
        /// Mark, in host order.
        Mark = 3,
        /// Protocol of the network layer.
        NetworkProtocol = 7,
        /// Protocol above IP.
        Protocol = 10,
        /// Source port of a direction.
        SourcePort = 11,
        /// Destination port of a direction.
        DestinationPort = 12,
        /// Packets.
        Packets = 14,
        /// Bytes.
        Bytes = 15,
        /// Zone.
        Zone = 17,
        /// IPv4 source of a direction.
        SourceV4 = 19,
        /// IPv4 destination of a direction.
        DestinationV4 = 20,
        /// IPv6 source of a direction.
        SourceV6 = 21,
        /// IPv6 destination of a direction.
        DestinationV6 = 22,
    }
}

numbered! {
    /// Where a packet's bytes are counted from (`NFT_PAYLOAD_*`).
    PayloadBase {
        /// Link layer.
        Link = 0,
        /// IP.
        Network = 1,
        /// TCP, UDP, ICMP, …
        Transport = 2,
    }
}

numbered! {
    /// What the routing table is asked for (`NFT_FIB_RESULT_*`).
    FibResult {
        /// Index of the outgoing link.
        OutIndex = 1,
        /// Its name.
        OutName = 2,
        /// Type of the address: 1 unicast, 2 local, 3 broadcast, …
        AddressType = 3,
    }
}

numbered! {
    /// Severity of a log line (`NFT_LOGLEVEL_*`).
    LogLevel {
        /// Unusable.
        Emergency = 0,
        /// Act at once.
        Alert = 1,
        /// Critical.
        Critical = 2,
        /// Error.
        Error = 3,
        /// Warning, nft's default.
        Warning = 4,
        /// Notice.
        Notice = 5,
        /// Information.
        Info = 6,
        /// Debugging.
        Debug = 7,
        /// The audit subsystem.
        Audit = 8,
    }
}

/// How the sender of a rejected packet is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reject {
    /// An ICMP or ICMPv6 "unreachable" with this code of the packet's own family.
    Unreachable(u8),
    /// A TCP reset.
    TcpReset,
    /// One code for both families: 0 no route, 1 port, 2 host, 3 administratively prohibited.
    AnyFamily(u8),
}

impl Reject {
    pub(crate) fn numbers(self) -> (u32, Option<u8>) {
        match self {
            Reject::Unreachable(code) => (0, Some(code)),
            Reject::TcpReset => (1, None),
            Reject::AnyFamily(code) => (2, Some(code)),
        }
    }

    pub(crate) fn from_numbers(kind: u32, code: Option<u8>) -> Option<Self> {
        match kind {
            0 => Some(Reject::Unreachable(code.unwrap_or(0))),
            1 => Some(Reject::TcpReset),
            2 => Some(Reject::AnyFamily(code.unwrap_or(0))),
            _ => None,
        }
    }
}
