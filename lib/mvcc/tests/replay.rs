//! The fuzz target on the stable toolchain.

extern crate ocicat_mvcc as mvcc;

#[path = "../../../tests/fuzz/targets/replay.rs"]
mod replay;
#[path = "../../../tests/fuzz/targets/mvcc.rs"]
mod target;

#[test]
fn mvcc() {
    replay::hold(env!("CARGO_MANIFEST_DIR"), "mvcc", 2000, target::run);
}
