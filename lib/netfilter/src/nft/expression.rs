//! The expressions a rule is made of (`linux/netfilter/nf_tables.h`); `expression_codec.rs` has their bytes.

use super::data::{Register, Verdict};
use super::keys::{CtKey, FibResult, LogLevel, MetaKey, PayloadBase, Reject};

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// =
    Equal,
    /// ≠
    NotEqual,
    /// <
    Less,
    /// ≤
    LessOrEqual,
    /// >
    Greater,
    /// ≥
    GreaterOrEqual,
}

/// Whether network address translation changes the source or the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NatKind {
    /// SNAT
    Source,
    /// DNAT
    Destination,
}

/// What a rule does to a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SetUpdate {
    /// Adds the element where it is missing.
    Add,
    /// Adds it or renews its timeout.
    Update,
    /// Removes it.
    Delete,
}

/// One expression.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Expression {
    /// Loads something about the packet.
    Meta {
        /// What.
        key: MetaKey,
        /// Where to.
        to: Register,
    },
    /// Sets something about the packet, such as its mark.
    SetMeta {
        /// What.
        key: MetaKey,
        /// Where from.
        from: Register,
    },
    /// Loads bytes of the packet.
    Payload {
        /// Counted from here.
        base: PayloadBase,
        /// First byte.
        offset: u32,
        /// Number of bytes.
        len: u32,
        /// Where to.
        to: Register,
    },
    /// Compares a register; the rule ends where it does not hold.
    Compare {
        /// The register.
        from: Register,
        /// How.
        op: Comparison,
        /// With what.
        value: Vec<u8>,
    },
    /// `to = (from & mask) ^ xor`; all of one length.
    Bitwise {
        /// The operand.
        from: Register,
        /// The result.
        to: Register,
        /// Bits that are kept.
        mask: Vec<u8>,
        /// Bits that are turned.
        xor: Vec<u8>,
    },
    /// Whether a value lies in a range, both ends included.
    Range {
        /// The register.
        from: Register,
        /// Whether it must lie outside.
        outside: bool,
        /// Lower end.
        low: Vec<u8>,
        /// Upper end.
        high: Vec<u8>,
    },
    /// Looks a key up in a set or map of the same table.
    Lookup {
        /// Its name.
        set: String,
        /// The key.
        from: Register,
        /// Where a map's data goes; `Some(None)` takes it as the verdict, `None` is a set.
        to: Option<MapTarget>,
        /// Matches what is not in the set.
        invert: bool,
    },
    /// Loads a value.
    Immediate {
        /// Where to.
        to: Register,
        /// The value.
        value: Vec<u8>,
    },
    /// Decides.
    Verdict(Verdict),
    /// Loads something of the packet's connection.
    Ct {
        /// What.
        key: CtKey,
        /// 0 original, 1 reply; for keys that have one.
        direction: Option<u8>,
        /// Where to.
        to: Register,
    },
    /// Sets something of the packet's connection.
    SetCt {
        /// What.
        key: CtKey,
        /// Where from.
        from: Register,
    },
    /// Counts.
    Counter {
        /// Packets so far.
        packets: u64,
        /// Bytes so far.
        bytes: u64,
    },
    /// Writes to the kernel's log.
    Log {
        /// Put before each line.
        prefix: Option<String>,
        /// Severity.
        level: LogLevel,
    },
    /// Hands a copy to a listener of an NFLOG group.
    LogGroup {
        /// Which.
        group: u16,
        /// Put with each packet.
        prefix: Option<String>,
        /// Bytes of the packet; all when `None`.
        snaplen: Option<u32>,
    },
    /// Drops and tells the sender.
    Reject(Reject),
    /// Translates addresses or ports, taken from registers.
    Nat {
        /// Source or destination.
        kind: NatKind,
        /// `NFPROTO_IPV4` 2 or `NFPROTO_IPV6` 10.
        family: u8,
        /// Lowest and highest address.
        addresses: Option<(Register, Register)>,
        /// Lowest and highest port.
        ports: Option<(Register, Register)>,
        /// `NF_NAT_RANGE_*` beside those that follow from addresses and ports.
        flags: u32,
    },
    /// Source translation to the address of the outgoing link.
    Masquerade {
        /// `NF_NAT_RANGE_*` beside the one that follows from ports.
        flags: u32,
        /// Lowest and highest port.
        ports: Option<(Register, Register)>,
    },
    /// Asks the routing table.
    Fib {
        /// What is asked.
        result: FibResult,
        /// `NFTA_FIB_F_*`: 1 source, 2 destination, 4 mark, 8 in-interface, 16 out-interface, 32 presence only.
        flags: u32,
        /// Where to.
        to: Register,
    },
    /// Matches up to a rate.
    Limit {
        /// Packets or bytes in a unit.
        rate: u64,
        /// Seconds of a unit.
        unit: u64,
        /// More that may come at once.
        burst: u32,
        /// Bytes instead of packets.
        bytes: bool,
        /// Matches what is over the rate.
        over: bool,
    },
    /// Matches up to a number of connections.
    ConnLimit {
        /// The number.
        count: u32,
        /// Matches what is over it.
        over: bool,
    },
    /// The packet is not tracked.
    Notrack,
    /// Changes a set as packets pass.
    UpdateSet {
        /// Its name.
        set: String,
        /// How.
        op: SetUpdate,
        /// The key.
        key: Register,
        /// The data of a map.
        data: Option<Register>,
        /// Milliseconds until the element goes.
        timeout: Option<u64>,
        /// What each element carries, such as a limit.
        expressions: Vec<Expression>,
    },
    /// Uses a named counter, quota or limit.
    Object {
        /// `NFT_OBJECT_*`.
        kind: u32,
        /// Its name.
        name: String,
    },
    /// Changes the order of bytes.
    ByteOrder {
        /// The operand.
        from: Register,
        /// The result.
        to: Register,
        /// Host to network; else the other way.
        to_network: bool,
        /// Bytes in all.
        len: u32,
        /// Bytes of each value.
        size: u32,
    },
    /// One we do not write: kept as it is, so that a foreign rule in a chain of ours is seen as what it is.
    Unknown {
        /// Name.
        name: String,
        /// Its attributes.
        data: Vec<u8>,
    },
}

