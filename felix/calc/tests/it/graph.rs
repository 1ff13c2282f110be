//! The graph alone: any order of changes ends where a fresh start on the final state ends; what is told, and what is not.

use crate::support::Dataplane;
use felix_calc::endpoint::{Endpoint, EndpointKey};
use felix_calc::label_index::Label;
use felix_calc::policy::{Policy, PolicyKey, PolicyKind, Profile, Tier};
use felix_calc::sets::{ContentPort, Contents, SetChange};
use felix_calc::{Changes, Graph};
use model::v3::{
    Action, EntityRule, GlobalNetworkPolicySpec, NetworkPolicySpec, PolicyType, Port, ProfileSpec, Protocol,
    Rule, TierSpec,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Debug, Clone)]
struct Workload {
    local: bool,
    labels: Vec<(u8, u8)>,
    profiles: Vec<u8>,
    addresses: Vec<u8>,
    ports: Vec<(u8, u16)>,
}

#[derive(Debug, Clone)]
struct PolicyShape {
    selector: usize,
    tier: u8,
    order: Option<u8>,
    types: u8,
    sources: Vec<(usize, Option<u8>)>,
}

/// Labels by number.
type Pairs = Vec<(u8, u8)>;

#[derive(Debug, Clone)]
enum Step {
    Workload(u8, Option<Workload>),
    Set(u8, Option<(Pairs, Vec<u8>)>),
    Profile(u8, Option<(Pairs, Vec<usize>)>),
    Policy(u8, Option<PolicyShape>),
    Tier(u8, Option<Option<u8>>),
    Take,
}

const SELECTORS: &[&str] =
    &["all()", "a == '1'", "has(b)", "!has(a)", "a in {'1', '2'} && b == '1'", "a == '2'"];

fn pairs() -> impl Strategy<Value = Vec<(u8, u8)>> {
    proptest::collection::vec((0u8..2, 1u8..3), 0..3)
}

fn step() -> impl Strategy<Value = Step> {
    let few = |max: u8| proptest::collection::vec(0..max, 0..3);
    let workload =
        (any::<bool>(), pairs(), few(3), few(4), proptest::collection::vec((0u8..2, 1u16..3), 0..2))
            .prop_map(|(local, labels, profiles, addresses, ports)| Workload {
                local,
                labels,
                profiles,
                addresses,
                ports,
            });
    let selector = 0..SELECTORS.len();
    let policy = (
        selector.clone(),
        0u8..3,
        proptest::option::of(0u8..3),
        0u8..4,
        proptest::collection::vec((selector.clone(), proptest::option::of(0u8..2)), 0..3),
    )
        .prop_map(|(selector, tier, order, types, sources)| PolicyShape {
            selector,
            tier,
            order,
            types,
            sources,
        });
    prop_oneof![
        5 => (0u8..5, proptest::option::weighted(0.8, workload)).prop_map(|(n, w)| Step::Workload(n, w)),
        2 => (0u8..3, proptest::option::of((pairs(), few(4)))).prop_map(|(n, s)| Step::Set(n, s)),
        2 => (0u8..3, proptest::option::of((pairs(), proptest::collection::vec(selector, 0..2))))
            .prop_map(|(n, p)| Step::Profile(n, p)),
        5 => (0u8..5, proptest::option::weighted(0.8, policy)).prop_map(|(n, p)| Step::Policy(n, p)),
        1 => (0u8..3, proptest::option::of(proptest::option::of(0u8..3))).prop_map(|(n, t)| Step::Tier(n, t)),
        3 => Just(Step::Take),
    ]
}

fn labels(pairs: &[(u8, u8)]) -> Vec<Label> {
    let all: BTreeMap<u8, u8> = pairs.iter().copied().collect();
    all.into_iter().map(|(k, v)| (["a", "b"][usize::from(k)].into(), v.to_string().into())).collect()
}

fn nets(addresses: &[u8]) -> Vec<model::net::Cidr> {
    addresses.iter().map(|last| format!("10.0.0.{last}/32").parse().unwrap()).collect()
}

fn rules(sources: &[(usize, Option<u8>)]) -> Vec<Rule> {
    let rule = |(selector, port): &(usize, Option<u8>)| Rule {
        action: Action::Allow,
        protocol: port.map(|_| Protocol::Name("TCP".into())),
        source: EntityRule {
            selector: SELECTORS[*selector].into(),
            ports: port.iter().map(|port| Port::Named(format!("p{port}"))).collect(),
            ..EntityRule::default()
        },
        ..Rule::default()
    };
    sources.iter().map(rule).collect()
}

