//! What an operator sees of a running part, and how the part ends.
//!
//! * [`log`]: one call sets the process's logging up: text for people or JSON, level by Calico's words.
//! * [`metrics`]: one recorder a process; parts use the `metrics` macros, [`metrics::Metrics::read`] asks them and prints.
//! * [`process`]: what the kernel knows of the process.
//! * [`health`]: each part registers and reports; silence beyond its promise counts as dead.
//! * [`http`]: health and metrics for whoever cannot dial the socket.
//! * [`shutdown`]: one token a process, fired by SIGTERM, SIGINT or a part; work drains with a deadline.
//! * [`socket`]: the one local gRPC socket of a process, where each part registers its service; [`client`] asks there.

pub mod client;
pub mod health;
pub mod http;
pub mod log;
pub mod metrics;
pub mod process;
pub mod shutdown;
pub mod socket;

/// Generated messages and service stubs of `proto/observe.proto`.
#[allow(missing_docs, clippy::all, clippy::unwrap_used, clippy::expect_used)]
pub mod proto {
    tonic::include_proto!("ocicat.observe.v1");
}
