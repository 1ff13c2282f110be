//! Names of the sets that no selector fills (`felix.md` §7 of the contract). They come with [`crate::Changes::sets`]
//! like all others.

/// Networks of all pools but those for load balancers alone; always there.
pub const POOLS: &str = "network-ip-pools";

/// Networks of the pools with `natOutgoing`; always there.
pub const MASQUERADED_POOLS: &str = "masq-ipam-pools";

/// Addresses of all nodes and the configured external ones; there while something needs it.
pub const HOSTS: &str = "all-hosts-net";
