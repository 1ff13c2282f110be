//! The node agent, run as a program in a node's namespaces (`ocicat_tests::agent`).
//!
//! * [`scenarios`]: what Calico's agent left for the same input.
//! * [`verdicts`]: real packets against the oracle, the agent doing everything.
//! * [`restart`]: a death and a start under traffic; any history ends where a fresh start ends.

mod restart;
mod scenarios;
mod traffic;
mod verdicts;
