//! Replays a fuzz target on the stable toolchain: its committed seeds, damaged seeds, random text.

#![allow(clippy::expect_used, clippy::panic)] // a broken expectation is a finding

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::path::{Path, PathBuf};

/// Characters that mean something in what the targets eat.
const INK: &[u8] = b"{}[]()\"':,-&|!=<>*#%?@~\n\t .;/_\\\xc3 0123456789abcdefxyzAZ";

/// The seeds of a target. `manifest_dir` is that of the crate that replays.
fn seeds(manifest_dir: &str, target: &str) -> Vec<Vec<u8>> {
    let root = Path::new(manifest_dir).ancestors().find(|folder| folder.join("tests/fuzz").is_dir());
    let folder = root.expect("the workspace").join("tests/fuzz/seeds").join(target);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("the seeds").map(|file| file.expect("a seed").path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).expect("a readable seed")).collect()
}

/// Runs a target on its seeds, on `cases` damaged seeds and on as many random texts.
pub fn hold(manifest_dir: &str, target: &str, cases: u32, run: fn(&[u8])) {
    let seeds = seeds(manifest_dir, target);
    assert!(seeds.len() >= 5, "too few seeds of {target}");
    seeds.iter().for_each(|seed| run(seed));

    let bytes = prop::collection::vec((any::<prop::sample::Index>(), ink()), 0..6);
    let lines = prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..3);
    let damaged = (prop::sample::select(seeds), lines, bytes).prop_map(|(seed, lines, bytes)| {
        let mut seed = with_lines_missing_or_doubled(&seed, &lines);
        for (place, byte) in bytes {
            let at = if seed.is_empty() { 0 } else { place.index(seed.len()) };
            if let Some(old) = seed.get_mut(at) {
                *old = byte;
            }
        }
        seed
    });
    let random = prop::collection::vec(ink(), 0..200);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new(config);
    for input in [damaged.boxed(), random.boxed()] {
        let held = runner.run(&input, |input| {
            run(&input);
            Ok(())
        });
        held.unwrap_or_else(|failure| panic!("{target}: {failure}"));
    }
}

fn ink() -> impl Strategy<Value = u8> {
    prop_oneof![4 => prop::sample::select(INK), 1 => any::<u8>()]
}

fn with_lines_missing_or_doubled(seed: &[u8], changes: &[(prop::sample::Index, bool)]) -> Vec<u8> {
    let mut lines: Vec<&[u8]> = seed.split_inclusive(|byte| *byte == b'\n').collect();
    for (place, double) in changes {
        if lines.is_empty() {
            break;
        }
        let at = place.index(lines.len());
        let line = lines.remove(at);
        if *double {
            lines.splice(at..at, [line, line]);
        }
    }
    lines.concat()
}
