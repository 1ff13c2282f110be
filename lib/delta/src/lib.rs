//! Desired against actual: what still has to change.
