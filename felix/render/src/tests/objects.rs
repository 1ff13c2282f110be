//! Policies, endpoints and sets as tests write them.

use felix_calc::endpoint::{Endpoint, EndpointKey, Host, HostInterface, LocalEndpoint, Workload};
use felix_calc::policy::{Policy, PolicyKey, PolicyKind, Profile, Tier};
use felix_calc::sets::{Member, SetChange, SetKind};
use model::v3::{self, Action, GlobalNetworkPolicySpec, PolicyType, Port, ProfileSpec};
use std::net::IpAddr;
use std::sync::Arc;

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn rule(action: Action, edit: impl FnOnce(&mut v3::Rule)) -> v3::Rule {
    let mut rule = v3::Rule { action, ..v3::Rule::default() };
    edit(&mut rule);
    rule
}

pub fn port(number: u16) -> Port {
    Port::Range(number, number)
}

/// A policy of the cluster for both directions.
pub fn policy(name: &str, edit: impl FnOnce(&mut GlobalNetworkPolicySpec)) -> Arc<Policy> {
    let mut spec = GlobalNetworkPolicySpec::default();
    spec.policy.selector = "all()".into();
    spec.policy.types = vec![PolicyType::Ingress, PolicyType::Egress];
    edit(&mut spec);
    let kind = PolicyKind::GlobalNetworkPolicy;
    Arc::new(Policy::global(PolicyKey { kind, namespace: String::new(), name: name.into() }, &spec).unwrap())
}

pub fn tier(name: &str, policies: &[&Arc<Policy>]) -> Tier {
    Tier {
        name: name.into(),
        default_action: Action::Deny,
        policies: policies.iter().map(|policy| (*policy).clone()).collect(),
    }
}

/// A profile that allows everything.
pub fn open() -> Arc<Profile> {
    let all = || vec![rule(Action::Allow, |_| {})];
    Arc::new(
        Profile::compile(&ProfileSpec { ingress: all(), egress: all(), ..ProfileSpec::default() }).unwrap(),
    )
}

pub fn workload(interface: &str, addresses: &[&str], edit: impl FnOnce(&mut Workload)) -> Endpoint {
    let mut workload = Workload {
        interface: interface.into(),
        addresses: addresses.iter().map(|text| ip(text)).collect(),
        profiles: ["open".into()].into(),
        ..Workload::default()
    };
    edit(&mut workload);
    Endpoint::Workload(workload)
}

pub fn host(interface: HostInterface, expected: &[&str]) -> Endpoint {
    Endpoint::Host(Host {
        interface,
        expected: expected.iter().map(|text| ip(text)).collect(),
        ports: [].into(),
        profiles: ["open".into()].into(),
    })
}

pub fn local(endpoint: Endpoint, tiers: &[Tier]) -> Option<Arc<LocalEndpoint>> {
    Some(Arc::new(LocalEndpoint { endpoint: Arc::new(endpoint), tiers: tiers.to_vec() }))
}

pub fn workload_key(name: &str) -> EndpointKey {
    EndpointKey::Workload("shop".into(), name.into())
}

pub fn host_key(name: &str) -> EndpointKey {
    EndpointKey::Host(name.into())
}

/// Pools as the calculation tells them: one that is translated, one that is not.
pub fn pools() -> Vec<(Arc<str>, SetChange)> {
    let net = |text: &str| Member::Net(text.parse().unwrap());
    let set = |id: &str, nets: &[&str]| {
        (id.into(), SetChange::Create(SetKind::Nets, nets.iter().map(|text| net(text)).collect()))
    };
    vec![
        set("masq-ipam-pools", &["10.65.0.0/16", "fd00:65::/64"]),
        set("network-ip-pools", &["10.65.0.0/16", "10.66.0.0/16", "fd00:65::/64"]),
        set("all-hosts-net", &["192.0.2.1/32", "192.0.2.2/32"]),
    ]
}
