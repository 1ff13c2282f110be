//! The fuzz target on the stable toolchain.

extern crate ocicat_selector as selector;

#[path = "../../../tests/fuzz/targets/replay.rs"]
mod replay;
#[path = "../../../tests/fuzz/targets/selector.rs"]
mod target;

#[test]
fn selector() {
    replay::hold(env!("CARGO_MANIFEST_DIR"), "selector", 500, target::run);
}
