//! The BGP speaker of a node, or of a router without one.
//!
//! One OS thread, one current-thread runtime, one owner of all speaker state. Around the core stand the sources of what
//! happens: sockets, the kernel, the datastore, and people who ask.

pub mod fib;
pub mod next_hop;
pub mod transport;
