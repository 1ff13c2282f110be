//! The fuzz targets on the stable toolchain.

extern crate ocicat_model as model;

#[path = "../../../tests/fuzz/targets/document.rs"]
mod document;
#[path = "../../../tests/fuzz/targets/replay.rs"]
mod replay;
#[path = "../../../tests/fuzz/targets/stored.rs"]
mod stored;
#[path = "../../../tests/fuzz/targets/yaml.rs"]
mod yaml;

#[test]
fn documents_a_person_writes() {
    replay::hold(env!("CARGO_MANIFEST_DIR"), "document", 600, document::run);
}

#[test]
fn any_yaml() {
    replay::hold(env!("CARGO_MANIFEST_DIR"), "yaml", 1000, yaml::run);
}

#[test]
fn whatever_is_stored() {
    replay::hold(env!("CARGO_MANIFEST_DIR"), "stored", 1000, stored::run);
}
