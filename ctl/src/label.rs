//! `label`: what is asked, what it does to the labels, and what is said. Source: `calicoctl.md` §3.5 of the contract.

use crate::io::Failure;
use model::Resource;

/// What to do with a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Give it a value; replace another one only if allowed.
    Set {
        /// The label.
        key: String,
        /// The value.
        value: String,
        /// Whether another value may be replaced.
        overwrite: bool,
    },
    /// Take it away.
    Remove {
        /// The label.
        key: String,
    },
}

/// The resource as the user named it, for messages.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// The kind, as typed.
    pub kind: &'a str,
    /// The name.
    pub name: &'a str,
}

impl std::fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

impl Change {
    /// Reads `key=value`, or `key` to remove.
    ///
    /// # Errors
    /// A value is missing.
    pub fn parse(text: &str, remove: bool, overwrite: bool) -> Result<Change, Failure> {
        if remove {
            return Ok(Change::Remove { key: text.to_owned() });
        }
        match text.split_once('=') {
            Some((key, value)) => Ok(Change::Set { key: key.to_owned(), value: value.to_owned(), overwrite }),
            None => Err(Failure::message(format!("invalid label {text}"))),
        }
    }

    /// Changes the labels and returns what to say when that is stored.
    ///
    /// # Errors
    /// A label to remove that is not there, or one to set that is there with another value.
    pub fn apply(&self, resource: &mut Resource, named: Named<'_>) -> Result<String, Failure> {
        match self {
            Change::Remove { key } => {
                if !resource.remove_meta_entry("labels", key) {
                    let text = format!("cannot remove label of {named}, key {key} does not exist");
                    return Err(Failure::message(text));
                }
                Ok(format!("Successfully removed label {key} from {named}"))
            }
            Change::Set { key, value, overwrite } => {
                let present = resource.label(key).map(|present| present == value);
                if present == Some(false) && !overwrite {
                    return Err(Failure::message(format!(
                        "failed to update label of {named}, key {key} is already present. please use '--overwrite' to set a \
                         new value"
                    )));
                }
                resource.set_meta_entry("labels", key, value);
                let done = if present.is_some() { "updated" } else { "set" };
                Ok(format!("Successfully {done} label {key} on {named}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Kind;

    const NODE: Named<'_> = Named { kind: "nodes", name: "node-1" };

    fn said(resource: &mut Resource, text: &str, remove: bool, overwrite: bool) -> String {
        match Change::parse(text, remove, overwrite).and_then(|change| change.apply(resource, NODE)) {
            Ok(text) | Err(Failure::Message(text)) => text,
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_labels_life() {
        let mut node = Resource::new(Kind::Node, "", "node-1");
        assert_eq!(said(&mut node, "rack", false, false), "invalid label rack");
        assert_eq!(said(&mut node, "rack=r1", false, false), "Successfully set label rack on nodes node-1");
        assert_eq!(
            said(&mut node, "rack=r1", false, false),
            "Successfully updated label rack on nodes node-1"
        );
        assert_eq!(
            said(&mut node, "rack=r2", false, false),
            "failed to update label of nodes node-1, key rack is already present. please use '--overwrite' to set a new value"
        );
        assert_eq!(node.label("rack"), Some("r1"));
        assert_eq!(
            said(&mut node, "rack=r2", false, true),
            "Successfully updated label rack on nodes node-1"
        );
        assert_eq!(node.label("rack"), Some("r2"));
        assert_eq!(said(&mut node, "empty=", false, false), "Successfully set label empty on nodes node-1");
        assert_eq!(said(&mut node, "a=b=c", false, false), "Successfully set label a on nodes node-1");
        assert_eq!(node.label("a"), Some("b=c"));
        assert_eq!(said(&mut node, "rack", true, false), "Successfully removed label rack from nodes node-1");
        assert_eq!(
            said(&mut node, "rack", true, false),
            "cannot remove label of nodes node-1, key rack does not exist"
        );
    }
}
