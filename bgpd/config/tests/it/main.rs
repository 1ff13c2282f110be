//! Plans against the recorded configurations of Calico, and against plans made afresh.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

extern crate ocicat_bgp_config as bgp_config;

mod bird;
mod changes;
mod golden;
mod naive;
mod options;
mod policies;
mod sessions;
mod support;
