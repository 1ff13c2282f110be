use super::*;

fn set(med: u32) -> Key {
    let mut attributes =
        Attributes::new(Origin::Igp, AsPath::sequence(&[65001, 65002]), [192, 0, 2, 1].into());
    attributes.med = Some(med);
    Key::sent(attributes)
}

#[test]
fn equal_sets_are_one_and_are_forgotten_when_nobody_counts_on_them() {
    let (mut sets, mut hops) = (Sets::new(1), NextHops::default());
    let numbers: Vec<u32> = (0..1000).map(|med| sets.intern(set(med), &mut hops)).collect();
    for (med, number) in numbers.iter().enumerate() {
        assert_eq!(sets.intern(set(med as u32), &mut hops), *number);
        assert_eq!(sets.get(*number).attributes().med, Some(med as u32));
        sets.retain(*number, 2);
    }
    assert_eq!(sets.len(), 1000);
    assert!(sets.take_unused(usize::MAX).is_empty());
    for number in &numbers {
        sets.release(*number);
    }
    assert!(sets.take_unused(usize::MAX).is_empty());
    for number in &numbers {
        sets.release(*number);
    }
    for number in sets.take_unused(usize::MAX) {
        sets.forget(number, &mut hops);
    }
    assert_eq!(sets.len(), 0);
}

#[test]
fn a_set_that_comes_and_goes_is_listed_once() {
    let (mut sets, mut hops) = (Sets::new(1), NextHops::default());
    let number = sets.intern(set(1), &mut hops);
    for _ in 0..3 {
        sets.retain(number, 1);
        sets.release(number);
    }
    assert_eq!((sets.take_made(), sets.take_made()), (1, 0));
    assert_eq!(sets.take_unused(1), [number]);
    assert!(!sets.has_unused());
    sets.retain(number, 1);
    sets.release(number);
    assert_eq!(sets.take_unused(1), [number], "listed again");
}

#[test]
fn a_set_that_is_wanted_again_before_it_is_forgotten_stays() {
    let (mut sets, mut hops) = (Sets::new(1), NextHops::default());
    let number = sets.intern(set(1), &mut hops);
    sets.retain(number, 1);
    sets.release(number);
    assert_eq!(sets.intern(set(1), &mut hops), number);
    sets.retain(number, 1);
    assert!(sets.take_unused(usize::MAX).is_empty());
    sets.forget(number, &mut hops);
    assert_eq!(sets.len(), 1);
}
