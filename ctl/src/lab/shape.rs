//! How many nodes a lab has and what lies between them.

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
}

impl Default for Shape {
    fn default() -> Self {
        Self { nodes: 1, fabric: Fabric::Segment }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = if self.nodes == 1 { "node" } else { "nodes" };
        write!(f, "{} {nodes}, fabric {}", self.nodes, self.fabric)
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
