//! Policies, tiers and profiles: from stored values to what the graph takes (`datamodel.md` §8 of the contract).

use super::kubernetes;
use super::object::{Object, Refusal};
use crate::policy::{Policy, PolicyKey, PolicyKind, Profile};
use crate::report::Report;
use crate::rule::Rule;
use model::Kind;
use model::v3::{
    Action, GlobalNetworkPolicySpec, NetworkPolicySpec, ProfileSpec, StagedAction,
    StagedGlobalNetworkPolicySpec, StagedKubernetesNetworkPolicySpec, StagedNetworkPolicySpec, TierSpec,
};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

fn read<S: DeserializeOwned + Default>(kind: Kind, value: &[u8]) -> Result<S, Refusal> {
    let mut spare = Vec::new();
    let mut object: Object<'_, S> = Object::read(kind, value, &mut spare)?;
    Ok(object.take_spec())
}

/// Kinds of policies.
pub(super) fn kind_of(kind: Kind) -> Option<PolicyKind> {
    Some(match kind {
        Kind::GlobalNetworkPolicy => PolicyKind::GlobalNetworkPolicy,
        Kind::NetworkPolicy => PolicyKind::NetworkPolicy,
        Kind::StagedGlobalNetworkPolicy => PolicyKind::StagedGlobalNetworkPolicy,
        Kind::StagedKubernetesNetworkPolicy => PolicyKind::StagedKubernetesNetworkPolicy,
        Kind::StagedNetworkPolicy => PolicyKind::StagedNetworkPolicy,
        _ => return None,
    })
}

/// A policy; `None` for a staged one that stands for nothing that could be evaluated.
pub(super) fn policy(key: PolicyKey, kind: Kind, value: &[u8]) -> Result<Option<Policy>, Refusal> {
    let counts = |action| !matches!(action, StagedAction::Delete | StagedAction::Ignore);
    let compiled = match key.kind {
        PolicyKind::NetworkPolicy => {
            let spec: NetworkPolicySpec = read(kind, value)?;
            Policy::namespaced(key, &spec)
        }
        PolicyKind::GlobalNetworkPolicy => {
            let spec: GlobalNetworkPolicySpec = read(kind, value)?;
            Policy::global(key, &spec)
        }
        PolicyKind::StagedNetworkPolicy => {
            let spec: StagedNetworkPolicySpec = read(kind, value)?;
            if !counts(spec.staged_action) {
                return Ok(None);
            }
            Policy::namespaced(key, &spec.policy)
        }
        PolicyKind::StagedGlobalNetworkPolicy => {
            let spec: StagedGlobalNetworkPolicySpec = read(kind, value)?;
            if !counts(spec.staged_action) {
                return Ok(None);
            }
            Policy::global(key, &spec.policy)
        }
        PolicyKind::StagedKubernetesNetworkPolicy => {
            let spec: StagedKubernetesNetworkPolicySpec = read(kind, value)?;
            if !counts(spec.staged_action) {
                return Ok(None);
            }
            Policy::namespaced(key, &kubernetes::convert(&spec)?)
        }
    };
    compiled.map(Some).map_err(|error| Refusal(error.to_string()))
}

/// A profile's rules and the labels it gives.
pub(super) fn profile(value: &[u8]) -> Result<(Profile, BTreeMap<String, String>), Refusal> {
    let spec: ProfileSpec = read(Kind::Profile, value)?;
    let profile = Profile::compile(&spec).map_err(|error| Refusal(error.to_string()))?;
    Ok((profile, spec.labels_to_apply))
}

/// A tier; what is not exactly `Pass` denies.
pub(super) fn tier(value: &[u8]) -> Result<TierSpec, Refusal> {
    let spec: TierSpec = read(Kind::Tier, value)?;
    let default_action = if spec.default_action == Action::Pass { Action::Pass } else { Action::Deny };
    Ok(TierSpec { default_action, ..spec })
}

/// What is not enforced of these rules.
pub(super) fn not_enforced<'a>(lists: impl IntoIterator<Item = (&'static str, &'a [Rule])>) -> Vec<Report> {
    let mut reports = Vec::new();
    for (list, rules) in lists {
        reports.extend(rules.iter().filter_map(|rule| {
            Some(Report::NotEnforced { rule: format!("{list}[{}]", rule.index), field: rule.unenforced? })
        }));
    }
    reports
}
