//! What can go wrong with a socket, and what to do about it.

use bgp_wire::Prefix;
use std::io;
use std::net::SocketAddr;

/// Why a socket could not be made, bound, connected or configured.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// No socket, or none of its ordinary options.
    #[error("socket: {0}")]
    Socket(#[source] io::Error),
    /// An address cannot be bound.
    #[error("cannot bind {address}: {source}; is it an address of this host, and free?")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A connection cannot be made.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// Where to.
        address: SocketAddr,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel lacks an option that a peer's settings ask for.
    #[error(
        "this kernel has no {option}, which {wanted_by} needs: the session stays down; use a kernel that has it, or change {wanted_by}"
    )]
    Unsupported {
        /// The socket option.
        option: &'static str,
        /// The setting.
        wanted_by: &'static str,
    },
    /// The kernel refuses an option's value.
    #[error("cannot set {option}: {source}")]
    Option {
        /// The socket option.
        option: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// No room for another key on a socket.
    #[error(
        "no room for the key of {peers}: {source}; raise net.core.optmem_max, or give dynamic neighbours one key by prefix"
    )]
    KeysExhausted {
        /// Whose.
        peers: Prefix,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel takes keys of 1 to 80 octets.
    #[error("the key of {peers} has {len} octets, 1 to 80 are allowed: change the password")]
    KeyLength {
        /// Whose.
        peers: Prefix,
        /// How many octets it has.
        len: usize,
    },
    /// The socket has been closed before.
    #[error("the socket is closed")]
    Closed,
}
