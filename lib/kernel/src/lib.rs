//! The only crate that opens netlink sockets, namespaces and sysctls; and an in-memory kernel with fault
//! injection.
//!
//! What can be asked is data ([`Op`], [`Kernel`]), so that the same caller runs against the real kernel
//! ([`Netlink`]) and against one in memory ([`memory::World`]) that fails on demand. Namespaces are opened once
//! and held by descriptor ([`Netns`]); no runtime thread ever changes its own. See `DESIGN.md`.

mod addr;
mod api;
mod conntrack;
mod describe;
mod ipsets;
pub mod memory;
mod multicast;
mod netlink;
mod netns;
mod nftables;
mod opener;
mod socket;
mod spent;
mod xtables;

pub use addr::{IpNet, Mac, MacError};
pub use api::*;
pub use conntrack::{Conntrack, Flows};
pub use ipsets::{IpSets, RefusedMember, SetSocket};
pub use netlink::{Netlink, SystemNamespaces};
pub use netns::{NETNS_DIR, Netns};
pub use nftables::{CommitError, NewRule, NftEvent, NftKernel, Nftables, Refused};
pub use opener::{Netfilter, NetfilterOf};
pub use xtables::{Programs, Restored, Variant, XTables, XTablesError};

#[cfg(test)]
mod tests;
