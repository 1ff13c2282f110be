//! The claim of an owner on a block.

use super::{read_or_default, to_bytes};
use crate::key::Key;
use crate::resource::StoredError;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// How far a claim has come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AffinityState {
    /// No state: written by very old releases, also as a value of zero bytes. Stands for confirmed when a block is
    /// loaded through it.
    #[default]
    Unset,
    /// Announced; the block may not exist yet.
    Pending,
    /// The block is the owner's.
    Confirmed,
    /// Being given up.
    PendingDeletion,
    /// A state we do not know; counts as not confirmed.
    Other(String),
}

impl AffinityState {
    fn text(&self) -> &str {
        match self {
            AffinityState::Unset => "",
            AffinityState::Pending => "pending",
            AffinityState::Confirmed => "confirmed",
            AffinityState::PendingDeletion => "pendingDeletion",
            AffinityState::Other(text) => text,
        }
    }

    /// Whether a block may be used through an affinity in this state as it is.
    pub fn usable(&self) -> bool {
        matches!(self, AffinityState::Unset | AffinityState::Confirmed)
    }
}

impl Serialize for AffinityState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}

impl<'de> Deserialize<'de> for AffinityState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text: Option<String> = Option::deserialize(deserializer)?;
        Ok(match text.as_deref() {
            None | Some("") => AffinityState::Unset,
            Some("pending") => AffinityState::Pending,
            Some("confirmed") => AffinityState::Confirmed,
            Some("pendingDeletion") => AffinityState::PendingDeletion,
            Some(other) => AffinityState::Other(other.to_owned()),
        })
    }
}

/// Value of an affinity key.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct BlockAffinity {
    /// State of the claim.
    #[serde(default)]
    pub state: AffinityState,
    /// Only meaningful in the Kubernetes datastore.
    #[serde(default)]
    pub deleted: bool,
    /// Fields we do not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl BlockAffinity {
    /// An affinity in `state`.
    pub fn new(state: AffinityState) -> Self {
        Self { state, ..Self::default() }
    }

    /// Reads a stored value; zero bytes are an affinity without a state.
    pub fn decode(key: &Key, value: &[u8]) -> Result<Self, StoredError> {
        read_or_default(key, value)
    }

    /// The value to store.
    pub fn encode(&self) -> Vec<u8> {
        to_bytes(self)
    }
}
