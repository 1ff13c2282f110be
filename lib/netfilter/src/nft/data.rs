//! What registers, sets and verdicts hold.

use crate::wire::{Attributes, Writer};

/// A register, named by the 32-bit word it begins with: 0 to 15. Words 0, 4, 8 and 12 begin the kernel's four 128-bit
/// registers, under whose numbers it reports them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Register(pub u8);

impl Register {
    /// The first, where most values are loaded.
    pub const FIRST: Register = Register(0);

    pub(crate) fn number(self) -> u32 {
        if self.0.is_multiple_of(4) { 1 + u32::from(self.0 / 4) } else { 8 + u32::from(self.0) }
    }

    pub(crate) fn from_number(number: u32) -> Option<Self> {
        match u8::try_from(number).ok()? {
            number @ 1..=4 => Some(Register((number - 1) * 4)),
            number @ 8..=23 => Some(Register(number - 8)),
            _ => None,
        }
    }
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// `NF_DROP`
    Drop,
    /// `NF_ACCEPT`: ends this base chain.
    Accept,
    /// The next rule.
    Continue,
    /// Another chain, and back.
    Jump(String),
    /// Another chain, without coming back.
    Goto(String),
    /// Back to the calling chain.
    Return,
    /// Any other, by number (queues).
    Other(i32),
}

const CODE: u16 = 1;
const CHAIN: u16 = 2;

impl Verdict {
    fn code(&self) -> i32 {
        match self {
            Verdict::Drop => 0,
            Verdict::Accept => 1,
            Verdict::Continue => -1,
            Verdict::Jump(_) => -3,
            Verdict::Goto(_) => -4,
            Verdict::Return => -5,
            Verdict::Other(code) => *code,
        }
    }

    fn write(&self, w: &mut Writer) {
        w.attribute(CODE, &self.code().to_be_bytes());
        if let Verdict::Jump(chain) | Verdict::Goto(chain) = self {
            w.text(CHAIN, chain);
        }
    }

    fn read(attributes: Attributes<'_>) -> Option<Self> {
        let chain = || attributes.text(CHAIN).map(str::to_owned);
        Some(match attributes.be32(CODE)?.cast_signed() {
            0 => Verdict::Drop,
            1 => Verdict::Accept,
            -1 => Verdict::Continue,
            -3 => Verdict::Jump(chain()?),
            -4 => Verdict::Goto(chain()?),
            -5 => Verdict::Return,
            code => Verdict::Other(code),
        })
    }
}

/// A value or a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Data {
    /// Bytes, each field padded to four where several are put together.
    Value(Vec<u8>),
    /// A verdict.
    Verdict(Verdict),
}

const VALUE: u16 = 1;
const VERDICT: u16 = 2;

impl Data {
    pub(crate) fn write(&self, kind: u16, w: &mut Writer) {
        w.nested(kind, |w| match self {
            Data::Value(bytes) => w.attribute(VALUE, bytes),
            Data::Verdict(verdict) => w.nested(VERDICT, |w| verdict.write(w)),
        });
    }

    pub(crate) fn read(attributes: Attributes<'_>) -> Option<Self> {
        match attributes.get(VALUE) {
            Some(bytes) => Some(Data::Value(bytes.to_vec())),
            None => Verdict::read(attributes.nested(VERDICT)?).map(Data::Verdict),
        }
    }
}

/// Writes plain bytes as a value.
pub(crate) fn write_value(kind: u16, bytes: &[u8], w: &mut Writer) {
    w.nested(kind, |w| w.attribute(VALUE, bytes));
}

/// Reads plain bytes.
pub(crate) fn read_value(attributes: Attributes<'_>, kind: u16) -> Option<Vec<u8>> {
    Some(attributes.nested(kind)?.get(VALUE)?.to_vec())
}
