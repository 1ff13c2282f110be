//! BGP messages to and from bytes, and nothing else: no clock, no socket, no policy.
//!
//! * [`prefix`]: what a route is about.
//! * [`family`]: address families and their numbers.

pub mod family;
pub mod prefix;

pub use family::{Family, PerFamily};
pub use prefix::{Ipv4Prefix, Ipv6Prefix, Nlri, Prefix};