/// Where the data of a map goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MapTarget {
    /// It is the verdict.
    Verdict,
    /// A register.
    Register(Register),
}

impl Expression {
    /// A counter at zero.
    pub fn counter() -> Self {
        Expression::Counter { packets: 0, bytes: 0 }
    }

    /// The same with counters at zero, as rules are compared.
    pub fn without_counts(mut self) -> Self {
        match &mut self {
            Expression::Counter { packets, bytes } => {
                *packets = 0;
                *bytes = 0;
            }
            Expression::UpdateSet { expressions, .. } => {
                *expressions = std::mem::take(expressions).into_iter().map(Self::without_counts).collect();
            }
            _ => {}
        }
        self
    }

    /// The kernel's name of it.
    pub fn name(&self) -> &str {
        match self {
            Expression::Meta { .. } | Expression::SetMeta { .. } => "meta",
            Expression::Payload { .. } => "payload",
            Expression::Compare { .. } => "cmp",
            Expression::Bitwise { .. } => "bitwise",
            Expression::Range { .. } => "range",
            Expression::Lookup { .. } => "lookup",
            Expression::Immediate { .. } | Expression::Verdict(_) => "immediate",
            Expression::Ct { .. } | Expression::SetCt { .. } => "ct",
            Expression::Counter { .. } => "counter",
            Expression::Log { .. } | Expression::LogGroup { .. } => "log",
            Expression::Reject(_) => "reject",
            Expression::Nat { .. } => "nat",
            Expression::Masquerade { .. } => "masq",
            Expression::Fib { .. } => "fib",
            Expression::Limit { .. } => "limit",
            Expression::ConnLimit { .. } => "connlimit",
            Expression::Notrack => "notrack",
            Expression::UpdateSet { .. } => "dynset",
            Expression::Object { .. } => "objref",
            Expression::ByteOrder { .. } => "byteorder",
            Expression::Unknown { name, .. } => name,
        }
    }
}
