//! The only crate that opens netlink sockets, namespaces and sysctls; and an in-memory kernel with fault injection.

mod api;
pub use api::*;
