//! The rule form as iptables' chains and IP sets, in Calico's words (`felix.md` §4–§7 of the contract).
//!
//! * [`ruleset`]: what a ruleset is made of, and how its changes are told.

pub mod ruleset;

pub use ruleset::{Hook, Member, Rule, SetKind, SetShape, Table, Update};
