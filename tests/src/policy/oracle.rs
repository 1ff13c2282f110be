//! The verdict of one endpoint on one packet, from the resources as they are stored (contract `felix.md` §3).

use super::matching::{Coverage, NAMESPACE, SERVICE_ACCOUNT};
use super::object::{identity, labels, list, prefix, protocol, text, texts};
use super::packets::Packet;
use super::selector::{Labels, Selector};
use super::services::Service;
use model::net::Cidr;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// The profile that is always there and allows everything.
const DEFAULT_ALLOW: &str = "projectcalico-default-allow";

/// Which way a packet goes, seen from the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// To it.
    Ingress,
    /// From it.
    Egress,
}

/// Which policies of an endpoint are asked (contract `felix.md` §3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Of a workload.
    Workload,
    /// Of a host endpoint: traffic of the host's own processes.
    Normal,
    /// Of a host endpoint: what the host forwards.
    Forward,
    /// Of a host endpoint: before destinations are translated.
    PreDnat,
    /// Of a host endpoint: before connection tracking.
    Untracked,
}

/// What an endpoint says about a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may pass.
    Allow,
    /// It is dropped.
    Deny,
    /// Nothing in this scope decided, and that is no verdict there.
    None,
}

/// A named port of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPort {
    /// Its name.
    pub name: String,
    /// Protocol number.
    pub protocol: u8,
    /// The port.
    pub port: u16,
}

/// Something with labels and addresses: an endpoint or a network set.
#[derive(Debug, Clone)]
pub struct Item {
    /// Its addresses.
    pub nets: Vec<Cidr>,
    /// Its labels, those of its profiles included.
    pub labels: Labels,
    /// Its named ports.
    pub ports: Vec<NamedPort>,
}

/// Everything that is stored and valid, to be asked about one node.
#[derive(Debug)]
pub struct Oracle {
    /// The node's name.
    pub node: String,
    resources: Vec<Value>,
    pub(super) items: Vec<Item>,
    read: RefCell<HashMap<String, Rc<Selector>>>,
    /// Another program of the node translates these.
    pub(super) services: Vec<Service>,
}

impl Oracle {
    /// About these resources. Invalid ones are not among them: they count as absent.
    pub fn new(node: &str, resources: Vec<Value>) -> Self {
        let mut oracle = Self {
            node: node.to_owned(),
            resources,
            items: Vec::new(),
            read: RefCell::default(),
            services: Vec::new(),
        };
        oracle.items = oracle.resources.iter().filter_map(|resource| oracle.item(resource)).collect();
        oracle
    }

    /// Beside a program that translates services.
    pub fn beside(mut self, services: Vec<Service>) -> Self {
        self.services = services;
        self
    }

