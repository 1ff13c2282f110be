//! Tests of the crate on storage that fails.
