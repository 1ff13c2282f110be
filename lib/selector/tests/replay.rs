//! The fuzz target's body on the committed seeds, on damaged seeds and on random bytes.

#![allow(clippy::expect_used, clippy::indexing_slicing)] // a test program: a broken expectation is a failed test

extern crate ocicat_selector as selector;

#[path = "../../../tests/fuzz/targets/selector.rs"]
mod target;

use proptest::prelude::*;
use std::path::Path;

fn seeds() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/seeds/selector");
    let files = std::fs::read_dir(folder).expect("the seeds' folder");
    files.map(|file| std::fs::read(file.expect("a seed").path()).expect("a readable seed")).collect()
}

#[test]
fn seeds_hold() {
    let seeds = seeds();
    assert!(seeds.len() > 5);
    seeds.iter().for_each(|seed| target::run(seed));
}

proptest! {
    #[test]
    fn damaged_seeds_hold(which: prop::sample::Index, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6)) {
        let seeds = seeds();
        let mut seed = which.get(&seeds).clone();
        for (place, byte) in changes {
            let place = place.index(seed.len());
            seed[place] = byte;
        }
        target::run(&seed);
    }

    #[test]
    fn random_bytes_hold(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        target::run(&bytes);
    }
}