fn policy_key(number: u8) -> PolicyKey {
    PolicyKey { kind: PolicyKind::GlobalNetworkPolicy, namespace: String::new(), name: format!("p{number}") }
}

fn apply(graph: &mut Graph, step: &Step) {
    match step {
        Step::Take => {}
        Step::Workload(number, workload) => {
            let name = format!("w{number}");
            let Some(workload) = workload else { return graph.remove_item(&name) };
            let profiles: Vec<String> = workload.profiles.iter().map(|p| format!("prof{p}")).collect();
            let ports = workload.ports.iter().map(|(name, port)| ContentPort {
                name: format!("p{name}").into(),
                protocol: 6,
                port: *port,
            });
            let contents = Contents::new(nets(&workload.addresses), ports);
            let local = workload.local.then(|| {
                let profiles = profiles.iter().map(|name| name.as_str().into()).collect();
                let endpoint =
                    Endpoint::Workload(felix_calc::endpoint::Workload { profiles, ..Default::default() });
                (EndpointKey::Workload("default".into(), name.clone()), endpoint)
            });
            let parents: Vec<&str> = profiles.iter().map(String::as_str).collect();
            let labels = labels(&workload.labels);
            let mut labels = labels.iter().map(|(k, v)| (&**k, &**v)).collect();
            graph.set_item(&name, &mut labels, &parents, contents, local);
        }
        Step::Set(number, set) => {
            let name = format!("s{number}");
            let Some((pairs, addresses)) = set else { return graph.remove_item(&name) };
            let contents = Contents::new(nets(addresses), []);
            let labels = labels(pairs);
            let mut labels = labels.iter().map(|(k, v)| (&**k, &**v)).collect();
            graph.set_item(&name, &mut labels, &[], contents, None);
        }
        Step::Profile(number, profile) => {
            let name = format!("prof{number}");
            let Some((pairs, sources)) = profile else { return graph.set_profile(&name, None, None) };
            let sources: Vec<(usize, Option<u8>)> =
                sources.iter().map(|selector| (*selector, None)).collect();
            let spec = ProfileSpec { ingress: rules(&sources), ..ProfileSpec::default() };
            let given = labels(pairs).iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
            graph.set_profile(&name, Some(Profile::compile(&spec).unwrap()), Some(&given));
        }
        Step::Policy(number, shape) => {
            let key = policy_key(*number);
            let policy = shape.as_ref().map(|shape| {
                let spec = NetworkPolicySpec {
                    tier: format!("t{}", shape.tier),
                    order: shape.order.map(f64::from),
                    selector: SELECTORS[shape.selector].into(),
                    types: [PolicyType::Ingress, PolicyType::Egress][..usize::from(shape.types % 3)].to_vec(),
                    ingress: rules(&shape.sources),
                    ..NetworkPolicySpec::default()
                };
                let spec = GlobalNetworkPolicySpec { policy: spec, ..GlobalNetworkPolicySpec::default() };
                Policy::global(key.clone(), &spec).unwrap()
            });
            graph.set_policy(&key, policy);
        }
        Step::Tier(number, tier) => {
            let tier =
                tier.map(|order| TierSpec { order: order.map(f64::from), default_action: Action::Pass });
            graph.set_tier(&format!("t{number}"), tier);
        }
    }
}

