//! Datastore changes in, what the dataplane of one node has to know out.

pub mod label_index;
pub mod rule;
pub mod selectors;
