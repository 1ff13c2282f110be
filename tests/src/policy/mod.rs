//! What policy means, judged from outside: an oracle that reads resources as the contract explains them, and what to ask it.
//!
//! ```text
//!  cluster (random resources, one seed) ──► oracle ──► verdict, with the fields that decided
//!        │                                               ║ must be equal
//!        ├──► what the agent calculates, evaluated in user space
//!        └──► the agent in a node's namespaces, real packets
//! ```
//!
//! * [`selector`] reads and evaluates selectors; [`object`] looks up what is stored; [`matching`] holds a rule against a packet.
//! * [`oracle`] orders tiers and policies and gives the verdict of one endpoint; [`passage`] leads a packet through the host;
//!   [`translation`] knows what becomes of its addresses.
//! * [`cluster`], [`rules`] and [`packets`] make up what is asked, biased to what is interesting; [`fields`] is one case a
//!   match field, in which that field alone decides.
//! * [`services`] is what another program of the node translates.
//! * [`stage`] sets a cluster's node up in namespaces and sends the packets; [`trial`] compares what becomes of them.
//!
//! The oracle is naive on purpose: it holds the JSON that is stored, evaluates every selector against every labelled thing
//! that has the packet's address, and knows of no index, no set and no difference. It shares nothing with `felix/calc`,
//! `felix/render` or `lib/selector`; the arithmetic of prefixes is `model::net::Cidr`.

pub mod cluster;
pub mod fields;
pub mod matching;
pub mod object;
pub mod oracle;
pub mod packets;
pub mod passage;
pub mod rules;
pub mod selector;
pub mod services;
pub mod stage;
pub mod translation;
pub mod trial;
