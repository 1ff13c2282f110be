//! The one list of places where ours differs from the recording on purpose.
//!
//! A run fails on every difference that is not here, and on every line here that no longer holds.

use super::compare::Part;

/// A difference on purpose.
#[derive(Debug)]
pub struct Difference {
    /// Path of the case.
    pub case: &'static str,
    /// Number of the step, from 1.
    pub step: usize,
    /// What differs.
    pub part: Part,
    /// Why.
    pub reason: &'static str,
}

const fn differs(case: &'static str, step: usize, part: Part, reason: &'static str) -> Difference {
    Difference { case, step, part, reason }
}

const HANGS: &str = "upstream never gives up on a datastore that does not answer; ours says so and ends";
const PANICS: &str = "upstream panics; ours says what is wrong";

/// All of them.
pub const DIFFERENCES: &[Difference] = &[
    differs("errors/command/unknown", 3, Part::Exit, PANICS),
    differs("errors/command/unknown", 3, Part::Stderr, PANICS),
    differs("errors/command/unknown", 4, Part::Exit, PANICS),
    differs("errors/command/unknown", 4, Part::Stderr, PANICS),
    differs("errors/datastore/bad-endpoint", 1, Part::Exit, HANGS),
    differs("errors/datastore/bad-endpoint", 1, Part::Stderr, HANGS),
    differs("errors/datastore/bad-endpoint", 2, Part::Exit, HANGS),
    differs("errors/datastore/bad-endpoint", 2, Part::Stderr, HANGS),
    differs("errors/datastore/etcd-away", 1, Part::Exit, HANGS),
    differs("errors/datastore/etcd-away", 1, Part::Stderr, HANGS),
    differs("errors/datastore/etcd-away", 2, Part::Exit, HANGS),
    differs("errors/datastore/etcd-away", 2, Part::Stderr, HANGS),
];
