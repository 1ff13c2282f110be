//! Datastore changes in, what the dataplane of one node has to know out.
//!
//! * [`feed`]: the whole; stored pairs go in, differences come out.
//! * [`changes`]: what comes out. [`report`]: what a person should know about stored objects.
//! * [`graph`]: policies, profiles, sets and endpoints, one object at a time.
//! * [`label_index`]: which endpoints a selector matches.
//! * [`selectors`]: what the selectors of a policy mean, namespaces and service accounts included.
//! * [`rule`], [`policy`], [`endpoint`]: objects as the dataplane needs them.
//! * `known`: local endpoints that come again under their name.
//! * [`sets`], [`static_sets`]: members of the sets that rules name.
//! * `peers`: BGPPeers of local workloads.
//! * `topology`: nodes, pools and blocks to routes.

pub mod changes;
pub mod counts;
pub mod endpoint;
pub mod feed;
pub mod graph;
mod items;
mod known;
pub mod label_index;
pub mod options;
mod peers;
pub mod policy;
pub mod report;
pub mod rule;
pub mod selectors;
pub mod sets;
mod slab;
pub mod static_sets;
mod told;
mod topology;

pub use changes::{BlockRoute, Changes};
pub use feed::Feed;
pub use graph::Graph;
pub use options::Options;
pub use report::Report;
