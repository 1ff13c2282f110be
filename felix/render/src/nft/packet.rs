//! Expressions about a packet, and what becomes of it.

use crate::form::End;
use crate::settings::Deny;
use model::net::{Cidr, Family};
use netfilter::nft::{
    Comparison, CtKey, DataType, Expression, Family as Table, MapTarget, MetaKey, PayloadBase, Register,
    Reject, Verdict,
};
use std::net::IpAddr;

/// Where single values are loaded.
pub const R: Register = Register::FIRST;

/// Bits of a connection's state (`NF_CT_STATE_*`).
pub const INVALID: u32 = 1;
/// Established or related.
pub const KNOWN: u32 = 2 | 4;
/// Not tracked: there is no connection, and nothing about one can be asked.
pub const UNTRACKED: u32 = 64;
/// `IPS_DST_NAT` of a connection's status.
pub const DNAT: u32 = 32;

/// The table of a family.
pub fn table(family: Family) -> Table {
    match family {
        Family::V4 => Table::Ipv4,
        Family::V6 => Table::Ipv6,
    }
}

/// Type of an address in set keys.
pub fn address_type(family: Family) -> DataType {
    match family {
        Family::V4 => DataType::IPV4,
        Family::V6 => DataType::IPV6,
    }
}

/// Bytes of an address.
pub fn bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// The last address of a network.
pub fn last(net: &Cidr) -> IpAddr {
    net.nth(net.size() - 1).unwrap_or_else(|| model::net::from_number(net.family(), u128::MAX))
}

/// Words of a register an address takes.
pub fn words(family: Family) -> u8 {
    family.bits() / 32
}

/// Loads an address.
pub fn address(family: Family, end: End, to: Register) -> Expression {
    let (source, len) = match family {
        Family::V4 => (12, 4),
        Family::V6 => (8, 16),
    };
    let offset = match end {
        End::Source => source,
        End::Destination => source + len,
    };
    Expression::Payload { base: PayloadBase::Network, offset, len, to }
}

/// Loads the protocol above IP.
pub fn protocol(to: Register) -> Expression {
    Expression::Meta { key: MetaKey::TransportProtocol, to }
}

/// Loads a port.
pub fn port(end: End, to: Register) -> Expression {
    let offset = match end {
        End::Source => 0,
        End::Destination => 2,
    };
    Expression::Payload { base: PayloadBase::Transport, offset, len: 2, to }
}

/// Compares what was loaded.
pub fn compare(op: Comparison, value: impl Into<Vec<u8>>) -> Expression {
    Expression::Compare { from: R, op, value: value.into() }
}

/// It is this, or it is not.
pub fn is(value: impl Into<Vec<u8>>, negated: bool) -> Expression {
    compare(if negated { Comparison::NotEqual } else { Comparison::Equal }, value)
}

/// The protocol is this one.
pub fn protocol_is(number: u8, negated: bool) -> [Expression; 2] {
    [protocol(R), is([number], negated)]
}

/// What was loaded is in a set of this name, or it is not.
pub fn in_set(set: &str, invert: bool) -> Expression {
    Expression::Lookup { set: set.to_owned(), from: R, to: None, invert }
}

/// A verdict map decides by what was loaded.
pub fn vmap(map: &str) -> Expression {
    Expression::Lookup { set: map.to_owned(), from: R, to: Some(MapTarget::Verdict), invert: false }
}

/// Keeps the first bits of the address that was loaded.
pub fn masked(family: Family, prefix: u8) -> Expression {
    let len = usize::from(family.bits() / 8);
    let mask = |byte: usize| {
        let bits = usize::from(prefix).saturating_sub(byte * 8).min(8);
        u8::try_from(0xff00_u32 >> bits & 0xff).unwrap_or(0)
    };
    Expression::Bitwise { from: R, to: R, mask: (0..len).map(mask).collect(), xor: vec![0; len] }
}

/// One of these bits of the connection's state or status is set, or none is.
pub fn ct_bits(key: CtKey, bits: u32, none: bool) -> [Expression; 3] {
    [Expression::Ct { key, direction: None, to: R }, bits_of(bits), is([0; 4], !none)]
}

/// The bit of the packet's mark is set.
pub fn marked(bit: u32) -> [Expression; 3] {
    [Expression::Meta { key: MetaKey::Mark, to: R }, bits_of(bit), compare(Comparison::NotEqual, [0; 4])]
}

/// Sets the bit of the packet's mark, or clears it.
pub fn mark(bit: u32, set: bool) -> [Expression; 3] {
    let xor = if set { bit } else { 0 };
    [
        Expression::Meta { key: MetaKey::Mark, to: R },
        Expression::Bitwise {
            from: R,
            to: R,
            mask: (!bit).to_ne_bytes().to_vec(),
            xor: xor.to_ne_bytes().to_vec(),
        },
        Expression::SetMeta { key: MetaKey::Mark, from: R },
    ]
}

fn bits_of(bits: u32) -> Expression {
    Expression::Bitwise { from: R, to: R, mask: bits.to_ne_bytes().to_vec(), xor: vec![0; 4] }
}

/// Which of a packet's interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// By which it came.
    In,
    /// By which it leaves.
    Out,
}

impl Link {
    /// Loads its name.
    pub fn load(self) -> Expression {
        let key = match self {
            Link::In => MetaKey::InName,
            Link::Out => MetaKey::OutName,
        };
        Expression::Meta { key, to: R }
    }

    /// Its name begins so.
    pub fn begins(self, prefix: &str) -> [Expression; 2] {
        [self.load(), is(prefix, false)]
    }

    /// It is this one.
    pub fn is(self, name: &str) -> [Expression; 2] {
        [self.load(), is(interface(name), false)]
    }
}

/// An interface's name as a key.
pub fn interface(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(16, 0);
    bytes
}

/// Passes the packet on to whatever comes after this base chain.
pub fn accept() -> Expression {
    Expression::Verdict(Verdict::Accept)
}

/// Drops it.
pub fn drop() -> Expression {
    Expression::Verdict(Verdict::Drop)
}

/// Calls a chain.
pub fn jump(chain: &str) -> Expression {
    Expression::Verdict(Verdict::Jump(chain.to_owned()))
}

/// Goes to a chain for good.
pub fn goto(chain: &str) -> Expression {
    Expression::Verdict(Verdict::Goto(chain.to_owned()))
}

/// Denies it; the sender is told "port unreachable", as upstream does.
pub fn deny(family: Family, how: Deny) -> Expression {
    match (how, family) {
        (Deny::Drop, _) => drop(),
        (Deny::Reject, Family::V4) => Expression::Reject(Reject::Unreachable(3)),
        (Deny::Reject, Family::V6) => Expression::Reject(Reject::Unreachable(4)),
    }
}
