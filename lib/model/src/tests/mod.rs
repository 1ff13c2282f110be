//! Tests across the modules.

pub(crate) mod golden;
