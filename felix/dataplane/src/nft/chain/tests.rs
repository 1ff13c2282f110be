use super::*;
use felix_render::nft::table;
use netfilter::nft::Family;
use netfilter::nft::{Expression, Verdict};
use proptest::prelude::*;

fn rule(n: u8) -> Rule {
    Rule { expressions: vec![Expression::Verdict(Verdict::Other(i32::from(n)))], comment: None }
}

fn chain(rules: &[u8]) -> Chain {
    Chain { hook: None, rules: rules.iter().map(|n| rule(*n)).collect() }
}

/// Carries changes out on a list of handles and rules, as the kernel does.
fn carry_out(before: &[(u64, u8)], changes: &[Change]) -> (Vec<(u64, u8)>, Vec<u64>) {
    let mut rules = before.to_vec();
    let mut given = vec![0; changes.len()];
    for (place, change) in changes.iter().enumerate() {
        match change {
            Change::DeleteRule { handle: Some(handle), .. } => {
                let at = rules.iter().position(|(known, _)| known == handle).expect("the rule is there");
                rules.remove(at);
            }
            Change::AddRule(rule, at) => {
                let Expression::Verdict(Verdict::Other(n)) = rule.expressions[0] else { panic!("{rule:?}") };
                let new = (1000 + place as u64, n as u8);
                given[place] = new.0;
                match at {
                    Place::Last => rules.push(new),
                    Place::Before(next) => {
                        let at = rules.iter().position(|(known, _)| known == next).expect("it is there");
                        rules.insert(at, new);
                    }
                    other => panic!("{other:?}"),
                }
            }
            other => panic!("{other:?}"),
        }
    }
    (rules, given)
}

/// Length of the longest common subsequence, the naive way.
fn common(a: &[u8], b: &[u8]) -> usize {
    let mut best = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, x) in a.iter().enumerate() {
        for (j, y) in b.iter().enumerate() {
            best[i + 1][j + 1] = if x == y { best[i][j] + 1 } else { best[i][j + 1].max(best[i + 1][j]) };
        }
    }
    best[a.len()][b.len()]
}

fn check(before: &[u8], wanted: &[u8]) -> usize {
    let known: Vec<(u64, u8)> = before.iter().enumerate().map(|(at, n)| (at as u64 + 1, *n)).collect();
    let handles = known.iter().map(|(handle, _)| *handle).collect();
    let actual = Actual { chain: Arc::new(chain(before)), handles };
    let Difference { changes, handles } = difference(&table(Family::Ipv4), "c", &actual, &chain(wanted));
    let (after, given) = carry_out(&known, &changes);
    assert_eq!(after.iter().map(|(_, n)| *n).collect::<Vec<_>>(), wanted);
    let told: Vec<u64> = handles
        .into_iter()
        .map(|handle| match handle {
            Handle::Known(known) => known,
            Handle::New(place) => given[place],
        })
        .collect();
    assert_eq!(told, after.iter().map(|(handle, _)| *handle).collect::<Vec<_>>());
    told.iter().filter(|handle| **handle < 1000).count()
}

proptest! {
    #[test]
    fn any_chain_becomes_any_other(before in proptest::collection::vec(0u8..6, 0..12), wanted in proptest::collection::vec(0u8..6, 0..12)) {
        check(&before, &wanted);
    }

    #[test]
    fn where_no_rule_is_there_twice_as_many_stay_as_can(
        before in proptest::collection::btree_set(0u8..40, 0..20).prop_shuffled(),
        wanted in proptest::collection::btree_set(0u8..40, 0..20).prop_shuffled(),
    ) {
        prop_assert_eq!(check(&before, &wanted), common(&before, &wanted));
    }
}

trait Shuffled {
    fn prop_shuffled(self) -> BoxedStrategy<Vec<u8>>;
}

impl<S: Strategy<Value = std::collections::BTreeSet<u8>> + 'static> Shuffled for S {
    fn prop_shuffled(self) -> BoxedStrategy<Vec<u8>> {
        self.prop_map(|set| set.into_iter().collect::<Vec<u8>>()).prop_shuffle().boxed()
    }
}

#[test]
fn equal_chains_have_no_difference_and_one_rule_is_one_change() {
    let known: Vec<u8> = (0..100).collect();
    assert_eq!(check(&known, &known), 100);
    let mut wanted = known.clone();
    wanted.insert(50, 200);
    assert_eq!(check(&known, &wanted), 100);
    wanted.remove(10);
    assert_eq!(check(&known, &wanted), 99);
    assert_eq!(check(&known, &[]), 0);
    assert_eq!(check(&[], &known), 0);
}
