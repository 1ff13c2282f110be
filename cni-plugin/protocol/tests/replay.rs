//! The fuzz target on the stable toolchain.

extern crate ocicat_cni_protocol as cni_protocol;

#[path = "../../../tests/fuzz/targets/cni.rs"]
mod cni;
#[path = "../../../tests/fuzz/targets/replay.rs"]
mod replay;

#[test]
fn calls() {
    replay::hold(env!("CARGO_MANIFEST_DIR"), "cni", 1000, cni::run);
}
