//! The fuzz target's body on the committed seeds, on damaged seeds and on random text.

#![allow(clippy::expect_used, clippy::indexing_slicing)] // a test program: a broken expectation is a failed test

extern crate ocicat_model as model;

#[path = "../../../tests/fuzz/targets/document.rs"]
mod target;

use proptest::prelude::*;
use std::path::Path;

fn seeds() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/seeds/document");
    let files = std::fs::read_dir(folder).expect("the seeds' folder");
    files.map(|file| std::fs::read(file.expect("a seed").path()).expect("a readable seed")).collect()
}

#[test]
fn seeds_hold() {
    let seeds = seeds();
    assert!(seeds.len() > 10);
    seeds.iter().for_each(|seed| target::run(seed));
}

/// Bytes that mean something to YAML, and some that do not.
const BYTES: &[u8] = b" \n:-[]{},&*!|>'\"#%@?~<0123456789.aeinostyx/=()\t\\\xc3";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn damaged_seeds_hold(
        which: prop::sample::Index,
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(BYTES)), 0..6),
    ) {
        let seeds = seeds();
        let mut seed = which.get(&seeds).clone();
        for (place, byte) in changes {
            let place = place.index(seed.len());
            seed[place] = byte;
        }
        target::run(&seed);
    }

    #[test]
    fn seeds_with_lines_missing_or_doubled_hold(
        which: prop::sample::Index,
        lines in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..4),
    ) {
        let seeds = seeds();
        let mut seed: Vec<Vec<u8>> = which.get(&seeds).split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        for (place, double) in lines {
            if seed.is_empty() {
                break;
            }
            let place = place.index(seed.len());
            if double {
                let line = seed[place].clone();
                seed.insert(place, line);
            } else {
                seed.remove(place);
            }
        }
        target::run(&seed.concat());
    }
}
