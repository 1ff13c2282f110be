//! Endpoints and policies to one rule form, and that form to verdicts.
//!
//! * [`form`]: the rule form. Everything that decides about packets of an endpoint is a [`form::Program`].
//! * [`evaluate`]: its verdict on a packet, with the name of every rule passed.
//! * [`nft`]: the same for the kernel.

pub mod evaluate;
pub mod form;
pub mod nft;
