//! Endpoints and policies to one rule form, and that form to verdicts.
//!
//! * [`form`]: the rule form. Everything that decides about packets of an endpoint is a [`form::Program`].
//! * [`evaluate`]: its verdict on a packet, with the name of every rule passed.
//! * [`settings`]: what of the agent's configuration decides about a ruleset.
//! * [`Render`]: what is told and asked of a renderer, whatever its ruleset is made of.
//! * [`nft`]: the same for the kernel, as nftables.
//! * [`wish`]: which backend is wished for.
//! * [`iptables`]: the same as Calico's chains of iptables.

pub mod evaluate;
pub mod form;
pub mod iptables;
pub mod nft;
pub mod settings;
pub mod wish;

mod claims;
mod host_interfaces;
mod log_prefix;
mod renderer;

pub use renderer::Render;
pub use settings::Settings;

#[cfg(test)]
mod tests;
