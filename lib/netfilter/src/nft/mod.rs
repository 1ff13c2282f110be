//! nf_tables: its objects as values, changes to bytes, dumps and events back to values.

mod change;
mod data;
mod expression;
mod expression_codec;
mod keys;
mod object;
mod read;
mod types;
mod userdata;

pub use change::{Batch, Change, Finished, Place};
pub use data::{Data, Register, Verdict};
pub use expression::{Comparison, Expression, MapTarget, NatKind, SetUpdate};
pub use keys::{CtKey, FibResult, LogLevel, MetaKey, PayloadBase, Reject};
pub use object::{Chain, ChainKind, Element, Family, Hook, MapData, Policy, Rule, Set, Table, TableRef};
pub use read::{Object, Presence, Query, read};
pub use types::DataType;
pub use userdata::COMMENT_MAX;

/// `NFNL_SUBSYS_NFTABLES`
pub(crate) const SUBSYSTEM: u16 = 10;

#[cfg(test)]
mod tests;
