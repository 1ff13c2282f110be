//! What the tests of both backends share.

mod agreement;
pub mod namespace;
pub mod objects;
pub mod random;
pub mod seen;
pub mod state;
