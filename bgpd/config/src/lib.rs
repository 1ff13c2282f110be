//! From one node's view of Calico's resources to what its speaker shall do.
//!
//! [`View`] holds what was read: each resource as the few facts that matter here, or as a [`Warning`] that says what is
//! wrong with it. [`View::plan`] makes a [`NodePlan`] of them: sessions (mesh, BGPPeers, their far ends, local
//! workloads), blocks to originate, policies that say what is taken, sent and programmed. [`PlanDiff`] tells two plans
//! apart, session by session and policy by policy, so that a change touches only the peers it must.
//!
//! Filters and Calico's standing rules become [`bgp_rib::policy`] data, each rule with the name of the resource it
//! came from. Equal policies are one allocation, so that sessions with the same policy are one group.
//!
//! Source: `bgp.md` §2–§7 and §9–§12, `resources.md` §1.15–§1.17 of the contract.

// what a plan tells the RIB, in the RIB's own terms
pub use bgp_rib::{MaxPrefixAction, MaxPrefixes, NextHopMode, PeerSettings};

mod build;
mod configuration;
mod diff;
mod filter;
mod interner;
mod node;
mod options;
mod peer;
mod plan;
mod pool;
mod reading;
mod sessions;
mod settings;
mod standing;
mod view;
mod warning;
mod workload;

pub use diff::{PlanDiff, SessionChange, SessionStep};
pub use options::{ANNOTATION_PREFIX, OPTIONS, OptionInfo, Scope};
pub use plan::{
    BGP_PORT, Listen, LogLevel, NodePlan, SecretRef, SessionKey, SessionPlan, SessionType, Signing,
};
pub use view::{BadRouterId, RouterId, View};
pub use warning::Warning;
pub use workload::WorkloadStatus;
