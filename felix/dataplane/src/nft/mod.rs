//! The nftables driver: what is wanted against what is there, and batches that make them alike.
//!
//! * [`state`]: our tables, wanted and there.
//! * [`elements`], [`chain`]: one set, one chain.
//! * [`plan`]: the next batch.
//! * [`look`]: what is there, read back.
//! * [`driver`]: batches, events and looks, one step at a time.
//! * [`affected`]: whom a refusal concerns.

pub mod affected;
pub mod chain;
pub mod driver;
pub mod elements;
pub mod look;
pub mod plan;
pub mod state;

pub use affected::Affected;
pub use driver::{NftDriver, Step};
pub use state::Ours;

#[cfg(test)]
mod tests;
