//! The iptables driver: chains, rules in the kernel's chains and IP sets, wanted against there, and batches that make them
//! alike.
//!
//! * [`table`]: one table, wanted and there.
//! * [`saved`]: what `iptables-save` says.
//! * [`batch`]: the next batch of a table, as `iptables-restore` reads it.
//! * [`search`]: which part of a batch is refused, where the kernel does not say.
//! * [`tables`]: all tables of one variant of iptables, read and written.
//! * [`sets`]: IP sets.
//! * [`objects`]: what can be refused, and whom it concerns.
//! * [`driver`]: one step at a time.

pub mod batch;
pub mod driver;
pub mod objects;
pub mod saved;
pub mod search;
pub mod sets;
pub mod table;
pub mod tables;

pub use driver::IptablesDriver;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::World;
