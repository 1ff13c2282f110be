//! The rule form as nf_tables: a desired ruleset that follows the state, change by change.
//!
//! * [`ruleset`]: what a ruleset is made of, and how its changes are told.
//! * [`renderer`]: changes in, updates out.
//!
//! Inside: `base.rs`, `nat.rs`, `arp.rs` are the chains the kernel calls; `workloads.rs`, `hosts.rs` what leads to
//! endpoints; `policy.rs` the chains of endpoints, tiers and profiles, with what `steps.rs` puts before policy;
//! `grouping.rs` and `matches.rs` turn the rule form into rules; `sets.rs` and `constants.rs` are what they look up;
//! `objects.rs` knows what was told.

pub(crate) mod arp;
pub(crate) mod base;
mod constants;
mod grouping;
mod hosts;
mod matches;
mod names;
mod nat;
pub(crate) mod objects;
pub(crate) mod packet;
pub(crate) mod piece;
mod policy;
pub mod renderer;
pub mod ruleset;
mod sets;
mod steps;
mod workloads;

pub use crate::settings::Settings;
pub use renderer::Renderer;
pub use ruleset::{Chain, Rule, SetShape, Update, table};

#[cfg(test)]
pub(crate) mod tests;
