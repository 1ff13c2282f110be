//! The rule form as iptables' chains and IP sets, in Calico's words (`felix.md` §4–§7 of the contract).
//!
//! * [`ruleset`]: what a ruleset is made of, and how its changes are told.
//! * [`marks`]: bits of packets' marks.
//! * [`renderer`]: changes in, updates out.
//! * [`arp`]: the one table of nf_tables beside them.
//!
//! Inside: `statics.rs` (with `failsafe.rs` and `nat.rs`) has the chains that the kernel's own lead to; `workloads.rs`,
//! `hosts.rs` what leads to endpoints (`dispatch.rs`); `endpoints.rs` which chains of endpoints are wanted, `endpoint.rs`
//! what is in one, `groups.rs` which policies it calls; `policies.rs` which of those there are, `policy.rs`, `matches.rs` and
//! `blocks.rs` their rules; `sets.rs` the IP sets. `line.rs` and `words.rs` have the words of a rule, `hash.rs` its hash,
//! `names.rs` names.
//! `chains.rs` knows which chains are in use and what was told.

pub mod arp;
mod blocks;
mod chains;
mod dispatch;
mod endpoint;
mod endpoints;
mod failsafe;
mod groups;
mod hash;
mod hosts;
mod line;
pub mod marks;
mod matches;
mod names;
mod nat;
mod owner;
mod policies;
mod policy;
pub mod renderer;
pub mod ruleset;
mod sets;
mod statics;
mod words;
mod workloads;

pub use marks::Marks;
pub use renderer::Renderer;
pub use ruleset::{Hook, Member, Rule, SetKind, SetShape, Table, Update};

#[cfg(test)]
pub(crate) mod tests;
