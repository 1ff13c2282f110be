//! Typed views of the specs of `projectcalico.org/v3`, one file a group of kinds.
//!
//! They are read with [`Resource::typed_spec`](crate::Resource::typed_spec): fields we do not know are ignored and
//! missing ones get the meaning Calico gives to their absence. Writers use them to build new objects; changes to
//! stored objects patch the raw JSON instead, so that unknown fields survive.
//! Source: `resources.md` §1 of the contract.

mod bgp;
mod cluster;
mod controllers;
mod endpoint;
mod kubernetes_policy;
mod node;
mod policy;
mod pool;
mod protocol;
mod rule;

pub use bgp::{
    BGPConfigurationSpec, BGPFilterSpec, BGPPeerSpec, BgpFilterRule, BgpOperation, BgpPassword,
    CommunityMatch, GoDuration, NamedCommunity, PrefixAdvertisement, PrefixLength, SecretKeyRef, ServiceCidr,
};
pub use cluster::ClusterInformationSpec;
pub use controllers::{
    AgentStatus, AssignIps, AutoHostEndpoints, BgpStatus, CalicoNodeStatusSpec, CalicoNodeStatusStatus,
    Controllers, DaemonStatus, HostEndpointTemplate, KubeControllersConfigurationSpec,
    LoadBalancerController, MigrationController, NodeController, NodeStatusClass, PeerStatus,
    PeriodicController, RouteSource, RouteStatus, RoutesStatus, Switch,
};
pub use endpoint::{EndpointPort, HostEndpointSpec, HostPort, IpNat, QosControls, WorkloadEndpointSpec};
pub use kubernetes_policy::{
    IpBlock, KubernetesEgress, KubernetesIngress, KubernetesPeer, KubernetesPort, LabelExpression,
    LabelSelector, StagedKubernetesNetworkPolicySpec,
};
pub use node::{NodeAddress, NodeBgp, NodeInterface, NodeSpec, NodeStatus, NodeWireguard, OrchRef};
pub use policy::{
    GlobalNetworkPolicySpec, NetworkPolicySpec, NetworkSetSpec, PolicyType, ProfileSpec, StagedAction,
    StagedGlobalNetworkPolicySpec, StagedNetworkPolicySpec, TierSpec,
};
pub use pool::{
    AssignmentMode, DEFAULT_BLOCK_V4, DEFAULT_BLOCK_V6, EncapMode, IPAMConfigurationSpec, IPPoolSpec,
    IPReservationSpec, PoolUse,
};

pub use protocol::Protocol;
pub use rule::{
    Action, EntityRule, HttpMatch, HttpPath, IcmpFields, Port, PortError, Rule, RuleMetadata,
    ServiceAccountMatch, ServiceMatch,
};

/// `skip_serializing_if` for flags that Go leaves out when false.
pub(crate) fn is_false(flag: &bool) -> bool {
    !*flag
}

/// `skip_serializing_if` for numbers that Go leaves out when zero.
pub(crate) fn is_zero<N: Default + PartialEq>(number: &N) -> bool {
    *number == N::default()
}

#[cfg(test)]
mod tests;
