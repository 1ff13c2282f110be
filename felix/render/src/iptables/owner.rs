//! Who defines chains.

use felix_calc::policy::PolicyKey;
use std::sync::Arc;

/// An owner.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Owner {
    /// Chains that are there whatever is stored.
    Statics,
    /// What leads to workloads, and what is about their addresses.
    Workloads,
    /// What leads to host endpoints.
    Hosts,
    /// The chains of a workload's interface.
    Workload(Arc<str>),
    /// The chains of a host endpoint at an interface.
    Host(Arc<str>),
    /// A policy's chains.
    Policy(PolicyKey),
    /// A profile's chains.
    Profile(Arc<str>),
}
