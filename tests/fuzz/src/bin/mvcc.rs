//! Any bytes: see the target.

#![no_main]

#[path = "../../targets/mvcc.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
