//! Network policy against the oracle (`ocicat_tests::policy`).
//!
//! * [`evaluated`]: what the agent calculates, evaluated in user space, for a hundred thousand packets.

mod evaluated;
mod told;
