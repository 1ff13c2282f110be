//! Tests with everything the ruleset is made from: stored documents, the agent's settings, the calculation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

extern crate ocicat_felix_render as felix_render;

mod arp;
mod differences;
mod golden;
mod recorded;
mod scenario;
