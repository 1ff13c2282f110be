//! Policies, tiers and profiles, and the order in which they apply (`felix.md` §3.1–§3.4 of the contract).

use crate::rule::{self, Rule, RuleError, SetDefinition};
use crate::selectors::{self, Scope, SelectorError};
use model::v3::{Action, GlobalNetworkPolicySpec, NetworkPolicySpec, PolicyType, ProfileSpec, TierSpec};
use selector::Selector;
use std::cmp::Ordering;
use std::sync::Arc;

/// Kind of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyKind {
    /// GlobalNetworkPolicy
    GlobalNetworkPolicy,
    /// NetworkPolicy
    NetworkPolicy,
    /// StagedGlobalNetworkPolicy
    StagedGlobalNetworkPolicy,
    /// StagedKubernetesNetworkPolicy
    StagedKubernetesNetworkPolicy,
    /// StagedNetworkPolicy
    StagedNetworkPolicy,
}

impl PolicyKind {
    /// The kind's name.
    pub fn name(self) -> &'static str {
        match self {
            PolicyKind::GlobalNetworkPolicy => "GlobalNetworkPolicy",
            PolicyKind::NetworkPolicy => "NetworkPolicy",
            PolicyKind::StagedGlobalNetworkPolicy => "StagedGlobalNetworkPolicy",
            PolicyKind::StagedKubernetesNetworkPolicy => "StagedKubernetesNetworkPolicy",
            PolicyKind::StagedNetworkPolicy => "StagedNetworkPolicy",
        }
    }

    /// The kind in short, as log prefixes and names of chains have it (`felix.md` §4 of the contract).
    pub fn short_name(self) -> &'static str {
        match self {
            PolicyKind::GlobalNetworkPolicy => "gnp",
            PolicyKind::NetworkPolicy => "np",
            PolicyKind::StagedGlobalNetworkPolicy => "sgnp",
            PolicyKind::StagedKubernetesNetworkPolicy => "sknp",
            PolicyKind::StagedNetworkPolicy => "snp",
        }
    }

    /// Whether it is evaluated without having an effect.
    pub fn is_staged(self) -> bool {
        !matches!(self, PolicyKind::GlobalNetworkPolicy | PolicyKind::NetworkPolicy)
    }
}

/// Which policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyKey {
    /// Kind.
    pub kind: PolicyKind,
    /// Namespace; empty for those in none.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl std::fmt::Display for PolicyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.namespace.as_str() {
            "" => write!(f, "{} {}", self.kind.name(), self.name),
            namespace => write!(f, "{} {namespace}/{}", self.kind.name(), self.name),
        }
    }
}

impl PolicyKey {
    /// By the text `name/namespace/kind`, which is never made: an endpoint may have a thousand policies without an order.
    fn compare_as_text(&self, other: &Self) -> Ordering {
        let (name, others) = (&self.name, &other.name);
        if !name.starts_with(others.as_str()) && !others.starts_with(name.as_str()) {
            return name.cmp(others);
        }
        fn text(key: &PolicyKey) -> impl Iterator<Item = u8> {
            let parts = [key.name.as_str(), "/", &key.namespace, "/", key.kind.name()];
            parts.into_iter().flat_map(str::bytes)
        }
        text(self).cmp(text(other))
    }
}

/// Where a policy of a host endpoint acts. On workloads every policy is [`Stage::Normal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Before connection tracking.
    Untracked,
    /// Before destinations are translated.
    PreDnat,
    /// To and from processes of the host; also what is forwarded when the policy says so.
    Normal,
}

/// A policy ready to be applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Which.
    pub key: PolicyKey,
    /// Its tier.
    pub tier: String,
    /// Its order; last when `None`.
    pub order: Option<f64>,
    /// The endpoints it applies to.
    pub selector: Selector,
    /// Where it acts on a host endpoint.
    pub stage: Stage,
    /// Whether it acts on what a host endpoint forwards.
    pub forward: bool,
    /// Rules for packets to the endpoint; `None` when the policy says nothing about them.
    pub ingress: Option<Vec<Rule>>,
    /// Rules for packets from the endpoint; `None` when the policy says nothing about them.
    pub egress: Option<Vec<Rule>>,
    /// Sets the rules name, each once.
    pub sets: Vec<SetDefinition>,
}

/// Why a policy or profile counts as absent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Its selector.
    #[error("spec.{0}")]
    Selector(#[from] SelectorError),
    /// A rule.
    #[error("spec.{list}[{index}].{source}")]
    Rule {
        /// `ingress` or `egress`.
        list: &'static str,
        /// From 0.
        index: usize,
        /// What is wrong.
        source: RuleError,
    },
}

impl Policy {
    /// A policy in a namespace.
    ///
    /// # Errors
    /// When a selector or rule cannot be read.
    pub fn namespaced(key: PolicyKey, spec: &NetworkPolicySpec) -> Result<Self, PolicyError> {
        let namespace = key.namespace.clone();
        let scope = Scope::Namespace(&namespace);
        let selector = selectors::of_policy(scope, &spec.selector, "", &spec.service_account_selector)?;
        Self::compile(key, spec, selector, scope)
    }

