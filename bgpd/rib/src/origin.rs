//! Routes that did not come by BGP.

use std::sync::Arc;

/// Where a route that did not come by BGP comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// Configuration: a block of this node, put into the kernel as a blackhole.
    Static,
    /// Another program put it into the kernel: an alien route.
    Kernel,
    /// It is the network of an interface.
    Direct,
}

/// A route of our own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Local {
    /// Where it comes from.
    pub source: Source,
    /// The kernel's metric; `None` where none was given, and in blocks.
    pub metric: Option<u32>,
    /// The interface it leads to, if it leads to one.
    pub interface: Option<Arc<str>>,
}

impl Local {
    /// A block of this node.
    pub fn block() -> Self {
        Local { source: Source::Static, metric: None, interface: None }
    }
}

impl Source {
    /// Preference among sources: that of Calico's BIRD (`bgp.md` §3, §5 of the contract).
    pub fn preference(self) -> u32 {
        match self {
            Source::Direct => 240,
            Source::Static => 200,
            Source::Kernel => 10,
        }
    }

    /// What tells our routes to one destination apart.
    pub(crate) fn path_id(self) -> u32 {
        match self {
            Source::Static => 1,
            Source::Kernel => 2,
            Source::Direct => 3,
        }
    }
}

/// Preference of what came by BGP.
pub const BGP_PREFERENCE: u32 = 100;
