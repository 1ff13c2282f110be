//! The node agent, run as a program in a node's namespaces (`ocicat_tests::agent`).
//!
//! * [`scenarios`]: what Calico's agent left for the same input.
//! * [`status`]: files, log lines, and the revision in force.
//! * [`metrics`]: Calico's names, types and labels, and the kernel's numbers.
//! * [`verdicts`]: real packets against the oracle, the agent doing everything.
//! * [`pools`]: no path in clear where an encapsulation is not carried; whose cluster routes are.
//! * [`around`]: what is around policy: known connections, ARP.
//! * [`repair`]: what others do to our tables, and what the kernel has not got.
//! * [`exchange`]: another backend under traffic.
//! * [`restart`]: deaths, starts, changes and errors under traffic.
//! * [`history`]: any history ends where a fresh start ends.

mod around;
mod exchange;
pub(crate) mod four;
mod history;
mod metrics;
mod pools;
mod repair;
mod restart;
mod scenarios;
mod status;
mod traffic;
mod verdicts;

pub(crate) use exchange::{status, wish};
