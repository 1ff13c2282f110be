use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A key of any kind, and something beside it or nothing.
fn element(kind: u8, number: u8, beside: u8) -> Element {
    let long = [[number; 16].as_slice(), &[6, 0, 0, 0, 0, 80, 0, 0]].concat();
    let plain = match kind {
        0 => Element::key([10, 0, 0, number]),
        1 => Element { interval_end: true, ..Element::key([10, 0, 0, number]) },
        2 => Element { key_end: Some(vec![10, 0, 1, number]), ..Element::key([10, 0, 0, number]) },
        _ => Element::key(long),
    };
    match beside {
        0 => plain,
        1 => Element { comment: Some(format!("about {number}")), ..plain },
        _ => Element { data: Some(Data::Value(vec![beside])), ..plain },
    }
}

#[derive(Debug, Clone)]
enum Step {
    Want(Element),
    Unwant(Element),
    Found(Element),
    UnwantAll,
    ForgetActual,
    /// Carry out so many removals, and so many additions where all removals were done.
    CarryOut(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let element = (0u8..4, 0u8..4, 0u8..4).prop_map(|(kind, number, beside)| element(kind, number, beside));
    prop_oneof![
        6 => element.clone().prop_map(Step::Want),
        4 => element.clone().prop_map(Step::Unwant),
        2 => element.prop_map(Step::Found),
        1 => Just(Step::UnwantAll),
        1 => Just(Step::ForgetActual),
        4 => (0usize..8, 0usize..8).prop_map(|(removed, added)| Step::CarryOut(removed, added)),
    ]
}

type Naive = BTreeMap<Key, Element>;

fn by_key(elements: impl Iterator<Item = Element>) -> Naive {
    elements.map(|element| (Key::of(&element), element)).collect()
}

proptest! {
    #[test]
    fn it_is_two_maps_and_their_difference(steps in proptest::collection::vec(step(), 0..80)) {
        let (mut elements, mut wanted, mut there) = (Elements::default(), Naive::new(), Naive::new());
        for step in steps {
            match step {
                Step::Want(element) => {
                    elements.want(element.clone());
                    wanted.insert(Key::of(&element), element);
                }
                Step::Unwant(element) => {
                    elements.unwant(&element);
                    wanted.remove(&Key::of(&element));
                }
                // a list tells each key once
                Step::Found(element) => {
                    if let std::collections::btree_map::Entry::Vacant(place) = there.entry(Key::of(&element)) {
                        elements.found(element.clone());
                        place.insert(element);
                    }
                }
                Step::UnwantAll => {
                    elements.unwant_all();
                    wanted.clear();
                }
                Step::ForgetActual => {
                    elements.forget_actual();
                    there.clear();
                }
                Step::CarryOut(removed, added) => {
                    let keys: Vec<Key> = elements.to_remove().take(removed).map(|(key, _)| key.clone()).collect();
                    keys.iter().for_each(|key| prop_assert_ok(there.remove(key).is_some()));
                    elements.removed(&keys);
                    if elements.to_remove().next().is_none() {
                        let some: Vec<(Key, Element)> =
                            elements.to_add().take(added).map(|(key, element)| (key.clone(), element)).collect();
                        there.extend(some.iter().cloned());
                        elements.added(some.into_iter().map(|(key, _)| key).collect());
                    }
                }
            }
            let surplus = there.iter().filter(|(key, is)| wanted.get(*key) != Some(*is)).map(|(_, is)| is.clone());
            prop_assert_eq!(by_key(elements.to_remove().map(|(_, element)| element)), by_key(surplus));
            let missing = wanted.iter().filter(|(key, should)| there.get(*key) != Some(*should));
            prop_assert_eq!(by_key(elements.to_add().map(|(_, e)| e)), by_key(missing.map(|(_, e)| e.clone())));
            prop_assert_eq!(elements.is_in_sync(), wanted == there);
            prop_assert_eq!(by_key(elements.wanted().into_iter().map(|(_, element)| element)), wanted.clone());
        }
    }
}

fn prop_assert_ok(there: bool) {
    assert!(there, "what is to be removed is there");
}

#[test]
fn keys_of_addresses_and_interfaces_take_no_memory_of_their_own() {
    assert_eq!(size_of::<Key>(), 24);
    assert!(matches!(Key::of(&Element::key([0; 16])).0, Bytes::Short(17, _)));
    assert!(matches!(Key::of(&Element::key([0; 24])).0, Bytes::Long(_)));
}

#[test]
fn ranges_are_listed_with_an_end_before_the_beginning_at_the_same_place() {
    let mut elements = Elements::default();
    for (byte, end) in [(20, false), (10, false), (20, true), (30, true)] {
        elements.want(Element { interval_end: end, ..Element::key([byte]) });
    }
    let listed: Vec<(u8, bool)> =
        elements.wanted().into_iter().map(|(_, element)| (element.key[0], element.interval_end)).collect();
    assert_eq!(listed, [(10, false), (20, true), (20, false), (30, true)]);
}

#[test]
fn a_key_is_shown_as_a_name_or_in_hexadecimal() {
    let mut name = b"caliweb1".to_vec();
    name.resize(16, 0);
    assert_eq!(Key::of(&Element::key(name)).to_string(), "caliweb1");
    assert_eq!(Key::of(&Element::key([10, 0, 0, 1])).to_string(), "0a000001");
}