    /// A policy of the cluster.
    ///
    /// # Errors
    /// When a selector or rule cannot be read.
    pub fn global(key: PolicyKey, spec: &GlobalNetworkPolicySpec) -> Result<Self, PolicyError> {
        let of = &spec.policy;
        let selector = selectors::of_policy(
            Scope::Cluster,
            &of.selector,
            &spec.namespace_selector,
            &of.service_account_selector,
        )?;
        let mut policy = Self::compile(key, of, selector, Scope::Cluster)?;
        policy.stage = match (spec.do_not_track, spec.pre_dnat) {
            (true, _) => Stage::Untracked,
            (false, true) => Stage::PreDnat,
            (false, false) => Stage::Normal,
        };
        policy.forward = spec.apply_on_forward;
        Ok(policy)
    }

    fn compile(
        key: PolicyKey,
        spec: &NetworkPolicySpec,
        selector: Selector,
        scope: Scope<'_>,
    ) -> Result<Self, PolicyError> {
        // old data: no types at all mean both, whatever the rules say
        let applies = |of: PolicyType| spec.types.is_empty() || spec.types.contains(&of);
        let mut sets = Vec::new();
        let mut rules = |list, of, rules| match applies(of) {
            true => compile_rules(list, rules, scope, &mut sets).map(Some),
            false => Ok(None),
        };
        let ingress = rules("ingress", PolicyType::Ingress, &spec.ingress)?;
        let egress = rules("egress", PolicyType::Egress, &spec.egress)?;
        let tier = if spec.tier.is_empty() { model::DEFAULT_TIER.to_owned() } else { spec.tier.clone() };
        Ok(Policy {
            key,
            tier,
            order: spec.order,
            selector,
            stage: Stage::Normal,
            forward: false,
            ingress,
            egress,
            sets: each_once(sets),
        })
    }

    /// Ascending order, none last; ties by `name/namespace/kind`.
    pub fn compare(&self, other: &Self) -> Ordering {
        compare_orders(self.order, other.order).then_with(|| self.key.compare_as_text(&other.key))
    }
}

/// A profile ready to be applied.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Profile {
    /// Rules for packets to the endpoint.
    pub ingress: Vec<Rule>,
    /// Rules for packets from the endpoint.
    pub egress: Vec<Rule>,
    /// Sets the rules name, each once.
    pub sets: Vec<SetDefinition>,
}

impl Profile {
    /// Reads a profile's rules; its selectors see the whole cluster.
    ///
    /// # Errors
    /// When a rule cannot be read.
    pub fn compile(spec: &ProfileSpec) -> Result<Self, PolicyError> {
        let mut sets = Vec::new();
        let ingress = compile_rules("ingress", &spec.ingress, Scope::Cluster, &mut sets)?;
        let egress = compile_rules("egress", &spec.egress, Scope::Cluster, &mut sets)?;
        Ok(Profile { ingress, egress, sets: each_once(sets) })
    }

    /// What stands in for a profile that is named and not there: it denies, also what a later profile would allow
    /// (the recording `no-profile`).
    pub(crate) fn missing() -> Arc<Self> {
        let deny = || vec![model::v3::Rule { action: Action::Deny, ..model::v3::Rule::default() }];
        let spec = ProfileSpec { ingress: deny(), egress: deny(), ..ProfileSpec::default() };
        Arc::new(Profile::compile(&spec).unwrap_or_default())
    }
}

fn compile_rules(
    list: &'static str,
    rules: &[model::v3::Rule],
    scope: Scope<'_>,
    sets: &mut Vec<SetDefinition>,
) -> Result<Vec<Rule>, PolicyError> {
    // collected it would have room for four, and most policies have one
    let mut compiled = Vec::with_capacity(rules.len());
    for (index, rule) in rules.iter().enumerate() {
        let (rule, named) =
            rule::compile(rule, index, scope).map_err(|source| PolicyError::Rule { list, index, source })?;
        sets.extend(named);
        compiled.push(rule);
    }
    Ok(compiled)
}

fn each_once(mut sets: Vec<SetDefinition>) -> Vec<SetDefinition> {
    sets.sort_by(|a, b| a.id.cmp(&b.id));
    sets.dedup_by(|a, b| a.id == b.id);
    sets
}

/// A tier as endpoints see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Tier {
    /// Its name.
    pub name: String,
    /// What happens where its policies apply and none decided.
    pub default_action: Action,
    /// Policies, in the order they apply.
    pub policies: Vec<Arc<Policy>>,
}

/// Ascending order, none last; a tier that is not there after those that are; then by name.
pub(crate) fn compare_tiers(a: (&str, Option<&TierSpec>), b: (&str, Option<&TierSpec>)) -> Ordering {
    let order = |spec: Option<&TierSpec>| spec.and_then(|spec| spec.order);
    (a.1.is_none())
        .cmp(&b.1.is_none())
        .then_with(|| compare_orders(order(a.1), order(b.1)))
        .then_with(|| a.0.cmp(b.0))
}

fn compare_orders(a: Option<f64>, b: Option<f64>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        (a, b) => a.is_none().cmp(&b.is_none()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> impl Strategy<Value = PolicyKey> {
        let kind = prop_oneof![Just(PolicyKind::NetworkPolicy), Just(PolicyKind::StagedNetworkPolicy)];
        (kind, "[a-].?|", "[a.-]{1,3}").prop_map(|(kind, namespace, name)| PolicyKey {
            kind,
            namespace,
            name,
        })
    }

    proptest! {
        #[test]
        fn keys_compare_as_their_text_does(a in key(), b in key()) {
            let text = |key: &PolicyKey| format!("{}/{}/{}", key.name, key.namespace, key.kind.name());
            prop_assert_eq!(a.compare_as_text(&b), text(&a).cmp(&text(&b)));
        }
    }
}
