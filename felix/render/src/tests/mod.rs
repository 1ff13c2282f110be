//! What the tests of both backends share.

pub mod namespace;
pub mod objects;
pub mod random;
pub mod seen;
pub mod state;
