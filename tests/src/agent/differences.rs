//! The one list of places where what our agent leaves differs from the recordings on purpose.
//!
//! A scenario fails on every difference that is not here, and the run on every line here that no scenario shows.

/// A difference on purpose.
#[derive(Debug)]
pub struct Difference {
    /// The scenario; any when empty.
    pub scenario: &'static str,
    /// Words that all stand in the line that differs.
    pub words: &'static [&'static str],
    /// Why.
    pub reason: &'static str,
}

const fn differs(scenario: &'static str, words: &'static [&'static str], reason: &'static str) -> Difference {
    Difference { scenario, words, reason }
}

/// All of them.
pub const DIFFERENCES: &[Difference] = &[differs(
    "taking-away",
    &["neigh show", "- "],
    "upstream leaves the permanent neighbours of workloads that are gone; ours go with their workload",
)];