/// Which object a step is about.
fn subject(step: &Step) -> (u8, u8) {
    match step {
        Step::Workload(n, _) => (0, *n),
        Step::Set(n, _) => (1, *n),
        Step::Profile(n, _) => (2, *n),
        Step::Policy(n, _) => (3, *n),
        Step::Tier(n, _) => (4, *n),
        Step::Take => (5, 0),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn any_order_of_changes_ends_where_a_fresh_start_on_the_final_state_ends(
        steps in proptest::collection::vec(step(), 1..60)
    ) {
        let mut graph = Graph::new();
        let mut dataplane = Dataplane::default();
        let mut last: BTreeMap<(u8, u8), Step> = BTreeMap::new();
        for step in &steps {
            apply(&mut graph, step);
            last.insert(subject(step), step.clone());
            if matches!(step, Step::Take) {
                dataplane.apply(graph.take());
                dataplane.is_closed();
            }
        }
        dataplane.apply(graph.take());
        dataplane.is_closed();
        prop_assert_eq!(graph.take(), Changes::default());

        // the final state alone, in another order
        let mut fresh = Graph::new();
        last.values().rev().for_each(|step| apply(&mut fresh, step));
        let mut expected = Dataplane::default();
        expected.apply(fresh.take());
        prop_assert_eq!(dataplane, expected);
    }
}

fn workload(labels: &[(u8, u8)]) -> Workload {
    Workload { local: true, labels: labels.to_vec(), profiles: vec![0], addresses: vec![1], ports: vec![] }
}

fn shape(selector: usize, tier: u8, order: Option<u8>) -> PolicyShape {
    PolicyShape { selector, tier, order, types: 0, sources: vec![] }
}

fn tiers(graph: &mut Graph) -> Vec<(String, Vec<String>)> {
    let changes = graph.take();
    let (_, Some(endpoint)) = &changes.endpoints[0] else { panic!("{changes:?}") };
    let names = |tier: &Tier| tier.policies.iter().map(|policy| policy.key.name.clone()).collect();
    endpoint.tiers.iter().map(|tier| (tier.name.clone(), names(tier))).collect()
}

#[test]
fn tiers_and_policies_apply_in_their_order() {
    let mut graph = Graph::new();
    apply(&mut graph, &Step::Workload(0, Some(workload(&[]))));
    apply(&mut graph, &Step::Tier(1, Some(Some(2))));
    apply(&mut graph, &Step::Tier(2, Some(Some(1))));
    for (number, tier, order) in
        [(0, 1, None), (1, 1, Some(2)), (2, 1, Some(1)), (3, 2, None), (4, 0, Some(0))]
    {
        apply(&mut graph, &Step::Policy(number, Some(shape(0, tier, order))));
    }
    let expected = [("t2", vec!["p3"]), ("t1", vec!["p2", "p1", "p0"]), ("t0", vec!["p4"])];
    let expected: Vec<(String, Vec<String>)> =
        expected.iter().map(|(t, p)| (t.to_string(), p.iter().map(ToString::to_string).collect())).collect();
    assert_eq!(tiers(&mut graph), expected);
}

#[test]
fn a_label_no_selector_uses_tells_the_dataplane_nothing() {
    let mut graph = Graph::new();
    apply(&mut graph, &Step::Policy(0, Some(shape(2, 0, None))));
    apply(&mut graph, &Step::Workload(0, Some(workload(&[(1, 1)]))));
    graph.take();
    apply(&mut graph, &Step::Workload(0, Some(workload(&[(1, 2)]))));
    assert_eq!(graph.take(), Changes::default());
}

#[test]
fn a_policy_without_local_endpoints_has_no_sets() {
    let mut graph = Graph::new();
    let with_source = PolicyShape { sources: vec![(1, None)], ..shape(2, 0, None) };
    apply(&mut graph, &Step::Policy(0, Some(with_source)));
    apply(&mut graph, &Step::Workload(0, Some(Workload { local: false, ..workload(&[(0, 1), (1, 1)]) })));
    assert_eq!(graph.take(), Changes::default());
    apply(&mut graph, &Step::Workload(1, Some(workload(&[(1, 1)]))));
    let changes = graph.take();
    assert_eq!(changes.sets.len(), 1);
    assert!(matches!(&changes.sets[0].1, SetChange::Create(_, members) if members.len() == 1));
}

#[test]
fn a_profile_that_is_missing_denies() {
    let mut graph = Graph::new();
    apply(&mut graph, &Step::Workload(0, Some(workload(&[]))));
    let changes = graph.take();
    let [(_, Some(profile))] = changes.profiles.as_slice() else { panic!("{:?}", changes.profiles) };
    for rules in [&profile.ingress, &profile.egress] {
        let [rule] = rules.as_slice() else { panic!("{rules:?}") };
        assert_eq!((rule.action, rule.protocol, rule.ip_version), (Action::Deny, None, None));
    }
    apply(&mut graph, &Step::Workload(0, None));
    assert_eq!(graph.take().profiles, [("prof0".into(), None)]);
}

#[test]
fn an_address_of_two_endpoints_is_one_member_until_both_are_gone() {
    let mut graph = Graph::new();
    let with_source = PolicyShape { sources: vec![(0, None)], ..shape(2, 0, None) };
    apply(&mut graph, &Step::Policy(0, Some(with_source)));
    apply(&mut graph, &Step::Workload(0, Some(workload(&[(1, 1)]))));
    apply(&mut graph, &Step::Workload(1, Some(Workload { local: false, ..workload(&[]) })));
    graph.take();
    apply(&mut graph, &Step::Workload(1, None));
    assert_eq!(graph.take().sets, []);
}
