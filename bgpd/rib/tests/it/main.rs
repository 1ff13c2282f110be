//! The RIB from outside: against a naive model, and in the situations RFCs describe.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

extern crate ocicat_bgp_rib as bgp_rib;

mod model;
mod neighbor;
mod random;
mod sending;
mod situations;
mod telling;
mod tidying;
