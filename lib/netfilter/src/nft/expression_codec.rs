//! Expressions to bytes and back.
//!
//! What the kernel dumps equals what was sent, expression by expression, but for counters: a driver compares rules as
//! values. Where the kernel fills in what was left out (the upper end of a NAT range), ours always says it.

use super::data::{Data, Register, read_value, write_value};
use super::expression::{Comparison, Expression, MapTarget, NatKind, SetUpdate};
use super::keys::{CtKey, FibResult, LogLevel, MetaKey, PayloadBase, Reject};
use crate::wire::{Attributes, Writer};

const COMPARISONS: [Comparison; 6] = [
    Comparison::Equal,
    Comparison::NotEqual,
    Comparison::Less,
    Comparison::LessOrEqual,
    Comparison::Greater,
    Comparison::GreaterOrEqual,
];

impl Expression {
    /// Writes name and attributes into an attribute of this type.
    pub(crate) fn write(&self, kind: u16, w: &mut Writer) {
        w.nested(kind, |w| {
            w.text(NAME, self.name());
            match self {
                Expression::Unknown { data, .. } => w.attribute(DATA | 0x8000, data),
                _ => w.nested(DATA, |w| self.write_attributes(w)),
            }
        });
    }

    fn write_attributes(&self, w: &mut Writer) {
        match self {
            Expression::Meta { key, to } => {
                w.be32(2, key.number());
                w.be32(1, to.number());
            }
            Expression::SetMeta { key, from } => {
                w.be32(2, key.number());
                w.be32(3, from.number());
            }
            Expression::Payload { base, offset, len, to } => {
                w.be32(1, to.number());
                w.be32(2, base.number());
                w.be32(3, *offset);
                w.be32(4, *len);
            }
            Expression::Compare { from, op, value } => {
                w.be32(1, from.number());
                w.be32(2, position(&COMPARISONS, op));
                write_value(3, value, w);
            }
            Expression::Bitwise { from, to, mask, xor } => {
                w.be32(1, from.number());
                w.be32(2, to.number());
                w.be32(3, length(mask));
                write_value(4, mask, w);
                write_value(5, xor, w);
            }
            Expression::Range { from, outside, low, high } => {
                w.be32(1, from.number());
                w.be32(2, u32::from(*outside));
                write_value(3, low, w);
                write_value(4, high, w);
            }
            Expression::Lookup { set, from, to, invert } => {
                w.text(1, set);
                w.be32(2, from.number());
                match to {
                    Some(MapTarget::Verdict) => w.be32(3, 0),
                    Some(MapTarget::Register(to)) => w.be32(3, to.number()),
                    None => {}
                }
                w.be32(5, u32::from(*invert));
            }
            Expression::Immediate { to, value } => {
                w.be32(1, to.number());
                write_value(2, value, w);
            }
            Expression::Verdict(verdict) => {
                w.be32(1, 0);
                Data::Verdict(verdict.clone()).write(2, w);
            }
            Expression::Ct { key, direction, to } => {
                w.be32(2, key.number());
                w.be32(1, to.number());
                if let Some(direction) = direction {
                    w.u8(3, *direction);
                }
            }
            Expression::SetCt { key, from } => {
                w.be32(2, key.number());
                w.be32(4, from.number());
            }
            Expression::Counter { packets, bytes } => {
                w.be64(1, *bytes);
                w.be64(2, *packets);
            }
            Expression::Log { prefix, level } => {
                if let Some(prefix) = prefix {
                    w.text(2, prefix);
                }
                w.be32(5, level.number());
            }
            Expression::LogGroup { group, prefix, snaplen } => {
                w.be16(1, *group);
                if let Some(prefix) = prefix {
                    w.text(2, prefix);
                }
                if let Some(snaplen) = snaplen {
                    w.be32(3, *snaplen);
                }
            }
            Expression::Reject(reject) => {
                let (kind, code) = reject.numbers();
                w.be32(1, kind);
                if let Some(code) = code {
                    w.u8(2, code);
                }
            }
            Expression::Nat { kind, family, addresses, ports, flags } => {
                w.be32(1, u32::from(*kind == NatKind::Destination));
                w.be32(2, u32::from(*family));
                write_range(w, (3, 4), *addresses);
                write_range(w, (5, 6), *ports);
                if *flags != 0 {
                    w.be32(7, *flags);
                }
            }
            Expression::Masquerade { flags, ports } => {
                // unlike for other translation the kernel leaves it to us to say that the ports count
                let flags = flags | if ports.is_some() { PROTO_SPECIFIED } else { 0 };
                if flags != 0 {
                    w.be32(1, flags);
                }
                write_range(w, (2, 3), *ports);
            }
            Expression::Fib { result, flags, to } => {
                w.be32(1, to.number());
                w.be32(2, result.number());
                w.be32(3, *flags);
            }
            Expression::Limit { rate, unit, burst, bytes, over } => {
                w.be64(1, *rate);
                w.be64(2, *unit);
                w.be32(3, *burst);
                w.be32(4, u32::from(*bytes));
                w.be32(5, u32::from(*over));
            }
            Expression::ConnLimit { count, over } => {
                w.be32(1, *count);
                w.be32(2, u32::from(*over));
            }
            Expression::Notrack | Expression::Unknown { .. } => {}
            Expression::UpdateSet { set, op, key, data, timeout, expressions } => {
                w.text(1, set);
                w.be32(3, position(&SET_UPDATES, op));
                w.be32(4, key.number());
                if let Some(data) = data {
                    w.be32(5, data.number());
                }
                if let Some(timeout) = timeout {
                    w.be64(6, *timeout);
                }
                match expressions.as_slice() {
                    [] => {}
                    [one] => one.write(7, w),
                    several => w.nested(10, |w| several.iter().for_each(|one| one.write(LIST_ELEMENT, w))),
                }
            }
            Expression::Object { kind, name } => {
                w.be32(1, *kind);
                w.text(2, name);
            }
            Expression::ByteOrder { from, to, to_network, len, size } => {
                w.be32(1, from.number());
                w.be32(2, to.number());
                w.be32(3, u32::from(*to_network));
                w.be32(4, *len);
                w.be32(5, *size);
            }
        }
    }

