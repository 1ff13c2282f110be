use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

const SELECTORS: &[&str] = &[
    "",
    "a == '1'",
    "a != '1'",
    "has(b)",
    "!has(b)",
    "a in {'1', '2'} && has(c)",
    "a == '1' || b == '1'",
    "b not in {'2'}",
    "c starts with '1'",
    "a == '1' && b == '1' && c == '1'",
];

/// A step of a history.
#[derive(Debug, Clone)]
enum Step {
    Set(ItemId, Vec<(u8, u8)>, Vec<u8>),
    Remove(ItemId),
    Parent(u8, Option<Vec<(u8, u8)>>),
    Add(usize),
    Release(usize),
}

fn pairs() -> impl Strategy<Value = Vec<(u8, u8)>> {
    proptest::collection::vec((0u8..3, 1u8..3), 0..4)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u32..6, pairs(), proptest::collection::vec(0u8..3, 0..3)).prop_map(|(i, l, p)| Step::Set(i, l, p)),
        1 => (0u32..6).prop_map(Step::Remove),
        2 => (0u8..3, proptest::option::of(pairs())).prop_map(|(p, l)| Step::Parent(p, l)),
        3 => (0..SELECTORS.len()).prop_map(Step::Add),
        2 => (0..SELECTORS.len()).prop_map(Step::Release),
    ]
}

fn key(number: u8) -> String {
    ["a", "b", "c"][usize::from(number)].to_string()
}

fn map(pairs: &[(u8, u8)]) -> BTreeMap<String, String> {
    // the first of a key counts, as in the index
    let mut all = BTreeMap::new();
    for (k, v) in pairs {
        all.entry(key(*k)).or_insert_with(|| v.to_string());
    }
    all
}

/// The same, without an index.
#[derive(Default)]
struct Naive {
    items: BTreeMap<ItemId, (BTreeMap<String, String>, Vec<u8>)>,
    parents: BTreeMap<u8, BTreeMap<String, String>>,
    users: BTreeMap<usize, u32>,
}

impl Naive {
    fn labels(&self, item: ItemId) -> BTreeMap<String, String> {
        let (own, parents) = &self.items[&item];
        let mut labels = own.clone();
        for (key, value) in parents.iter().filter_map(|parent| self.parents.get(parent)).flatten() {
            labels.entry(key.clone()).or_insert_with(|| value.clone());
        }
        labels
    }

    fn matches(&self) -> BTreeSet<(usize, ItemId)> {
        let mut all = BTreeSet::new();
        for number in self.users.keys() {
            let selector = Selector::parse(SELECTORS[*number]).unwrap();
            all.extend(
                self.items
                    .keys()
                    .filter(|item| selector.matches(&self.labels(**item)))
                    .map(|i| (*number, *i)),
            );
        }
        all
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn events_and_answers_are_those_of_an_evaluation_from_nothing(steps in proptest::collection::vec(step(), 1..40)) {
        let mut index = LabelIndex::new();
        let mut naive = Naive::default();
        let mut ids: BTreeMap<usize, SelectorId> = BTreeMap::new();
        // what a listener knows: asked when a selector is new, told from then on
        let mut told: BTreeSet<(SelectorId, ItemId)> = BTreeSet::new();
        for step in steps {
            let mut events = Vec::new();
            let mut on_change = |selector, item, begins| events.push((selector, item, begins));
            match step {
                Step::Set(item, labels, parents) => {
                    naive.items.insert(item, (map(&labels), parents.clone()));
                    let labels = map(&labels);
                    let mut labels = labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
                    let parents: Vec<String> = parents.iter().map(ToString::to_string).collect();
                    let parents: Vec<&str> = parents.iter().map(String::as_str).collect();
                    index.set_item(item, &mut labels, &parents, &mut on_change);
                }
                Step::Remove(item) => {
                    naive.items.remove(&item);
                    index.remove_item(item, &mut on_change);
                }
                Step::Parent(parent, labels) => {
                    let labels = labels.map(|labels| map(&labels));
                    index.set_parent(&parent.to_string(), labels.as_ref(), &mut on_change);
                    match labels {
                        Some(labels) => naive.parents.insert(parent, labels),
                        None => naive.parents.remove(&parent),
                    };
                }
                Step::Add(number) => {
                    let (id, new) = index.add_selector(&Selector::parse(SELECTORS[number]).unwrap());
                    let users = naive.users.entry(number).or_default();
                    *users += 1;
                    prop_assert_eq!(new, *users == 1);
                    ids.insert(number, id);
                    if new {
                        told.extend(index.items(id).map(|item| (id, item)));
                    }
                }
                Step::Release(number) => {
                    if let Some(users) = naive.users.get_mut(&number) {
                        *users -= 1;
                        let last = *users == 0;
                        prop_assert_eq!(index.release_selector(ids[&number]), last);
                        if last {
                            naive.users.remove(&number);
                            told.retain(|(id, _)| *id != ids[&number]);
                        }
                    }
                }
            }
            for (selector, item, begins) in events {
                let changed = if begins { told.insert((selector, item)) } else { told.remove(&(selector, item)) };
                prop_assert!(changed, "told twice: {selector} {item} {begins}");
            }
            let expected: BTreeSet<_> = naive.matches().into_iter().map(|(number, item)| (ids[&number], item)).collect();
            prop_assert_eq!(&told, &expected);
            let asked: BTreeSet<_> = naive
                .users
                .keys()
                .flat_map(|number| index.items(ids[number]).map(|item| (ids[number], item)))
                .collect();
            prop_assert_eq!(&asked, &expected);
            for item in naive.items.keys() {
                let of: Vec<_> = expected.iter().filter(|(_, i)| i == item).map(|(s, _)| *s).collect();
                prop_assert_eq!(index.selectors_of(*item), &of[..]);
            }
        }
        // nothing is kept of what is gone
        for item in naive.items.keys() {
            index.remove_item(*item, &mut |_, _, _| {});
        }
        for parent in 0u8..3 {
            index.set_parent(&parent.to_string(), None, &mut |_, _, _| {});
        }
        for (number, users) in naive.users {
            (0..users).for_each(|_| { index.release_selector(ids[&number]); });
        }
        prop_assert_eq!(index.identities(), 0);
        prop_assert!(index.by_key.is_empty() && index.labels.is_empty() && index.parents.is_empty() && index.by_text.is_empty());
        prop_assert!(index.needless.is_empty() && index.identities.ids().count() == 0);
    }
}

#[test]
fn items_of_one_kind_are_one_identity() {
    let mut index = LabelIndex::new();
    for item in 0..1000 {
        let app = format!("a{}", item % 10);
        index.set_item(item, &mut vec![("app", &app)], &["kns.default"], &mut |_, _, _| {});
    }
    assert_eq!(index.identities(), 10);
    let (id, _) = index.add_selector(&Selector::parse("app == 'a3'").unwrap());
    assert_eq!(index.items(id).count(), 100);
}

#[test]
fn a_missing_parent_gives_labels_when_it_comes() {
    let mut index = LabelIndex::new();
    let (id, _) = index.add_selector(&Selector::parse("ns == 'x'").unwrap());
    let mut events = Vec::new();
    index.set_item(7, &mut vec![], &["p"], &mut |s, i, b| events.push((s, i, b)));
    assert_eq!(events, []);
    let labels = BTreeMap::from([("ns".to_string(), "x".to_string())]);
    index.set_parent("p", Some(&labels), &mut |s, i, b| events.push((s, i, b)));
    index.set_parent("p", None, &mut |s, i, b| events.push((s, i, b)));
    assert_eq!(events, [(id, 7, true), (id, 7, false)]);
}