    /// The stored resources of a kind.
    pub fn all<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.resources.iter().filter(move |resource| text(resource, "kind") == kind)
    }

    /// Endpoints of this node: kind, namespace and name tell them apart.
    pub fn local_endpoints(&self) -> impl Iterator<Item = &Value> {
        let workloads = self.all("WorkloadEndpoint").filter(|endpoint| has_addresses(endpoint));
        workloads
            .chain(self.all("HostEndpoint"))
            .filter(|endpoint| text(&endpoint["spec"], "node") == self.node)
    }

    fn item(&self, resource: &Value) -> Option<Item> {
        let spec = &resource["spec"];
        let field = match text(resource, "kind") {
            "WorkloadEndpoint" => "ipNetworks",
            "HostEndpoint" => "expectedIPs",
            "NetworkSet" | "GlobalNetworkSet" => "nets",
            _ => return None,
        };
        let nets = texts(spec, field).filter_map(prefix).collect();
        let ports = list(spec, "ports").filter_map(|port| {
            Some(NamedPort {
                name: Some(text(port, "name")).filter(|name| !name.is_empty())?.to_owned(),
                protocol: protocol(&port["protocol"])?,
                port: u16::try_from(port["port"].as_u64()?).ok()?,
            })
        });
        if text(resource, "kind") == "WorkloadEndpoint" && !has_addresses(resource) {
            return None;
        }
        Some(Item { nets, labels: self.labels_of(resource), ports: ports.collect() })
    }

    /// Labels of an endpoint or network set: its own, then those of its profiles in their order.
    pub fn labels_of(&self, resource: &Value) -> Labels {
        let (kind, namespace, _) = identity(resource);
        let spec = &resource["spec"];
        let mut all = labels(&resource["metadata"]["labels"]);
        let mut profiles: Vec<String> = texts(spec, "profiles").map(str::to_owned).collect();
        if kind == "WorkloadEndpoint" {
            // what only a namespace or service account may say
            all.retain(|label, _| !label.starts_with("pcns.") && !label.starts_with("pcsa."));
            let account = text(spec, "serviceAccountName");
            if !account.is_empty() {
                all.insert(SERVICE_ACCOUNT.to_owned(), account.to_owned());
            }
        }
        if kind == "NetworkSet" {
            all.insert(NAMESPACE.to_owned(), namespace.to_owned());
            profiles = vec![format!("kns.{namespace}")];
        }
        for name in &profiles {
            for (label, value) in self
                .profile(name)
                .map(|profile| labels(&profile["spec"]["labelsToApply"]))
                .unwrap_or_default()
            {
                all.entry(label).or_insert(value);
            }
        }
        all
    }

    fn profile(&self, name: &str) -> Option<&Value> {
        self.all("Profile").find(|profile| identity(profile).2 == name)
    }

    fn selector(&self, text: &str) -> Rc<Selector> {
        if let Some(known) = self.read.borrow().get(text) {
            return known.clone();
        }
        // An object with a selector that is none is not here; selecting nothing would show it.
        let read = Selector::read(text).unwrap_or(Selector::Or(Vec::new()));
        let read = Rc::new(read);
        self.read.borrow_mut().insert(text.to_owned(), read.clone());
        read
    }

    pub(super) fn selects(&self, selector: &str, labels: &Labels) -> bool {
        self.selector(selector).selects(labels)
    }

    /// As [`Selector::about`] says.
    pub(super) fn selects_about(&self, selector: &str, prefix: &str, member: &str, labels: &Labels) -> bool {
        self.selector(selector).about(prefix, member).selects(labels)
    }

    /// Keys get a prefix; `all()` stays what it is.
    pub(super) fn selects_prefixed(&self, selector: &str, prefix: &str, labels: &Labels) -> bool {
        let stripped: Labels = labels
            .iter()
            .filter_map(|(label, value)| Some((label.strip_prefix(prefix)?.to_owned(), value.clone())))
            .collect();
        self.selector(selector).selects(&stripped)
    }

    /// Whether a policy is about an endpoint with these labels (contract `felix.md` §3.1).
    fn applies(&self, policy: &Value, labels: &Labels) -> bool {
        let (kind, namespace, _) = identity(policy);
        let spec = &policy["spec"];
        let selector = text(spec, "selector");
        let accounts = text(spec, "serviceAccountSelector");
        let namespaces = text(spec, "namespaceSelector");
        if kind == "NetworkPolicy" || kind == "StagedNetworkPolicy" {
            return labels.get(NAMESPACE).is_some_and(|found| found == namespace)
                && self.selects(selector, labels)
                && (accounts.is_empty() || self.selects_prefixed(accounts, "pcsa.", labels));
        }
        // With a selector of namespaces, or of service accounts, `all()` means everything that has one, wherever in the
        // text it stands.
        let mut own = (*self.selector(selector)).clone();
        let written = !selector.trim().is_empty();
        if !namespaces.is_empty() {
            own = if written { all_means(&own, NAMESPACE) } else { own };
            if !self.selects_about(namespaces, "pcns.", NAMESPACE, labels) {
                return false;
            }
        }
        if !accounts.is_empty() {
            own = if written { all_means(&own, SERVICE_ACCOUNT) } else { own };
            if !self.selects_about(accounts, "pcsa.", SERVICE_ACCOUNT, labels) {
                return false;
            }
        }
        own.selects(labels)
    }

    /// Policies in force that say something about this direction of an endpoint, in the order in which they are asked,
    /// by tier.
    fn tiers(&self, endpoint: &Value, scope: Scope, direction: Direction) -> Vec<(&str, Vec<&Value>)> {
        let labels = self.labels_of(endpoint);
        let mut policies: Vec<&Value> = self
            .all("NetworkPolicy")
            .chain(self.all("GlobalNetworkPolicy"))
            .filter(|policy| in_scope(policy, scope) && has_direction(policy, direction))
            .filter(|policy| self.applies(policy, &labels))
            .collect();
        policies.sort_by(|one, other| {
            let place = |policy: &Value| {
                let (kind, namespace, name) = identity(policy);
                (order(policy), format!("{name}/{namespace}/{kind}"))
            };
            let ((order, tie), (other_order, other_tie)) = (place(one), place(other));
            order.total_cmp(&other_order).then_with(|| tie.cmp(&other_tie))
        });
        let mut tiers: Vec<(&str, Vec<&Value>)> = Vec::new();
        for policy in policies {
            let tier = tier_of(policy);
            match tiers.iter_mut().find(|(name, _)| *name == tier) {
                Some((_, policies)) => policies.push(policy),
                None => tiers.push((tier, vec![policy])),
            }
        }
        tiers.sort_by(|(one, _), (other, _)| {
            let place = |name: &str| match self.tier(name) {
                Some(tier) => (false, order(tier)),
                None => (true, f64::INFINITY),
            };
            let ((absent, order), (other_absent, other_order)) = (place(one), place(other));
            absent.cmp(&other_absent).then(order.total_cmp(&other_order)).then_with(|| one.cmp(other))
        });
        tiers
    }

    fn tier(&self, name: &str) -> Option<&Value> {
        self.all("Tier").find(|tier| identity(tier).2 == name)
    }

    /// Whether any policy of this scope is about the endpoint, in either direction.
    pub fn has_policies(&self, endpoint: &Value, scope: Scope) -> bool {
        [Direction::Ingress, Direction::Egress]
            .into_iter()
            .any(|direction| self.governs(endpoint, scope, direction))
    }

    /// Whether any policy of this scope is about one direction of the endpoint.
    pub fn governs(&self, endpoint: &Value, scope: Scope, direction: Direction) -> bool {
        !self.tiers(endpoint, scope, direction).is_empty()
    }

    /// What an endpoint says about a packet in one direction.
    pub fn verdict(
        &self,
        endpoint: &Value,
        scope: Scope,
        direction: Direction,
        packet: &Packet,
        coverage: &mut Coverage,
    ) -> Verdict {
        let tiers = self.tiers(endpoint, scope, direction);
        self.note(endpoint, scope, direction, &tiers, coverage);
        for (tier, policies) in &tiers {
            match self.tier_verdict(tier, policies, scope, direction, packet, coverage) {
                Verdict::None => {}
                decided => return decided,
            }
        }
        if !matches!(scope, Scope::Workload | Scope::Normal) {
            coverage.event("nothing decided");
            return Verdict::None;
        }
        for name in texts(&endpoint["spec"], "profiles") {
            match self.profile_verdict(name, direction, packet, coverage) {
                Verdict::None => {}
                decided => return decided,
            }
        }
        coverage.event("no profile allows");
        Verdict::Deny
    }

    /// Counts what is peculiar about the policies that are asked.
    fn note(
        &self,
        endpoint: &Value,
        scope: Scope,
        direction: Direction,
        tiers: &[(&str, Vec<&Value>)],
        coverage: &mut Coverage,
    ) {
        coverage.event(match scope {
            Scope::Workload => "workload asked",
            Scope::Normal => "host endpoint asked",
            Scope::Forward => "host endpoint asked about what is forwarded",
            Scope::PreDnat => "host endpoint asked before DNAT",
            Scope::Untracked => "host endpoint asked before tracking",
        });
        let labels = self.labels_of(endpoint);
        let staged = self.all("StagedNetworkPolicy").chain(self.all("StagedGlobalNetworkPolicy"));
        if staged
            .filter(|policy| has_direction(policy, direction))
            .any(|policy| self.applies(policy, &labels))
        {
            coverage.event("staged policy");
        }
        for (tier, policies) in tiers {
            if self.tier(tier).is_none() {
                coverage.event("tier that is not there");
            }
            for (place, policy) in policies.iter().enumerate() {
                if texts(&policy["spec"], "types").next().is_none() {
                    coverage.event("policy without types");
                }
                if place > 0 && order(policies[place - 1]).total_cmp(&order(policy)).is_eq() {
                    coverage.event("tie of orders");
                }
                let says = |field: &str| !text(&policy["spec"], field).is_empty();
                if says("namespaceSelector") {
                    coverage.event("policy with a selector of namespaces");
                }
                if says("serviceAccountSelector") {
                    coverage.event("policy with a selector of service accounts");
                }
            }
        }
    }

    fn tier_verdict(
        &self,
        tier: &str,
        policies: &[&Value],
        scope: Scope,
        direction: Direction,
        packet: &Packet,
        coverage: &mut Coverage,
    ) -> Verdict {
        for policy in policies {
            let (kind, namespace, _) = identity(policy);
            let namespace = (kind == "NetworkPolicy").then_some(namespace);
            for (index, rule) in list(&policy["spec"], field_of(direction)).enumerate() {
                if !self.matches(rule, namespace, packet, coverage) {
                    continue;
                }
                coverage.trail.push(format!(
                    "tier {tier}, {} rule {index} {}",
                    self::name(policy),
                    text(rule, "action")
                ));
                match text(rule, "action") {
                    "Allow" => {
                        coverage.event("rule allows");
                        return Verdict::Allow;
                    }
                    "Deny" => {
                        coverage.event("rule denies");
                        return Verdict::Deny;
                    }
                    "Pass" => {
                        coverage.event("rule passes");
                        return Verdict::None;
                    }
                    _ => coverage.event("rule logs"),
                }
            }
        }
        let passes = self.tier(tier).is_some_and(|tier| text(&tier["spec"], "defaultAction") == "Pass");
        if passes || matches!(scope, Scope::PreDnat | Scope::Untracked) {
            coverage.event("end of tier passes");
            coverage.trail.push(format!("end of tier {tier} passes"));
            return Verdict::None;
        }
        coverage.event("end of tier denies");
        coverage.trail.push(format!("end of tier {tier} denies"));
        Verdict::Deny
    }

    fn profile_verdict(
        &self,
        name: &str,
        direction: Direction,
        packet: &Packet,
        coverage: &mut Coverage,
    ) -> Verdict {
        if name == DEFAULT_ALLOW {
            coverage.event("default profile allows");
            return Verdict::Allow;
        }
        let Some(profile) = self.profile(name) else {
            coverage.event("missing profile denies");
            return Verdict::Deny;
        };
        for (index, rule) in list(&profile["spec"], field_of(direction)).enumerate() {
            if !self.matches(rule, None, packet, coverage) {
                continue;
            }
            coverage.trail.push(format!("{} rule {index} {}", self::name(profile), text(rule, "action")));
            match text(rule, "action") {
                "Allow" => {
                    coverage.event("profile allows");
                    return Verdict::Allow;
                }
                "Deny" => {
                    coverage.event("profile denies");
                    return Verdict::Deny;
                }
                // there is no next tier: this profile has no more to say
                "Pass" => {
                    coverage.event("profile passes");
                    return Verdict::None;
                }
                _ => coverage.event("profile logs"),
            }
        }
        Verdict::None
    }

    /// What the agent's configuration of this name is; absent where it is not set.
    pub fn setting(&self, name: &str) -> Value {
        let configuration = |wanted: &str| {
            self.all("FelixConfiguration")
                .find(|one| identity(one).2 == wanted)
                .map(|one| one["spec"][name].clone())
                .filter(|value| !value.is_null())
        };
        configuration(&format!("node.{}", self.node))
            .or_else(|| configuration("default"))
            .unwrap_or(json!(null))
    }
}

