use super::*;
use crate::policy::Rule;
use crate::set::{Key, Sets};
use bgp_wire::{AsPath, Origin};
use proptest::prelude::*;

fn prefix(text: &str) -> Prefix {
    let (addr, len) = text.split_once('/').unwrap();
    Prefix::new(addr.parse().unwrap(), len.parse().unwrap()).unwrap()
}

fn rule(conditions: Vec<Condition>, operations: Vec<Operation>, verdict: Option<Verdict>) -> Rule {
    Rule { name: "r".into(), conditions, operations, verdict }
}

fn compiled(rules: Vec<Rule>, otherwise: Verdict) -> Compiled {
    Compiled::new(Arc::new(Policy { rules, otherwise }))
}

fn attributes() -> Attributes {
    let mut a = Attributes::new(Origin::Igp, AsPath::sequence(&[65001, 65002]), [192, 0, 2, 1].into());
    a.communities = [7].into();
    a.local_pref = Some(LOCAL_PREF_BASE - 512);
    a
}

/// The outcome of one rule with this condition that accepts, before an end that rejects.
fn holds(condition: Condition) -> bool {
    let mut sets = Sets::new(0);
    let set = sets.intern(Key::sent(attributes()), &mut Default::default());
    let policy = compiled(vec![rule(vec![condition], vec![], Some(Verdict::Accept))], Verdict::Reject);
    let context = Context { prefix: prefix("10.1.2.0/24"), external: Some(true) };
    policy.evaluate(&mut Subject::new(sets.get(set)), &context).verdict == Verdict::Accept
}

#[test]
fn conditions_hold_and_fail() {
    let within = |net, min, max| vec![PrefixMatch { prefix: prefix(net), min, max }];
    for (condition, expected) in [
        (Condition::Prefix(within("10.1.0.0/16", 16, 32)), true),
        (Condition::Prefix(within("10.1.0.0/16", 25, 32)), false),
        (Condition::Prefix(vec![]), false),
        (Condition::NotPrefix(within("10.2.0.0/16", 16, 32)), true),
        (Condition::NotPrefix(vec![]), true),
        (Condition::LearntByBgp(true), true),
        (Condition::Interface(vec!["*".into()]), false),
        (Condition::NextHop(vec![prefix("192.0.2.0/24")]), true),
        (Condition::NextHop(vec![prefix("192.0.3.0/24")]), false),
        (Condition::Community(Community::Standard(7)), true),
        (Condition::Community(Community::Large([1, 2, 3])), false),
        (Condition::AsPathPrefix(vec![65001]), true),
        (Condition::AsPathPrefix(vec![65002]), false),
        (Condition::AsPathPrefix(vec![65001, 65002, 65003]), false),
        (Condition::Priority(512), true),
        (Condition::Priority(1024), false),
        (Condition::LocalPrefAbove(LOCAL_PREF_BASE - 1024), true),
        (Condition::LocalPrefAbove(LOCAL_PREF_BASE - 512), false),
        (Condition::MetricBelow(1024), false),
        (Condition::External(true), true),
        (Condition::External(false), false),
    ] {
        assert_eq!(holds(condition.clone()), expected, "{condition:?}");
    }
}

#[test]
fn a_derived_priority_is_seen_by_later_rules() {
    let mut sets = Sets::new(0);
    let set = sets.intern(Key::sent(attributes()), &mut Default::default());
    let policy = compiled(
        vec![
            rule(vec![], vec![Operation::DerivePriority(1024)], None),
            rule(
                vec![Condition::MetricBelow(1024)],
                vec![Operation::PrependAsPath(vec![1, 2])],
                Some(Verdict::Accept),
            ),
        ],
        Verdict::Reject,
    );
    let context = Context { prefix: prefix("10.0.0.0/8"), external: None };
    let mut subject = Subject::new(sets.get(set));
    let outcome = policy.evaluate(&mut subject, &context);
    assert_eq!((outcome.verdict, outcome.rule, outcome.applied), (Verdict::Accept, Some(1), 0b11));
    assert_eq!(subject.metric, Some(512));
    assert_eq!(subject.into_attributes().as_path.numbers().collect::<Vec<_>>(), [1, 2, 65001, 65002]);
}

#[test]
fn nothing_is_evaluated_behind_a_rule_that_always_decides() {
    let prefixes = Condition::Prefix(vec![PrefixMatch { prefix: prefix("10.0.0.0/8"), min: 8, max: 32 }]);
    let accept_all = rule(vec![], vec![], Some(Verdict::Accept));
    let never = rule(vec![prefixes.clone()], vec![], Some(Verdict::Reject));
    let policy = compiled(vec![accept_all.clone(), never.clone()], Verdict::Reject);
    assert_eq!((policy.always, policy.same_for_all_prefixes), (Some(Verdict::Accept), true));
    let policy = compiled(vec![never, accept_all], Verdict::Reject);
    assert_eq!((policy.always, policy.same_for_all_prefixes), (None, false));
    let derive = rule(vec![], vec![Operation::DerivePriority(1024)], None);
    let policy = compiled(vec![derive], Verdict::Accept);
    assert_eq!((policy.always, policy.same_for_all_prefixes), (None, true));
}

#[test]
fn patterns_are_the_shells() {
    for (pattern, text, expected) in [
        ("*.cali", "vxlan.cali", true),
        ("bpf*.cali", "bpfin.cali", true),
        ("bpf*.cali", "bpfin.calico", false),
        ("tunl0", "tunl0", true),
        ("eth?", "eth10", false),
        ("eth?", "eth1", true),
        ("*", "", true),
    ] {
        assert_eq!(matches_pattern(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
    }
}

fn any_prefix() -> impl Strategy<Value = Prefix> {
    (0..64u32, 0..=32u8)
        .prop_map(|(bits, len)| Prefix::new(std::net::Ipv4Addr::from(bits << 26).into(), len).unwrap())
}

proptest! {
    #[test]
    fn long_lists_of_prefixes_match_as_short_ones(
        matches in proptest::collection::vec((any_prefix(), 0..=32u8, 0..=32u8), 0..40),
        prefix in any_prefix(),
    ) {
        let matches: Vec<PrefixMatch> =
            matches.into_iter().map(|(prefix, min, max)| PrefixMatch { prefix, min, max }).collect();
        let naive = PrefixSet::Few(matches.clone()).matches(prefix);
        prop_assert_eq!(PrefixSet::new(&matches).matches(prefix), naive);
    }
}
