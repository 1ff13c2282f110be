//! Policies, tiers, profiles and sets of networks. Source: `resources.md` §1.2–§1.6, §1.10 of the contract.

use super::is_false;
use super::rule::{Action, Rule};
use crate::schema::scalar::canonical_number;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Number;
use std::collections::BTreeMap;

/// A direction of traffic, seen from the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PolicyType {
    /// To the endpoint.
    #[serde(alias = "ingress")]
    Ingress,
    /// From the endpoint.
    #[serde(alias = "egress")]
    Egress,
    /// A direction this version does not know.
    #[serde(other)]
    Unknown,
}

/// What a staged policy stands for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StagedAction {
    /// The enforced policy would be as this one says; also what absence means.
    #[default]
    Set,
    /// The enforced policy would be gone.
    Delete,
    /// It was learnt from traffic.
    Learn,
    /// It counts for nothing; also what an unknown value is taken for.
    #[serde(other)]
    Ignore,
}

/// Whole floats are whole numbers in the store.
fn as_go_writes<S: Serializer>(order: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    let number = order.and_then(Number::from_f64).map(|number| canonical_number(&number));
    number.serialize(serializer)
}

/// The default tier's name, also for policies that name none.
fn default_tier() -> String {
    crate::DEFAULT_TIER.to_owned()
}

/// NetworkPolicy: what may reach and leave some endpoints of one namespace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkPolicySpec {
    /// Its tier.
    #[serde(default = "default_tier")]
    pub tier: String,
    /// Its place in the tier, lower first; last when absent.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_go_writes")]
    pub order: Option<f64>,
    /// Rules for traffic to the endpoint; the first that matches counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ingress: Vec<Rule>,
    /// Rules for traffic from the endpoint; the first that matches counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<Rule>,
    /// The endpoints; all of the namespace when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub selector: String,
    /// The directions it speaks about, with or without rules; see [`NetworkPolicySpec::policy_types`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<PolicyType>,
    /// Service accounts of the endpoints; all when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_account_selector: String,
    /// `AssumeNeededOnEveryNode`, or what a newer version hints.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub performance_hints: Vec<String>,
}

impl Default for NetworkPolicySpec {
    fn default() -> Self {
        NetworkPolicySpec {
            tier: default_tier(),
            order: None,
            ingress: Vec::new(),
            egress: Vec::new(),
            selector: String::new(),
            types: Vec::new(),
            service_account_selector: String::new(),
            performance_hints: Vec::new(),
        }
    }
}

/// GlobalNetworkPolicy: what may reach and leave some endpoints of the cluster, hosts among them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GlobalNetworkPolicySpec {
    /// What it has in common with policies of one namespace.
    #[serde(flatten)]
    pub policy: NetworkPolicySpec,
    /// Applies before connection tracking, to host endpoints.
    #[serde(skip_serializing_if = "is_false")]
    pub do_not_track: bool,
    /// Applies before destination NAT, to host endpoints.
    #[serde(rename = "preDNAT", skip_serializing_if = "is_false")]
    pub pre_dnat: bool,
    /// Applies to traffic a host forwards, too.
    #[serde(skip_serializing_if = "is_false")]
    pub apply_on_forward: bool,
    /// Namespaces of the endpoints; all, and endpoints without one, when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace_selector: String,
}

/// StagedNetworkPolicy: evaluated, not enforced.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StagedNetworkPolicySpec {
    /// What it stands for.
    pub staged_action: StagedAction,
    /// The policy.
    #[serde(flatten)]
    pub policy: NetworkPolicySpec,
}

/// StagedGlobalNetworkPolicy: evaluated, not enforced.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StagedGlobalNetworkPolicySpec {
    /// What it stands for.
    pub staged_action: StagedAction,
    /// The policy.
    #[serde(flatten)]
    pub policy: GlobalNetworkPolicySpec,
}

impl NetworkPolicySpec {
    /// The directions the policy speaks about: as written, or by its rules where an old writer left them out.
    pub fn policy_types(&self) -> Vec<PolicyType> {
        match (self.types.as_slice(), self.ingress.is_empty(), self.egress.is_empty()) {
            ([], _, true) => vec![PolicyType::Ingress],
            ([], true, false) => vec![PolicyType::Egress],
            ([], false, false) => vec![PolicyType::Ingress, PolicyType::Egress],
            (types, ..) => types.to_vec(),
        }
    }
}

/// Tier: an ordered group of policies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TierSpec {
    /// Its place, lower first; as if 1000000 when absent.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_go_writes")]
    pub order: Option<f64>,
    /// What happens to traffic its policies do not decide: `Pass`, otherwise it is denied.
    pub default_action: Action,
}

impl Default for TierSpec {
    fn default() -> Self {
        TierSpec { order: None, default_action: Action::Deny }
    }
}

/// Profile: rules and labels that endpoints refer to by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProfileSpec {
    /// Rules for traffic to the endpoint.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ingress: Vec<Rule>,
    /// Rules for traffic from the endpoint.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<Rule>,
    /// Labels its endpoints inherit unless they have them themselves.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels_to_apply: BTreeMap<String, String>,
}

/// NetworkSet and GlobalNetworkSet: networks that selectors find by label.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkSetSpec {
    /// Addresses and CIDRs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nets: Vec<String>,
}