    /// Reads what [`Expression::write`] writes. What is not understood is [`Expression::Unknown`].
    pub(crate) fn read(attributes: Attributes<'_>) -> Option<Self> {
        let name = attributes.text(NAME)?;
        let data = attributes.get(DATA).unwrap_or_default();
        let known = Self::read_attributes(name, Attributes::new(data));
        Some(known.unwrap_or_else(|| Expression::Unknown { name: name.to_owned(), data: data.to_vec() }))
    }

    fn read_attributes(name: &str, a: Attributes<'_>) -> Option<Self> {
        let register = |kind: u16| Register::from_number(a.be32(kind)?);
        Some(match name {
            "meta" => {
                let key = MetaKey::from_number(a.be32(2)?)?;
                match register(1) {
                    Some(to) => Expression::Meta { key, to },
                    None => Expression::SetMeta { key, from: register(3)? },
                }
            }
            "payload" => Expression::Payload {
                // absent where the packet is written to, which we do not do
                to: register(1)?,
                base: PayloadBase::from_number(a.be32(2)?)?,
                offset: a.be32(3)?,
                len: a.be32(4)?,
            },
            "cmp" => Expression::Compare {
                from: register(1)?,
                op: *COMPARISONS.get(usize::try_from(a.be32(2)?).ok()?)?,
                value: read_value(a, 3)?,
            },
            "bitwise" if a.be32(6).unwrap_or(0) == 0 => Expression::Bitwise {
                from: register(1)?,
                to: register(2)?,
                mask: read_value(a, 4)?,
                xor: read_value(a, 5)?,
            },
            "range" => Expression::Range {
                from: register(1)?,
                outside: a.be32(2)? == 1,
                low: read_value(a, 3)?,
                high: read_value(a, 4)?,
            },
            "lookup" => Expression::Lookup {
                set: a.text(1)?.to_owned(),
                from: register(2)?,
                to: match a.be32(3) {
                    None => None,
                    Some(0) => Some(MapTarget::Verdict),
                    Some(number) => Some(MapTarget::Register(Register::from_number(number)?)),
                },
                invert: a.be32(5).unwrap_or(0) & 1 != 0,
            },
            "immediate" => match (a.be32(1)?, Data::read(a.nested(2)?)?) {
                (0, Data::Verdict(verdict)) => Expression::Verdict(verdict),
                (number, Data::Value(value)) => {
                    Expression::Immediate { to: Register::from_number(number)?, value }
                }
                _ => return None,
            },
            "ct" => {
                let key = CtKey::from_number(a.be32(2)?)?;
                match register(1) {
                    Some(to) => Expression::Ct { key, direction: a.u8(3), to },
                    None => Expression::SetCt { key, from: register(4)? },
                }
            }
            "counter" => Expression::Counter { bytes: a.be64(1)?, packets: a.be64(2)? },
            "log" => {
                let prefix = a.text(2).map(str::to_owned);
                match a.be16(1) {
                    Some(group) => Expression::LogGroup { group, prefix, snaplen: a.be32(3) },
                    None if a.be32(6).unwrap_or(0) == 0 => {
                        Expression::Log { prefix, level: LogLevel::from_number(a.be32(5)?)? }
                    }
                    None => return None,
                }
            }
            "reject" => Expression::Reject(Reject::from_numbers(a.be32(1)?, a.u8(2))?),
            "nat" => Expression::Nat {
                kind: if a.be32(1)? == 1 { NatKind::Destination } else { NatKind::Source },
                family: u8::try_from(a.be32(2)?).ok()?,
                addresses: read_range(a, (3, 4)),
                ports: read_range(a, (5, 6)),
                flags: nat_flags(a.be32(7)),
            },
            "masq" => Expression::Masquerade { flags: nat_flags(a.be32(1)), ports: read_range(a, (2, 3)) },
            "fib" => Expression::Fib {
                to: register(1)?,
                result: FibResult::from_number(a.be32(2)?)?,
                flags: a.be32(3).unwrap_or(0),
            },
            "limit" => Expression::Limit {
                rate: a.be64(1)?,
                unit: a.be64(2)?,
                burst: a.be32(3).unwrap_or(0),
                bytes: a.be32(4).unwrap_or(0) == 1,
                over: a.be32(5).unwrap_or(0) & 1 != 0,
            },
            "connlimit" => Expression::ConnLimit { count: a.be32(1)?, over: a.be32(2).unwrap_or(0) & 1 != 0 },
            "notrack" => Expression::Notrack,
            "dynset" => Expression::UpdateSet {
                set: a.text(1)?.to_owned(),
                op: *SET_UPDATES.get(usize::try_from(a.be32(3)?).ok()?)?,
                key: register(4)?,
                data: register(5),
                timeout: a.be64(6).filter(|timeout| *timeout != 0),
                expressions: match a.nested(7) {
                    Some(one) => vec![Expression::read(one)?],
                    None => a.nested(10).map(read_list).unwrap_or_default(),
                },
            },
            "objref" => Expression::Object { kind: a.be32(1)?, name: a.text(2)?.to_owned() },
            "byteorder" => Expression::ByteOrder {
                from: register(1)?,
                to: register(2)?,
                to_network: a.be32(3)? == 1,
                len: a.be32(4)?,
                size: a.be32(5)?,
            },
            _ => return None,
        })
    }
}

