//! The BGP speaker of a node, or of a router without one.
//!
//! One OS thread, one current-thread runtime, one owner of all speaker state. Around the core stand the sources of what
//! happens: sockets, the kernel, the datastore, and people who ask.

pub mod fib;
pub mod kernel_side;
pub mod next_hop;
pub mod source;
pub mod speaker;
pub mod transport;

/// Generated messages and service stubs of `proto/bgp.proto`.
#[allow(missing_docs, clippy::all, clippy::unwrap_used, clippy::expect_used)]
pub mod proto {
    tonic::include_proto!("ocicat.bgp.v1");
}
