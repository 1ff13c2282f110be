//! The error a plugin prints on standard output.

use crate::json;
use serde::Serialize;
use std::fmt;

/// Codes of the CNI specification, and 999 for the plugin's own failures (`cni.md` §1 of the contract).
pub mod code {
    /// Configuration and plugin speak different versions.
    pub const INCOMPATIBLE_VERSION: u32 = 1;
    /// A variable is missing or wrong.
    pub const INVALID_ENVIRONMENT: u32 = 4;
    /// Standard input cannot be read.
    pub const IO: u32 = 5;
    /// The configuration is no JSON, or has a field of a wrong type.
    pub const DECODING: u32 = 6;
    /// The configuration says something impossible.
    pub const INVALID_CONFIG: u32 = 7;
    /// Nothing is wrong with the request: it may succeed later.
    pub const TRY_AGAIN: u32 = 11;
    /// STATUS: an ADD would fail now.
    pub const UNAVAILABLE: u32 = 50;
    /// STATUS: an ADD would fail now, and what is attached may not be served as it should.
    pub const LIMITED: u32 = 51;
    /// The datastore does not answer (`-t`).
    pub const DATASTORE: u32 = 100;
    /// The plugin failed.
    pub const INTERNAL: u32 = 999;
}

/// What went wrong, as a runtime reads it. The CNI version is left out, as Calico does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
pub struct CniError {
    /// One of [`code`].
    pub code: u32,
    /// What happened.
    pub msg: String,
    /// More about it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub details: String,
    /// What the datastore has to do with it. Not printed: an agent answers some of it another way.
    #[serde(skip)]
    pub store: StoreTrouble,
}

/// What is wrong with the datastore when a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StoreTrouble {
    /// Nothing, as far as is known.
    #[default]
    None,
    /// It did not answer, so that nobody knows what became of a write.
    Away,
    /// It answers, and nobody may write: it is not set up, or locked.
    NotReady,
}

impl CniError {
    /// An error with a code of its own.
    pub fn new(code: u32, msg: impl Into<String>) -> Self {
        Self { code, msg: msg.into(), details: String::new(), store: StoreTrouble::None }
    }

    /// What a runtime is told whose call nothing is wrong with.
    pub fn try_again(why: impl Into<String>) -> Self {
        Self::new(code::TRY_AGAIN, "try again later").with_details(why)
    }

    /// A failure of the plugin.
    pub fn internal(msg: impl fmt::Display) -> Self {
        Self::new(code::INTERNAL, msg.to_string())
    }

    /// The same, with what is wrong with the datastore.
    #[must_use]
    pub fn with_store(mut self, store: StoreTrouble) -> Self {
        self.store = store;
        self
    }

    /// The same with details.
    #[must_use]
    pub fn with_details(mut self, details: impl Into<String>) -> Self {
        self.details = details.into();
        self
    }

    /// The bytes for standard output.
    pub fn to_json(&self) -> String {
        json::pretty(self)
    }
}

impl fmt::Display for CniError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.msg)?;
        if !self.details.is_empty() {
            write!(f, "; {}", self.details)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_calico_does() {
        let error = CniError::internal("Calico is currently not ready to process requests");
        assert_eq!(
            error.to_json(),
            "{\n    \"code\": 999,\n    \"msg\": \"Calico is currently not ready to process requests\"\n}"
        );
        let error = CniError::new(code::INVALID_CONFIG, "invalid characters found in network name");
        assert_eq!(
            error.with_details("net a").to_json(),
            "{\n    \"code\": 7,\n    \"msg\": \"invalid characters found in network name\",\n    \"details\": \"net a\"\n}"
        );
    }

    #[test]
    fn reads_well_in_a_log() {
        assert_eq!(CniError::internal("a").to_string(), "a");
        assert_eq!(CniError::internal("a").with_details("b").to_string(), "a; b");
    }
}
