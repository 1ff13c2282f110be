//! Stored pairs in: sets, endpoints and routes against Calico's recordings, a naive evaluation, and a fresh start.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

extern crate ocicat_felix_calc as felix_calc;

mod feed;
mod forms;
mod golden;
mod graph;
mod known;
mod naive;
mod order;
mod routes;
mod support;
