//! What GC is given: the attachments that a runtime still has (CNI specification 1.1.0, section "GC").

use crate::config::NetConf;
use crate::error::{CniError, code};
use crate::reader::{FieldError, Section};
use std::collections::BTreeSet;

/// The key of the list.
pub const VALID_ATTACHMENTS: &str = "cni.dev/valid-attachments";
/// The key of the most attachments that one call may free.
pub const MOST: &str = "gc_max_attachments";
/// Its value where the configuration has none: more than one node loses at once when all is well.
const DEFAULT_MOST: usize = 32;

/// What a runtime still has, and how far it is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Container and interface of each attachment that stays.
    pub valid: BTreeSet<(String, String)>,
    /// No more than so many are freed by one call; a list that would free more is not believed.
    pub most: usize,
}

impl Wanted {
    /// Reads the list of a configuration.
    ///
    /// # Errors
    /// Code 7: there is no list, which is not the same as an empty one; or it is damaged.
    pub fn read(conf: &NetConf) -> Result<Wanted, CniError> {
        let bad = |error: FieldError| CniError::new(code::INVALID_CONFIG, error.to_string());
        if !Section::root(conf.raw()).has(VALID_ATTACHMENTS) {
            return Err(CniError::new(
                code::INVALID_CONFIG,
                format!(
                    "{VALID_ATTACHMENTS}: expected the list of attachments that stay; without it GC frees nothing"
                ),
            ));
        }
        let root = Section::root(conf.raw());
        let mut valid = BTreeSet::new();
        for entry in root.sections(VALID_ATTACHMENTS).map_err(bad)? {
            let container = entry.text("containerID").map_err(bad)?;
            let interface = entry.text("ifname").map_err(bad)?;
            if container.is_empty() || interface.is_empty() {
                return Err(bad(entry.refuse("containerID", "a container and its ifname")));
            }
            valid.insert((container, interface));
        }
        let most = match root.number(MOST).map_err(bad)? {
            None => DEFAULT_MOST,
            Some(number) => {
                usize::try_from(number).map_err(|_| bad(root.refuse(MOST, "a number from 0 on")))?
            }
        };
        Ok(Wanted { valid, most })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(conf: Value) -> Result<Wanted, CniError> {
        Wanted::read(&NetConf::read(conf.as_object().unwrap().clone()).unwrap())
    }

    #[test]
    fn the_list_is_read() {
        let conf = json!({"name": "a", VALID_ATTACHMENTS: [
            {"containerID": "c1", "ifname": "eth0"}, {"containerID": "c2", "ifname": "eth1", "later": 1}]});
        let wanted = read(conf).unwrap();
        let expected = [("c1", "eth0"), ("c2", "eth1")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(wanted, Wanted { valid: expected.into(), most: DEFAULT_MOST });
        let empty = read(json!({"name": "a", VALID_ATTACHMENTS: [], MOST: 3})).unwrap();
        assert_eq!(empty, Wanted { valid: BTreeSet::new(), most: 3 });
    }

    #[test]
    fn no_list_is_not_an_empty_list() {
        for (conf, says) in [
            (json!({"name": "a"}), "expected the list of attachments"),
            (json!({"name": "a", VALID_ATTACHMENTS: null}), "expected the list of attachments"),
            (json!({"name": "a", VALID_ATTACHMENTS: "c1"}), "cni.dev/valid-attachments"),
            (json!({"name": "a", VALID_ATTACHMENTS: [{"containerID": "c1"}]}), "containerID"),
            (json!({"name": "a", VALID_ATTACHMENTS: [{"containerID": 1, "ifname": "eth0"}]}), "containerID"),
            (json!({"name": "a", VALID_ATTACHMENTS: [], MOST: -1}), MOST),
        ] {
            let error = read(conf.clone()).unwrap_err();
            assert!(error.code == 7 && error.msg.contains(says), "{conf}: {error}");
        }
    }
}
