//! State decides, never history; and a change costs what it touches.

use super::accumulated::{Ruleset, Told};
use crate::Render;
use crate::nft::Renderer;
use crate::settings::Settings;
use crate::tests::objects::{local, open, policy, rule, tier, workload, workload_key};
use crate::tests::random::{Members, Random, definitions};
use crate::tests::state::{State, fresh, history};
use felix_calc::Changes;
use felix_calc::endpoint::{EndpointKey, LocalEndpoint, Workload};
use felix_calc::policy::{Policy, Tier};
use felix_calc::sets::{Member, SetChange};
use model::net::Cidr;
use model::v3::{Action, Port, Protocol};
use proptest::prelude::*;
use std::net::IpAddr;
use std::sync::Arc;

/// The ruleset of a random node.
pub fn random_ruleset(seed: u64) -> Ruleset {
    fresh::<Renderer>(&State::random(seed))
}

/// The first thing in which two rulesets differ.
fn unlike(left: &Ruleset, right: &Ruleset) -> Option<String> {
    let chains = left.chains.keys().chain(right.chains.keys());
    let mut of_chains = chains.filter(|name| left.chains.get(*name) != right.chains.get(*name));
    if let Some(name) = of_chains.next() {
        return Some(format!("{name:?}: {:#?}, {:#?}", left.chains.get(name), right.chains.get(name)));
    }
    let sets = left.sets.keys().chain(right.sets.keys());
    let mut of_sets = sets.filter(|name| left.sets.get(*name) != right.sets.get(*name));
    let name = of_sets.next()?;
    Some(format!("{name:?}: {:#?}, {:#?}", left.sets.get(name), right.sets.get(name)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_history_ends_where_a_fresh_start_does(seed in any::<u64>(), steps in 1usize..60) {
        history::<Renderer>(seed, steps, unlike);
    }
}

/// Many workloads with one policy, and a renderer that was told of them.
fn many(count: usize) -> (Renderer, Ruleset, Arc<Policy>) {
    let shared = policy("shared", |spec| {
        spec.policy.ingress = vec![rule(Action::Allow, |rule| {
            rule.protocol = Some(Protocol::Number(6));
            rule.source.selector = "role == 'web'".into();
            rule.destination.ports = vec![Port::Range(80, 80)];
        })];
    });
    let mut members = Members::default();
    members.0.insert(
        shared.sets[0].id.clone(),
        (false, (0..50u8).map(|n| Member::Net(Cidr::host(IpAddr::from([10, 9, 0, n])))).collect()),
    );
    let mut renderer = Renderer::new(Settings::default());
    let endpoints = (0..count).map(|n| endpoint(n, &[tier("default", &[&shared])])).collect();
    renderer.apply(&Changes {
        sets: members.creations(),
        profiles: vec![("open".into(), Some(open()))],
        endpoints,
        ..Changes::default()
    });
    let mut ruleset = Ruleset::default();
    ruleset.update(renderer.take());
    (renderer, ruleset, shared)
}

fn endpoint(number: usize, tiers: &[Tier]) -> (EndpointKey, Option<Arc<LocalEndpoint>>) {
    let address = format!("10.65.{}.{}", number / 250, number % 250);
    let no_more = |_: &mut Workload| {};
    let endpoint = workload(&format!("cali{number:05}"), &[&address], no_more);
    (workload_key(&format!("w{number}")), local(endpoint, tiers))
}

#[test]
fn a_change_of_members_is_one_of_elements_alone() {
    let (mut renderer, mut ruleset, shared) = many(20);
    let net = |n: u8| Member::Net(Cidr::host(IpAddr::from([10, 9, 0, n])));
    let update = SetChange::Update { added: vec![net(60)], removed: vec![net(1), net(2)] };
    renderer.apply(&Changes { sets: vec![(shared.sets[0].id.clone(), update)], ..Changes::default() });
    assert_eq!(ruleset.update(renderer.take()), Told { elements: 3, ..Told::default() });
}

#[test]
fn a_set_that_gets_prefixes_of_another_length_changes_the_chains_that_name_it() {
    let (mut renderer, mut ruleset, shared) = many(20);
    let added = vec![Member::Net("10.8.0.0/16".parse().unwrap())];
    let update = SetChange::Update { added, removed: vec![] };
    renderer.apply(&Changes { sets: vec![(shared.sets[0].id.clone(), update)], ..Changes::default() });
    let told = ruleset.update(renderer.take());
    // one shared chain of the tier in each family that has the prefix's lookup
    assert_eq!(told.chains, ["to-cali00000/tier-default"]);
    assert_eq!((told.sets.len(), told.elements), (1, 1), "{told:?}");
}

#[test]
fn an_endpoint_costs_its_own_chains_and_entries_however_many_there_are() {
    let cost = |count: usize| {
        let (mut renderer, mut ruleset, shared) = many(count);
        renderer.apply(&Changes {
            endpoints: vec![endpoint(count, &[tier("default", &[&shared])])],
            ..Changes::default()
        });
        let told = ruleset.update(renderer.take());
        assert_eq!(told.sets, Vec::<String>::new());
        (told.chains.len(), told.elements)
    };
    // two chains in two families; two maps in two families, one address, the same in ARP
    assert_eq!(cost(20), (4, 6));
    assert_eq!(cost(300), (4, 6));
}

#[test]
fn a_change_of_a_policy_is_one_of_the_chain_that_all_its_endpoints_share() {
    let (mut renderer, mut ruleset, shared) = many(20);
    let mut changed = (*shared).clone();
    if let Some(rules) = &mut changed.ingress {
        rules[0].destination.ports = vec![(80, 80), (443, 443)];
    }
    let changed = Arc::new(changed);
    let endpoints = (0..20).map(|n| endpoint(n, &[tier("default", &[&changed])])).collect();
    renderer.apply(&Changes { endpoints, ..Changes::default() });
    let told = ruleset.update(renderer.take());
    assert_eq!(told.chains, ["to-cali00000/tier-default"; 2]);
    // the set of its two ports, in two families
    assert_eq!((told.sets.len(), told.elements), (2, 4), "{told:?}");
}

#[test]
fn a_policy_among_a_thousand_alike_is_one_element() {
    let of = |number: usize, source: usize| {
        policy(&format!("p{number:04}"), |spec| {
            spec.policy.types = vec![model::v3::PolicyType::Ingress];
            spec.policy.ingress = vec![rule(Action::Allow, |rule| {
                rule.protocol = Some(Protocol::Number(6));
                rule.source.selector = format!("role == 'r{source}'");
                let port = u16::try_from(1000 + number).unwrap();
                rule.destination.ports = vec![Port::Range(port, port)];
            })];
        })
    };
    let mut policies: Vec<Arc<Policy>> = (0..1000).map(|number| of(number, number % 50)).collect();
    let mut members = Members::default();
    members.fill(&mut Random(0), &definitions(&[tier("default", &policies.iter().collect::<Vec<_>>())], []));
    let mut renderer = Renderer::new(Settings::default());
    let told = |renderer: &mut Renderer, policies: &[Arc<Policy>], sets, ruleset: &mut Ruleset| {
        let tiers = [tier("default", &policies.iter().collect::<Vec<_>>())];
        renderer.apply(&Changes { sets, endpoints: vec![endpoint(0, &tiers)], ..Changes::default() });
        ruleset.update(renderer.take())
    };
    let mut ruleset = Ruleset::default();
    told(&mut renderer, &policies, members.creations(), &mut ruleset);
    let chain = &ruleset.chains[&(netfilter::nft::Family::Ipv6, "to-cali00000/tier-default".into())];
    // a rule for each length of the sources' prefixes, and the end of the tier
    assert!(chain.rules.len() < 50 * 5, "{}", chain.rules.len());
    policies.push(of(1000, 7));
    let added = told(&mut renderer, &policies, vec![], &mut ruleset);
    assert_eq!((added.chains.len(), added.sets.len(), added.elements), (0, 0, 2), "{added:?}");
    policies.remove(3);
    let removed = told(&mut renderer, &policies, vec![], &mut ruleset);
    assert_eq!((removed.sets.len(), removed.elements), (0, 2), "{removed:?}");
}
