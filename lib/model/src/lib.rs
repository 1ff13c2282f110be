//! The resources of `projectcalico.org/v3`: what they are called, where they are stored, what they may say.
//!
//! A [`Resource`] is its raw JSON. Typed views ([`v3`]) are read from it, changes patch it, so that fields of newer
//! versions survive. [`Kind`] and [`Key`] say where it lives.
//!
//! Between a person and the store stand three steps. [`document`] reads text (YAML as Go's tools read it, JSON) into
//! values. [`schema`] turns a value into a resource in stored form, with one static table per kind: unknown fields and
//! wrong types are refused with their path, everything else comes out in the order and the spelling in which Calico
//! stores it. [`admission`] fills in defaults and refuses what Calico refuses, in its words ([`error`]).
//!
//! On the way back, [`yaml`] and [`columns`] print what is stored. [`ipam`] holds the stored forms of blocks, handles
//! and affinities, which are no resources; [`felix`] the parameters of the node agent; [`names`], [`net`] and [`number`] are small things everyone needs.
//!
//! Everything here is pure: same input, same output, no clock, no files, and no input whatever makes it panic.

pub mod admission;
pub mod columns;
pub mod document;
pub mod error;
pub mod felix;
pub mod ipam;
pub mod key;
pub mod kind;
mod kinds;
pub mod names;
pub mod net;
pub mod number;
pub mod resource;
pub mod schema;
#[cfg(test)]
mod tests;
pub mod v3;
pub mod yaml;

pub use error::{FieldError, ValidationError};
pub use key::{Key, Owner};
pub use kind::Kind;
pub use kinds::policy_defaults::{DEFAULT_TIER, TIER_LABEL};
pub use kinds::tier::{DEFAULT_TIER_ORDER, WELL_KNOWN_TIERS};
pub use resource::{Resource, StoredError};
