//! Desired against actual: what still has to change.
//!
//! A driver keeps one [`DeltaMap`] for each kind of object it programs. What should be is told by
//! [`set_desired`](DeltaMap::set_desired), what is by [`set_actual`](DeltaMap::set_actual) (from a dump, an event, or
//! because it was just programmed); the map keeps both pending sets as it goes, so that finding the work costs nothing
//! when there is none. A change that failed is simply not marked and stays pending.
//!
//! What was refused waits in [`Retries`] until it may be tried again.
//!
//! Iteration is in key order: the same state always gives the same batch.

mod map;
mod retries;

pub use map::{DeltaMap, Entry, PendingUpdate};
pub use retries::Retries;
