//! A handle: the name under which addresses were asked for, and how many it has in which block.

use super::{read_or_default, to_bytes};
use crate::key::Key;
use crate::net::Cidr;
use crate::resource::StoredError;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Value of a handle key; the id is only in the key.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Handle {
    /// Block (its CIDR as text) → addresses counted. May be more than the block holds: Calico counts what was asked
    /// for, not what was got.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub block: BTreeMap<String, i64>,
    /// Only meaningful in the Kubernetes datastore.
    #[serde(default)]
    pub deleted: bool,
    /// Fields we do not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

fn null_is_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, i64>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Handle {
    /// Reads a stored value; zero bytes are a handle without blocks.
    pub fn decode(key: &Key, value: &[u8]) -> Result<Self, StoredError> {
        read_or_default(key, value)
    }

    /// The value to store.
    pub fn encode(&self) -> Vec<u8> {
        to_bytes(self)
    }

    /// The blocks that can be read as CIDRs, in the order of their text.
    pub fn blocks(&self) -> impl Iterator<Item = Cidr> {
        self.block.keys().filter_map(|text| Cidr::parse_masked(text).ok())
    }

    /// Addresses counted in `block`.
    pub fn count(&self, block: &Cidr) -> i64 {
        self.block.get(&block.to_string()).copied().unwrap_or(0)
    }

    /// Sets the count of `block`; zero and less remove the entry.
    pub fn set_count(&mut self, block: &Cidr, count: i64) {
        if count > 0 {
            self.block.insert(block.to_string(), count);
        } else {
            self.block.remove(&block.to_string());
        }
    }
}
