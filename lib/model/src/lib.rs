//! `projectcalico.org/v3` resources, keys and paths, defaults, validation.

pub mod admission;
pub mod columns;
pub mod document;
pub mod error;
#[cfg(test)]
mod golden;
pub mod ipam;
pub mod key;
pub mod kind;
mod kinds;
pub mod names;
pub mod net;
pub mod number;
pub mod resource;
pub mod schema;
pub mod v3;
pub mod yaml;

pub use error::{FieldError, ValidationError};
pub use key::{Key, Owner};
pub use kind::Kind;
pub use kinds::policy_defaults::{DEFAULT_TIER, TIER_LABEL};
pub use kinds::tier::{DEFAULT_TIER_ORDER, WELL_KNOWN_TIERS};
pub use resource::{Resource, StoredError};
