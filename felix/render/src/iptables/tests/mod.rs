//! Tests of the whole ruleset.
