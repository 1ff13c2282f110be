//! How many nodes a lab has, what lies between them and what judges their packets.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What `lab up` was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Shape {
    /// Number of nodes.
    pub nodes: u8,
    /// What lies between them.
    pub fabric: Fabric,
    /// What judges packets.
    pub backend: Backend,
}

impl Default for Shape {
    fn default() -> Self {
        Self { nodes: 1, fabric: Fabric::Segment, backend: Backend::Auto }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = if self.nodes == 1 { "node" } else { "nodes" };
        write!(f, "{} {nodes}, fabric {}, backend {}", self.nodes, self.fabric, self.backend)
    }
}

/// What judges packets on the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// As FelixConfiguration says; its default is what suits the node
    #[default]
    Auto,
    /// nftables
    Nftables,
    /// iptables, the variant as FelixConfiguration says
    Iptables,
}

impl Backend {
    /// NFTablesMode that says so; none where the datastore decides.
    pub fn mode(self) -> Option<&'static str> {
        match self {
            Backend::Auto => None,
            Backend::Nftables => Some("Enabled"),
            Backend::Iptables => Some("Disabled"),
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Backend::Auto => "auto",
            Backend::Nftables => "nftables",
            Backend::Iptables => "iptables",
        })
    }
}

/// What lies between the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Fabric {
    /// One L2 segment, all nodes peer with each other (Calico's full mesh)
    #[default]
    Segment,
    /// Each node alone on a link to a top-of-rack router, an AS number per node, mesh off
    Routed,
    /// The same links, the router reflects the routes of one AS (iBGP), mesh off
    Reflector,
    /// The same links, all nodes have one AS number and the router another, mesh off
    SameAs,
}

impl Fabric {
    /// Whether a router stands between the nodes.
    pub fn has_router(self) -> bool {
        self != Fabric::Segment
    }
}

impl fmt::Display for Fabric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fabric::Segment => "segment",
            Fabric::Routed => "routed",
            Fabric::Reflector => "reflector",
            Fabric::SameAs => "same-as",
        })
    }
}
