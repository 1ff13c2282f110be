//! The embedded store beside a real etcd, and as etcd's own tools see it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

extern crate ocicat_etcd_lite as etcd_lite;

mod auth;
mod differential;
mod generator;
mod refusals;
mod restart;
mod servers;
mod tools;
mod watches;
