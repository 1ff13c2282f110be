//! The RIB from outside: against a naive model, and in the situations RFCs describe.

extern crate ocicat_bgp_rib as bgp_rib;

mod model;
mod neighbor;
mod random;
mod situations;
