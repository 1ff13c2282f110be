//! Netfilter's messages to and from bytes, and nothing else: whoever has a socket sends them (`lib/kernel`).
//!
//! * [`wire`]: netlink's framing, attributes, acknowledgements.
//! * [`nft`]: nf_tables. A [`nft::Batch`] of [`nft::Change`]s is one transaction; a [`nft::Query`] asks what is there;
//!   [`nft::read`] makes values of dumps and events. What was written reads back equal, so that a driver compares
//!   what should be with what is by value, and user data is in `nft`'s form, so that `nft list ruleset` shows comments
//!   and keys.
//! * [`ipset`]: IP sets; one message a change.
//! * [`conntrack`]: tracked connections of an address, and their removal.

pub mod conntrack;
pub mod ipset;
pub mod nft;
pub mod wire;
