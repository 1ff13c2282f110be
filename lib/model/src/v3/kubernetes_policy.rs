//! StagedKubernetesNetworkPolicy: a NetworkPolicy of Kubernetes that is evaluated, not enforced. Source: `resources.md`
//! §1.4 of the contract; the fields are those of Kubernetes' `networking.k8s.io/v1`.

use super::policy::{PolicyType, StagedAction};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The policy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StagedKubernetesNetworkPolicySpec {
    /// What it stands for.
    pub staged_action: StagedAction,
    /// The pods; all of the namespace when empty.
    pub pod_selector: LabelSelector,
    /// What may reach them; the first entry that matches allows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ingress: Vec<KubernetesIngress>,
    /// What they may reach; the first entry that matches allows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<KubernetesEgress>,
    /// The directions as written; see [`StagedKubernetesNetworkPolicySpec::directions`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policy_types: Vec<PolicyType>,
}

impl StagedKubernetesNetworkPolicySpec {
    /// The directions it speaks about: as written, else to the pods, and from them where it has rules for that.
    pub fn directions(&self) -> Vec<PolicyType> {
        match (self.policy_types.as_slice(), self.egress.is_empty()) {
            ([], true) => vec![PolicyType::Ingress],
            ([], false) => vec![PolicyType::Ingress, PolicyType::Egress],
            (types, _) => types.to_vec(),
        }
    }
}

/// Kubernetes' selector of labels; everything when empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// Labels with these values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// And these conditions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<LabelExpression>,
}

/// A condition on one label.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LabelExpression {
    /// The label.
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: String,
    /// The values, where the operator has some.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// What may reach the pods.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct KubernetesIngress {
    /// At these ports; at all when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<KubernetesPort>,
    /// From these peers; from all when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<KubernetesPeer>,
}

/// What the pods may reach.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct KubernetesEgress {
    /// At these ports; at all when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<KubernetesPort>,
    /// At these peers; at all when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<KubernetesPeer>,
}

/// A port or range of ports.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KubernetesPort {
    /// Protocol; TCP when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Number or name; all when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<Value>,
    /// Last of the range that begins with `port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_port: Option<i32>,
}

/// A peer: pods, pods of namespaces, or addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KubernetesPeer {
    /// Pods; all of the namespaces when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
    /// Namespaces; the policy's own when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Addresses; alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_block: Option<IpBlock>,
}

/// Addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IpBlock {
    /// These.
    pub cidr: String,
    /// But not these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
}