/// Kind, namespace and name as a person says them.
fn name(resource: &Value) -> String {
    let (kind, namespace, name) = identity(resource);
    format!("{kind} {namespace}/{name}")
}

fn all_means(selector: &Selector, label: &str) -> Selector {
    let again = |all: &[Selector]| all.iter().map(|one| all_means(one, label)).collect();
    match selector {
        Selector::All => Selector::Has(label.to_owned()),
        Selector::Not(inner) => Selector::Not(Box::new(all_means(inner, label))),
        Selector::And(all) => Selector::And(again(all)),
        Selector::Or(any) => Selector::Or(again(any)),
        other => other.clone(),
    }
}

fn has_addresses(endpoint: &Value) -> bool {
    texts(&endpoint["spec"], "ipNetworks").next().is_some()
}

fn field_of(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    }
}

fn tier_of(policy: &Value) -> &str {
    match text(&policy["spec"], "tier") {
        "" => "default",
        tier => tier,
    }
}

/// What has no order comes last.
fn order(resource: &Value) -> f64 {
    resource["spec"]["order"].as_f64().unwrap_or(f64::INFINITY)
}

/// A stored policy without types is about both directions.
fn has_direction(policy: &Value, direction: Direction) -> bool {
    let mut types = texts(&policy["spec"], "types").peekable();
    types.peek().is_none() || types.any(|name| name.eq_ignore_ascii_case(field_of(direction)))
}

fn in_scope(policy: &Value, scope: Scope) -> bool {
    let flag = |name: &str| policy["spec"][name].as_bool().unwrap_or(false);
    let normal = !flag("doNotTrack") && !flag("preDNAT");
    match scope {
        Scope::Workload | Scope::Normal => normal,
        Scope::Forward => normal && flag("applyOnForward"),
        Scope::PreDnat => flag("preDNAT"),
        Scope::Untracked => flag("doNotTrack"),
    }
}
