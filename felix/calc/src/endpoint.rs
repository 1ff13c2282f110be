//! Endpoints of the node itself.

use crate::policy::Tier;
use model::v3::{HostEndpointSpec, WorkloadEndpointSpec};
use std::sync::Arc;

/// Which endpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointKey {
    /// A workload's: namespace and name.
    Workload(String, String),
    /// A host's: name.
    Host(String),
}

/// An endpoint as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub enum Endpoint {
    /// Of a workload.
    Workload(Box<WorkloadEndpointSpec>),
    /// Of the host.
    Host(HostEndpointSpec),
}

impl Endpoint {
    /// The profiles it names, in order.
    pub fn profiles(&self) -> impl Iterator<Item = &str> {
        match self {
            Endpoint::Workload(spec) => &spec.profiles,
            Endpoint::Host(spec) => &spec.profiles,
        }
        .iter()
        .map(String::as_str)
    }
}

/// A local endpoint and the policies that apply to it.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalEndpoint {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// Tiers with policies for it, in the order they apply.
    pub tiers: Vec<Tier>,
}
