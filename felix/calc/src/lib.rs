//! Datastore changes in, what the dataplane of one node has to know out.
//!
//! * [`graph`]: the whole; objects go in, differences come out.
//! * [`changes`]: what comes out.
//! * [`label_index`]: which endpoints a selector matches.
//! * [`selectors`]: what the selectors of a policy mean, namespaces and service accounts included.
//! * [`rule`], [`policy`], [`endpoint`]: objects as the dataplane needs them.
//! * [`sets`], [`static_sets`]: members of the sets that rules name.
//! * [`report`]: what a person should know about stored objects.

pub mod changes;
pub mod endpoint;
pub mod graph;
pub mod label_index;
pub mod policy;
pub mod report;
pub mod rule;
pub mod selectors;
pub mod sets;
mod slab;
pub mod static_sets;

pub use changes::{BlockRoute, Changes};
pub use graph::{Graph, ItemKey};
pub use report::Report;
