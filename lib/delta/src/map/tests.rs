use super::*;
use proptest::prelude::*;

type Map = DeltaMap<u8, u8>;

fn updates(map: &Map) -> Vec<(u8, u8, Option<u8>)> {
    map.pending_updates().map(|u| (*u.key, *u.desired, u.actual.copied())).collect()
}

fn deletions(map: &Map) -> Vec<(u8, u8)> {
    map.pending_deletions().map(|(key, value)| (*key, *value)).collect()
}

#[test]
fn a_life_of_an_object() {
    let mut map = Map::new();
    assert!(map.is_in_sync());
    map.set_desired(1, 10);
    assert_eq!(updates(&map), [(1, 10, None)]);
    map.mark_updated(&1);
    assert!(map.is_in_sync());
    assert_eq!((map.get_desired(&1), map.get_actual(&1)), (Some(&10), Some(&10)));
    map.set_desired(1, 11);
    assert_eq!(updates(&map), [(1, 11, Some(10))]);
    map.set_desired(1, 10);
    assert!(map.is_in_sync(), "back to what it is");
    map.set_actual(1, 12);
    assert_eq!(updates(&map), [(1, 10, Some(12))], "somebody else changed it");
    map.remove_actual(&1);
    assert_eq!(updates(&map), [(1, 10, None)], "somebody else removed it");
    map.mark_updated(&1);
    map.remove_desired(&1);
    assert_eq!(deletions(&map), [(1, 10)]);
    assert_eq!(map.pending_len(), 1);
    map.mark_deleted(&1);
    assert!(map.is_in_sync());
    assert_eq!((map.get_desired(&1), map.get_actual(&1)), (None, None));
}

#[test]
fn marks_without_a_pending_change_do_nothing() {
    let mut map = Map::new();
    map.mark_updated(&1);
    map.mark_deleted(&1);
    map.set_actual(1, 5);
    map.mark_updated(&1);
    assert_eq!(deletions(&map), [(1, 5)], "a deletion is not done by an update");
    map.set_desired(1, 5);
    map.mark_deleted(&1);
    assert_eq!(map.get_actual(&1), Some(&5), "what is wanted is not deleted");
    map.set_desired(2, 6);
    map.mark_deleted(&2);
    assert_eq!(updates(&map), [(2, 6, None)]);
}

#[test]
fn work_comes_in_key_order() {
    let mut map = Map::new();
    for key in [9, 3, 7] {
        map.set_desired(key, 0);
        map.set_actual(key + 1, 0);
    }
    assert_eq!(updates(&map), [(3, 0, None), (7, 0, None), (9, 0, None)]);
    assert_eq!(deletions(&map), [(4, 0), (8, 0), (10, 0)]);
}

#[derive(Debug, Clone)]
enum Step {
    Desire(u8, u8),
    Undesire(u8),
    Is(u8, u8),
    IsNot(u8),
    Dump(Vec<(u8, u8)>),
    Plan(Vec<(u8, u8)>),
    Updated(u8),
    Deleted(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let (key, value) = (0..6u8, 0..3u8);
    let pairs = prop::collection::vec((0..6u8, 0..3u8), 0..6);
    prop_oneof![
        4 => (key.clone(), value.clone()).prop_map(|(k, v)| Step::Desire(k, v)),
        3 => key.clone().prop_map(Step::Undesire),
        3 => (key.clone(), value).prop_map(|(k, v)| Step::Is(k, v)),
        2 => key.clone().prop_map(Step::IsNot),
        1 => pairs.clone().prop_map(Step::Dump),
        1 => pairs.prop_map(Step::Plan),
        3 => key.clone().prop_map(Step::Updated),
        3 => key.prop_map(Step::Deleted),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Two plain maps and their difference, computed anew after every step.
    #[test]
    fn is_the_difference_of_two_maps(steps in prop::collection::vec(step(), 0..60)) {
        let mut map = Map::new();
        let (mut desired, mut actual) = (BTreeMap::new(), BTreeMap::new());
        for step in steps {
            match step {
                Step::Desire(k, v) => { map.set_desired(k, v); desired.insert(k, v); }
                Step::Undesire(k) => { map.remove_desired(&k); desired.remove(&k); }
                Step::Is(k, v) => { map.set_actual(k, v); actual.insert(k, v); }
                Step::IsNot(k) => { map.remove_actual(&k); actual.remove(&k); }
                Step::Dump(all) => { map.replace_actual(all.clone()); actual = all.into_iter().collect(); }
                Step::Plan(all) => { map.replace_desired(all.clone()); desired = all.into_iter().collect(); }
                Step::Updated(k) => {
                    map.mark_updated(&k);
                    if let Some(v) = desired.get(&k) { actual.insert(k, *v); }
                }
                Step::Deleted(k) => {
                    map.mark_deleted(&k);
                    if !desired.contains_key(&k) { actual.remove(&k); }
                }
            }
            let changed: Vec<_> = desired
                .iter()
                .filter(|(k, v)| actual.get(k) != Some(v))
                .map(|(k, v)| (*k, *v, actual.get(k).copied()))
                .collect();
            let surplus: Vec<_> =
                actual.iter().filter(|(k, _)| !desired.contains_key(k)).map(|(k, v)| (*k, *v)).collect();
            prop_assert_eq!(map.pending_len(), changed.len() + surplus.len());
            prop_assert_eq!(updates(&map), changed);
            prop_assert_eq!(deletions(&map), surplus);
            prop_assert!(map.desired().map(|(k, v)| (*k, *v)).eq(desired.iter().map(|(k, v)| (*k, *v))));
            prop_assert!(map.actual().map(|(k, v)| (*k, *v)).eq(actual.iter().map(|(k, v)| (*k, *v))));
        }
    }
}

#[test]
fn a_range_shows_both_sides() {
    let mut map = Map::new();
    map.set_desired(1, 10);
    map.set_actual(2, 20);
    map.set_actual(3, 30);
    map.set_desired(3, 31);
    map.set_desired(9, 90);
    let seen: Vec<_> = map.range(1..=3).map(|e| (*e.key, e.desired.copied(), e.actual.copied())).collect();
    assert_eq!(seen, [(1, Some(10), None), (2, None, Some(20)), (3, Some(31), Some(30))]);
}
