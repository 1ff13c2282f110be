//! What a person should know about stored objects.

use model::Key;
use model::net::Cidr;
use std::fmt;

/// Something about a stored object that does not do what its author wants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Report {
    /// It cannot be read, or is invalid, and counts as absent.
    Refused {
        /// The field and what is wrong with it.
        reason: String,
    },
    /// A rule has a match that is not enforced: where it is an Allow or Pass rule it matches nothing, a Deny rule as if
    /// the field were absent.
    NotEnforced {
        /// The rule, such as `ingress[3]`.
        rule: String,
        /// The match: `http` or `services`.
        field: &'static str,
    },
    /// An IPPool asks for an encapsulation that is not carried: its blocks on other nodes are unreachable, except, with
    /// `CrossSubnet`, those of nodes in this node's subnet.
    NotCarried {
        /// The pool's network.
        pool: Cidr,
        /// The field: `ipipMode` or `vxlanMode`.
        field: &'static str,
        /// Its value.
        mode: &'static str,
    },
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Report::Refused { reason } => write!(f, "{reason}; it counts as absent"),
            Report::NotEnforced { rule, field } => write!(
                f,
                "spec.{rule}.{field} is not enforced: Allow and Pass match nothing, Deny as if the field were absent"
            ),
            Report::NotCarried { pool, field, mode } => write!(
                f,
                "spec.{field}: {mode} is not carried: addresses of {pool} on nodes of other subnets{} are unreachable",
                if *mode == "CrossSubnet" { "" } else { ", and of this one," }
            ),
        }
    }
}

/// What people call an object: `GlobalNetworkPolicy deny-all`, `NetworkPolicy shop/web`, `block 10.0.0.0/26`.
pub fn title(key: &Key) -> String {
    match key {
        Key::Resource { kind, namespace, name } if namespace.is_empty() => format!("{} {name}", kind.name()),
        Key::Resource { kind, namespace, name } => format!("{} {namespace}/{name}", kind.name()),
        Key::Block(block) => format!("block {block}"),
        other => other.path(),
    }
}
