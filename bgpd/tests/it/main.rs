//! The speaker from Calico's resources to octets, without a socket and in virtual time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

extern crate ocicat_bgpd as bgpd;

mod changes;
mod directory;
mod flood;
mod rig;
