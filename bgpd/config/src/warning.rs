//! What is wrong with resources, told to people. What is named here was left out; nothing else is harmed.

use std::fmt;

/// Something about a resource that was not followed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Warning {
    /// The resource: `BGPPeer tor`.
    pub resource: String,
    /// The field: `spec.peerIP`, or an annotation's name.
    pub field: String,
    /// Its value, empty where it would not help.
    pub value: String,
    /// What is wrong, what was done about it, and the remedy.
    pub reason: String,
}

impl Warning {
    /// A warning about a value.
    pub fn new(
        resource: impl Into<String>,
        field: impl Into<String>,
        value: impl Into<String>,
        reason: impl Into<String>,
    ) -> Self {
        Warning { resource: resource.into(), field: field.into(), value: value.into(), reason: reason.into() }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.resource)?;
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        if !self.value.is_empty() {
            write!(f, " = \"{}\"", self.value)?;
        }
        write!(f, ": {}", self.reason)
    }
}
