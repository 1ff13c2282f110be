//! Any bytes: see the target.

#![no_main]

#[path = "../../targets/bgp.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