const NAME: u16 = 1;
const DATA: u16 = 2;
/// `NFTA_LIST_ELEM`
pub(crate) const LIST_ELEMENT: u16 = 1;

const SET_UPDATES: [SetUpdate; 3] = [SetUpdate::Add, SetUpdate::Update, SetUpdate::Delete];

/// Reads a list of expressions.
pub(crate) fn read_list(attributes: Attributes<'_>) -> Vec<Expression> {
    attributes.filter_map(|(_, value)| Expression::read(Attributes::new(value))).collect()
}

fn position<T: PartialEq>(all: &[T], one: &T) -> u32 {
    all.iter().position(|other| other == one).and_then(|at| u32::try_from(at).ok()).unwrap_or(0)
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

fn write_range(w: &mut Writer, kinds: (u16, u16), range: Option<(Register, Register)>) {
    if let Some((low, high)) = range {
        w.be32(kinds.0, low.number());
        w.be32(kinds.1, high.number());
    }
}

fn read_range(a: Attributes<'_>, kinds: (u16, u16)) -> Option<(Register, Register)> {
    let low = Register::from_number(a.be32(kinds.0)?)?;
    let high = a.be32(kinds.1).and_then(Register::from_number).unwrap_or(low);
    Some((low, high))
}

/// `NF_NAT_RANGE_MAP_IPS`: addresses are given.
const MAP_IPS: u32 = 1;
/// `NF_NAT_RANGE_PROTO_SPECIFIED`: ports are given.
const PROTO_SPECIFIED: u32 = 2;

/// Without the two flags that follow from what is given.
fn nat_flags(flags: Option<u32>) -> u32 {
    flags.unwrap_or(0) & !(MAP_IPS | PROTO_SPECIFIED)
}
