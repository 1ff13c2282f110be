//! State decides, never history; and a change costs what it touches.

use super::accumulated::{Ruleset, Told};
use crate::Render;
use crate::iptables::Renderer;
use crate::settings::Settings;
use crate::tests::objects::{local, open, policy, rule, tier, workload, workload_key};
use crate::tests::random::Members;
use crate::tests::state::history;
use felix_calc::Changes;
use felix_calc::endpoint::{EndpointKey, LocalEndpoint};
use felix_calc::policy::{Policy, Tier};
use felix_calc::sets::{Member, SetChange};
use model::net::Cidr;
use model::v3::{Action, Port, Protocol};
use proptest::prelude::*;
use std::net::IpAddr;
use std::sync::Arc;

/// The first thing in which two rulesets differ. Hooks of a family that has none are empty or not there.
fn unlike(left: &Ruleset, right: &Ruleset) -> Option<String> {
    for name in left.chains.keys().chain(right.chains.keys()) {
        let (left, right) = (left.chains.get(name), right.chains.get(name));
        if left != right {
            return Some(format!("{name:?}: {left:#?}, {right:#?}"));
        }
    }
    for name in left.hooks.keys().chain(right.hooks.keys()) {
        let of = |ruleset: &Ruleset| ruleset.hooks.get(name).cloned().unwrap_or_default();
        if of(left) != of(right) {
            return Some(format!("{name:?}: {:#?}, {:#?}", of(left), of(right)));
        }
    }
    for name in left.sets.keys().chain(right.sets.keys()) {
        let (left, right) = (left.sets.get(name), right.sets.get(name));
        if left != right {
            return Some(format!("{name:?}: {left:#?}, {right:#?}"));
        }
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_history_ends_where_a_fresh_start_does(seed in any::<u64>(), steps in 1usize..60) {
        history::<Renderer>(seed, steps, unlike);
    }
}

/// Two policies of one selector, so that they are a group.
fn policies() -> [Arc<Policy>; 2] {
    ["first", "second"].map(|name| {
        policy(name, |spec| {
            spec.policy.ingress = vec![rule(Action::Allow, |rule| {
                rule.protocol = Some(Protocol::Number(6));
                rule.source.selector = "role == 'web'".into();
                rule.destination.ports = vec![Port::Range(80, 80)];
            })];
        })
    })
}

fn tiers(policies: &[Arc<Policy>]) -> Vec<Tier> {
    vec![tier("default", &policies.iter().collect::<Vec<_>>())]
}

/// Many workloads with these policies, and a renderer that was told of them.
fn many(count: usize, policies: &[Arc<Policy>]) -> (Renderer, Ruleset) {
    let mut members = Members::default();
    members.0.insert(
        policies[0].sets[0].id.clone(),
        (false, (0..50u8).map(|n| Member::Net(Cidr::host(IpAddr::from([10, 9, 0, n])))).collect()),
    );
    let mut renderer = Renderer::new(Settings::default());
    let mut sets = members.creations();
    sets.extend(crate::tests::objects::pools());
    renderer.apply(&Changes {
        sets,
        profiles: vec![("open".into(), Some(open()))],
        endpoints: (0..count).map(|n| endpoint(n, &tiers(policies))).collect(),
        ..Changes::default()
    });
    let mut ruleset = Ruleset::default();
    ruleset.update(renderer.take());
    (renderer, ruleset)
}

fn endpoint(number: usize, tiers: &[Tier]) -> (EndpointKey, Option<Arc<LocalEndpoint>>) {
    let address = format!("10.65.{}.{}", number / 250, number % 250);
    // five digits under the first of which there are all
    let endpoint = workload(&format!("cali{number:05}"), &[&address], |_| {});
    (workload_key(&format!("w{number}")), local(endpoint, tiers))
}

fn changed(policy: &Policy) -> Arc<Policy> {
    let mut changed = policy.clone();
    if let Some(rules) = &mut changed.ingress {
        rules[0].destination.ports = vec![(80, 80), (443, 443)];
    }
    Arc::new(changed)
}

#[test]
fn a_change_of_members_is_one_of_members_alone() {
    let policies = policies();
    let (mut renderer, mut ruleset) = many(20, &policies);
    let net = |n: u8| Member::Net(Cidr::host(IpAddr::from([10, 9, 0, n])));
    let update = SetChange::Update { added: vec![net(60)], removed: vec![net(1), net(2)] };
    let id = policies[0].sets[0].id.clone();
    renderer.apply(&Changes { sets: vec![(id.clone(), update)], ..Changes::default() });
    assert_eq!(ruleset.update(renderer.take()), Told { members: 3, ..Told::default() });
    // the whole and its halves are one thing, however many times
    let all = || Member::Net("0.0.0.0/0".parse().unwrap());
    let half = || Member::Net("0.0.0.0/1".parse().unwrap());
    let mut members = |added: Vec<Member>, removed: Vec<Member>| {
        let update = SetChange::Update { added, removed };
        renderer.apply(&Changes { sets: vec![(id.clone(), update)], ..Changes::default() });
        ruleset.update(renderer.take()).members
    };
    assert_eq!(members(vec![all()], vec![]), 2);
    assert_eq!(members(vec![half()], vec![]), 0);
    assert_eq!(members(vec![], vec![all()]), 1);
    assert_eq!(members(vec![], vec![half()]), 1);
}

#[test]
fn a_change_of_a_policy_is_one_of_its_chains_however_many_have_it() {
    let [first, second] = policies();
    let (mut renderer, mut ruleset) = many(20, &[first.clone(), second.clone()]);
    let now = tiers(&[changed(&first), second]);
    // the calculation tells the same endpoint with another policy
    let mut endpoints: Vec<_> = (0..20).map(|n| endpoint(n, &now)).collect();
    renderer.apply(&Changes { endpoints: endpoints.clone(), ..Changes::default() });
    assert_eq!(ruleset.update(renderer.take()).chains, ["cali-pi-gnp/first"; 2]);
    // a policy more is a group more, and each endpoint's chain calls it
    endpoints.iter_mut().for_each(|(_, endpoint)| {
        let of = Arc::make_mut(endpoint.as_mut().unwrap());
        of.tiers = tiers(&[of.tiers[0].policies.clone(), vec![policies()[0].clone()]].concat()[..1]);
    });
    renderer.apply(&Changes { endpoints, ..Changes::default() });
    let told = ruleset.update(renderer.take());
    assert!(told.chains.iter().filter(|name| name.starts_with("cali-tw-")).count() == 40, "{told:?}");
}

#[test]
fn an_endpoint_costs_its_own_chains_and_the_tree_however_many_there_are() {
    let policies = policies();
    let cost = |count: usize| {
        let (mut renderer, mut ruleset) = many(count, &policies);
        let endpoints = vec![endpoint(count, &tiers(&policies))];
        renderer.apply(&Changes { endpoints, ..Changes::default() });
        let told = ruleset.update(renderer.take());
        assert_eq!((&*told.sets, told.members, told.hooks), (&[][..], 0, 0));
        told.chains.len()
    };
    // two chains of its own, two of the tree where no new branch grows; both families
    assert_eq!(cost(25), 8);
    assert_eq!(cost(295), 8);
}
