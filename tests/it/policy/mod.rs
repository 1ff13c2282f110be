//! Network policy against the oracle (`ocicat_tests::policy`).
//!
//! * [`evaluated`]: what the agent calculates, evaluated in user space, for a hundred thousand packets.
//! * [`rendered`]: the ruleset in the kernel, thousands of real packets, agent apart.
//! * [`wires`]: the senders and ears, before anything is judged with them.

mod evaluated;
mod rendered;
mod told;
mod wires;
