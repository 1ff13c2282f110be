//! The kernel's form of a program gives the verdict of the evaluator, packet by packet.

use super::accumulated::Ruleset;
use super::interpreter::{Context, Left, chain};
use crate::evaluate::evaluate;
use crate::form::{Direction, Program, Scope, Verdict};
use crate::nft::{Renderer, Settings};
use crate::tests::random::{Case, Members, Random, case, packet};
use crate::tests::seen::Seen;
use crate::tests::state::policy_alone;
use felix_calc::policy::{Profile, Tier};
use std::sync::Arc;

const PROGRAMS: u64 = 1_000;
const PACKETS: usize = 20;

const KINDS: [(Scope, Direction, &str); 9] = [
    (Scope::Workload, Direction::Ingress, "to-cali1"),
    (Scope::Workload, Direction::Egress, "from-cali1"),
    (Scope::Host, Direction::Ingress, "host-eth0/ingress"),
    (Scope::Host, Direction::Egress, "host-eth0/egress"),
    (Scope::Forward, Direction::Ingress, "host-eth0/forward-ingress"),
    (Scope::Forward, Direction::Egress, "host-eth0/forward-egress"),
    (Scope::PreDnat, Direction::Ingress, "host-eth0/pre-dnat"),
    (Scope::Untracked, Direction::Ingress, "host-eth0/untracked-ingress"),
    (Scope::Untracked, Direction::Egress, "host-eth0/untracked-egress"),
];

/// What the renderer says to a program, of a workload and of a host.
pub fn rendered(members: &Members, tiers: &[Tier], profiles: &[(Arc<str>, Arc<Profile>)]) -> Ruleset {
    policy_alone::<Renderer>(Settings::default(), members, tiers, profiles)
}

#[test]
fn the_kernels_verdict_is_the_evaluators() {
    let mut seen = Seen::default();
    let mut pairs = 0;
    for seed in 0..PROGRAMS {
        let mut random = Random(seed);
        let Case { tiers, profiles, members } = case(&mut random);
        let ruleset = rendered(&members, &tiers, &profiles);
        for (scope, direction, name) in KINDS {
            let program = Program::new(scope, direction, &tiers, &profiles);
            seen.program(&program);
            let there = ruleset.chains.contains_key(&(netfilter::nft::Family::Ipv4, name.into()));
            assert_eq!(there, scope.has_profiles() || !program.tiers.is_empty(), "seed {seed}: {name}");
            for _ in 0..PACKETS * usize::from(there) {
                let packet = packet(&mut random);
                let decision = evaluate(&program, &packet, &members);
                seen.decision(scope, &decision);
                let mut context = Context::new(&packet);
                let left = chain(&ruleset, name, &mut context);
                let expected = match decision.verdict {
                    Verdict::Allow => Left::Accepted,
                    Verdict::Deny => Left::Dropped,
                    _ => Left::End,
                };
                assert_eq!(left, expected, "seed {seed}: {name}, {packet:?}, {:#?}", decision.path);
                let logged: Vec<String> = decision
                    .path
                    .iter()
                    .filter(|(_, verdict)| *verdict == Verdict::Log)
                    .map(|(origin, _)| origin.to_string())
                    .collect();
                assert_eq!(context.logged, logged, "seed {seed}: {name}, {packet:?}");
                let early = matches!(scope, Scope::PreDnat | Scope::Untracked) && left == Left::Accepted;
                assert_eq!(context.mark != 0, early, "seed {seed}: {name}");
                assert_eq!(context.untracked, early && scope == Scope::Untracked, "seed {seed}: {name}");
                pairs += 1;
            }
        }
    }
    let missing = seen.missing();
    assert!(missing.is_empty(), "never seen: {missing:?}");
    assert!(pairs >= 100_000, "{pairs} pairs only: {:#?}", seen.0);
}

#[test]
fn an_element_stands_for_the_first_rule_that_says_it() {
    use crate::tests::objects::{policy, port, rule, tier};
    use model::v3::{Action, Protocol};
    let allow = |ports: &[u16]| {
        rule(Action::Allow, |rule| {
            rule.protocol = Some(Protocol::Number(6));
            rule.destination.ports = ports.iter().map(|number| port(*number)).collect();
        })
    };
    let of = |name: &str, rules: Vec<model::v3::Rule>| policy(name, |spec| spec.policy.ingress = rules);
    let first = of("first", vec![allow(&[80]), allow(&[80, 443])]);
    let second = of("second", vec![allow(&[443, 8080])]);
    let ruleset = rendered(&Members::default(), &[tier("default", &[&first, &second])], &[]);
    let chain = &ruleset.chains[&(netfilter::nft::Family::Ipv4, "to-cali1/tier-default".into())];
    assert_eq!(chain.rules.len(), 2, "one lookup and the end of the tier");
    let sets = ruleset.sets.iter().filter(|((family, name), _)| {
        *family == netfilter::nft::Family::Ipv4 && name.starts_with("to-cali1/tier-default/")
    });
    let comments: Vec<String> = sets
        .flat_map(|(_, set)| set.elements.values())
        .map(|element| element.comment.clone().unwrap())
        .collect();
    let rule =
        |policy: &str, index| format!("tier default, GlobalNetworkPolicy {policy}, ingress rule {index}");
    assert_eq!(comments, [rule("first", 0), rule("first", 1), rule("second", 0)]);
}
