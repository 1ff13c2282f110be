//! What is wrong with the configuration, in words.

use crate::resolve::Origin;
use crate::settings::TLS_OF_METRICS;
use std::fmt;

/// Something in a source that does not do what its author wants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Problem {
    /// A value that cannot be read.
    Unreadable {
        /// The parameter.
        name: String,
        /// Its value.
        value: String,
        /// What was expected.
        expected: String,
        /// Where it stands.
        origin: Origin,
        /// The agent must not start with it.
        fatal: bool,
    },
    /// A parameter that only environment and file may set.
    LocalOnly {
        /// The parameter.
        name: String,
        /// Where it stands.
        origin: Origin,
    },
    /// A name that is no parameter's.
    Unknown {
        /// The name.
        name: String,
        /// Where it stands.
        origin: Origin,
    },
    /// A parameter that the agent does not act on has another value than its default.
    NotActedOn {
        /// The parameter.
        name: String,
        /// Its value.
        value: String,
        /// Where it stands.
        origin: Origin,
    },
    /// A selector that cannot be read: the resource is about no node.
    Selector {
        /// The FelixConfiguration.
        resource: String,
        /// Its `nodeSelector`.
        selector: String,
        /// What is wrong.
        reason: String,
    },
}

impl Problem {
    /// Whether the agent must not start: Calico's does not with such a value. A value in the datastore never stops an agent:
    /// one resource would stop policy on every node.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Problem::Unreadable { fatal: true, origin: Origin::Environment | Origin::File, .. })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Unreadable { name, value, expected, origin, .. } => {
                let rest = if self.is_fatal() { "" } else { "; using the default" };
                write!(f, "{name} in {origin}: {value:?} is not {expected}{rest}")
            }
            Problem::LocalOnly { name, origin } => {
                write!(f, "{name} in {origin}: only environment and configuration file may set it; ignored")
            }
            Problem::Unknown { name, origin } => write!(
                f,
                "{name} in {origin}: there is no such parameter; `ocicat felix params` lists them; ignored"
            ),
            Problem::NotActedOn { name, value, origin } if TLS_OF_METRICS.contains(&&**name) => write!(
                f,
                "{name} in {origin}: {value:?} has no effect: metrics are not served by TLS yet, nor in clear where \
                 certificate and key are set; `ocicat felix metrics` shows them"
            ),
            Problem::NotActedOn { name, value, origin } => {
                write!(f, "{name} in {origin}: {value:?} has no effect: this agent does not act on it yet")
            }
            Problem::Selector { resource, selector, reason } => write!(
                f,
                "FelixConfiguration {resource}: spec.nodeSelector {selector:?}: {reason}; it is about no node"
            ),
        }
    }
}
